"""Mean and standard deviation per band over clear pixels, from sums that merge exactly in any order.

Each chip gives count, sum and sum of squares of its *stored* values, per band and per pair of scale and
offset (Sentinel-2 dates differ in offset). The sums are exact rationals, never rounded: any grouping of
chips on any number of workers ends in the same bytes; rounding happens once, in `finish`.

    parts = [measure_layer(layer) for layer in chip.layers.values()]
    summaries = finish(merge(parts))            # {("s2_10m", "B04"): Summary(count, mean, std)}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.convert import holds
from chips.screen import clear_of

FLOAT32_BITS = 24
"""Bits of a float32 significand, the hidden one included (IEEE 754)."""
FLOAT32_LEAST = -148
"""Smallest exponent that frexp gives for a float32: the least subnormal is 0.5 * 2**-148."""


EXACT_SQUARES = 1 << 20
"""So many squares of 16 bits are added in float64 without rounding: 2**20 times 2**32 is below 2**53. (Not by BLAS,
which would start threads beside those of the other workers.)"""


class Key(NamedTuple):
    """What a sum is kept for."""

    group: str
    """Modality group, ``s2_10m``."""
    band: str
    """Band name."""
    scale: float
    """physical = stored * scale + offset."""
    offset: float
    """See ``scale``."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over stored values, exact."""

    count: int
    """Pixels."""
    total: Fraction
    """Sum of the stored values."""
    squares: Fraction
    """Sum of their squares."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)


Statistics = Mapping[Key, Moments]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a dataset documents of a band."""

    count: int
    """Pixels behind it."""
    mean: float
    """Mean physical value."""
    std: float
    """Standard deviation of the population, physical."""


def measure_layer(layer: xr.Dataset) -> dict[Key, Moments]:
    """Sums of every band of a layer over its clear pixels.

    Args:
        layer: see `schemas.chip.check_layer`. Values equal to its ``nodata`` and values that are not finite
            are left out even where the mask is clear (a band may be missing alone). Float64 is counted at the
            precision of float32.

    Returns:
        Only bands with at least one pixel.
    """
    data, clear_ground = layer.variables["data"].values, clear_of(layer)
    nodata = layer.attrs["nodata"]
    bands = layer.variables["band"].values
    scales, offsets = layer.variables["scale"].values, layer.variables["offset"].values
    sums: dict[Key, Moments] = {}
    for t in range(data.shape[0]):
        clear = clear_ground[t]
        whole = np.count_nonzero(clear) == clear.size
        scale, offset = float(scales[t]), float(offsets[t])
        for band, pixels in zip(bands, data[t], strict=True):
            moments = moments_of(pixels if whole else pixels[clear], nodata)
            if moments.count:
                key = Key(str(layer.attrs["group"]), str(band), scale, offset)
                sums[key] = sums[key] + moments if key in sums else moments
    return sums


def moments_of(values: NDArray[np.generic], nodata: float | None = None) -> Moments:
    """Exact sums of an array of any shape: integers of at most 32 bits, or floats (at float32 precision).

    Example:
        >>> import numpy as np
        >>> moments_of(np.array([1, 2, 65535], np.uint16), nodata=65535)
        Moments(count=2, total=Fraction(3, 1), squares=Fraction(5, 1))

    Raises:
        TypeError: another kind of number.
    """
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        kept = values.ravel()
        if nodata is not None:
            missing = holds(kept, nodata)
            kept = kept[~missing] if missing.any() else kept
        if kept.dtype.itemsize <= 2 and kept.size <= EXACT_SQUARES:
            wide = kept.astype(np.float64)
            total = Fraction(int(wide.sum()))
            return Moments(kept.size, total, Fraction(int(np.square(wide, out=wide).sum())))
        return _integer_moments(kept.astype(np.int64).ravel())
    if values.dtype.kind != "f":
        raise TypeError(f"statistics need integers of at most 32 bits or floats, got {values.dtype}")
    floats = values.astype(np.float32)
    keep = np.isfinite(floats)
    if nodata is not None and math.isfinite(nodata):
        keep &= floats != np.float32(nodata)
    return _float_moments(floats[keep])


