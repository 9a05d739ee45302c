"""Splits by scene, from a recipe and a catalog to the plan: no scene is read for two splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.looking import look
from flows.plan_store import StoredPlan
from flows.planning import make_plan
from flows.request import BuildRequest
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from shards.storage import open_storage
from shards.version import publish
from tests.unit.flows.catalog_made_up import recipe_data, sentinel2_item, write_catalog
from tests.unit.shards import made_up

SPANS = {"a": (0, 4), "b": (3, 6), "c": (6, 9), "d": (9, 11)}
"""Scene -> columns of chips; a and b share one, column 11 has none."""
SPLIT = {"method": "groups", "by": "scene", "assign": "balanced", "fractions": [0.5, 0.25, 0.25]}


def _plan(folder: Path, out: Path, **changes: object) -> StoredPlan:
    recipe = Recipe.model_validate(recipe_data(**changes))
    return make_plan(recipe, folder, {"TERRAWEFT_CATALOG": str(folder)}, out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalog")
    days = ("2021-06-01", "2021-06-04", "2021-06-09", "2021-07-04")
    items = [sentinel2_item(n, *span, day) for (n, span), day in zip(SPANS.items(), days, strict=True)]
    write_catalog(folder, items)
    return folder


def test_no_scene_is_read_for_two_splits(folder: Path, tmp_path: Path) -> None:
    plan = _plan(folder, tmp_path, split=SPLIT)
    chips = geopandas.read_parquet(plan.folder / "chips.parquet")
    assert len(chips) == 48
    assert set(chips["block_id"]) == {"", "a", "c", "d"}
    assert set(chips["split"]) == {"train", "val", "test"}
    prints = geopandas.read_parquet(plan.folder / "items.parquet").set_index("id").geometry
    for name, outline in prints.items():
        touched = chips[chips.intersects(outline)]
        assert len(touched) == 4 * (SPANS[str(name)][1] - SPANS[str(name)][0])
        assert touched["split"].nunique() == 1, name


def test_splits_by_block_do_share_scenes(folder: Path, tmp_path: Path) -> None:
    """That the test above can fail."""
    chips = geopandas.read_parquet(_plan(folder, tmp_path, split={"block_m": 960}).folder / "chips.parquet")
    prints = geopandas.read_parquet(tmp_path / "items.parquet").geometry
    assert max(chips[chips.intersects(outline)]["split"].nunique() for outline in prints) > 1


def test_a_buffer_drops_chips_after_the_scenes_are_known(folder: Path, tmp_path: Path) -> None:
    whole = _plan(folder, tmp_path / "whole", split=SPLIT).folder / "chips.parquet"
    less = _plan(folder, tmp_path / "less", split={**SPLIT, "buffer_m": 500.0}).folder / "chips.parquet"
    before, after = geopandas.read_parquet(whole), geopandas.read_parquet(less)
    kept = before[before["chip_id"].isin(after["chip_id"])]
    assert 0 < len(after) < len(before)
    assert kept[["chip_id", "split"]].values.tolist() == after[["chip_id", "split"]].values.tolist()
    gone = before[~before["chip_id"].isin(after["chip_id"])]
    assert set(gone["split"]) == {"train"}


def test_one_scene_over_all_is_told(tmp_path: Path) -> None:
    write_catalog(tmp_path, [sentinel2_item("whole", 0, 12, "2021-06-01")])
    plan = _plan(tmp_path, tmp_path / "plan", split=SPLIT)
    assert any("val 0% instead of 25%" in note for note in plan.notes)


def test_scenes_of_another_modality_may_decide(folder: Path, tmp_path: Path) -> None:
    names = recipe_data()["modalities"]
    late = {**names["s2"], "time": {"start": "2021-07-01", "end": "2021-12-31"}}
    changes = {"modalities": {**names, "late": late}, "split": {**SPLIT, "scenes_of": ["late"]}}
    units = pq.read_table(_plan(folder, tmp_path, **changes).folder / "chips.parquet")["block_id"]
    assert set(np.asarray(units).tolist()) == {"", "d"}
    with pytest.raises(ValueError, match=r"split.scenes_of names 's1', but modalities has \['s2'\]"):
        Recipe.model_validate(recipe_data(split={**SPLIT, "scenes_of": ["s1"]}))
    with pytest.raises(ValueError, match="scenes_of is for by: scene"):
        Recipe.model_validate(recipe_data(split={"scenes_of": ["s2"]}))


def test_a_column_that_is_missing_is_told_before_any_catalog_is_asked(tmp_path: Path, folder: Path) -> None:
    recipe = Recipe.model_validate(recipe_data(split={"method": "groups", "by": "event"}))
    with pytest.raises(RecipeError, match="no column 'event'"):
        make_plan(recipe, folder, {"TERRAWEFT_CATALOG": "/nowhere"}, tmp_path)


def test_a_build_afresh_tells_which_chips_it_moves_to_another_split(folder: Path, tmp_path: Path) -> None:
    """As a refresh does: a model that learned from the version before is asked what it has seen."""
    root = tmp_path / "dataset"
    storage = open_storage(root)
    request = BuildRequest(
        recipe=Recipe.model_validate(recipe_data(split=SPLIT)),
        recipe_folder=folder,
        storage=storage,
        work=tmp_path / "work",
        variables={"TERRAWEFT_CATALOG": str(folder)},
        afresh=True,
    )
    first = look(request)
    assert first.outlook.notes() == ()
    planned = pq.read_table(first.plan.folder / "chips.parquet", columns=["chip_id", "split"]).to_pylist()
    train, test = ([row["chip_id"] for row in planned if row["split"] == split] for split in ("train", "test"))
    samples = []
    for number, (chip_id, split) in enumerate([(train[0], "train"), (train[1], "test"), (test[0], "train")]):
        made = replace(made_up.sample(number), texts=())
        samples.append(
            replace(made, chip_id=chip_id, split=split, row={**made.row, "chip_id": chip_id, "split": split})
        )
    version = publish(storage, made_up.draft(root, samples)).version
    (note,) = look(request).outlook.notes()
    assert "current version: 1 chip(s) from test to train, 1 chip(s) from train to test;" in note
    (root / "versions" / version / "chips.parquet").write_bytes(b"torn")
    assert look(request).outlook.notes() == (), "a version that cannot be read is built afresh all the same"
