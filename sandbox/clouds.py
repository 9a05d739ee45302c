"""Clouds over a region at one moment: where they are, where their shadows fall, and where the sun stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from . import noise
from .noise import Array
from .place import Grid

CLOUD_GRID_M = 60.0
"""Pixel of the cloud field."""

REACH_M = 4200.0
"""How far the field goes beyond the region, for shadows that fall into it."""

BASE_HEIGHT_M = 1300.0
"""Height of the clouds over the ground."""

CLOUD_NM = (400.0, 700.0, 1000.0, 1300.0, 1600.0, 1900.0, 2200.0, 2500.0)
CLOUD_REFLECTANCE = (0.92, 0.93, 0.88, 0.76, 0.55, 0.36, 0.42, 0.26)
"""Bright water cloud, falling in the short-wave infrared. Source: King et al. 1992, IEEE TGRS 30."""


@dataclass(frozen=True)
class Sun:
    """Where the sun stands."""

    elevation_deg: float
    azimuth_deg: float


def sun_at(moment: datetime, lon: float, lat: float) -> Sun:
    """Position of the sun, good to about 0.5 degrees.

    Source: Michalsky 1988, Solar Energy 40 (low-precision formulas of the Astronomical Almanac), shortened.
    """
    day = moment.timetuple().tm_yday + (moment.hour + moment.minute / 60) / 24 - 0.5
    angle = 2 * math.pi * (day - 1) / 365.24
    declination = 0.006918 - 0.399912 * math.cos(angle) + 0.070257 * math.sin(angle) - 0.006758 * math.cos(2 * angle)
    minutes = 229.18 * (
        0.000075
        + 0.001868 * math.cos(angle)
        - 0.032077 * math.sin(angle)
        - 0.014615 * math.cos(2 * angle)
        - 0.040849 * math.sin(2 * angle)
    )
    solar_hour = moment.hour + moment.minute / 60 + lon / 15 + minutes / 60
    hour = math.radians(15 * (solar_hour - 12))
    phi = math.radians(lat)
    sine = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(hour)
    elevation = math.asin(sine)
    east = -math.cos(declination) * math.sin(hour)
    north = math.cos(phi) * math.sin(declination) - math.sin(phi) * math.cos(declination) * math.cos(hour)
    return Sun(math.degrees(elevation), math.degrees(math.atan2(east, north)) % 360)


@dataclass(frozen=True)
class Sky:
    """Clouds, shadows and cirrus on the pixels of a grid, each 0..1."""

    cloud: Array
    """(H, W) opacity of low cloud."""
    bright: Array
    """(H, W) factor on the cloud's reflectance."""
    shadow: Array
    """(H, W) depth of shadow where no cloud hides it."""
    cirrus: Array
    """(H, W) opacity of cirrus."""


