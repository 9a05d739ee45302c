"""Facts from the images themselves: dates, clear sky, vegetation and water index, radar level, terrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioners.regions import slices
from chips.render import normalised_difference, pick
from chips.screen import is_clear
from schemas.chip import Valid
from schemas.facts import Fact
from schemas.georef import GeoRef

_MISSING = (int(Valid.NODATA), int(Valid.DEFECTIVE))
MIN_CLEAR_PERCENT = 10.0
"""With less clear ground a date has no index facts: they would speak of a corner."""
GREEN_NDVI = 0.5
"""Pixels above it count as green vegetation."""
WATER_NDWI = 0.0
"""Pixels above it count as open water (McFeeters 1996)."""
BUILT_NDBI = 0.0
"""Pixels above it reflect more short-wave than near infrared: built-up, bare or dry ground (Zha et al. 2003)."""
INDICES: Mapping[str, tuple[tuple[str, str], float, str]] = {
    "ndvi": (("nir", "red"), GREEN_NDVI, "green"),
    "ndwi": (("green", "nir"), WATER_NDWI, "water"),
    "ndbi": (("swir16", "nir"), BUILT_NDBI, "dry"),
}
"""Index -> bands of its normalised difference, a limit, and the word for the share of pixels above it."""
TROPIC_DEGREES = 23.44
POLAR_DEGREES = 66.56


@dataclass(frozen=True)
class DatedBands:
    """One date of one sensor over the chip."""

    source: str
    """Modality: s2, l8, s1."""
    day: str
    """ISO date of acquisition."""
    bands: Mapping[str, NDArray[Any]]
    """Name -> (H, W) physical values on one grid: common names, or any with ``wavelengths_nm``; ``vv``, ``vh``."""
    valid: NDArray[Any] | None = None
    """(H, W) codes of `schemas.chip.Valid`; None: all clear."""
    unit: str = "reflectance"
    """reflectance, linear or dB."""
    wavelengths_nm: Mapping[str, float] | None = None
    """Centre wavelengths where names do not tell."""
    is_composite: bool = False
    """Made of several acquisitions: it shows no day, so that no fact is of one."""


def scene_facts(scenes: Sequence[DatedBands], georef: GeoRef) -> list[Fact]:
    """Facts of every date, in the order given; a sensor's second scene on one day is numbered."""
    facts: list[Fact] = []
    seen: dict[str, int] = {}
    for scene in scenes:
        tag = f"{scene.source}.{scene.day}"
        seen[tag] = seen.get(tag, 0) + 1
        if seen[tag] > 1:
            tag = f"{tag}.{seen[tag]}"
        source = f"{scene.source} {scene.day}"
        facts.append(Fact(f"date.{tag}", "date", scene.source, scene.day, "date", "chip", source))
        season = season_of(scene.day, latitude_degrees(georef))
        if season:
            facts.append(Fact(f"season.{tag}", "season", scene.source, season, "season", "chip", source))
        if pick("vv", scene.bands) or pick("vh", scene.bands):
            facts += _radar_facts(scene, tag, source)
        else:
            facts += _optical_facts(scene, tag, source)
    return facts


def _optical_facts(scene: DatedBands, tag: str, source: str) -> list[Fact]:
    """Clear share, cloud share, mean NDVI and NDWI and their green and wet shares over clear pixels."""
    some = next(iter(scene.bands.values()))
    valid = np.full(some.shape, int(Valid.CLEAR), np.uint8) if scene.valid is None else scene.valid
    clear, cloudy = is_clear(valid), valid == int(Valid.CLOUD)
    percent = round(100.0 * float(clear.mean()), 4)
    facts = [
        Fact(f"clear.{tag}", "clear", "clear sky", percent, "percent", "chip", source),
        Fact(f"cloud.{tag}", "cloud", "cloud", round(100.0 * float(cloudy.mean()), 4), "percent", "chip", source),
    ]
    if percent < MIN_CLEAR_PERCENT:
        return facts
    for name, (_, limit, word) in INDICES.items():
        pixels = index_of(scene, name)
        if pixels is None or pixels.shape != valid.shape:
            continue
        index = pixels[clear]
        known = np.isfinite(index)
        if not known.any():
            continue
        mean, share = round(float(index[known].mean(dtype=np.float64)), 4), 100.0 * float((index > limit).mean())
        facts.append(Fact(f"index.{name}.{tag}", "index", name, mean, "1", "chip", source))
        facts.append(Fact(f"index.{name}.{word}.{tag}", "index", name, round(share, 4), "percent", "chip", source))
    return facts


def index_of(scene: DatedBands, name: str) -> NDArray[np.float32] | None:
    """(H, W) index of a date; None where the bands are not there or do not share a grid."""
    bands = [pick(role, scene.bands, scene.wavelengths_nm) for role in INDICES[name][0]]
    if None in bands:
        return None
    first, second = (scene.bands[str(band)] for band in bands)
    return normalised_difference(first, second) if first.shape == second.shape else None


