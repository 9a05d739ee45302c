"""A canary in the slot of the key: it is sent, and stands nowhere else."""

from __future__ import annotations

import logging
import pickle
import traceback
from pathlib import Path

import pytest

from captioners.base import Access
from captioners.batch import BatchCaptioner
from captioners.ledger import LedgerPlace
from captioners.live import LiveCaptioner
from captioners.llm import ChatServer, Key
from schemas.errors import RecipeError
from tests.fake_openai import FakeOpenAI, Fault
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


def test_nothing_that_holds_the_key_prints_or_leaves_its_process(tmp_path: Path) -> None:
    with FakeOpenAI(Mind()) as server:
        given = access(tmp_path, server)
        made = LiveCaptioner(section(), given)
        for holder in (given, Key(CANARY), ChatServer(server.base_url, Key(CANARY)), made):
            assert CANARY not in repr(holder) + str(holder)
            with pytest.raises(TypeError, match="does not leave its process"):
                pickle.dumps(holder)


@pytest.mark.parametrize("kind", [LiveCaptioner, BatchCaptioner])
@pytest.mark.parametrize("address", ["localhost:8000/v1", "ftp://host/v1", "http:///v1"])
def test_an_address_that_is_none_is_one_line_and_no_call_in_doubt(
    tmp_path: Path, kind: type[LiveCaptioner | BatchCaptioner], address: str
) -> None:
    given = Access(LedgerPlace(str(tmp_path / "ledger.sqlite")), CANARY, address, "run")
    with pytest.raises(RecipeError, match="address"):
        kind(section(), given)
    assert list(tmp_path.iterdir()) == []