def merge(parts: Iterable[Statistics]) -> dict[Key, Moments]:
    """The sums of all parts together; the same whatever their order or grouping."""
    sums: dict[Key, Moments] = {}
    for part in parts:
        for key, moments in part.items():
            sums[key] = sums[key] + moments if key in sums else moments
    return dict(sorted(sums.items()))


def finish(statistics: Statistics) -> dict[tuple[str, str], Summary]:
    """(group, band) -> count, mean and standard deviation in physical units.

    Example:
        >>> key = Key("s2_10m", "B04", 0.5, -1.0)
        >>> finish({key: Moments(2, Fraction(8), Fraction(34))})
        {('s2_10m', 'B04'): Summary(count=2, mean=1.0, std=0.5)}
    """
    physical: dict[tuple[str, str], Moments] = {}
    for key, moments in sorted(statistics.items()):
        name, part = (key.group, key.band), _to_physical(moments, key)
        physical[name] = physical[name] + part if name in physical else part
    return {name: _summary(moments) for name, moments in physical.items()}


def to_dict(statistics: Statistics) -> list[dict[str, Any]]:
    """JSON-ready rows, ordered by key; sums are strings of exact rationals. Inverse: `from_dict`."""
    return [
        {
            "group": key.group,
            "band": key.band,
            "scale": key.scale,
            "offset": key.offset,
            "count": moments.count,
            "total": str(moments.total),
            "squares": str(moments.squares),
        }
        for key, moments in sorted(statistics.items())
    ]


def from_dict(rows: Iterable[Mapping[str, Any]]) -> dict[Key, Moments]:
    """The statistics of `to_dict`'s rows."""
    return {
        Key(row["group"], row["band"], float(row["scale"]), float(row["offset"])): Moments(
            int(row["count"]), Fraction(row["total"]), Fraction(row["squares"])
        )
        for row in rows
    }


def _integer_moments(values: NDArray[np.int64]) -> Moments:
    """Sums of 32-bit integers; squares in halves of 16 bits, so that 2**30 pixels cannot overflow 64 bits."""
    high, low = values >> 16, values & 0xFFFF
    squares = (int(np.dot(high, high)) << 32) + (int(np.dot(high, low)) << 17) + int(np.dot(low, low))
    return Moments(values.size, Fraction(int(values.sum())), Fraction(squares))


def _float_moments(values: NDArray[np.float32]) -> Moments:
    """Sums of float32, exact: significands are added as integers, per exponent.

    A weighted bincount adds in float64, which holds integers below 2**53: 24 bits times 2**29 pixels.
    """
    fraction, exponent = np.frexp(values)
    significand = np.ldexp(fraction, FLOAT32_BITS).astype(np.int64)
    bins = exponent.astype(np.int64) - FLOAT32_LEAST
    square = significand * significand
    total = _sum_by_exponent(bins, significand, 1)
    high = _sum_by_exponent(bins, square >> FLOAT32_BITS, 2)
    low = _sum_by_exponent(bins, square & ((1 << FLOAT32_BITS) - 1), 2)
    unit = FLOAT32_BITS - FLOAT32_LEAST
    squares = Fraction((high << FLOAT32_BITS) + low, 1 << (2 * unit))
    return Moments(values.size, Fraction(total, 1 << unit), squares)


def _sum_by_exponent(bins: NDArray[np.int64], weights: NDArray[np.int64], power: int) -> int:
    """Sum of weights * 2**(bin * power), an integer without limit."""
    sums = np.bincount(bins, weights=weights.astype(np.float64))
    return sum(int(sums[bin_]) << (int(bin_) * power) for bin_ in np.flatnonzero(sums))


def _to_physical(moments: Moments, key: Key) -> Moments:
    """Sums of stored * scale + offset, exact for these two floats."""
    scale, offset, n = Fraction(key.scale), Fraction(key.offset), moments.count
    return Moments(
        n,
        scale * moments.total + offset * n,
        scale**2 * moments.squares + 2 * scale * offset * moments.total + offset**2 * n,
    )


def _summary(moments: Moments) -> Summary:
    mean = moments.total / moments.count
    variance = moments.squares / moments.count - mean**2
    return Summary(moments.count, float(mean), math.sqrt(variance))
