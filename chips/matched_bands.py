"""Which bands of two optical sensors see the same light, by centre wavelength and width.

    pair_bands(landsat, sentinel2)       # [Pairing("nir", weights, weights), ...]: what to compare with what

A band is a Gaussian of its centre and full width at half maximum. Two are alike as far as their Gaussians overlap; a
hyperspectral sensor's narrow bands are added up with weights so that together they respond as the other's broad band.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Light = tuple[float | None, float | None]
"""Centre and full width at half maximum of a band in nm; None where unknown or not optical."""

WINDOWS_NM: dict[str, tuple[float, float]] = {
    "nir": (800.0, 900.0),
    "red": (640.0, 685.0),
    "green": (535.0, 585.0),
    "swir16": (1560.0, 1660.0),
}
"""What two optical sensors both see, best first: near infrared separates fields in every season, red separates
soil from plants. The windows hold the bands of Sentinel-2, Landsat and MODIS heritage."""
NARROW_NM = 10.0
"""Width of a band of which nothing is said."""
SIGMA = 1.0 / 2.3548
"""Standard deviation of a Gaussian over its full width at half maximum."""
MIN_ALIKE = 0.4
"""Bands that overlap less (0..1) are not compared."""
MIN_SHARE = 0.01
"""Bands with less of the largest weight are left out."""


class Pairing(NamedTuple):
    """What two sensors see alike."""

    window: str
    """Name in `WINDOWS_NM`."""
    moving: NDArray[np.float32]
    """(bands of the moving layer,) weights that add up to 1."""
    reference: NDArray[np.float32]
    """(bands of the reference,) weights that add up to 1."""


def pair_bands(moving: Sequence[Light], reference: Sequence[Light]) -> list[Pairing]:
    """Pictures to compare, best window first.

    In each window the broader sensor's broadest band is taken, and the other's bands are put together to respond like
    it.

    Args:
        moving: its bands.
        reference: its bands.
    """
    found = []
    for window, (low, high) in WINDOWS_NM.items():
        ours, theirs = (_inside(bands, low, high) for bands in (moving, reference))
        if not ours or not theirs:
            continue
        broad = max(_width(reference[i]) for i in theirs) >= max(_width(moving[i]) for i in ours)
        target = reference[_broadest(reference, theirs)] if broad else moving[_broadest(moving, ours)]
        weights = response_weights(moving, target), response_weights(reference, target)
        if all(weight.any() for weight in weights):
            found.append(Pairing(window, *weights))
    return found


def response_weights(bands: Sequence[Light], target: Light) -> NDArray[np.float32]:
    """Weights (adding up to 1) with which bands respond together like a target band; all 0 where none is like it.

    Narrow bands get the target's response at their centre, times the spacing that they stand for; a band at least half
    as broad as the target is taken alone, the one that overlaps most.

    Example:
        >>> response_weights([(492.4, 66.0), (832.8, 106.0)], (865.0, 28.0)).tolist()
        [0.0, 1.0]
    """
    weights = np.zeros(len(bands))
    known = [i for i, (centre, _) in enumerate(bands) if centre is not None and np.isfinite(centre)]
    centre, width = target[0], _width(target)
    if centre is None or not known:
        return weights.astype(np.float32)
    alike = {i: overlap(bands[i], target) for i in known}
    broad = [i for i in known if _width(bands[i]) >= 0.5 * width and alike[i] >= MIN_ALIKE]
    if broad:
        weights[max(broad, key=lambda i: (alike[i], -i))] = 1.0
        return weights.astype(np.float32)
    places = np.array([float(bands[i][0] or 0.0) for i in known])
    response = np.exp(-0.5 * ((places - centre) / (SIGMA * width)) ** 2)
    order = np.argsort(places, kind="stable")
    response[order] *= np.gradient(places[order]) if len(known) > 1 else 1.0
    inside = (response > MIN_SHARE * response.max()) & (np.abs(places - centre) <= width)
    if not inside.any():
        return weights.astype(np.float32)
    weights[np.array(known)[inside]] = response[inside] / response[inside].sum()
    return weights.astype(np.float32)


def overlap(one: Light, other: Light) -> float:
    """How alike two bands are, 0..1: the product of their Gaussians over the larger of their own squares.

    Example:
        >>> overlap((665.0, 30.0), (665.0, 30.0))
        1.0
    """
    if one[0] is None or other[0] is None:
        return 0.0
    a, b = _width(one) * SIGMA, _width(other) * SIGMA
    both = np.exp(-0.5 * (one[0] - other[0]) ** 2 / (a * a + b * b)) / np.sqrt((a * a + b * b) / 2)
    return float(min(1.0, both * max(a, b)))


def _inside(bands: Sequence[Light], low: float, high: float) -> tuple[int, ...]:
    return tuple(i for i, (centre, _) in enumerate(bands) if centre is not None and low <= centre <= high)


def _broadest(bands: Sequence[Light], inside: Sequence[int]) -> int:
    return max(inside, key=lambda i: (_width(bands[i]), -i))


def _width(band: Light) -> float:
    return band[1] if band[1] is not None and np.isfinite(band[1]) else NARROW_NM
