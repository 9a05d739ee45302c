"""Estimate from the counts alone how each source errs, and what the truth probably is (after Dawid and Skene 1979).

The model of a pixel in region r:

- its true class t is drawn from shares that depend on r, on the pixel's ring (`labelers.surroundings`), on how
  steadily the sources speak around it, and on how many context sources speak (`labelers.places`). Steadiness
  conditions and does not testify: counted as if each source's were independent evidence, it lets a rare class gather
  what one edge does to all sources alike;
- a source of its own shows symbol m with P(m | t, level, class of the ring, r), and how often it is right in each class
  is held to what is published (`labelers.channel`);
- a context source (CORINE, OSM) shows m with P(m | t, ring, what the first context source says);
- where sources of their own contradict each other nearly always, shares stay what they say (`labelers.contradictions`);
- where no source of its own speaks, what is known of the context sources stands (`labelers.alone`);
- a silent source has no symbol: absence is no evidence. A source that agrees with nobody (`labelers.trust`) is
  not listened to; how it errs is estimated beside the others.

Expectation-maximisation over the distinct combinations of marks, whatever the number of pixels, in blocks of rows. It
starts from the crosswalk and the published accuracies. Everything is summed in a fixed order: the same counts give the
same model.

Source: A. P. Dawid and A. M. Skene, Maximum likelihood estimation of observer error-rates using the EM algorithm,
Applied Statistics 28 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelers.alone import Left, is_alone, known_of, left_of
from labelers.channel import HELD_OVERALL, HELD_PIXELS, class_accuracies, held_channel, start_channel
from labelers.contradictions import contradictions, unlearnt
from labelers.estimate import DIGITS, Estimate, posterior_rows, supposed
from labelers.marks import FusionStatistics, blocks, near_steps_of, symbols_of_marks
from labelers.places import Lookup
from labelers.trust import credit_of_context, trust_of, weights_of
from labelers.voters import SILENT, FusionSetup

Floats = NDArray[np.float64]

HELD_CONTEXT = 0.02
"""Weight of the start values of a context source as a share of its pixels: its crosswalk is a judgement, and the counts
know better."""

LEVEL_PIXELS = 10_000.0
"""So many pixels of the whole dataset at the same level stand beside those of a cell of a source of its own."""

WHOLE_PIXELS = 1000.0
"""The same of all levels in a level's table."""

CELL_PIXELS = 100.0
"""The same of a context source's whole table in one of its cells."""

RING_PIXELS = 300.0
"""The same of a region's class shares under one kind of ring, and of those under one steadiness."""

MAX_ITERATIONS = 100
TOLERANCE = 1e-5
"""Stop when the mean log likelihood of a pixel gains less."""

LEAST_ITERATIONS = 20
"""Rounds before that: what is held is drawn in little by little, and the likelihood may fall at first."""

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
    """(rows,) place in the class shares."""
    place: tuple[NDArray[np.int32], ...]
    """Of each voter: (rows,) place in its table; `SILENT` where it says nothing."""
    symbols: NDArray[np.int16]
    """(rows, voters)."""
    near: NDArray[np.bool_]
    """(rows, voters) whether a context source changes its class near by."""


def estimate_model(stats: FusionStatistics, setup: FusionSetup) -> Estimate:
    """Class shares and tables that explain the counts; see the module's first lines."""
    return _Estimation(stats, setup).run()


