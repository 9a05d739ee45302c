"""What a plan says of items that its catalog withdrew, or that are none: compared with what a version froze."""

from __future__ import annotations

from pathlib import Path

from flows.frozen_items import FrozenItems
from flows.planning import make_plan
from flows.published_items import items_of_current, write_published_items
from schemas.recipe import Recipe
from shards.pointer import move_pointer
from shards.storage import FolderStorage
from tests.unit.flows.catalog_made_up import recipe_data, sentinel2_item, write_catalog

VERSION = "20240101T000000Z-0123abcd"
DAYS = {"a": "2021-06-01", "b": "2021-06-04", "c": "2021-06-09"}


def test_a_plan_names_what_the_current_version_used_and_the_catalog_withdrew(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(recipe_data())
    variables = {"TERRAWEFT_CATALOG": str(tmp_path)}
    items = [sentinel2_item(name, 0, 12, day) for name, day in DAYS.items()]
    write_catalog(tmp_path, items)
    storage = FolderStorage(tmp_path / "dataset")
    assert items_of_current(storage) == []
    first = make_plan(recipe, tmp_path, variables, tmp_path / "first")
    version = tmp_path / "dataset" / "versions" / VERSION
    version.mkdir(parents=True)
    move_pointer(storage, "x", VERSION, None)
    assert items_of_current(storage) == [], "versions of before have no such table"
    write_published_items(FrozenItems(first.folder / "items.parquet", recipe, variables), version / "items.parquet")
    before = items_of_current(storage)
    assert sorted(item.item_id for item in before) == ["a", "b", "c"]
    spoilt = {**items[2], "properties": {"datetime": "never"}}
    write_catalog(tmp_path, [items[0], spoilt])
    again = make_plan(recipe, tmp_path, variables, tmp_path / "again", before=before)
    assert [note for note in again.notes if "c" in note.split("'")[1:2]] == [
        "s2: item 'c' is left out: it is no STAC item: item c: 'never' or None is no time"
    ]
    assert "sentinel-2-l2a: 2 item(s) withdrawn since they were last used: b, c" in again.notes
    assert not any("withdrawn" in note for note in first.notes)
