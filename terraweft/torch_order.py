"""The order of an epoch, who reads which part of it, and where an interrupted epoch goes on. No torch, no files.

Every process can work out the whole order by itself: it follows from seed, epoch and the chips of the version. Ranks
take neighbouring parts of it, workers neighbouring parts of their rank's, so that a part touches few shards. A loader
takes batches from its workers in turn; how many batches were taken therefore says what each worker has delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """Who reads, of how many."""

    number: int = 0
    """0 .. of - 1."""
    of: int = 1
    """How many there are."""


@dataclass(frozen=True)
class Taken:
    """Batches that a loader delivered of an epoch before it was stopped."""

    workers: int
    """Worker processes; 1 also where the loader itself reads."""
    batch_size: int
    """Samples of a batch."""
    drop_last: bool
    """Whether a worker's last batch was left out where it was not full."""
    batches: int
    """How many were delivered."""


def shuffled(shards: Sequence[NDArray[np.int64]], seed: int, epoch: int) -> NDArray[np.int64]:
    """All samples in the order of an epoch: shards shuffled, and the samples of each, which stay together."""
    if not shards:
        return np.zeros(0, np.int64)
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = [shards[number] for number in generator.permutation(len(shards))]
    return np.concatenate([shard[generator.permutation(len(shard))] for shard in order])


def part(items: NDArray[np.int64], share: Share) -> NDArray[np.int64]:
    """One of several neighbouring parts whose lengths differ by at most one.

    Example:
        >>> [part(np.arange(5), Share(number, 3)).tolist() for number in range(3)]
        [[0], [1, 2], [3, 4]]
    """
    size = len(items)
    return items[size * share.number // share.of : size * (share.number + 1) // share.of]


def of_rank(order: NDArray[np.int64], share: Share, uneven: str) -> NDArray[np.int64]:
    """The part of a rank.

    Args:
        order: the epoch.
        share: the rank.
        uneven: ``keep``: parts differ by at most one sample; ``drop``: the last few samples of the epoch are left out
            so that all parts are equal; ``repeat``: its first few come twice instead.
    """
    over = len(order) % share.of
    if over and uneven == "drop":
        order = order[: len(order) - over]
    elif over and uneven == "repeat":
        order = np.resize(order, len(order) + share.of - over)
    return part(order, share)


def batches_of(samples: int, batch_size: int, drop_last: bool) -> int:
    """Batches that so many samples make."""
    return samples // batch_size if drop_last else -(-samples // batch_size)


def remaining(
    mine: NDArray[np.int64], taken: Sequence[Taken], workers: int, batch_size: int
) -> list[NDArray[np.int64]]:
    """What each worker still has to read, in the order in which workers are asked.

    With as many workers and as large batches as before, the batches that come are those that would have come. With
    others, every sample still comes exactly once.

    Args:
        mine: the rank's part of the epoch.
        taken: what was delivered, first to last; where workers or batch size changed in between, an entry for each.
        workers: of the loader that goes on.
        batch_size: likewise.
    """
    before: Taken | None = None
    left = [mine]
    for entry in (*taken, None):
        count, size = (workers, batch_size) if entry is None else (entry.workers, entry.batch_size)
        if before is None or (count, size) != (before.workers, before.batch_size):
            joined = np.concatenate(left)
            left = [part(joined, Share(number, count)) for number in range(count)]
        if entry is not None:
            left = _after(left, entry)
        before = entry
    return left


def _after(left: list[NDArray[np.int64]], entry: Taken) -> list[NDArray[np.int64]]:
    """What is left when so many batches have been taken from the workers in turn; the next to be asked comes first."""
    have = [batches_of(len(part), entry.batch_size, entry.drop_last) for part in left]
    counts, turn, due = [0] * len(left), 0, min(entry.batches, sum(have))
    if due:
        rounds = _whole_rounds(have, due)
        counts = [min(rounds, number) for number in have]
        due -= sum(counts)
    while due:
        if counts[turn] < have[turn]:
            counts[turn] += 1
            due -= 1
        turn = (turn + 1) % len(left)
    rest = [part[count * entry.batch_size :] for part, count in zip(left, counts, strict=True)]
    return rest[turn:] + rest[:turn]


def _whole_rounds(have: Sequence[int], due: int) -> int:
    """Rounds over all workers that are complete after ``due`` batches."""
    low, high = 0, max(have)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(middle, number) for number in have) <= due:
            low = middle
        else:
            high = middle - 1
    return low
