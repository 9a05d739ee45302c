"""Several at once, handed on in order: what is far away is asked for before it is wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def read_ahead(read: Callable[[A], B], wanted: Iterable[A], at_once: int) -> Iterator[B]:
    """As ``map``, with so many being read by threads; an error comes where its value would have come."""
    pool, reading = ThreadPoolExecutor(at_once, "terraweft-ahead"), deque[Future[B]]()
    try:
        for one in wanted:
            reading.append(pool.submit(read, one))
            if len(reading) >= at_once:
                yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
