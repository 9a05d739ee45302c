"""What a plan tells a person before anything is read."""

from __future__ import annotations

import pytest
import shapely

from chips.plan import plan_chips
from flows.planning import _check_labels, _split_notes, search_boxes
from schemas.errors import RecipeError
from schemas.recipe import Recipe

RECIPE = {
    "format": 1,
    "name": "x",
    "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
    "regions": [{"name": "north", "bbox": [11.95, 47.80, 12.05, 47.85]}],
    "grid": {"chip_m": 960, "tile_chips": 3},
    "time": {"start": "2021-01-01", "end": "2021-12-31"},
    "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s"}},
}
NORTH = shapely.box(11.95, 47.80, 12.05, 47.85)


def _recipe(**changes: object) -> Recipe:
    return Recipe.model_validate({**RECIPE, **changes})


def test_splits_far_from_what_was_asked_are_told() -> None:
    one_block = _recipe(split={"block_m": 100_000})
    (note,) = _split_notes(one_block, plan_chips(one_block, {"north": NORTH}))
    assert "instead of 15%" in note
    assert "smaller split.block_m" in note
    none = _recipe(split={"method": "none"})
    assert _split_notes(none, plan_chips(none, {"north": NORTH})) == []


def test_search_boxes_hold_every_chip_and_part_far_places() -> None:
    recipe = _recipe()
    far = shapely.box(100.0, 10.0, 100.05, 10.05)
    chips = plan_chips(recipe, {"north": NORTH, "far": far})
    boxes = [shapely.box(*box) for box in search_boxes(chips)]
    assert len(boxes) <= 4
    assert all(box.area < 1 for box in boxes)
    for chip in chips:
        footprint = shapely.from_wkb(chip.footprint_wkb)
        assert any(box.covers(footprint) for box in boxes)


def test_legend_without_a_crosswalk_is_told_before_anything_is_read() -> None:
    labels = {
        "sources": {"osm": {"kind": "raster", "href": "x.tif", "legend": "worldcover"}},
        "fuse": {"method": "vote", "legend": "osm"},
    }
    with pytest.raises(RecipeError, match="unknown crosswalk"):
        _check_labels(_recipe(labels=labels))
