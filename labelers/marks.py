"""What a fusion counts: at each pixel, what every source says, how steadily around the pixel, and what lies about it.

A mark of a source is ``symbol * LEVELS + level``; `SILENT` where it has no data. The level tells how many of the eight
neighbours say the same: in the middle of a patch, at its edge, or alone. Edges and specks of a map are more often
wrong than its middles. Context sources (`labelers.voters.CONTEXT_KINDS`) have no levels: their edges are no edges of
what a pixel shows. Where no source of its own speaks, the mark of a coarse one is ``symbol * SIDES``, and one more
where its class changes within half its own pixel. The last mark of a pixel is that of its ring
(`labelers.surroundings`).

Pixels are counted by their combination of marks. The counts are whole numbers, so that any grouping of chips on any
number of workers ends in the same sum; a combination is packed into one 64-bit number, so that a million of them take
16 MB, and how many there are depends on the legends and not on the pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labelers.surroundings import RING_LEVELS, ring_marks
from labelers.voters import SILENT, FusionSetup, Voter, to_symbols
from schemas.errors import RecipeError
from schemas.labels import LabelLayer

LEVELS = 3
"""Alone or nearly (0), at an edge (1), in the middle (2)."""

SIDES = 2
"""Of a coarse context source: away from where its class changes (0), or within half its own pixel of it (1)."""

EDGE_NEIGHBOURS = 4
"""From so many equal neighbours on a pixel is at an edge and not alone: a straight edge has five, a corner three."""

KEY_BITS = 62
"""Room for a packed combination."""

TABLE, LARGEST_TABLE = 1 << 20, 1 << 24
"""Rows of the tables in which combinations are numbered: while one source more fits, and where one alone needs more.
Beyond the second they are sorted."""

Tally = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Packed combinations, rising, and the pixels of each."""


@dataclass(frozen=True, eq=False)
class FusionStatistics:
    """How often the sources say what together; adding is exact and its order does not matter."""

    sources: tuple[str, ...]
    """Names, in the order of the marks."""
    sizes: tuple[int, ...]
    """Marks of each source and of the ring, one more for silence: how combinations are packed."""
    regions: Mapping[str, Tally]
    """Region -> counts."""

    def __add__(self, other: FusionStatistics) -> FusionStatistics:
        """Counts of both.

        Raises:
            ValueError: other sources.
        """
        return added([other], self) or self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FusionStatistics) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    @property
    def pixels(self) -> int:
        """Pixels counted."""
        return sum(int(counts.sum()) for _, counts in self.regions.values())

    def marks(self, region: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Combinations (rows, sources + 1) of a region, and the pixels of each."""
        keys, counts = self.regions[region]
        return unpacked(keys, self.sizes), counts

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, in a fixed order."""
        regions = {name: [keys.tolist(), counts.tolist()] for name, (keys, counts) in sorted(self.regions.items())}
        return {"sources": list(self.sources), "sizes": list(self.sizes), "regions": regions}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FusionStatistics:
        """What `to_dict` wrote."""
        regions = {
            name: (np.array(keys, dtype=np.int64), np.array(counts, dtype=np.int64))
            for name, (keys, counts) in data["regions"].items()
        }
        return cls(tuple(data["sources"]), tuple(data["sizes"]), regions)


def added(parts: Iterable[FusionStatistics], first: FusionStatistics | None = None) -> FusionStatistics | None:
    """The sum of many and of a first, one after the other; None of none.

    What waits to be merged is never more than what is merged already: memory follows the distinct combinations.

    Raises:
        ValueError: of different sources.
    """
    merged: dict[str, Tally] = dict(first.regions) if first is not None else {}
    waiting: dict[str, list[Tally]] = {}
    for part in parts:
        first = first or part
        if (part.sources, part.sizes) != (first.sources, first.sizes):
            raise ValueError(f"statistics of {first.sources} and of {part.sources}")
        for region, tally in part.regions.items():
            queue = waiting.setdefault(region, [])
            queue.append(tally)
            if sum(len(keys) for keys, _ in queue) > len(merged.get(region, ((),))[0]):
                merged[region] = _merged([*queue, *([merged[region]] if region in merged else [])])
                queue.clear()
    if first is None:
        return None
    for region, queue in waiting.items():
        if queue:
            merged[region] = _merged([*queue, merged[region]])
    return FusionStatistics(first.sources, first.sizes, merged)


def _merged(tallies: Sequence[Tally]) -> Tally:
    keys = np.concatenate([keys for keys, _ in tallies])
    counts = np.concatenate([counts for _, counts in tallies])
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1)) if keys.size else np.zeros(0, dtype=np.int64)
    return keys[first], np.add.reduceat(counts, first) if keys.size else counts


def mark_sizes(setup: FusionSetup) -> tuple[int, ...]:
    """How many marks each voter and the ring have, silence included.

    Raises:
        RecipeError: more sources, or finer legends, than one packed number holds.
    """
    tables = setup.tables()
    counts = [len(table.codes) * _marks_each(voter) for voter, table in zip(setup.voters, tables, strict=True)]
    sizes = tuple(count + 1 for count in (*counts, tables[0].shares.shape[1] * RING_LEVELS))
    if np.log2(np.array(sizes, dtype=np.float64)).sum() > KEY_BITS:
        raise RecipeError(
            f"{len(setup.voters)} label sources with together {sum(sizes)} marks are too many to fuse at once",
            mend="leave a source out, or give one a coarser legend",
        )
    return sizes


