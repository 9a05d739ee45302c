"""Tiles as columns: every chip once, neighbours together, and exactly the items that touch a chip."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from chips.cell_table import CellTable
from chips.tiling import TileTable, hulls_of, tile_cells, touches

SIZE = 960.0


def _cells(columns: int, rows: int, west: int = 752, south: int = 5520, epsg: int = 32632) -> CellTable:
    column, row = (grid.ravel() for grid in np.meshgrid(np.arange(columns), np.arange(rows)))
    left, bottom = (west + column) * SIZE, (south + row) * SIZE
    names = np.array([f"c{c:03d}_{r:03d}" for c, r in zip(column, row, strict=True)])
    return CellTable(
        names,
        np.full(len(names), epsg, np.int32),
        np.column_stack([left, bottom, left + SIZE, bottom + SIZE]),
        np.full(len(names), "r"),
        np.full(len(names), "m"),
    )


def _tile_of(tiles: TileTable) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.repeat(np.arange(len(tiles)), np.diff(tiles.first))


@given(st.integers(1, 25), st.integers(1, 17), st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_every_chip_is_in_one_tile_whatever_the_order_of_the_cells(
    columns: int, rows: int, edge: int, random: object
) -> None:
    cells = _cells(columns, rows)
    shuffled = np.arange(len(cells))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    tiles, again = tile_cells(cells, SIZE, edge), tile_cells(cells.take(shuffled), SIZE, edge)
    assert sorted(tiles.order.tolist()) == list(range(len(cells)))
    assert tiles.tile_id.tolist() == again.tile_id.tolist()
    assert len(set(tiles.tile_id.tolist())) == len(tiles)
    assert cells.chip_id[tiles.order].tolist() == cells.take(shuffled).chip_id[again.order].tolist()
    assert np.diff(tiles.first).max() <= edge * edge
    for start, stop in zip(tiles.first[:-1], tiles.first[1:], strict=True):
        members = cells.take(tiles.order[start:stop])
        assert members.chip_id.tolist() == sorted(members.chip_id.tolist())
        assert np.ptp(members.bounds[:, 0]) < edge * SIZE
        assert np.ptp(members.bounds[:, 1]) < edge * SIZE


def test_tiles_run_from_north_to_south_and_in_a_row_from_west_to_east() -> None:
    cells = _cells(40, 28, west=730, south=5516)
    tiles = tile_cells(cells, SIZE, 4)
    first = cells.take(tiles.order[tiles.first[:-1]]).bounds
    corner = np.floor(first[:, :2] / (4 * SIZE))
    assert len(corner) > 50
    assert np.array_equal(np.lexsort([corner[:, 0], -corner[:, 1]]), np.arange(len(corner)))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_pairs_are_those_that_every_chip_looked_at_alone_would_give(seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = _cells(9, 7).take(np.flatnonzero(random.random(63) < 0.6))
    if not len(cells):
        return
    tiles = tile_cells(cells, SIZE, 3)
    outlines, tile_of = cells.take(tiles.order).footprints(), _tile_of(tiles)
    west, south, east, north = shapely.total_bounds(outlines)
    centres = random.uniform((west, south), (east, north), (12, 2))
    footprints = shapely.buffer(shapely.points(centres), random.uniform(0.001, 0.06, 12), quad_segs=2)
    found = touches(outlines, tile_of, hulls_of(outlines, tile_of), footprints, shapely.STRtree(footprints))
    alone = shapely.intersects(outlines[:, None], footprints[None, :])
    wanted = {
        (int(t), int(i)): int(alone[tile_of == t, i].sum())
        for t in range(len(tiles))
        for i in range(12)
        if alone[tile_of == t, i].any()
    }
    tile, item, count = (part.tolist() for part in found)
    assert dict(zip(zip(tile, item, strict=True), count, strict=True)) == wanted
    assert list(zip(tile, item, strict=True)) == sorted(wanted)


def test_a_tile_on_the_antimeridian_touches_what_lies_on_both_sides_and_nothing_between() -> None:
    cells = _cells(6, 4, west=860, south=8500, epsg=32701)
    cells = CellTable(
        cells.chip_id,
        cells.epsg,
        cells.bounds + np.array([178_000.0 - 860 * SIZE, 0.0, 178_000.0 - 860 * SIZE, 0.0]),
        cells.region,
        cells.majortom,
    )
    outlines = cells.footprints()
    tile_of = np.zeros(len(cells), np.int64)
    latitude = float(shapely.get_y(shapely.centroid(outlines[0])))
    footprints = np.array(
        [shapely.box(lon, latitude - 1, lon + 1, latitude + 1) for lon in (179.0, -180.0, 0.0)], dtype=object
    )
    hulls = hulls_of(outlines, tile_of)
    _, item, _ = touches(outlines, tile_of, hulls, footprints, shapely.STRtree(footprints))
    crosses = shapely.bounds(hulls)[0, 2] - shapely.bounds(hulls)[0, 0] > 180
    assert crosses
    assert item.tolist() == [0, 1]


def test_a_tile_on_the_antimeridian_does_not_span_the_world() -> None:
    outlines = shapely.box([179.8, -180.0, 9.0], [-17.0, -17.0, 47.0], [180.0, -179.8, 9.1], [-16.8, -16.8, 47.1])
    across, plain = hulls_of(outlines, np.array([0, 0, 1]))
    assert shapely.covers(across, outlines).tolist() == [True, True, False]
    assert not across.intersects(shapely.Point(0.0, -16.9))
    assert plain.equals(outlines[2])
