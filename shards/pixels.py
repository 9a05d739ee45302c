"""Stored numbers -> float32 training values, written straight into an array that is there already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Linear:
    """value = stored * gain + bias, per date and band."""

    gain: NDArray[np.float32]
    """(T, C)."""
    bias: NDArray[np.float32]
    """(T, C)."""


def linear(
    scale: NDArray[np.float64],
    offset: NDArray[np.float64],
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
) -> Linear:
    """Physical value (stored * scale + offset), less the mean, over the deviation, as one product and one sum.

    Args:
        scale: (T,) per date.
        offset: (T,).
        mean: (C,) 0 where values stay physical.
        std: (C,) 1 where values stay physical; infinite for bands without variation, which become 0.

    Example:
        >>> found = linear(np.array([1e-4]), np.array([-0.1]), np.array([0.25]), np.array([0.5]))
        >>> round(float(3500 * found.gain[0, 0] + found.bias[0, 0]), 6)
        0.0
    """
    gain = scale[:, None] / std
    bias = (offset[:, None] - mean) / std
    return Linear(gain.astype(np.float32), bias.astype(np.float32))


def convert(
    stored: NDArray[np.generic],
    valid: NDArray[np.uint8],
    how: Linear,
    nodata: float | None,
    into: NDArray[np.float32],
) -> None:
    """Write values of stored numbers into ``into``; 0 where there is no data.

    Args:
        stored: (T, C, H, W) as in the shard.
        valid: (T, H, W), 0 where there is no data.
        how: the conversion.
        nodata: stored value of no data, which a single band may hold where the mask does not say so.
        into: (T, C, H, W) float32, any strides.
    """
    floats = stored.dtype.kind == "f"
    gaps = valid.size > 0 and not valid.all()
    for date in range(stored.shape[0]):
        target, numbers = into[date], stored[date]
        np.copyto(target, numbers, casting="same_kind")  # then in place: twice as fast as one mixed multiplication
        target *= how.gain[date, :, None, None]
        target += how.bias[date, :, None, None]
        if nodata is not None and _may_hold(numbers, nodata):
            np.copyto(target, 0, where=numbers == np.asarray(nodata).astype(numbers.dtype))
        if gaps and not valid[date].all():
            np.copyto(target, 0, where=valid[date] == 0)
        if floats or not np.isfinite(how.gain[date] + how.bias[date]).all():
            odd = ~np.isfinite(target)
            if odd.any():
                np.copyto(target, 0, where=odd)


def _may_hold(numbers: NDArray[np.generic], value: float) -> bool:
    """Whether a value lies between the least and the largest of some numbers: cheaper to ask than where it is."""
    if value != value or not numbers.size:
        return False
    low = numbers.min()
    return not (low > value) and not (numbers.max() < value)  # NaN compares as neither
