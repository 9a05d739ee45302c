"""What is done again is read again, also by a run that was killed; and layers of a dataset come and go."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import rasterio
import shapely

from flows import compare
from flows.looking import nothing_new
from flows.stages import PlainStages, build_plainly
from schemas.dataset import LayerTable
from shards.check import check_dataset
from shards.reader import open_dataset
from tests.integration.changing_catalog import ChangingCatalog, Dataset, dataset_in, small_recipe
from tests.integration.support import World
from tests.integration.test_refresh import equals_a_fresh_one, first_catalog

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # builds run in this process
]


@pytest.fixture
def recipe(sandbox_recipe: Path) -> dict[str, Any]:
    found = small_recipe(sandbox_recipe)
    found["modalities"]["landsat"]["optional"] = True
    return found


@pytest.fixture
def dataset(world: World, tmp_path: Path) -> Dataset:
    """Not built yet, of the first catalog."""
    catalog = ChangingCatalog(world.index, tmp_path / "catalog")
    catalog.write(first_catalog)
    return dataset_in(tmp_path / "dataset", catalog)


class Dies(PlainStages):
    """Is killed when every tile is read."""

    def reduce(self, *given: Any) -> Any:
        raise KeyboardInterrupt


def without_landsat(item: dict[str, Any]) -> bool:
    return first_catalog(item) and not item["id"].startswith("LC0")


def test_what_is_done_again_is_read_again_though_work_is_there(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path
) -> None:
    files: set[Path] = set()

    def own_file(item: dict[str, Any]) -> None:
        if item["collection"] == "sentinel-2-l2a":
            asset = item["assets"]["blue" if "blue" in item["assets"] else "B02"]
            files.add(Path(shutil.copy(asset["href"], tmp_path / f"{item['id']}.tif")))
            asset["href"] = str(tmp_path / f"{item['id']}.tif")

    def brighten() -> None:
        for path in files:
            with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
                pixels = file.read(1)
                file.write(pixels + 100 * (pixels > 0), 1)

    def mean() -> float:
        opened = open_dataset(dataset.storage)
        return float(opened.sample(opened.chip_ids()[0]).layers["s2"].data[0, 0].mean())

    dataset.catalog.write(first_catalog, own_file)
    dataset.build(recipe)
    was = mean()
    again: dict[str, Any] = {"redo": ("s2",)}
    assert not dataset.build(recipe, **again).published, "no file had changed"
    for number, options in enumerate((again, again, {"afresh": True}, {"afresh": True}), start=1):
        brighten()
        result = dataset.build(recipe, **options)
        assert (result.published, result.tiles_reused) == (True, 0)
        assert mean() == pytest.approx(was + 100 * number, abs=1e-6)
    assert check_dataset(dataset.storage).problems == []


@pytest.mark.parametrize("options", [{"redo": ("s2",)}, {"afresh": True}], ids=["redo", "afresh"])
def test_a_killed_run_that_does_again_goes_on_and_the_next_one_reads(
    dataset: Dataset, recipe: dict[str, Any], options: dict[str, Any]
) -> None:
    tiles = dataset.build(recipe).tiles_done
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            build_plainly(dataset.request(recipe, **options), Dies())
        again = dataset.build(recipe, **options)
        assert (again.tiles_done, again.tiles_reused) == (0, tiles)
    with pytest.raises(KeyboardInterrupt):
        build_plainly(dataset.request(recipe, **options), Dies())
    assert nothing_new(dataset.request(recipe)) is not None, "a run that ends the one that was killed"
    assert dataset.build(recipe, **options).tiles_reused == 0


def test_layers_of_an_optional_modality_come_and_go(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    dataset.catalog.write(without_landsat)
    dataset.build(recipe)
    assert open_dataset(dataset.storage).groups == ("s2",)
    dataset.forget_work()
    over_a_half(dataset)
    assert dataset.build(recipe).published
    assert dataset.document.diff["touched"] == {"landsat": len(dataset.table("outcomes"))}
    assert holding(dataset, "landsat") == set(dataset.table("chips").index)
    assert not any("S2" in url for url in dataset.reads()), "Sentinel-2 was read again"
    equals_a_fresh_one(dataset, recipe, tmp_path / "came")
    dataset.forget_work()
    dataset.catalog.write(without_landsat)
    assert dataset.build(recipe).published
    assert (open_dataset(dataset.storage).groups, holding(dataset, "landsat")) == (("s2",), set())
    assert dataset.table("run")["bytes"].sum() == 0
    equals_a_fresh_one(dataset, recipe, tmp_path / "went")


def test_layers_that_a_version_lacks_are_read_when_its_chips_are_touched(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As earlier software left them: the layers of the items that came are with the chips under these alone."""
    dataset.catalog.write(without_landsat)
    dataset.build(recipe)
    over_a_half(dataset)
    with monkeypatch.context() as earlier:
        earlier.setattr(compare, "other_layers", nothing_else)
        dataset.build(recipe)
    assert set() < holding(dataset, "landsat") < set(dataset.table("chips").index)
    edited = copy.deepcopy(recipe)
    edited["captions"]["kinds"] = ["short"]
    dataset.build(edited)
    equals_a_fresh_one(dataset, edited, tmp_path)


def test_a_killed_run_reads_what_is_planned_now(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    dataset.catalog.write(without_landsat)
    with pytest.raises(KeyboardInterrupt):
        build_plainly(dataset.request(recipe), Dies())
    over_a_half(dataset)
    dataset.build(recipe, replan=True)
    assert holding(dataset, "landsat") == set(dataset.table("chips").index)
    equals_a_fresh_one(dataset, recipe, tmp_path)


def over_a_half(dataset: Dataset) -> None:
    """Write the first catalog; its Landsat scenes have the west of their outlines alone."""

    def cut(item: dict[str, Any]) -> None:
        if item["id"].startswith("LC0"):
            west, south, east, north = item["bbox"]
            half = shapely.box(west, south, (west + east) / 2, north)
            here = shapely.geometry.shape(item["geometry"]).intersection(half)
            item["geometry"], item["bbox"] = shapely.geometry.mapping(here), list(here.bounds)

    dataset.catalog.write(first_catalog, cut)


def nothing_else(recipe: Any, planned: Any, before: tuple[LayerTable, ...]) -> frozenset[str]:
    return frozenset()


def holding(dataset: Dataset, group: str) -> set[str]:
    """Chips in whose samples a group lies."""
    opened = open_dataset(dataset.storage)
    return {chip_id for chip_id in opened.chip_ids() if group in opened.sample(chip_id).layers}
