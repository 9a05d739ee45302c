from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from terraweft.torch_order import Share, Taken, batches_of, of_rank, part, remaining, shuffled


def turns(parts: list[np.ndarray], batch_size: int, drop_last: bool) -> list[list[int]]:
    """Batches as a torch DataLoader asks its workers for them: in turn, those that have ended left out."""
    queues = [
        [p[i * batch_size : (i + 1) * batch_size].tolist() for i in range(batches_of(len(p), batch_size, drop_last))]
        for p in parts
    ]
    found = []
    while any(queues):
        found += [queue.pop(0) for queue in queues if queue]
    return found


epochs = st.builds(
    lambda sizes, seed, epoch: shuffled(
        [np.arange(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))], seed, epoch
    ),
    st.lists(st.integers(1, 9), min_size=0, max_size=8),
    st.integers(0, 5),
    st.integers(0, 5),
)


@given(epochs, st.integers(1, 5), st.integers(1, 4), st.integers(1, 5))
def test_every_sample_comes_once_over_ranks_and_workers(
    order: np.ndarray, world: int, workers: int, batch_size: int
) -> None:
    seen: list[int] = []
    lengths = []
    for rank in range(world):
        mine = of_rank(order, Share(rank, world), "keep")
        lengths.append(len(mine))
        for batch in turns(remaining(mine, [], workers, batch_size), batch_size, False):
            seen += batch
    assert sorted(seen) == list(range(len(order)))
    assert max(lengths) - min(lengths) <= 1


@given(epochs, st.integers(1, 6))
def test_dropping_and_repeating_make_ranks_equal(order: np.ndarray, world: int) -> None:
    dropped = [of_rank(order, Share(rank, world), "drop") for rank in range(world)]
    repeated = [of_rank(order, Share(rank, world), "repeat") for rank in range(world)]
    assert {len(mine) for mine in dropped} == {len(order) // world}
    assert {len(mine) for mine in repeated} == {-(-len(order) // world)}
    assert len(set(np.concatenate(dropped).tolist())) == len(order) // world * world
    assert set(np.concatenate(repeated).tolist()) == set(order.tolist())


@given(epochs, st.integers(1, 4), st.integers(1, 4), st.booleans(), st.lists(st.integers(0, 6), max_size=3))
def test_an_interrupted_epoch_goes_on_with_the_batches_that_would_have_come(
    order: np.ndarray, workers: int, batch_size: int, drop_last: bool, stops: list[int]
) -> None:
    whole = turns(remaining(order, [], workers, batch_size), batch_size, drop_last)
    taken: list[Taken] = []
    came: list[list[int]] = []
    for stop in stops:
        left = turns(remaining(order, taken, workers, batch_size), batch_size, drop_last)
        came += left[:stop]
        taken.append(Taken(workers, batch_size, drop_last, min(stop, len(left))))
    came += turns(remaining(order, taken, workers, batch_size), batch_size, drop_last)
    assert came == whole


changes = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 6)), max_size=3)


@given(epochs, changes, st.integers(1, 4), st.integers(1, 4))
def test_an_epoch_may_go_on_with_other_workers_and_every_sample_still_comes_once(
    order: np.ndarray, before: list[tuple[int, int, int]], workers: int, batch_size: int
) -> None:
    taken: list[Taken] = []
    seen: list[int] = []
    for count, size, stop in before:
        batches = turns(remaining(order, taken, count, size), size, False)[:stop]
        seen += [number for batch in batches for number in batch]
        taken.append(Taken(count, size, False, len(batches)))
    for batch in turns(remaining(order, taken, workers, batch_size), batch_size, False):
        seen += batch
    assert sorted(seen) == list(range(len(order)))


def test_samples_of_a_shard_stay_together_and_epochs_differ() -> None:
    shards = [np.arange(0, 20), np.arange(20, 40), np.arange(40, 60)]
    orders = [shuffled(shards, 7, epoch) for epoch in range(4)]
    for order in orders:
        assert (np.diff(order // 20) != 0).sum() == 2
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert shuffled(shards, 7, 0).tolist() == orders[0].tolist()


def test_parts_are_neighbours() -> None:
    assert [part(np.arange(7), Share(number, 3)).tolist() for number in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
