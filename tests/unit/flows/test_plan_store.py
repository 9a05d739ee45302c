"""A plan on disk: the same from the frozen items as from the catalog, shared out whole, refused for another recipe."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from flows.frozen_items import JUDGED
from flows.looking import find_plan
from flows.plan_store import Part, StoredPlan
from flows.planning import make_plan
from flows.request import BuildRequest, run_folder
from flows.steps import STEPS
from schemas.errors import DatasetError, RecipeError, UserError
from schemas.recipe import Recipe
from schemas.recipe_file import load_recipe
from shards.storage import open_storage
from tests.unit.flows.many_items import over, write_items

RECIPE = Path(__file__).parents[3] / "recipes" / "real-wervik.yaml"


def _frozen(recipe: Recipe, items: Path) -> Recipe:
    data = recipe.model_dump(mode="json", by_alias=True)
    data["catalogs"] = {
        name: {"kind": "stac-geoparquet", "href": str(items), "frozen": name, "allow_local": True}
        for name in recipe.catalogs
    }
    return Recipe.model_validate(data)


@pytest.fixture(scope="module")
def plan(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> StoredPlan:
    known = {"TERRAWEFT_REALDATA": str(realdata)}
    return make_plan(load_recipe(RECIPE), RECIPE.parent, known, tmp_path_factory.mktemp("plan"))


@pytest.mark.realdata
def test_the_frozen_items_give_the_same_plan_as_the_catalog(plan: StoredPlan, realdata: Path, tmp_path: Path) -> None:
    recipe = _frozen(plan.recipe, plan.folder / "items.parquet")
    assert recipe.hash() == plan.recipe.hash()
    again = make_plan(recipe, RECIPE.parent, {"TERRAWEFT_REALDATA": str(realdata)}, tmp_path)
    assert list(again.tiles()) == list(plan.tiles())
    assert again.layers == plan.layers
    assert again.estimate == plan.estimate


@pytest.mark.realdata
def test_shares_of_a_plan_hold_every_tile_once(plan: StoredPlan) -> None:
    shares = [StoredPlan(plan.folder, plan.recipe, plan.items.variables, Part(n, 3)) for n in (1, 2, 3)]
    assert [tile for share in shares for tile in share.tiles()] == list(plan.tiles())
    assert sum(share.chip_count for share in shares) == plan.chip_count


@pytest.mark.realdata
def test_another_recipes_plan_is_refused(plan: StoredPlan) -> None:
    with pytest.raises(RecipeError, match="the plan is of another recipe"):
        StoredPlan(plan.folder, plan.recipe.model_copy(update={"seed": 1}), {})


@pytest.mark.realdata
def test_public_libraries_open_the_tables(plan: StoredPlan) -> None:
    chips = geopandas.read_parquet(plan.folder / "chips.parquet")
    assert len(chips) == plan.chip_count
    assert len(geopandas.read_parquet(plan.folder / "tiles.parquet")) == len(plan.numbers)


def test_a_share_that_is_none_is_one_line() -> None:
    for text in ("0/3", "4/3", "x", "1"):
        with pytest.raises(UserError, match="is no part"):
            Part.parse(text)


def test_an_item_that_is_refused_when_its_tile_is_made_is_told(tmp_path: Path) -> None:
    """Of many items a sample is looked at while planning: what the others lack is no secret of the log."""
    write_items(tmp_path / "items.parquet", JUDGED + 51, bad=5)
    plan = make_plan(over(str(tmp_path / "items.parquet")), tmp_path, {}, tmp_path / "plan")
    assert not any("i0005" in note for note in plan.notes)
    assert plan.left_out() == ()
    tiles = list(plan.tiles())
    assert all(len(tile.items["s2"]) == JUDGED + 50 for tile in tiles)
    (line,) = plan.left_out()
    assert (
        line == f"s2: item i0005: no asset for B02; it has SCL; left out of the {plan.chip_count} chip(s) of its tiles"
    )


def test_a_build_goes_on_with_its_plan_until_there_is_a_reason_to_ask_again(tmp_path: Path) -> None:
    def deliver(name: str, count: int) -> str:
        write_items(tmp_path / name, count)
        return str(tmp_path / name)

    deliver("items.parquet", 3)
    request = BuildRequest(
        recipe=over("${TERRAWEFT_ITEMS}"),
        recipe_folder=tmp_path,
        storage=open_storage(str(tmp_path / "dataset")),
        work=tmp_path / "work",
        variables={"TERRAWEFT_ITEMS": str(tmp_path / "items.parquet")},
    )

    def items(**changes: Any) -> int:
        return find_plan(replace(request, **changes)).offered["s2"]

    assert items() == 3
    deliver("items.parquet", 4)
    assert items() == 3, "a stopped run asked again"
    assert items(replan=True) == 4
    deliver("items.parquet", 5)
    assert items() == 4
    find_plan(request).use_up()  # a version was published of it: what is new?
    assert items() == 5
    moved = {"TERRAWEFT_ITEMS": deliver("elsewhere.parquet", 6)}
    assert items(variables=moved) == 6, "the frozen addresses may be dead"
    (run_folder(request) / "plan" / "plan.json").unlink()  # the planning itself was killed
    assert items() == 5


@pytest.mark.parametrize("name", ["chips.parquet", "tiles.parquet", "tile_items.parquet", "items.parquet"])
@pytest.mark.parametrize("is_used_up", [False, True])
def test_a_plan_that_a_power_cut_tore_is_made_again(tmp_path: Path, name: str, is_used_up: bool) -> None:
    write_items(tmp_path / "items.parquet", 3)
    request = BuildRequest(
        recipe=over(str(tmp_path / "items.parquet")),
        recipe_folder=tmp_path,
        storage=open_storage(str(tmp_path / "dataset")),
        work=tmp_path / "work",
    )
    first = find_plan(request)
    if is_used_up:
        first.use_up()
    torn = run_folder(request) / "plan" / name
    for length in (0, torn.stat().st_size // 2):
        os.truncate(torn, length)
        with pytest.raises(DatasetError, match="damaged"):
            StoredPlan(run_folder(request) / "plan", request.recipe, {})
        assert find_plan(request).offered == first.offered


def test_a_file_that_the_recipe_names_or_a_step_of_another_version_is_a_reason_to_plan_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_items(tmp_path / "items.parquet", 3)

    def draw(east: float) -> None:
        box = shapely.geometry.mapping(shapely.box(11.98, 47.80, east, 47.82))
        region = {"type": "Feature", "properties": {}, "geometry": box}
        (tmp_path / "region.geojson").write_text(json.dumps(region))

    draw(12.0)
    recipe = over(str(tmp_path / "items.parquet")).model_dump(mode="json", by_alias=True)
    recipe["regions"] = [{"name": "r", "geojson": "region.geojson"}]
    request = BuildRequest(
        recipe=Recipe.model_validate(recipe),
        recipe_folder=tmp_path,
        storage=open_storage(str(tmp_path / "dataset")),
        work=tmp_path / "work",
    )
    planned = find_plan(request).chip_count
    written = (run_folder(request) / "plan" / "plan.json").stat().st_mtime_ns
    assert find_plan(request).chip_count == planned
    assert (run_folder(request) / "plan" / "plan.json").stat().st_mtime_ns == written
    draw(11.99)
    assert find_plan(request).chip_count < planned
    written = (run_folder(request) / "plan" / "plan.json").stat().st_mtime_ns
    monkeypatch.setitem(STEPS, "plan", "of another software")
    with pytest.raises(DatasetError, match="plans otherwise"):
        find_plan(replace(request, plan=run_folder(request) / "plan"))
    find_plan(request)
    assert (run_folder(request) / "plan" / "plan.json").stat().st_mtime_ns > written
