"""Squares of a UTM zone's lattice, whose edges are pixel edges of every resolution that divides them.

Sentinel-2 pixel edges lie on multiples of 10, 20 and 60 m of northing and easting in the north; in the south the
lattice is anchored at northing 10,000,000 (60 m edges at y = 40 mod 60). Cells whose edge is a multiple of 60 m
therefore share edges with pixels of all three resolutions in both hemispheres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from chips.cell_table import CellTable, footprints_lonlat
from chips.grid_majortom import majortom_names
from chips.zones import anchor_y, transformer, utm_epsg_of, zone_area, zones_of
from schemas.georef import Bounds

BLOCK_CELLS = 64
"""Blocks of this many cells a side are tested at once; only those that a border cuts are tested cell by cell."""
BORDER_DEG = 1e-4
"""Blocks this near to a border count as cut by it: far more than the error of a block's footprint."""
OVERLAP = 1e-9
"""Share of a cell's area from which two cells overlap."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A square of a UTM zone's lattice."""

    epsg: int
    """326zz or 327zz."""
    column: int
    """Counted from easting 0."""
    row: int
    """Counted upward from northing 0 (north) or 10,000,000 (south, negative)."""
    size_m: float
    """Edge."""

    @property
    def name(self) -> str:
        """``32N_754_5520``; negative rows of the south carry an ``m``: ``34S_260_m3901``."""
        return cell_name(zone_prefix(self.epsg), self.column, self.row)

    @property
    def bounds_xyxy(self) -> Bounds:
        """(left, bottom, right, top) in metres."""
        left = self.column * self.size_m
        bottom = anchor_y(self.epsg) + self.row * self.size_m
        return (left, bottom, left + self.size_m, bottom + self.size_m)


def zone_prefix(epsg: int) -> str:
    """``32N`` of 32632."""
    return f"{epsg % 100:02d}{'N' if epsg < 32700 else 'S'}"


def cell_name(prefix: str, column: int, row: int) -> str:
    """Name of a cell; a minus would end a key's word, so it is written ``m``."""
    return f"{prefix}_{_number(column)}_{_number(row)}"


def _number(value: int) -> str:
    return f"m{-value}" if value < 0 else str(value)


def cell_at(x: float, y: float, epsg: int, size_m: float) -> Cell:
    """The cell that holds a point: left and bottom edges belong to it.

    Args:
        x: easting in m.
        y: northing in m.
        epsg: UTM zone.
        size_m: edge of the cells in m.

    Example:
        >>> cell_at(723_600.0, 5_300_100.0, 32632, 960.0).bounds_xyxy
        (722880.0, 5299200.0, 723840.0, 5300160.0)
    """
    return Cell(epsg, math.floor(x / size_m), math.floor((y - anchor_y(epsg)) / size_m), size_m)


def utm_cells(region: BaseGeometry, size_m: float, name: str) -> Iterator[CellTable]:
    """Cells that lie wholly within a region, each in the zone of its centre, in tables of a few thousand.

    At the seam of two zones the lattices are turned against each other: a cell that overlaps one of the zone with the
    lower code is left out. Whether a cell exists never depends on the region, so that a larger region takes none away.

    Args:
        region: EPSG:4326, within the limits of UTM; parts on both sides of the antimeridian are welcome.
        size_m: edge.
        name: the region's.
    """
    shapely.prepare(region)
    for epsg in zones_of(region):
        area = zone_area(epsg)
        shapely.prepare(area)
        here = shapely.intersection(region, area)
        if here.area > 0.0:
            for columns, rows in _inside(region, area, epsg, size_m, _index_box(here, epsg, size_m)):
                yield to_table(columns, rows, epsg, size_m, name)


def to_table(columns: NDArray[np.int64], rows: NDArray[np.int64], epsg: int, size_m: float, region: str) -> CellTable:
    """Cells of one zone by column and row."""
    bounds = lattice_bounds(columns, rows, epsg, size_m)
    prefix = zone_prefix(epsg)
    words = {value: _number(value) for value in {*np.unique(columns).tolist(), *np.unique(rows).tolist()}}
    names = [f"{prefix}_{words[c]}_{words[r]}" for c, r in zip(columns.tolist(), rows.tolist(), strict=True)]
    lon, lat = transformer(epsg, 4326).transform(bounds[:, 0] + size_m / 2, bounds[:, 1] + size_m / 2)
    count = len(names)
    return CellTable(
        np.array(names, dtype=np.str_),
        np.full(count, epsg, dtype=np.int32),
        bounds,
        np.full(count, region),
        majortom_names(lon, lat),
    )


def lattice_bounds(
    columns: NDArray[np.int64], rows: NDArray[np.int64], epsg: int, size_m: float
) -> NDArray[np.float64]:
    """(N, 4) bounds of cells by column and row."""
    left, bottom = columns * size_m, anchor_y(epsg) + rows * size_m
    return np.column_stack([left, bottom, left + size_m, bottom + size_m]).astype(np.float64)


