"""The Prefect API that a run talks to: the one that is configured, or a private one on loopback for the run's length.

Nothing here imports Prefect before the address is known.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import httpx

from flows.collector import SELDOM_OBJECTS
from schemas.errors import UserError

log = logging.getLogger(__name__)

START_SECONDS = 120.0
"""How long a private server may take to become healthy."""
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}
"""Settings of a private server and its client: no telemetry, no prompts, logs stay with the run, and nothing that looks
every few seconds for deployments, workers and pauses, of which there are none."""

SERVER = f"""
import ctypes, gc, os, runpy, signal, sys
gc.set_threshold({SELDOM_OBJECTS})
try:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
except (OSError, AttributeError):
    pass
if os.getppid() == int(sys.argv.pop(1)):
    runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)
"""
"""A server that ends with the process that started it, on Linux. It asks for that itself: a ``preexec_fn`` would run
Python's hooks of a fork here, which drop a Ctrl-C and leave the lock of logging held."""


@contextlib.contextmanager
def prefect_api(environment: MutableMapping[str, str], home: Path, wanted: str | None = None) -> Iterator[str]:
    """Address of a healthy Prefect API, put into ``environment`` too.

    Args:
        environment: the process's environment; ``PREFECT_API_URL`` in it is used as it is.
        home: folder for a private server's database and log.
        wanted: module of the flow, imported while a private server starts: both take seconds.

    Raises:
        UserError: a private server did not become healthy, or has no folder.
    """
    configured = environment.get("PREFECT_API_URL")
    if configured:
        with _told_in_a_line(configured):
            yield configured
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        mend = "set XDG_CACHE_HOME to a folder that can be, or PREFECT_API_URL"
        what = f"the private Prefect server's folder cannot be made: {error.strerror}"
        raise UserError(what, where=str(home), mend=mend) from error
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    for key, value in QUIET.items():
        environment.setdefault(key, value)
    environment["PREFECT_HOME"] = str(home)
    environment["PREFECT_API_URL"] = url
    log_path = home / "server.log"
    with log_path.open("ab") as stream:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(os.getpid()), "--factory", "prefect.server.api.server:create_app",
             "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"],
            stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
            env={**environment, "PREFECT_API_URL": ""}, start_new_session=True,
        )  # fmt: skip
    try:
        if wanted is not None:
            importlib.import_module(wanted)
        _wait_until_healthy(url, server, log_path)
        with _told_in_a_line(url):
            yield url
    finally:
        environment.pop("PREFECT_API_URL", None)
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextlib.contextmanager
def _told_in_a_line(url: str) -> Iterator[None]:
    """An API that goes away, as an error that a person can mend.

    Raises:
        UserError: it did not answer, or answered an error for so long that its client gave up.
    """
    try:
        yield
    except (httpx.HTTPError, RuntimeError) as error:  # Prefect tells its first tries as a RuntimeError, from the cause
        if not was_lost(error, url):
            raise
        raise UserError(
            "the Prefect API was lost",
            where=url,
            mend="start it (prefect server start), and run the same command again: what is finished is used",
        ) from error


def was_lost(error: BaseException, url: str) -> bool:
    """Whether an error is of the API at an address: it did not answer, or answered an error for too long."""
    return bool(url) and any(_asked(one).startswith(url) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _asked(error: BaseException) -> str:
    """The address that an error of a request is about; empty where it is none, or does not know."""
    try:
        return str(error.request.url) if isinstance(error, httpx.HTTPError) else ""
    except RuntimeError:
        return ""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            opener.open(f"{url}/health", timeout=2) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise UserError(
        "the private Prefect server did not start",
        where=str(log_path),
        mend="read that log, or set PREFECT_API_URL",
    )


def private_home(environment: MutableMapping[str, str]) -> Path:
    """Folder for a private server of this process, under the user's cache folder."""
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "terraweft" / "prefect"
