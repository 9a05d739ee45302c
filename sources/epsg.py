"""The EPSG code of a coordinate system that is given as text: `epsg_of`, and `code_of_file` for an open raster's."""

from __future__ import annotations

from typing import Any

import pyproj
from pyproj.exceptions import CRSError

NEARLY_CERTAIN = 70
"""Confidence, in percent, from which PROJ's guess is believed."""
WGS_84 = (6_378_137.0, 298.257223563)
"""Semi-major axis in m and inverse flattening."""
_UTM = {
    "Latitude of natural origin": 0.0,
    "Scale factor at natural origin": 0.9996,
    "False easting": 500_000.0,
}
_SOUTH = {0.0: 32600, 10_000_000.0: 32700}
"""False northing -> code of zone 0."""


def epsg_of(crs: pyproj.CRS) -> int | None:
    """The code, None where there is none.

    A UTM zone on the ellipsoid of WGS 84 has one also where the text names no datum: files of HLS call theirs "not
    specified (based on WGS 84 spheroid)".

    Raises:
        CRSError: the text means nothing.
    """
    code = crs.to_epsg(min_confidence=NEARLY_CERTAIN)
    return int(code) if code is not None else _utm_code(crs)


def code_of_file(file: Any) -> int | None:
    """The code of an open raster's coordinate system; None where it has none, or one that means nothing to PROJ."""
    code = file.crs.to_epsg() if file.crs else None
    if code is not None or not file.crs:
        return None if code is None else int(code)
    try:
        return epsg_of(pyproj.CRS.from_wkt(file.crs.to_wkt()))
    except CRSError:
        return None


def _utm_code(crs: pyproj.CRS) -> int | None:
    operation, ellipsoid = crs.coordinate_operation, crs.ellipsoid
    if operation is None or ellipsoid is None or operation.method_name != "Transverse Mercator":
        return None
    shape = (ellipsoid.semi_major_metre, round(ellipsoid.inverse_flattening, 9))
    said = {value.name: float(value.value) for value in operation.params}
    zone = (said.get("Longitude of natural origin", 0.0) + 183.0) / 6.0
    base = _SOUTH.get(said.get("False northing", -1.0))
    is_utm = all(said.get(name) == value for name, value in _UTM.items()) and zone.is_integer() and 1 <= zone <= 60
    is_in_metres = all(axis.unit_name == "metre" for axis in crs.axis_info)
    is_known = is_utm and is_in_metres and shape == WGS_84 and not crs.is_bound
    return base + int(zone) if base is not None and is_known else None
