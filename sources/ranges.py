"""Parts of a file in groups that are fetched as one range each: those that lie close together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Part = TypeVar("Part")

GAP_BYTES = 16 << 10
"""Parts that lie no further apart are asked for in one range."""
RANGE_BYTES = 4 << 20
"""No range is longer, unless a single part is: what one thread waits for, and then decodes."""


def merged_ranges(parts: Iterable[Part], place_of: Callable[[Part], tuple[int, int]]) -> Iterator[list[Part]]:
    """Parts by range, each range's in the order in which they lie.

    Args:
        parts: of one file.
        place_of: a part's first byte, and how many it has.

    >>> list(merged_ranges("bca", {"a": (0, 10), "b": (20, 5), "c": (900_000, 5)}.__getitem__))
    [['a', 'b'], ['c']]
    """
    run: list[Part] = []
    start = end = 0
    for offset, length, part in sorted(((*place_of(part), part) for part in parts), key=lambda placed: placed[0]):
        if run and offset - end <= GAP_BYTES and max(end, offset + length) - start <= RANGE_BYTES:
            run.append(part)
            end = max(end, offset + length)
            continue
        if run:
            yield run
        run, start, end = [part], offset, offset + length
    if run:
        yield run
