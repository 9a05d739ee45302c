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
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from flows.collector import SELDOM_OBJECTS
from schemas.errors import UserError

log = logging.getLogger(__name__)

START_SECONDS = 120.0
"""How long a private server may take to become healthy."""
EVENTS_SECONDS = 5.0
"""How long what a run has to tell may take to be sent at its end."""
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
def prefect_api(environment: Mapping[str, str], home: Path, wanted: str | None = None) -> Iterator[dict[str, str]]:
    """A healthy Prefect API, as the variables by which another process finds it; this one uses it where it is to
    import ``wanted``.

    Args:
        environment: the process's environment, which stays as it is; ``PREFECT_API_URL`` in it is used as it is.
        home: folder for a private server's database and log.
        wanted: module of the flow, imported while a private server starts: both take seconds.

    Raises:
        UserError: a private server did not become healthy, or has no folder.
    """
    configured = environment.get("PREFECT_API_URL")
    if configured:
        with _told_in_a_line(configured):
            yield {"PREFECT_API_URL": configured}
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        mend = "set XDG_CACHE_HOME to a folder that can be, or PREFECT_API_URL"
        what = f"the private Prefect server's folder cannot be made: {error.strerror}"
        raise UserError(what, where=str(home), mend=mend) from error
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    quiet = {name: value for name, value in QUIET.items() if name not in environment}
    variables = {**quiet, "PREFECT_HOME": str(home), "PREFECT_API_URL": url}
    log_path = home / "server.log"
    with log_path.open("ab") as stream:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(os.getpid()), "--factory", "prefect.server.api.server:create_app",
             "--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"],
            stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
            env={**environment, **variables, "PREFECT_API_URL": ""}, start_new_session=True,
        )  # fmt: skip
    try:
        with _imported(wanted, variables) if wanted is not None else contextlib.nullcontext():
            _wait_until_healthy(url, server, log_path)
            with _told_in_a_line(url):
                yield variables
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


_importing = threading.Lock()
"""Held while variables of this process are those of a private server."""


@contextlib.contextmanager
def _imported(wanted: str, variables: Mapping[str, str]) -> Iterator[None]:
    """A module, and Prefect's settings as these variables say, for who runs here: other threads of this process, which
    may build as well, have their own, and what comes later finds them as they were.

    Prefect reads the variables when it is imported, and again when it is told to.
    """
    with _importing:
        is_first = "prefect" not in sys.modules
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            importlib.import_module(wanted)
            context = importlib.import_module("prefect.context")
            settings = context.root_settings_context()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        if is_first and context.Settings().home.is_dir():  # else it would be made, in the user's folder
            context.refresh_global_settings_context()
    with settings:
        try:
            yield
        finally:
            told = threading.Thread(target=_tell_to_the_end, name="events", daemon=True)  # no loop runs in it
            told.start()
            told.join()


def _tell_to_the_end() -> None:
    """Have Prefect's client send what it still has while the server is there: it would try for minutes afterwards, and
    send what the next build of this process does to a server that is gone.
    """
    importlib.import_module("prefect.events.worker").EventsWorker.drain_all(timeout=EVENTS_SECONDS)


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


def private_home(environment: Mapping[str, str]) -> Path:
    """Folder for a private server of this process, under the user's cache folder."""
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "terraweft" / "prefect"
