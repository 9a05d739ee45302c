"""Messages of Dask that do not wait by the time of day, which may be set back; also a preload of its processes.

Dask holds a message back until a few milliseconds after the one before, and Tornado's timers, which its heartbeats
and checks are, count by the time of day too. Where that is set back by an hour between two messages, the second leaves
after an hour, and the build stands still for so long (tests/unit/flows/test_dask_clock.py). Both are given a clock that
begins at the time of day and then only runs.

    dask scheduler --preload flows.dask_clock
    dask worker ADDRESS --preload flows.dask_clock
"""

from __future__ import annotations

import time
from typing import Any

import distributed.batched
from tornado.ioloop import IOLoop

_BEGAN_S = time.time() - time.monotonic()


def steady_time() -> float:
    """Seconds since 1970 by the time of day at which this was imported, and by nothing but what has passed since."""
    return _BEGAN_S + time.monotonic()


def hold_clock() -> None:
    """Let Dask's messages and Tornado's timers of this process count by `steady_time`; once or often."""
    batched: Any = distributed.batched
    loops: Any = IOLoop
    batched.time = steady_time
    loops.time = lambda loop: steady_time()


def dask_setup(server: object) -> None:
    """What Dask calls of a preload.

    Args:
        server: the scheduler or worker that starts.
    """
    hold_clock()
