"""The Major TOM grid: cells of about equal size by name, exactly as published, and chips inside them.

Rows of equal latitude are counted from the equator (``0U`` north, ``1D`` south of it), columns of a row from the prime
meridian (``0R`` east, ``1L`` west of it); a row has as many columns as its southern circle of latitude holds spacings.
A cell owns its upper and right edge, as the published search (`numpy.searchsorted`, left) has it.

Source: ESA Phi-lab, Major TOM, ``grid.py``: the same floating-point operations, so that corners agree to the last bit.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import RecipeError
from schemas.georef import Bounds

EARTH_RADIUS_KM = 6378.137
"""Equatorial radius that the grid uses for its sphere."""
NAME = re.compile(r"(\d{1,5})([UD])_(\d{1,6})([RL])(?:_(\d{1,3})_(\d{1,3}))?")


@dataclass(frozen=True)
class _Rows:
    """Rows of a spacing: southern edges in degrees, rising, and where row 0U stands among them."""

    south: NDArray[np.float64]
    zeroth: int
    columns: NDArray[np.int64]
    """Columns of each row."""


@lru_cache(maxsize=16)
def _rows(spacing_km: float) -> _Rows:
    count = math.ceil(math.pi * EARTH_RADIUS_KM / spacing_km)
    south = np.sort(np.mod(np.linspace(-90, 90, count + 1)[:-1], 180) - 90)
    radius = [EARTH_RADIUS_KM * math.cos(latitude * math.pi / 180) for latitude in south]
    columns = [max(math.ceil(2 * math.pi * value / spacing_km), 1) for value in radius]
    return _Rows(south, int(np.searchsorted(south, 0)), np.array(columns, dtype=np.int64))


def _west_edge(column: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Western edge of columns in rows of ``count`` columns, with the published rounding."""
    step = 360.0 / count
    turned = np.where(column < 0, column + count, column) * step - 180.0
    return np.asarray(np.mod(turned, 360.0) - 180.0, dtype=np.float64)


def _ends(count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last column of rows of ``count`` columns.

    The column that begins at the antimeridian is the first, to the left of all; in the rows where rounding puts its
    edge a hair west of 180 it is the last, as it is in the published grid.
    """
    half = np.asarray(count // 2)
    slipped = (count % 2 == 0) & (_west_edge(-half, count) > 0)
    return -half + slipped, (count - 1) // 2 + slipped


def majortom_index(
    lon: ArrayLike, lat: ArrayLike, spacing_km: float = 10.0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of points; rows south of the equator and columns west of Greenwich are negative.

    Args:
        lon: (N,) degrees in [-180, 180].
        lat: (N,) degrees in (-90, 90]; what lies south of the southernmost edge, half a row from the pole where rows
            are odd in number, counts to the southernmost row.
        spacing_km: edge of the cells.
    """
    lons, lats = np.atleast_1d(np.asarray(lon, np.float64)), np.atleast_1d(np.asarray(lat, np.float64))
    rows = _rows(spacing_km)
    index = np.maximum(np.searchsorted(rows.south, lats) - 1, 0)
    count = rows.columns[index]
    first, last = _ends(count)
    column = np.clip(np.ceil(lons * count / 360.0).astype(np.int64) - 1, first, last)
    column -= (column > first) & (lons <= _west_edge(column, count))
    column += (column < last) & (lons > _west_edge(np.minimum(column + 1, last), count))
    column = np.where(lons <= _west_edge(first, count), last, column)
    return index - rows.zeroth, column


def columns_between(row: int, west: float, east: float, spacing_km: float = 10.0) -> list[int]:
    """Columns of a row that hold a stretch of longitudes, eastward.

    West of a row's first column lies its last one, where that reaches over the antimeridian.

    Args:
        row: see `majortom_index`.
        west: degrees, from -180.
        east: degrees, to 180.
        spacing_km: edge of the cells.

    Example:
        >>> columns_between(10, -180.0, -179.8), columns_between(11, -180.0, -179.8)
        ([-2004, -2003, -2002], [2003, -2003, -2002])
    """
    rows = _rows(spacing_km)
    index = row + rows.zeroth
    beyond = rows.south[index + 1] if index + 1 < len(rows.south) else 90.0
    latitude = (rows.south[index] + beyond) / 2
    _, (start, end) = majortom_index([max(west, -180.0 + 1e-9), east], [latitude, latitude], spacing_km)
    if start <= end:
        return list(range(int(start), int(end) + 1))
    first, _ = _ends(rows.columns[index])
    return [int(start), *range(int(first), int(end) + 1)]


def majortom_name(row: int, column: int) -> str:
    """``637U_59R`` of row 637 and column 59."""
    return f"{abs(row)}{'U' if row >= 0 else 'D'}_{abs(column)}{'R' if column >= 0 else 'L'}"


def majortom_names(lon: ArrayLike, lat: ArrayLike, spacing_km: float = 10.0) -> NDArray[np.str_]:
    """Names of the cells that hold points.

    Args:
        lon: (N,) degrees.
        lat: (N,) degrees.
        spacing_km: edge of the cells.

    Example:
        >>> majortom_names([9.845, -72.48], [57.23, -38.83]).tolist()
        ['637U_59R', '433D_629L']
    """
    row, column = majortom_index(lon, lat, spacing_km)
    keys, inverse = np.unique(row * 2**32 + column + 2**31, return_inverse=True)
    pairs = [(int(key) >> 32, (int(key) & (2**32 - 1)) - 2**31) for key in keys]
    return np.array([majortom_name(*pair) for pair in pairs] or [""], dtype=np.str_)[inverse]


def majortom_bounds(name: str, spacing_km: float = 10.0) -> Bounds:
    """West, south, east and north of a cell in degrees; the last column of a row may end beyond 180.

    Raises:
        RecipeError: no name of a cell of this grid.

    Example:
        >>> [round(value, 4) for value in majortom_bounds("637U_59R")]
        [9.788, 57.2156, 9.9539, 57.3054]
    """
    row, column, _ = parse_name(name)
    rows = _rows(spacing_km)
    index = row + rows.zeroth
    if not 0 <= index < len(rows.south):
        raise RecipeError(f"the grid of {spacing_km:g} km has no row of {name!r}", where="grid.names")
    count = rows.columns[index]
    first, last = _ends(count)
    if not first <= column <= last:
        raise RecipeError(f"the row of {name!r} has {count} columns", where="grid.names", mend="check the name")
    west = float(_west_edge(np.array(column), count))
    beyond = index + 1 == len(rows.south)
    north = 90.0 if beyond else float(rows.south[index + 1])
    # the last column ends where the first begins, a turn further: a sum of widths may fall a bit short of 180
    following = first if column == last else column + 1
    east = float(_west_edge(np.array(following), count)) + (360.0 if column == last else 0.0)
    return (west, float(rows.south[index]), east, north)


def parse_name(name: str) -> tuple[int, int, tuple[int, int] | None]:
    """Row, column and, where the name goes on, the chip within the cell (column, row from the upper left).

    Raises:
        RecipeError: no Major TOM name.

    Example:
        >>> parse_name("433D_629L_3_1")
        (-433, -629, (3, 1))
    """
    match = NAME.fullmatch(name)
    if match is None or match[1] + match[2] == "0D" or match[3] + match[4] == "0L":
        raise RecipeError(f"{name!r} is no Major TOM cell", where="grid.names", mend="names look like 637U_59R")
    row = int(match[1]) if match[2] == "U" else -int(match[1])
    column = int(match[3]) if match[4] == "R" else -int(match[3])
    return row, column, (int(match[5]), int(match[6])) if match[5] else None
