"""A preload of our own workers: Ctrl-C is the business of the process that started them.

A terminal sends it to all processes of a command. A worker that took it, too, would print a traceback over the one line
that is told, and be missed while the build lets go of its cluster. Workers end when they are told to, or when the
process that started them is gone.
"""

from __future__ import annotations

import signal

from flows.forking import HELD_BACK


def dask_setup(worker: object) -> None:
    """What Dask calls of a preload, in the worker's main thread.

    Args:
        worker: the worker that starts.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
