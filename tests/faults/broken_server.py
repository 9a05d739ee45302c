"""A file server between a build and its scenes that breaks some of its answers, in every way that networks have."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.loopback import serving

STALL_S = 600.0
"""Longer than any client waits."""
KINDS = ("404", "403", "429", "500", "503", "stall", "reset", "cut", "wrong-range", "flip")


@dataclass
class Broken:
    """What the server does.

    Attributes:
        files: folder that it serves.
        url: its address.
        kind: one of `KINDS`; empty: nothing.
        share: of the answers for files that match.
        suffix: only addresses with this ending are touched.
        after: so many answers about them are whole first.
        most: so many answers are broken, then none.
        random: which ones.
    """

    files: Path
    url: str = ""
    kind: str = ""
    share: float = 1.0
    suffix: str = ".tif"
    after: int = 0
    most: int = 1_000_000
    random: random.Random = field(default_factory=lambda: random.Random(7))
    broken: int = 0
    lock: Any = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def breaks(self, path: str) -> str:
        """Kind of the fault that this answer gets; empty: none."""
        with self.lock:
            if not self.kind or not path.endswith(self.suffix) or self.broken >= self.most:
                return ""
            if self.after:
                self.after -= 1
                return ""
            if self.random.random() >= self.share:
                return ""
            self.broken += 1
            return self.kind


class _Handler(BaseHTTPRequestHandler):
    state: Broken
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        file = self.state.files / path.lstrip("/")
        fault = self.state.breaks(path)
        if fault in ("404", "403", "429", "500", "503") or not file.is_file():
            headers = {"Retry-After": "1"} if fault == "429" else {}
            self._respond(int(fault or 404), b"", headers, with_body)
            return
        if fault == "stall":
            self.state.over.wait(STALL_S)
            self.close_connection = True
            return
        data = file.read_bytes()
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            self._broken(fault, 200, data, {"Accept-Ranges": "bytes"}, with_body)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
        if begin >= len(data):
            self._respond(416, b"", {"Content-Range": f"bytes */{len(data)}"}, with_body)
            return
        shift = 64 if fault == "wrong-range" else 0
        place = f"bytes {begin + shift}-{end + shift}/{len(data)}"
        self._broken(fault, 206, data[begin : end + 1], {"Content-Range": place}, with_body)

    def _broken(self, fault: str, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        if fault == "flip" and len(body) > 8:
            changed = bytearray(body)
            for _ in range(4):
                changed[self.state.random.randrange(len(body) // 2, len(body))] ^= 0x5A
            body = bytes(changed)
        if fault in ("reset", "cut") and with_body:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault == "reset":  # linger of nothing: the kernel sends RST
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self._respond(status, body, headers, with_body)

    def _respond(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            return

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def broken(files: Path) -> Iterator[Broken]:
    """The server over a folder, on a port of its own."""
    state = Broken(files)
    handler = type("Handler", (_Handler,), {"state": state})
    with serving(handler) as state.url:
        try:
            yield state
        finally:
            state.over.set()


def until(what: str, is_there: Any, patience_s: float = 120.0) -> Any:
    """Wait for something; its value. A file of the sandbox's size is there for some milliseconds alone."""
    deadline = time.monotonic() + patience_s
    while not (value := is_there()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} in {patience_s:.0f} s")
        time.sleep(0.001)
    return value