def _index_box(area: BaseGeometry, epsg: int, size_m: float) -> tuple[int, int, int, int]:
    """First column and row, and those after the last, of the cells that may touch an area."""
    west, south, east, north = area.bounds
    outline = shapely.get_coordinates(shapely.segmentize(shapely.box(west, south, east, north), 0.05))
    xs, ys = transformer(4326, epsg).transform(outline[:, 0], outline[:, 1])
    low, high = cell_at(min(xs), min(ys), epsg, size_m), cell_at(max(xs), max(ys), epsg, size_m)
    return (low.column - 1, low.row - 1, high.column + 2, high.row + 2)


def _inside(
    region: BaseGeometry, area: BaseGeometry, epsg: int, size_m: float, box: tuple[int, int, int, int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Columns and rows of the cells within a box of indices, by halves, so that empty country costs nothing."""
    first_column, first_row, end_column, end_row = box
    wide, high = end_column - first_column, end_row - first_row
    corners = np.array([[first_column, first_row, end_column, end_row]], dtype=np.float64) * size_m
    corners[:, 1::2] += anchor_y(epsg)
    hanging_over = corners + size_m * np.array([-1.0, -1.0, 1.0, 1.0])  # as far as a cell of another zone may
    footprint, beside = footprints_lonlat(np.concatenate([corners, hanging_over]), epsg)
    if not region.intersects(shapely.buffer(footprint, BORDER_DEG)):
        return
    if max(wide, high) > BLOCK_CELLS:
        for half in _halves(box):
            yield from _inside(region, area, epsg, size_m, half)
        return
    columns = np.repeat(np.arange(first_column, end_column), high)
    rows = np.tile(np.arange(first_row, end_row), wide)
    roomy = shapely.buffer(footprint, BORDER_DEG)
    if not area.covers(shapely.buffer(beside, BORDER_DEG)):
        mine = _of_the_zone(columns, rows, epsg, size_m)
        columns, rows = columns[mine], rows[mine]
    if not region.covers(roomy):
        held = shapely.covers(region, footprints_lonlat(lattice_bounds(columns, rows, epsg, size_m), epsg))
        columns, rows = columns[held], rows[held]
    if columns.size:
        yield columns, rows


def _halves(box: tuple[int, int, int, int]) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    first_column, first_row, end_column, end_row = box
    if end_column - first_column > end_row - first_row:
        middle = first_column + BLOCK_CELLS * math.ceil((end_column - first_column) / BLOCK_CELLS / 2)
        return (first_column, first_row, middle, end_row), (middle, first_row, end_column, end_row)
    middle = first_row + BLOCK_CELLS * math.ceil((end_row - first_row) / BLOCK_CELLS / 2)
    return (first_column, first_row, end_column, middle), (first_column, middle, end_column, end_row)


def _of_the_zone(columns: NDArray[np.int64], rows: NDArray[np.int64], epsg: int, size_m: float) -> NDArray[np.bool_]:
    """(N,) whether a cell's centre lies in the zone and no cell of a lower zone overlaps it."""
    bounds = lattice_bounds(columns, rows, epsg, size_m)
    back = transformer(epsg, 4326)
    mine: NDArray[np.bool_] = utm_epsg_of(*back.transform(bounds[:, 0] + size_m / 2, bounds[:, 1] + size_m / 2)) == epsg
    reach = bounds + size_m * np.array([-1.0, -1.0, 1.0, 1.0])  # how far a cell of the other side may hang over
    corners = utm_epsg_of(*back.transform(reach[:, [0, 2, 2, 0]], reach[:, [1, 1, 3, 3]]))  # (N, 4)
    for rival in np.unique(corners[(corners < epsg) & mine[:, None]]):
        if rival // 100 == epsg // 100:  # north and south meet at the equator, an edge of both lattices
            for index in np.flatnonzero(mine & (corners == rival).any(axis=1)):
                mine[index] = not _is_overlapped(bounds[index], epsg, int(rival), size_m)
    return mine


def _is_overlapped(bounds: NDArray[np.float64], epsg: int, rival_epsg: int, size_m: float) -> bool:
    """Whether a cell overlaps one of another zone's lattice that has its centre in that zone."""
    corners = transformer(epsg, rival_epsg).transform(bounds[[0, 2, 2, 0]], bounds[[1, 1, 3, 3]])
    outline = shapely.polygons(np.column_stack(corners))
    left, bottom, right, top = outline.bounds
    low, high = cell_at(left, bottom, rival_epsg, size_m), cell_at(right, top, rival_epsg, size_m)
    columns, rows = np.meshgrid(np.arange(low.column, high.column + 1), np.arange(low.row, high.row + 1))
    rivals = lattice_bounds(columns.ravel(), rows.ravel(), rival_epsg, size_m)
    centres = transformer(rival_epsg, 4326).transform(rivals[:, 0] + size_m / 2, rivals[:, 1] + size_m / 2)
    rivals = rivals[utm_epsg_of(*centres) == rival_epsg]
    shared = shapely.area(shapely.intersection(shapely.box(*rivals.T), outline))
    return bool(np.any(shared > OVERLAP * size_m**2))
