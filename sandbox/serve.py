"""Serves a sandbox on loopback: its files with byte ranges, and its items behind a STAC API.

Both servers are existing packages: Starlette under uvicorn for files, ``rustac serve`` for the API. A supervising
process holds them and ends them when its standard input closes, which happens however the parent ends.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_SECONDS = 20.0
"""How long servers may take to answer."""

PR_SET_PDEATHSIG = 1

Message = MutableMapping[str, Any]


class SandboxServer:
    """A context manager that serves ``root`` and tells where.

    Args:
        root: a sandbox that :func:`sandbox.products.write_sandbox` made.

    Raises:
        FileNotFoundError: ``root`` holds no complete sandbox.
        RuntimeError: a server did not come up; its log is named.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self.stac_url = ""
        self.files_url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None

    @property
    def access_log(self) -> Path:
        """One line per request to the file server: method, path, status, bytes sent, range asked for."""
        return self.root / "logs" / f"files-{self._port(self.files_url)}.log"

    @staticmethod
    def _port(url: str) -> str:
        return url.rstrip("/").rsplit(":", 1)[-1]

    def __enter__(self) -> SandboxServer:
        if not (self.root / "sandbox.json").exists():
            raise FileNotFoundError(f"{self.root} holds no complete sandbox")
        (self.root / "logs").mkdir(exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix="sandbox-serve-"))
        for attempt in range(3):
            files_port, stac_port = _free_ports(2)
            self.files_url, self.stac_url = f"http://{HOST}:{files_port}", f"http://{HOST}:{stac_port}"
            documents = _rewritten(self.root / "stac", self.files_url, self._scratch)
            self._start(files_port, stac_port, documents)
            if self._await_health():
                return self
            self._stop()
            log.warning("sandbox servers did not answer, attempt %d; see %s", attempt + 1, self.root / "logs")
        raise RuntimeError(f"the sandbox servers did not start: see {self.root / 'logs'}")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self, files_port: int, stac_port: int, documents: list[Path]) -> None:
        command = [
            sys.executable,
            "-m",
            "sandbox.serve",
            str(self.root),
            str(files_port),
            str(stac_port),
            *map(str, documents),
        ]
        with (self.root / "logs" / f"servers-{files_port}.log").open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                cwd=Path(__file__).resolve().parent.parent,
            )

    def _await_health(self) -> bool:
        """Whether both servers answer within :data:`START_SECONDS`."""
        deadline = time.monotonic() + START_SECONDS
        waiting = [f"{self.files_url}/health", f"{self.stac_url}/"]
        while waiting and time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            if _answers(waiting[0]):
                waiting.pop(0)
            else:
                time.sleep(0.03)
        return not waiting

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _rewritten(stac: Path, files_url: str, folder: Path) -> list[Path]:
    """Copies of collections and items with absolute hrefs; collections first."""
    out = []
    for path in sorted((stac / "collections").glob("*.json")):
        target = folder / path.name
        shutil.copyfile(path, target)
        out.append(target)
    for path in sorted(stac.glob("*.ndjson")):
        features = []
        for line in path.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            for asset in one["assets"].values():
                asset["href"] = f"{files_url}/{asset['href']}"
            features.append(one)
        target = folder / f"{path.stem}.items.json"
        target.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
        out.append(target)
    return out


def write_ndjson(root: Path, files_url: str) -> Path:
    """Collections and items with the addresses that the files have elsewhere, a line each: what pypgstac loads.

    Args:
        root: a sandbox.
        files_url: where somebody serves ``root/files``.

    Returns:
        The folder with ``collections.ndjson`` and ``items.ndjson``.
    """
    folder = root / "ndjson"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        documents = [json.loads(path.read_text()) for path in _rewritten(root / "stac", files_url, Path(scratch))]
    rows = {
        "collections": [one for one in documents if one["type"] == "Collection"],
        "items": [item for one in documents if one["type"] == "FeatureCollection" for item in one["features"]],
    }
    for kind, found in rows.items():
        (folder / f"{kind}.ndjson").write_text("".join(f"{json.dumps(one)}\n" for one in found), encoding="utf-8")
    return folder


def file_app(root: Path, record: Callable[[str], object]) -> Any:
    """An ASGI application that serves ``root/files`` with ranges and records every request."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    async def health(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    inner = Starlette(routes=[Route("/health", health), Mount("/", StaticFiles(directory=root / "files"))])

    async def application(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        status, sent = 0, 0

        async def counted(message: Message) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        await inner(scope, receive, counted)
        asked = dict(scope["headers"]).get(b"range", b"-").decode("latin-1")
        if scope["path"] != "/health":
            record(f"{scope['method']} {scope['path']} {status} {sent} {asked}\n")

    return application


def _supervise(root: Path, files_port: int, stac_port: int, documents: list[str]) -> None:
    """Runs both servers until standard input closes."""
    import uvicorn

    rustac = shutil.which("rustac", path=os.pathsep.join([sysconfig.get_path("scripts"), os.defpath])) or "rustac"
    api = subprocess.Popen(
        [rustac, "serve", "--addr", f"{HOST}:{stac_port}", *documents],
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    with (root / "logs" / f"files-{files_port}.log").open("a", buffering=1, encoding="utf-8") as access:
        config = uvicorn.Config(
            file_app(root, access.write),
            host=HOST,
            port=files_port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=30,
        )
        server = uvicorn.Server(config)

        def watch() -> None:
            sys.stdin.buffer.read()
            server.should_exit = True

        threading.Thread(target=watch, daemon=True).start()
        try:
            server.run()
        finally:
            api.terminate()
            try:
                api.wait(timeout=2)
            except subprocess.TimeoutExpired:
                api.kill()


def _die_with_parent() -> None:
    """In the child before exec: be killed when the supervisor dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Entry point of the supervising process."""
    parser = argparse.ArgumentParser(prog="sandbox.serve")
    parser.add_argument("root", type=Path)
    parser.add_argument("files_port", type=int)
    parser.add_argument("stac_port", type=int)
    parser.add_argument("documents", nargs="*")
    given = parser.parse_args()
    _supervise(given.root, given.files_port, given.stac_port, given.documents)


if __name__ == "__main__":
    main()
