"""A canary in the slot of the key: it is sent, and stands nowhere else."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
import zlib
from base64 import b64encode
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from captioners.base import Access
from captioners.batch import BatchCaptioner
from captioners.ledger import LedgerPlace
from captioners.live import LiveCaptioner
from captioners.llm import MOST_BYTES, ChatServer, Key, Lost, Received, Refused
from schemas.errors import RecipeError
from tests.fake_openai import FakeOpenAI, Fault
from tests.loopback import serving
from tests.minds import Mind
from tests.unit.captioners.answering import Waits, inputs, section

CANARY = "sk-canary-5d1f-never-written"


def access(folder: Path, server: FakeOpenAI) -> Access:
    return Access(LedgerPlace(str(folder / "ledger.sqlite")), CANARY, server.base_url, "run")


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_server_that_repeats_the_key_does_not_get_it_into_logs_or_the_ledger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"Incorrect API key provided: {CANARY}."
    faults: list[Fault | None] = [
        Fault("status", 500, message=echo),
        Fault("status", 400, message=echo),
        Fault("reset"),
    ]
    with FakeOpenAI(Mind(), faults, key=CANARY) as server:
        made = LiveCaptioner(section(probe=True), access(tmp_path, server), sleep=Waits())
        records = made.write(inputs(2))
        assert {headers["authorization"] for headers in server.request_headers} == {f"Bearer {CANARY}"}
    assert CANARY.encode() not in everything(tmp_path)
    assert b"[key]" in everything(tmp_path)
    assert CANARY not in caplog.text
    assert CANARY not in str(records) + str(made.cost()) + repr(made)


@pytest.mark.parametrize("kind", [LiveCaptioner, BatchCaptioner])
def test_an_error_does_not_carry_the_key(tmp_path: Path, kind: type[LiveCaptioner | BatchCaptioner]) -> None:
    with FakeOpenAI(Mind(), key="another") as server:
        made = kind(section(), access(tmp_path, server), sleep=Waits())
        with pytest.raises(RecipeError) as caught:
            made.write(inputs(1))
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "refused the key" in told
    assert CANARY not in told
    assert CANARY.encode() not in pickle.dumps(caught.value)
    assert CANARY.encode() not in everything(tmp_path)


def test_a_log_in_is_sent_in_the_keys_place_and_repeated_no_more_than_a_key(tmp_path: Path) -> None:
    """It travels encoded, and servers tell what they refused."""
    code = b64encode(b"me:canary-4e/").decode()
    with FakeOpenAI(Mind(), key="another") as server:
        given = Access(LedgerPlace(str(tmp_path / "ledger.sqlite")), f"Basic {code}", server.base_url)
        with pytest.raises(RecipeError, match=r"refused the key.*provided: Basic \[key\]"):
            LiveCaptioner(section(), given, sleep=Waits()).write(inputs(1))
    assert code.encode() not in everything(tmp_path)
    assert Key(f"Basic {code}").strike("canary-4e/ is wrong") == "[key] is wrong"


@pytest.mark.parametrize("key", [CANARY, f"Basic {b64encode(b'me:canary').decode()}"])
def test_results_that_lie_at_another_host_are_fetched_without_the_key(tmp_path: Path, key: str) -> None:
    sent: list[str | None] = []

    class Store(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(self.headers["Authorization"])
            self.send_response(200 if self.path == "/results" else 302)
            if self.path != "/results":
                self.send_header("Location", f"{store}/results")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None: ...

    async def fetched(address: str) -> Refused | Lost | None:
        server = ChatServer(f"{address}/v1", Key(key))
        try:
            return await server.download("file-1", tmp_path / "results")
        finally:
            await server.close()

    with serving(Store) as store, serving(Store) as address:
        assert asyncio.run(fetched(address)) is None
    assert sent == [key if key.startswith("Basic") else f"Bearer {key}", None]


@pytest.mark.parametrize(("status", "coding"), [(200, "gzip"), (400, "gzip"), (200, "br"), (200, "gzip, gzip")])
def test_an_answer_without_end_is_not_taken_in(status: int, coding: str) -> None:
    """A megabyte unpacks to a gigabyte: that filled all memory, and the ledger."""
    packed = zlib.compressobj(1, zlib.DEFLATED, 31)
    body = packed.compress(bytes(MOST_BYTES + 1)) + packed.flush()

    class Packer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Encoding", coding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    async def asked(address: str) -> Received | Refused | Lost:
        server = ChatServer(f"{address}/v1", Key(None))
        try:
            return await server.complete("one", [], {})
        finally:
            await server.close()

    with serving(Packer) as address:
        assert asyncio.run(asked(address)) == Lost("TooLongError", was_sent=True)


def test_nothing_that_holds_the_key_prints_or_leaves_its_process(tmp_path: Path) -> None:
    with FakeOpenAI(Mind()) as server:
        given = access(tmp_path, server)
        made = LiveCaptioner(section(), given)
        for holder in (given, Key(CANARY), ChatServer(server.base_url, Key(CANARY)), made):
            assert CANARY not in repr(holder) + str(holder)
            with pytest.raises(TypeError, match="does not leave its process"):
                pickle.dumps(holder)


@pytest.mark.parametrize("kind", [LiveCaptioner, BatchCaptioner])
@pytest.mark.parametrize("address", ["localhost:8000/v1", "ftp://host/v1", "http:///v1", "http://me:word@host/v1"])
def test_an_address_that_is_none_is_one_line_and_no_call_in_doubt(
    tmp_path: Path, kind: type[LiveCaptioner | BatchCaptioner], address: str
) -> None:
    given = Access(LedgerPlace(str(tmp_path / "ledger.sqlite")), CANARY, address, "run")
    with pytest.raises(RecipeError, match="address") as caught:
        kind(section(), given)
    assert "word@" not in caught.value.line()
    assert list(tmp_path.iterdir()) == []
