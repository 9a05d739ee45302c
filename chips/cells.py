"""Grid cells: squares on Sentinel-2's lattice of a UTM zone, and Major TOM names.

Sentinel-2 pixel edges lie on multiples of 10, 20 and 60 m of northing and easting in the north; in the south the
lattice is anchored at northing 10,000,000 (60 m edges at y = 40 mod 60). Cells whose edge is a multiple of 60 m
therefore share edges with pixels of all three resolutions in both hemispheres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from schemas.errors import RecipeError
from schemas.georef import Bounds

SOUTH_ANCHOR_M = 10_000_000
"""False northing of the southern zones: where Sentinel-2's lattice begins there."""
EARTH_RADIUS_KM = 6378.137
"""Equatorial radius that the Major TOM grid uses."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A square of a UTM zone's lattice."""

    epsg: int
    """326zz or 327zz."""
    column: int
    """Counted from easting 0."""
    row: int
    """Counted upward from northing 0 (north) or 10,000,000 (south, negative)."""
    size_m: float
    """Edge."""

    @property
    def name(self) -> str:
        """``32N_754_5520``; negative rows of the south carry an ``m``: ``34S_260_m3901``."""
        hemisphere = "N" if self.epsg < 32700 else "S"
        row = f"m{-self.row}" if self.row < 0 else str(self.row)
        return f"{self.epsg % 100:02d}{hemisphere}_{self.column}_{row}"

    @property
    def bounds_xyxy(self) -> Bounds:
        """(left, bottom, right, top) in metres."""
        left = self.column * self.size_m
        bottom = _anchor(self.epsg) + self.row * self.size_m
        return (left, bottom, left + self.size_m, bottom + self.size_m)


def _anchor(epsg: int) -> float:
    return SOUTH_ANCHOR_M if epsg >= 32700 else 0.0


def cell_at(x: float, y: float, epsg: int, size_m: float) -> Cell:
    """The cell that holds a point: left and bottom edges belong to it.

    Args:
        x: easting in m.
        y: northing in m.
        epsg: UTM zone.
        size_m: edge of the cells in m.

    Example:
        >>> cell_at(723_600.0, 5_300_100.0, 32632, 960.0).bounds_xyxy
        (722880.0, 5299200.0, 723840.0, 5300160.0)
    """
    return Cell(epsg, math.floor(x / size_m), math.floor((y - _anchor(epsg)) / size_m), size_m)


