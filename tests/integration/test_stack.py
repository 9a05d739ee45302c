"""A site as docker-compose.yml says: a schedule fires, a killed build goes on and is published, then only news."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest

from tests.integration.stack import Stack
from tests.integration.stack_site import artifacts, document, runs, site_stack, until, versions, write_site
from tests.integration.support import World

pytestmark = [pytest.mark.slow, pytest.mark.services("postgis", "stac-server", "nginx", "namespaces")]


@pytest.fixture(scope="module")
def services(
    world: World,
    sandbox_recipe: Path,
    postgresql_programs: Path,
    stac_server_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """The stack, with a region that is due every minute."""
    site = tmp_path_factory.mktemp("site")
    write_site(site, world, sandbox_recipe, cron="* * * * *")
    with site_stack(site, postgresql_programs, stac_server_python) as running:
        yield running


def _later(items: Path) -> Path:
    """A file with one new item: the newest Sentinel-2 item of one MGRS tile, ten days later, on the same files."""
    found = [json.loads(line) for line in items.read_text().splitlines()]
    tile = [item for item in found if item["collection"] == "sentinel-2-l2a" and "_T32TQT_" in item["id"]]
    newest = max(tile, key=lambda item: str(item["properties"]["datetime"]))
    day = newest["properties"]["datetime"][:10]
    later = (date.fromisoformat(day) + timedelta(days=10)).isoformat()
    text = json.dumps(newest).replace(day, later)
    item = json.loads(text)
    item["id"] = newest["id"].replace(day.replace("-", ""), later.replace("-", ""))
    item["assets"] = newest["assets"]
    path = items.with_name("new.ndjson")
    path.write_text(json.dumps(item) + "\n")
    return path


def test_a_schedule_fires_a_killed_build_goes_on_and_only_news_is_done(services: Stack) -> None:
    work = services.folder / "data" / "work"
    until("tile that is read", lambda: list(work.glob("*/runs/*/first/*/tile.json")), every_s=0.3)
    for process in psutil.Process(services.running["worker"][0].pid).children(recursive=True):
        os.kill(process.pid, signal.SIGKILL)
    until("run that crashed", lambda: runs(services, "CRASHED"))
    assert versions(services) == []

    completed = until("run that ended well", lambda: runs(services, "COMPLETED"))
    assert len(versions(services)) == 1
    first = document(services, versions(services)[0])
    assert first["run"]["tiles_reused"] >= 1
    assert first["counts"]["planned"] == first["counts"]["kept"] + sum(
        sum(first["counts"][state].values()) for state in ("rejected", "failed")
    )

    until("next firing", lambda: len(runs(services, "COMPLETED")) > len(completed))
    assert len(versions(services)) == 1
    shown = {row["key"] for row in artifacts(services)}
    assert {"tiny-north-read", "tiny-north-publish", "tiny-north-outcomes", "tiny-north-report"} <= shown
    metrics = (services.folder / "data" / "metrics" / "tiny-north.prom").read_text()
    assert 'terraweft_published{dataset="tiny-north",region="north"} 0.0' in metrics

    new = _later(services.folder / "data" / "world" / "ndjson" / "items.ndjson")
    services.run(["pypgstac", "load", "items", new, "--method", "upsert"], "catalog")
    until("version with the new item", lambda: len(versions(services)) == 2)
    second = document(services, versions(services)[1])
    assert second["parent_version"] == first["version"]
    assert second["diff"]["changed"] > 0
    assert second["diff"]["unchanged"] > 0
    assert second["diff"]["added"] == second["diff"]["removed"] == 0
