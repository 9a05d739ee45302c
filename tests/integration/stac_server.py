"""stac-fastapi-pgstac on a PostgreSQL of its own: started, filled and ended by the test session."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 60.0


@contextmanager
def pgstac(
    programs: Path, python: Path, collections: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Root address of a server that holds these collections and items.

    Args:
        programs: folder of PostgreSQL's programs.
        python: interpreter of the server's own environment.
        collections: STAC collections.
        items: STAC items.
    """
    folder = Path(tempfile.mkdtemp(prefix="terraweft-pgstac-", dir="/tmp"))  # PostgreSQL's user must reach it
    try:
        with _postgres(programs, folder) as port:
            settings = _settings(port)
            dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            _run([python, "-m", "pypgstac.pypgstac", "--dsn", dsn, "migrate"], settings)
            for kind, rows in (("collections", collections), ("items", items)):
                path = folder / f"{kind}.ndjson"
                path.write_text("\n".join(json.dumps(row) for row in rows))
                _run(
                    [python, "-m", "pypgstac.pypgstac", "--dsn", dsn, "load", kind, path, "--method", "insert"],
                    settings,
                )
            with _server(python, folder, settings) as url:
                yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _postgres(programs: Path, folder: Path) -> Iterator[int]:
    """Port of a fresh PostgreSQL; PostgreSQL does not run as root, so then its own user runs it."""
    user = "postgres" if os.getuid() == 0 else None
    if user:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data, port = folder / "data", free_port()
    as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=40"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync"],
        check=True, capture_output=True, cwd=folder, **as_user,
    )  # fmt: skip
    start = [programs / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "postgres.log", "-o", options, "start"]
    subprocess.run(start, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user)
    try:
        yield port
    finally:
        stop = [programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"]
        subprocess.run(stop, check=False, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user)


@contextmanager
def _server(python: Path, folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [python, "-m", "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"],
            stdout=log, stderr=log, env=dict(settings), cwd=folder,
        )  # fmt: skip
    try:
        _await(url, process, folder / "server.log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_mgmt/ping", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"the STAC server did not start:\n{log.read_text()[-2000:]}")


def _settings(port: int) -> dict[str, str]:
    database = {"PGUSER": "postgres", "PGPASSWORD": "unused", "PGHOST": "127.0.0.1", "PGPORT": str(port)}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "PYTHON"))}
    return kept | database | {"PGDATABASE": "postgres", "DB_MIN_CONN_SIZE": "1", "DB_MAX_CONN_SIZE": "4"}


def _run(command: Sequence[object], settings: Mapping[str, str]) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=dict(settings), check=False)
    if done.returncode:
        raise RuntimeError(f"{command[2:]} failed:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
