"""Catalogs whose items name no collection, or another than the one they lie in: they are planned with all the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.catalogs import shared_limits
from flows.frozen_items import ITEMS, FrozenItems
from flows.indexing import index_catalog
from flows.planning import make_plan
from flows.published_items import write_published_items
from schemas.errors import UserError
from schemas.recipe import Recipe
from tests.unit.flows.catalog_made_up import recipe_data, sentinel2_item, write_catalog

COLLECTION = "sentinel-2-l2a"


def odd_catalog(folder: Path, named: str | None) -> dict[str, str]:
    """A catalog of two items that name a collection of their own, or none; the variables of its recipe."""
    folder.mkdir()
    items = [sentinel2_item(name, 0, 12, f"2021-06-0{day}") for day, name in enumerate("ab", 1)]
    write_catalog(folder, items)
    for item in items:
        item["collection"] = named
        found = {key: value for key, value in item.items() if value is not None}
        (folder / f"{item['id']}.json").write_text(json.dumps(found))
    return {"TERRAWEFT_CATALOG": str(folder)}


@pytest.mark.parametrize("named", [None, "Sentinel-2"])
def test_items_belong_to_the_collection_in_which_they_were_found(tmp_path: Path, named: str | None) -> None:
    """Else none of them was found again among the frozen ones, and no item seemed to lie in the region."""
    here = odd_catalog(tmp_path / "c", named)
    recipe = Recipe.model_validate(recipe_data())
    plan = make_plan(recipe, tmp_path / "c", here, tmp_path / "plan")
    assert plan.offered == {"s2": 2}
    published = tmp_path / "published.parquet"
    write_published_items(FrozenItems(plan.folder / ITEMS, recipe, here), published)
    assert pq.read_table(published)["collection"].to_pylist() == [COLLECTION] * 2
    catalog = {"kind": "stac-geoparquet", "href": str(published), "frozen": "c", "allow_local": True}
    again = recipe_data(catalogs={"c": catalog})
    here |= {"TERRAWEFT_CATALOG_C": here["TERRAWEFT_CATALOG"]}
    assert make_plan(Recipe.model_validate(again), tmp_path / "c", here, tmp_path / "again").offered == {"s2": 2}


def test_items_that_their_catalog_calls_deprecated_are_told(tmp_path: Path) -> None:
    items = [sentinel2_item(name, 0, 12, f"2021-06-0{day}") for day, name in enumerate("ab", 1)]
    items[1]["properties"]["deprecated"] = True
    write_catalog(tmp_path, items)
    here = {"TERRAWEFT_CATALOG": str(tmp_path)}
    plan = make_plan(Recipe.model_validate(recipe_data()), tmp_path, here, tmp_path / "plan")
    assert "s2: its catalog calls 1 of the items deprecated, the first: b" in plan.notes
    assert plan.offered == {"s2": 2}


def test_an_index_of_such_a_catalog_is_searched_by_the_collection_that_was_asked(tmp_path: Path) -> None:
    odd_catalog(tmp_path / "c", None)
    assert index_catalog(str(tmp_path / "c" / "catalog.json"), tmp_path / "x.parquet", [COLLECTION], None) == (2, [])
    assert pq.read_table(tmp_path / "x.parquet")["collection"].to_pylist() == [COLLECTION] * 2


def test_an_index_without_a_column_of_collections_is_planned_with(tmp_path: Path) -> None:
    here = odd_catalog(tmp_path / "c", None)
    index_catalog(str(tmp_path / "c" / "catalog.json"), tmp_path / "x.parquet", [COLLECTION], None)
    pq.write_table(pq.read_table(tmp_path / "x.parquet").drop_columns(["collection"]), tmp_path / "x.parquet")
    catalog = {"kind": "stac-geoparquet", "href": str(tmp_path / "x.parquet"), "allow_local": True}
    recipe = Recipe.model_validate(recipe_data(catalogs={"c": catalog}))
    assert make_plan(recipe, tmp_path / "c", here, tmp_path / "plan").offered == {"s2": 2}


def test_an_index_tells_what_it_leaves_out_and_leaves_nothing_where_it_fails(tmp_path: Path) -> None:
    odd_catalog(tmp_path / "c", None)
    (tmp_path / "c" / "a.json").write_text(json.dumps({"id": "a", "properties": {}}))
    count, (note,) = index_catalog(str(tmp_path / "c"), tmp_path / "x.parquet", [COLLECTION], None)
    assert count == 1
    assert note.startswith("item 'a' is left out: it is no STAC item")
    with pytest.raises(UserError, match="no collection 'none'"):
        index_catalog(str(tmp_path / "c"), tmp_path / "y.parquet", [COLLECTION, "none"], None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "x.parquet"]


def test_a_folder_of_an_index_is_indexed_as_one(tmp_path: Path) -> None:
    odd_catalog(tmp_path / "c", None)
    (tmp_path / "parts").mkdir()
    index_catalog(str(tmp_path / "c"), tmp_path / "parts" / "x.parquet", [COLLECTION], None)
    assert index_catalog(str(tmp_path / "parts"), tmp_path / "y.parquet", [COLLECTION], None) == (2, [])


def test_a_folder_that_others_may_have_made_first_leads_nowhere(tmp_path: Path) -> None:
    """All users of a machine know its name: a link in it had a file of ours overwritten by the time of a pause."""
    assert shared_limits(str(tmp_path)) == shared_limits(str(tmp_path))
    folder = shared_limits(str(tmp_path))
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / f"terraweft-limits-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not yours"):
        shared_limits(str(tmp_path))
