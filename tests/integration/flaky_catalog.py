"""A proxy before a STAC API that throttles, fails, forgets tokens, loses, doubles and cuts, at stated rates."""

from __future__ import annotations

import json
import random
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from sources.openers import PlainOpener
from tests.loopback import serving

FAULTS = ("throttle", "error", "expire", "lose", "empty", "cut", "reset", "double")


@dataclass
class Flaky:
    """What the proxy does, and how often it did it."""

    upstream: str
    rates: Mapping[str, float]
    seed: int
    needs_token: bool = True
    url: str = ""
    token: int = 0
    matched: dict[str, int] = field(default_factory=dict)
    """Search -> how many items it has."""
    last: dict[str, Any] = field(default_factory=dict)
    """Search -> last item of the page before."""
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.lock = threading.Lock()

    def draw(self, faults: tuple[str, ...]) -> str:
        """The fault of a request, or none."""
        with self.lock:
            for fault in faults:
                if self.random.random() < self.rates.get(fault, 0.0):
                    self.done[fault] += 1
                    return fault
        return ""


class TokenOpener(PlainOpener):
    """Carries the proxy's token, and fetches another when told that it is refused."""

    def __init__(self, flaky: Flaky) -> None:
        super().__init__(allow_local=True)
        object.__setattr__(self, "flaky", flaky)
        object.__setattr__(self, "held", "")

    def headers(self, href: str) -> Mapping[str, str]:
        if not self.held:
            with urllib.request.urlopen(f"{self.flaky.url}/token", timeout=5) as answer:
                object.__setattr__(self, "held", answer.read().decode())
        return {"Authorization": f"Bearer {self.held}"}

    def refresh(self, href: str) -> None:
        object.__setattr__(self, "held", "")


@contextmanager
def flaky_catalog(upstream: str, seed: int, needs_token: bool = True, **rates: float) -> Iterator[Flaky]:
    """The proxy of an API; pages are a fiftieth of what is asked for, so that a few items fill several."""
    state = Flaky(upstream, rates, seed, needs_token)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def answer(self, body: bytes) -> None:
            if self.path == "/token":
                self.respond(200, str(state.token).encode())
                return
            if state.draw(("expire",)):
                with state.lock:
                    state.token += 1
            if state.needs_token and self.headers.get("Authorization") != f"Bearer {state.token}":
                self.respond(401, b"{}")
                return
            is_search = self.path.startswith("/search")
            of_pages = ("lose", "empty", "double") if is_search else ()
            fault = state.draw(("throttle", "error", "reset", "cut", *of_pages))
            if fault == "throttle":
                self.respond(429, b"{}", {"Retry-After": "7"})
            elif fault == "error":
                self.respond(state.random.choice((500, 502, 503, 504)), b"oops")
            elif fault == "reset":
                self.close_connection = True
                self.connection.close()
            else:
                content = self.ask(body, is_search)
                if is_search:
                    asked = {key: value for key, value in json.loads(body or b"{}").items() if key != "token"}
                    search = json.dumps(asked, sort_keys=True)
                    page = json.loads(content) | {"numberMatched": self.count(search)}
                    before, state.last[search] = state.last.get(search), page["features"][-1:]
                    if fault == "lose":
                        page["links"] = [link for link in page.get("links", ()) if link["rel"] != "next"]
                    elif fault == "empty":
                        page["features"] = []
                    elif fault == "double":
                        page["features"] = [*(before or page["features"][:1]), *page["features"]]
                    content = json.dumps(page).encode()
                self.respond(200, content[: len(content) * 2 // 3] if fault == "cut" else content)

        def ask(self, body: bytes, is_search: bool) -> bytes:
            if is_search and body:
                asked: dict[str, Any] = json.loads(body)
                if int(asked.get("limit", 250)) >= 50:  # a next link repeats what was made of it
                    asked["limit"] = int(asked.get("limit", 250)) // 50
                body = json.dumps(asked).encode()
            return self.forward(body)

        def forward(self, body: bytes) -> bytes:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(state.upstream + self.path, data=body or None, headers=headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                content: bytes = answer.read()
            return content.replace(state.upstream.encode(), state.url.encode())

        def count(self, search: str) -> int:
            """How many items the upstream has, as servers that count say with every page."""
            if search not in state.matched:
                whole = self.forward(json.dumps(json.loads(search) | {"limit": 10_000}).encode())
                state.matched[search] = len(json.loads(whole)["features"])
            return state.matched[search]

        def respond(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with serving(Handler) as state.url:
        yield state
