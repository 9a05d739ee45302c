"""Estimate from the counts alone how each source errs, and what the truth probably is (after Dawid and Skene 1979).

The model of a pixel in region r:

- its true class t is drawn from shares that depend on r and on the pixel's ring (`labelers.surroundings`);
- a source of its own shows symbol m with probability P(m | t, level, r): how steadily it says the same around the
  pixel (`labelers.marks`) tells how far it may be believed, and is itself no evidence of a class. Counting levels as
  evidence, as if they were independent, lets a rare class gather what one edge does to all sources alike;
- a context source (CORINE, OSM) shows m with P(m | t, class of the ring, what the first context source says): inside
  one village both say "residential" of the same garden, and both hang together with what lies around;
- a silent source contributes nothing: absence is no evidence. A source that agrees with nobody (`labelers.trust`) is
  estimated like the others but not listened to.

Expectation-maximisation over the distinct combinations of marks, whatever the number of pixels, in blocks of rows. It
starts from the crosswalk and the published accuracies, and these keep some weight, so that a class cannot drift to
another meaning. Everything is summed in a fixed order: the same counts give the same model.

Source: A. P. Dawid and A. M. Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm,
Applied Statistics 28 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelers.estimate import DIGITS, Estimate, parent_of, posterior_rows
from labelers.estimate import supposed as supposed_shares
from labelers.marks import LEVELS, FusionStatistics, blocks, symbols_of_marks
from labelers.surroundings import RING_LEVELS
from labelers.trust import trust_of, weights_of
from labelers.voters import SILENT, FusionSetup

Floats = NDArray[np.float64]

HELD = 0.5
"""Weight of the start values of a source as a share of its pixels, where two or more sources speak for themselves."""

HELD_PIXELS = 40_000.0
"""So many pixels are added to that weight: neighbouring pixels err together, so that a few chips hold few errors
to learn from, whatever their pixels."""

HELD_ALONE = 0.5
"""Share that the start values keep in the table of the only source that is no context: nothing but its published
accuracy tells its errors from the truth."""

HELD_CONTEXT = 0.1
"""As `HELD`, of context sources: their crosswalk is a judgement, and the counts know better."""

REGION_PIXELS = 1000.0
"""So many pixels of the whole dataset stand beside those of a region in each of its tables."""

CELL_PIXELS = 300.0
"""The same of a context source's whole table in one cell of its dependences."""

RING_PIXELS = 300.0
"""The same of a region's class shares in those of one kind of ring."""

MAX_ITERATIONS = 200
TOLERANCE = 1e-5
"""Stop when the mean log likelihood of a pixel gains less."""

BLOCK_ROWS = 100_000
"""Combinations that are looked at together: memory does not grow with their number beyond the counts themselves."""


@dataclass(frozen=True, eq=False)
class _Rows:
    """The counts as arrays, and each row's place in each table."""

    counts: Floats
    """(rows,) pixels."""
    region: NDArray[np.int32]
    """(rows,) position of the region."""
    ring: NDArray[np.int32]
    """(rows,) position in the region's table of rings."""
    place: tuple[NDArray[np.int32], ...]
    """Of each voter: (rows,) place in its table, counted through; `SILENT` where it says nothing."""
    symbols: NDArray[np.int16]
    """(rows, voters)."""


def estimate_model(stats: FusionStatistics, setup: FusionSetup) -> Estimate:
    """Class shares and tables that explain the counts; see the module's first lines."""
    return _Estimation(stats, setup).run()


