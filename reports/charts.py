"""Geometry of the report's charts: numbers in, coordinates out; the page's template draws them as inline SVG.

Nothing here writes markup, so nothing here has to escape: names and labels travel as plain strings and meet
autoescaping in the template.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_DRAWN_CHIPS = 3000
"""More outlines make the page heavy and the map no clearer: then every n-th is drawn, and it is said."""
MAX_DRAWN_ON_PAGE = 6000
"""Of all regions together; each is drawn three times at most."""
MAX_MAPS = 40
"""Regions that have a map, the largest first."""

METRES_PER_DEGREE = 111_320.0
"""Length of a degree of latitude (sphere of 6,378,137 m), good to half a per cent: for drawing only."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram, in drawing units."""

    x: float
    """Left edge."""
    y: float
    """Top edge."""
    width: float
    """Width."""
    height: float
    """Height."""
    count: int
    """Values in the bin."""
    label: str
    """The bin's range, for the tooltip."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram, ready to draw."""

    title: str
    """What is counted."""
    unit: str
    """Unit of the values."""
    bars: tuple[Bar, ...]
    """One per bin."""
    ticks: tuple[tuple[float, str], ...]
    """(x, text) along the axis."""
    width: float
    """Drawing width."""
    height: float
    """Drawing height, axis labels excluded."""
    count: int
    """Values counted."""
    median: float
    """Median of the values, in `unit`."""
    median_x: float
    """Where the median stands."""
    beyond: int
    """Values outside the axis (counted in its first or last bar)."""


@dataclass(frozen=True, slots=True)
class Outline:
    """One chip on a map."""

    chip_id: str
    """Which chip."""
    split: str
    """train, val or test."""
    points: str
    """Corners as an SVG ``points`` attribute."""


@dataclass(frozen=True, slots=True)
class RegionMap:
    """The chips of one region, ready to draw."""

    region: str
    """Name of the region."""
    outlines: tuple[Outline, ...]
    """Chips drawn."""
    total: int
    """Chips there are."""
    width: float
    """Drawing width."""
    height: float
    """Drawing height."""
    scale_bar_width: float
    """Length of the scale bar in drawing units."""
    scale_bar_text: str
    """What that length is on the ground."""
    centre_text: str
    """Centre of the region, for people."""


def nice_step(span: float, parts: int = 4) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides ``span`` into about ``parts``.

    >>> nice_step(10.0), nice_step(0.07), nice_step(37.0)
    (5.0, 0.02, 10.0)
    """
    raw = span / max(parts, 1)
    if not (math.isfinite(raw) and raw > 0):
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1.0, 2.0, 5.0, 10.0):
        if raw <= factor * power * 1.0001:
            return float(f"{factor * power:.6g}")
    return float(f"{10 * power:.6g}")


def number_text(value: float) -> str:
    """A number as short as its size allows: ``0``, ``0.25``, ``12``, ``1,500``."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def place_text(latitude: float, longitude: float, decimals: int) -> str:
    """A place for people; the longitude may be counted on beyond the antimeridian.

    >>> place_text(-17.0, 180.25, 2)
    '17.00° S, 179.75° W'
    """
    east = (longitude + 180.0) % 360.0 - 180.0
    return (
        f"{abs(latitude):.{decimals}f}° {'N' if latitude >= 0 else 'S'}, "
        f"{abs(east):.{decimals}f}° {'E' if east >= 0 else 'W'}"
    )


def histogram(
    title: str,
    unit: str,
    values: NDArray[np.float64],
    *,
    limits: tuple[float, float] | None = None,
    bins: int = 24,
) -> Histogram | None:
    """The histogram of the finite values, or None where there is none.

    Args:
        title: what is counted.
        unit: unit of the values.
        values: (n,) values; NaN is left out.
        limits: ends of the axis; those of the values where absent.
        bins: number of bars.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    low, high = limits if limits is not None else (float(finite.min()), float(finite.max()))
    if high <= low:
        low, high = low - 0.5, low + 0.5
    width, height = 240.0, 72.0
    counts, edges = np.histogram(np.clip(finite, low, high), bins=bins, range=(low, high))
    peak = max(int(counts.max()), 1)
    step = width / bins
    bars = []
    for index, count in enumerate(counts.tolist()):
        tall = 0.0 if count == 0 else max(height * count / peak, 1.5)
        span = f"{number_text(float(edges[index]))} to {number_text(float(edges[index + 1]))} {unit}".rstrip()
        bars.append(Bar(index * step + 0.5, height - tall, step - 1.0, tall, count, span))
    tick = nice_step(high - low)
    first = math.ceil(low / tick - 1e-9)
    last = math.floor(high / tick + 1e-9)
    places = [index * tick for index in range(first, last + 1)]
    median = float(np.median(finite))
    return Histogram(
        title=title,
        unit=unit,
        bars=tuple(bars),
        ticks=tuple(((place - low) / (high - low) * width, number_text(round(place, 9))) for place in places),
        width=width,
        height=height,
        count=int(finite.size),
        median=median,
        median_x=(min(max(median, low), high) - low) / (high - low) * width,
        beyond=int(((finite < low) | (finite > high)).sum()),
    )


def numbers_drawn(total: int, maps: int = 1) -> NDArray[np.int64]:
    """Which of so many chips one of so many maps draws: every n-th, at most `MAX_DRAWN_CHIPS`."""
    most = min(MAX_DRAWN_CHIPS, MAX_DRAWN_ON_PAGE // max(maps, 1))
    return np.arange(0, total, max(1, math.ceil(total / most)))


def region_map(
    region: str,
    chip_ids: Sequence[str],
    splits: Sequence[str],
    rings: Sequence[NDArray[np.float64]],
    *,
    total: int,
    extent: tuple[float, float, float, float],
    width: float = 420.0,
) -> RegionMap:
    """The chips of one region on a local equirectangular map.

    Args:
        region: name of the region.
        chip_ids: of the chips that are drawn: see `numbers_drawn`.
        splits: one per chip.
        rings: one (n, 2) array of longitude and latitude in degrees per chip.
        total: chips that there are.
        extent: west, south, east and north of all of them, in degrees.
        width: largest drawing width and height.
    """
    west, south, east, north = extent
    stretch = max(math.cos(math.radians((south + north) / 2)), 0.02)
    span_x_m = max((east - west) * stretch * METRES_PER_DEGREE, 1.0)
    span_y_m = max((north - south) * METRES_PER_DEGREE, 1.0)
    margin = 8.0
    per_metre = (width - 2 * margin) / max(span_x_m, span_y_m)

    def points(ring: NDArray[np.float64]) -> str:
        x = margin + (ring[:, 0] - west) * stretch * METRES_PER_DEGREE * per_metre
        y = margin + (north - ring[:, 1]) * METRES_PER_DEGREE * per_metre
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    bar_m = nice_step(span_x_m, 3)
    latitude, longitude = (south + north) / 2, (west + east) / 2
    return RegionMap(
        region=region,
        outlines=tuple(
            Outline(chip_id, split, points(ring)) for chip_id, split, ring in zip(chip_ids, splits, rings, strict=True)
        ),
        total=total,
        width=span_x_m * per_metre + 2 * margin,
        height=span_y_m * per_metre + 2 * margin,
        scale_bar_width=bar_m * per_metre,
        scale_bar_text=f"{number_text(bar_m / 1000)} km" if bar_m >= 1000 else f"{number_text(bar_m)} m",
        centre_text=place_text(latitude, longitude, 2),
    )
