"""What lies around a pixel: the class that a ring about it is mostly made of, and how clearly so.

A map errs in patches. What it says at a pixel and what it says beyond the patch in which it may be wrong are nearly
independent, so that the ring tells errors from small things that are really there. The ring is part of the counts,
and how much it tells of the pixel is estimated like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

INNER_M = 45.0
OUTER_M = 105.0
"""Half the sides of the square that is left out and of the one that is looked at. Errors of a 10 m map hang together
over about 70 m (the sandbox's, pinned before; docs/labels.md has what other rings gave)."""

DOMINANCE = (0.45, 0.6, 0.75, 0.9)
"""Shares of the ring's likeliest class that part the levels."""

STEPS = 64
"""Votes are rounded to so many parts, so that running sums and sums pixel by pixel are the same whole numbers."""

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
    shape = symbols[0].shape
    votes = [np.rint(np.vstack([np.zeros(table.shape[1]), table]) * STEPS).astype(np.int32) for table in shares]
    said = [layer.astype(np.intp) + 1 for layer in symbols]  # 0: silent
    met = [np.bincount(layer.ravel(), minlength=len(table)) for layer, table in zip(said, votes, strict=True)]
    total, best = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
    likeliest = np.zeros(shape, dtype=np.int16)
    for k in range(shares[0].shape[1]):
        summed = np.zeros(shape, dtype=np.int32)
        for layer, table, pixels in zip(said, votes, met, strict=True):
            if (table[:, k] * pixels).any():
                summed += np.ascontiguousarray(table[:, k]).take(layer, mode="clip")
        if not summed.any():
            continue
        ring = np.subtract(*box_sums(summed, (outer, inner)))
        total += ring
        likeliest += (ring > best) * (np.int16(k) - likeliest)  # arithmetic: choosing by a mask costs ten times as much
        np.maximum(best, ring, out=best)
    spoken = total > STEPS // 2
    share = best.astype(np.float32) / np.maximum(total, 1).astype(np.float32)
    level = sum((share >= np.float32(least)).astype(np.int8) for least in DOMINANCE)
    return np.where(spoken, likeliest.astype(np.int64) * RING_LEVELS + level, SILENT_RING)


def box_sums(values: NDArray[np.int32], reaches: Sequence[int]) -> list[NDArray[np.int32]]:
    """For each reach (H, W) sums over squares of ``2 * reach + 1`` pixels, cut off at the edges of the array.

    >>> box_sums(np.ones((3, 4), np.int32), [1])[0].tolist()
    [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]
    """
    (rows, columns), most = values.shape, max(reaches)
    running = np.zeros((rows + 2 * most + 1, columns + 2 * most + 1), dtype=np.int32)
    body = running[most + 1 : most + 1 + rows, most + 1 : most + 1 + columns]
    values.cumsum(axis=0, out=body)
    body.cumsum(axis=1, out=body)
    running[most + 1 + rows :] = running[most + rows]
    running[:, most + 1 + columns :] = running[:, most + columns][:, None]
    found = []
    for reach in reaches:
        low, high = most - reach, most + reach + 1
        down = running[high : high + rows] - running[low : low + rows]
        found.append(down[:, high : high + columns] - down[:, low : low + columns])
    return found
