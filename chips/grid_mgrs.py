"""MGRS 100 km squares by name, and chips inside them as Sentinel-2's tiles count them.

Source: DMA TM 8358.1, chapter 3 (letters of bands, columns and rows); the tiles of Sentinel-2 begin at the square's
upper left corner, moved outward onto the 60 m lattice (``32TQM``: 699,960, 5,000,040).
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from chips.zones import transformer
from schemas.errors import RecipeError

BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Latitude bands of 8 degrees from 80 S; X has 12."""
COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
"""Letters of 100 km of easting, for zones 1, 2, 3 modulo 3."""
ROWS = "ABCDEFGHJKLMNPQRSTUV"
"""Letters of 100 km of northing, repeated every 2,000 km; even zones begin at F."""
SQUARE_M = 100_000
NAME = re.compile(r"(\d{2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])")


def mgrs_tiles(x: NDArray[np.float64], y: NDArray[np.float64], epsg: int) -> NDArray[np.str_]:
    """(N,) squares that hold points of one zone, such as ``33UUP``.

    The band is that of the square's centre, as Sentinel-2's tiles are named; the coordinates of a point in a square
    that a band's edge cuts may carry the neighbouring letter.

    Args:
        x: (N,) eastings from 100 to 900 km.
        y: (N,) northings.
        epsg: UTM zone.
    """
    columns, rows = (np.asarray(x) // SQUARE_M).astype(np.int64), (np.asarray(y) // SQUARE_M).astype(np.int64)
    keys, inverse = np.unique(columns * 1000 + rows, return_inverse=True)
    names = [square_name(int(key) // 1000, int(key) % 1000, epsg) for key in keys]
    return np.array(names or [""], dtype=np.str_)[inverse]


def square_name(column: int, row: int, epsg: int) -> str:
    """Name of the square whose lower left corner lies at ``column`` and ``row`` times 100 km.

    Example:
        >>> square_name(3, 53, 32633), square_name(4, 56, 32631), square_name(2, 62, 32734)
        ('33UUP', '31UDS', '34HBH')
    """
    zone = epsg % 100
    letter = COLUMNS[(zone - 1) % 3][min(max(column - 1, 0), 7)]
    shift = 0 if zone % 2 else 5
    northing = row  # of the south too: 10,000 km is a whole number of cycles
    _, latitude = transformer(epsg, 4326).transform((column + 0.5) * SQUARE_M, (row + 0.5) * SQUARE_M)
    band = BANDS[min(max(int((latitude + 80.0) // 8.0), 0), 19)]
    return f"{zone:02d}{band}{letter}{ROWS[(northing + shift) % 20]}"


def index_of_square(name: str) -> tuple[int, int, int]:
    """Zone, column and row of a square: the inverse of `square_name`.

    Raises:
        RecipeError: no such square.

    Example:
        >>> index_of_square("33UUP")
        (32633, 3, 53)
    """
    match = NAME.fullmatch(name)
    if match is not None and 1 <= int(match[1]) <= 60:
        epsg = (32600 if match[2] >= "N" else 32700) + int(match[1])
        letters = COLUMNS[(epsg - 1) % 100 % 3]
        first = (ROWS.index(match[4]) - (0 if epsg % 2 else 5)) % 20
        column = letters.find(match[3]) + 1
        for row in range(first, 100, 20) if column else ():
            if square_name(column, row, epsg) == name:
                return epsg, column, row
    raise RecipeError(f"{name!r} is no MGRS square of 100 km", where="grid.names", mend="names look like 31UDS")
