"""A plan on disk: the same from the frozen items as from the catalog, shared out whole, refused for another recipe."""

from __future__ import annotations

from pathlib import Path

import geopandas
import pytest

from flows.plan_store import Part, StoredPlan
from flows.planning import make_plan
from schemas.errors import RecipeError, UserError
from schemas.recipe import Recipe
from schemas.recipe_file import load_recipe

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
