"""Position along a Hilbert curve over the whole Earth, so that rows of a table that are close lie close on
the ground.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ORDER = 24
"""Bits per axis: about 2 m at the equator. Fixed, and so is the extent: a chip's place depends on no other
chip."""


def hilbert_index(lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) distance along the curve of points given by longitude and latitude.

    Source: the loop of J. K. Lawder (2000) as on Wikipedia, "Hilbert curve", xy2d.
    """
    side = 1 << ORDER
    x = np.clip(((lon_deg + 180.0) / 360.0 * side).astype(np.int64), 0, side - 1)
    y = np.clip(((lat_deg + 90.0) / 180.0 * side).astype(np.int64), 0, side - 1)
    distance = np.zeros(x.shape, np.int64)
    step = side >> 1
    while step:
        right = ((x & step) > 0).astype(np.int64)
        upper = ((y & step) > 0).astype(np.int64)
        distance += step * step * ((3 * right) ^ upper)
        mirrored = (upper == 0) & (right == 1)
        x, y = np.where(mirrored, side - 1 - x, x), np.where(mirrored, side - 1 - y, y)
        swapped = upper == 0
        x, y = np.where(swapped, y, x), np.where(swapped, x, y)
        step >>= 1
    return distance
