"""docker-compose.yml: valid, pinned, without passwords or root, and nothing published beyond this machine."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.settings import Settings
from sqlalchemy.engine import make_url

from flows.cluster import SELDOM
from flows.deployments import prefect_yaml
from flows.forking import WORKER_ENVIRONMENT
from flows.regions import load_regions
from tests.integration.stack import interpolated
from tests.s3_server import CREDENTIALS, s3_server

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(FILE.read_text())["services"])


def test_it_holds_to_the_compose_schema() -> None:
    check = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_images_are_pinned_and_the_long_running_ones_tell_their_health(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.search(r":\d", service["image"]), f"{name}: {service['image']} is not pinned"
        assert service.get("restart") == "no" or "healthcheck" in service or name == "dask-worker", name


def test_nothing_runs_as_root_and_ports_are_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    own_user = {"postgres", "web"}  # their images step down by themselves
    for name, service in services.items():
        assert name in own_user or service["user"].startswith("10001"), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"


def test_without_passwords_nothing_starts() -> None:
    document = yaml.safe_load(FILE.read_text())
    with pytest.raises(KeyError, match=r"copy sandbox.env to .env"):
        interpolated(document, {})
    written = re.findall(r"PASSWORD: (.*)|SECRET\w*: (.*)", FILE.read_text())
    assert written
    assert all("${TERRAWEFT_" in (one or other) for one, other in written)


def test_any_password_leads_prefect_to_its_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = "a@b/c%41:+=#?"
    known = {"TERRAWEFT_DB_PASSWORD": secret, "TERRAWEFT_S3_KEY": "key", "TERRAWEFT_S3_SECRET": "secret"}
    service = interpolated(yaml.safe_load(FILE.read_text()), known)["services"]["prefect"]
    for name, value in service["environment"].items():
        if name.startswith("PREFECT_") and "DATABASE" in name:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    address = Settings().server.database.connection_url
    assert address is not None
    found = make_url(address.get_secret_value())
    assert (found.password, found.host, found.database) == (secret, "postgres", "prefect")


def test_the_pages_of_prefect_need_no_folder_of_the_image(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect copies its pages to where it is installed, which is root's in an image; without them it answers 404."""
    for name, value in services["prefect"]["environment"].items():
        if name.startswith("PREFECT_SERVER_UI_"):
            monkeypatch.setenv(name, value)
    ui = Settings().server.ui
    assert ui.static_directory is not None
    assert ui.static_directory.startswith(("/tmp/", "/data/"))
    assert ui.api_url == "/api"  # whatever name or port the pages were opened under
    (port,) = services["prefect"]["ports"]
    assert services["worker"]["environment"]["PREFECT_UI_URL"] == f"http://{port.rpartition(':')[0]}"


def test_the_bucket_is_there_after_each_start(
    services: dict[str, dict[str, Any]],
) -> None:
    """Every `up` runs it again: where it fails, the worker that waits for it never starts."""
    program, *rest = services["bucket"]["command"]
    assert program == "python"
    with s3_server("other") as url:
        here = {**os.environ, **CREDENTIALS, "AWS_DEFAULT_REGION": "eu-central-1", "AWS_ENDPOINT_URL": url}
        for _ in range(2):
            done = subprocess.run([sys.executable, *rest], env=here, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_a_prefect_server_that_is_restarted_knows_whose_turn_it_is(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """A run whose place the server has forgotten is ended within minutes, however far it is."""
    settings = services["prefect"]["environment"]
    room = import_module(settings["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"])
    lease = asyncio.run(room.ConcurrencyLeaseStorage(tmp_path).create_lease([uuid4()], timedelta(minutes=5)))
    assert asyncio.run(room.ConcurrencyLeaseStorage(tmp_path).renew_lease(lease.id, timedelta(minutes=5)))
    assert settings["PREFECT_HOME"].startswith("/data/"), "where it lies stays"
    assert "data:/data" in services["prefect"]["volumes"]


def test_the_prefect_file_is_the_region_table_s() -> None:
    table = "recipes/regions/sandbox.yaml"
    body = "".join(line for line in (ROOT / "prefect.yaml").read_text().splitlines(True) if not line.startswith("#"))
    assert body == prefect_yaml(load_regions(ROOT / table), table)


def test_the_image_holds_every_room() -> None:
    text = (ROOT / "Dockerfile").read_text()
    rooms = [path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("tests", "bench")]
    for room in [*rooms, "recipes"]:
        assert f"COPY {room} /src/{room}" in text, room


def test_workers_keep_freed_memory_as_those_of_a_run_do(services: dict[str, dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    wanted = {name: str(value) for name, value in WORKER_ENVIRONMENT.items() if name.startswith("MALLOC_")}
    assert wanted
    assert services["dask-worker"]["environment"].items() >= wanted.items()
    assert all(f"{name}={value}" in page for name, value in wanted.items())


def test_a_cluster_without_work_looks_at_itself_as_seldom_as_that_of_a_run(services: dict[str, dict[str, Any]]) -> None:
    name, every = "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL", SELDOM["distributed.admin.tick.interval"]
    assert f"{name}={every}" in (ROOT / "docs" / "operating.md").read_text()
    for service in ("dask", "dask-worker"):
        assert services[service]["environment"][name] == every


def test_what_a_site_s_recipes_and_notices_name_reaches_those_who_read_and_tell(
    services: dict[str, dict[str, Any]],
) -> None:
    table = load_regions(ROOT / "recipes/regions/sandbox.yaml").table
    assert table.notify.webhook_env == "TERRAWEFT_WEBHOOK"
    for name in ("worker", "dask-worker"):
        assert services[name]["env_file"] == [{"path": "site.env", "required": False}], name
    for ignored in (".gitignore", ".dockerignore"):
        assert {".env", "site.env"} <= set((ROOT / ignored).read_text().splitlines()), ignored
    command = services["worker"]["command"]
    assert command[command.index("--pool") + 1] == table.pool
