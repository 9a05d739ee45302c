"""Class rasters as overviews: no finer than what sampling looks at."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from chips.cell_table import CellTable
from chips.overview import POINTS_PER_EDGE, Overview
from schemas.errors import DecodeError, RecipeError
from schemas.scene import Opener
from sources.faults import READ_ERRORS
from sources.gdal_blocks import Stored, check_stored, stored_blocks
from sources.gdal_reads import gdal_reads
from sources.lattice import turned
from sources.openers import driver_of
from sources.raster_limits import check_place

MAX_PIXELS = 1 << 26
"""An overview is read no finer than this many pixels allow."""
COARSER = 1.2
"""GDAL takes an overview that is so much coarser than what is asked for, and a tenth of a pixel."""
MIN_PIXELS = 1 << 20
"""What has no more pixels than this is read whole."""
CHECKED_PX = 512
"""Side of the part that is looked at whole and by its overview."""
METRES_PER_DEGREE = 111_195.0


def read_overview(href: str, cells: CellTable, where: str, opener: Opener) -> Overview:
    """The part of a raster of classes that cells lie on, with two pixels for each place at which a cell is looked at.

    Args:
        href: path or address of a GeoTIFF (or JPEG 2000).
        cells: what has to be covered.
        where: the recipe's key, for messages.
        opener: how the address is opened.

    Raises:
        RecipeError: the raster cannot be read, or its values are no classes.
    """
    name, resolved = Path(href).name, opener.resolve(href)
    try:
        with (
            gdal_reads(opener, [href]),
            opener.slot(href),
            rasterio.open(resolved, driver=driver_of(href)) as raster,
        ):
            if not np.issubdtype(np.dtype(raster.dtypes[0]), np.integer):
                raise RecipeError(f"{name} holds {raster.dtypes[0]}, no class codes", where=where)
            if raster.crs is None:
                raise RecipeError(f"{name} does not say its coordinate system", where=where)
            if max(abs(raster.transform.b), abs(raster.transform.d)) > 1e-6 * abs(raster.transform.a):
                raise RecipeError(f"{name} is rotated, only grids along the axes are read", where=where)
            check_place(raster.bounds, [abs(side) for side in raster.res], href)
            window = _window_of(raster, cells)
            if window is None:
                return Overview(np.empty((0, 0), np.uint8), raster.crs.to_wkt(), tuple(raster.transform)[:6])
            shrink = _shrink(raster, window, cells)
            if shrink > 1:
                _check_codes(raster, window, name, where)
            shape = max(int(window.height / shrink), 1), max(int(window.width / shrink), 1)
            codes = raster.read(1, window=window, out_shape=shape, resampling=Resampling.nearest)
            blocks = _blocks_read(raster, resolved, window, shape)
            a, b, c, d, e, f = tuple(raster.window_transform(window))[:6]
            sides = window.width / shape[1], window.height / shape[0]
            nodata = None if raster.nodata is None else int(raster.nodata)
            view = Overview(codes, raster.crs.to_wkt(), (a * sides[0], b, c, d, e * sides[1], f), nodata)
    except (*READ_ERRORS, DecodeError) as error:
        raise RecipeError(f"{name} cannot be read as a raster", where=where, mend="give a COG") from error
    try:
        check_stored(blocks, href, opener)
    except DecodeError as error:
        raise RecipeError(f"{name} is damaged: {error.what}", where=where, mend="fetch it anew") from error
    return view


def _blocks_read(raster: Any, resolved: str, window: Window, shape_yx: tuple[int, int]) -> list[Stored]:
    """The blocks that GDAL reads for a window in so many pixels: of the coarsest overview that is fine enough."""
    most = COARSER * min(window.height / shape_yx[0], window.width / shape_yx[1]) + 0.1
    factors = raster.overviews(1)
    fitting = [f for f in factors if min(size / math.ceil(size / f) for size in raster.shape) < most]
    if not fitting:
        return stored_blocks(raster, [1], window)
    level = factors.index(max(fitting))
    with rasterio.open(resolved, driver=raster.driver, OVERVIEW_LEVEL=level) as overview:
        down, right = raster.height / overview.height, raster.width / overview.width
        top, left = int(window.row_off / down) - 1, int(window.col_off / right) - 1
        part = Window(left, top, int(window.width / right) + 4, int(window.height / down) + 4)
        return stored_blocks(overview, [1], part)


def _check_codes(raster: Any, window: Window, name: str, where: str) -> None:
    """Refuse overviews that hold codes that the pixels below them do not: an average of codes means nothing.

    Files seldom say how their overviews were made; so the middle of the window is looked at both ways.

    Raises:
        RecipeError: the overviews are averages.
    """
    factor = next(iter(raster.overviews(1)), 0)
    side = min(CHECKED_PX, window.width, window.height) // max(factor, 1) * factor
    if not side:
        return
    row = int(window.row_off + (window.height - side) / 2) // factor * factor
    column = int(window.col_off + (window.width - side) / 2) // factor * factor
    part = Window(column, row, side, side)
    coarse = raster.read(1, window=part, out_shape=(side // factor, side // factor))
    strange = np.setdiff1d(coarse, raster.read(1, window=part))
    if strange.size:
        raise RecipeError(
            f"the overviews of {name} hold code {strange[0]}, which its pixels do not: they are averages",
            where=where,
            mend="make them with resampling mode or nearest",
        )


def _shrink(raster: Any, window: Window, cells: CellTable) -> float:
    """Pixels of the raster for one of the overview, along a side."""
    pixel_m = abs(raster.transform.a) * (METRES_PER_DEGREE if raster.crs.is_geographic else 1.0)
    edge_m = float(np.min(cells.bounds[:, 2] - cells.bounds[:, 0]))
    pixels = window.width * window.height
    enough = pixels * min(1.0, pixel_m * 2 * POINTS_PER_EDGE / edge_m) ** 2
    wanted = min(max(enough, MIN_PIXELS), MAX_PIXELS)
    return float(max((pixels / wanted) ** 0.5, 1.0))


def _window_of(raster: Any, cells: CellTable) -> Window | None:
    """Pixels that the cells' boxes touch, or None."""
    boxes = [
        transform_bounds(
            f"EPSG:{code}", raster.crs,
            *cells.bounds[cells.epsg == code, :2].min(axis=0), *cells.bounds[cells.epsg == code, 2:].max(axis=0),
        )
        for code in np.unique(cells.epsg)
    ]  # fmt: skip
    west, south, east, north = (
        pick(column) for pick, column in zip((min, min, max, max), zip(*boxes, strict=True), strict=True)
    )
    if any(box[0] > box[2] for box in boxes):  # over the antimeridian
        west, east = raster.bounds.left, raster.bounds.right
    elif raster.crs.is_geographic:  # whose longitudes may run from 0 to 360
        stretches = turned(west, east, raster.bounds.left, raster.bounds.right)
        if not stretches:
            return None
        west, east = stretches[0] if len(stretches) == 1 else (raster.bounds.left, raster.bounds.right)
    transform = raster.transform
    rows = sorted((y - transform.f) / transform.e for y in (south, north))  # rows may run from south to north
    columns = sorted((x - transform.c) / transform.a for x in (west, east))
    if rows[0] >= raster.height or rows[1] <= 0 or columns[0] >= raster.width or columns[1] <= 0:
        return None
    first_row, first_column = max(int(rows[0]), 0), max(int(columns[0]), 0)
    end_row = min(int(np.ceil(rows[1])) + 1, raster.height)
    end_column = min(int(np.ceil(columns[1])) + 1, raster.width)
    return Window(first_column, first_row, end_column - first_column, end_row - first_row)
