"""The estimate of a fusion: tables of how sources err, kept as JSON, and the posterior that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.alone import Left, is_alone, known_of
from labelers.marks import blocks, near_steps_of, symbols_of_marks
from labelers.places import Lookup
from labelers.trust import credit_of, credit_of_context
from labelers.unanimous import let_stand, said_alike
from labelers.voters import FusionSetup, VoteTable

Floats = NDArray[np.float64]

WHOLE = ""
"""Name of the whole dataset among the regions: what a region that was not counted goes by."""

DIGITS = 8
"""Probabilities are rounded to so many digits: a model read back from JSON is the same model."""

FLOOR = 1e-9
"""Smallest probability: no single mark decides for ever."""

NEVER = 1e-300
"""Stands for the share of a class that cannot be, so that its logarithm is finite."""

LEAST_LOG = -700.0
"""Beyond it exponentials are no longer normal numbers, which take ten times as long; beside the likeliest class they
are nothing either way."""

BELIEF = 0.85
"""Power of the posterior: errors reach farther than the ring's inner edge and through sources of one family, so that
marks tell less together than one by one. In the sandbox, on other seeds than those of the experiment, the calibration
error of one edition alone falls from 0.03 to 0.045 to about 0.025, of two it stays at 0.01."""

BLOCK_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class Estimate:
    """What expectation-maximisation found (`labelers.dawid_skene`). Axis 0 of what depends on a region is `regions`
    and, last, the whole dataset.
    """

    regions: tuple[str, ...]
    """Names, sorted."""
    shares: Floats
    """(regions + 1, classes) share of each class."""
    strata: Floats
    """(regions + 1, kinds of ring, steadiness and who speaks, classes) share of each; see `labelers.places.Lookup`."""
    tables: tuple[Floats, ...]
    """Of each voter: P(symbol | class) in each cell, as `labelers.places.Lookup` shapes it. Of one without weight it is
    never looked at."""
    cells: tuple[NDArray[np.int64], ...]
    """Of each context source: keys of its cells."""
    weights: tuple[float, ...]
    """Of each voter: 0 where it is not listened to."""
    trust: tuple[float, ...]
    """Of each voter: see `labelers.trust.trust_of`."""
    confusion: tuple[Floats, ...]
    """Of each voter: (regions + 1, classes, symbols) P(symbol | class)."""
    iterations: int
    """Rounds until it stood still."""
    log_likelihood: float
    """Mean of a pixel, in nats."""
    alone: float
    """Share of the counted pixels at which no source of its own speaks (`labelers.alone`)."""
    left: Left
    """How often context sources are right there, each by itself."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "regions": list(self.regions),
            "shares": self.shares.tolist(),
            "strata": _sparse(self.strata),
            "tables": [_sparse(table) for table in self.tables],
            "cells": [cells.tolist() for cells in self.cells],
            "weights": list(self.weights),
            "trust": list(self.trust),
            "confusion": [_sparse(matrix) for matrix in self.confusion],
            "iterations": self.iterations,
            "log_likelihood": self.log_likelihood,
            "alone": self.alone,
            "left": [_sparse(accuracy) for accuracy in self.left],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Estimate:
        """What `to_dict` wrote."""
        return cls(
            regions=tuple(data["regions"]),
            shares=np.array(data["shares"], dtype=np.float64),
            strata=_dense(data["strata"]),
            tables=tuple(_dense(table) for table in data["tables"]),
            cells=tuple(np.array(cells, dtype=np.int64) for cells in data["cells"]),
            weights=tuple(data["weights"]),
            trust=tuple(data["trust"]),
            confusion=tuple(_dense(matrix) for matrix in data["confusion"]),
            iterations=data["iterations"],
            log_likelihood=data["log_likelihood"],
            alone=data["alone"],
            left=tuple(_dense(accuracy) for accuracy in data["left"]),
        )

    @cached_property
    def logs(self) -> tuple[Floats, list[Floats]]:
        """(places, classes) logarithms of the class shares; of each voter (places + 1, classes) of its table, the last
        row, at `SILENT`, of zeros.
        """
        classes = self.shares.shape[1]
        nothing = np.zeros((1, classes))
        flat = [np.log(np.maximum(table.reshape(-1, classes), FLOOR)) for table in self.tables]
        strata: Floats = np.log(np.maximum(self.strata.reshape(-1, classes), NEVER))
        return strata, [np.concatenate([table, nothing]) for table in flat]

    def place_of(self, region: str) -> int:
        """Position of a region; that of the whole dataset where it was not counted."""
        return self.regions.index(region) if region in self.regions else len(self.regions)

    def confusion_of(self, position: int, region: str = WHOLE) -> Floats:
        """(classes, symbols) P(symbol | class) of a voter in a region or, by default, over the whole dataset."""
        at = len(self.regions) if region == WHOLE else self.place_of(region)
        found: Floats = self.confusion[position][at]
        return found

    def summary(self, setup: FusionSetup, class_names: Sequence[str]) -> dict[str, Any]:
        """Class shares and confusion matrices P(code | class) per source and region, rounded for reading; region ""
        is the whole dataset.
        """
        names = [*(r for r in self.regions if r != WHOLE), WHOLE]
        confusion = {
            voter.source: {
                "codes": list(table.codes),
                "classes": list(class_names),
                "regions": {r: np.round(self.confusion_of(position, r), 4).tolist() for r in names},
            }
            for position, (voter, table) in enumerate(zip(setup.voters, setup.tables(), strict=True))
        }
        shares = {
            r: dict(
                zip(class_names, np.round(self.shares[-1 if r == WHOLE else self.place_of(r)], 5).tolist(), strict=True)
            )
            for r in names
        }
        return {
            "priors": shares,
            "confusion": confusion,
            "trust": dict(zip((v.source for v in setup.voters), self.trust, strict=True)),
            "weights": dict(zip((v.source for v in setup.voters), self.weights, strict=True)),
            "iterations": self.iterations,
            "log_likelihood": round(self.log_likelihood, 6),
            "alone": self.alone,
        }


