"""Units of work over the workers of a cluster: each worker takes a run of neighbours, and helps where one is behind."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from distributed import Client, as_completed

from flows.progress import current

log = logging.getLogger(__name__)

SUBMITTED_AHEAD = 4
"""Units in flight per worker: enough to keep it busy, few enough to stop soon."""

LOOK_AGAIN_S = 5.0
"""Pause between two looks for workers that joined."""
TELL_AFTER_S = 30.0
"""Pause between two looks whether anybody is left to work."""


class Runs:
    """Units in order, cut into one run per worker.

    Args:
        units: in the order in which neighbours share what was read.
        workers: names of the workers; at least one.
    """

    def __init__(self, units: Sequence[Any], workers: Iterable[str]) -> None:
        names = list(workers)
        cuts = [len(units) * number // len(names) for number in range(len(names) + 1)]
        self._left = {
            name: deque(units[start:end]) for name, start, end in zip(names, cuts[:-1], cuts[1:], strict=True)
        }

    def __bool__(self) -> bool:
        return any(self._left.values())

    def take(self, worker: str) -> Any:
        """The next unit for a worker: of its own run, else the last of the longest run.

        Raises:
            IndexError: none is left.
        """
        own = self._left.get(worker)
        return own.popleft() if own else max(self._left.values(), key=len).pop()


def spread(
    client: Client,
    stage: str,
    submit: Callable[..., Any],
    units: Sequence[Any],
    name: Callable[[Any], Any],
    done: int,
) -> dict[Any, Any]:
    """Results of all units by name; a bounded number is in flight, and an error cancels the rest.

    Args:
        client: of the cluster.
        stage: for the progress.
        submit: (unit, workers=, allow_other_workers=) -> future; a worker that is gone leaves its units to others.
        units: see `Runs`.
        name: unit -> key of its result.
        done: units that an earlier run finished.
    """
    progress = current()
    progress.start(stage, len(units) + done, done)
    there = set(client.nthreads())  # type: ignore[no-untyped-call]
    looked = time.monotonic()
    first_there = sorted(there) or [""]
    left = Runs(units, first_there)
    names: dict[Any, Any] = {}
    taken_by: dict[Any, str] = {}
    results: dict[Any, Any] = {}

    def next_for(worker: str) -> Any:
        unit = left.take(worker)
        where = {"workers": [worker], "allow_other_workers": True} if worker else {}
        future = submit(unit, **where)
        names[future.key], taken_by[future.key] = name(unit), worker
        return future

    def ahead(workers: Iterable[str]) -> list[Any]:
        return [next_for(worker) for worker in list(workers) * SUBMITTED_AHEAD if left]

    running: Any = as_completed(ahead(first_there))  # type: ignore[no-untyped-call]
    try:
        with _absence_told(client, stage):
            for future in running:
                results[names.pop(future.key)] = future.result()
                progress.advance(stage)
                worker = taken_by.pop(future.key)
                if left and (worker in there or not there):
                    running.add(next_for(worker))
                if left and time.monotonic() - looked >= LOOK_AGAIN_S:  # a cluster grows and shrinks
                    before, there = there, set(client.nthreads())  # type: ignore[no-untyped-call]
                    looked = time.monotonic()
                    for joined in ahead(sorted(there - before)):
                        running.add(joined)
    except BaseException:
        client.cancel(list(running.futures), force=True)  # type: ignore[no-untyped-call]
        raise
    progress.finish(stage)
    return results


@contextmanager
def _absence_told(client: Client, stage: str) -> Iterator[None]:
    """Meanwhile say once where no worker is left.

    Dask gives units that were meant for a worker that died to no worker that joins when there was none at all in
    between: these wait for ever, and only another start, which uses what is finished, goes on.
    """
    ended = threading.Event()

    def watch() -> None:
        is_told = False
        while not ended.wait(TELL_AFTER_S):
            try:
                nobody = not client.nthreads()  # type: ignore[no-untyped-call]
            except Exception:  # a scheduler that is lost is told by who waits for its units
                return
            if nobody and not is_told:
                log.warning(
                    "%s: the cluster has no workers; start some, and if nothing goes on then, run this again", stage
                )
            is_told = nobody

    thread = threading.Thread(target=watch, name="absence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
