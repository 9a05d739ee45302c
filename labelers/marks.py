"""What a fusion counts: at each pixel, what every source says and how steadily it says so around the pixel.

A mark is ``symbol * LEVELS + level``; `SILENT` where a source has no data. The level tells how many of the
eight neighbours say the same: in the middle of a patch, at its edge, or alone. Edges and specks of a map
are more often wrong than its middles, and counting them apart lets an estimate find out by how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.voters import SILENT, FusionSetup, to_symbols
from schemas.labels import LabelLayer

LEVELS = 3
"""Alone or nearly (0), at an edge (1), in the middle (2)."""

EDGE_NEIGHBOURS = 4
"""From so many equal neighbours on a pixel is at an edge rather than alone: a straight edge has five, a
corner three."""


@dataclass(frozen=True)
class FusionStatistics:
    """How often the sources say what together; adding is exact and its order does not matter."""

    sources: tuple[str, ...]
    """Names, in the order of the marks."""
    counts: Mapping[tuple[str, tuple[int, ...]], int]
    """(region, marks) -> pixels."""

    def __add__(self, other: FusionStatistics) -> FusionStatistics:
        """Counts of both.

        Raises:
            ValueError: other sources.
        """
        if self.sources != other.sources:
            raise ValueError(f"statistics of {self.sources} and of {other.sources}")
        return FusionStatistics(self.sources, Counter(self.counts) + Counter(other.counts))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, rows in a fixed order."""
        rows = [[region, list(marks), n] for (region, marks), n in sorted(self.counts.items())]
        return {"sources": list(self.sources), "levels": LEVELS, "counts": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FusionStatistics:
        """What `to_dict` wrote.

        Raises:
            ValueError: counted with other levels.
        """
        if data["levels"] != LEVELS:
            raise ValueError(f"statistics with {data['levels']} levels, this version counts {LEVELS}")
        counts = {(region, tuple(marks)): n for region, marks, n in data["counts"]}
        return cls(tuple(data["sources"]), counts)


def to_marks(votes: Sequence[LabelLayer], setup: FusionSetup) -> NDArray[np.int64]:
    """(voters, H, W) marks; see the module's first lines. Beyond the chip a pixel's neighbours are taken as
    equal.
    """
    symbols = to_symbols(votes, setup)
    marks = np.full(symbols.shape, SILENT, dtype=np.int64)
    for position, layer in enumerate(symbols):
        spoken = layer != SILENT
        if spoken.any():
            marks[position][spoken] = (layer.astype(np.int64) * LEVELS + _level(layer))[spoken]
    return marks


def symbols_of_marks(marks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Symbols without their levels, `SILENT` stays."""
    return np.where(marks == SILENT, SILENT, marks // LEVELS)


def mark_rows(marks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct combinations (rows, voters), in a fixed order, and how many pixels have each."""
    rows, inverse = distinct_rows(marks)
    return rows, np.bincount(inverse, minlength=len(rows))


def distinct_rows(marks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct combinations (rows, voters), in a fixed order, and (pixels,) which one each pixel has."""
    flat = marks.reshape(len(marks), -1) + 1
    sizes = flat.max(axis=1) + 1
    packed = np.zeros(flat.shape[1], dtype=np.int64)
    for layer, size in zip(flat, sizes, strict=True):
        packed = packed * size + layer
    distinct, inverse = np.unique(packed, return_inverse=True)
    rows = np.empty((len(distinct), len(marks)), dtype=np.int64)
    for position in range(len(marks) - 1, -1, -1):
        rows[:, position] = distinct % sizes[position] - 1
        distinct = distinct // sizes[position]
    return rows, inverse


def _level(layer: NDArray[np.int16]) -> NDArray[np.int64]:
    rows, columns = layer.shape
    padded = np.pad(layer, 1, mode="edge")
    equal = np.zeros(layer.shape, dtype=np.int64)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if (dy, dx) != (1, 1):
                equal += padded[dy : dy + rows, dx : dx + columns] == layer
    return np.where(equal == 8, 2, np.where(equal >= EDGE_NEIGHBOURS, 1, 0))
