"""Estimate from the counts alone how each source errs, and what the truth probably is (Dawid and Skene 1979).

The model: a pixel has a true class t, drawn from the class shares of its region; source s then shows mark m
with probability P(m | t). Context sources (CORINE, OSM) are not independent of each other given the truth:
inside one village both say "residential" of the same garden. So the later of two context sources has P(m |
t, what the earlier one says). A silent source contributes nothing: absence is no evidence.

Expectation-maximisation over the distinct combinations of marks, whatever the number of pixels. It starts
from the crosswalk and the published accuracies, and these keep the weight of a share (`prior_shares`) of each source's
pixels, so that a class cannot drift to another meaning. Everything is summed in a fixed order: the same
counts give the same model.

Source: A. P. Dawid and A. M. Skene, Maximum likelihood estimation of observer error-rates using the EM
algorithm,
Applied Statistics 28 (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.marks import LEVELS, FusionStatistics, symbols_of_marks
from labelers.voters import SILENT, FusionSetup, VoteTable

PRIOR_SHARE = 0.2
"""Weight of the start values of a source as a share of its pixels, where two or more sources speak for themselves."""

PRIOR_SHARE_ALONE = 3.0
"""The same of the only source that is no context: nothing but its published accuracy tells its errors from the
truth. Measured in the sandbox: with less, one map's errors are taken for truth wherever CORINE is coarse."""

PRIOR_SHARE_CONTEXT = 0.1
"""The same of context sources: their crosswalk is a judgement, and the counts know better."""

MAX_ITERATIONS = 300
TOLERANCE = 1e-7
"""Stop when the mean log likelihood of a pixel gains less."""

DIGITS = 10
"""Probabilities are rounded to so many digits, so that a model read back from JSON is the same model."""

NO_PARENT = -2
"""First part of a key of a source that depends on no other."""

NEVER = 1e-300
"""Stands for the share of a class that no source ever admits, so that its logarithm is finite."""

FLOOR = 1e-9
"""Smallest probability: no single mark decides for ever."""


@dataclass(frozen=True, eq=False)
class MarkTable:
    """P(mark | class) of one source, or P(mark | class, symbol of its parent)."""

    parent: int | None
    """Position of the voter on which this one depends."""
    keys: tuple[tuple[int, int], ...]
    """(symbol of the parent or `NO_PARENT`, mark), sorted."""
    values: NDArray[np.float64]
    """(keys, classes); over the marks of one parent symbol each class sums to 1."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What expectation-maximisation found."""

    priors: Mapping[str, tuple[float, ...]]
    """Region -> share of each class; region "" is the whole dataset."""
    tables: tuple[MarkTable, ...]
    """Of each voter."""
    iterations: int
    """Rounds until it stood still."""
    log_likelihood: float
    """Mean of a pixel, in nats."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "priors": {region: list(shares) for region, shares in self.priors.items()},
            "tables": [
                {"parent": t.parent, "keys": [list(key) for key in t.keys], "values": t.values.tolist()}
                for t in self.tables
            ],
            "iterations": self.iterations,
            "log_likelihood": self.log_likelihood,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Estimate:
        """What `to_dict` wrote."""
        tables = tuple(
            MarkTable(
                t["parent"],
                tuple((int(a), int(b)) for a, b in t["keys"]),
                np.array(t["values"], dtype=np.float64),
            )
            for t in data["tables"]
        )
        priors = {region: tuple(shares) for region, shares in data["priors"].items()}
        return cls(priors, tables, data["iterations"], data["log_likelihood"])

    def summary(self, setup: FusionSetup, class_names: Sequence[str]) -> dict[str, Any]:
        """Class shares, and per source the confusion matrix P(code | class), rounded for reading."""
        shares = {
            region: dict(zip(class_names, (round(p, 5) for p in prior), strict=True))
            for region, prior in self.priors.items()
        }
        confusion = {
            voter.source: {
                "codes": list(table.codes),
                "classes": list(class_names),
                "probabilities": np.round(self.confusion_of(position, setup), 5).tolist(),
            }
            for position, (voter, table) in enumerate(zip(setup.voters, setup.tables(), strict=True))
        }
        return {
            "priors": shares,
            "confusion": confusion,
            "iterations": self.iterations,
            "log_likelihood": round(self.log_likelihood, 6),
        }

    def confusion_of(self, position: int, setup: FusionSetup) -> NDArray[np.float64]:
        """(classes, codes) P(code | class) of a voter, over all levels and over what its parent says."""
        table = self.tables[position]
        classes = table.values.shape[1]
        found = np.zeros((classes, len(setup.tables()[position].codes)))
        weight_of: dict[int, NDArray[np.float64]] = {}
        if table.parent is not None:
            above = self.confusion_of(table.parent, setup)
            weight_of = {symbol: above[:, symbol] for symbol in range(above.shape[1])}
        for (parent, mark), values in zip(table.keys, table.values, strict=True):
            weight = np.ones(classes) if parent == NO_PARENT else weight_of.get(parent, np.full(classes, FLOOR))
            found[:, mark // LEVELS] += weight * values
        total = found.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
        return shares


@dataclass(frozen=True, eq=False)
class _Rows:
    """The counts as arrays, and each row's place in each table."""

    counts: NDArray[np.float64]
    """(rows,)."""
    region: NDArray[np.int64]
    """(rows,) position in `regions`."""
    regions: tuple[str, ...]
    """Names."""
    place: tuple[NDArray[np.int64], ...]
    """Of each voter: (rows,) position of the row's key in its table, `SILENT` where it says nothing."""


