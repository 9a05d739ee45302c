"""One resampling from a source lattice onto a grid: which window it needs, and the warp itself, by GDAL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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

from chips.convert import is_missing
from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources.lattice import TURN, common_window, is_geographic, turned

KERNEL_RADIUS_PX = {"nearest": 1, "bilinear": 2, "cubic": 3, "average": 1}
"""Source pixels that a kernel reaches on each side, where source and target pixels are of one size."""
STRETCHED = ("bilinear", "cubic")
"""Kernels that grow with the target's pixels."""
NEARLY_WHOLE = 0.05
"""A target pixel that is so near to a whole number of source pixels is taken as that many (GDAL's own limit)."""


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
    """One resampling of all bands together; no-data pixels have no weight, decibel are averaged as power.

    GDAL draws the transformation by straight lines through exact places, at most an eighth of a source pixel beside it:
    0.003 over 256 pixels of the neighbouring zone. rasterio hands it no smaller limit.

    Args:
        answer: (refs, y, x) on the target, holding the values outside; changed.
        places: which of its layers.
        refs: the bands of those layers.
        pixels: (bands, rows, columns) of the source.
        source: where they lie.
        target: grid of the answer.
        resampling: nearest, bilinear, cubic or average.
    """
    if resampling != "nearest" and any(ref.unit == "dB" for ref in refs):
        _warp_power(answer, places, refs, pixels, source, target, resampling)
        return
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
    across, down = kernel_stretch(source, target)
    scales = {"XSCALE": 1.0 / across, "YSCALE": 1.0 / down} if resampling in STRETCHED else {}
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
        num_threads=1,
        UNIFIED_SRC_NODATA="NO",
        **scales,
    )
    answer[list(places)] = moved


def _warp_power(
    answer: NDArray[Any],
    places: Sequence[int],
    refs: Sequence[SceneRef],
    pixels: NDArray[Any],
    source: GeoRef,
    target: GeoRef,
    resampling: str,
) -> None:
    """`warp_into` of decibel, whose means are means of power: half of the ground at -20 dB and half at 0 is -3 dB."""
    power = np.empty(pixels.shape, np.float32)
    moved = np.full((len(refs), *target.shape_yx), np.nan, np.float32)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for layer, stored, ref in zip(power, pixels, refs, strict=True):
            layer[...] = 10.0 ** ((stored.astype(np.float64) * ref.scale + ref.offset) / 10.0)
            layer[is_missing(stored, ref.nodata)] = np.nan
        linear = [replace(ref, unit="linear", nodata=None) for ref in refs]
        warp_into(moved, range(len(refs)), linear, power, source, target, resampling)
        for place, layer, ref in zip(places, moved, refs, strict=True):
            stored = (10.0 * np.log10(layer.astype(np.float64)) - ref.offset) / ref.scale
            seen = np.isfinite(stored)
            answer[place][seen] = stored[seen] if answer.dtype.kind == "f" else np.rint(stored[seen])


def kernel_stretch(source: GeoRef, target: GeoRef) -> tuple[float, float]:
    """Source pixels across and down under a pixel in the middle of the target; 1 where there are fewer.

    GDAL left to itself takes the ratio of the two windows' sizes, in which the turn of a neighbouring zone and what of
    the target the source covers count as well: at one size of pixels it smoothed by a tenth more or less.

    Example:
        >>> kernel_stretch(GeoRef(32632, 0.0, 0.0, 10.0, (9, 9)), GeoRef(32632, 5.0, 0.0, 30.0, (2, 3)))
        (3.0, 3.0)
    """
    if source.epsg == target.epsg:
        across, down = target.pixel_size / source.pixel_size, target.height / source.height
    else:
        left, bottom, right, top = target.bounds_xyxy
        x, y = (left + right) / 2, (bottom + top) / 2
        to_source = _transformer(target.epsg, source.epsg)
        (x0, *xs), (y0, *ys) = to_source.transform([x, x + target.pixel_size, x], [y, y, y - target.height])
        turn = TURN if is_geographic(source.epsg) else math.inf
        across = math.hypot(*(math.remainder(x - x0, turn) for x in xs)) / source.pixel_size
        down = math.hypot(*(y - y0 for y in ys)) / source.height
    return _stretch(across), _stretch(down)


def _stretch(pixels: float) -> float:
    """At least 1, whole where it nearly is; 1 where the projection does not reach there."""
    if not math.isfinite(pixels):
        return 1.0
    whole = float(round(pixels))
    return max(1.0, whole if abs(pixels - whole) < NEARLY_WHOLE else pixels)


@lru_cache(maxsize=256)
def _crs(epsg: int) -> RasterioCRS:
    return RasterioCRS.from_epsg(epsg)


@lru_cache(maxsize=256)
def _transformer(from_epsg: int, to_epsg: int) -> Transformer:
    return Transformer.from_crs(CRS.from_epsg(from_epsg), CRS.from_epsg(to_epsg), always_xy=True)