def to_marks(votes: Sequence[LabelLayer], setup: FusionSetup) -> NDArray[np.int64]:
    """(voters + 1, H, W) marks; see the module's first lines. Beyond the chip a pixel's neighbours count as equal."""
    symbols, tables, pixel_m = to_symbols(votes, setup), setup.tables(), votes[0].georef.pixel_size
    own = [i for i, voter in enumerate(setup.voters) if not voter.is_context]
    alone = (symbols[own] == SILENT).all(axis=0)
    marks = np.empty((len(symbols) + 1, *symbols.shape[1:]), dtype=np.int64)
    for voter, table, layer, mark in zip(setup.voters, tables, symbols, marks, strict=False):
        mark[:] = layer
        mark *= _marks_each(voter)
        if not voter.is_context:
            mark += _level(layer)
        elif _marks_each(voter) == SIDES and alone.any():
            said = np.where(layer == SILENT, SILENT, table.shares.argmax(axis=1)[layer])
            mark += near_step(said, voter.gsd_m, pixel_m) & alone
        mark[layer == SILENT] = SILENT
    asked = own or list(range(len(setup.voters)))
    marks[-1] = ring_marks([symbols[i] for i in asked], [tables[i].shares for i in asked], pixel_m)
    return marks


def near_step(said: NDArray[np.integer], gsd_m: float, pixel_m: float) -> NDArray[np.bool_]:
    """(H, W) whether a source that is coarser than the grid changes what it says within half its own pixel.

    Where in that pixel the border lies it does not say. Where it only ends there is no border: what lies beyond nobody
    knows, as where it ends with the chip.

    Args:
        said: (H, W) what it says, `SILENT` where it has no data.
        gsd_m: GSD of the source itself in metres, 0 where it is not known.
        pixel_m: GSD of the grid in metres.
    """
    reach = int(gsd_m / (2 * pixel_m))
    if reach < 2:
        return np.zeros(said.shape, dtype=bool)
    size, spoken = 2 * reach + 1, np.where(said == SILENT, said.max() + 1, said)
    return np.asarray(ndimage.maximum_filter(said, size) > ndimage.minimum_filter(spoken, size))


def near_steps_of(marks: NDArray[np.int64], setup: FusionSetup) -> NDArray[np.bool_]:
    """(rows, voters) whether a coarse context source that speaks without one of its own is near where it changes."""
    found = np.zeros((len(marks), len(setup.voters)), dtype=bool)
    for position, voter in enumerate(setup.voters):
        if voter.is_context and _marks_each(voter) == SIDES:
            said = marks[:, position]
            found[:, position] = (said != SILENT) & (said % SIDES == 1)
    return found


def symbols_of_marks(marks: NDArray[np.int64], setup: FusionSetup) -> NDArray[np.int64]:
    """(rows, voters) symbols of (rows, voters + 1) marks, without their levels; `SILENT` stays."""
    divisors = np.array([_marks_each(voter) for voter in setup.voters], dtype=np.int64)
    said = marks[:, :-1]
    return np.where(said == SILENT, SILENT, said // divisors)


def _marks_each(voter: Voter) -> int:
    """How many marks a symbol of the voter has."""
    if not voter.is_context:
        return LEVELS
    return SIDES if voter.gsd_m > 0 else 1


def packed(marks: NDArray[np.int64], sizes: Sequence[int]) -> NDArray[np.int64]:
    """One number for each column of (sources + 1, pixels) marks. Inverse: `unpacked`."""
    keys = np.zeros(marks.shape[1], dtype=np.int64)
    for layer, size in zip(marks, sizes, strict=True):
        keys *= size
        keys += layer
        keys += 1
    return keys


def unpacked(keys: NDArray[np.int64], sizes: Sequence[int]) -> NDArray[np.int64]:
    """(rows, sources + 1) marks of packed combinations."""
    rows = np.empty((len(keys), len(sizes)), dtype=np.int64)
    for position in range(len(sizes) - 1, -1, -1):
        rows[:, position] = keys % sizes[position] - 1
        keys = keys // sizes[position]
    return rows


def distinct(marks: NDArray[np.signedinteger], sizes: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct combinations of (sources + 1, H, W) marks, packed and rising, and (pixels,) which one each pixel has.

    Source by source, what occurs is numbered anew before the numbers outgrow a small table.
    """
    which = np.zeros(marks[0].size, dtype=np.int64)
    keys, room = np.zeros(min(which.size, 1), dtype=np.int64), 1
    for layer, size in zip(marks.reshape(len(marks), -1), sizes, strict=True):
        if len(keys) * room * size > TABLE:
            keys, which, room = *_renumbered(keys, which, room), 1
        which *= size
        which += layer
        which += 1
        room *= size
    return _renumbered(keys, which, room)


def _renumbered(
    keys: NDArray[np.int64], which: NDArray[np.int64], room: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rising keys of what occurs, and which of them each pixel has.

    Args:
        keys: rising.
        which: (pixels,) position of a key times ``room``, and what is said beyond it.
        room: how much may be said.
    """
    rows = len(keys) * room
    if rows > LARGEST_TABLE:
        found, number = np.unique(which, return_inverse=True)
    else:
        there = np.zeros(rows, dtype=bool)
        there[which] = True
        found = np.flatnonzero(there)
        numbers = np.empty(rows, dtype=np.int64)
        numbers[found] = np.arange(len(found))
        number = numbers.take(which)
    return keys[found // room] * room + found % room, number


def blocks(rows: int, size: int) -> Iterator[slice]:
    """Slices that cover so many rows."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _level(layer: NDArray[np.int16]) -> NDArray[np.int8]:
    rows, columns = layer.shape
    padded = np.pad(layer, 1, mode="edge")
    equal = np.zeros(layer.shape, dtype=np.int8)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if (dy, dx) != (1, 1):
                equal += padded[dy : dy + rows, dx : dx + columns] == layer
    return np.asarray((equal >= EDGE_NEIGHBOURS).astype(np.int8) + (equal == 8))
