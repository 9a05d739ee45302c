"""The process of which workers of our own are forked: it imports what a build needs once, not once in each of them.

It may be started long before the cluster, and imports beside its caller: `get_ready`. Nothing here imports more than
the standard library.
"""

from __future__ import annotations

import multiprocessing.forkserver as forkserver
import os
import signal
import sys
from collections.abc import Mapping

PRELOAD = ["flows.dask_interrupt", "flows.dask_clock", "flows.realign"]
"""What a worker imports before its first tile: every pass."""

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
    "MALLOC_TRIM_THRESHOLD_": 256 << 20,
    "MALLOC_MMAP_THRESHOLD_": 32 << 20,
}
"""Of a worker process. Dask would have every freed array given back to the system at once, and the next one faulted in
page by page: a chip's arrays are as large as the one's before, so that the memory is kept for it."""

AT_START = {**WORKER_ENVIRONMENT, "PYTHONHASHSEED": 6640}
"""What libraries and the interpreter read once, as they start. Dask gives its workers this seed, all the same one."""
READ_AT_START = ("PYTHON", "OMP_", "MKL_", "OPENBLAS_", "MALLOC_", "GDAL", "PROJ", "LC_", "LANG", "TZ", "LD_")
"""Beginnings of the names of such variables."""

_environment: dict[str, str] | None = None
"""The caller's variables when the process was started."""


def get_ready() -> None:
    """Start the process, if this one has none yet; it then imports while the caller goes on.

    Elsewhere than on Linux nothing is started: libraries of other systems do not bear to be forked.
    """
    global _environment
    if sys.platform != "linux" or _environment is not None:
        return
    before = dict(os.environ)
    forkserver.set_forkserver_preload(["distributed", *PRELOAD])
    interrupts = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is not its business
    os.environ.update({name: before.get(name, str(value)) for name, value in AT_START.items()})
    try:
        forkserver.ensure_running()
    finally:
        for name in AT_START.keys() - before.keys():
            del os.environ[name]
        signal.pthread_sigmask(signal.SIG_SETMASK, interrupts)
    _environment = before


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether workers with these variables may be forked: each gets them, but none that is gone since is taken away,
    and what is read at the start has been read.
    """
    return _environment is not None and all(
        name in environment and (environment[name] == value or not name.startswith(READ_AT_START))
        for name, value in _environment.items()
    )
