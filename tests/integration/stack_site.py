"""A site of one region over the stack of docker-compose.yml, and what its services say about it."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.integration.stack import ROOT, Stack, env_file, stack
from tests.integration.support import World

PATIENCE_S = 240.0
REGION = "north"
API = "http://prefect:4200/api"


def write_site(folder: Path, world: World, sandbox_recipe: Path, cron: str = "") -> None:
    """The tiny world's recipe and a table of one region.

    Args:
        folder: for both.
        world: whose region it is.
        sandbox_recipe: which the recipe is a smaller one of.
        cron: when the region is due; empty: by hand alone.
    """
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
        "collision": "cancel_new",
        "fresh_within_days": 1,
        "regions": [{"name": REGION, "bbox": list(world.index.regions[REGION])}],
    }
    if cron:
        table["schedule"] = {"cron": cron}
    (folder / "sandbox.yaml").write_text(yaml.safe_dump(table, sort_keys=False))


@contextmanager
def site_stack(site: Path, postgres: Path, stac: Path) -> Iterator[Stack]:
    """The stack, over that site."""
    folder = Path(tempfile.mkdtemp(prefix="terraweft-stack-", dir="/tmp"))  # PostgreSQL's user must reach it
    folder.chmod(0o755)
    variables = env_file(ROOT / "sandbox.env") | {"TERRAWEFT_SANDBOX_SIZE": "tiny", "TERRAWEFT_SITE": str(site)}
    with stack(folder, variables, postgres, stac) as running:
        yield running


def until(what: str, found: Callable[[], Any], every_s: float = 1.0) -> Any:
    """Wait for something, and ask for it so often; its value."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S:.0f} s"
        time.sleep(every_s)
    return value


def ask(services: Stack, path: str, body: Any) -> Any:
    """What Prefect's API answers to a POST."""
    headers = ["-H", "content-type: application/json"]
    return json.loads(services.run(["curl", "-sf", *headers, "-d", json.dumps(body), f"{API}/{path}"]))


def runs(services: Stack, *states: str) -> list[dict[str, Any]]:
    """Flow runs of deployments in some states, the oldest first."""
    body = {"flow_runs": {"state": {"type": {"any_": list(states)}}}, "sort": "START_TIME_ASC"}
    return [run for run in ask(services, "flow_runs/filter", body) if run["deployment_id"]]


def artifacts(services: Stack) -> list[dict[str, Any]]:
    """What Prefect's pages show."""
    return list(ask(services, "artifacts/filter", {}))


def versions(services: Stack) -> list[str]:
    """Versions of the region's dataset in the bucket.

    By curl: an interpreter with boto3 in it would take half a core from whatever is waited for.
    """
    url = f"{services.environment('bucket')['AWS_ENDPOINT_URL']}/datasets?list-type=2&prefix={REGION}/versions/"
    page = services.run(["curl", "-sf", url])
    assert "<IsTruncated>false" in page, "a page of objects holds not all of them"
    return sorted(re.findall(rf"<Key>{REGION}/versions/([^/<]+)/dataset\.json</Key>", page))


def document(services: Stack, version: str) -> dict[str, Any]:
    """What a version says about itself, as everybody may read it."""
    url = f"http://web:8080/datasets/{REGION}/versions/{version}/dataset.json"
    return dict(json.loads(services.run(["curl", "-sf", url])))
