"""Units of work over the workers of a cluster: each worker takes a run of neighbours, and helps where one is behind."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psutil
from distributed import Client, as_completed

from flows.progress import current

log = logging.getLogger(__name__)

SUBMITTED_AHEAD = 4
"""Units in flight per worker: enough to keep it busy, few enough to stop soon."""

LOOK_AGAIN_S = 5.0
"""Pause between two looks for workers that joined."""
TELL_AFTER_S = 30.0
"""Pause between two looks whether anybody is left to work, and who waits for one that is gone."""


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
    in_flight: dict[Any, _Meant] = {}
    results: dict[Any, Any] = {}

    def give(unit: Any, worker: str) -> Any:
        where = {"workers": [worker], "allow_other_workers": True} if worker else {}
        future = submit(unit, **where)
        in_flight[future.key] = _Meant(unit, worker)
        return future

    def ahead(workers: Iterable[str]) -> list[Any]:
        return [give(left.take(worker), worker) for worker in list(workers) * SUBMITTED_AHEAD if left]

    def give_again(keys: set[Any]) -> None:
        for future in [future for future in list(running.futures) if future.key in keys]:
            if meant := in_flight.pop(future.key, None):
                running.add(give(meant.unit, ""))
                future.cancel()

    running: Any = as_completed(ahead(first_there))  # type: ignore[no-untyped-call]
    try:
        with _looked_after(client, stage, in_flight, give_again):
            for future in running:
                meant = in_flight.pop(future.key, None)
                if not meant:  # given again
                    continue
                results[name(meant.unit)] = future.result()
                progress.advance(stage)
                if left and meant.worker in there:
                    running.add(give(left.take(meant.worker), meant.worker))
                elif left and len(in_flight) < SUBMITTED_AHEAD * max(1, len(there)):  # whoever is there, or comes
                    running.add(give(left.take(""), ""))
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


class _Meant(NamedTuple):
    """A unit in flight."""

    unit: Any
    """As in the sequence."""
    worker: str
    """Whom it is meant for; empty for nobody in particular."""


@contextmanager
def _looked_after(
    client: Client, stage: str, in_flight: dict[Any, _Meant], give_again: Callable[[set[Any]], None]
) -> Iterator[None]:
    """Meanwhile say once where no worker is left or one of this machine is stopped, start those of this machine again
    that Dask gave up, and give units again that wait for a worker that is gone.

    Dask gives up a worker of its own that it could not restart, or not within seconds: the process of which it would be
    forked was just ending, or the machine was too busy to import.
    Dask gives a unit that was meant for a worker that died to another one, but to none that joins after a moment
    without any: such a unit would wait for ever.
    """
    ended = threading.Event()

    def watch() -> None:
        is_told, waited, rested = False, set[Any](), set[int]()
        while not ended.wait(TELL_AFTER_S):
            try:
                there = client.nthreads()  # type: ignore[no-untyped-call]
                if not there and not is_told:
                    log.warning("%s: the cluster has no workers; waiting until one comes", stage)
                is_told = not there
                if (cluster := client.cluster) is not None and len(there) < len(cluster.worker_spec):
                    cluster.scale(len(cluster.worker_spec))  # starts those that are missing
                stopped = _stopped(cluster)
                for process in sorted(stopped - rested):
                    log.warning(
                        "%s: worker %d is stopped: waiting until it goes on (kill -CONT %d)", stage, process, process
                    )
                rested = stopped
                waits = _stranded(client, set(there), in_flight.copy())
                give_again(waits & waited)  # twice: one that just ended is on no worker either
                waited = waits
            except Exception:  # a scheduler that is lost is told by who waits for its units
                continue

    thread = threading.Thread(target=watch, name="absence", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LOOK_AGAIN_S)


def _stopped(cluster: Any) -> set[int]:
    """Processes of our own workers that a signal or a debugger has stopped; Dask waits for them without a word."""
    stopped = set()
    for nanny in cluster.workers.values() if cluster is not None else ():
        with suppress(psutil.Error, AttributeError):  # it is being started
            if psutil.Process(nanny.pid).status() == psutil.STATUS_STOPPED:
                stopped.add(nanny.pid)
    return stopped


def _stranded(client: Client, there: set[str], in_flight: dict[Any, _Meant]) -> set[Any]:
    """Keys of units that are meant for a worker that is gone, and that no other has."""
    gone = {key for key, meant in in_flight.items() if meant.worker and meant.worker not in there}
    if not gone:
        return gone
    return gone - {key for keys in client.processing().values() for key in keys}  # type: ignore[no-untyped-call]
