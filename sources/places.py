"""Tables of places from files: what the recipe's grid and sampling read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyarrow.parquet
import shapely
from numpy.typing import NDArray

from chips.places import Places
from schemas.errors import DecodeError, RecipeError
from sources.footprint import all_unfolded
from sources.vector_files import read_vector

LON, LAT = ("lon", "longitude", "lng", "x"), ("lat", "latitude", "y")
"""Columns of a CSV that place its rows."""
GEOMETRY = ("geometry", "wkt")
"""Columns of a CSV that hold well-known text."""


def read_places(path: Path, where: str) -> Places:
    """The places of a file: CSV with lon and lat (or WKT), GeoParquet or plain Parquet, or what GDAL reads.

    Args:
        path: the file.
        where: the recipe's key, for messages.

    Raises:
        RecipeError: the file is absent or cannot be read.
    """
    if not path.is_file():
        raise RecipeError(f"there is no file {path.name}", where=where, mend="give its path relative to the recipe")
    try:
        if path.suffix.lower() == ".csv":
            table, geometry = _read_csv(path)
        elif path.suffix.lower() in (".parquet", ".geoparquet"):
            table, geometry = _read_parquet(path)
        else:
            table, geometry = _split(read_vector(path))
    except RecipeError:
        raise
    except DecodeError as error:
        mend = "save it as CSV, GeoJSON or GeoParquet"
        raise RecipeError(f"{path.name}: {error.what}", where=where, mend=mend) from error
    except Exception as error:  # pandas, pyarrow and pyogrio raise errors of many classes for what they cannot parse
        raise RecipeError(
            f"{path.name} cannot be read as a table", where=where, mend="save it as CSV, GeoJSON or GeoParquet"
        ) from error
    return Places(all_unfolded(geometry), _columns(table), f"{where}: {path.name}")


def _read_csv(path: Path) -> tuple[pandas.DataFrame, NDArray[np.object_]]:
    table = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    lower = {str(name).strip().lower(): name for name in table.columns}
    text = next((lower[name] for name in GEOMETRY if name in lower), None)
    if text is not None:
        return table.drop(columns=text), np.asarray(shapely.from_wkt(table[text].to_numpy(dtype=object)), dtype=object)
    lon, lat = (next((lower[name] for name in names if name in lower), None) for names in (LON, LAT))
    if lon is None or lat is None:
        return table, np.full(len(table), None, dtype=object)
    x, y = (pandas.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64) for name in (lon, lat))
    good = (np.abs(x) <= 180) & (np.abs(y) <= 90)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise RecipeError(
            f"line {row + 2}: {table[lon][row]!r}, {table[lat][row]!r} are no degrees", where=path.name, mend="lon, lat"
        )
    return table, np.asarray(shapely.points(x, y), dtype=object)


def _read_parquet(path: Path) -> tuple[pandas.DataFrame, NDArray[np.object_]]:
    if b"geo" in (pyarrow.parquet.read_schema(path).metadata or {}):
        return _split(geopandas.read_parquet(path))
    table = pandas.read_parquet(path)
    return table, np.full(len(table), None, dtype=object)


def _split(table: Any) -> tuple[pandas.DataFrame, NDArray[np.object_]]:
    """Columns and EPSG:4326 geometries of a geopandas table."""
    if table.crs is not None:
        table = table.to_crs(4326)
    geometry = np.asarray(table.geometry.values, dtype=object)
    return pandas.DataFrame(table.drop(columns=table.geometry.name)), geometry


def _columns(table: pandas.DataFrame) -> dict[str, NDArray[Any]]:
    """Columns as arrays: numbers stay, times become ISO text, lists of four become (N, 4), other things text."""
    columns: dict[str, NDArray[Any]] = {}
    for name in table.columns:
        values = table[name]
        if pandas.api.types.is_datetime64_any_dtype(values):
            columns[str(name)] = np.array([value.isoformat() for value in values], dtype=np.str_)
        elif pandas.api.types.is_numeric_dtype(values) and not values.isna().any():
            columns[str(name)] = values.to_numpy()
        elif len(values) and all(isinstance(value, (list, tuple, np.ndarray)) and len(value) == 4 for value in values):
            columns[str(name)] = np.array([list(value) for value in values], dtype=np.float64)
        else:
            columns[str(name)] = np.array(["" if value is None else str(value) for value in values], dtype=np.str_)
    return columns
