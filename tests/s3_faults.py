"""A proxy before an S3 server on loopback that fails on demand: errors, slow-downs, answers that are lost."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.loopback import serving

ERROR = b"<Error><Code>InternalError</Code><Message>Please try again.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: str
    payer: str
    """What ``x-amz-request-payer`` said."""


Rule = Callable[[Asked], str]
"""What is done with a request: "" (passed on), 500, 503, ``refused`` (403), ``lost`` (done, but the answer is a 500),
``cut``."""


@dataclass
class FaultyS3:
    """The proxy."""

    target: str
    url: str = ""
    rule: Rule = lambda asked: ""
    asked: list[Asked] = field(default_factory=list)
    injected: list[tuple[str, Asked]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def first(self, times: int, what: str, matches: Callable[[Asked], bool]) -> None:
        """Do something with the first requests of each address that match."""
        seen: dict[tuple[str, str, str], int] = {}

        def rule(asked: Asked) -> str:
            key = (asked.method, asked.path, asked.query)
            if not matches(asked) or seen.get(key, 0) >= times:
                return ""
            seen[key] = seen.get(key, 0) + 1
            return what

        self.rule = rule


@contextmanager
def faulty_s3(target: str) -> Iterator[FaultyS3]:
    """A proxy before the server at an address."""
    state = FaultyS3(target)
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            asked = Asked(self.command, path, query, self.headers.get("x-amz-request-payer", ""))
            with state.lock:
                what = state.rule(asked)
                state.asked.append(asked)
                if what:
                    state.injected.append((what, asked))
            if what == "cut":
                self.close_connection = True
                return
            if what in ("500", "503", "refused"):
                status, body = {"500": (500, ERROR), "503": (503, SLOW_DOWN), "refused": (403, DENIED)}[what]
                self.respond(status, {}, body)
                return
            upstream = http.client.HTTPConnection(host, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            upstream.request(self.command, self.path, body, headers | {"Host": host})
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            if what == "lost":
                self.respond(500, {}, ERROR)
                return
            dropped = ("transfer-encoding", "connection", "content-length", "date", "server")
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in dropped}
            self.respond(answer.status, kept, content, answer.getheader("Content-Length"))

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def respond(self, status: int, headers: dict[str, str], body: bytes, length: str | None = None) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            head_only = self.command == "HEAD"
            self.send_header("Content-Length", (length or "0") if head_only else str(len(body)))
            self.end_headers()
            if not head_only:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with serving(Handler) as state.url:
        yield state
