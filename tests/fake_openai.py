"""A chat-completions server for tests and benchmarks: real HTTP on loopback, answers from a function, faults on demand.

Chat completions, files and batches, rate limits with their headers, keys. Faults come from a list (the first,
second, ... call) or at stated rates, drawn from the request itself, so that the order of arrival changes nothing. It
counts what it was asked and what it would bill, so that a test can say how often an answer was paid for.

In a test: ``with FakeOpenAI(answer) as server: ... server.base_url``. As a process of its own, for kills and
benchmarks: ``python -m tests.fake_openai --port-file FILE``; ``GET /stats`` tells its counts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fake_openai_batches import Batches
from tests.minds import Mind

Request = dict[str, Any]
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    ``status``: an HTTP error. ``stall``: no answer until the server closes. ``reset``: the connection is cut.
    ``truncated``: the body stops half way. ``length``, ``thoughts``, ``refusal``, ``broken``, ``html``, ``schema``,
    ``no_usage``: an answer (200) that is no good, or says no usage.
    """

    kind: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "fault"
    code: str | None = None


AT_RATES: dict[str, Fault] = {
    "429": Fault("status", 429, {"retry-after-ms": "40"}, "rate limit reached"),
    "500": Fault("status", 500),
    **{kind: Fault(kind) for kind in ("stall", "reset", "truncated", "length", "refusal", "broken", "html", "schema")},
}
"""Faults that may come at a stated rate."""
ON_THE_WAY = ("429", "500", "stall", "reset", "truncated")
"""Those of them that a second attempt may be spared."""


@dataclass
class Allowance:
    """Requests and tokens that a server takes in a window; it says what is left and refuses what is too much."""

    requests: int = 10_000
    tokens: int = 50_000_000
    window_s: float = 60.0
    _ends: float = 0.0
    _left: dict[str, int] = field(default_factory=dict)

    def take(self, tokens: int) -> tuple[bool, dict[str, str]]:
        """Whether a request is taken, and the headers that say how things stand."""
        now = time.monotonic()
        if now >= self._ends:
            self._ends, self._left = now + self.window_s, {"requests": self.requests, "tokens": self.tokens}
        taken = self._left["requests"] > 0 and self._left["tokens"] >= tokens
        if taken:
            self._left["requests"] -= 1
            self._left["tokens"] -= tokens
        reset = f"{self._ends - now:.3f}s"
        headers = {"retry-after": f"{self._ends - now:.3f}"} if not taken else {}
        for name in ("requests", "tokens"):
            headers |= {f"x-ratelimit-remaining-{name}": str(self._left[name]), f"x-ratelimit-reset-{name}": reset}
        return taken, headers


