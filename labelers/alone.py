"""Where no map of its own speaks nothing is estimated: what is known of a context source stands.

How CORINE and OpenStreetMap err is told by the maps beside them. Where none of those speaks (the product ends there,
was not found, or is not asked for) the counts fit many tables equally well, and an estimate drifted to whichever: with
OpenStreetMap alone 14 to 56 of 100 pixels were right at mean confidences of 0.45 to 0.90, where the map's own classes
are right at nine in ten.

So there a source says the first class that its code admits, and is right as often as is known of that code, and a
coarse one less often near its borders. Of several the one that is right most often decides. One that admits its class
adds nothing, for they hang together; one that does not takes away: the odds are multiplied by its chance of being
wrong. How often a source is right is known of all its pixels: where the better one has settled some, the others have
what is left. Mappers draw fields sooner than the grass between them, which CORINE calls fields too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelers.base import FIRST_ACCURACY_OF
from labelers.voters import SILENT, FusionSetup, Voter, VoteTable

Floats = NDArray[np.float64]

NEAR_STEP = 2 / 3
"""Accuracy within half a coarse source's own pixel of where its class changes, as a part of that elsewhere: the side
is a coin's toss at the border itself, and outlines are off by up to a pixel. A judgement; in the sandbox 0.60 to 0.66
where OpenStreetMap is silent (seeds 31 to 33)."""

FEW_PIXELS = 10_000.0
"""So many pixels as they are supposed stand beside those of a code that are left: at 10 m four of CORINE's least
units."""

LEAST_LEFT, MOST_LEFT = 0.5, 0.25
"""What is left of an accuracy is half of it at the least, and at the most a quarter of the way from it to 1: a better
source that lies elsewhere, or is of another legend, confirms next to nothing and would leave too much."""

Left = tuple[Floats, ...]
"""Of each voter: (regions + 1, symbols, away from its borders and near them) how often it is right where no other
context source speaks; the last region is the whole dataset."""


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


def known_of(
    symbols: NDArray[np.integer],
    near: NDArray[np.bool_],
    setup: FusionSetup,
    weights: tuple[float, ...],
    left: Left | None = None,
    region: int | NDArray[np.integer] = -1,
) -> Floats:
    """(rows, classes) probability of each class at pixels of `is_alone`.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        near: (rows, voters) whether a voter changes its class near by, see `labelers.marks.near_steps_of`.
        setup: who votes.
        weights: of each voter; one of weight 0 is not listened to.
        left: of `left_of`; None: as is supposed.
        region: (rows,) or one place in it.
    """
    tables, rows = setup.tables(), np.arange(len(symbols))
    found = np.zeros((len(symbols), tables[0].shares.shape[1]))
    best, part = np.zeros(len(symbols)), np.ones(len(symbols))
    for i in _heard(setup, weights):
        said = symbols[:, i]
        supposed = np.append(_supposed(setup.voters[i], tables[i]), 0.0)[said]
        better = np.flatnonzero(supposed > best)
        best[better] = supposed[better]
        found[better] = _said(setup.voters[i], tables[i])[said[better]]
        part[better] = np.where(near[better, i], NEAR_STEP, 1.0)
    first = found.argmax(axis=1)
    right = found[rows, first] * part
    if left is not None:
        several = (symbols[:, _heard(setup, weights)] != SILENT).sum(axis=1) > 1
        for i in _heard(setup, weights):
            by_itself = np.flatnonzero((symbols[:, i] != SILENT) & ~several)
            where = np.broadcast_to(region, several.shape)[by_itself]
            right[by_itself] = left[i][where, symbols[by_itself, i], near[by_itself, i].astype(np.intp)]
    odds = right / np.maximum(1.0 - right, 1e-9)
    for i in _heard(setup, weights):
        spoken = np.flatnonzero(symbols[:, i] != SILENT)
        contrary = spoken[tables[i].shares[symbols[spoken, i], first[spoken]] == 0]
        least = np.minimum(_accuracy(setup.voters[i], tables[i]), _supposed(setup.voters[i], tables[i]))
        odds[contrary] *= 1.0 - least[symbols[contrary, i]] * np.where(near[contrary, i], NEAR_STEP, 1.0)
    _set_first(found, first, odds / (1.0 + odds))
    return found


def left_of(
    symbols: NDArray[np.integer],
    near: NDArray[np.bool_],
    counts: Floats,
    region: tuple[NDArray[np.integer], int],
    setup: FusionSetup,
    weights: tuple[float, ...],
) -> Left:
    """How often each context source is right where no other one speaks, from the counts of pixels of `is_alone`.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        near: (rows, voters), as `known_of` has it.
        counts: (rows,) pixels.
        region: (rows,) its position, and how many there are.
        setup: who votes.
        weights: of each voter.
    """
    known, said_by = known_of(symbols, near, setup, weights), symbols != SILENT
    several = said_by[:, _heard(setup, weights)].sum(axis=1) > 1
    found = []
    for i, (voter, table) in enumerate(zip(setup.voters, setup.tables(), strict=True)):
        supposed = _accuracy(voter, table)[:, None] * np.array([1.0, NEAR_STEP])
        pixels, settled, right = np.zeros((3, region[1] + 1, *supposed.shape))
        rows = np.flatnonzero(said_by[:, i])
        at = region[0][rows], symbols[rows, i], near[rows, i].astype(np.intp)
        np.add.at(pixels, at, counts[rows])
        np.add.at(settled, at, counts[rows] * several[rows])
        first = table.shares.argmax(axis=1)[symbols[rows, i]]
        np.add.at(right, at, counts[rows] * several[rows] * known[rows, first])
        for sums in (pixels, settled, right):
            sums[-1] = sums.sum(axis=0)
        left = ((pixels + FEW_PIXELS) * supposed - right) / (pixels - settled + FEW_PIXELS)
        found.append(np.clip(left, LEAST_LEFT * supposed, supposed + MOST_LEFT * (1.0 - supposed)))
    return tuple(found)


def _heard(setup: FusionSetup, weights: tuple[float, ...]) -> list[int]:
    """Places of the context sources that are listened to, by name: the recipe's order decides nothing."""
    places = [i for i, voter in enumerate(setup.voters) if voter.is_context and weights[i] > 0]
    return sorted(places, key=lambda i: setup.voters[i].source)


