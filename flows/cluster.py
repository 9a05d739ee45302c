"""The Dask cluster that a run computes on: an address that is given, or worker processes of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, KilledWorker, LocalCluster, get_worker
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError, connect
from distributed.security import Security
from rasterio.errors import NotGeoreferencedWarning

from flows.collector import collect_as_usual
from flows.dask_clock import hold_clock
from flows.forking import PRELOAD, WORKER_ENVIRONMENT, can_fork, get_ready
from flows.progress import current
from flows.software import require_same_software
from schemas.errors import UserError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 20.0
"""How long a scheduler may take to answer."""
WORKER_SECONDS = 300.0
"""How long the first worker of a cluster may take that starts them on demand."""
TLS_SECONDS = 2.0
"""How long what listens at an address may take to show whether it speaks TLS."""

TLS_VARIABLES = ", ".join(f"DASK_DISTRIBUTED__COMM__TLS__{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))
"""Where Dask looks for the certificates of an encrypted connection."""

MEMORY_PER_WORKER = "1500MB"
"""What a worker may hold before Dask ends it and starts another (bench, P6)."""

OUR_OWN = "workers of this machine"
AGAIN = "run the same command again: what is finished is used"
FEWER_CHIPS = "give tiles fewer chips: grid.tile_chips in the recipe"
"""What to do where a tile takes more memory than a worker of our own may hold."""

SELDOM = {"distributed.admin.tick.interval": "1s", "distributed.admin.system-monitor.interval": "5s"}
"""How often every process of a cluster measures whether its loop is late, and its machine, for pages that nobody sees.
Dask does so every 20 and 500 ms, which keeps a cluster busy that has nothing to do."""


@contextlib.contextmanager
def dask_client(
    address: str | None,
    workers: int,
    scratch: Path,
    patience_s: float = CONNECT_SECONDS,
    worker_patience_s: float = WORKER_SECONDS,
) -> Iterator[Client]:
    """A client of the cluster at ``address``, or of a fresh local one with ``workers`` processes of one thread each.

    One thread per process: decoding and warping hold the GIL in parts, and GDAL's caches are per handle.
    """
    quieten()
    hold_clock()
    if address:
        with _told_in_a_line(address), _connected(address, patience_s) as client:
            _await_worker(client, address, worker_patience_s)
            require_same_software(client, address)
            with _deaths_told_in_a_line(client, address, f"{FEWER_CHIPS}, or more for workers (--memory-limit)"):
                yield client
        return
    get_ready()
    is_forked = can_fork(os.environ)
    settings = {
        "distributed.comm.timeouts.connect": "60s",
        "distributed.scheduler.worker-ttl": None,
        "distributed.worker.daemon": True,
        "distributed.worker.memory.pause": False,  # of what it holds nothing can be spilled: it would pause for ever
        "distributed.worker.multiprocessing-method": "forkserver" if is_forked else "spawn",
        "distributed.worker.profile.enabled": False,  # a look at stacks every 10 ms that nobody sees
        **SELDOM,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "temporary-directory": str(scratch),
    }
    with (
        _told_in_a_line(OUR_OWN),
        dask.config.set(settings),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=MEMORY_PER_WORKER,
            preload=PRELOAD,
            env=dict(os.environ) if is_forked else None,  # a fork has that of the process it was forked of
            silence_logs=logging.CRITICAL,  # what a unit raises is raised here again
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
        _deaths_told_in_a_line(client, OUR_OWN, FEWER_CHIPS),
    ):
        yield client


@contextlib.contextmanager
def _told_in_a_line(where: str) -> Iterator[None]:
    """A scheduler that is lost, as an error that a person can mend.

    Raises:
        UserError: the scheduler is gone.
    """
    try:
        yield
    except (FutureCancelledError, CommClosedError) as error:
        raise UserError("the Dask scheduler was lost", where=where, mend=f"start it, and {AGAIN}") from error


@contextlib.contextmanager
def _deaths_told_in_a_line(client: Client, where: str, of_memory: str) -> Iterator[None]:
    """Workers that died over one unit again and again, as an error that a person can mend.

    Args:
        client: of their cluster.
        where: which one.
        of_memory: what to do where they held more than they may.

    Raises:
        UserError: it says whether it was their limit of memory.
    """
    try:
        yield
    except KilledWorker as error:
        name = str(error.task).partition("-")[0]
        what = f"{error.allowed_failures + 1} workers died over one unit ({name}), the last on {error.last_worker.host}"
        mend = f"see whether its memory was full (fewer --workers), or what logs of workers say, and {AGAIN}"
        if held := _held_too_much(client, error.last_worker.address):
            what, mend = f"{what}, ended by Dask when it held {held / 1e6:.0f} MB", of_memory
        raise UserError(what, where=where, mend=mend) from error


def _held_too_much(client: Client, worker: str) -> int:
    """Bytes that a worker held when Dask ended it for its limit of memory; 0 where it did not."""
    with contextlib.suppress(Exception):  # a message is no place for another error
        events: Any = client.get_events("worker-restart-memory")
        return max((event["rss"] for _, event in events if event["worker"] == worker), default=0)
    return 0


def _connected(address: str, patience_s: float) -> Client:
    """A client of a cluster that somebody else runs.

    Raises:
        UserError: nobody answers there, or the connection is to be encrypted and cannot be.
    """
    try:
        _greet(address, patience_s)
        return Client(address, timeout=patience_s)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError, TypeError, RuntimeError) as error:
        if reason := _unencrypted(error):
            mend = f"name certificates that the scheduler knows: {TLS_VARIABLES}"
            raise UserError(f"no encrypted connection: {reason}", where=address, mend=mend) from error
        if isinstance(error, TypeError | RuntimeError):
            raise
        if address.startswith("tcp://") and _speaks_tls(address):
            mend = f"give tls://{address.removeprefix('tcp://')}, with certificates that it knows: {TLS_VARIABLES}"
            raise UserError("what answers there speaks TLS", where=address, mend=mend) from error
        raise UserError(
            "no Dask scheduler answers there", where=address, mend="start one (dask scheduler), or give another address"
        ) from error


def _speaks_tls(address: str) -> bool:
    """Whether what listens at an address takes encrypted connections. Only asked; nothing is sent over it."""
    asks = ssl.create_default_context()
    asks.check_hostname, asks.verify_mode = False, ssl.CERT_NONE
    try:
        place = urlsplit(address)
        with socket.create_connection((place.hostname or "", place.port or 8786), TLS_SECONDS) as plain:
            asks.wrap_socket(plain).close()
    except ssl.SSLError as error:  # one that asks for a certificate says so by an alert
        return "ALERT" in (error.reason or "")
    except (OSError, ValueError):
        return False
    return True


def _greet(address: str, patience_s: float) -> None:
    """Exchange greetings with a scheduler. A client waits for its answer for ever, where something else listens: its
    dashboard, a scheduler that wants encryption, a forwarded port with nobody behind it.
    """

    async def greet() -> None:
        comm: Any = await connect(address, patience_s, **Security().get_connection_args("client"))  # type: ignore[no-untyped-call]
        await comm.close()

    def run() -> None:
        asyncio.run(asyncio.wait_for(greet(), patience_s))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run()
        return
    with ThreadPoolExecutor(1) as thread:  # a notebook's loop runs in this one
        thread.submit(run).result()


def _await_worker(client: Client, address: str, patience_s: float) -> None:
    """Wait for the first worker: a cluster that grows on demand has none before somebody asks for work.

    Raises:
        UserError: none came.
    """
    if client.nthreads():  # type: ignore[no-untyped-call]
        return
    log.warning("%s has no workers: waiting up to %.0f s for the first", address, patience_s)
    progress = current()
    progress.start("workers", 1)
    asked = client.submit(int, pure=False)
    try:
        asked.result(timeout=patience_s)
    except TimeoutError:
        raise UserError("it has no workers", where=address, mend="start some: dask worker ADDRESS") from None
    progress.finish("workers")


def _unencrypted(error: BaseException) -> str:
    """Why no encrypted connection came about, in words; empty where an error is of something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause.reason or str(cause)
        if isinstance(cause, FileNotFoundError):
            return "a file of certificates is not there"
        if isinstance(cause, TypeError) and "TLS" in str(cause):
            return "no certificate is named"
        if isinstance(cause, RuntimeError) and "encryption" in str(cause):
            return "it has to be, and the address is of none"
        cause = cause.__cause__ or cause.__context__
    return ""


