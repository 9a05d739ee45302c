"""A look at an item from afar: its mask, or its first band, at overview resolution, to choose dates by.

An overview holds the pixels of a mask sixteen, or two hundred and fifty-six, to one. Where a chip has many more dates
than it keeps, looking at overviews first and at whole masks only of the dates that are then chosen saves most of the
bytes. What is kept is always judged by the whole mask (`sources.tile_reader`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from schemas.georef import GeoRef, is_same_zone
from schemas.scene import Opener, SceneRef
from sources.engine import outside_value
from sources.faults import READ_ERRORS, as_source_error
from sources.gdal_blocks import check_stored, stored_blocks
from sources.gdal_reads import gdal_reads
from sources.openers import driver_of
from sources.own_lattice import check_bands, file_georef, mark_missing
from sources.raster_limits import check_open_file

MIN_SIDE_PX = 32
"""A chip is looked at with at least so many pixels a side: shares are then good to a few percent."""
HARMLESS = ("", "NEAREST", "MODE")
"""Ways to make overviews that leave codes as they are; an average of codes means nothing."""


def coarsest(grids: Mapping[str, GeoRef]) -> int:
    """The largest factor by which chips may be thinned; below 2 there is nothing to gain."""
    return min((min(grid.shape_yx) for grid in grids.values()), default=0) // MIN_SIDE_PX


def glance(ref: SceneRef, grids: Mapping[str, GeoRef], opener: Opener, is_mask: bool) -> dict[str, NDArray[Any]] | None:
    """Name -> the raster over each grid, thinned to the pixels of its best overview.

    Args:
        ref: a mask, or a band.
        grids: name -> grid at the raster's own pixel size.
        opener: how the address is opened.
        is_mask: whether its values are codes.

    Returns:
        None where the file has no overview that serves: too coarse, averaged codes, another zone or lattice.

    Raises:
        SourceError: the file could not be read, or has not what the item promised.
    """
    limit = coarsest(grids)
    if limit < 2 or not all(is_same_zone(ref.georef.epsg, grid.epsg) for grid in grids.values()):
        return None
    resolved = opener.resolve(ref.href)
    try:
        with (
            gdal_reads(opener, [ref.href]),
            opener.slot(ref.href),
            rasterio.open(resolved, driver=driver_of(ref.href)) as file,
        ):
            check_open_file(file, ref.href)
            check_bands(file.count, file.dtypes[0], [ref])
            ref = replace(ref, georef=file_georef(file, ref))  # as a whole read has it, whatever the catalog says
            if not all(_is_aligned(ref.georef, grid) for grid in grids.values()):
                return None
            how = str(file.tags(ns="IMAGE_STRUCTURE").get("OVERVIEW_RESAMPLING", ""))
            factors = [factor for factor in file.overviews(ref.band_index) if 2 <= factor <= limit]
            if not factors or (is_mask and how not in HARMLESS):
                return None
            factor = max(factors)
            found, window = _thinned(file, ref, grids, factor)
            if window is None:
                return found
            level = file.overviews(ref.band_index).index(factor)
            with rasterio.open(resolved, driver=driver_of(ref.href), OVERVIEW_LEVEL=level) as overview:
                blocks = stored_blocks(overview, [ref.band_index], window)
    except READ_ERRORS as error:
        raise as_source_error(error, ref.href, resolved) from error
    check_stored(blocks, ref.href, opener)
    return found


def _is_aligned(source: GeoRef, grid: GeoRef) -> bool:
    near = source.in_zone(grid.epsg)
    return near is not None and near.is_aligned(grid)


def _thinned(
    file: Any, ref: SceneRef, grids: Mapping[str, GeoRef], factor: int
) -> tuple[dict[str, NDArray[Any]], Window | None]:
    """One read of the overview under all grids, of each grid every ``factor``-th pixel; and the overview's window, with
    a pixel around it.
    """
    rows, columns = {}, {}
    for name, grid in grids.items():
        near = ref.georef.in_zone(grid.epsg) or ref.georef
        row, column = near.offset_yx(grid)
        rows[name] = row + np.arange(factor // 2, grid.shape_yx[0], factor)
        columns[name] = column + np.arange(factor // 2, grid.shape_yx[1], factor)
    top, bottom = _extent(list(rows.values()), factor, file.height)
    left, right = _extent(list(columns.values()), factor, file.width)
    empty = outside_value(ref, ref.nodata)
    coarse: NDArray[Any] = np.empty((0, 0), ref.dtype)
    window = None
    if top < bottom and left < right:
        shape = (math.ceil((bottom - top) / factor), math.ceil((right - left) / factor))
        read = file.read(ref.band_index, window=Window(left, top, right - left, bottom - top), out_shape=shape)
        coarse = read.astype(ref.dtype, copy=False)
        window = Window(left // factor - 1, top // factor - 1, shape[1] + 2, shape[0] + 2)
        mark_missing(coarse, file.nodatavals[ref.band_index - 1], ref, ref.nodata)
    found = {}
    for name in grids:
        here = np.full((len(rows[name]), len(columns[name])), empty, ref.dtype)
        inside_y = (rows[name] >= top) & (rows[name] < bottom)
        inside_x = (columns[name] >= left) & (columns[name] < right)
        if inside_y.any() and inside_x.any():
            block = coarse[(rows[name][inside_y] - top) // factor][:, (columns[name][inside_x] - left) // factor]
            here[np.ix_(inside_y, inside_x)] = block
        found[name] = here
    return found, window


def _extent(places: Sequence[NDArray[np.int_]], factor: int, size: int) -> tuple[int, int]:
    """First and last pixel of a file that hold all places, on the overview's pixels, inside the file."""
    first = min(int(place[0]) for place in places)
    last = max(int(place[-1]) for place in places)
    return max(0, first // factor * factor), min(size, (last // factor + 1) * factor)
