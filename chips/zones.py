"""UTM zones: which one a place belongs to, with the Norway and Svalbard exceptions, and the way there and back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from schemas.errors import RecipeError

SOUTH_ANCHOR_M = 10_000_000
"""False northing of the southern zones: where Sentinel-2's lattice begins there."""
POLAR_LIMITS = (-80.0, 84.0)
"""Degrees of latitude between which UTM is defined."""
WGS84_A_M = 6_378_137.0
"""Semi-major axis of the ellipsoid."""
WGS84_E2 = 0.00669437999014
"""First eccentricity of the ellipsoid, squared."""


def utm_epsg_of(lon: ArrayLike, lat: ArrayLike) -> NDArray[np.int32]:
    """EPSG codes of the UTM zones of points, with the Norway and Svalbard exceptions.

    Args:
        lon: (N,) degrees, wrapped into [-180, 180).
        lat: (N,) degrees.

    Source: DMA TM 8358.2, and the MGRS zone table.
    """
    lons = (np.asarray(lon, dtype=np.float64) + 180.0) % 360.0 - 180.0
    lats = np.asarray(lat, dtype=np.float64)
    zone = np.minimum((lons + 180.0) // 6.0, 59.0) + 1
    zone = np.where((lats >= 56.0) & (lats < 64.0) & (lons >= 3.0) & (lons < 12.0), 32.0, zone)
    svalbard = np.select([lons < 9.0, lons < 21.0, lons < 33.0], [31.0, 33.0, 35.0], 37.0)
    zone = np.where((lats >= 72.0) & (lats <= 84.0) & (lons >= 0.0) & (lons < 42.0), svalbard, zone)
    return np.asarray(np.where(lats >= 0, 32600, 32700) + zone, dtype=np.int32)


def utm_epsg(lon: float, lat: float) -> int:
    """EPSG code of the UTM zone of one point: see `utm_epsg_of`.

    Example:
        >>> utm_epsg(5.0, 60.0), utm_epsg(10.0, 78.0), utm_epsg(19.0, -33.9)
        (32632, 32633, 32734)
    """
    return int(utm_epsg_of(lon, lat))


def check_latitudes(south: float, north: float, where: str) -> None:
    """Refuse places beyond the limits of UTM.

    Raises:
        RecipeError: naming the limit.
    """
    low, high = POLAR_LIMITS
    if south < low or north > high:
        raise RecipeError(
            f"latitudes {south:g} to {north:g} reach beyond UTM, which ends at {-low:g} S and {high:g} N",
            where=where,
            mend=f"clip the region to latitudes {low:g} to {high:g}",
        )


def zone_area(epsg: int) -> BaseGeometry:
    """EPSG:4326 area of a zone, exceptions included; half-open edges are `utm_epsg_of`'s business."""
    zone = epsg % 100
    west = 6.0 * zone - 186.0
    if epsg >= 32700:
        return shapely.box(west, POLAR_LIMITS[0], west + 6.0, 0.0)
    if not 31 <= zone <= 37:
        return shapely.box(west, 0.0, west + 6.0, POLAR_LIMITS[1])
    norway = {31: (0.0, 3.0), 32: (3.0, 12.0)}.get(zone, (west, west + 6.0))
    parts = [
        shapely.box(west, 0.0, west + 6.0, 56.0),
        shapely.box(norway[0], 56.0, norway[1], 64.0),
        shapely.box(west, 64.0, west + 6.0, 72.0),
    ]
    svalbard = {31: (0.0, 9.0), 33: (9.0, 21.0), 35: (21.0, 33.0), 37: (33.0, 42.0)}
    if zone in svalbard:
        parts.append(shapely.box(svalbard[zone][0], 72.0, svalbard[zone][1], POLAR_LIMITS[1]))
    return shapely.union_all(parts)


def zones_of(region: BaseGeometry) -> list[int]:
    """EPSG codes of the zones that a region of EPSG:4326 touches, rising."""
    west, south, east, north = (float(value) for value in region.bounds)
    zones = range(max(int((west + 180.0) // 6.0) - 1, 1), min(int((east + 180.0) // 6.0) + 3, 61))
    hemispheres = [code for code, wanted in ((32600, north >= 0), (32700, south < 0)) if wanted]
    return [base + zone for base in hemispheres for zone in zones if region.intersects(zone_area(base + zone))]


def anchor_y(epsg: int) -> float:
    """Northing from which rows of the lattice are counted."""
    return float(SOUTH_ANCHOR_M) if epsg >= 32700 else 0.0


@lru_cache(maxsize=256)
def transformer(source_epsg: int, target_epsg: int) -> Transformer:
    """Coordinate transformation with x before y on both sides."""
    return Transformer.from_crs(source_epsg, target_epsg, always_xy=True)


def to_lonlat(
    x: NDArray[np.float64], y: NDArray[np.float64], epsg: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Degrees of points, each in a CRS of its own.

    Args:
        x: (N,) or (N, K) eastings.
        y: the same shape, northings.
        epsg: (N,) codes.
    """
    lon, lat = np.empty_like(x), np.empty_like(y)
    for code in np.unique(epsg):
        here = epsg == code
        lon[here], lat[here] = transformer(int(code), 4326).transform(x[here], y[here])
    return lon, lat


def to_geocentric(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) points of the WGS 84 ellipsoid in metres, whose chords are distances without seam or antimeridian."""
    a, b = np.radians(lon), np.radians(lat)
    normal = WGS84_A_M / np.sqrt(1.0 - WGS84_E2 * np.sin(b) ** 2)
    x, y = normal * np.cos(b) * np.cos(a), normal * np.cos(b) * np.sin(a)
    return np.stack([x, y, normal * (1.0 - WGS84_E2) * np.sin(b)], axis=-1)
