"""What the integration tests share: one tiny world behind its servers, one Prefect API, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.prefect_api import prefect_api
from sandbox.serve import SandboxServer
from tests.integration.forked import Forker, dask_cluster
from tests.integration.support import Build, Terraweft, World
from tests.made_once import prefect_home, tiny_world

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The tiny world, written and served once."""
    index = tiny_world(tmp_path_factory)
    with SandboxServer(index.root) as server:
        yield World(index, server.stac_url, server.files_url)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of the commands: one Prefect server for all of them."""
    settings = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}  # tests run side by side: threads would wait
    settings.pop("PREFECT_API_URL", None)
    with prefect_api(settings, prefect_home(tmp_path_factory)) as api:
        yield settings | api


@pytest.fixture(scope="session")
def command() -> list[str]:
    """The command line of this checkout."""
    return [sys.executable, "-c", "from terraweft.cli import main; main()"]


@pytest.fixture(scope="session")
def forker(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """What forks for every command."""
    forker = Forker(environment, tmp_path_factory.mktemp("forker"))
    yield forker
    forker.close()


@pytest.fixture(scope="session")
def dask_address(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster for builds that do not need one of their own (``--dask``): its workers know no test's variables."""
    with dask_cluster(environment, tmp_path_factory.mktemp("dask")) as address:
        yield address


@pytest.fixture(scope="session")
def terraweft(environment: dict[str, str], command: list[str], forker: Forker) -> Terraweft:
    """Run a command to its end, in a process of its own."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        if forker.can_run(variables):
            return forker.run([*map(str, arguments)], variables)
        return subprocess.run(
            [*command, *map(str, arguments)],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )

    return run


@pytest.fixture(scope="session")
def on_cluster(terraweft: Terraweft, dask_address: str) -> Terraweft:
    """Run a build to its end, in a process of its own, on the cluster of the session."""

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return terraweft(*arguments, "--dask", dask_address, **variables)

    return run


@pytest.fixture(scope="session")
def sandbox_recipe(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sandbox's recipe over the tiny world, with chips of 480 m."""
    recipe = yaml.safe_load((RECIPES / "sandbox.yaml").read_text())
    recipe["regions"] = [{"name": name, "bbox": list(box)} for name, box in world.index.regions.items()]
    recipe["grid"] |= {"chip_m": 480, "tile_chips": 2}
    recipe["split"]["block_m"] = 960
    recipe["captions"]["kinds"] += ["chatearthnet", "rsteller", "skyscript", "rsvlm_qa"]
    recipe["write"] |= {"shard_bytes": 2_000_000, "zarr_shard_chips": 4}
    path = tmp_path_factory.mktemp("recipe") / "sandbox.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def build(terraweft: Terraweft, world: World, sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The sandbox's dataset, built without interruption."""
    root = tmp_path_factory.mktemp("built") / "dataset"
    done = terraweft("build", sandbox_recipe, "--out", root, "--workers", 2, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    return Build(sandbox_recipe, root, done.stdout)
