"""The clock is set back while a build runs: the same bytes; a version made then still comes after its parent."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.faults.broken_server import until
from tests.faults.conftest import Tally
from tests.integration.faulty import write_faulty_recipe
from tests.integration.support import World, content_hash, current_version
from tests.stepped_clock import SteppedClock

pytestmark = pytest.mark.services("cc")
BACK_S = {"7 minutes": 7 * 60.0, "26 hours": 26 * 3600.0, "400 days": 400 * 86400.0}


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands, one date, one label product; a host that may be asked so often per second, so that time is asked."""
    path = tmp_path_factory.mktemp("recipe") / "clock.yaml"
    limits = {"127.0.0.1": {"concurrency": 4, "per_second": 200.0}}
    return write_faulty_recipe(sandbox_recipe, path, {"tile_chips": 1}, limits=limits)


@pytest.mark.parametrize("back", BACK_S)
def test_a_clock_that_goes_back_in_mid_run_changes_nothing(
    back: str,
    recipe: Path,
    world: World,
    environment: dict[str, str],
    command: list[str],
    stepped_clock: SteppedClock,
    tally: Tally,
    tmp_path: Path,
) -> None:
    honest = {**environment, "TERRAWEFT_SANDBOX_STAC": world.stac_url, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    honest.pop("PREFECT_API_URL")  # the private server lives by that clock too
    stepped = honest | stepped_clock.variables
    right = False
    try:
        stepped_clock.set_back(0)
        whole = _begin(command, recipe, tmp_path / "whole", honest)
        _end(whole)
        root = tmp_path / "d"
        build = _begin(command, recipe, root, stepped)
        until("tile that is read", lambda: list(root.glob("work/runs/*/first/*/tile.json")))
        stepped_clock.set_back(BACK_S[back])
        assert build.poll() is None
        _end(build)
        assert content_hash(root) == content_hash(tmp_path / "whole")
        text = yaml.safe_load(recipe.read_text())
        text["modalities"]["s2"]["bands"] = ["B02", "B03", "B04"]
        more = tmp_path / "more.yaml"
        more.write_text(yaml.safe_dump(text))
        _end(_begin(command, more, root, stepped))
        _end(_begin(command, more, tmp_path / "whole", honest))
        right = content_hash(root) == content_hash(tmp_path / "whole")
        first, second = sorted(path.name for path in (root / "versions").iterdir())
        right = right and current_version(root).name == second
        parent = json.loads((root / "versions" / second / "dataset.json").read_text())["parent_version"]
        right = right and parent == first
    finally:
        tally.note("clock set back in mid-run", right, f"by {back}")
    assert right


def _begin(command: list[str], recipe: Path, root: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    line = [*command, "build", str(recipe), "--out", str(root), "--workers", "2"]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _end(build: subprocess.Popen[str]) -> None:
    _, errors = build.communicate(timeout=300)
    assert build.returncode == 0, errors[-4000:]
