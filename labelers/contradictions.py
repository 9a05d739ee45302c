"""Where maps contradict each other so often that nothing tells which one is right: class shares are not learnt there.

Of pixels at which two maps name different classes and nobody else speaks, the likelihood is highest where one class has
everything and the other map errs always; which one is left to the second digit of a published accuracy. Where maps are
as right as their reports say, they contradict each other at two pixels in five; more than `MOST` in the cells of one
kind of ring comes of another reading of the land, not of errors, and there class shares stay what the maps say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelers.marks import blocks
from labelers.voters import SILENT, VoteTable

Floats = NDArray[np.float64]

MOST = 0.7
"""Contradicting share from which on class shares are learnt the less; at 1 not at all. In the sandbox no kind of ring
reaches it, also where both maps are right at 65 % of the pixels."""

BLOCK_ROWS = 100_000


def contradictions(
    symbols: NDArray[np.int16], tables: Sequence[VoteTable], own: Sequence[int], context: Sequence[int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(rows,) whether two sources of their own speak; whether then no two admit one class, and nobody settles it.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        tables: what each voter's symbols admit.
        own: places of the sources of their own that are listened to.
        context: places of the context sources that are: one that admits just one of the classes named settles it.
    """
    several, contrary = np.zeros(len(symbols), dtype=bool), np.zeros(len(symbols), dtype=bool)
    admitted = [np.vstack([table.shares > 0, np.zeros(table.shares.shape[1], dtype=bool)]) for table in tables]
    for part in blocks(len(symbols), BLOCK_ROWS):
        said = symbols[part]
        named = np.sum([admitted[i][said[:, i]] for i in own], axis=0)
        several[part] = np.sum([said[:, i] != SILENT for i in own], axis=0) > 1
        settled = np.zeros(len(said), dtype=bool)
        for i in context:
            settled |= (admitted[i][said[:, i]] & (named > 0)).sum(axis=1) == 1
        contrary[part] = several[part] & (named < 2).all(axis=1) & ~settled
    return several, contrary


def unlearnt(several: Floats, contrary: Floats, few: float) -> Floats:
    """(regions, cells) part of the class shares that is not learnt, 0 to 1.

    Args:
        several: (regions, cells) pixels at which two sources of their own speak.
        contrary: (regions, cells) pixels of these at which they contradict each other.
        few: so many pixels of the whole region stand beside those of a cell.
    """
    whole = contrary.sum(axis=1, keepdims=True) / np.maximum(several.sum(axis=1, keepdims=True), 1.0)
    share = (contrary + few * whole) / (several + few)
    return np.asarray(np.clip((share - MOST) / (1.0 - MOST), 0.0, 1.0))