class FakeOpenAI:
    """A server; use it as a context manager.

    Args:
        answer: request -> content of the message.
        faults: what goes wrong with the first, second, ... chat completion; None: nothing.
        model: name that answers carry.
        rates: fault of `AT_RATES` -> share of requests that it befalls.
        service_s: seconds that an answer takes.
        slots: answers made at once; others wait. 0: any number.
        allowance: requests and tokens per window.
        key: the only key that is let in; None: any.
        takes: request -> what the server cannot do about it (HTTP 400, or the status given with it), or nothing.
        batches: what becomes of the first, second, ... batch: completed, expired, failed, partial, limit.
    """

    def __init__(
        self,
        answer: Callable[[Request], str],
        faults: list[Fault | None] | None = None,
        model: str = "fake-1",
        *,
        rates: Mapping[str, float] | None = None,
        service_s: float = 0.0,
        slots: int = 0,
        allowance: Allowance | None = None,
        key: str | None = None,
        takes: Callable[[Request], str | tuple[int, str]] = lambda request: "",
        batches: list[str] | None = None,
        port: int = 0,
    ) -> None:
        self.answer, self.faults, self.model = answer, list(faults or []), model
        self.rates, self.service_s, self.slots = dict(rates or {}), service_s, slots
        self.allowance, self.key, self.takes, self._port = allowance, key, takes, port
        self.requests: list[Request] = []
        self.request_headers: list[dict[str, str]] = []
        self.arrived = threading.Event()
        self.answered = 0
        self.billed: Counter[str] = Counter()
        self.faulted: Counter[str] = Counter()
        self.tokens_in = self.tokens_out = 0
        self.in_flight = self.most_in_flight = 0
        self.keeps = True
        self.files = Batches(self._batch_line, batches or [])
        self._seen: Counter[str] = Counter()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def base_url(self) -> str:
        """Root for a client."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def stats(self) -> dict[str, Any]:
        """Counts for another process."""
        return {
            "requests": self._number, "answered": self.answered, "distinct": len(self.billed),
            "duplicates": sum(self.billed.values()) - len(self.billed), "faulted": dict(self.faulted),
            "tokens_in": self.tokens_in, "tokens_out": self.tokens_out, "most_in_flight": self.most_in_flight,
        }  # fmt: skip

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._closing, self._number = asyncio.get_running_loop(), asyncio.Event(), 0
        self._gate = asyncio.Semaphore(self.slots) if self.slots else None
        self._writers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._port, backlog=1024, limit=1 << 26)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._closing.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request of a connection; False where it is over."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if ": " in line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}" and path != "/stats":
            said = headers.get("authorization", "nothing")
            return self._send(writer, 401, {"error": {"message": f"Incorrect API key provided: {said}"}})
        if path == "/v1/chat/completions":
            return await self._chat(writer, json.loads(body), body, headers)
        if path == "/stats":
            return self._send(writer, 200, self.stats())
        status, content = self.files.serve(method, path, headers, body)
        return self._send(writer, status, content)

    async def _chat(self, writer: asyncio.StreamWriter, request: Request, raw: bytes, headers: dict[str, str]) -> bool:
        self._number += 1
        number, digest = self._number, hashlib.sha256(raw).hexdigest()
        if self.keeps:
            self.requests.append(request)
            self.request_headers.append(headers)
        self.arrived.set()
        fault = self.faults[number - 1] if number <= len(self.faults) else self._drawn(digest)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self._gate is None:
                return await self._respond(writer, request, number, fault, digest)
            async with self._gate:
                return await self._respond(writer, request, number, fault, digest)
        finally:
            self.in_flight -= 1

    def _drawn(self, digest: str) -> Fault | None:
        """The fault that befalls a request, drawn from its content: on the way by how often it has come, too; a bad
        answer is the model's, and comes again."""
        self._seen[digest] += 1
        way, mind = random.Random(f"{digest}/{self._seen[digest]}").random(), random.Random(digest).random()
        for kind, rate in self.rates.items():
            on_the_way = kind in ON_THE_WAY
            if (way if on_the_way else mind) < rate:
                self.faulted[kind] += 1
                return AT_RATES[kind]
            way, mind = (way - rate, mind) if on_the_way else (way, mind - rate)
        return None

    async def _respond(
        self, writer: asyncio.StreamWriter, request: Request, number: int, fault: Fault | None, digest: str
    ) -> bool:
        kind = fault.kind if fault else ""
        limits = {"x-ratelimit-remaining-requests": "99"}
        if fault is not None and kind == "status":
            error = {"message": fault.message, "type": "fake", "code": fault.code, "param": None}
            return self._send(writer, fault.status, {"error": error}, fault.headers)
        if problem := self.takes(request):
            status, message = problem if isinstance(problem, tuple) else (400, problem)
            return self._send(writer, status, {"error": {"message": message, "type": "invalid_request_error"}})
        if self.allowance is not None:
            taken, limits = self.allowance.take(len(json.dumps(request["messages"])) // 4)
            if not taken:
                self.faulted["allowance"] += 1
                return self._send(writer, 429, {"error": {"message": "rate limit reached"}}, limits)
        if kind == "reset":
            writer.transport.abort()
            return False
        self.billed[digest] += 1
        if kind == "stall":
            await self._closing.wait()
            return False
        if self.service_s:
            await asyncio.sleep(self.service_s)
        if kind == "html":
            self.answered += 1
            return self._send(writer, 200, b"<html>gateway</html>")
        body = self._completion(request, number, kind)
        data = json.dumps(body).encode()
        if kind == "truncated":
            self._send(writer, 200, data[: len(data) // 2], length=len(data))
            await writer.drain()
            writer.close()
            return False
        self.answered += 1
        return self._send(writer, 200, data, {"x-request-id": f"req-{number}", **limits, "set-cookie": "secret=1"})

    def _completion(self, request: Request, number: int, kind: str = "") -> Request:
        """The body of an answer."""
        message: Request = {"role": "assistant", "content": self.answer(request), "refusal": None}
        finish = "stop"
        if kind == "length":
            message["content"], finish = message["content"][: len(message["content"]) // 2], "length"
        if kind == "thoughts":
            message |= {"content": None, "reasoning_content": "The scene holds"}
            finish = "length"
        if kind == "broken":
            message["content"] = message["content"][:-2]
        if kind == "schema":
            message["content"] = json.dumps({"caption": "The scene is green.", "confidence": 0.9})
        if kind == "refusal":
            message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
        tokens = (len(json.dumps(request["messages"])) // 4, len(message["content"] or "") // 4 + 1)
        self.tokens_in, self.tokens_out = self.tokens_in + tokens[0], self.tokens_out + tokens[1]
        body: Request = {
            "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1_700_000_000, "model": self.model,
            "choices": [{"index": 0, "finish_reason": finish, "message": message, "logprobs": None}],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens),
                      "prompt_tokens_details": {"cached_tokens": 0}},
        }  # fmt: skip
        if kind == "no_usage":
            del body["usage"]
        return body

    def _batch_line(self, request: Request) -> Request:
        """The answer to a request of a batch."""
        self._number += 1
        self.billed[hashlib.sha256(json.dumps(request).encode()).hexdigest()] += 1
        self.answered += 1
        if self.keeps:
            self.requests.append(request)
        return self._completion(request, self._number)

    def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        content: bytes | Request,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> bool:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append(f"content-length: {len(data) if length is None else length}")
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data)
        return True


def main() -> None:
    """The server as a process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--service-ms", type=float, default=0.0)
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--rates", type=json.loads, default={})
    parser.add_argument("--lies", type=json.loads, default={})
    parser.add_argument("--batches", type=json.loads, default=[])
    given = parser.parse_args()
    server = FakeOpenAI(
        Mind(given.lies), rates=given.rates, service_s=given.service_ms / 1000, slots=given.slots, port=given.port,
        batches=given.batches,
    )  # fmt: skip
    server.keeps = False
    with server:
        if given.port_file:
            temporary = given.port_file.with_suffix(".tmp")
            temporary.write_text(server.base_url)
            temporary.rename(given.port_file)
        threading.Event().wait()


if __name__ == "__main__":
    main()
