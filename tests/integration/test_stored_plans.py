"""Plans through the command line: made, built, killed and gone on with, shared out, made again from frozen items."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path

import geopandas
import pandas as pd
import pytest
import yaml

from sources.stac_index import IndexCatalog
from tests.integration.faulty import BOX
from tests.integration.support import Terraweft, World, content_hash, current_version

TABLES = ("chips.parquet", "texts.parquet", "outcomes.parquet")


def _bytes(root: Path) -> dict[str, str]:
    """Every tar and table by name, and what names the version's content."""
    files = [*sorted((root / "shards").rglob("*.tar")), *(current_version(root) / name for name in TABLES)]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return found | {"content": content_hash(root)}


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands over one region of the sandbox, from its STAC API; six tiles at least."""
    found = yaml.safe_load(sandbox_recipe.read_text())
    s2 = found["modalities"]["s2"] | {"bands": ["B02", "B04"]}
    found |= {
        "regions": [{"name": "north", "bbox": BOX}],
        "modalities": {"s2": s2},
        "register": {"mode": "off"},
        "write": {"kinds": ["webdataset"]},
    }
    found["grid"]["tile_chips"] = 1
    del found["captions"], found["labels"]
    path = tmp_path_factory.mktemp("plans") / "small.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def killed(
    recipe: Path, environment: dict[str, str], command: list[str], terraweft: Terraweft, world: World
) -> tuple[Path, str]:
    """A dataset whose build was killed after its first tile and then run again, and what that said."""
    root = recipe.parent / "dataset"
    arguments = ["build", str(recipe), "--out", str(root), "--workers", "1"]
    variables = {"TERRAWEFT_SANDBOX_STAC": world.stac_url}
    process = subprocess.Popen(
        [*command, *arguments],
        env={**environment, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not [p for p in root.glob("work/runs/*/first/*") if ".tmp-" not in p.name]:
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (plan,) = root.glob("work/runs/*/plan/plan.json")
    made = plan.stat().st_mtime_ns
    done = terraweft(*arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert plan.stat().st_mtime_ns == made, "the catalog was asked again"
    return root, done.stdout


def _frozen_recipe(recipe: Path, name: str) -> Path:
    """The recipe over an index that a variable names: no path of this machine may stand in what is published."""
    found = yaml.safe_load(recipe.read_text())
    found["catalogs"] = {
        catalog: {"kind": "stac-geoparquet", "href": "${TERRAWEFT_FROZEN}", "frozen": catalog, "allow_local": True}
        for catalog in found["catalogs"]
    }
    path = recipe.with_name(name)
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


def test_a_killed_build_goes_on_with_its_plan(killed: tuple[Path, str]) -> None:
    root, said = killed
    assert "of them from an earlier run" in said
    outcomes = pd.read_parquet(current_version(root) / "outcomes.parquet")
    assert set(outcomes["state"]) == {"kept"}


def test_the_published_items_make_the_same_bytes_again(
    killed: tuple[Path, str], recipe: Path, terraweft: Terraweft, on_cluster: Terraweft
) -> None:
    """Built from the STAC API, then from the version's own items by another root and a plan made before."""
    root, _ = killed
    again = _frozen_recipe(recipe, "again.yaml")
    index = str(current_version(root) / "items.parquet")
    plan = recipe.parent / "plan"
    done = terraweft("plan", again, "--out", plan, TERRAWEFT_FROZEN=index)
    assert done.returncode == 0, done.stderr
    assert len(geopandas.read_parquet(plan / "chips.parquet")) > 4
    done = on_cluster("build", again, "--plan", plan, "--out", recipe.parent / "again", TERRAWEFT_FROZEN=index)
    assert done.returncode == 0, done.stderr
    assert _bytes(recipe.parent / "again") == _bytes(root)


def test_a_share_of_a_plan_builds_its_own_tiles_and_no_others(
    killed: tuple[Path, str], recipe: Path, terraweft: Terraweft, on_cluster: Terraweft, world: World
) -> None:
    root, _ = killed
    (plan,) = root.glob("work/runs/*/plan")
    share = recipe.parent / "share"
    arguments = ["--plan", plan, "--part", "1/3", "--out", share]
    done = on_cluster("build", recipe, *arguments, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    chips = pd.read_parquet(plan / "chips.parquet", columns=["chip_id", "tile"])
    wanted = chips[chips["tile"] < (chips["tile"].max() + 1) // 3]
    assert set(pd.read_parquet(current_version(share) / "outcomes.parquet")["chip_id"]) == set(wanted["chip_id"])
    other = recipe.with_name("other.yaml")
    other.write_text(yaml.safe_dump(yaml.safe_load(recipe.read_text()) | {"seed": 99}))
    done = terraweft("build", other, "--plan", plan, "--out", share, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 2
    assert "another recipe" in done.stderr


def test_an_index_of_the_recipe_holds_what_its_run_froze(
    killed: tuple[Path, str], recipe: Path, terraweft: Terraweft, world: World
) -> None:
    root, _ = killed
    target = recipe.parent / "index.parquet"
    done = terraweft("index", recipe, "--out", target, TERRAWEFT_SANDBOX_STAC=world.stac_url)
    assert done.returncode == 0, done.stderr
    (plan,) = root.glob("work/runs/*/plan")
    mine, frozen = IndexCatalog(str(target)), IndexCatalog(str(plan / "items.parquet"))
    assert len(mine) > 1
    assert list(mine.delivered(range(len(mine)))) == list(frozen.delivered(range(len(frozen))))
