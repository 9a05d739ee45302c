"""A cluster that is lost under a build ends it in one line, which says that nothing finished is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client

from flows import cluster, runs
from flows.cluster import dask_client
from flows.runs import spread
from schemas.errors import UserError
from tests.dask_cluster import own_cluster


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler in a process of its own, with a worker."""
    file = tmp_path / "scheduler.json"
    alone = ["--no-dashboard", "--scheduler-file", str(file)]
    with ExitStack() as ends:
        processes = []
        for kind, options in (("scheduler", ["--host", "127.0.0.1", "--port", "0"]), ("worker", ["--no-nanny"])):
            command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *alone, *options]
            processes.append(
                ends.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path))
            )
            ends.callback(processes[-1].kill)
        with Client(scheduler_file=str(file), timeout=60) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(1)
            address = client.scheduler.address
        yield processes[0], address


def test_a_scheduler_that_dies_is_one_line(
    scheduler: tuple[subprocess.Popen[str], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process, address = scheduler

    def build() -> None:
        with dask_client(address, 1, tmp_path) as client:
            kill = (os.kill, process.pid, signal.SIGKILL)
            spread(client, "read", lambda unit, **where: client.submit(*kill), [1], int, 0)

    with pytest.raises(UserError, match=r"lost.*run the same command again"):
        build()
    assert capfd.readouterr().err == ""


def test_a_cluster_is_found_from_within_a_loop_that_runs(tmp_path: Path) -> None:
    """As that of a notebook does; a second one was to be run in the same thread."""
    with own_cluster(1, host="127.0.0.1", silence_logs=50) as theirs:
        address = theirs.scheduler_address

        async def cell() -> int:
            with dask_client(address, 1, tmp_path) as client:
                return len(client.nthreads())  # type: ignore[no-untyped-call]

        assert asyncio.run(cell()) == 1


def test_a_unit_that_kills_its_workers_is_one_line(tmp_path: Path) -> None:
    with own_cluster(1, host="127.0.0.1", silence_logs=50) as theirs:
        address = theirs.scheduler_address

        def build() -> None:
            with dask_client(address, 1, tmp_path) as client:
                spread(client, "read", lambda unit, **where: client.submit(os._exit, unit, retries=0), [1], int, 0)

        with pytest.raises(UserError, match="workers died"):
            build()


def test_workers_that_hold_more_than_they_may_are_one_line_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were to be given more memory, which a build's own workers cannot be."""
    monkeypatch.setattr(cluster, "MEMORY_PER_WORKER", "400MB")

    def hold() -> None:
        held = b"x" * 500_000_000
        time.sleep(60)
        assert held

    def build() -> None:
        with dask_client(None, 1, tmp_path) as client:
            spread(client, "read", lambda unit, **where: client.submit(hold), [1], int, 0)

    at_once = dask.config.set({"distributed.scheduler.allowed-failures": 0})
    with at_once, pytest.raises(UserError, match=r"1 workers died .* when it held \d{3} MB \(.*grid.tile_chips"):
        build()


def hold_for_good(size: int) -> int:
    """A worker's process holds so many bytes from now on."""
    cluster.HELD = b"x" * size  # type: ignore[attr-defined]
    return size


def test_a_worker_near_its_limit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask let it pause at four fifths until it spilled something, which it never could: the build stood still."""
    monkeypatch.setattr(cluster, "MEMORY_PER_WORKER", "1000MB")
    with dask_client(None, 1, tmp_path) as client:
        (held,) = client.run(lambda: psutil.Process().memory_info().rss).values()
        size = 870_000_000 - held
        assert client.submit(hold_for_good, size).result(timeout=30) == size
        time.sleep(0.5)  # it looks every 100 ms
        assert client.submit(abs, -1).result(timeout=30) == 1


def test_workers_of_this_machine_that_dask_gave_up_are_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "TELL_AFTER_S", 1.0)
    soon = {"distributed.deploy.lost-worker-timeout": "1s"}
    with dask.config.set(soon), dask_client(None, 1, tmp_path) as client:
        (nanny,) = client.cluster.workers.values()
        client.cluster.sync(nanny.close)
        found = spread(client, "read", lambda unit, **where: client.submit(abs, unit), [-1, -2], int, 0)
    assert found == {-1: 1, -2: 2}


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process by a signal")
def test_a_worker_that_is_stopped_is_named_until_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The build waited for it without a word."""
    monkeypatch.setattr(runs, "TELL_AFTER_S", 0.2)
    with dask_client(None, 1, tmp_path) as client:
        (process,) = client.run(os.getpid).values()
        stop = threading.Timer(0.5, os.kill, (process, signal.SIGSTOP))
        go_on = threading.Timer(2, os.kill, (process, signal.SIGCONT))
        for timer in (stop, go_on):
            timer.start()
        spread(client, "read", lambda unit, **where: client.submit(time.sleep, unit), [1.5], int, 0)
    said = [one for one in caplog.messages if "stopped" in one]
    assert said == [f"read: worker {process} is stopped: waiting until it goes on (kill -CONT {process})"]
