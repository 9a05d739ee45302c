"""Shifts of acquisitions and twins of chips after an edit: those of a build afresh, whatever was read again."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
from rasterio.windows import Window, from_bounds

from shards.check import check_dataset
from tests.integration.changing_catalog import ChangingCatalog, Dataset, dataset_in, small_recipe
from tests.integration.support import World
from tests.integration.test_refresh import first_catalog

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # builds run in this process
]

MEASURED = {"mode": "measure", "reference": "s2", "min_scene_chips": 3}
MOVED = MEASURED | {"mode": "correct", "correct_above_m": 1.0}
MOVED_BY_SCENE = MOVED | {"correct_by": "scene"}
REJECTED = MEASURED | {"mode": "reject", "max_shift_m": 20.0}


def _screen(recipe: dict[str, Any]) -> None:
    recipe["screen"]["max_nodata_fraction"] = 0.3


def _landsat(recipe: dict[str, Any]) -> None:
    recipe["modalities"]["landsat"]["bands"] = ["red", "nir08", "swir16"]


def _register(recipe: dict[str, Any]) -> None:
    recipe["register"]["max_shift_m"] = 50.0


@pytest.fixture
def recipe(sandbox_recipe: Path) -> dict[str, Any]:
    found = small_recipe(sandbox_recipe)
    found["screen"] = {"max_nodata_fraction": 0.35, "near_duplicates": "reject"}
    return found


@pytest.fixture(scope="module")
def catalog(world: World, sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> ChangingCatalog:
    """The first catalog, in which two chips show one picture in the last band of Sentinel-2."""
    folder = tmp_path_factory.mktemp("twins")
    catalog = ChangingCatalog(world.index, folder / "catalog")
    catalog.write(first_catalog)
    first = dataset_in(folder / "dataset", catalog)
    first.build(small_recipe(sandbox_recipe))
    chips = first.table("chips").sort_index()
    clear = [row for _, row in chips.iterrows() if row["s2.clear_fraction"][0] == 1.0]
    of_scene = [row for row in clear if row["s2.item_ids"][0] == clear[0]["s2.item_ids"][0]]
    one, other = (_box(row) for row in of_scene[:2])

    def copied(item: dict[str, Any]) -> None:
        if item["collection"] != "sentinel-2-l2a":
            return
        asset = item["assets"]["nir" if "nir" in item["assets"] else "B08"]
        asset["href"] = str(shutil.copy(asset["href"], folder / f"{item['id']}.tif"))
        with rasterio.open(asset["href"], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            windows = [from_bounds(*box, file.transform).round_offsets().round_lengths() for box in (one, other)]
            if all(_is_inside(window, file) for window in windows):
                file.write(file.read(1, window=windows[0]), 1, window=windows[1])

    catalog.write(first_catalog, copied)
    return catalog


def _box(row: Any) -> tuple[float, float, float, float]:
    x0, y0, (rows, columns) = row["s2.transform"][2], row["s2.transform"][5], row["s2.shape_yx"]
    return x0, y0 - 10 * rows, x0 + 10 * columns, y0


def _is_inside(window: Window, file: Any) -> bool:
    return bool(min(window.col_off, window.row_off) >= 0
                and window.col_off + window.width <= file.width
                and window.row_off + window.height <= file.height)  # fmt: skip


Start = Callable[[dict[str, Any]], Dataset]


@pytest.fixture(scope="module")
def starts(catalog: ChangingCatalog, tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """Folder of a first build by a recipe, which is built once."""
    built: dict[str, Path] = {}

    def start(recipe: dict[str, Any]) -> Path:
        name = json.dumps(recipe, sort_keys=True, default=str)
        if name not in built:
            folder = tmp_path_factory.mktemp("start") / "dataset"
            dataset_in(folder, catalog).build(recipe)
            built[name] = folder
        return built[name]

    return start


@pytest.fixture
def first_build(starts: Callable[[dict[str, Any]], Path], catalog: ChangingCatalog, tmp_path: Path) -> Start:
    """A copy of a first build by a recipe, without its ``work/``."""

    def copied(recipe: dict[str, Any]) -> Dataset:
        folder = shutil.copytree(starts(recipe), tmp_path / "dataset", ignore=shutil.ignore_patterns("work"))
        return dataset_in(folder, catalog)

    return copied


@pytest.mark.parametrize(
    ("register", "edit", "read"),
    [
        (MEASURED, _screen, ""),
        (MEASURED, _landsat, "LC0"),
        (MEASURED, _register, ""),
        (REJECTED, _screen, ""),
        (MOVED, _screen, ""),
        (MOVED_BY_SCENE, _screen, "all"),
        (MOVED_BY_SCENE, _landsat, "all"),
    ],
)
def test_an_edit_ends_in_the_shifts_and_twins_of_a_build_afresh(
    first_build: Start,
    recipe: dict[str, Any],
    tmp_path: Path,
    register: dict[str, Any],
    edit: Callable[[dict[str, Any]], None],
    read: str,
) -> None:
    recipe["register"] = dict(register)
    dataset = first_build(recipe)
    kept = set(dataset.table("chips").index)
    assert dataset.estimates()["scene_shifts"]
    assert "s2.near_duplicates" in set(dataset.table("outcomes")["reason"])
    edited = copy.deepcopy(recipe)
    edit(edited)
    assert dataset.build(edited).published
    run = dataset.table("run")
    urls = {url for chip_id, found in run["urls"].items() if chip_id in kept for url in found}
    if read != "all":
        assert all(read and read in url for url in urls), "kept chips read more than what was edited"
    equals_one_that_was_given_nothing(dataset, edited, tmp_path)


@pytest.mark.parametrize("register", [MEASURED, MOVED, MOVED_BY_SCENE], ids=["measured", "moved", "by scene"])
def test_refit_finds_what_a_first_build_does(
    first_build: Start, recipe: dict[str, Any], register: dict[str, Any]
) -> None:
    recipe["register"] = dict(register)
    dataset = first_build(recipe)
    was, held = dataset.estimates(), dataset.fingerprint()
    dataset.build(recipe, refit=True)
    assert dataset.estimates() == was
    assert was["scene_shifts"]
    assert dataset.fingerprint() == held
    assert check_dataset(dataset.storage).problems == []


def equals_one_that_was_given_nothing(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    """Unlike `tests.integration.test_refresh.equals_a_fresh_one`, the parameters are estimated there as well."""
    fresh = dataset_in(tmp_path / "fresh", dataset.catalog)
    fresh.build(recipe)
    ours, theirs = dataset.estimates(), fresh.estimates()
    assert {name: ours[name] for name in ours if ours[name] != theirs[name]} == {}
    mine, afresh = dataset.fingerprint(), fresh.fingerprint()
    assert {name for name in mine.keys() | afresh.keys() if mine.get(name) != afresh.get(name)} == set()
    assert check_dataset(dataset.storage).problems == []


def test_what_earlier_software_found_together_holds(first_build: Start, recipe: dict[str, Any]) -> None:
    """Of format 1: a refresh that changes nothing has nothing to do."""
    recipe["register"] = dict(MOVED_BY_SCENE)
    dataset = first_build(recipe)
    version = dataset.document.version
    path = Path(dataset.storage.uri) / "versions" / version / "estimates.json"
    found = json.loads(path.read_text())
    found |= {"format": 1, "findings_part": found.pop("twins_part")}
    del found["shifts_part"]
    was = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(json.dumps(found))
    manifest = path.with_name("dataset.json")
    manifest.write_text(manifest.read_text().replace(was, hashlib.sha256(path.read_bytes()).hexdigest()))
    assert dataset.build(recipe).changes == f"0 of {len(dataset.table('outcomes'))} chips touched"