def estimate_model(stats: FusionStatistics, setup: FusionSetup) -> Estimate:
    """Class shares and mark tables that explain the counts; see the module's first lines."""
    items = sorted(stats.counts.items())
    marks = np.array([marks for (_, marks), _ in items], dtype=np.int64)
    regions = tuple(sorted({region for (region, _), _ in items}))
    parents = parents_of(setup)
    keys, place = [], []
    for position, parent in enumerate(parents):
        found, where = _keys_of(marks, position, parent)
        keys.append(found)
        place.append(where)
    rows = _Rows(
        counts=np.array([n for _, n in items], dtype=np.float64),
        region=np.array([regions.index(region) for (region, _), _ in items], dtype=np.int64),
        regions=regions,
        place=tuple(place),
    )
    priors = _start_priors(rows, keys, setup)
    weight = np.bincount(rows.region, weights=rows.counts, minlength=len(regions))
    overall = (weight[:, None] * priors).sum(axis=0) / weight.sum()
    start = [_start(rows, position, keys[position], setup, overall) for position in range(len(keys))]
    held = [share * joint for share, joint in zip(prior_shares(setup), start, strict=True)]
    values = [_normalised(joint, keys[position]) for position, joint in enumerate(start)]
    posterior, mean = _expect(rows, priors, values)
    iterations, gain = 0, np.inf
    while gain > TOLERANCE and iterations < MAX_ITERATIONS:
        before = mean
        priors, values = _maximise(rows, posterior, held, keys)
        posterior, mean = _expect(rows, priors, values)
        iterations, gain = iterations + 1, mean - before
    overall = (posterior * rows.counts[:, None]).sum(axis=0) / rows.counts.sum()
    shares = {"": overall} | {region: priors[i] for i, region in enumerate(regions) if region}
    return Estimate(
        priors={region: tuple(np.round(prior, DIGITS).tolist()) for region, prior in shares.items()},
        tables=tuple(MarkTable(parent, keys[i], np.round(values[i], DIGITS)) for i, parent in enumerate(parents)),
        iterations=iterations,
        log_likelihood=float(np.round(mean, DIGITS)),
    )


def posterior_of(
    found: Estimate, setup: FusionSetup, marks: NDArray[np.int64], region: str = ""
) -> NDArray[np.float64]:
    """(rows, classes) probability of each class given the marks (rows, voters).

    A combination of marks that the estimate never met speaks through the crosswalk alone.
    """
    prior = np.array(found.priors.get(region, found.priors[""]))
    log = np.tile(np.log(np.maximum(prior, NEVER)), (len(marks), 1))
    symbols = symbols_of_marks(marks)
    for position, table in enumerate(found.tables):
        where = {key: i for i, key in enumerate(table.keys)}
        spoken = marks[:, position] != SILENT
        above = symbols[:, table.parent] if table.parent is not None else np.full(len(marks), NO_PARENT)
        votes = _supposed(setup.tables()[position], setup.voters[position].accuracy, prior)
        for row in np.flatnonzero(spoken):
            place = where.get((int(above[row]), int(marks[row, position])))
            likelihood = votes[symbols[row, position]] if place is None else table.values[place]
            log[row] += np.log(np.maximum(likelihood, FLOOR))
    return _softmax(log)[0]


def parents_of(setup: FusionSetup) -> tuple[int | None, ...]:
    """Of each voter the context voter before it on which it depends; None for the first and for all
    others.
    """
    parents: list[int | None] = []
    context: int | None = None
    for position, voter in enumerate(setup.voters):
        parents.append(context if voter.is_context else None)
        if voter.is_context and context is None:
            context = position
    return tuple(parents)


def prior_shares(setup: FusionSetup) -> tuple[float, ...]:
    """How firmly each voter's start values are held, as a share of its pixels."""
    alone = sum(not voter.is_context for voter in setup.voters) < 2
    direct = PRIOR_SHARE_ALONE if alone else PRIOR_SHARE
    return tuple(PRIOR_SHARE_CONTEXT if voter.is_context else direct for voter in setup.voters)


def _keys_of(
    marks: NDArray[np.int64], position: int, parent: int | None
) -> tuple[tuple[tuple[int, int], ...], NDArray[np.int64]]:
    """The distinct keys of a voter's table, and each row's place among them."""
    above = np.full(len(marks), NO_PARENT) if parent is None else symbols_of_marks(marks[:, parent])
    pairs = np.column_stack([above, marks[:, position]])
    spoken = marks[:, position] != SILENT
    distinct, inverse = np.unique(pairs[spoken], axis=0, return_inverse=True)
    place = np.full(len(marks), SILENT, dtype=np.int64)
    place[spoken] = inverse
    return tuple((int(a), int(b)) for a, b in distinct), place