def _radar_facts(scene: DatedBands, tag: str, source: str) -> list[Fact]:
    """Mean backscatter in dB, averaged as power, and its coefficient of variation (roughness of the ground)."""
    facts = []
    for role in ("vv", "vh"):
        power, _ = usable_power(scene, role)
        if not power.size:
            continue
        mean = float(power.mean())
        level, variation = round(10.0 * float(np.log10(mean)), 4), round(float(power.std()) / mean, 4)
        facts.append(Fact(f"sar.{role}.{tag}", "sar", role.upper(), level, "dB", "chip", source))
        facts.append(Fact(f"sar.{role}.variation.{tag}", "sar", role.upper(), variation, "1", "chip", source))
    return facts


def usable_power(scene: DatedBands, role: str) -> tuple[NDArray[np.float64], float]:
    """Backscatter of the pixels that hold a measurement, and their part of all.

    Args:
        scene: a date of a radar.
        role: ``vv`` or ``vh``.

    Returns:
        (n,) linear power > 0, without pixels that are nodata or defective, and n over all pixels (0..1); (0,) and 0
        where the date lacks the band.
    """
    name = pick(role, scene.bands)
    if name is None:
        return np.empty(0), 0.0
    values = np.asarray(scene.bands[name], dtype=np.float64)
    power = 10.0 ** (values / 10.0) if scene.unit == "dB" else values
    usable = np.isfinite(power) & (power > 0)
    if scene.valid is not None and scene.valid.shape == power.shape:
        usable &= ~np.isin(scene.valid, _MISSING)
    return power[usable], float(usable.mean()) if usable.size else 0.0


def terrain_facts(elevation: NDArray[Any], source: str, pixel_m: float = 0.0) -> list[Fact]:
    """Lowest, mean and highest ground, the relief between and the mean slope, and on which side it is highest.

    Args:
        elevation: (h, w) metres, NaN where missing.
        source: name of the layer.
        pixel_m: size of a pixel in metres; 0: no slope.
    """
    grid = np.asarray(elevation, dtype=np.float64)
    height = grid[np.isfinite(grid)]
    if height.size == 0:
        return []
    low, high = float(height.min()), float(height.max())
    values = {"low": low, "mean": float(height.mean()), "high": high, "relief": high - low}
    facts = [
        Fact(f"terrain.{name}", "terrain", "ground", round(value, 2), "m", "chip", source)
        for name, value in values.items()
    ]
    if pixel_m > 0 and min(grid.shape) >= 2 and np.isfinite(grid).all():
        down, right = np.gradient(grid, pixel_m)
        slope = float(np.degrees(np.arctan(np.hypot(down, right))).mean())
        facts.append(Fact("terrain.slope", "terrain", "ground", round(slope, 4), "degrees", "chip", source))
    if min(grid.shape) >= 4 and np.isfinite(grid).all():
        halves = {name: float(grid[slices(f"{name}-half", grid.shape)].mean()) for name in "nsew"}
        side = max(halves, key=lambda name: (halves[name], name))
        opposite = {"n": "s", "s": "n", "e": "w", "w": "e"}[side]
        if halves[side] - halves[opposite] >= max(5.0, 0.25 * (high - low)):
            facts.append(Fact("terrain.higher", "terrain", "ground", f"{side}-half", "region", "chip", source))
    return facts


def zone_facts(georef: GeoRef) -> list[Fact]:
    """Which belt of the earth the chip lies in, by latitude alone: tropics, temperate, polar."""
    latitude = latitude_degrees(georef)
    if not np.isfinite(latitude):
        return []
    side = "northern" if latitude > 0 else "southern"
    belt = abs(latitude)
    name = "tropics" if belt < TROPIC_DEGREES else f"{side} {'temperate' if belt < POLAR_DEGREES else 'polar'} zone"
    return [Fact("zone.latitude", "zone", "chip", name, "zone", "chip", "grid")]


def latitude_degrees(georef: GeoRef) -> float:
    """Latitude of the chip's centre, to about half a degree, from its UTM northing; NaN outside UTM.

    A southern zone (327xx) counts from 10,000,000 m; a northern one may have negative northings (Landsat).
    """
    northing = (georef.bounds_xyxy[1] + georef.bounds_xyxy[3]) / 2
    if 32601 <= georef.epsg <= 32660:
        return northing / 110_800.0
    if 32701 <= georef.epsg <= 32760:
        return (northing - 10_000_000.0) / 110_800.0
    return float("nan")


def season_of(day: str, latitude: float) -> str:
    """Meteorological season (winter = December to February in the north), empty between the tropics."""
    if not abs(latitude) > TROPIC_DEGREES:
        return ""
    quarter = (date.fromisoformat(day).month % 12) // 3
    names = ("winter", "spring", "summer", "autumn")
    return names[quarter if latitude > 0 else (quarter + 2) % 4]
