"""What a plan tells a person before anything is read."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.plan import PlannedCells, plan_cells
from chips.search_boxes import search_boxes
from flows.planning import _check_labels, _split_notes
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


def _planned(recipe: Recipe, **regions: shapely.Geometry) -> PlannedCells:
    return plan_cells(recipe, CellTable.concat(cells_of(recipe.grid, {"north": NORTH, **regions})))


def test_splits_far_from_what_was_asked_are_told() -> None:
    one_block = _recipe(split={"block_m": 100_000})
    (note,) = _split_notes(one_block, _planned(one_block).split)
    assert "instead of 15%" in note
    assert "smaller split.block_m" in note
    none = _recipe(split={"method": "none"})
    assert _split_notes(none, _planned(none).split) == []


def test_search_boxes_hold_every_chip_and_part_far_places() -> None:
    far = shapely.box(100.0, 10.0, 100.05, 10.05)
    cells = _planned(_recipe(), far=far).cells
    boxes = shapely.box(*np.array(search_boxes(cells)).T)
    assert len(boxes) == 2
    assert all(area < 1 for area in shapely.area(boxes))
    assert shapely.covers(boxes[:, None], cells.footprints()[None, :]).any(axis=0).all()


def test_a_large_region_is_searched_in_few_boxes() -> None:
    recipe = _recipe(grid={"chip_m": 19_200, "tile_chips": 3})
    wide = shapely.union(shapely.box(0.0, 40.0, 20.0, 44.0), shapely.box(0.0, 40.0, 4.0, 55.0))
    cells = _planned(recipe, wide=wide).cells
    boxes = shapely.box(*np.array(search_boxes(cells)).T)
    assert 1 < len(boxes) <= 6
    assert shapely.covers(boxes[:, None], cells.footprints()[None, :]).any(axis=0).all()


def test_legend_without_a_crosswalk_is_told_before_anything_is_read() -> None:
    labels = {
        "sources": {"osm": {"kind": "raster", "href": "x.tif", "legend": "worldcover"}},
        "fuse": {"method": "vote", "legend": "osm"},
    }
    with pytest.raises(RecipeError, match="unknown crosswalk"):
        _check_labels(_recipe(labels=labels))
