"""Class polygons of a vector file (CORINE's ``CODE_18``, any column of codes) as a class raster on a grid.

A pixel takes the code of the polygon in which its centre lies, as a raster of the same product would have it. Points
(field surveys, LUCAS) name the pixel that they lie in and, with ``window_px``, those around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import geopandas
import numpy as np
import pyarrow
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError

from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.labels import RasterLayer
from schemas.legend import load_legend
from schemas.recipe import LabelSource
from sources.centres import projection
from sources.footprint import box_parts
from sources.label_licences import attribution_of_file, licence_of_file
from sources.labels_raster import NATIVE_GSD_M
from sources.vector_files import gdal_name

KINDS = {-1: "nothing", 0: "points", 1: "lines", 2: "areas"}
"""Dimensions of a geometry -> what it is."""


def read_label_vector(path: Path, target: GeoRef, name: str, source: LabelSource, url: str = "") -> RasterLayer | None:
    """Codes of the polygons on the target grid.

    Args:
        path: local file.
        target: grid to fill; any projected coordinate system.
        name: name of the label source in the recipe.
        source: the recipe's entry, with ``column``.
        url: address for errors; the path where empty.

    Returns:
        The layer, uint8 or uint16 (H, W), or None where no polygon meets the target.

    Raises:
        DecodeError: no vector file of a known format, no such column or layer, codes that are no whole numbers, or
            points where areas are read (or the other way round).
    """
    url = url or str(path)
    legend = load_legend(source.legend_name())
    status = path.stat()
    shapes = _shapes(path, str(source.column), source.layer, url, (status.st_size, status.st_mtime_ns))
    wanted = "areas" if source.window_px is None else "points"
    if shapes.codes.size and wanted not in shapes.kinds:
        mend = "points are read with window_px" if wanted == "areas" else "window_px is for points"
        raise DecodeError(f"holds no {wanted}: {mend}", url)
    if source.window_px is not None:
        which, what = _windows(shapes, target, source.window_px)
    else:
        which, what = _under_centres(shapes, target)
    if not which.size:
        return None
    codes = shapes.codes
    nodata = legend.nodata[0]
    highest = max([*legend.nodata, *(entry.code for entry in legend.classes)])
    dtype = np.uint8 if highest < 256 else np.uint16
    flat = np.full(target.shape_yx[0] * target.shape_yx[1], nodata, dtype=dtype)
    if int(codes[what].max()) > np.iinfo(dtype).max:
        raise DecodeError(f"column {source.column} has code {codes[what].max()}, legend {legend.name} has not", url)
    order = np.argsort(-what, kind="stable")  # where polygons overlap the file's first one stands
    flat[which[order]] = codes[what[order]]
    return RasterLayer(
        source=name,
        codes=flat.reshape(target.shape_yx),
        georef=target,
        nodata=nodata,
        legend=legend.name,
        vintage=str(source.year or ""),
        licence=licence_of_file(source),
        attribution=attribution_of_file(source),
        native_gsd_m=NATIVE_GSD_M.get(source.kind, 0.0),
        item_ids=(Path(path).name,),
    )


Hits = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Pixels, counted through, and the shapes that name them, as far as they do."""


@dataclass(frozen=True, eq=False)
class _Shapes:
    """What a vector file holds."""

    crs: str
    """Coordinate system, WKT."""
    tree: shapely.STRtree
    """Its geometries, in the file's order."""
    codes: NDArray[np.uint16]
    """Of each."""
    kinds: frozenset[str]
    """What there is of points, lines and areas."""


def _under_centres(shapes: _Shapes, target: GeoRef) -> Hits:
    """Pixels whose centres lie in polygons, each with the file's first one.

    Polygon by polygon and prepared: a tree asked point by point looks at every vertex of a polygon for each pixel.
    """
    to_file = projection(target.epsg, shapes.crs)
    across, down = np.meshgrid(target.x_centres(), target.y_centres())
    x, y = to_file.transform(across.ravel(), down.ravel())
    owner = np.full(x.size, -1, dtype=np.int64)
    for what in np.sort(shapes.tree.query(shapely.box(x.min(), y.min(), x.max(), y.max()))):
        polygon = shapes.tree.geometries[what]
        if shapely.get_dimensions(polygon) != 2:
            continue
        shapely.prepare(polygon)
        left, bottom, right, top = shapely.bounds(polygon)
        open_ = np.flatnonzero((owner < 0) & (x >= left) & (x <= right) & (y >= bottom) & (y <= top))
        owner[open_[shapely.intersects_xy(polygon, x[open_], y[open_])]] = what
    which = np.flatnonzero(owner >= 0)
    return which, owner[which]


