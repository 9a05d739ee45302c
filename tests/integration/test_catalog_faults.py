"""A catalog that loses pages, throttles, lets tokens expire and answers 500 at stated rates."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from schemas.errors import CatalogError, SourceError
from schemas.recipe import Catalog, Credential, Modality
from sources.breaker import Breaker
from sources.catalog import open_catalog
from sources.credentials import CredentialedOpener, _signer_of
from sources.limits import HostLimits
from sources.paging import PageLostError
from sources.retry import Backoff
from sources.search import providers_of, search_in_order
from tests.integration.test_stac_servers import EARTH, MANY, rustac_url
from tests.loopback import serving
from tests.unit.sources.gates import PASSWORD, USER, TestVault

__all__ = ["rustac_url"]

ALL = [f"m{n:04d}" for n in range(MANY)]
BAD_THEN_GOOD = {
    "sensor": "s",
    "catalog": "bad",
    "collection": "many",
    "fallbacks": [{"catalog": "good", "collection": "many"}],
}
UPDATED = "2030-01-01T00:00:00Z"
TOKEN_LIFE = 4
"""Requests that a token is good for."""


@dataclass
class Unwell:
    """A server before the server, and what it did."""

    upstream: str
    rates: dict[str, float]
    random: random.Random
    url: str = ""
    did: Counter[str] = field(default_factory=Counter)
    token: int = 0
    left: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    """Last item of the page before."""

    def fault(self, is_further_page: bool) -> str:
        chance = self.random.random()
        for name, rate in self.rates.items():
            if chance < rate:
                return name if is_further_page or name not in ("lost", "cut", "shift") else ""
            chance -= rate
        return ""


@contextmanager
def unwell(upstream: str, seed: int, **rates: float) -> Iterator[Unwell]:
    state = Unwell(upstream, rates, random.Random(seed))
    lock = threading.Lock()

    def shifted(text: str, is_shifted: bool) -> str:
        """A page; where it is shifted, it begins with the last item of the page before, updated since."""
        page = json.loads(text)
        again = json.loads(json.dumps(state.last))
        if page.get("features"):
            state.last = page["features"][-1]
        if again and is_shifted:
            again["properties"] |= {"updated": UPDATED}
            page["features"].insert(0, again)
        return json.dumps(page)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.path == "/oauth":
                with lock:
                    state.token += 1
                    state.left = TOKEN_LIFE
                    self.answer(200, json.dumps({"access_token": f"t{state.token}", "expires_in": 3600}).encode())
                return
            self.forward(body)

        def do_GET(self) -> None:
            self.forward(None)

        def forward(self, body: bytes | None) -> None:
            with lock:
                state.left -= 1
                is_known = self.headers.get("Authorization") == f"Bearer t{state.token}" and state.left >= 0
                fault = state.fault("skip" in self.path or b"skip" in (body or b"") or b"token" in (body or b""))
                if not is_known:
                    fault = "expired"
                state.did[fault] += 1
            if fault in ("expired", "lost", "error", "throttle"):
                status = {"expired": 401, "lost": 404, "error": 500, "throttle": 429}[fault]
                self.answer(status, b"{}", {"Retry-After": "1"} if fault == "throttle" else {})
                return
            request = urllib.request.Request(f"{state.upstream}{self.path}", data=body, method=self.command)
            request.add_header("Content-Type", "application/json")
            try:
                with urllib.request.urlopen(request) as given:
                    text = given.read().decode().replace(state.upstream, state.url)
            except urllib.error.HTTPError as error:
                with error:
                    self.answer(error.code, error.read())
                return
            if fault == "cut" and "/search" in self.path:
                text = json.dumps(json.loads(text) | {"features": [], "links": []})
            if "/search" in self.path:
                text = shifted(text, fault == "shift")
            self.answer(200, text.encode())

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with serving(Handler) as state.url:
        yield state


def client_of(state: Unwell, attempts: int = 6) -> Any:
    _signer_of.cache_clear()
    credential = Credential(
        kind="oauth", env=("USER", "PASSWORD"), token_url=f"{state.url}/oauth", hosts=("127.0.0.1",)
    )
    vault = TestVault(variables=(("USER", USER), ("PASSWORD", PASSWORD)))
    opener = CredentialedOpener(True, [("c", credential)], vault, HostLimits({}, None))
    catalog = Catalog(kind="stac-api", href=state.url, allow_local=True)
    return open_catalog(catalog, state.url, opener, sleep=lambda _: None, backoff=Backoff(attempts=attempts))


@pytest.mark.parametrize("seed", range(6))
def test_the_same_items_in_the_end_or_a_named_failure(rustac_url: str, seed: int) -> None:
    rates = {"lost": 0.08, "cut": 0.08, "error": 0.12, "throttle": 0.12}
    failures_have_names = contextlib.suppress(SourceError)  # one of ours has a class, an address and a reason
    with unwell(rustac_url, seed, **rates) as state, failures_have_names:
        assert [item["id"] for item in client_of(state).search("many", EARTH)] == ALL


def test_an_item_that_is_updated_between_pages_comes_once_and_as_it_is_now(rustac_url: str) -> None:
    with unwell(rustac_url, 3, shift=1.0) as state:
        found = client_of(state).search("many", EARTH)
    assert [item["id"] for item in found] == ALL
    updated = [item["id"] for item in found if item["properties"].get("updated") == UPDATED]
    assert 0 < len(updated) <= state.did["shift"] < len(ALL)


def test_a_page_that_is_always_lost_is_named_and_the_next_catalog_asked(rustac_url: str) -> None:
    modality = Modality.model_validate(
        {
            "sensor": "s",
            "catalog": "bad",
            "collection": "many",
            "fallbacks": [{"catalog": "good", "collection": "many"}],
        }
    )
    with unwell(rustac_url, 1, lost=1.0) as bad, unwell(rustac_url, 2) as good:
        with pytest.raises(PageLostError, match="page 2 was lost: HTTP 404"):
            client_of(bad).search("many", EARTH)
        clients = {"bad": client_of(bad), "good": client_of(good)}
        answer = search_in_order(providers_of(modality), clients.__getitem__, [EARTH], (None, None), Breaker())
    assert sorted(answer.items) == ALL
    assert good.did["expired"], "a token ran out in the middle of the search"
    assert answer.provider.catalog == "good"
    assert answer.notes[0].startswith("catalog bad cannot be used: page 2 was lost")
    assert answer.notes[1] == "items come from good (many)"


def test_a_catalog_that_only_fails_is_left_alone_after_a_while(rustac_url: str) -> None:
    modality = Modality.model_validate(
        {
            "sensor": "s",
            "catalog": "bad",
            "collection": "many",
            "fallbacks": [{"catalog": "good", "collection": "many"}],
        }
    )
    breaker = Breaker(failures=2, rest_s=1000.0)
    with unwell(rustac_url, 1, error=1.0) as bad, unwell(rustac_url, 2) as good:
        clients = {"bad": client_of(bad, attempts=2), "good": client_of(good)}
        asked = []
        for _ in range(4):
            answer = search_in_order(providers_of(modality), clients.__getitem__, [EARTH], (None, None), breaker)
            assert sorted(answer.items) == ALL
            asked.append(bad.did["error"])
    assert asked[1] == asked[2] == asked[3] > asked[0]
    assert "rests" in answer.notes[0]


def test_both_catalogs_away_is_one_line_that_names_both(rustac_url: str) -> None:
    modality = Modality.model_validate(
        {"sensor": "s", "catalog": "a", "collection": "many", "fallbacks": [{"catalog": "b", "collection": "other"}]}
    )
    with unwell(rustac_url, 1, error=1.0) as bad, unwell(rustac_url, 2) as good:
        clients = {"a": client_of(bad, attempts=1), "b": client_of(good)}
        with pytest.raises(Exception, match=r"no collection 'other'.*catalog a cannot be used: HTTP 500") as caught:
            search_in_order(providers_of(modality), clients.__getitem__, [EARTH], (None, None), Breaker())
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, CatalogError)
