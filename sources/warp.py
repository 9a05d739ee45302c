"""One resampling from a source lattice onto a grid: which window it needs, and the warp itself, by GDAL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.crs import CRS as RasterioCRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject
from rasterio.windows import Window

from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources.lattice import common_window, is_geographic, turned

KERNEL_RADIUS_PX = {"nearest": 1, "bilinear": 2, "cubic": 3, "average": 1}
"""Source pixels that a kernel reaches on each side, where source and target pixels are of one size."""


def needed_window(source: GeoRef, target: GeoRef, resampling: str) -> Window | None:
    """The part of the source that the target needs, kernel included; None where they do not meet."""
    if source.is_aligned(target):
        common = common_window(source, target)
        if common is None:
            return None
        rows, columns = common.source_rows, common.source_columns
        return Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    bounds = _bounds_in(source, target)
    if bounds is None:
        return None
    left, bottom, right, top = bounds
    zoom_x = (right - left) / source.pixel_size / target.shape_yx[1]
    zoom = max(1.0, zoom_x, (top - bottom) / source.height / target.shape_yx[0])
    margin = math.ceil(KERNEL_RADIUS_PX[resampling] * zoom) + 2
    first_column = max(0, math.floor((left - source.x0) / source.pixel_size) - margin)
    last_column = min(source.shape_yx[1], math.ceil((right - source.x0) / source.pixel_size) + margin)
    first_row = max(0, math.floor((source.y0 - top) / source.height) - margin)
    last_row = min(source.shape_yx[0], math.ceil((source.y0 - bottom) / source.height) + margin)
    if last_column <= first_column or last_row <= first_row:
        return None
    return Window(first_column, first_row, last_column - first_column, last_row - first_row)


def hull(windows: Sequence[Window | None]) -> Window | None:
    """The smallest window that holds all of them; None where there is none."""
    there = [window.toslices() for window in windows if window is not None]
    if not there:
        return None
    top, left = (min(slices[axis].start for slices in there) for axis in (0, 1))
    bottom, right = (max(slices[axis].stop for slices in there) for axis in (0, 1))
    return Window(left, top, right - left, bottom - top)


def _bounds_in(source: GeoRef, target: GeoRef) -> tuple[float, float, float, float] | None:
    """What the target spans in the source's coordinates: in its own turn of longitudes where these are degrees; None
    where the projection does not reach there, or the two do not meet.
    """
    if source.epsg == target.epsg:
        return target.bounds_xyxy
    to_source = _transformer(target.epsg, source.epsg)
    left, bottom, right, top = map(float, to_source.transform_bounds(*target.bounds_xyxy, densify_pts=21))
    if not all(map(math.isfinite, (left, bottom, right, top))):
        return None
    if is_geographic(source.epsg):
        low, _, high, _ = source.bounds_xyxy
        stretches = turned(left, right, low, high)
        if not stretches:
            return None
        left, right = stretches[0][0], stretches[-1][1]
    return left, bottom, right, top


def warp_into(
    answer: NDArray[Any],
    places: Sequence[int],
    refs: Sequence[SceneRef],
    pixels: NDArray[Any],
    source: GeoRef,
    target: GeoRef,
    resampling: str,
) -> None:
    """One resampling of all bands together, with the exact transformation; no-data pixels have no weight.

    Args:
        answer: (refs, y, x) on the target, holding the values outside; changed.
        places: which of its layers.
        refs: the bands of those layers.
        pixels: (bands, rows, columns) of the source.
        source: where they lie.
        target: grid of the answer.
        resampling: nearest, bilinear, cubic or average.
    """
    nodata = {ref.nodata for ref in refs}
    outside = {float(answer[place, 0, 0]) for place in places}
    if len(nodata) > 1 or len({repr(value) for value in outside}) > 1:
        for row, (place, ref) in enumerate(zip(places, refs, strict=True)):
            warp_into(answer, [place], [ref], pixels[row : row + 1], source, target, resampling)
        return
    empty = nodata.pop()
    if empty is None and pixels.dtype.kind == "f":
        empty = float("nan")
    if empty is not None and pixels.dtype.kind == "f":
        pixels = np.where(np.isnan(pixels), pixels.dtype.type(empty), pixels)
    moved, _ = reproject(
        pixels,
        answer[list(places)],
        src_transform=Affine(*source.transform),
        src_crs=_crs(source.epsg),
        src_nodata=empty,
        dst_transform=Affine(*target.transform),
        dst_crs=_crs(target.epsg),
        dst_nodata=outside.pop(),
        resampling=Resampling[resampling],
        init_dest_nodata=True,
        tolerance=0.0,
        num_threads=1,
        UNIFIED_SRC_NODATA="NO",
    )
    answer[list(places)] = moved


@lru_cache(maxsize=256)
def _crs(epsg: int) -> RasterioCRS:
    return RasterioCRS.from_epsg(epsg)


@lru_cache(maxsize=256)
def _transformer(from_epsg: int, to_epsg: int) -> Transformer:
    return Transformer.from_crs(CRS.from_epsg(from_epsg), CRS.from_epsg(to_epsg), always_xy=True)
