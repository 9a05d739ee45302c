"""Where a combination of marks looks up the tables of an estimate: the same for counting and for applying.

- Class shares: by region, ring, steadiness (the levels of all sources of their own, added) and how many context sources
  speak. Silence is no evidence of a pixel, but where OSM speaks is no accident either: people draw fields and houses
  sooner than grass. With one kind of share for both, what it says of the fields that it knows changed what was made of
  the ground that it does not know, where accuracy fell and confidence rose.
- A source of its own: P(symbol | class) by region, its level, and the class of the ring. A map errs in patches: where
  it says the same around a pixel, and where its error reaches into the ring, its mark is worth less.
- A context source: by ring and by what the first context source (the coarsest) says, over all regions: inside one
  village both say "residential" of the same garden, and both hang together with what lies around. Only cells that were
  counted are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelers.marks import LEVELS, symbols_of_marks
from labelers.surroundings import RING_LEVELS
from labelers.voters import SILENT, FusionSetup

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lookup:
    """Sizes of the tables, and where in them combinations of marks look."""

    setup: FusionSetup
    """Who votes."""
    regions: int
    """How many there are."""
    cells: tuple[Places, ...]
    """Of each voter: (cells,) rising keys of the counted cells of a context source; of the others empty."""

    @classmethod
    def of(cls, setup: FusionSetup, marks: NDArray[np.int64], regions: int) -> Lookup:
        """The lookup of (rows, voters + 1) counted combinations."""
        symbols = symbols_of_marks(marks, setup)
        empty = np.zeros(0, dtype=np.int64)
        cells = tuple(
            np.unique(_context_keys(setup, position, marks, symbols)[symbols[:, position] != SILENT])
            if voter.is_context
            else empty
            for position, voter in enumerate(setup.voters)
        )
        return cls(setup, regions, cells)

    @property
    def strata_shape(self) -> tuple[int, int, int, int]:
        """(regions, kinds of ring, steadiness and context sources that speak, classes); the last kind of ring is an
        unknown one.
        """
        context = sum(voter.is_context for voter in self.setup.voters)
        own, classes = len(self.setup.voters) - context, _classes(self.setup)
        return self.regions, classes * RING_LEVELS + 1, ((LEVELS - 1) * own + 1) * (context + 1), classes

    def table_shape(self, position: int) -> tuple[int, ...]:
        """(regions, levels, classes + 1, symbols, classes) of a source of its own, the last class of the ring unknown;
        (cells + 1, symbols, classes) of a context source, the last for cells that were never counted.
        """
        classes, symbols = _classes(self.setup), len(self.setup.tables()[position].codes)
        if self.setup.voters[position].is_context:
            return len(self.cells[position]) + 1, symbols, classes
        return self.regions, LEVELS, classes + 1, symbols, classes

    def strata_places(self, marks: NDArray[np.int64], region: Places | int) -> Places:
        """(rows,) places in the class shares, counted through."""
        _, kinds, steps, _ = self.strata_shape
        steady, speak = np.zeros((2, len(marks)), dtype=np.int64)
        for said, voter in zip(marks.T, self.setup.voters, strict=False):
            if voter.is_context:
                speak += said != SILENT
            else:
                steady += np.where(said == SILENT, 0, said % LEVELS)
        context = sum(voter.is_context for voter in self.setup.voters)
        ring = np.where(marks[:, -1] < 0, kinds - 1, marks[:, -1])
        return np.asarray((region * kinds + ring) * steps + steady * (context + 1) + speak)

    def table_places(self, marks: NDArray[np.int64], region: Places | int) -> list[Places]:
        """Of each voter (rows,) places in its table, counted through with its symbols; `SILENT` where it is silent."""
        symbols = symbols_of_marks(marks, self.setup)
        return [self._places(position, marks, symbols, region) for position in range(symbols.shape[1])]

    def _places(
        self, position: int, marks: NDArray[np.int64], symbols: NDArray[np.int64], region: Places | int
    ) -> Places:
        said = symbols[:, position]
        if self.setup.voters[position].is_context:
            keys, cells = _context_keys(self.setup, position, marks, symbols), self.cells[position]
            at = np.searchsorted(cells, keys)
            known = at < len(cells)
            known[known] = cells[at[known]] == keys[known]
            cell = np.where(known, at, len(cells))
        else:
            classes = _classes(self.setup)
            around = np.where(marks[:, -1] < 0, classes, marks[:, -1] // RING_LEVELS)
            cell = (region * LEVELS + marks[:, position] % LEVELS) * (classes + 1) + around
        return np.where(said == SILENT, SILENT, cell * len(self.setup.tables()[position].codes) + said)


def _context_keys(
    setup: FusionSetup, position: int, marks: NDArray[np.int64], symbols: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(rows,) cell of a context source: the ring, and what the first context source says where it is not that one."""
    ring = np.where(marks[:, -1] < 0, _classes(setup) * RING_LEVELS, marks[:, -1])
    parent = _first_context(setup)
    if parent == position:
        return ring
    size = len(setup.tables()[parent].codes)
    return np.asarray(ring * (size + 1) + np.where(symbols[:, parent] == SILENT, size, symbols[:, parent]))


def _first_context(setup: FusionSetup) -> int:
    """The coarsest context source, of equal ones the first by name: the recipe's order decides nothing."""
    context = [i for i, voter in enumerate(setup.voters) if voter.is_context]
    return min(context, key=lambda i: (-setup.voters[i].gsd_m, setup.voters[i].source))


def _classes(setup: FusionSetup) -> int:
    return int(setup.tables()[0].shares.shape[1])
