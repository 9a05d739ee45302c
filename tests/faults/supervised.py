"""The processes that a build computes on and reports to, started again where they died, as a supervisor would."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.broken_server import until

WORKERS = 2


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """Prefect's API over a database that outlives it, always at one address.

    Attributes:
        folder: for its log and, where `database` is empty, its SQLite file.
        database: address of its database.
    """

    folder: Path
    environment: Mapping[str, str]
    database: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``PREFECT_API_URL``."""
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Start it where it does not run, and wait until it is healthy."""
        if self.process is not None and self.process.poll() is None:
            return
        settings = {**self.environment, "PREFECT_HOME": str(self.folder), "PREFECT_API_URL": ""}
        if self.database:
            settings["PREFECT_API_DATABASE_CONNECTION_URL"] = self.database
        with (self.folder / "prefect.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app",
                 "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "error", "--lifespan", "on"],
                env=settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until("Prefect server", self._is_healthy)

    def stop(self) -> None:
        """End it without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _is_healthy(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


@dataclass
class Cluster:
    """A Dask scheduler and its workers."""

    folder: Path
    port: int = field(default_factory=free_port)
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return f"tcp://127.0.0.1:{self.port}"

    def start(self) -> None:
        """What does not run is started."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self._end(self.workers)
            self.workers = []
            self.scheduler = self._spawn("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
            until("scheduler", self._listens)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < WORKERS:
            limits = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--no-nanny"]
            place = ["--local-directory", str(self.folder)]
            self.workers.append(self._spawn("worker", self.address, *limits, *place))

    def stop(self) -> None:
        """End all."""
        self._end([*self.workers, *([self.scheduler] if self.scheduler else [])])

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _spawn(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{kind}.log").open("ab") as log:
            command = [sys.executable, "-m", "distributed.cli.dask_" + kind, *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _end(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@dataclass
class Site:
    """What a build needs beside its sources: a cluster and an API."""

    cluster: Cluster
    server: Server

    def start(self) -> None:
        """What does not run is started."""
        self.server.start()
        self.cluster.start()

    def stop(self) -> None:
        """End all."""
        self.cluster.stop()
        self.server.stop()

    def kill(self, target: str) -> None:
        """``kill -9`` of a worker, the scheduler or the API's server."""
        victim = {
            "worker": self.cluster.workers[0],
            "scheduler": self.cluster.scheduler,
            "server": self.server.process,
        }[target]
        assert victim is not None
        victim.kill()
        victim.wait()
