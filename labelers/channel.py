"""What is known of how a source of its own errs before anything is estimated, and how it is held in the estimate.

A source's errors cannot be told from the truth where nobody else speaks of the same pixel, and hardly where the others
admit several classes: a class then drifts until it is another one. What is published is how often a product is right.
So the accuracy by class is held, summed over all cells of the table; what is said in its place is free. Where two or
more sources speak for themselves, how right they are altogether follows from how they agree, and of what is published
only the proportion of the classes is held.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelers.base import CLASS_ACCURACY
from labelers.voters import Voter, VoteTable

Floats = NDArray[np.float64]

TRANSFER = 0.5
"""How far published accuracies of single classes hold elsewhere: the way to them in log odds from the overall one."""

HELD = 0.9
"""Way from the estimated accuracy of a class to the published one, in each round. What the counts do not tell ends at
the published one."""

HELD_OVERALL = 0.1
"""The same of the overall accuracy, where two or more sources speak for themselves."""

HELD_PIXELS = 40_000.0
"""So many pixels as the start supposes them stand beside the estimated ones: neighbouring pixels err together, so that
a few chips hold few errors to learn from, whatever their pixels."""

SCALINGS = 4
"""Times that a table is scaled to the accuracies; they then hold to a hundredth."""


def class_accuracies(voter: Voter, table: VoteTable, shares: Floats, overall: float) -> Floats:
    """(classes,) probability that a source admits the true class; over the classes' shares its mean is ``overall``."""
    published = CLASS_ACCURACY.get(voter.legend, {})
    likeliest = table.shares.argmax(axis=1)
    odds = np.full(table.shares.shape[1], _logit(overall))
    for k in range(len(odds)):
        codes = [code for code, first in zip(table.codes, likeliest, strict=True) if first == k]
        known = [published[code] for code in codes if code in published]
        if known:
            odds[k] += TRANSFER * (_logit(float(np.mean(known))) - _logit(overall))
    low, high = -8.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if float(shares @ _logistic(odds + middle)) < overall else (low, middle)
    return _logistic(odds + low)


def start_channel(table: VoteTable, seen: Floats, accuracy: Floats) -> Floats:
    """(symbols, classes) P(symbol | class) before anything is estimated.

    Args:
        table: the source's votes.
        seen: (symbols,) pixels of each symbol: so often is it said, rightly or not.
        accuracy: (classes,) of `class_accuracies`.
    """
    admits = table.shares > 0
    often = (seen + 1e-6 * max(seen.sum(), 1.0))[:, None]
    right, wrong = np.where(admits, often, 0.0), np.where(admits, 0.0, often)
    right = np.divide(right, right.sum(axis=0), out=np.zeros_like(right), where=right.sum(axis=0) > 0)
    wrong = np.divide(wrong, wrong.sum(axis=0), out=np.zeros_like(wrong), where=wrong.sum(axis=0) > 0)
    mixed = accuracy * right + (1 - accuracy) * wrong
    return np.asarray(mixed / mixed.sum(axis=0))


def held_channel(tables: Floats, pixels: Floats, table: VoteTable, accuracy: Floats, start: Floats) -> Floats:
    """Tables that, summed over all cells, are drawn towards the given accuracy by class, and the fewer the pixels the
    more towards the start.

    Args:
        tables: (cells, symbols, classes) P(symbol | class) in each cell.
        pixels: (cells, classes) expected pixels.
        table: the source's votes: which symbols admit a class.
        accuracy: (classes,) that is held.
        start: (symbols, classes) of `start_channel`.
    """
    admits, total = table.shares > 0, np.maximum(pixels.sum(axis=0), 1e-9)

    def summed() -> Floats:
        return np.asarray(np.einsum("csk,ck->sk", tables, pixels) / total)

    few = HELD_PIXELS / (HELD_PIXELS + float(total.sum()))
    wanted = (1 - few) * summed() + few * start
    right = np.where(admits, wanted, 0.0).sum(axis=0)
    aim = (1 - HELD) * right + HELD * accuracy
    possible = (right > 1e-9) & (right < 1 - 1e-9)
    up = np.where(possible, aim / np.maximum(right, 1e-9), 1.0)
    down = np.where(possible, (1 - aim) / np.maximum(1 - right, 1e-9), 1.0)
    wanted = wanted * np.where(admits, up, down)
    for _ in range(SCALINGS):
        tables = tables * (wanted / np.maximum(summed(), 1e-12))
        tables = tables / tables.sum(axis=1, keepdims=True)
    return tables


def _logit(share: float) -> float:
    bounded = min(max(share, 1e-3), 1 - 1e-3)
    return float(np.log(bounded / (1 - bounded)))


def _logistic(odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-odds)))
