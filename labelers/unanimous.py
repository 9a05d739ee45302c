"""Where the sources say the same, it stands: what lies around a pixel may overrule one source, not two that agree.

Class shares by ring tell the errors of a patch from small things that are there. Alone they also overruled what all
sources say alike: along coasts, pixels that two maps call water became trees, and ponds that three maps name were gone
from their forest, with a confidence near 1. Where two sources agree they are right more often than what overrules them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelers.voters import SILENT, FusionSetup

NONE = -1
"""No class is said alike."""


def said_alike(symbols: NDArray[np.int64], setup: FusionSetup, weights: tuple[float, ...]) -> NDArray[np.int64]:
    """(rows,) the class that every source which speaks admits, and that two or more name first, one of them a source of
    its own; `NONE` where there is no such class, or more than one.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        setup: who votes.
        weights: of each voter; one of weight 0 is not listened to.
    """
    tables = setup.tables()
    shape = len(symbols), tables[0].shares.shape[1]
    admitted, by_own = np.ones(shape, dtype=bool), np.zeros(shape, dtype=bool)
    named = np.zeros(shape, dtype=np.int64)
    for said, voter, table, weight in zip(symbols.T, setup.voters, tables, weights, strict=True):
        spoken = np.flatnonzero(said != SILENT) if weight > 0 else np.zeros(0, dtype=np.int64)
        first = spoken, table.shares.argmax(axis=1)[said[spoken]]
        admitted[spoken] &= (table.shares > 0)[said[spoken]]
        named[first] += 1
        by_own[first] |= not voter.is_context
    found = admitted & by_own & (named > 1)
    return np.where(found.sum(axis=1) == 1, found.argmax(axis=1), NONE)


def let_stand(posterior: NDArray[np.float64], alike: NDArray[np.int64]) -> None:
    """A class that is said alike changes places with the likeliest one.

    Args:
        posterior: (rows, classes); changed.
        alike: (rows,) of `said_alike`.
    """
    rows = np.flatnonzero(alike != NONE)
    theirs, likeliest = alike[rows], posterior[rows].argmax(axis=1)
    posterior[rows, theirs], posterior[rows, likeliest] = posterior[rows, likeliest], posterior[rows, theirs]