def utm_epsg(lon: float, lat: float) -> int:
    """EPSG code of the UTM zone of a point, with the Norway and Svalbard exceptions.

    Args:
        lon: degrees, wrapped into [-180, 180).
        lat: degrees.

    Source: DMA TM 8358.2, and the MGRS zone table.
    """
    lon = (lon + 180.0) % 360.0 - 180.0
    zone = int((lon + 180.0) // 6.0) + 1
    if 56.0 <= lat < 64.0 and 3.0 <= lon < 12.0:
        zone = 32
    elif 72.0 <= lat <= 84.0 and 0.0 <= lon < 42.0:
        zone = 31 if lon < 9.0 else 33 if lon < 21.0 else 35 if lon < 33.0 else 37
    return (32600 if lat >= 0 else 32700) + zone


@lru_cache(maxsize=256)
def transformer(source_epsg: int, target_epsg: int) -> Transformer:
    """Coordinate transformation with x before y on both sides."""
    return Transformer.from_crs(source_epsg, target_epsg, always_xy=True)


def footprint_lonlat(bounds_xyxy: Bounds, epsg: int, points_per_edge: int = 5) -> BaseGeometry:
    """EPSG:4326 polygon of a square of a projected CRS, edges densified."""
    left, bottom, right, top = bounds_xyxy
    along = np.linspace(0.0, 1.0, points_per_edge)[:-1]
    xs = np.concatenate(
        [
            left + along * (right - left),
            np.full(along.size, right),
            right - along * (right - left),
            np.full(along.size, left),
        ]
    )
    ys = np.concatenate(
        [
            np.full(along.size, bottom),
            bottom + along * (top - bottom),
            np.full(along.size, top),
            top - along * (top - bottom),
        ]
    )
    lon, lat = transformer(epsg, 4326).transform(xs, ys)
    return shapely.polygons(np.column_stack([lon, lat]))


def cells_in(region: BaseGeometry, size_m: float) -> Iterator[Cell]:
    """Cells that lie wholly within a region of EPSG:4326, each in the zone of its centre, ordered.

    At the seam of two zones the lattices are turned against each other: of two cells that overlap there, the one of
    the western zone is kept.
    """
    west, south, east, north = region.bounds
    inside: list[tuple[Cell, BaseGeometry]] = []
    for epsg in _zones_of(west, south, east, north):
        hull = shapely.segmentize(shapely.box(west, south, east, north), 0.01)
        coordinates = shapely.get_coordinates(hull)
        xs, ys = transformer(4326, epsg).transform(coordinates[:, 0], coordinates[:, 1])
        low, high = cell_at(min(xs), min(ys), epsg, size_m), cell_at(max(xs), max(ys), epsg, size_m)
        for column in range(low.column, high.column + 1):
            for row in range(low.row, high.row + 1):
                cell = Cell(epsg, column, row, size_m)
                footprint = footprint_lonlat(cell.bounds_xyxy, epsg)
                centre = footprint.centroid
                if utm_epsg(centre.x, centre.y) == epsg and region.covers(footprint):
                    inside.append((cell, footprint))
    yield from _without_overlaps(inside)


def _zones_of(west: float, south: float, east: float, north: float) -> list[int]:
    lons = np.append(np.arange(west, east, 1.0), east)
    lats = np.append(np.arange(south, north, 1.0), north)
    return sorted({utm_epsg(float(lon), float(lat)) for lon in lons for lat in lats})


def _without_overlaps(inside: list[tuple[Cell, BaseGeometry]]) -> Iterator[Cell]:
    if len({cell.epsg for cell, _ in inside}) < 2:
        yield from sorted(cell for cell, _ in inside)
        return
    inside = sorted(inside, key=lambda pair: pair[0])
    tree = shapely.STRtree([footprint for _, footprint in inside])
    kept: set[int] = set()
    for index, (cell, footprint) in enumerate(inside):
        rivals = [j for j in tree.query(footprint) if j in kept and inside[j][0].epsg != cell.epsg]
        if not any(footprint.intersection(inside[j][1]).area > 1e-9 * footprint.area for j in rivals):
            kept.add(index)
            yield cell


def check_chip_size(chip_m: float, gsds_m: list[float]) -> None:
    """Refuse a chip that some GSD does not divide, naming the nearest sizes that fit.

    Raises:
        RecipeError: with the nearest fitting sizes.
    """
    common = math.lcm(*[round(gsd * 100) for gsd in [*gsds_m, 60.0]]) / 100
    if abs(chip_m / common - round(chip_m / common)) < 1e-9:
        return
    below = math.floor(chip_m / common) * common
    near = [f"{size:g} m ({size / min(gsds_m):g} px)" for size in (below, below + common) if size > 0]
    gsds = ", ".join(f"{gsd:g}" for gsd in sorted(set(gsds_m)))
    raise RecipeError(
        f"a chip of {chip_m:g} m is no whole number of pixels of {gsds} m on the 60 m lattice",
        where="grid.chip_m",
        mend=f"use {' or '.join(near)}",
    )


def majortom_cell(lon: float, lat: float, spacing_km: float = 10.0) -> str:
    """Name of the Major TOM grid cell that holds a point.

    Example:
        >>> majortom_cell(9.845, 57.23)
        '637U_59R'

    Source: Major TOM grid definition (rows from the equator, columns from the prime meridian, lower left corner).
    """
    step_lat = 180.0 / math.ceil(math.pi * EARTH_RADIUS_KM / spacing_km)
    row = math.ceil(lat / step_lat) - 1
    circumference = 2 * math.pi * EARTH_RADIUS_KM * math.cos(math.radians(row * step_lat))
    step_lon = 360.0 / math.ceil(circumference / spacing_km)
    column = math.ceil(lon / step_lon) - 1
    return f"{abs(row)}{'U' if row >= 0 else 'D'}_{abs(column)}{'R' if column >= 0 else 'L'}"
