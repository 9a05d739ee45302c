"""Parts that lie close together are fetched as one range."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.ranges import GAP_BYTES, RANGE_BYTES, merged_ranges


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, RANGE_BYTES), min_size=1, max_size=30),
    gaps=st.lists(st.integers(0, 3 * GAP_BYTES), min_size=30, max_size=30),
    wanted=st.sets(st.integers(0, 29)),
)
def test_ranges_hold_all_parts_once_and_little_else(sizes: list[int], gaps: list[int], wanted: set[int]) -> None:
    starts = np.cumsum([gap + size for gap, size in zip(gaps, [0, *sizes], strict=False)][: len(sizes)])
    numbers_wanted = [n for n in wanted if n < len(sizes)]
    runs = list(merged_ranges(numbers_wanted, lambda n: (int(starts[n]), sizes[n])))
    assert sorted(n for run in runs for n in run) == sorted(numbers_wanted)
    for run in runs:
        length = int(starts[run[-1]]) + sizes[run[-1]] - int(starts[run[0]])
        assert length - sum(sizes[n] for n in run) <= GAP_BYTES * (len(run) - 1)
        assert length <= RANGE_BYTES or len(run) == 1


def test_a_part_within_another_is_of_its_range_and_the_next_lies_behind_both() -> None:
    places = {"long": (0, 50_000), "inside": (100, 10), "near": (50_000 + GAP_BYTES, 1), "far": (200_000, 1)}
    assert list(merged_ranges(places, places.__getitem__)) == [["long", "inside", "near"], ["far"]]
