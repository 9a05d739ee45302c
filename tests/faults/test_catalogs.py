"""A catalog that throttles, fails, loses or repeats what it lists, under a build: same bytes, or a named failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.integration.faulty import write_faulty_recipe
from tests.integration.flaky_catalog import FAULTS, flaky_catalog
from tests.integration.support import Terraweft, World, content_hash

SHARE = 0.4
"""Of all answers."""
TRIALS = range(3)


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands, one date, one label product, a few chips, from a catalog that gives its items on several pages."""
    return write_faulty_recipe(sandbox_recipe, tmp_path_factory.mktemp("recipe") / "catalog.yaml")


@pytest.fixture(scope="module")
def wanted(on_cluster: Terraweft, recipe: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Content hash of the dataset that no fault touched."""
    root = tmp_path_factory.mktemp("whole") / "d"
    done = on_cluster("build", recipe, "--out", root, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    return content_hash(root)


@pytest.mark.parametrize("number", TRIALS)
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "expire"])
def test_a_build_from_a_catalog_that_is_unwell(
    fault: str,
    number: int,
    on_cluster: Terraweft,
    recipe: Path,
    world: World,
    wanted: str,
    tally: Tally,
    tmp_path: Path,
) -> None:
    right, seen = False, ""
    try:
        for seed in range(number, 100, len(TRIALS)):  # of few answers, none may have been spoilt: that is no trial
            root = tmp_path / str(seed)
            with flaky_catalog(world.stac_url, seed, needs_token=False, **{fault: SHARE}) as proxy:
                done = on_cluster("build", recipe, "--out", root, TERRAWEFT_SANDBOX_STAC=proxy.url)
                if not proxy.done[fault]:
                    continue
                seen = "asked again, same bytes"
                if done.returncode:
                    said = done.stderr.strip().splitlines()[-1]
                    assert said.startswith(f"terraweft: {proxy.url}"), done.stderr
                    assert "Traceback" not in done.stderr
                    seen = "named with its address, mended by the next run"
                    proxy.rates = {}
                    done = on_cluster("build", recipe, "--out", root, TERRAWEFT_SANDBOX_STAC=proxy.url)
                    assert done.returncode == 0, done.stderr
            right = content_hash(root) == wanted
            break
    finally:
        tally.note(f"catalog: {fault} for two answers in five", right, seen)
    assert right