def _supposed(table: VoteTable, accuracy: float, overall: NDArray[np.float64]) -> NDArray[np.float64]:
    """(symbols, classes) probability of each class where a source shows a symbol, before anything is
    estimated.
    """
    elsewhere = np.where(table.shares > 0, 0.0, overall)
    rest = elsewhere.sum(axis=1, keepdims=True)
    error = np.divide(elsewhere, rest, out=np.zeros_like(elsewhere), where=rest > 0)
    right = np.where(rest > 0, accuracy, 1.0)
    supposed: NDArray[np.float64] = right * table.shares + (1 - right) * error
    return supposed


def _start(
    rows: _Rows,
    position: int,
    keys: tuple[tuple[int, int], ...],
    setup: FusionSetup,
    overall: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(keys, classes) pixels expected under each key and class before anything is estimated.

    How often a key occurs is observed; the crosswalk says to which classes those pixels belong.
    """
    spoken = rows.place[position] != SILENT
    seen = np.bincount(rows.place[position][spoken], weights=rows.counts[spoken], minlength=len(keys))
    votes = _supposed(setup.tables()[position], setup.voters[position].accuracy, overall)
    parent = parents_of(setup)[position]
    share = votes[[mark // LEVELS for _, mark in keys]].reshape(len(keys), votes.shape[1])
    if parent is not None:
        above = _supposed(setup.tables()[parent], setup.voters[parent].accuracy, overall)
        context = [above[symbol] if symbol >= 0 else np.ones(votes.shape[1]) for symbol, _ in keys]
        share = share * np.array(context).reshape(share.shape)
        share = share / share.sum(axis=1, keepdims=True)
    expected: NDArray[np.float64] = seen[:, None] * share
    return expected


def _start_priors(rows: _Rows, keys: Sequence[tuple[tuple[int, int], ...]], setup: FusionSetup) -> NDArray[np.float64]:
    """(regions, classes) mean of the classes that the sources' codes admit.

    A class that no code met anywhere names first has no share: it is only ever a coarse code's second thought, and
    would gather what no other class explains.
    """
    tables = setup.tables()
    sums = np.zeros((len(rows.regions), tables[0].shares.shape[1]))
    named = np.zeros(sums.shape[1], dtype=bool)
    for position, table in enumerate(tables):
        spoken = np.flatnonzero(rows.place[position] != SILENT)
        symbols = np.array([mark // LEVELS for _, mark in keys[position]], dtype=np.int64)
        named[table.shares[symbols].argmax(axis=1)] = True
        shown = table.shares[symbols[rows.place[position][spoken]]]
        sums += _summed(rows.counts[spoken, None] * shown, rows.region[spoken], len(rows.regions))
    sums[:, ~named] = 0.0
    shares: NDArray[np.float64] = sums / sums.sum(axis=1, keepdims=True)
    return shares


def _expect(
    rows: _Rows, priors: NDArray[np.float64], values: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], float]:
    """(rows, classes) posterior, and the mean log likelihood of a pixel."""
    log = np.log(np.maximum(priors, NEVER))[rows.region]
    for place, table in zip(rows.place, values, strict=True):
        spoken = place != SILENT
        log[spoken] += np.log(np.maximum(table, FLOOR))[place[spoken]]
    posterior, evidence = _softmax(log)
    return posterior, float((rows.counts * evidence).sum() / rows.counts.sum())


def _maximise(
    rows: _Rows,
    posterior: NDArray[np.float64],
    held: Sequence[NDArray[np.float64]],
    keys: Sequence[tuple[tuple[int, int], ...]],
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Class shares and tables that suit the posterior and the held start values best."""
    weighted = posterior * rows.counts[:, None]
    shares = _summed(weighted, rows.region, len(rows.regions))
    values = []
    for position, place in enumerate(rows.place):
        spoken = place != SILENT
        expected = held[position] + _summed(weighted[spoken], place[spoken], len(keys[position]))
        values.append(_normalised(expected, keys[position]))
    return shares / shares.sum(axis=1, keepdims=True), values


def _normalised(expected: NDArray[np.float64], keys: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    """Divided so that, for each class, the marks of one parent symbol sum to 1."""
    _, group = np.unique([parent for parent, _ in keys], return_inverse=True)
    totals = _summed(expected, group, int(group.max(initial=-1)) + 1)
    shares: NDArray[np.float64] = expected / np.maximum(totals, 1e-300)[group]
    return shares


def _summed(values: NDArray[np.float64], group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
    """(groups, classes) sums of the rows of each group, in the order of the rows."""
    classes = values.shape[1]
    flat = (group[:, None] * classes + np.arange(classes)).ravel()
    sums = np.bincount(flat, weights=values.ravel(), minlength=groups * classes).astype(np.float64)
    return sums.reshape(groups, classes)


def _softmax(log: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows normalised to probabilities, and the logarithm of their sums."""
    highest = log.max(axis=1, keepdims=True)
    weights = np.exp(log - highest)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total, (highest + np.log(total))[:, 0]