def _supposed(voter: Voter, table: VoteTable) -> Floats:
    """(symbols,) how often the first class is the pixel's, by the source alone: less where a code admits several."""
    single = (table.shares > 0).sum(axis=1) == 1
    first = np.where(single, max(voter.accuracy, voter.first_accuracy), voter.first_accuracy)
    return np.asarray(first * voter.freshness)


def _accuracy(voter: Voter, table: VoteTable) -> Floats:
    """(symbols,) the same by code, where it admits several: see `labelers.base.FIRST_ACCURACY_OF`."""
    supposed, known = _supposed(voter, table), {} if voter.is_told else FIRST_ACCURACY_OF.get(voter.legend, {})
    several = (table.shares > 0).sum(axis=1) > 1
    by_code = np.array([known.get(code, voter.first_accuracy) for code in table.codes]) * voter.freshness
    return np.asarray(np.where(several, by_code, supposed))


def _said(voter: Voter, table: VoteTable) -> Floats:
    """(symbols, classes) probability of each class where a voter speaks alone. What is left of the first one falls in
    halves to the others that the code admits and to the rest.
    """
    shares, rows = table.shares, np.arange(len(table.shares))
    first = shares.argmax(axis=1)
    others, rest = shares.copy(), np.where(shares > 0, 0.0, 1.0)
    others[rows, first] = 0.0
    left = [part / np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in (others, rest)]
    found = np.asarray(left[0] + left[1])
    found[rows, first] = 1e-9
    _set_first(found, first, _accuracy(voter, table))
    return found


def _set_first(found: Floats, first: NDArray[np.integer], right: Floats) -> None:
    """The first class of each row gets its probability, the others what is left, in their proportion. It stands: where
    another one would have more, both have the same.

    Args:
        found: (rows, classes); changed.
        first: (rows,) its place.
        right: (rows,) its probability.
    """
    rows = np.arange(len(found))
    found[rows, first] = 0.0
    found *= ((1.0 - right) / np.maximum(found.sum(axis=1), 1e-12))[:, None]
    found[rows, first] = np.maximum(right, found.max(axis=1, initial=0.0) * (1 + 1e-6))
    found /= found.sum(axis=1, keepdims=True)
