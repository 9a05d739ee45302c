"""Gaps between chips: bit for bit the boxes' within a zone, true over seams, the same as asking every pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.grid_utm import to_table
from chips.nearness import Squares
from chips.zones import transformer
from schemas.recipe import Grid
from sources.regions import box_of

SEAM = box_of((11.9, 47.8, 12.1, 47.9))
FIJI = box_of((179.95, -17.05, -179.95, -16.97))


def _seam_cells() -> CellTable:
    return CellTable.concat(cells_of(Grid(chip_m=1200), {"seam": SEAM}))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=8, max_size=8), st.sampled_from([1.0, 500.0, 1200.0, 3000.0, 9000.0]))
def test_within_is_what_every_pair_says(held: list[bool], distance: float) -> None:
    cells = _seam_cells()
    some = np.flatnonzero(np.resize(held, len(cells)))
    others = np.flatnonzero(~np.resize(held, len(cells)))
    squares = Squares.of(cells)
    found = squares.within(some, others, distance)
    nearest = squares.nearest_gaps_m(some, others)
    for index, near, gap in zip(some, found, nearest, strict=True):
        gaps = squares.gaps_m(np.full(others.size, index), others)
        assert near == (others.size > 0 and gaps.min() <= distance)
        assert gap == pytest.approx(gaps.min(initial=np.inf))
    if some.size and others.size:
        smallest = min(squares.gaps_m(np.full(others.size, i), others).min() for i in some)
        assert squares.smallest_gap_m(some, others) == pytest.approx(smallest)


@pytest.mark.parametrize("region", [SEAM, FIJI], ids=["seam", "antimeridian"])
def test_gap_across_zones_is_what_a_geodesic_says(region: Any) -> None:
    cells = CellTable.concat(cells_of(Grid(chip_m=1200), {"r": region}))
    one, other = (np.flatnonzero(cells.epsg == code)[:1] for code in sorted(set(cells.epsg.tolist())))
    gap = Squares.of(cells).gaps_m(one, other)[0]
    edges = []
    for index in (one[0], other[0]):
        left, bottom, right, top = cells.bounds[index]
        ring = shapely.get_coordinates(shapely.segmentize(shapely.box(left, bottom, right, top), 20.0))
        edges.append(np.column_stack(transformer(int(cells.epsg[index]), 4326).transform(*ring.T)))
    a, b = (np.repeat(edges[0], len(edges[1]), axis=0).T, np.tile(edges[1], (len(edges[0]), 1)).T)
    assert gap == pytest.approx(np.min(Geod(ellps="WGS84").inv(*a, *b)[2]), rel=0.002, abs=2.0)


def test_neighbours_across_the_antimeridian_are_near() -> None:
    cells = CellTable.concat(cells_of(Grid(chip_m=1200), {"fiji": FIJI}))
    west, east = np.flatnonzero(cells.epsg == 32760), np.flatnonzero(cells.epsg == 32701)
    assert min(west.size, east.size) > 0
    assert Squares.of(cells).smallest_gap_m(west, east) < 1200


@pytest.mark.parametrize(("epsg", "y"), [(3857, 8_400_000.0), (6933, 7_000_000.0), (3035, 3_200_000.0)])
def test_gaps_of_listed_cells_are_metres_of_the_ground(epsg: int, y: float) -> None:
    """A metre of Web Mercator is half a metre at 60 N; equal areas are narrow and tall up there."""
    lefts = 4_300_000.0 + np.array([0.0, 4060.0, 6620.0, 5340.0])
    bottoms = y + np.array([0.0, 0.0, 0.0, 2560.0])
    bounds = np.column_stack([lefts, bottoms, lefts + 2560.0, bottoms + 2560.0])
    plain = np.array(["a", "b", "c", "d"])
    squares = Squares.of(CellTable(plain, np.full(4, epsg, np.int32), bounds, plain, plain))
    up = y + np.linspace(0.0, 2560.0, 6)
    a, b = (transformer(epsg, 4326).transform(np.full(6, x), up) for x in (lefts[0] + 2560.0, lefts[1]))
    true = float(np.min(Geod(ellps="WGS84").inv(*a, *b)[2]))
    first, rest = np.array([0]), np.array([1, 2])
    assert squares.gaps_m(first, rest[:1])[0] == pytest.approx(true, rel=1e-3)
    assert squares.smallest_gap_m(first, rest) == pytest.approx(true, rel=1e-3)
    for distance in (0.99 * true, 1.01 * true):
        assert squares.within(first, rest, distance).tolist() == [distance > true]
    assert squares.gaps_m(np.array([1, 1]), np.array([2, 3])).tolist() == [0.0, 0.0]  # that touch, one by half an edge
    assert squares.overlaps(np.array([1]), np.array([3]))[0].size == 0


def test_overlap_is_the_shared_area() -> None:
    cells = to_table(np.array([600, 600]), np.array([5500, 5500]), 32632, 960.0, "r")
    moved = cells.bounds.copy()
    moved[1] += np.array([900.0, 600.0, 900.0, 600.0])
    squares = Squares.of(CellTable(cells.chip_id, cells.epsg, moved, cells.region, cells.majortom))
    one, other, area = squares.overlaps(np.array([0]), np.array([1]))
    assert (one.tolist(), other.tolist(), area.tolist()) == ([0], [1], [60.0 * 360.0])
