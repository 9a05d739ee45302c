"""Where catalogs are asked: a few boxes that hold all chips."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from schemas.recipe import LonLatBox

SPARSE = 0.5
"""A search box less full than this (in squares of a degree) is halved."""
LARGEST_DEG = 10
"""So is one that is longer: what a catalog answers for a box and a year then fits into memory."""


def search_boxes(cells: CellTable) -> list[LonLatBox]:
    """A few boxes of EPSG:4326 that hold all chips: as large as they are well filled, so that a catalog is asked once
    for each, never per chip.

    None crosses the antimeridian: chips lie on one side of it by their centre, and their margin is cut off there (the
    chips' own outlines decide later what touches them; the other side's box has what lies beyond).
    """
    lon, lat = cells.centres_lonlat()
    edge = float(np.max(cells.bounds[:, 2:] - cells.bounds[:, :2]))
    squares, inverse = np.unique(np.column_stack([np.floor(lon), np.floor(lat)]), axis=0, return_inverse=True)
    boxes: list[LonLatBox] = []
    for members in _clusters(squares):
        inside = np.isin(inverse.reshape(-1), members)
        west, east, south, north = lon[inside].min(), lon[inside].max(), lat[inside].min(), lat[inside].max()
        up = 0.75 * edge / 111_195.0
        along = up / max(0.05, math.cos(math.radians(max(abs(south), abs(north)))))
        sides = (west - along, south - up, east + along, north + up)
        boxes += _within_earth(*(float(side) for side in sides))
    return boxes


def _within_earth(west: float, south: float, east: float, north: float) -> Iterator[LonLatBox]:
    """The box, in two where its margin reaches over the antimeridian."""
    south, north = max(south, -90.0), min(north, 90.0)
    if east - west >= 360.0:
        yield (-180.0, south, 180.0, north)
        return
    yield (max(west, -180.0), south, min(east, 180.0), north)
    if west < -180.0:
        yield (west + 360.0, south, 180.0, north)
    if east > 180.0:
        yield (-180.0, south, east - 360.0, north)


def _clusters(squares: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Squares of a degree in groups whose boxes are at least half full, by halving."""
    done, todo = [], [np.arange(len(squares))]
    while todo:
        members = todo.pop()
        low, high = squares[members].min(0), squares[members].max(0)
        size = high - low + 1
        if len(members) >= SPARSE * size[0] * size[1] and size.max() <= LARGEST_DEG:
            done.append(members)
            continue
        axis = int(np.argmax(size))
        right = squares[members, axis] > (low + high)[axis] / 2
        todo += [members[right], members[~right]]
    return done
