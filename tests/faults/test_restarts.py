"""PostgreSQL and Prefect's API die while a deployment's run builds: it, or the next firing, makes the same dataset.

Over the services of docker-compose.yml, which says that what dies is started again.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Tally
from tests.integration.stack import Stack
from tests.integration.stack_site import ask, document, runs, site_stack, until, versions, write_site
from tests.integration.support import World

pytestmark = pytest.mark.services("postgis", "stac-server", "nginx", "namespaces")
STARTS = 20
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def services(
    world: World,
    sandbox_recipe: Path,
    postgresql_programs: Path,
    stac_server_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """The stack, with a region that is built when somebody says so."""
    site = tmp_path_factory.mktemp("site")
    write_site(site, world, sandbox_recipe)
    with site_stack(site, postgresql_programs, stac_server_python) as running:
        yield running


def _fire(services: Stack) -> str:
    """Start the region's deployment; the run's id."""
    found = ask(services, "deployments/filter", {})
    return str(ask(services, f"deployments/{found[0]['id']}/create_flow_run", {})["id"])


def _state(services: Stack, run: str) -> str:
    """Type of a run's state; empty while the API does not answer."""
    answer: list[dict[str, Any]] = [one for one in runs(services, *ENDED) if one["id"] == run]
    return str(answer[0]["state"]["type"]) if answer else ""


def _restart(services: Stack, *names: str) -> None:
    """Kill services, and start them again as ``restart: unless-stopped`` does."""
    for name in names:
        services.stop(name, signal.SIGKILL)
    for name in reversed(names):
        _start(services, name)
    for name, processes in list(services.running.items()):
        died = [process for process in processes if process.poll() not in (None, 0)]
        if died and services.services[name].get("restart") != "no":
            _start(services, name)


def _start(services: Stack, name: str) -> None:
    """Start a service as often as it takes: PostgreSQL waits for the last backend of the dead one to leave."""
    for _ in range(STARTS):
        with suppress(RuntimeError):
            services.start(name)
            return
    services.start(name)


def _forget(services: Stack) -> None:
    """No dataset and no fragments."""
    script = "import boto3; boto3.resource('s3').Bucket('datasets').objects.filter(Prefix='north/').delete()"
    services.run(["python", "-c", script], "bucket")
    shutil.rmtree(services.folder / "data" / "work")
    (services.folder / "data" / "work").mkdir()


@pytest.fixture(scope="module")
def wanted(services: Stack) -> str:
    """Content hash of a build in which nothing died."""
    run = _fire(services)
    assert until("end of the run", lambda: _state(services, run)) == "COMPLETED"
    found = str(document(services, versions(services)[0])["content_hash"])
    _forget(services)
    return found


@pytest.mark.parametrize("names", [("prefect",), ("postgres",), ("prefect", "postgres")], ids=" and ".join)
def test_services_that_restart_in_mid_run_cost_no_chip(
    names: tuple[str, ...], services: Stack, wanted: str, tally: Tally
) -> None:
    work = services.folder / "data" / "work"
    right, seen = False, ""
    try:
        run = _fire(services)
        until("tile that is read", lambda: list(work.glob("*/runs/*/first/*/tile.json")), every_s=0.3)
        assert not versions(services)
        _restart(services, *names)
        ended = until("end of the run", lambda: _state(services, run))
        seen = "the run went on" if ended == "COMPLETED" else f"{ended.lower()}; the next firing finished it"
        if ended != "COMPLETED":
            again = _fire(services)
            assert until("end of the next run", lambda: _state(services, again)) == "COMPLETED"
        made = versions(services)
        right = len(made) == 1 and document(services, made[0])["content_hash"] == wanted
        later = _fire(services)  # the catalog's and the API's connections to the database are well again
        right = right and until("end of the last run", lambda: _state(services, later)) == "COMPLETED"
        right = right and versions(services) == made
    finally:
        tally.note(f"restart of {' and '.join(names)} in mid-run", right, seen)
        _forget(services)
    assert right, seen
