"""Where no map of its own speaks nothing is estimated: what is known of a context source stands.

How CORINE and OpenStreetMap err is told by the maps beside them. Where none of those speaks (the product ends there,
was not found, or is not asked for) the counts fit many tables equally well, and an estimate drifted to whichever: with
OpenStreetMap alone 14 to 56 of 100 pixels were right at mean confidences of 0.45 to 0.90, where the map's own classes
are right at nine in ten.

So there a source says the first class that its code admits, and is right as often as is known of it. Of several the
one that is right most often decides. One that admits its class adds nothing, for they hang together; one that does not
takes away: the odds are multiplied by its chance of being wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelers.voters import SILENT, FusionSetup, Voter, VoteTable

Floats = NDArray[np.float64]


def is_alone(
    symbols: NDArray[np.integer], setup: FusionSetup, weights: tuple[float, ...] | NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(rows,) whether context sources speak and no source of its own does, of those that are listened to.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        setup: who votes.
        weights: of each voter; one of weight 0 is not listened to.
    """
    speaks = (symbols != SILENT) & (np.asarray(weights) > 0)
    context = np.array([voter.is_context for voter in setup.voters])
    return np.asarray(speaks[:, context].any(axis=1) & ~speaks[:, ~context].any(axis=1))


def known_of(symbols: NDArray[np.integer], setup: FusionSetup, weights: tuple[float, ...]) -> Floats:
    """(rows, classes) probability of each class at pixels of `is_alone`.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        setup: who votes.
        weights: of each voter; one of weight 0 is not listened to.
    """
    tables, rows = setup.tables(), np.arange(len(symbols))
    heard = [i for i, voter in enumerate(setup.voters) if voter.is_context and weights[i] > 0]
    heard.sort(
        key=lambda i: setup.voters[i].source
    )  # of equal ones the first by name: the recipe's order decides nothing
    found = np.zeros((len(symbols), tables[0].shares.shape[1]))
    for i in heard:
        spoken = np.flatnonzero(symbols[:, i] != SILENT)
        said = _said(setup.voters[i], tables[i])[symbols[spoken, i]]
        better = said.max(axis=1) > found[spoken].max(axis=1)
        found[spoken[better]] = said[better]
    first, best = found.argmax(axis=1), found.max(axis=1)
    odds = best / np.maximum(1.0 - best, 1e-9)
    for i in heard:
        spoken = np.flatnonzero(symbols[:, i] != SILENT)
        contrary = spoken[tables[i].shares[symbols[spoken, i], first[spoken]] == 0]
        odds[contrary] *= 1.0 - _accuracy(setup.voters[i], tables[i])[symbols[contrary, i]]
    right = odds / (1.0 + odds)
    found *= ((1.0 - right) / np.maximum(1.0 - best, 1e-9))[:, None]
    found[rows, first] = right
    return found


def _accuracy(voter: Voter, table: VoteTable) -> Floats:
    """(symbols,) how often the first class of a code is the pixel's: less where the code admits several."""
    admitted = (table.shares > 0).sum(axis=1)
    return np.where(admitted == 1, voter.accuracy, voter.first_accuracy) * voter.freshness


def _said(voter: Voter, table: VoteTable) -> Floats:
    """(symbols, classes) probability of each class where a voter speaks alone. What is left of the first one falls in
    halves to the others that the code admits and to the rest.
    """
    shares, rows = table.shares, np.arange(len(table.shares))
    first, right = shares.argmax(axis=1), _accuracy(voter, table)
    others, rest = shares.copy(), np.where(shares > 0, 0.0, 1.0)
    others[rows, first] = 0.0
    left = [part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in (others, rest)]
    wrong = left[0] + left[1]
    wrong *= ((1.0 - right) / np.maximum(wrong.sum(axis=1), 1e-12))[:, None]
    wrong[rows, first] = right
    return np.asarray(wrong)
