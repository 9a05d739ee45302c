"""Which sources deserve to be listened to: one that agrees with no other better than chance has no weight.

Its published accuracy says what a source is worth where it is in order. A raster that is shifted, mirrored, of another
legend or plainly made up agrees with nobody, and an estimate that began from its accuracy would find reasons to
believe it. So agreement is looked at first, from the counts alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelers.voters import SILENT, FusionSetup

LEAST_TRUST = 0.65
"""A source of its own whose best agreement with another, beyond chance, is less than this share of what both accuracies
let expect is not listened to. In the sandbox sound ones have 0.9 and more, also where their accuracy is 65 % instead of
the published one; a WorldCover that was turned and drawn by lot has 0, one that was mirrored 0.15 to 0.58."""

LEAST_TRUST_CONTEXT = 0.35
"""The same of context sources: over a few square kilometres CORINE's coarse classes may agree no better than 0.5."""

LEAST_AT_ALL = 0.25
"""Where the best agreement of all sources of their own is less, the estimate is believed the less. Maps of other places
have about 0, one beside its mirror image little more; two that read half of the land apart have more."""

LEAST_PIXELS = 1000
"""Pixels at which two sources must both speak before their agreement says anything."""

LEAST_GAP = 0.01
"""So much must lie between what chance and what accuracies let expect."""


def trust_of(
    symbols: NDArray[np.int64], counts: NDArray[np.float64], setup: FusionSetup
) -> tuple[tuple[float, ...], NDArray[np.float64]]:
    """How far each source's agreement reaches what its accuracy lets expect.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        counts: (rows,) pixels.
        setup: who votes.

    Returns:
        Per voter the largest over the others of (observed - chance) / (expected - chance), 1 at most; 1 too where it
        meets no other. And the (voters, voters) values themselves, NaN where two never meet.
    """
    tables, voters = setup.tables(), setup.voters
    pairs = np.full((len(voters), len(voters)), np.nan)
    said = [_said(table.shares, symbols[:, position], counts) for position, table in enumerate(tables)]
    for a in range(len(voters)):
        for b in range(a + 1, len(voters)):
            both = (symbols[:, a] != SILENT) & (symbols[:, b] != SILENT)
            n = counts[both]
            if n.sum() < LEAST_PIXELS:
                continue
            first, second = tables[a].shares[symbols[both, a]], tables[b].shares[symbols[both, b]]
            observed = _mean((first * second).sum(axis=1), n)
            chance = float(_mean_rows(first, n) @ _mean_rows(second, n))
            # where one is right, the other's vote for it has the size that its set leaves
            right = min(_mean((first**2).sum(axis=1), n), _mean((second**2).sum(axis=1), n))
            most = float(np.minimum(_mean_rows(first, n), _mean_rows(second, n)).sum())
            if most - chance <= LEAST_GAP:  # a mask: does the other say its one class more often there?
                chance = float(said[a] @ said[b])
            expected = chance + voters[a].accuracy * voters[b].accuracy * (right - chance)
            if expected - chance > LEAST_GAP:  # of a single class everywhere, agreement says nothing
                pairs[a, b] = pairs[b, a] = (observed - chance) / (expected - chance)
    trust = []
    for row in pairs:
        known = row[~np.isnan(row)]
        trust.append(float(np.clip(known.max(), 0.0, 1.0)) if known.size else 1.0)
    return tuple(trust), pairs


def weights_of(trust: tuple[float, ...], pairs: NDArray[np.float64], setup: FusionSetup) -> tuple[float, ...]:
    """1 for every source that is listened to, 0 for the others.

    Where nobody agrees with anybody all are listened to: nothing tells which one is wrong.
    """
    heard = tuple(
        float(value >= (LEAST_TRUST_CONTEXT if voter.is_context else LEAST_TRUST))
        for value, voter in zip(trust, setup.voters, strict=True)
    )
    agreed = pairs[~np.isnan(pairs)]
    return heard if sum(heard) > 1 and agreed.max(initial=0.0) >= LEAST_TRUST else (1.0,) * len(trust)


def credit_of(
    symbols: NDArray[np.int64], trust: tuple[float, ...], weights: tuple[float, ...], setup: FusionSetup
) -> NDArray[np.float64]:
    """(rows,) part (0..1) of an estimate that is to be believed; the rest falls to the class shares.

    Of two maps that agree no better than chance one has the wrong place or legend, or both have: nothing tells which,
    and what an estimate makes of the two is sure of itself and wrong. Where one speaks alone it is as good as alone.

    Args:
        symbols: (rows, voters), `SILENT` where a voter says nothing.
        trust: of each voter, see `trust_of`.
        weights: of each voter.
        setup: who votes.
    """
    own = [i for i, voter in enumerate(setup.voters) if weights[i] > 0 and not voter.is_context]
    several = (symbols[:, own] != SILENT).sum(axis=1) > 1
    best = max((trust[i] for i in own), default=1.0)
    return np.where(several, min(best / LEAST_AT_ALL, 1.0), 1.0)


def credit_of_context(trust: tuple[float, ...], weights: tuple[float, ...], setup: FusionSetup) -> float:
    """Part (0..1) of what is known of context sources that is to be believed where they speak alone; the rest falls to
    the class shares. Where several agree no better than chance one of them may be right, and nothing tells which one.

    Args:
        trust: of each voter, see `trust_of`.
        weights: of each voter.
        setup: who votes.
    """
    heard = [i for i, voter in enumerate(setup.voters) if weights[i] > 0 and voter.is_context]
    if len(heard) < 2:
        return 1.0
    agreed = min(max(trust[i] for i in heard) / LEAST_TRUST_CONTEXT, 1.0)
    return agreed + (1.0 - agreed) / len(heard)


def _said(shares: NDArray[np.float64], symbols: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(classes,) mean vote of a source where it speaks; 0 of one that never does."""
    pixels = np.bincount(symbols - SILENT, counts, len(shares) + 1)[1:]
    return np.asarray(pixels @ shares / max(pixels.sum(), 1.0))


def _mean(values: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    return float((values * counts).sum() / counts.sum())


def _mean_rows(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = (values * counts[:, None]).sum(axis=0) / counts.sum()
    return mean
