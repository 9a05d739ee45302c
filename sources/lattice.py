"""How two lattices lie to each other: the two hemispheres of one UTM zone, common windows, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.georef import GeoRef


@dataclass(frozen=True, slots=True)
class CommonWindow:
    """Where two aligned lattices overlap: the rows and columns of each."""

    source_rows: slice
    """Rows of the source."""
    source_columns: slice
    """Columns of the source."""
    target_rows: slice
    """Rows of the target."""
    target_columns: slice
    """Columns of the target."""


def common_window(source: GeoRef, target: GeoRef) -> CommonWindow | None:
    """Where two aligned lattices overlap, None where they do not.

    Both must lie on one lattice (`GeoRef.is_aligned`).
    """
    row, column = source.offset_yx(target)
    top, left = max(row, 0), max(column, 0)
    bottom = min(row + target.shape_yx[0], source.shape_yx[0])
    right = min(column + target.shape_yx[1], source.shape_yx[1])
    if bottom <= top or right <= left:
        return None
    return CommonWindow(
        slice(top, bottom),
        slice(left, right),
        slice(top - row, bottom - row),
        slice(left - column, right - column),
    )


def coverage(source: GeoRef, target: GeoRef) -> NDArray[np.bool_] | None:
    """(y, x) of the target: whether the pixel's centre lies on the source raster; None across zones.

    What tells a missing pixel from a zero where the product has no no-data value.
    """
    near = source.in_zone(target.epsg)
    if near is None:
        return None
    left, bottom, right, top = near.bounds_xyxy
    x, y = target.x_centres(), target.y_centres()
    return np.logical_and.outer((y > bottom) & (y < top), (x > left) & (x < right))
