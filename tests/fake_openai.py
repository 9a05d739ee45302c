"""A chat-completions server for tests: real HTTP on loopback, answers from a function, faults on demand.

It counts what it was asked and what it answered, so that a test can say how often an answer was paid for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    ``status``: an HTTP error. ``stall``: no answer until the server closes. ``reset``: the connection is cut.
    ``length``, ``refusal``, ``broken``, ``html``, ``no_usage``: an answer (200) that is no good, or says no usage.
    """

    kind: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "fault"


class FakeOpenAI:
    """A server; use it as a context manager.

    Args:
        answer: request -> content of the message.
        faults: what goes wrong with the first, second, ... request; None: nothing.
        model: name that answers carry.
    """

    def __init__(
        self, answer: Callable[[Request], str], faults: list[Fault | None] | None = None, model: str = "fake-1"
    ) -> None:
        self.answer, self.faults, self.model = answer, list(faults or []), model
        self.requests: list[Request] = []
        self.request_headers: list[dict[str, str]] = []
        self.arrived = threading.Event()
        self.answered = 0
        self.tokens_in = self.tokens_out = 0
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer._serve(self, json.loads(self.rfile.read(length)))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def base_url(self) -> str:
        """Root for a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            self.request_headers.append({name.lower(): value for name, value in handler.headers.items()})
            number = len(self.requests)
            self.arrived.set()
            fault = self.faults[number - 1] if number <= len(self.faults) else None
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self._respond(handler, request, number, fault)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _respond(self, handler: BaseHTTPRequestHandler, request: Request, number: int, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        if kind == "stall":
            self._closing.wait(30)
        if kind in ("stall", "reset"):
            handler.close_connection = True
            handler.connection.close()
            return
        if fault is not None and kind == "status":
            error = {"error": {"message": fault.message, "type": "fake", "code": None, "param": None}}
            self._send(handler, fault.status, json.dumps(error).encode(), fault.headers)
            return
        if kind == "html":
            with self._lock:
                self.answered += 1
            self._send(handler, 200, b"<html>gateway</html>", {"content-type": "application/json"})
            return
        message: dict[str, Any] = {"role": "assistant", "content": self.answer(request), "refusal": None}
        finish = "stop"
        if kind == "length":
            message["content"], finish = message["content"][: len(message["content"]) // 2], "length"
        if kind == "broken":
            message["content"] = message["content"][:-2]
        if kind == "refusal":
            message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
        tokens = (len(json.dumps(request["messages"])) // 4, len(message["content"] or "") // 4 + 1)
        body: dict[str, Any] = {
            "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1_700_000_000, "model": self.model,
            "choices": [{"index": 0, "finish_reason": finish, "message": message, "logprobs": None}],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
        }  # fmt: skip
        if kind == "no_usage":
            del body["usage"]
        with self._lock:
            self.answered += 1
            self.tokens_in, self.tokens_out = self.tokens_in + tokens[0], self.tokens_out + tokens[1]
        headers = {"x-request-id": f"req-{number}", "x-ratelimit-remaining-requests": "99", "set-cookie": "secret=1"}
        self._send(handler, 200, json.dumps(body).encode(), headers)

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        try:
            handler.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True
