"""The plan: layers on their own lattices, tiles of neighbours, nothing shifted silently."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.inputs import PLACE, recipe_parts, tile_inputs
from chips.plan import LayerPlan, PlannedCells, chip_specs, layer_georef, plan_cells, plan_layers
from chips.rows import chip_row
from flows.steps import STEPS
from schemas.chip import Chip, ChipSpec, Tile
from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.recipe import Modality, Recipe
from schemas.scene import SceneItem, SceneRef

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


def _spec(epsg: int, bounds: tuple[float, float, float, float]) -> ChipSpec:
    now = datetime(2021, 6, 1, tzinfo=UTC)
    return ChipSpec("a", epsg, bounds, "r", "train", "b", now, now, now, b"")


def _layer(sensor: str, gsd: float) -> LayerPlan:
    return LayerPlan("m", "m", sensor, gsd, ("B",), "uint16", 0, "reflectance")


def _modality(grid: str = "native") -> Modality:
    return Modality(sensor="x", catalog="c", collection="s", grid=grid)  # type: ignore[arg-type]


def _planned(region: shapely.Geometry) -> PlannedCells:
    recipe = _recipe()
    return plan_cells(recipe, CellTable.concat(cells_of(recipe.grid, {"north": region})))


def test_chips_are_ordered_and_planned_once() -> None:
    chips = _planned(NORTH)
    ids = chips.cells.chip_id.tolist()
    assert ids == sorted(set(ids))
    assert set(chips.split.tolist()) <= {"train", "val", "test"}


def test_larger_region_keeps_every_split() -> None:
    small, large = _planned(NORTH), _planned(NORTH.buffer(0.02))
    splits = dict(zip(large.cells.chip_id.tolist(), large.split.tolist(), strict=True))
    assert len(large) > len(small)
    assert [splits[chip_id] for chip_id in small.cells.chip_id.tolist()] == small.split.tolist()


def test_region_without_a_chip_is_one_line() -> None:
    with pytest.raises(RecipeError, match="no chip fits"):
        _planned(shapely.box(11.95, 47.80, 11.951, 47.801))


def test_absurd_region_is_refused_with_the_estimate() -> None:
    with pytest.raises(RecipeError, match="chips are more than"):
        _planned(shapely.box(-179, -80, 179, 80))


def test_native_thirty_metre_layer_overhangs_on_both_sides() -> None:
    spec = _spec(32632, (722_880.0, 5_299_200.0, 723_840.0, 5_300_160.0))
    georef = layer_georef(spec, _layer("landsat-c2-l2-sr", 30.0), _modality(), ())
    assert georef == GeoRef(32632, 722_865.0, 5_300_175.0, 30.0, (33, 33))


def test_southern_landsat_in_northern_numbers_is_moved_by_the_false_northing_alone() -> None:
    spec = _spec(32734, (300_480.0, 6_240_160.0, 301_440.0, 6_241_120.0))
    lattice = GeoRef(32634, 290_985.0, -3_750_015.0, 30.0, (500, 600))
    georef = layer_georef(spec, _layer("landsat-c2-l2-sr", 30.0), _modality(), (lattice,))
    assert (georef.y0 - 10_000_000 - lattice.y0) % 30 == 0
    assert (georef.x0 - lattice.x0) % 30 == 0
    assert georef.bounds_xyxy[1] <= spec.bounds_xyxy[1]
    assert georef.bounds_xyxy[3] >= spec.bounds_xyxy[3]


def test_snapped_layer_lies_on_the_chip() -> None:
    spec = _spec(32632, (722_880.0, 5_299_200.0, 723_840.0, 5_300_160.0))
    georef = layer_georef(spec, _layer("landsat-c2-l2-sr", 30.0), _modality("snapped"), ())
    assert georef.bounds_xyxy == spec.bounds_xyxy


@given(
    st.floats(0, 29.99),
    st.floats(0, 29.99),
    st.sampled_from([10.0, 20.0, 30.0]),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_native_layer_covers_the_chip_with_less_than_a_pixel_to_spare(
    dx: float, dy: float, gsd: float, rows: int, columns: int
) -> None:
    spec = _spec(32632, (600_000.0, 5_300_000.0, 600_000.0 + 60 * columns, 5_300_000.0 + 60 * rows))
    lattice = GeoRef(32632, 599_000.0 + dx, 5_400_000.0 + dy, gsd, (10_000, 10_000))
    georef = layer_georef(spec, _layer("sentinel-2-l2a", gsd), _modality(), (lattice,))
    assert georef.is_aligned(lattice)
    left, bottom, right, top = georef.bounds_xyxy
    want = spec.bounds_xyxy
    slack = 1e-3 * gsd
    assert want[0] - gsd < left <= want[0] + slack
    assert want[1] - gsd < bottom <= want[1] + slack
    assert want[2] - slack <= right < want[2] + gsd
    assert want[3] - slack <= top < want[3] + gsd


@given(st.integers(1, 60), st.floats(-1e6, 1e6), st.integers(0, 10**7))
def test_zone_numbers_are_inverses(zone: int, x0: float, y0: int) -> None:
    georef = GeoRef(32600 + zone, x0, float(y0), 30.0, (3, 4))
    there = georef.in_zone(32700 + zone)
    assert there is not None
    assert there.in_zone(32600 + zone) == georef
    assert georef.in_zone(32600 + zone % 60 + 1) is None


def test_what_is_known_of_a_place_goes_into_the_chip_and_its_hash() -> None:
    bounds = np.array([[600000.0, 5300160.0, 600960.0, 5301120.0]])
    one, name = np.full(1, "a"), "event"
    columns = {name: np.array(["flood"]), "year": np.array([2021]), "split": one, "block_id": one}
    cells = CellTable(one, np.array([32632], np.int32), bounds, one, one, columns)
    cells = cells.with_column("date event", np.array(["2021-05-01"]))
    (spec,) = chip_specs(_recipe(), PlannedCells(cells, one, one), np.array([shapely.to_wkb(NORTH)], dtype=object))
    assert spec.columns == (("event", "flood"), ("year", 2021))
    assert spec.dates == (("event", date(2021, 5, 1)),)
    row = chip_row(Chip(spec, {}, {}, {}), _recipe())
    assert (row["place.event"], row["place.year"]) == ("flood", 2021)
    assert type(row["place.year"]) is int
    other = replace(spec, columns=(("event", "fire"), ("year", 2021)))
    parts = recipe_parts(_recipe(), STEPS)
    hashes = [tile_inputs(_recipe(), Tile("t", 32632, (one,), {}), parts)[spec.chip_id] for one in (spec, other)]
    assert {name for name in hashes[0] if hashes[0][name] != hashes[1][name]} == {PLACE}


def _item(modality: str) -> SceneItem:
    """Bands of 10 and of 20 m."""
    refs = tuple(
        SceneRef("i", band, "a.tif", band, 1, GeoRef(32632, 600_000.0, 5_300_040.0, gsd, (12, 9)), "uint16", 0)
        for band, gsd in (("B02", 10.0), ("B05", 20.0))
    )
    noon = datetime(2021, 6, 1, tzinfo=UTC)
    return SceneItem("c", "s", "i", modality, "sentinel-2-l2a", noon, None, shapely.to_wkb(NORTH), refs)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("sentinel-2-l2a-reflectance",), "'sentinel-2-l2a-reflectance_10m': 30 characters are more than 26"),
        (("s2", "s2_20m"), "'s2_20m': another modality has it"),
    ],
)
def test_layers_whose_names_no_shard_holds_are_refused_before_anything_is_read(
    names: tuple[str, ...], message: str
) -> None:
    recipe = _recipe(modalities=dict.fromkeys(names, RECIPE["modalities"]["s2"]))  # type: ignore[index]
    examples = {name: _item(name) for name in names}
    if "s2_20m" in names:
        examples["s2_20m"] = replace(examples["s2_20m"], refs=examples["s2_20m"].refs[:1])
    with pytest.raises(RecipeError, match=message):
        plan_layers(recipe, examples)