def cancellation() -> Callable[[], bool]:
    """Tells, from any thread, whether the Dask task that calls this has been cancelled; outside of Dask it never is."""
    try:
        worker = get_worker()
        key = worker.get_current_task()
    except ValueError:
        return lambda: False

    def is_cancelled() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "cancelled"

    return is_cancelled


def quieten() -> None:
    """Dask reports its own comings and goings at INFO on loggers that it sets up itself; ours is the ledger.

    It reports at ERROR what it raises too: a unit that fails, a scheduler that a client has lost, a scratch folder on
    a disk that is read-only.
    """
    for name in list(logging.root.manager.loggerDict):
        if name == "distributed" or name.startswith("distributed."):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("EventsWorker").setLevel(logging.ERROR)  # Prefect's; it warns where a run ends at once
    logging.getLogger("prefect._internal.concurrency").addFilter(_is_of_no_page)
    logging.getLogger("tornado.application").addFilter(_is_worth_telling)


def _is_of_no_page(record: logging.LogRecord) -> bool:
    """Whether a service of Prefect's fails at more than telling its pages: an interrupt while a private server still
    starts leaves events that nobody takes, told in red beside the one line.
    """
    return not record.getMessage().startswith("Service 'EventsWorker' failed")


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Whether a callback's failure is none of an interrupt: Dask's ``sync``, interrupted before its call has begun,
    fails over a variable of its own, beside the interrupt that is raised.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, NameError) and "free variable 'future'" in str(error))


@cache
def quieten_rasters() -> None:
    """Arrays and blocks that GDAL sees without their place are placed by us.

    rasterio silences its warning by a switch that threads share, so that now and then one gets through.
    """
    warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


@cache
def freeze_imports() -> None:
    """What this process has imported by now lives as long as it does: the collector of cyclic garbage passes it over.

    It would walk hundreds of thousands of objects again and again. From now on it collects as often as it always does.
    """
    gc.collect()
    gc.freeze()
    collect_as_usual()
