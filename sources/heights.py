"""Heights above the ellipsoid on a grid, from elevation rasters and a geoid."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from pyproj import datadir, network
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from schemas.errors import DecodeError, RecipeError
from schemas.georef import GeoRef
from schemas.scene import Opener
from sources.block_window import check_window, windows_over
from sources.faults import READ_ERRORS, as_source_error
from sources.gdal_reads import gdal_reads
from sources.openers import driver_of, unsigned
from sources.raster_limits import check_open_file

Floats = NDArray[np.float64]
GEOIDS = {"egm2008": "us_nga_egm08_25.tif", "egm96": "us_nga_egm96_15.tif"}
"""Model in the recipe -> grid of PROJ-data (``projsync --file``)."""
ELLIPSOID = "ellipsoid"
KERNEL_PIXELS = 32
"""So many heights lie under a pixel, on each side of it, where they are ten times as fine and finer still."""


def read_heights(
    hrefs: Sequence[str], target: GeoRef, opener: Opener, geoid: str, missing: float | None = None
) -> Floats:
    """(y, x) metres above the ellipsoid at the pixel centres; NaN where no raster has data.

    Args:
        hrefs: elevation rasters, in order of preference.
        target: the grid.
        opener: how they are opened.
        geoid: what the heights count from: see `to_ellipsoid`.
        missing: height above the geoid where no raster has data (the sea); None leaves NaN.

    Raises:
        SourceError: a raster cannot be read.
        RecipeError: the geoid's grid is not installed.
    """
    heights = np.full(target.shape_yx, np.nan)
    for href in hrefs:
        if not np.isnan(heights).any():
            break
        further = _read_one(href, target, opener)
        heights = np.where(np.isnan(heights), further, heights)
    if missing is not None:
        heights = np.where(np.isnan(heights), missing, heights)
    return to_ellipsoid(heights, target, geoid)


def to_ellipsoid(heights: Floats, target: GeoRef, geoid: str) -> Floats:
    """Heights above the ellipsoid from heights above a geoid.

    Args:
        heights: (y, x) metres, NaN where unknown.
        target: where they lie.
        geoid: ``ellipsoid``, a name of `GEOIDS`, or the path of a grid that PROJ reads (GeoTIFF, GTX).

    Raises:
        RecipeError: the grid is not there, or does not reach so far; names the command that brings it.
    """
    if geoid == ELLIPSOID or not np.isfinite(heights).any():
        return heights
    to_lonlat = pyproj.Transformer.from_crs(target.epsg, 4326, always_xy=True)
    longitude, latitude = to_lonlat.transform(*np.meshgrid(target.x_centres(), target.y_centres()))
    grid = GEOIDS.get(geoid, geoid)
    _need_grid(geoid, grid)
    pipeline = (
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad"
        f" +step +proj=vgridshift +grids={grid} +multiplier=1"
        " +step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    try:
        moved = pyproj.Transformer.from_pipeline(pipeline).transform(longitude, latitude, np.nan_to_num(heights))[2]
    except ProjError as error:
        raise RecipeError(f"the geoid {grid} cannot be read: {error}") from error
    moved = np.asarray(moved)
    if not np.isfinite(moved[np.isfinite(heights)]).all():
        raise RecipeError(f"the geoid {grid} does not reach all chips", mend="take a global one: egm2008, egm96")
    return np.where(np.isfinite(heights), moved, np.nan)


def _need_grid(geoid: str, grid: str) -> None:
    folders = [*datadir.get_data_dir().split(os.pathsep), datadir.get_user_data_dir()]  # type: ignore[attr-defined]
    if Path(grid).is_file() or any((Path(folder) / grid).is_file() for folder in folders):
        return
    if network.is_network_enabled():  # type: ignore[attr-defined]
        return
    raise RecipeError(
        f"the geoid {geoid} needs the grid {grid}, which is not installed",
        mend=f"pyproj sync --file {grid}, or PROJ_NETWORK=ON, or geoid: a path; without it radar is off by 100 m",
    )


def _read_one(href: str, target: GeoRef, opener: Opener) -> Floats:
    """(y, x) heights as stored, bilinear; NaN where there are none."""
    resolved = opener.resolve(href)
    found = np.full(target.shape_yx, np.nan)
    try:
        with (
            gdal_reads(opener, [href]),
            rasterio.open(resolved, driver=driver_of(href)) as file,
        ):
            check_open_file(file, href)
            if file.crs is None:  # GDAL would take it for that of the target
                raise DecodeError("the file does not say its coordinate system", unsigned(href))
            if not (file.transform.b or file.transform.d):
                for window in windows_over(file, target, KERNEL_PIXELS):
                    check_window(file, href, [1], window, opener)
            reproject(
                rasterio.band(file, 1),
                found,
                src_nodata=file.nodata,
                dst_transform=Affine(*target.transform),
                dst_crs=CRS.from_epsg(target.epsg),
                dst_nodata=np.nan,
                resampling=Resampling.bilinear,
                init_dest_nodata=True,
                num_threads=1,
            )
    except (*READ_ERRORS, ProjError) as error:
        raise as_source_error(error, href, resolved) from error
    return found
