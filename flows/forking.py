"""The process of which workers of our own are forked: it imports what a build needs once, not once in each of them.

It may be started long before the cluster, and imports beside its caller: `get_ready`. Nothing here imports more than
the standard library and our errors.
"""

from __future__ import annotations

import logging
import multiprocessing.forkserver as forkserver
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker, util
from pathlib import Path

from schemas.errors import UserError

log = logging.getLogger(__name__)

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

AT_START = {**WORKER_ENVIRONMENT, "PYTHONHASHSEED": 6640, "PYTHONSAFEPATH": 1}
"""What libraries and the interpreter read once, as they start. Dask gives its workers this seed, all the same one. A
`flows` or `schemas` in the folder where a command is given is not ours."""
FOLDER = "_TERRAWEFT_FORKING"
"""Variable by which the process knows the folder of its socket, to remove it where its caller was killed."""
READ_AT_START = ("PYTHON", "OMP_", "MKL_", "OPENBLAS_", "MALLOC_", "GDAL", "PROJ", "LC_", "LANG", "TZ", "LD_")
"""Beginnings of the names of such variables."""
SET_BY_IMPORTS = {"GDAL_CURL_CA_BUNDLE", "PROJ_CURL_CA_BUNDLE"}
"""What rasterio sets when it is imported, here as there; read with each request."""

HELD_BACK = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
"""Signals that a terminal or a supervisor sends to all processes of a command. This one ends when its caller is gone:
if it ended before, workers would count as dead that still work, and none could be started in their place.
`flows.dask_interrupt` lets workers have them again."""


@dataclass(frozen=True)
class _Start:
    """The caller when the process was started."""

    process: int
    environment: dict[str, str]
    limits: object


_start: _Start | None = None


_builder: int | None = None
"""The process that called for a build here first."""


def require_own_process() -> None:
    """See that what builds left in this process is its own.

    Raises:
        UserError: it was forked of one that had built. The threads in which Prefect and Dask run their loops are not
            there, and the build would wait for them for ever.
    """
    global _builder
    _builder = _builder or os.getpid()
    if _builder != os.getpid():
        raise UserError(
            f"cannot build: this process was forked of one that has built, {_builder}",
            mend="start a fresh one: multiprocessing.get_context('spawn'), or the command terraweft build",
        )


def get_ready() -> None:
    """Start the process, if this one has none yet; it then imports while the caller goes on.

    Elsewhere than on Linux nothing is started: libraries of other systems do not bear to be forked. Nor is it where the
    folder for temporary files takes no socket: its path may be too long for one.
    """
    global _start
    if sys.platform != "linux" or _start is not None:
        return
    before = dict(os.environ)
    forkserver.set_forkserver_preload(
        ["flows.forked_first", "distributed", "dask.array", *PRELOAD, "flows.forked_last"]
    )
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        resource_tracker.ensure_running()  # would be started with the process; it lets signals through again
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        os.environ.update({name: before.get(name, str(value)) for name, value in AT_START.items()})
        os.environ[FOLDER] = util.get_temp_dir()
        forkserver.ensure_running()
        _start = _Start(os.getpid(), before, _limits())
        util.Finalize(None, _end, exitpriority=-1)  # when processes of others are joined, before the socket goes
    except OSError as error:
        log.info("workers are not forked: %s", error)
    finally:
        for name in {*AT_START, FOLDER} - before.keys():
            os.environ.pop(name, None)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end() -> None:
    """End the process: it would import to the end first, and hold what the caller prints to open."""
    if process := getattr(forkserver._forkserver, "_forkserver_pid", None):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether workers with these variables may be forked: each gets them, but none that is gone since is taken away,
    and what is read at the start has been read. Nor may they where limits are others by now, where this process was
    itself forked of the one that started it, or where somebody tidied its socket away.
    """
    if _start is None or _start.process != os.getpid() or _start.limits != _limits():
        return False
    before = _start.environment
    is_read = all(
        environment[name] == before.get(name, str(AT_START.get(name)))
        for name in environment.keys() - SET_BY_IMPORTS
        if name.startswith(READ_AT_START)
    )
    return is_read and before.keys() <= environment.keys() and _has_socket()


def _limits() -> object:
    """What a process has from the one that started it, beside variables: umask, limits and cores."""
    import resource  # which not every system has

    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    umask = next((line for line in status.splitlines() if line.startswith("Umask")), "")
    names = sorted(name for name in vars(resource) if name.startswith("RLIMIT_"))
    return umask, [resource.getrlimit(getattr(resource, name)) for name in names], os.sched_getaffinity(0)


def _has_socket() -> bool:
    return any(Path(util.get_temp_dir()).glob("listener-*"))
