"""Class polygons of a vector file (CORINE's ``CODE_18``, any column of codes) as a class raster on a grid.

A pixel takes the code of the polygon in which its centre lies, as a raster of the same product would have it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.labels import RasterLayer
from schemas.legend import load_legend
from schemas.recipe import LabelSource
from sources.labels_raster import ATTRIBUTION, LICENCE, NATIVE_GSD_M

MAGIC = {
    ".gpkg": b"SQLite format 3\0",
    ".geojson": b"{",
    ".json": b"{",
    ".fgb": b"fgb",
    ".parquet": b"PAR1",
    ".shp": b"\0\0\x27\x0a",
}
"""Ending -> how such a file begins: a virtual format under another's name could open other files."""


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
        DecodeError: no vector file of a known format, no such column or layer, or codes that are no whole numbers.
    """
    url = url or str(path)
    legend = load_legend(source.legend_name())
    epsg, geometries, codes = _polygons(path, str(source.column), source.layer, url)
    x, y = np.meshgrid(target.x_centres(), target.y_centres())
    to_file = pyproj.Transformer.from_crs(target.epsg, epsg, always_xy=True)
    points = shapely.points(*to_file.transform(x.ravel(), y.ravel()))
    which, what = shapely.STRtree(geometries).query(points, predicate="intersects")
    if not which.size:
        return None
    nodata = legend.nodata[0]
    highest = max([*legend.nodata, *(entry.code for entry in legend.classes)])
    dtype = np.uint8 if highest < 256 else np.uint16
    flat = np.full(x.size, nodata, dtype=dtype)
    if int(codes[what].max()) > np.iinfo(dtype).max:
        raise DecodeError(f"column {source.column} has code {codes[what].max()}, legend {legend.name} has not", url)
    order = np.argsort(-what, kind="stable")  # where polygons overlap the file's first one stands
    flat[which[order]] = codes[what[order]]
    year = source.year
    return RasterLayer(
        source=name,
        codes=flat.reshape(target.shape_yx),
        georef=target,
        nodata=nodata,
        legend=legend.name,
        vintage=str(year or ""),
        licence=LICENCE.get(source.kind, ""),
        attribution=ATTRIBUTION.get(source.kind, "").format(year=year or ""),
        native_gsd_m=NATIVE_GSD_M.get(source.kind, 0.0),
        item_ids=(Path(path).name,),
    )


Polygons = tuple[str, NDArray[np.object_], NDArray[np.uint16]]


@lru_cache(maxsize=4)
def _polygons(path: Path, column: str, layer: str | None, url: str) -> Polygons:
    """Coordinate system, polygons and their codes."""
    wanted = MAGIC.get(path.suffix.lower())
    if wanted is None:
        raise DecodeError(f"vector files of {path.suffix or 'no ending'} are not read: {', '.join(MAGIC)}", url)
    with path.open("rb") as file:
        begin = file.read(64)
    if not begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(wanted) and not begin.startswith(wanted):
        raise DecodeError(f"is no {path.suffix} file", url)
    try:
        known = [str(row[0]) for row in pyogrio.list_layers(path) if row[1] is not None]
        if layer is None and len(known) != 1:
            raise DecodeError(f"name one of its layers: {', '.join(known) or 'none holds polygons'}", url)
        frame = pyogrio.read_dataframe(path, layer=layer or known[0], fid_as_index=True)
    except (DataSourceError, DataLayerError) as error:
        raise DecodeError(f"is not read as a vector file: {str(error)[:120]}", url) from error
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
    shapes = shapely.make_valid(shapely.force_2d(frame.geometry.to_numpy()))
    areas = np.asarray(shapely.get_dimensions(shapes) == 2)
    return frame.crs.to_wkt(), shapes[areas], numbers[areas].astype(np.uint16)
