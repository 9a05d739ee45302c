"""Where a grid of pixels lies on the Earth: `GeoRef`, the georeference of one layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bounds = tuple[float, float, float, float]
FALSE_NORTHING_M = 10_000_000.0
"""Northings of 327zz are those of 326zz plus this."""


def is_same_zone(epsg_a: int, epsg_b: int) -> bool:
    """Whether two codes mean one UTM zone, in either hemisphere's numbers."""
    return epsg_a == epsg_b or (epsg_a % 100 == epsg_b % 100 and {epsg_a // 100, epsg_b // 100} == {326, 327})


def _pixels(length: float) -> int:
    """Whole pixels that hold a length in pixels; none where it is negative."""
    return max(math.ceil(length - 1e-6), 0)


@dataclass(frozen=True, slots=True)
class GeoRef:
    """A north-up lattice of square pixels, but for rasters as stored by degrees, whose pixels may be flat or tall.

    Edges, not centres: ``x0`` and ``y0`` are the outer corner of the upper left pixel.
    """

    epsg: int
    """EPSG code of the coordinate system."""
    x0: float
    """Left edge, in units of the coordinate system."""
    y0: float
    """Top edge, in units of the coordinate system."""
    pixel_size: float
    """Pixel edge, in units of the coordinate system (metres in UTM); the width where pixels are not square."""
    shape_yx: tuple[int, int]
    """Rows and columns."""
    pixel_height: float | None = None
    """Height of a stored pixel that is not square (Copernicus DEM beyond 50 degrees); None where it is."""

    @property
    def height(self) -> float:
        """Height of a pixel."""
        return self.pixel_size if self.pixel_height is None else self.pixel_height

    @property
    def is_in_metres(self) -> bool:
        """False where lengths are degrees: no raster of metres has pixels of less than a centimetre."""
        return self.pixel_size >= 0.01

    @property
    def bounds_xyxy(self) -> Bounds:
        """(left, bottom, right, top)."""
        rows, columns = self.shape_yx
        return (self.x0, self.y0 - rows * self.height, self.x0 + columns * self.pixel_size, self.y0)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients (a, b, c, d, e, f) as in rasterio: x = a*col + b*row + c."""
        return (self.pixel_size, 0.0, self.x0, 0.0, -self.height, self.y0)

    def x_centres(self) -> NDArray[np.float64]:
        """(columns,) x of the pixel centres."""
        return np.asarray(self.x0 + (np.arange(self.shape_yx[1]) + 0.5) * self.pixel_size, dtype=np.float64)

    def y_centres(self) -> NDArray[np.float64]:
        """(rows,) y of the pixel centres, falling."""
        return np.asarray(self.y0 - (np.arange(self.shape_yx[0]) + 0.5) * self.height, dtype=np.float64)

    def union(self, other: GeoRef) -> GeoRef:
        """Smallest grid on the same lattice that holds both.

        Raises:
            ValueError: the two do not lie on one lattice.
        """
        if not self.is_aligned(other):
            raise ValueError(f"no common lattice: {self} and {other}")
        left = min(self.x0, other.x0)
        top = max(self.y0, other.y0)
        right = max(self.bounds_xyxy[2], other.bounds_xyxy[2])
        bottom = min(self.bounds_xyxy[1], other.bounds_xyxy[1])
        shape_yx = (round((top - bottom) / self.height), round((right - left) / self.pixel_size))
        return GeoRef(self.epsg, left, top, self.pixel_size, shape_yx, self.pixel_height)

    def covering(self, bounds: Bounds) -> GeoRef:
        """Smallest grid on this lattice that holds this one and some bounds (left, bottom, right, top).

        Example:
            >>> GeoRef(32633, 0.0, 60.0, 20.0, (3, 3)).covering((-10.0, 0.0, 60.0, 75.0)).shape_yx
            (4, 4)
        """
        _, own_bottom, own_right, _ = self.bounds_xyxy
        before_x, after_x = (
            _pixels((self.x0 - bounds[0]) / self.pixel_size),
            _pixels((bounds[2] - own_right) / self.pixel_size),
        )
        before_y, after_y = (
            _pixels((bounds[3] - self.y0) / self.height),
            _pixels((own_bottom - bounds[1]) / self.height),
        )
        shape_yx = (self.shape_yx[0] + before_y + after_y, self.shape_yx[1] + before_x + after_x)
        x0, y0 = self.x0 - before_x * self.pixel_size, self.y0 + before_y * self.height
        return GeoRef(self.epsg, x0, y0, self.pixel_size, shape_yx, self.pixel_height)

    def is_aligned(self, other: GeoRef, tolerance: float = 1e-3) -> bool:
        """Whether both lie on one lattice: same CRS, same pixel size, origins a whole number of pixels apart."""
        if self.epsg != other.epsg or abs(self.pixel_size - other.pixel_size) > 1e-9 * self.pixel_size:
            return False
        if abs(self.height - other.height) > 1e-9 * self.height:
            return False
        dx = (other.x0 - self.x0) / self.pixel_size
        dy = (other.y0 - self.y0) / self.height
        return abs(dx - round(dx)) < tolerance and abs(dy - round(dy)) < tolerance

    def in_zone(self, epsg: int) -> GeoRef | None:
        """The same lattice in another code of its UTM zone, or None where the zones differ.

        326zz and 327zz are one projection with northings 10,000,000 m apart, exactly.

        Example:
            >>> GeoRef(32634, 300015.0, -3749985.0, 30.0, (2, 3)).in_zone(32734).y0
            6250015.0
        """
        if self.epsg == epsg:
            return self
        if not is_same_zone(self.epsg, epsg):
            return None
        shift = FALSE_NORTHING_M if epsg > self.epsg else -FALSE_NORTHING_M
        return GeoRef(epsg, self.x0, self.y0 + shift, self.pixel_size, self.shape_yx, self.pixel_height)

    def offset_yx(self, inner: GeoRef) -> tuple[int, int]:
        """Row and column in this grid where an aligned grid begins."""
        return (round((self.y0 - inner.y0) / self.height), round((inner.x0 - self.x0) / self.pixel_size))