def _windows(shapes: _Shapes, target: GeoRef, window_px: int) -> Hits:
    """Pixels in the squares around points; windows that reach into the grid from beyond it count."""
    reach = (window_px // 2 + 1) * target.pixel_size
    left, bottom, right, top = target.bounds_xyxy
    to_file = projection(target.epsg, shapes.crs)
    west, south, east, north = to_file.transform_bounds(
        left - reach, bottom - reach, right + reach, top + reach, densify_pts=21
    )
    whole = shapely.box(west, south, east, north) if west <= east else box_parts(west, south, east, north)
    near = np.unique(shapes.tree.query(shapely.get_parts(whole))[1])
    near = near[shapely.get_type_id(shapes.tree.geometries[near]) == shapely.GeometryType.POINT]
    places = shapely.get_coordinates(shapes.tree.geometries[near])
    x, y = to_file.transform(places[:, 0], places[:, 1], direction=TransformDirection.INVERSE)
    columns = np.floor((np.asarray(x) - target.x0) / target.pixel_size).astype(np.int64)
    rows = np.floor((target.y0 - np.asarray(y)) / target.pixel_size).astype(np.int64)
    step = np.arange(window_px) - window_px // 2
    row, column, what = np.broadcast_arrays(
        rows[:, None, None] + step[:, None], columns[:, None, None] + step, near[:, None, None]
    )
    height, width = target.shape_yx
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return (row * width + column)[inside], what[inside]


@lru_cache(maxsize=4)
def _shapes(path: Path, column: str, layer: str | None, url: str, _state: tuple[int, int]) -> _Shapes:
    """Coordinate system, geometries and their codes, as long as the file's size and time stay."""
    opened = gdal_name(path, url)
    if missing := _missing_parts(path):
        mend = "what is fetched comes alone, take a GeoPackage there"
        raise DecodeError(f"a shapefile needs its {' and '.join(missing)} beside it; {mend}", url)
    frame = _frame(path, opened, layer, url)
    if column not in frame.columns:
        have = ", ".join(str(name) for name in frame.columns if name != "geometry")
        raise DecodeError(f"has no column {column!r}; it has {have}", url)
    if frame.crs is None:
        raise DecodeError("has no coordinate system", url)
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty & frame[column].notna()].sort_index()
    try:
        numbers = frame[column].astype(str).str.strip().astype(float).to_numpy()
    except ValueError as error:
        raise DecodeError(f"column {column} holds no class codes: {error}", url) from error
    if numbers.size and ((numbers % 1 != 0).any() or numbers.min() < 0 or numbers.max() > np.iinfo(np.uint16).max):
        raise DecodeError(f"column {column}: class codes must be whole numbers of 0..65535", url)
    shapes, whose = shapely.get_parts(
        shapely.make_valid(shapely.force_2d(frame.geometry.to_numpy())), return_index=True
    )
    kinds = frozenset(KINDS[dimension] for dimension in np.unique(shapely.get_dimensions(shapes)).tolist())
    return _Shapes(frame.crs.to_wkt(), shapely.STRtree(shapes), numbers.astype(np.uint16)[whose], kinds)


def _missing_parts(path: Path) -> list[str]:
    """Endings of what a shapefile is not read without and that does not lie beside it, in small or capital letters."""
    needed = (".shx", ".dbf") if path.suffix.lower() == ".shp" else ()
    return [e for e in needed if not any(path.with_suffix(one).is_file() for one in (e, e.upper()))]


def _frame(path: Path, opened: str, layer: str | None, url: str) -> geopandas.GeoDataFrame:
    """The file's table. GeoParquet, which pyogrio's GDAL has no driver for, is read by pyarrow."""
    try:
        if path.suffix.lower() == ".parquet":
            return geopandas.read_parquet(path).reset_index(drop=True)
        known = [str(row[0]) for row in pyogrio.list_layers(opened) if row[1] is not None]
        if layer is None and len(known) != 1:
            raise DecodeError(f"name one of its layers: {', '.join(known) or 'none holds polygons'}", url)
        return pyogrio.read_dataframe(opened, layer=layer or known[0], fid_as_index=True)
    except (DataSourceError, DataLayerError, ProjError, ValueError, pyarrow.ArrowException) as error:
        raise DecodeError(f"is not read as a vector file: {str(error)[:120]}", url) from error
