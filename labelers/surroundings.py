"""What lies around a pixel: the class that a ring about it is mostly made of, and how clearly so.

A map errs in patches. What it says at a pixel and what it says beyond the patch in which it may be wrong are nearly
independent, so that the ring tells errors from small things that are really there. The ring is part of the counts,
and how much it tells of the pixel is estimated like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    said = [layer.astype(np.intp) + 1 for layer in symbols]  # 0: silent
    votes = [np.rint(np.vstack([np.zeros(table.shape[1]), table]) * STEPS).astype(np.int64) for table in shares]
    for layer, table in zip(said, votes, strict=True):
        table[np.bincount(layer.ravel(), minlength=len(table)) == 0] = 0
    there = np.flatnonzero(np.sum([table.sum(axis=0) for table in votes], axis=0))
    if not there.size:
        return np.full(symbols[0].shape, SILENT_RING, dtype=np.int64)
    unit = int(np.bitwise_or.reduce(np.concatenate([table.ravel() for table in votes])))
    unit &= -unit  # the power of two that divides all votes: sums are smaller without it, and their ratios the same
    total, best, which = _ring_votes(said, [table[:, there] // unit for table in votes], outer, inner)
    share = best.astype(np.float32) / np.maximum(total, 1).astype(np.float32)
    level = sum((share >= np.float32(least)).view(np.int8) for least in DOMINANCE)
    found: NDArray[np.int64] = (there * RING_LEVELS).take(which) + level
    silent = total <= STEPS // 2 // unit
    if silent.any():
        found[silent] = SILENT_RING
    return found


def _ring_votes(
    said: Sequence[NDArray[np.intp]], votes: Sequence[NDArray[np.int64]], outer: int, inner: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp]]:
    """(H, W) votes in the ring, those of the class that has most of them, and its number, the lowest of equal ones.

    Sums of several classes lie side by side in one 64-bit number, so that one pass over the pixels serves for many, and
    each class's sum above what tells its number, so that the largest one names it.
    """
    classes, shape = votes[0].shape[1], said[0].shape
    votes = [np.column_stack([table, table.sum(axis=1)]) for table in votes]  # the last column: of all classes
    most = ((2 * outer + 1) ** 2 - (2 * inner + 1) ** 2) * sum(int(table.max()) for table in votes)
    bits, number_bits = most.bit_length(), classes.bit_length()
    narrow = np.min_scalar_type((1 << bits + number_bits) - 1).type
    total = best = np.zeros(shape, dtype=narrow)
    together = max(63 // bits, 1)
    for first in range(0, classes + 1, together):
        part = range(first, min(first + together, classes + 1))
        places = np.array([1 << bits * place for place in range(len(part))], dtype=np.int64)
        summed = np.zeros(shape, dtype=np.int64)
        for layer, table in zip(said, votes, strict=True):
            summed += (table[:, part] @ places).take(layer)
        ring = np.subtract(*box_sums(summed, (outer, inner)))
        for place, number in enumerate(part):
            sums = (ring >> bits * place).astype(narrow) & narrow((1 << bits) - 1)
            if number == classes:
                total = sums
            else:
                best = np.maximum(best, (sums << number_bits) | narrow(classes - 1 - number))
    which = classes - 1 - (best & narrow((1 << number_bits) - 1)).astype(np.intp)
    return total, best >> number_bits, which


def box_sums(values: NDArray[np.int64], reaches: Sequence[int]) -> list[NDArray[np.int64]]:
    """For each reach (H, W) sums over squares of ``2 * reach + 1`` pixels, cut off at the edges of the array.

    >>> box_sums(np.ones((3, 4), np.int64), [1])[0].tolist()
    [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]
    """
    (rows, columns), most = values.shape, max(reaches)
    running = np.zeros((rows + 2 * most + 1, columns + 2 * most + 1), dtype=np.int64)
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
