"""What lies around a pixel: the class that a ring about it is mostly made of, and how clearly so.

A map errs in patches. What it says at a pixel and what it says beyond the patch in which it may be wrong are nearly
independent, so that the ring tells errors from small things that are really there. The ring is part of the counts,
and how much it tells of the pixel is estimated like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

INNER_M = 45.0
OUTER_M = 105.0
"""Half the sides of the square that is left out and of the one that is looked at. Errors of a 10 m map hang together
over about 70 m (the sandbox's, pinned before; docs/labels.md has what other rings gave)."""

DOMINANCE = (0.45, 0.6, 0.75, 0.9)
"""Shares of the ring's likeliest class that part the levels."""

STEPS = 64
"""Sums are rounded to so many parts of a vote, so that running sums and sums pixel by pixel are the same numbers."""

RING_LEVELS = len(DOMINANCE) + 1

SILENT_RING = -1
"""No source of its own says anything in the ring."""


def ring_marks(
    symbols: Sequence[NDArray[np.int16]], shares: Sequence[NDArray[np.float64]], pixel_m: float
) -> NDArray[np.int64]:
    """(H, W) likeliest class of the ring times `RING_LEVELS` plus the level of its dominance; `SILENT_RING` where
    nobody speaks. Beyond the chip nothing is known: the ring is what of it lies in the chip.

    Args:
        symbols: of the sources that are asked, (H, W) each, negative where silent.
        shares: (symbols, classes) of each: how a symbol's vote is divided.
        pixel_m: GSD of the grid in metres.
    """
    inner = max(round(INNER_M / pixel_m), 1)
    outer = max(round(OUTER_M / pixel_m), inner + 1)
    classes = shares[0].shape[1]
    total = np.zeros(symbols[0].shape, dtype=np.float32)
    best = np.zeros(symbols[0].shape, dtype=np.float32)
    likeliest = np.zeros(symbols[0].shape, dtype=np.int64)
    votes = [np.vstack([table, np.zeros(classes)]).astype(np.float32) for table in shares]  # row -1: silent
    for k in range(classes):
        summed = np.zeros(symbols[0].shape, dtype=np.float32)
        for layer, table in zip(symbols, votes, strict=True):
            if table[:, k].any():
                summed += table[layer, k]
        if not summed.any():
            continue
        ring = np.subtract(box_sum(summed, outer), box_sum(summed, inner))
        total += ring
        larger = ring > best
        best[larger] = ring[larger]
        likeliest[larger] = k
    spoken = total > 0.5
    share = np.divide(best, total, out=np.zeros_like(best), where=spoken)
    level = np.searchsorted(np.array(DOMINANCE, dtype=np.float32), share, side="right")
    return np.where(spoken, likeliest * RING_LEVELS + level, SILENT_RING)


def box_sum(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """(H, W) sums over squares of ``2 * reach + 1`` pixels, cut off at the edges of the array.

    >>> box_sum(np.ones((3, 4), np.float32), 1)[0].tolist()
    [4.0, 6.0, 6.0, 4.0]
    """
    side = 2 * reach + 1
    mean = ndimage.uniform_filter(values, side, mode="constant")
    return np.asarray(np.rint(mean * np.float32(side * side * STEPS)) / np.float32(STEPS), dtype=np.float32)
