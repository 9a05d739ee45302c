"""A refresh makes again what changed and nothing else, and ends in the bytes of a build afresh."""

from __future__ import annotations

import copy
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely

from chips.estimate import Estimate
from flows import looking
from flows.changed_items import ItemChanges
from flows.forecast import look_ahead
from flows.looking import nothing_new
from flows.planning import make_plan
from flows.stages import PlainStages, build_plainly, in_process
from schemas.errors import IntegrityError
from shards.check import check_dataset
from shards.reader import open_dataset
from tests.integration.changing_catalog import ChangingCatalog, Dataset, dataset_in, everything, small_recipe
from tests.integration.support import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # builds run in this process
]

SECOND_DATE = "S2B_MSIL2A_20220620"
REPROCESSED = "S2A_MSIL2A_20210720T101031_R022_T32TQT_20230211T032746"


def first_catalog(item: dict[str, Any]) -> bool:
    """What there was at first: one Sentinel-2 date of the old processing, one Landsat scene, the 2020 map."""
    name = str(item["id"])
    later = name.startswith((SECOND_DATE, "LC09_L2SP")) or "_20230211T" in name or "2021_v200" in name
    return not later


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path) -> dict[str, Any]:
    return small_recipe(sandbox_recipe)


@pytest.fixture(scope="module")
def built(world: World, recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the first catalog, without its ``work/``."""
    folder = tmp_path_factory.mktemp("first")
    catalog = ChangingCatalog(world.index, folder / "catalog")
    catalog.write(first_catalog)
    first = dataset_in(folder / "dataset", catalog)
    result = first.build(recipe)
    assert result.counts["kept"] >= 10
    assert first.document.splits["buckets"]["train"] >= 3
    first.forget_work()
    return folder


@pytest.fixture
def dataset(built: Path, world: World, tmp_path: Path) -> Dataset:
    """A copy of the first dataset and its catalog."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return dataset_in(tmp_path / "dataset", ChangingCatalog(world.index, tmp_path / "catalog"))


def equals_a_fresh_one(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    """The five tables and every shard are those of a build afresh with the same parameters; and it checks."""
    fresh = dataset_in(tmp_path / "fresh", dataset.catalog)
    where = dataset.document.estimates_for_another()
    fresh.build(recipe, estimates=dataset.estimates() | {"where": where})
    assert fresh.document.estimates == where, "and says of which dataset the parameters are"
    mine, theirs = dataset.fingerprint(), fresh.fingerprint()
    assert {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)} == set()
    for storage in (dataset.storage, fresh.storage):
        assert check_dataset(storage, statistics=True).problems == []


def build_of(dataset: Dataset, recipe: dict[str, Any]) -> Estimate:
    """What a build afresh would read."""
    return looking.find_plan(dataset.request(recipe)).estimate


def test_nothing_new_writes_nothing_and_publishes_nothing(dataset: Dataset, recipe: dict[str, Any]) -> None:
    def files() -> dict[str, int]:
        root = Path(dataset.storage.uri)
        found = (p for p in root.rglob("*") if p.is_file() and "work" not in p.relative_to(root).parts)
        return {str(p): p.stat().st_mtime_ns for p in found}

    before = files()
    dataset.catalog.write(first_catalog)  # its files are others, its items are not
    told = look_ahead(dataset.request(recipe))
    assert told is not None
    assert (told.is_nothing_new, told.items, told.cost.read_bytes, told.shards_written) == (True, {}, 0, 0)
    assert not dataset.work.exists(), "a dry run leaves nothing"
    result = nothing_new(dataset.request(recipe))
    assert result is not None
    assert (result.published, result.changes) == (False, f"0 of {result.counts['planned']} chips touched")
    assert files() == before
    assert not list(dataset.work.rglob("*.tar"))


def test_catalogs_are_asked_again_once(
    dataset: Dataset, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--replan` of a dataset that has something new: the look before the build plans, the build takes its plan."""
    dataset.catalog.write(everything)
    request = replace(dataset.request(recipe), replan=True)
    plans: list[str] = []

    def planned(*arguments: Any) -> Any:
        plans.append("made")
        return make_plan(*arguments)

    monkeypatch.setattr(looking, "make_plan", planned)
    assert nothing_new(request) is None
    assert plans == ["made"]
    assert not looking.look(looking.after_looking(request)).outlook.is_nothing_new
    assert plans == ["made"]
    assert looking.after_looking(replace(request, afresh=True)).replan


@pytest.mark.parametrize("seed", [1, 2])
def test_units_that_end_in_any_order_end_in_the_same_bytes(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    def shuffled(stage: str, work: Any, arguments: Any, units: Any, name: Any, done: int = 0) -> dict[Any, Any]:
        order = list(units)
        random.Random(f"{seed} {stage}").shuffle(order)
        found = in_process(stage, work, arguments, order, name, done)
        return dict(sorted(found.items(), key=lambda pair: hash((seed, str(pair[0])))))

    other = dataset_in(tmp_path / "other", dataset.catalog)
    build_plainly(other.request(recipe), PlainStages(shuffled))
    assert other.fingerprint() == dataset.fingerprint()


def test_a_new_date_touches_the_chips_that_it_covers(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    new = "S2B_MSIL2A_20220620T101039_R022_T32TQT_20220620T142239"
    before = open_dataset(dataset.storage)
    old = {chip_id: row["sample_sha256"] for chip_id, row in dataset.table("chips").iterrows()}
    dataset.catalog.write(lambda item: first_catalog(item) or item["id"] == new)
    told = look_ahead(dataset.request(recipe))
    result = dataset.build(recipe)
    assert result.published
    chips, diff = dataset.table("chips"), dataset.document.diff
    touched = {chip_id for chip_id, row in chips.iterrows() if old.get(chip_id) != row["sample_sha256"]}
    assert 0 < len(touched) < len(chips)
    assert {chip_id for chip_id, ids in chips["s2.item_ids"].items() if any(new in i for i in ids)} <= touched
    ground = next(shapely.geometry.shape(i["geometry"]) for i in dataset.catalog.items() if i["id"] == new)
    assert touched == {
        one for one, place in before.chips.set_index("chip_id").geometry.items() if place.intersects(ground)
    }
    assert diff["touched"] == {"s2": diff["changed"]}
    assert set(dataset.table("run").index) == touched
    assert not any("LC0" in url for url in dataset.reads()), "Landsat was read again"
    rewritten = {r.path for r in dataset.document.shards} - {r.path for r in before.document.shards}
    assert rewritten == {chips.loc[chip_id, "shard"] for chip_id in touched}
    assert diff["shards_kept"] + len(rewritten) == len(dataset.document.shards)
    assert told is not None
    assert set(told.changed) == touched, "what was told beforehand is what was done"
    assert told.items == {"s2": ItemChanges((new,))}
    assert (told.shards_written, told.shards) == (len(rewritten), len(dataset.document.shards))
    assert told.shard_bytes == pytest.approx(diff["shard_bytes_written"], rel=0.3)
    assert told.cost.items == dataset.table("chips").loc[sorted(touched), "s2.item_ids"].explode().nunique()
    whole = build_of(dataset, recipe)
    assert 0 < dataset.table("run")["bytes"].sum() <= told.cost.read_bytes < whole.read_bytes
    assert 0 < told.cost.beside.requests < whole.beside.requests, "labels of the touched tiles"
    equals_a_fresh_one(dataset, recipe, tmp_path)


def test_a_scene_that_was_processed_anew_takes_the_old_ones_place(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path
) -> None:
    dataset.catalog.write(lambda item: first_catalog(item) or item["id"] == REPROCESSED)
    dataset.build(recipe)
    chips = dataset.table("chips")
    touched = set(dataset.table("run").index)
    assert {one for one, ids in chips["s2.item_ids"].items() if any(REPROCESSED in i for i in ids)} <= touched
    assert 0 < len(touched) < len(chips)
    equals_a_fresh_one(dataset, recipe, tmp_path)


def test_a_withdrawn_scene_leaves_its_chips(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    gone = "LC08_L2SP_193027_20220620_02_T1"
    dataset.catalog.write(
        lambda item: (first_catalog(item) and item["id"] != gone) or item["id"].startswith("LC09_L2SP_192")
    )
    told = look_ahead(dataset.request(recipe))
    assert told is not None
    came = tuple(sorted(i["id"] for i in dataset.catalog.items() if i["id"].startswith("LC09_L2SP_192")))
    assert told.items == {"landsat": ItemChanges(came, (), (gone,))}
    result = dataset.build(recipe)
    assert any("withdrawn" in note and gone in note for note in result.notes)
    assert all(gone not in ids for ids in dataset.table("chips")["landsat.item_ids"])
    assert not any("S2A" in url for url in dataset.reads()), "Sentinel-2 was read again"
    equals_a_fresh_one(dataset, recipe, tmp_path)


def test_a_new_vintage_of_labels_reads_no_imagery(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    dataset.catalog.write(lambda item: first_catalog(item) or "2021_v200" in item["id"])
    dataset.build(recipe)
    assert dataset.table("run")["bytes"].sum() == 0
    assert dataset.document.diff["touched"] == {"labels": len(dataset.table("chips"))}
    assert dataset.document.estimates["touched_since"] == len(dataset.table("chips")), "fusion could be another"
    worldcover = next(source for source in dataset.document.sources if source.layer == "worldcover")
    assert any("2021_v200" in item for item in worldcover.items)
    equals_a_fresh_one(dataset, recipe, tmp_path)


def test_captions_alone_are_written_anew(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    edited = copy.deepcopy(recipe)
    edited["captions"]["kinds"] = ["short", "long"]
    before = dataset.document
    told = look_ahead(dataset.request(edited))
    assert told is not None
    assert (told.cost.read_bytes, told.cost.requests) == (0, 0)
    whole = build_of(dataset, edited).beside
    assert told.cost.beside.requests == pytest.approx(whole.requests, abs=1), "labels are read for texts, too"
    assert told.cost.beside.read_bytes == pytest.approx(whole.read_bytes, rel=0.01)
    dataset.build(edited)
    assert dataset.table("run")["bytes"].sum() == 0
    assert dataset.document.diff["touched"] == {"captions": len(dataset.table("chips"))}
    assert set(dataset.table("texts")["style"]) == {"short", "long"}
    assert dataset.document.zarr["digest"] == before.zarr["digest"]
    equals_a_fresh_one(dataset, edited, tmp_path)


@pytest.mark.parametrize(
    ("collection", "asset", "redo"),
    [("esa-worldcover", "map", ["labels"]), ("esa-worldcover", "map", []), ("sentinel-2-l2a", "B02", ["s2"])],
)
def test_files_that_were_replaced_in_their_place_reach_tars_and_zarr_alike(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path, collection: str, asset: str, redo: list[str]
) -> None:
    """No input says so: what is done again, or is made anew for other captions, finds other pixels."""
    edited = copy.deepcopy(recipe)
    edited["captions"]["kinds"] = recipe["captions"]["kinds"] if redo else ["short", "long"]
    replaced: list[Path] = []

    def replace_file(item: dict[str, Any]) -> None:
        if item["collection"] != collection:
            return
        old = Path(item["assets"][asset]["href"])
        replaced.append(tmp_path / "moved" / old.relative_to(dataset.catalog.index.root))
        replaced[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(old, replaced[-1])
        item["assets"][asset]["href"] = str(replaced[-1])
        with rasterio.open(replaced[-1], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            pixels = file.read(1)
            file.write(np.where(pixels == 10, 30, pixels) if asset == "map" else pixels + (pixels > 0), 1)

    before = dataset.document
    dataset.catalog.write(first_catalog, replace_file)
    dataset.build(edited, redo=tuple(redo))
    assert replaced
    assert set(dataset.document.diff["touched"]) == set(redo or ["captions"])
    assert dataset.document.zarr["input_hash"] == before.zarr["input_hash"]
    assert dataset.document.zarr["digest"] != before.zarr["digest"]
    equals_a_fresh_one(dataset, edited, tmp_path)


def test_a_damaged_version_is_not_refreshed(dataset: Dataset, recipe: dict[str, Any]) -> None:
    """A layer that is taken back is what was published, or the refresh ends."""
    current, chips = dataset.document.version, dataset.table("chips")
    row = chips.iloc[0]
    with (Path(dataset.storage.uri) / row["shard"]).open("r+b") as file:
        file.seek(int(row["shard_offset"]) + 2_000)  # in the pixels of Sentinel-2
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0xFF]))
    edited = copy.deepcopy(recipe)
    edited["captions"]["kinds"] = ["short"]
    with pytest.raises(IntegrityError, match=f"{row['shard']}.*{chips.index[0]}"):
        dataset.build(edited)
    assert dataset.document.version == current


def test_an_added_band_reads_its_modality_alone(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    edited = copy.deepcopy(recipe)
    edited["modalities"]["landsat"]["bands"] = ["red", "nir08", "swir16"]
    planned = len(dataset.table("outcomes"))
    dataset.build(edited)
    assert dataset.document.diff["touched"] == {"landsat": planned}
    assert all("LC0" in url for url in dataset.reads())
    bands = next(layer for layer in dataset.document.modalities if layer.modality == "landsat").bands
    assert [band.name for band in bands] == ["red", "nir08", "swir16"]
    assert all(band.count > 0 for band in bands), "statistics of an edited modality are estimated anew"
    document = dataset.document
    assert document.statistics_of("landsat") == document.version
    assert document.statistics_of("s2_10m") == document.parent_version
    told = document.estimates
    assert (told["version"], told["touched_since"]) == (document.parent_version, 0), "s2 and labels are as they were"
    assert told["parts"] == dict.fromkeys(("shifts", "twins"), document.version)
    equals_a_fresh_one(dataset, edited, tmp_path)


def test_chips_that_are_not_planned_any_more_are_named(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path
) -> None:
    edited = copy.deepcopy(recipe)
    west, south, east, north = edited["regions"][0]["bbox"]
    edited["regions"][0]["bbox"] = [west, south, west + 0.7 * (east - west), north]
    before = set(dataset.table("chips").index)
    dataset.build(edited)
    gone = before - set(dataset.table("chips").index)
    removed = dataset.table("removed")
    assert gone
    assert set(removed.index) == gone
    assert set(removed["state"]) == {"not planned"}
    assert dataset.document.diff["removed"] == len(gone)
    assert dataset.table("run")["bytes"].sum() == 0
    equals_a_fresh_one(dataset, edited, tmp_path)


def test_refit_estimates_as_a_first_build_does(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    dataset.catalog.write(everything)
    dataset.build(recipe)
    frozen = dataset.estimates()
    assert dataset.document.estimates["version"] != dataset.document.version
    dataset.forget_work()
    dataset.build(recipe, refit=True)
    fresh = dataset_in(tmp_path / "fresh", dataset.catalog)
    fresh.build(recipe)
    mine, theirs = dataset.estimates(), fresh.estimates()
    assert mine != frozen
    assert {n: mine[n] for n in mine if n != "buckets"} == {n: theirs[n] for n in theirs if n != "buckets"}
    assert dataset.document.estimates["version"] == dataset.document.version
    assert dataset.table("run")["bytes"].sum() == 0
    equals_a_fresh_one(dataset, recipe, tmp_path / "again")


def test_statistics_that_had_no_pixel_are_taken_once_there_is_one(
    world: World, recipe: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing was kept as if it were an estimate: means stayed null, and the gate refused what came after."""
    apart = recipe | {"split": {"method": "groups", "by": "region", "fractions": [0.0, 1.0, 0.0]}}
    dataset = dataset_in(tmp_path / "dataset", ChangingCatalog(world.index, tmp_path / "catalog"))
    dataset.catalog.write(first_catalog)
    dataset.build(apart)
    assert all(band.mean is None for layer in dataset.document.modalities for band in layer.bands)
    dataset.build(recipe)
    document = dataset.document
    assert all(band.mean is not None for layer in document.modalities for band in layer.bands)
    assert {document.statistics_of(layer.group) for layer in document.modalities} == {document.version}
    assert dataset.table("run")["bytes"].sum() == 0
    assert check_dataset(dataset.storage, statistics=True).problems == []


def test_shifts_measured_no_more_open_no_imagery(dataset: Dataset, recipe: dict[str, Any], tmp_path: Path) -> None:
    edited = copy.deepcopy(recipe)
    edited["register"] = {"mode": "off"}
    dataset.build(edited)
    assert dataset.table("run")["bytes"].sum() == 0
    assert {status for dates in dataset.table("chips")["s2.registered"] for status in dates} == {"not_applicable"}
    equals_a_fresh_one(dataset, edited, tmp_path)


def test_what_was_rejected_is_not_read_again_for_a_word(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path
) -> None:
    strict = copy.deepcopy(recipe)
    strict["screen"]["min_clear_fraction"] = 0.97
    dataset.build(strict)
    kept, outcomes = set(dataset.table("chips").index), dataset.table("outcomes")
    rejected = set(outcomes.index[outcomes["state"] == "rejected"])
    assert rejected
    assert kept
    assert set(dataset.table("removed")["state"]) == {"rejected"}
    strict["captions"]["kinds"] = ["qa"]
    dataset.forget_work()
    dataset.build(strict)
    assert set(dataset.table("run").index) == kept
    assert set(dataset.table("outcomes").query("state == 'rejected'").index) == rejected
    equals_a_fresh_one(dataset, strict, tmp_path)


def test_what_was_rejected_is_read_again_when_nothing_rejects_it_any_more(
    dataset: Dataset, recipe: dict[str, Any], tmp_path: Path
) -> None:
    strict = copy.deepcopy(recipe)
    strict["register"] = {"mode": "reject", "reference": "s2", "min_reliability": 0.1, "max_shift_m": 3.0}
    dataset.build(strict)
    outcomes = dataset.table("outcomes")
    assert any(reason.endswith("max_shift_m") for reason in outcomes["reason"])
    kept = len(dataset.table("chips"))
    dataset.build(recipe)
    assert len(dataset.table("chips")) > kept
    equals_a_fresh_one(dataset, recipe, tmp_path)