class _Estimation:
    """One estimate in the making."""

    def __init__(self, stats: FusionStatistics, setup: FusionSetup) -> None:
        self.setup, self.tables = setup, setup.tables()
        self.regions = tuple(sorted(stats.regions))
        self.classes = self.tables[0].shares.shape[1]
        self.parents = [parent_of(setup, position) for position in range(len(setup.voters))]
        self.rows = self._rows(stats)
        self.trust, pairs = trust_of(self.rows.symbols.astype(np.int64), self.rows.counts, setup)
        self.weights = weights_of(self.trust, pairs, setup)
        own = sum(w > 0 and not v.is_context for w, v in zip(self.weights, setup.voters, strict=True))
        self.is_alone = own < 2
        self.shares, self.is_possible = self._start_shares()
        self.start = [self._start_table(position) for position in range(len(setup.voters))]
        self.values = [self._normalised(position, start) for position, start in enumerate(self.start)]
        self.anchor = list(self.values)
        self.strata = np.repeat(self.shares[:, None], self.classes * RING_LEVELS + 1, axis=1)

    def run(self) -> Estimate:
        """Alternate until the likelihood stands still."""
        sums, mean = self._expect()
        iterations, gain = 0, np.inf
        while gain > TOLERANCE and iterations < MAX_ITERATIONS:
            before = mean
            self._maximise(sums)
            sums, mean = self._expect()
            iterations, gain = iterations + 1, mean - before
        return Estimate(
            regions=self.regions,
            shares=_with_whole(self.shares, self._region_pixels()),
            strata=np.round(_with_whole(self.strata, self._region_pixels()), DIGITS),
            tables=tuple(self._finished(position, sums) for position in range(len(self.values))),
            weights=self.weights,
            trust=tuple(round(value, 6) for value in self.trust),
            confusion=tuple(self._confusion(position, sums) for position in range(len(self.values))),
            iterations=iterations,
            log_likelihood=float(np.round(mean, DIGITS)),
        )

    def _rows(self, stats: FusionStatistics) -> _Rows:
        parts = [stats.marks(name) for name in self.regions]
        marks = np.concatenate([rows for rows, _ in parts])
        counts = np.concatenate([pixels for _, pixels in parts]).astype(np.float64)
        region = np.repeat(np.arange(len(parts), dtype=np.int32), [len(rows) for rows, _ in parts])
        symbols = symbols_of_marks(marks, self.setup)
        ring = marks[:, -1]
        place = tuple(
            self._places(position, marks[:, position], symbols, region, ring) for position in range(symbols.shape[1])
        )
        kinds = self.classes * RING_LEVELS + 1
        at = region * kinds + np.where(ring < 0, kinds - 1, ring)
        return _Rows(counts, region, at.astype(np.int32), place, symbols.astype(np.int16))

    def _places(
        self,
        position: int,
        marks: NDArray[np.int64],
        symbols: NDArray[np.int64],
        region: NDArray[np.int32],
        ring: NDArray[np.int64],
    ) -> NDArray[np.int32]:
        """Place of each row in a voter's table, counted through: (region, level, symbol) of a source of its own,
        (class of the ring, symbol of the parent, symbol) of a context source; the last of each stands for silence.
        """
        size = len(self.tables[position].codes)
        said = symbols[:, position]
        if self.setup.voters[position].is_context:
            around = np.where(ring < 0, self.classes, ring // RING_LEVELS)
            parent = self.parents[position]
            above = np.zeros(len(said), dtype=np.int64)
            if parent is not None:
                above = np.where(symbols[:, parent] < 0, len(self.tables[parent].codes), symbols[:, parent])
            at = (around * self._parents_size(position) + above) * size + said
        else:
            at = (region.astype(np.int64) * LEVELS + marks % LEVELS) * size + said
        return np.where(said == SILENT, SILENT, at).astype(np.int32)

    def _parents_size(self, position: int) -> int:
        parent = self.parents[position]
        return 1 if parent is None else len(self.tables[parent].codes) + 1

    def _shape(self, position: int) -> tuple[int, int, int, int]:
        """(first key, second key, symbols, classes) of a voter's table; see `_places`."""
        size = len(self.tables[position].codes)
        if self.setup.voters[position].is_context:
            return (self.classes + 1, self._parents_size(position), size, self.classes)
        return (len(self.regions), LEVELS, size, self.classes)

    def _region_pixels(self) -> Floats:
        pixels: Floats = np.bincount(self.rows.region, self.rows.counts, len(self.regions)).astype(np.float64)
        return pixels

    def _start_shares(self) -> tuple[Floats, NDArray[np.bool_]]:
        """(regions, classes) mean of what the sources of their own say, and which classes a region may have.

        A class that no code met in a region names first has no share there: it is only ever a coarse code's second
        thought, and would gather what no other class explains.
        """
        rows = self.rows
        heard = [i for i, weight in enumerate(self.weights) if weight > 0]
        own = [i for i in heard if not self.setup.voters[i].is_context] or heard
        sums = np.full((len(self.regions), self.classes), 1e-12)
        named = np.zeros(sums.shape, dtype=bool)
        for position in heard:
            spoken = np.flatnonzero(rows.symbols[:, position] != SILENT)
            said = self.tables[position].shares[rows.symbols[spoken, position]]
            named[rows.region[spoken], said.argmax(axis=1)] = True
            if position in own:
                sums += _summed(rows.counts[spoken, None] * said, rows.region[spoken], len(self.regions))
        lost = ~named.any(axis=1)  # a region in which nobody is heard
        named[lost] = True
        for position in heard:  # a class that only context names begins with a little
            if position not in own:
                spoken = np.flatnonzero(rows.symbols[:, position] != SILENT)
                said = self.tables[position].shares[rows.symbols[spoken, position]]
                sums += 0.01 * _summed(rows.counts[spoken, None] * said, rows.region[spoken], len(self.regions))
        sums[~named] = 0.0
        return sums / sums.sum(axis=1, keepdims=True), named

    def _start_table(self, position: int) -> Floats:
        """Pixels expected at each place of a voter's table before anything is estimated.

        How often a symbol occurs is observed; the crosswalk says to which classes those pixels belong. Of a source
        that is not heard nothing is supposed.
        """
        shape, place = self._shape(position), self.rows.place[position]
        spoken = place != SILENT
        seen = np.bincount(place[spoken], weights=self.rows.counts[spoken], minlength=int(np.prod(shape[:3])))
        seen = seen.reshape(shape[:3])
        voter, table = self.setup.voters[position], self.tables[position]
        whole = self._whole_shares()
        if self.weights[position] == 0:
            return np.asarray(seen[..., None] * whole)
        accuracy = voter.accuracy * voter.freshness
        if not voter.is_context:
            votes = np.stack([supposed_shares(table, accuracy, shares) for shares in self.shares])
            return np.asarray(seen[..., None] * votes[:, None])
        votes = supposed_shares(table, accuracy, whole)
        return np.asarray(seen[..., None] * votes)

    def _whole_shares(self) -> Floats:
        pixels = self._region_pixels()
        whole: Floats = (pixels[:, None] * self.shares).sum(axis=0) / pixels.sum()
        return whole

    def _expect(self) -> tuple[list[Floats], float]:
        """Expected pixels at each place of each table (voters', then that of the rings), and the mean log likelihood
        of a pixel.
        """
        rows = self.rows
        shapes = [self._shape(position) for position in range(len(self.values))]
        sums = [np.zeros((int(np.prod(shape[:3])), self.classes)) for shape in shapes]
        rings = np.zeros((self.strata.shape[0] * self.strata.shape[1], self.classes))
        evidence = 0.0
        for part in blocks(len(rows.counts), BLOCK_ROWS):
            posterior, log = posterior_rows(
                self.strata.reshape(-1, self.classes),
                rows.ring[part],
                [values.reshape(-1, self.classes) for values in self.values],
                [place[part] for place in rows.place],
                self.weights,
            )
            weighted = posterior * rows.counts[part, None]
            evidence += float((rows.counts[part] * log).sum())
            rings += _summed(weighted, rows.ring[part], len(rings))
            for table, place in zip(sums, rows.place, strict=True):
                spoken = place[part] != SILENT
                table += _summed(weighted[spoken], place[part][spoken], len(table))
        found = [table.reshape(shape) for table, shape in zip(sums, shapes, strict=True)]
        return [*found, rings.reshape(self.strata.shape)], evidence / float(rows.counts.sum())

    def _maximise(self, sums: Sequence[Floats]) -> None:
        """Class shares and tables that suit the expected pixels and the held start values best."""
        rings = sums[-1]
        self.shares = rings.sum(axis=1) / rings.sum(axis=(1, 2))[:, None]
        strata = rings + RING_PIXELS * self.shares[:, None]
        strata = np.where(self.is_possible[:, None], strata, 0.0)
        self.strata = strata / strata.sum(axis=2, keepdims=True)
        self.values = [self._fitted(position, sums[position]) for position in range(len(self.values))]

    def _fitted(self, position: int, expected: Floats) -> Floats:
        """A voter's table from expected pixels, held to its start."""
        if self.setup.voters[position].is_context:
            held = HELD_CONTEXT * self.start[position]
            return self._normalised(position, expected + held)
        if self.is_alone and self.weights[position] > 0:
            free = self._normalised(position, expected)
            return np.asarray((1 - HELD_ALONE) * free + HELD_ALONE * self.anchor[position])
        pixels = float(self.start[position].sum())
        weight = HELD + HELD_PIXELS / pixels if self.weights[position] > 0 and pixels else 0.0
        return self._normalised(position, expected + weight * self.start[position])

    def _normalised(self, position: int, expected: Floats) -> Floats:
        """Divided so that each class's symbols sum to 1 in every cell, with some pixels of the whole table."""
        first = 0 if not self.setup.voters[position].is_context else (0, 1)
        whole = expected.sum(axis=first, keepdims=True) + 1e-9
        whole = whole / whole.sum(axis=2, keepdims=True)
        pixels = CELL_PIXELS if self.setup.voters[position].is_context else REGION_PIXELS
        smoothed = expected + pixels * whole
        return np.asarray(smoothed / smoothed.sum(axis=2, keepdims=True))

    def _finished(self, position: int, sums: Sequence[Floats]) -> Floats:
        """A voter's table as it is kept: with the whole dataset as one more region, of a context source as it is."""
        values = self.values[position]
        if not self.setup.voters[position].is_context:
            whole = self._normalised(position, sums[position].sum(axis=0, keepdims=True))
            values = np.concatenate([values, whole])
        return np.round(values, DIGITS)

    def _confusion(self, position: int, sums: Sequence[Floats]) -> Floats:
        """(regions and the whole, classes, symbols) P(symbol | class), over all levels; 0 where a class has none."""
        if self.setup.voters[position].is_context:
            found = np.stack(
                [self._by_region(position, number) for number in range(len(self.regions))]
            )  # context tables are of the whole: count again
        else:
            found = sums[position].sum(axis=1).transpose(0, 2, 1)
        found = np.concatenate([found, found.sum(axis=0, keepdims=True)])
        total = found.sum(axis=2, keepdims=True)
        shares: Floats = np.divide(found, total, out=np.zeros_like(found), where=total > 0.5)
        return np.asarray(np.round(shares, DIGITS))

    def _by_region(self, position: int, region: int) -> Floats:
        """(classes, symbols) expected pixels of a context source in one region."""
        rows, size = self.rows, len(self.tables[position].codes)
        found = np.zeros((size, self.classes))
        chosen = np.flatnonzero((rows.region == region) & (rows.symbols[:, position] != SILENT))
        for part in blocks(len(chosen), BLOCK_ROWS):
            at = chosen[part]
            posterior, _ = posterior_rows(
                self.strata.reshape(-1, self.classes),
                rows.ring[at],
                [values.reshape(-1, self.classes) for values in self.values],
                [place[at] for place in rows.place],
                self.weights,
            )
            found += _summed(posterior * rows.counts[at, None], rows.symbols[at, position], size)
        turned: Floats = found.T
        return turned


def _with_whole(values: Floats, pixels: Floats) -> Floats:
    """One more region at the end: the mean of all, by pixels. Its name is `labelers.estimate.WHOLE`."""
    weight = (pixels / pixels.sum()).reshape((-1,) + (1,) * (values.ndim - 1))
    return np.asarray(np.round(np.concatenate([values, (weight * values).sum(axis=0, keepdims=True)]), DIGITS))


def _summed(values: Floats, group: NDArray[np.integer], groups: int) -> Floats:
    """(groups, classes) sums of the rows of each group, in the order of the rows."""
    classes = values.shape[1]
    flat = (group.astype(np.int64)[:, None] * classes + np.arange(classes)).ravel()
    sums = np.bincount(flat, weights=values.ravel(), minlength=groups * classes).astype(np.float64)
    table: Floats = sums.reshape(groups, classes)
    return table