def posterior_of(found: Estimate, setup: FusionSetup, marks: NDArray[np.int64], region: str = WHOLE) -> Floats:
    """(rows, classes) probability of each class given (rows, voters + 1) marks. What the sources say alike stands."""
    at, lookup = found.place_of(region), Lookup(setup, len(found.regions) + 1, found.cells)
    rings, places = lookup.strata_places(marks, at), lookup.table_places(marks, at)
    strata, tables = found.logs
    posterior = np.empty((len(marks), strata.shape[1]))
    for part in blocks(len(marks), BLOCK_ROWS):
        log = strata.take(rings[part], axis=0)
        for table, place, weight in zip(tables, places, found.weights, strict=True):
            if weight > 0:
                log += table.take(place[part], axis=0)
        log -= log.max(axis=1, keepdims=True)
        shares = np.exp(np.maximum(log, LEAST_LOG, out=log))
        tempered = (shares / shares.sum(axis=1, keepdims=True)) ** BELIEF
        np.divide(tempered, tempered.sum(axis=1, keepdims=True), out=posterior[part])
    symbols = symbols_of_marks(marks, setup)
    credit = credit_of(symbols, found.trust, found.weights, setup)[:, None]
    posterior *= credit
    posterior += (1.0 - credit) * found.shares[at]
    let_stand(posterior, said_alike(symbols, setup, found.weights))
    alone = np.flatnonzero(is_alone(symbols, setup, found.weights))
    near = near_steps_of(marks[alone], setup)
    known = known_of(symbols[alone], near, setup, found.weights, found.left, at)
    believed = credit_of_context(found.trust, found.weights, setup)
    posterior[alone] = believed * known + (1.0 - believed) * found.shares[at]
    return posterior


def posterior_rows(
    strata: Floats,
    rings: NDArray[np.integer],
    tables: Sequence[Floats],
    places: Sequence[NDArray[np.integer]],
    weights: Sequence[float],
) -> tuple[Floats, Floats]:
    """(rows, classes) posterior, and (rows,) logarithm of the evidence.

    Args:
        strata: (places, classes) class shares.
        rings: (rows,) places in it.
        tables: of each voter (places, classes) P(symbol | class).
        places: of each voter (rows,) places in its table, negative where it is silent.
        weights: of each voter; 0 leaves it out.
    """
    log = _logs(strata, rings, NEVER)
    for table, place, weight in zip(tables, places, weights, strict=True):
        spoken = place >= 0
        if weight > 0 and spoken.any():
            log[spoken] += _logs(table, place[spoken], FLOOR)
    highest = log.max(axis=1, keepdims=True)
    shares = np.exp(log - highest)
    total = shares.sum(axis=1, keepdims=True)
    return shares / total, (highest + np.log(total))[:, 0]


def _logs(table: Floats, places: NDArray[np.integer], least: float) -> Floats:
    """(rows, classes) logarithms of the table's rows: of those that are looked at, or of all if these are fewer."""
    if len(places) < len(table):
        return np.asarray(np.log(np.maximum(table[places], least)))
    return np.asarray(np.log(np.maximum(table, least))[places])


def supposed(table: VoteTable, accuracy: float, shares: Floats) -> Floats:
    """(symbols, classes) probability of each class where a source shows a symbol, before anything is estimated."""
    elsewhere = np.where(table.shares > 0, 0.0, shares)
    rest = elsewhere.sum(axis=1, keepdims=True)
    error = np.divide(elsewhere, rest, out=np.zeros_like(elsewhere), where=rest > 0)
    right = np.where(rest > 0, accuracy, 1.0)
    found: Floats = right * table.shares + (1 - right) * error
    return found


def _sparse(values: Floats) -> dict[str, Any]:
    """An array of two and more axes as JSON: matrices over the last two axes, equal ones once."""
    matrices = values.reshape(-1, *values.shape[-2:])
    distinct: dict[bytes, int] = {}
    which = [distinct.setdefault(matrix.tobytes(), len(distinct)) for matrix in matrices]
    first = {number: at for at, number in reversed(list(enumerate(which)))}
    kept = [matrices[first[number]].tolist() for number in range(len(distinct))]
    return {"shape": list(values.shape), "which": which, "matrices": kept}


def _dense(data: Mapping[str, Any]) -> Floats:
    """The array that `_sparse` described."""
    shape = tuple(data["shape"])
    kept = np.array(data["matrices"], dtype=np.float64).reshape(-1, *shape[-2:])
    return kept[np.array(data["which"], dtype=np.int64)].reshape(shape)
