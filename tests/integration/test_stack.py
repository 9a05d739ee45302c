"""A site as docker-compose.yml says: a schedule fires, a killed build goes on and is published, then only news."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.integration.stack import ROOT, Stack, env_file, stack
from tests.integration.support import World

pytestmark = [pytest.mark.slow, pytest.mark.services("postgis", "stac-server", "nginx", "namespaces")]
PATIENCE_S = 240.0
REGION = "north"


@pytest.fixture(scope="module")
def site(world: World, sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny world's recipe and a table whose region is due every minute."""
    folder = tmp_path_factory.mktemp("site")
    recipe = yaml.safe_load(sandbox_recipe.read_text())
    recipe["write"]["kinds"] = ["webdataset"]
    s2 = recipe["modalities"]["s2"] | {"bands": ["B02", "B04"]}
    recipe["modalities"] = {"s2": s2 | {"select": {"how": "newest", "max_dates": 1, "max_nodata_fraction": 0.1}}}
    recipe["grid"]["tile_chips"] = 1
    recipe["register"] = {"mode": "off"}
    recipe.pop("captions", None)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    table = {
        "format": 1,
        "name": "tiny",
        "recipe": "tiny.yaml",
        "root": "${TERRAWEFT_DATASETS}/{region}",
        "dask": "${TERRAWEFT_DASK}",
        "schedule": {"cron": "* * * * *"},
        "collision": "cancel_new",
        "fresh_within_days": 1,
        "regions": [{"name": REGION, "bbox": list(world.index.regions[REGION])}],
    }
    (folder / "sandbox.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def services(site: Path, postgresql_programs: Path, stac_server_python: Path) -> Iterator[Stack]:
    """The stack, over that site."""
    folder = Path(tempfile.mkdtemp(prefix="terraweft-stack-", dir="/tmp"))  # PostgreSQL's user must reach it
    folder.chmod(0o755)
    variables = env_file(ROOT / "sandbox.env") | {"TERRAWEFT_SANDBOX_SIZE": "tiny", "TERRAWEFT_SITE": str(site)}
    with stack(folder, variables, postgresql_programs, stac_server_python) as running:
        yield running


def _until(what: str, found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S:.0f} s"
        time.sleep(0.3)
    return value


def _runs(services: Stack, state: str) -> list[dict[str, Any]]:
    """Flow runs in a state, by Prefect's API."""
    body = json.dumps({"flow_runs": {"state": {"type": {"any_": [state]}}}, "sort": "START_TIME_ASC"})
    url = "http://prefect:4200/api/flow_runs/filter"
    answer = services.run(["curl", "-sf", "-H", "content-type: application/json", "-d", body, url])
    return [run for run in json.loads(answer) if run["deployment_id"]]


def _versions(services: Stack) -> list[str]:
    script = (
        "import boto3; page = boto3.client('s3').list_objects_v2(Bucket='datasets', Prefix='north/versions/');"
        "print('\\n'.join(o['Key'] for o in page.get('Contents', []) if o['Key'].endswith('/dataset.json')))"
    )
    keys = services.run(["python", "-c", script], "bucket").split()
    return [key.split("/")[2] for key in keys]


def _document(services: Stack, version: str) -> dict[str, Any]:
    url = f"http://web:8080/datasets/{REGION}/versions/{version}/dataset.json"
    return dict(json.loads(services.run(["curl", "-sf", url])))


def _artifacts(services: Stack) -> list[dict[str, Any]]:
    """What Prefect's pages show."""
    url = "http://prefect:4200/api/artifacts/filter"
    return list(json.loads(services.run(["curl", "-sf", "-H", "content-type: application/json", "-d", "{}", url])))


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
    _until("tile that is read", lambda: list(work.glob("*/runs/*/first/*/tile.json")))
    for process in psutil.Process(services.running["worker"][0].pid).children(recursive=True):
        os.kill(process.pid, signal.SIGKILL)
    _until("run that crashed", lambda: _runs(services, "CRASHED"))
    assert _versions(services) == []

    completed = _until("run that ended well", lambda: _runs(services, "COMPLETED"))
    assert len(_versions(services)) == 1
    first = _document(services, _versions(services)[0])
    assert first["run"]["tiles_reused"] >= 1
    assert first["counts"]["planned"] == first["counts"]["kept"] + sum(
        sum(first["counts"][state].values()) for state in ("rejected", "failed")
    )

    _until("next firing", lambda: len(_runs(services, "COMPLETED")) > len(completed))
    assert len(_versions(services)) == 1
    shown = {row["key"] for row in _artifacts(services)}
    assert {"tiny-north-read", "tiny-north-publish", "tiny-north-outcomes", "tiny-north-report"} <= shown
    metrics = (services.folder / "data" / "metrics" / "tiny-north.prom").read_text()
    assert 'terraweft_published{dataset="tiny-north",region="north"} 0.0' in metrics

    new = _later(services.folder / "data" / "world" / "ndjson" / "items.ndjson")
    services.run(["pypgstac", "load", "items", new, "--method", "upsert"], "catalog")
    _until("version with the new item", lambda: len(_versions(services)) == 2)
    second = _document(services, _versions(services)[1])
    assert second["parent_version"] == first["version"]
    assert second["diff"]["changed"] > 0
    assert second["diff"]["unchanged"] > 0
    assert second["diff"]["added"] == second["diff"]["removed"] == 0