class _Estimation:
    """One estimate in the making."""

    def __init__(self, stats: FusionStatistics, setup: FusionSetup) -> None:
        self.setup, self.tables = setup, setup.tables()
        self.regions = tuple(sorted(stats.regions))
        self.classes = self.tables[0].shares.shape[1]
        self.lookup, self.rows = self._rows(stats)
        self.trust, pairs = trust_of(self.rows.symbols.astype(np.int64), self.rows.counts, setup)
        self.weights = weights_of(self.trust, pairs, setup)
        self.alone = is_alone(self.rows.symbols, setup, self.weights)
        self.left = self._left()
        self.is_own = [not voter.is_context for voter in setup.voters]
        speaks = (self.rows.symbols != SILENT).any(axis=0).tolist()
        heard = sum(all(of) for of in zip(self.is_own, speaks, (w > 0 for w in self.weights), strict=True))
        self.is_alone = heard < 2
        self.shares, self.is_possible = self._start_shares()
        self.told, self.unlearnt, self.contradicted = self._contradicted()
        self.strata = np.broadcast_to(self.shares[:, None, None], self.lookup.strata_shape).copy()
        self.start = [self._start_table(position) for position in range(len(setup.voters))]
        self.channels: dict[int, Floats] = {}
        self.values = [self._first(position) for position in range(len(setup.voters))]
        self.aside = {
            position: np.full((len(self.tables[position].codes), self.classes), 1 / len(self.tables[position].codes))
            for position, weight in enumerate(self.weights)
            if weight == 0
        }

    def run(self) -> Estimate:
        """Alternate until the likelihood stands still."""
        sums, mean = self._expect()
        iterations, gain = 0, np.inf
        while (gain > TOLERANCE or iterations < LEAST_ITERATIONS) and iterations < MAX_ITERATIONS:
            before = mean
            self._maximise(sums)
            sums, mean = self._expect()
            iterations, gain = iterations + 1, mean - before
        pixels = self._region_pixels()
        return Estimate(
            regions=self.regions,
            shares=_with_whole(self.shares, pixels),
            strata=_with_whole(self.strata, pixels),
            tables=tuple(self._finished(position, sums[position]) for position in range(len(self.values))),
            cells=self.lookup.cells,
            weights=self.weights,
            trust=tuple(round(value, 6) for value in self.trust),
            confusion=tuple(self._confusion(position) for position in range(len(self.values))),
            iterations=iterations,
            log_likelihood=float(np.round(mean, DIGITS)),
            alone=round(float(self.rows.counts @ self.alone / self.rows.counts.sum()), DIGITS),
            left=tuple(np.round(accuracy, DIGITS) for accuracy in self.left),
        )

    def _rows(self, stats: FusionStatistics) -> tuple[Lookup, _Rows]:
        parts = [stats.marks(name) for name in self.regions]
        marks = np.concatenate([rows for rows, _ in parts])
        counts = np.concatenate([pixels for _, pixels in parts]).astype(np.float64)
        region = np.repeat(np.arange(len(parts), dtype=np.int32), [len(rows) for rows, _ in parts])
        lookup = Lookup.of(self.setup, marks, len(self.regions))
        at = region.astype(np.int64)
        return lookup, _Rows(
            counts,
            region,
            lookup.strata_places(marks, at).astype(np.int32),
            tuple(place.astype(np.int32) for place in lookup.table_places(marks, at)),
            symbols_of_marks(marks, self.setup).astype(np.int16),
            near_steps_of(marks, self.setup),
        )

    def _left(self) -> Left:
        rows, alone = self.rows, self.alone
        return left_of(
            rows.symbols[alone],
            rows.near[alone],
            rows.counts[alone],
            (rows.region[alone], len(self.regions)),
            self.setup,
            self.weights,
        )

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
        own = [i for i in heard if self.is_own[i]] or heard
        sums = np.full((len(self.regions), self.classes), 1e-12)
        named = np.zeros(sums.shape, dtype=bool)
        for position in heard:  # a class that only context names begins with a little
            spoken = np.flatnonzero(rows.symbols[:, position] != SILENT)
            said = self.tables[position].shares[rows.symbols[spoken, position]]
            named[rows.region[spoken], said.argmax(axis=1)] = True
            part = 1.0 if position in own else 0.01
            sums += part * _summed(rows.counts[spoken, None] * said, rows.region[spoken], len(self.regions))
        named[~named.any(axis=1)] = True  # a region in which nobody is heard
        sums[~named] = 0.0
        return sums / sums.sum(axis=1, keepdims=True), named

    def _contradicted(self) -> tuple[Floats, Floats, float]:
        """(regions, rings, 1, classes) what the sources of their own say, as shares; (regions, rings, 1, 1) how far
        class shares stay that, for these contradict each other (`labelers.contradictions`); its mean over all pixels.
        """
        rows, (regions, rings, steps, _) = self.rows, self.lookup.strata_shape
        heard = [i for i, weight in enumerate(self.weights) if weight > 0]
        own, context = [i for i in heard if self.is_own[i]], [i for i in heard if not self.is_own[i]]
        if len(own) < 2:
            return self.shares[:, None, None], np.zeros((regions, rings, 1, 1)), 0.0
        cell = rows.ring // steps
        pixels, several, contrary = (
            np.bincount(cell, rows.counts * which, regions * rings).reshape(regions, rings).astype(np.float64)
            for which in (1, *contradictions(rows.symbols, self.tables, own, context))
        )
        told = np.zeros((regions * rings, self.classes))
        for i in own:
            spoken = np.flatnonzero(rows.symbols[:, i] != SILENT)
            said = rows.counts[spoken, None] * self.tables[i].shares[rows.symbols[spoken, i]]
            told += _summed(said, cell[spoken], len(told))
        shares = told.reshape(regions, rings, self.classes) + RING_PIXELS * self.shares[:, None]
        shares = np.where(self.is_possible[:, None], shares, 0.0)
        shares /= shares.sum(axis=2, keepdims=True)
        part = unlearnt(several, contrary, RING_PIXELS)
        return shares[:, :, None], part[:, :, None, None], float((pixels * part).sum() / pixels.sum())

    def _whole_shares(self) -> Floats:
        pixels = self._region_pixels()
        whole: Floats = (pixels[:, None] * self.shares).sum(axis=0) / pixels.sum()
        return whole

    def _start_table(self, position: int) -> Floats:
        """(cells, symbols, classes) pixels expected of a voter before anything is estimated, over its own cells.

        How often a symbol occurs is observed; the crosswalk says to which classes those pixels belong.
        """
        shape, place = self.lookup.table_shape(position), self.rows.place[position]
        spoken = place != SILENT
        seen = np.bincount(place[spoken], self.rows.counts[spoken], int(np.prod(shape[:-1]))).reshape(-1, shape[-2])
        voter = self.setup.voters[position]
        votes = supposed(self.tables[position], voter.accuracy * voter.freshness, self._whole_shares())
        return np.asarray(seen[..., None] * votes)

    def _first(self, position: int) -> Floats:
        """(cells, symbols, classes) P(symbol | class) to begin with."""
        voter, table, start = self.setup.voters[position], self.tables[position], self.start[position]
        if not self.is_own[position]:
            return self._normalised(position, start)
        whole = self._whole_shares()
        accuracy = class_accuracies(voter, table, whole, voter.accuracy * voter.freshness)
        self.channels[position] = start_channel(table, start.sum(axis=(0, 2)), accuracy)
        return np.broadcast_to(self.channels[position], start.shape).copy()

    def _expect(self) -> tuple[list[Floats], float]:
        """Expected pixels at each place of each table (voters', then the class shares'), and the mean log likelihood
        of a pixel.
        """
        rows = self.rows
        sums = [np.zeros((values.size // self.classes, self.classes)) for values in self.values]
        rings = np.zeros((self.strata.size // self.classes, self.classes))
        aside = {
            position: np.zeros((table.size // self.classes, self.classes)) for position, table in self.aside.items()
        }
        evidence = 0.0
        for part in blocks(len(rows.counts), BLOCK_ROWS):
            posterior, log = self._posterior(part)
            weighted = posterior * rows.counts[part, None]
            evidence += float((rows.counts[part] * log).sum())
            rings += _summed(weighted, rows.ring[part], len(rings))
            for position, place in enumerate(rows.place):
                spoken = place[part] != SILENT
                if position in aside:
                    said = rows.symbols[part, position][spoken]
                    aside[position] += _summed(
                        self._beside(position, weighted[spoken], said), said, len(aside[position])
                    )
                else:
                    sums[position] += _summed(weighted[spoken], place[part][spoken], len(sums[position]))
        for position, expected in aside.items():
            self.aside[position] = (expected + 1e-9) / (expected + 1e-9).sum(axis=0)
        found = [table.reshape(values.shape) for table, values in zip(sums, self.values, strict=True)]
        return [*found, rings.reshape(self.strata.shape)], evidence / float(rows.counts.sum())

    def _posterior(self, at: slice | NDArray[np.int64]) -> tuple[Floats, Floats]:
        rows = self.rows
        posterior, log = posterior_rows(
            self.strata.reshape(-1, self.classes),
            rows.ring[at],
            [values.reshape(-1, self.classes) for values in self.values],
            [place[at] for place in rows.place],
            self.weights,
        )
        alone, region = self.alone[at], rows.region[at]
        known = known_of(
            rows.symbols[at][alone], rows.near[at][alone], self.setup, self.weights, self.left, region[alone]
        )
        believed = credit_of_context(self.trust, self.weights, self.setup)
        posterior[alone] = believed * known + (1.0 - believed) * self.shares[region[alone]]
        return posterior, np.where(alone, 0.0, log)

    def _beside(self, position: int, weighted: Floats, said: NDArray[np.integer]) -> Floats:
        """(rows, classes) expected pixels of a source that is not listened to, in the light of what it says itself."""
        likely = weighted * self.aside[position][said]
        total = likely.sum(axis=1, keepdims=True)
        return np.where(total > 0, likely * weighted.sum(axis=1, keepdims=True) / np.maximum(total, 1e-300), weighted)

    def _maximise(self, sums: Sequence[Floats]) -> None:
        """Class shares and tables that suit the expected pixels and what is held best."""
        by_ring = sums[-1].sum(axis=2)
        self.shares = by_ring.sum(axis=1) / by_ring.sum(axis=(1, 2))[:, None]
        ring = by_ring + RING_PIXELS * self.shares[:, None]
        ring /= ring.sum(axis=2, keepdims=True)
        strata = np.where(self.is_possible[:, None, None], sums[-1] + RING_PIXELS * ring[:, :, None], 0.0)
        learnt = strata / strata.sum(axis=3, keepdims=True)
        self.strata = (1 - self.unlearnt) * learnt + self.unlearnt * self.told
        for position, weight in enumerate(self.weights):
            if weight > 0:
                self.values[position] = self._fitted(position, sums[position])

    def _fitted(self, position: int, expected: Floats) -> Floats:
        """A voter's table from expected pixels, held to what is known of it."""
        if not self.is_own[position]:
            start = self.start[position]
            held = HELD_CONTEXT + HELD_PIXELS / max(float(start.sum()), 1.0)
            return self._normalised(position, expected + held * start)
        voter, table = self.setup.voters[position], self.tables[position]
        pixels = expected.sum(axis=1)
        total = pixels.sum(axis=0)
        if not total.any():  # it speaks nowhere: should it do so later, it is believed as is published
            return np.broadcast_to(self.channels[position], expected.shape).copy()
        overall = voter.accuracy * voter.freshness
        if not self.is_alone:
            right = float(np.where(table.shares > 0, expected.sum(axis=0), 0.0).sum() / total.sum())
            held = HELD_OVERALL + (1 - HELD_OVERALL) * self.contradicted
            overall = (1 - held) * right + held * overall
        accuracy = class_accuracies(voter, table, total / total.sum(), overall)
        normalised = self._normalised(position, expected)
        return held_channel(normalised, pixels, table, accuracy, self.channels[position])

    def _normalised(self, position: int, expected: Floats) -> Floats:
        """Divided so that each class's symbols sum to 1 in every cell, with some pixels of a larger part."""
        whole = expected.sum(axis=0) + 1e-9
        whole = whole / whole.sum(axis=0)
        if not self.is_own[position]:
            smoothed = expected + CELL_PIXELS * whole
            return np.asarray(smoothed / smoothed.sum(axis=1, keepdims=True))
        shape = self.lookup.table_shape(position)
        cells = expected.reshape(-1, *shape[1:])
        level = cells.sum(axis=(0, 2)) + WHOLE_PIXELS * whole
        level = level / level.sum(axis=1, keepdims=True)
        smoothed = cells + LEVEL_PIXELS * level[:, None]
        return np.asarray((smoothed / smoothed.sum(axis=3, keepdims=True)).reshape(expected.shape))

    def _finished(self, position: int, sums: Floats) -> Floats:
        """A voter's table as it is kept, one of its own with the whole dataset as one more region."""
        if position in self.aside:
            return self.aside[position]
        values = self.values[position]
        if not self.is_own[position]:
            return np.round(values, DIGITS)
        shape = self.lookup.table_shape(position)
        regions = sums.reshape(shape)
        whole = self._fitted(position, regions.sum(axis=0).reshape(-1, *shape[3:]))
        return np.round(np.concatenate([values.reshape(shape), whole.reshape(1, *shape[1:])]), DIGITS)

    def _confusion(self, position: int) -> Floats:
        """(regions and the whole, classes, symbols) P(symbol | class), over all cells; 0 where a class has none."""
        rows, size = self.rows, len(self.tables[position].codes)
        found = np.zeros((len(self.regions) * size, self.classes))
        chosen = np.flatnonzero(rows.symbols[:, position] != SILENT)
        for part in blocks(len(chosen), BLOCK_ROWS):
            at = chosen[part]
            weighted = self._posterior(at)[0] * rows.counts[at, None]
            said = rows.symbols[at, position]
            if position in self.aside:
                weighted = self._beside(position, weighted, said)
            found += _summed(weighted, rows.region[at] * size + said, len(found))
        by_region = found.reshape(len(self.regions), size, self.classes).transpose(0, 2, 1)
        every = np.concatenate([by_region, by_region.sum(axis=0, keepdims=True)])
        total = every.sum(axis=2, keepdims=True)
        shares: Floats = np.divide(every, total, out=np.zeros_like(every), where=total > 0.5)
        return np.asarray(np.round(shares, DIGITS))


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
