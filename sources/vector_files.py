"""Vector files that are opened as what they are called: `gdal_name` refuses what could name other files.

GDAL opens a file by what it finds in it, and some of what it finds (virtual formats, GDALG, WFS) names other files of
this machine, or any address, to read instead. Whoever passes a region on would choose what is read here.
"""

from __future__ import annotations

import json
import mmap
import re
from pathlib import Path
from typing import Any

import geopandas
import pyogrio

from schemas.errors import DecodeError

MAGIC = {
    ".gpkg": b"SQLite format 3\0",
    ".geojson": b"{",
    ".json": b"{",
    ".fgb": b"fgb",
    ".parquet": b"PAR1",
    ".shp": b"\0\0\x27\x0a",
}
"""Ending -> how such a file begins: a virtual format under another's name could open other files."""

GEOJSON = (".geojson", ".json")
"""Endings of files that GDAL is told to open as GeoJSON alone: one of its other formats that are JSON (GDALG) names any
file or address to read instead."""
_CRS_MEMBER = re.compile(rb"""["'](?:c|\\u00[46]3)(?:r|\\u00[57]2)(?:s|\\u00[57]3)["']\s*""", re.IGNORECASE)
"""A member or a text ``crs``, however its letters are written; what stands behind it tells which."""
LONGEST_CRS = 1 << 16
"""Bytes: the member ``crs`` of a GeoJSON file is a name, in JSON-FG a definition of some kilobytes."""


def gdal_name(path: Path, url: str) -> str:
    """The name under which GDAL opens a vector file, and nothing but this file.

    Args:
        path: local file.
        url: address for errors.

    Raises:
        DecodeError: of no ending in `MAGIC`, another format than its ending says, or GeoJSON whose coordinate system is
            a link.
    """
    wanted = MAGIC.get(path.suffix.lower())
    if wanted is None:
        raise DecodeError(f"vector files of {path.suffix or 'no ending'} are not read: {', '.join(MAGIC)}", url)
    with path.open("rb") as file:
        begin = file.read(64)
    if not begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(wanted) and not begin.startswith(wanted):
        raise DecodeError(f"is no {path.suffix} file", url)
    if path.suffix.lower() not in GEOJSON:
        return str(path)
    _check_crs(path, url)
    return f"GeoJSON:{path.absolute()}"


def read_vector(path: Path) -> Any:
    """The one table of a vector file that a recipe names, as geopandas has it (pandas where it has no geometry).

    Raises:
        DecodeError: see `gdal_name`; or it has several layers, of which GDAL would take the first.
        Exception: it cannot be parsed; pyogrio and pyarrow raise errors of many classes.
    """
    if path.suffix.lower() in (".parquet", ".geoparquet"):
        return geopandas.read_parquet(path)
    name = gdal_name(path, path.name)
    layers = pyogrio.list_layers(name).tolist()
    drawn = [layer for layer, kind in layers if kind is not None]  # styles of QGIS in a GeoPackage draw nothing
    if len(drawn) > 1:
        raise DecodeError(f"has layers {', '.join(drawn)}: save the one meant alone", path.name)
    return pyogrio.read_dataframe(name, layer=drawn[0] if drawn else None)


def _check_crs(path: Path, url: str) -> None:
    """Refuse a GeoJSON file whose coordinate system is a link: GDAL would ask the address, of this machine too.

    GDAL looks for ``crs`` in either case and through escapes, and takes comments; so whatever may be one is looked at.

    Raises:
        DecodeError: it has one.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for found in _CRS_MEMBER.finditer(text):
            behind = text[found.end() : found.end() + LONGEST_CRS]
            if behind[:1] in (b",", b"}", b"]"):  # a text, no member
                continue
            try:
                value, _ = _PAIRS.raw_decode(behind.removeprefix(b":").decode("utf-8", "replace").lstrip())
            except (ValueError, RecursionError) as error:
                raise DecodeError("its coordinate system (crs) cannot be read", url) from error
            if isinstance(value, _Pairs) and value.is_link():
                raise DecodeError("its coordinate system (crs) is a link, which is not followed", url)


class _Pairs(list[tuple[str, object]]):
    """An object's members, those of one name too."""

    def is_link(self) -> bool:
        """Whether a ``crs`` is one that GDAL follows."""
        return any(key.lower() == "type" and str(value).lower().startswith(("link", "url")) for key, value in self)


_PAIRS = json.JSONDecoder(object_pairs_hook=_Pairs)
