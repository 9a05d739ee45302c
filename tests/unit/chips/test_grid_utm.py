"""Cells: the grid's index and bounds are inverses, on Sentinel-2's lattice, at every seam."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from chips.cell_table import CellTable, footprints_lonlat
from chips.grid_utm import cell_at, utm_cells
from chips.zones import utm_epsg

EPSG = st.integers(1, 60).flatmap(lambda zone: st.sampled_from([32600 + zone, 32700 + zone]))
SIZES = st.sampled_from([60.0, 960.0, 1200.0, 2520.0, 2640.0])


@given(EPSG, SIZES, st.floats(100_000, 900_000), st.floats(0, 9_999_999))
def test_cell_of_a_point_holds_the_point(epsg: int, size: float, x: float, y: float) -> None:
    left, bottom, right, top = cell_at(x, y, epsg, size).bounds_xyxy
    assert left <= x < right
    assert bottom <= y < top


@given(EPSG, SIZES, st.integers(150, 800), st.integers(-4000, 9000))
def test_cell_of_its_centre_is_the_cell(epsg: int, size: float, column: int, row: int) -> None:
    left, bottom, right, top = cell_at(column * size, row * size, epsg, size).bounds_xyxy
    cell = cell_at((left + right) / 2, (bottom + top) / 2, epsg, size)
    assert cell.bounds_xyxy == (left, bottom, right, top)


@given(EPSG, SIZES, st.floats(100_000, 900_000), st.floats(0, 9_999_999))
def test_edges_are_pixel_edges_of_all_three_resolutions(epsg: int, size: float, x: float, y: float) -> None:
    left, bottom, _, top = cell_at(x, y, epsg, size).bounds_xyxy
    anchor = 10_000_000 if epsg >= 32700 else 0
    for gsd in (10, 20, 60):
        assert left % gsd == 0
        assert (bottom - anchor) % gsd == 0
        assert (top - anchor) % gsd == 0


def test_southern_sixty_metre_edges_lie_at_forty() -> None:
    assert cell_at(300_000.0, 6_240_000.0, 32734, 960.0).bounds_xyxy[1] % 60 == 40


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (5.0, 60.0, 32632),  # Norway: zone 32 reaches west to 3 E
        (2.9, 60.0, 32631),
        (5.0, 55.9, 32631),
        (8.0, 78.0, 32631),  # Svalbard
        (10.0, 78.0, 32633),
        (22.0, 78.0, 32635),
        (34.0, 78.0, 32637),
        (11.999, 47.8, 32632),
        (12.0, 47.8, 32633),
        (-180.0, 10.0, 32601),
        (180.0, 10.0, 32601),
        (179.99, -10.0, 32760),
        (19.0, -33.9, 32734),
        (0.0, 0.0, 32631),
    ],
)
def test_zone_of_a_point_follows_the_exceptions(lon: float, lat: float, epsg: int) -> None:
    assert utm_epsg(lon, lat) == epsg


@given(st.floats(-179.9, 179.9), st.floats(-79, 83))
def test_zone_holds_its_point_within_its_reach(lon: float, lat: float) -> None:
    epsg = utm_epsg(lon, lat)
    central = (epsg % 100) * 6 - 183
    assert abs(lon - central) <= (9.01 if lat >= 56 else 3.0001)
    assert (epsg >= 32700) == (lat < 0)


def test_cells_of_a_region_on_a_zone_border_do_not_overlap() -> None:
    region = shapely.box(11.95, 47.80, 12.05, 47.85)
    cells = CellTable.concat(utm_cells(region, 960.0, "north"))
    assert set(cells.epsg.tolist()) == {32632, 32633}
    prints = cells.footprints()
    assert all(region.covers(footprint) for footprint in prints)
    tree = shapely.STRtree(prints)
    pairs = tree.query(prints, predicate="intersects")
    for one, other in pairs.T:
        if one < other:
            assert prints[one].intersection(prints[other]).area < 1e-9 * prints[one].area


def test_cells_at_a_zone_border_do_not_depend_on_the_rest_of_the_region() -> None:
    here = shapely.box(11.95, 57.24, 12.08, 57.36)
    alone = CellTable.concat(utm_cells(here, 960.0, "a"))
    far = shapely.box(11.98, 44.0, 12.02, 44.04)  # puts the corner of a block just inside zone 33
    both = CellTable.concat(utm_cells(shapely.multipolygons([far, here]), 960.0, "a"))
    assert set(both.take(shapely.covers(here, both.footprints())).chip_id) == set(alone.chip_id)


def test_names_of_cells_are_unique_and_fit_a_shard_key() -> None:
    names = [
        *CellTable.concat(utm_cells(shapely.box(11.95, 47.80, 12.05, 47.85), 960.0, "a")).chip_id.tolist(),
        *CellTable.concat(utm_cells(shapely.box(19, -34, 19.05, -33.95), 960.0, "b")).chip_id.tolist(),
    ]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() for name in names)


def test_footprint_is_the_square_seen_in_degrees() -> None:
    (footprint,) = footprints_lonlat(np.array([[500_000.0, 5_300_000.0, 500_960.0, 5_301_920.0]]), 32632)
    west, south, east, north = footprint.bounds
    assert np.isclose((north - south) * 111_195, 1920, rtol=0.01)
    assert np.isclose((east - west) * 111_195 * math.cos(math.radians(south)), 960, rtol=0.01)
