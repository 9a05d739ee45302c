"""Oriented gradients against their definition as one convolution per axis."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from chips.edges import find_edges


def spread(taps: list[float], step: int) -> np.ndarray:
    """Taps that stand ``step`` samples apart."""
    found = np.zeros((len(taps) - 1) * step + 1)
    found[::step] = taps
    return found


@pytest.mark.parametrize("smoothing", [1, 2])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_edges_are_softened_gradients_of_the_smoothed_picture(step: int, smoothing: int) -> None:
    plane = np.random.default_rng(step).normal(50, 9, (23, 31)).astype(np.float32)
    smooth = np.ones(1)
    for _ in range(smoothing):
        smooth = np.convolve(smooth, spread([1.0, 2.0, 1.0], step))
    slope = np.convolve(smooth, spread([-1.0, 0.0, 1.0], step))
    centred = plane.astype(np.float64) - plane.mean()
    right, down = (
        correlate1d(correlate1d(centred, slope, axis=along, mode="nearest"), smooth, axis=across, mode="nearest")
        for along, across in ((1, 0), (0, 1))
    )
    squared = right**2 + down**2
    length = np.sqrt(squared * (squared + squared.mean()))
    expected = np.stack([right**2 - down**2, 2 * right * down]) / length
    found = find_edges(plane[None], np.ones(plane.shape, np.bool_), step=step, smoothing=smoothing)
    assert found.weight.all()
    np.testing.assert_allclose(found.values, expected, atol=2e-4)
