"""How two lattices lie to each other: the two hemispheres of one UTM zone, common windows, coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyproj
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


def coverage_anywhere(source: GeoRef, target: GeoRef) -> NDArray[np.bool_]:
    """`coverage`, between zones too."""
    inside = coverage(source, target)
    if inside is not None:
        return inside
    to_source = pyproj.Transformer.from_crs(target.epsg, source.epsg, always_xy=True)
    x, y = to_source.transform(*np.meshgrid(target.x_centres(), target.y_centres()))
    left, bottom, right, top = source.bounds_xyxy
    answer: NDArray[np.bool_] = (x > left) & (x < right) & (y > bottom) & (y < top)
    return answer


def unions(grids: Mapping[str, GeoRef]) -> list[tuple[GeoRef, list[str]]]:
    """The fewest grids that hold all the given ones, one for each lattice, with the names of what each holds.

    Chips of one zone share a lattice unless a recipe lists cells that do not.
    """
    found: list[tuple[GeoRef, list[str]]] = []
    for name, grid in grids.items():
        for place, (union, names) in enumerate(found):
            if union.is_aligned(grid):
                found[place] = (union.union(grid), [*names, name])
                break
        else:
            found.append((grid, [name]))
    return found
