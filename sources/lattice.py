"""How two lattices lie to each other: the two hemispheres of one UTM zone, common windows, turns, coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
from numpy.typing import NDArray

from schemas.georef import GeoRef

TURN = 360.0
"""Degrees after which longitudes repeat."""


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


@lru_cache(maxsize=256)
def is_geographic(epsg: int) -> bool:
    """Whether coordinates of a system are longitudes and latitudes."""
    return bool(pyproj.CRS.from_epsg(epsg).is_geographic)


def turned(left: float, right: float, low: float, high: float) -> list[tuple[float, float]]:
    """What of a stretch of longitudes lies on a raster, in the raster's own longitudes, which repeat after a turn.

    Args:
        left: begin of the stretch, in degrees.
        right: its end, west of the begin where the stretch crosses the antimeridian.
        low: left edge of the raster.
        high: its right edge.

    Returns:
        No stretch, one, or two where a raster that goes around the Earth has both ends of it.

    Example:
        >>> turned(179.5, -179.5, -180.0, -179.0), turned(-51.0, -50.0, 0.0, 360.0)
        ([(-180.5, -179.5)], [(309.0, 310.0)])
    """
    right += TURN if right < left else 0.0
    stretches = [(left + turn, right + turn) for turn in (-TURN, 0.0, TURN)]
    return [(begin, end) for begin, end in stretches if begin < high and end > low]


def nearest_turn(longitude: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """The longitudes, each turned to where it is nearest to the middle of a raster from ``low`` to ``high``."""
    first = (low + high - TURN) / 2
    turned_on: NDArray[np.float64] = first + np.mod(longitude - first, TURN)
    return turned_on


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
    if is_geographic(source.epsg):
        x = nearest_turn(x, left, right)
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