@dataclass(frozen=True)
class CloudField:
    """Clouds over a whole region."""

    grid: Grid
    """60 m grid in the truth's frame."""
    cloud: Array
    """(H, W) opacity."""
    bright: Array
    """(H, W) brightness."""
    cirrus: Array
    """(H, W) opacity."""
    away_m: tuple[float, float]
    """From a shadow to its cloud, (east, north)."""

    @classmethod
    def over(cls, truth: Grid, seed: int, cover: float, cirrus: float, sun: Sun) -> CloudField:
        """Clouds that hide ``cover`` of ``truth``, and thin cirrus over ``cirrus`` of it."""
        x0, y0, x1, y1 = truth.bounds_xyxy
        left, top = x0 - REACH_M, y1 + REACH_M
        width, height = (
            math.ceil((x1 - x0 + 2 * REACH_M) / CLOUD_GRID_M),
            math.ceil((y1 - y0 + 2 * REACH_M) / CLOUD_GRID_M),
        )
        grid = Grid(truth.epsg, left, top, CLOUD_GRID_M, width, height)
        xs, ys = grid.xs(), grid.ys()
        margin = round(REACH_M / CLOUD_GRID_M)
        inner = (slice(margin, -margin), slice(margin, -margin))
        lumps = noise.fractal(xs, ys, 1150.0, seed + 1, 5) + 0.55 * noise.fractal(xs, ys, 4600.0, seed + 2, 2)
        opacity = np.zeros_like(lumps)
        if cover > 0:
            edge = float(np.quantile(lumps[inner], 1 - cover))
            opacity = _smooth((lumps - edge + 0.10) / 0.38)
        veil = noise.fractal(xs, ys, 6000.0, seed + 3, 3) + 0.35 * noise.fractal(xs * 0.3, ys, 900.0, seed + 4, 3)
        thin = np.zeros_like(veil)
        if cirrus > 0:
            thin = _smooth((veil - float(np.quantile(veil[inner], 1 - cirrus)) + 0.1) / 1.4)
        bright = np.clip(0.60 + 0.15 * noise.fractal(xs, ys, 520.0, seed + 5, 4) + 0.14 * opacity, 0.3, 1.05)
        length = BASE_HEIGHT_M / math.tan(math.radians(max(sun.elevation_deg, 18.0)))
        azimuth = math.radians(sun.azimuth_deg)
        return cls(
            grid, opacity, bright.astype(np.float32), thin, (length * math.sin(azimuth), length * math.cos(azimuth))
        )

    def on(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Sky:
        """The sky over points (H, W) in the truth's frame."""
        if not self.cloud.any() and not self.cirrus.any():
            none = np.zeros(x.shape, dtype=np.float32)
            return Sky(none, none, none, none)
        here = self._index(x, y)
        cloud = ndimage.map_coordinates(self.cloud, here, order=1, mode="nearest")
        there = self._index(x + self.away_m[0], y + self.away_m[1])
        shadow = ndimage.map_coordinates(self.cloud, there, order=1, mode="nearest") * (1 - cloud)
        bright = ndimage.map_coordinates(self.bright, here, order=1, mode="nearest")
        cirrus = ndimage.map_coordinates(self.cirrus, here, order=1, mode="nearest")
        return Sky(cloud, bright, shadow, cirrus)

    def _index(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rows = (self.grid.top - y) / CLOUD_GRID_M - 0.5
        cols = (x - self.grid.left) / CLOUD_GRID_M - 0.5
        return np.stack([rows, cols])


def _smooth(t: npt.NDArray[np.floating]) -> Array:
    """Smooth step from 0 at ``t`` = 0 to 1 at ``t`` = 1."""
    clipped = np.clip(t, 0, 1).astype(np.float32)
    out: Array = clipped * clipped * (3 - 2 * clipped)
    return out


def through_sky(reflectance: Array, nm: npt.NDArray[np.float64], sky: Sky, haze: float, overlit: float = 1.0) -> Array:
    """What a sensor sees of a surface through the sky.

    Args:
        reflectance: (B, H, W) surface reflectance.
        nm: (B,) centre wavelengths.
        sky: clouds on the same (H, W).
        haze: 0..1, aerosol that the provider's correction left in.
        overlit: factor on the brightness of clouds.

    Returns:
        (B, H, W) float32 reflectance as delivered.
    """
    cloud_spectrum = np.interp(nm, CLOUD_NM, CLOUD_REFLECTANCE).astype(np.float32)
    sunlit = np.interp(nm, (400, 560, 860, 2500), (0.50, 0.62, 0.74, 0.82)).astype(np.float32)
    residual = (0.012 * haze * (500.0 / nm) ** 1.8).astype(np.float32)
    out = np.empty_like(reflectance)
    shaded, cloudy, veiled = sky.shadow.any(), sky.cloud.any(), sky.cirrus.any()
    for b in range(len(nm)):
        plane = reflectance[b]
        if shaded:
            plane = plane * (1 - sunlit[b] * sky.shadow)
        plane = plane + residual[b]
        if veiled:
            plane = plane * (1 - 0.45 * sky.cirrus) + (0.24 * cloud_spectrum[b]) * sky.cirrus
        if cloudy:
            plane = plane * (1 - sky.cloud) + (cloud_spectrum[b] * overlit) * sky.bright * sky.cloud
        out[b] = plane
    return out
