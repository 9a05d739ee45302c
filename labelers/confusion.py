"""How sources disagree: pair by pair, from the counts alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from labelers.marks import FusionStatistics, symbols_of_marks
from labelers.voters import SILENT, FusionSetup


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two sources over the pixels at which both speak."""

    first: str
    """Name of one."""
    second: str
    """Name of the other."""
    pixels: int
    """Pixels at which both speak."""
    disagree: int
    """Pixels at which no class is admitted by both."""
    matrix: tuple[tuple[int, ...], ...]
    """Pixels by likeliest class of the first (rows) and of the second (columns), in the target's order."""

    @property
    def share(self) -> float:
        """Disagreeing share, 0 where they never meet."""
        return self.disagree / self.pixels if self.pixels else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"matrix": [list(row) for row in self.matrix]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Disagreement:
        """What `to_dict` wrote."""
        return cls(**{**data, "matrix": tuple(tuple(row) for row in data["matrix"])})


def disagreements(stats: FusionStatistics, setup: FusionSetup) -> tuple[Disagreement, ...]:
    """Every pair of sources, in the setup's order."""
    tables = setup.tables()
    held = [stats.marks(region) for region in sorted(stats.regions)]
    if held:
        symbols = np.concatenate([symbols_of_marks(marks, setup) for marks, _ in held])
        counts = np.concatenate([counts for _, counts in held])
    else:
        symbols, counts = np.empty((0, len(tables)), dtype=np.int64), np.empty(0, dtype=np.int64)
    found = []
    for a, b in combinations(range(len(tables)), 2):
        both = (symbols[:, a] != SILENT) & (symbols[:, b] != SILENT)
        n, first, second = (
            counts[both],
            tables[a].shares[symbols[both, a]],
            tables[b].shares[symbols[both, b]],
        )
        common = ((first > 0) & (second > 0)).any(axis=1)
        matrix = np.zeros((first.shape[1], first.shape[1]), dtype=np.int64)
        np.add.at(matrix, (first.argmax(axis=1), second.argmax(axis=1)), n)
        found.append(
            Disagreement(
                setup.voters[a].source,
                setup.voters[b].source,
                int(n.sum()),
                int(n[~common].sum()),
                tuple(tuple(row) for row in matrix.tolist()),
            )
        )
    return tuple(found)
