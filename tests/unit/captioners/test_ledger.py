"""The ledger's contract, over both of its forms; and what the file alone promises."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioners.budget import limit_nano
from captioners.ledger import NANO, Ending, Find, Found, Intent, Ledger, LedgerFullError, kept_headers, totals
from captioners.ledger_objects import LONGEST_PAUSE_S, SWAPS, ObjectLedger
from captioners.ledger_sqlite import BALLAST_BYTES, SqliteLedger
from schemas.errors import BudgetExceededError, UserError
from schemas.model_profile import Prices, TokenUse
from shards.storage import FolderStorage, StorageConflictError, StoreOptions
from tests.s3_server import CREDENTIALS, s3_server

ROOT = Path(__file__).parents[3]
Open = Callable[[], Any]


@pytest.fixture(scope="module")
def store() -> Iterator[StoreOptions]:
    with pytest.MonkeyPatch.context() as patch, s3_server("ledgers") as url:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield StoreOptions(endpoint_url=url, region="us-east-1")


@pytest.fixture(params=["file", "objects"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same ledger anew at every call."""
    if request.param == "file":
        return lambda: SqliteLedger(tmp_path / "deep" / "ledger.sqlite")
    store = request.getfixturevalue("store")
    return lambda: ObjectLedger(f"s3://ledgers/{tmp_path.name}", store, ttl_s=3.0)


class BusyPurses(FolderStorage):
    """A storage in which others are quicker to change a purse, so many times."""

    def __init__(self, storage: FolderStorage) -> None:
        super().__init__(storage.folder)
        self.conflicts = 0

    def put_if(self, path: str, content: bytes, tag: str | None) -> str:
        if path.startswith("purses/") and self.conflicts:
            self.conflicts -= 1
            raise StorageConflictError(path)
        return super().put_if(path, content, tag)


def intent(key: str = "k", worst: int = 100, limit: int = 1000, purse: str = "p", **fields: Any) -> Intent:
    return Intent(key, purse, "write", "m", worst_nano=worst, limit_nano=limit, **fields)


def begin(ledger: Ledger, key: str = "k", **fields: Any) -> str:
    row = ledger.apply([intent(key, **fields)])[0]
    assert isinstance(row, str), row
    return row


def answer(ledger: Ledger, row: str, body: bytes = b"{}", cost: int = 40) -> None:
    ledger.apply([Ending(row, "answered", 200, {}, body, tokens_in=3, tokens_out=4, cost_nano=cost)])


def find(ledger: Ledger, key: str = "k") -> Found:
    found = ledger.apply([Find(key)])[0]
    assert isinstance(found, Found)
    return found


def test_an_answer_is_found_again_after_reopening(opened: Open) -> None:
    with opened() as ledger:
        assert find(ledger) == Found()
        answer(ledger, begin(ledger), b"\x00paid")
    with opened() as ledger:
        found = find(ledger).answer
        assert found is not None
        assert (found.body, found.tokens_in, found.tokens_out, found.cost_nano) == (b"\x00paid", 3, 4, 40)
        assert ledger.body("k") == b"\x00paid"


def test_the_budget_counts_what_is_in_flight_at_its_worst(opened: Open) -> None:
    with opened() as ledger:
        rows = [begin(ledger, f"k{n}", worst=300) for n in range(3)]
        refused = ledger.apply([intent("k9", worst=300)])[0]
        assert isinstance(refused, BudgetExceededError)
        assert "could cost" in str(refused)
        answer(ledger, rows[0], cost=50)
        begin(ledger, "k9", worst=300)
        ledger.apply([Ending(rows[1], "refused", 429, error="slow down")])
        begin(ledger, "k10", worst=300)
        ledger.apply([Ending(rows[2], "doubt", error="timeout", cost_nano=None)])
        assert isinstance(ledger.apply([intent("k11", worst=300)])[0], BudgetExceededError)
        begin(ledger, "k11", worst=300, purse="another")
        assert totals(ledger.attempts("p"))["cost"] == pytest.approx(950 / NANO)


def test_tokens_have_a_limit_of_their_own(opened: Open) -> None:
    with opened() as ledger:
        row = begin(ledger, "a", worst_tokens=60, limit_tokens=100)
        refused = ledger.apply([intent("b", worst_tokens=60, limit_tokens=100)])[0]
        assert "60 tokens" in str(refused)
        answer(ledger, row)
        row = begin(ledger, "b", worst_tokens=60, limit_tokens=100)
        ledger.apply([Ending(row, "refused", 429)])  # takes none
        row = begin(ledger, "c", worst_tokens=60, limit_tokens=100)
        for state in ("doubt", "answered"):  # an answer that says no usage has taken what it may
            ledger.apply([Ending(row, state, cost_nano=None)])
            refused = ledger.apply([intent("d", worst_tokens=60, limit_tokens=100)])[0]
            assert "60 tokens" in str(refused)


def test_a_group_takes_what_fits_in_its_order(opened: Open) -> None:
    with opened() as ledger:
        made = ledger.apply([intent(f"k{n}", worst=400) for n in range(4)])
        assert [isinstance(one, str) for one in made] == [True, True, False, False]
        assert totals(ledger.attempts())["attempts"] == {"intent": 2}


def test_nobody_asks_what_is_being_asked_or_was_answered(opened: Open) -> None:
    with opened() as one, opened() as two:
        row = begin(one)
        assert find(two).in_flight
        assert two.apply([intent()]) == [Found(None, 0, in_flight=True)]
        answer(one, row)
        held = two.apply([intent()])[0]
        assert isinstance(held, Found)
        assert held.answer == find(two).answer is not None
        assert totals(two.attempts())["cost"] == pytest.approx(40 / NANO)


def test_attempts_at_one_request_are_numbered(opened: Open) -> None:
    with opened() as ledger:
        ledger.apply([Ending(begin(ledger), "doubt", error="timeout", cost_nano=None)])
        assert find(ledger).doubts == 1
        ledger.apply([Ending(begin(ledger), "refused", 500, error="x")])
        answer(ledger, begin(ledger, subject="u31-1"))
        assert [(one.attempt, one.state) for one in ledger.attempts()] == [
            (1, "doubt"), (2, "refused"), (3, "answered"),
        ]  # fmt: skip
        assert [one.subject for one in ledger.attempts()] == ["", "", "u31-1"]


def test_an_ending_is_written_once(opened: Open) -> None:
    with opened() as ledger:
        row = begin(ledger)
        answer(ledger, row, b"first", cost=40)
        answer(ledger, row, b"second", cost=90)
        found = find(ledger).answer
        assert found is not None
        assert found.body == b"first"
        assert isinstance(ledger.apply([intent("next", worst=961)])[0], BudgetExceededError)
        begin(ledger, "next", worst=960)


def test_an_answer_that_comes_after_all_is_taken(opened: Open) -> None:
    with opened() as ledger:
        row = begin(ledger)
        ledger.apply([Ending(row, "doubt", error="timeout", cost_nano=None)])
        answer(ledger, row, b"late")
        assert ledger.body("k") == b"late"


def test_what_is_in_doubt_is_not_asked_more_often_than_allowed(opened: Open) -> None:
    with opened() as ledger:
        ledger.apply([Ending(begin(ledger), "doubt", error="timeout", cost_nano=None)])
        assert ledger.apply([intent(most_doubts=1)]) == [Found(None, 1)]
        assert isinstance(ledger.apply([intent(most_doubts=2)])[0], str)


def test_notes_are_kept_by_kind(opened: Open) -> None:
    with opened() as ledger:
        assert ledger.load("server", "a") is None
        ledger.save("server", "a", {"format": "text"})
        ledger.save("batch", "b", {"state": "made"})
        ledger.save("batch", "b", {"state": "done"})
    with opened() as ledger:
        assert ledger.load("server", "a") == {"format": "text"}
        assert ledger.notes("batch") == {"b": {"state": "done"}}


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from captioners.ledger import Ending, Intent
from captioners.ledger_objects import LONGEST_PAUSE_S, SWAPS, ObjectLedger
from captioners.ledger_sqlite import SqliteLedger
from pathlib import Path
from shards.storage import FolderStorage, StorageConflictError, StoreOptions
ledger = {ledger}
def intent(key, **more):
    return Intent(key, "p", "write", "m", worst_nano=100, limit_nano=1000, **more)
row = ledger.apply([intent("paid")])[0]
ledger.apply([Ending(row, "answered", 200, {{}}, b"kept", tokens_in=1, tokens_out=1, cost_nano=10)])
ledger.apply([intent("lost"), intent("in a batch", batch="b")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_answers_stay_and_calls_in_flight_are_in_doubt(opened: Open) -> None:
    with opened() as ledger:
        if isinstance(ledger, SqliteLedger):
            made = f"SqliteLedger(Path({str(ledger.path)!r}))"
        else:
            made = f"ObjectLedger({ledger._storage.uri!r}, {ledger._storage.options!r}, ttl_s=0.0)"
    script = KILLED.format(root=str(ROOT), ledger=made)
    killed = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    with opened() as ledger:
        if isinstance(ledger, ObjectLedger):
            ledger.ttl_s = -1.0  # the dead one's object is as old as can be
        assert ledger.body("paid") == b"kept"
        assert find(ledger, "lost").doubts == 1
        assert find(ledger, "lost").answer is None
        assert find(ledger, "in a batch") == Found(None, 0, in_flight=True, in_batch=True), (
            "the batch's fate is not the process's"
        )
        assert totals(ledger.attempts("p"))["cost"] == pytest.approx(210 / NANO), "the doubt counts at its worst"


def test_the_calls_of_a_living_process_are_not_in_doubt(opened: Open) -> None:
    with opened() as one:
        row = begin(one)
        with opened() as two:
            assert two.recover() == 0
            assert find(two) == Found(None, 0, in_flight=True)
        answer(one, row)
        assert find(one).answer is not None


def test_who_takes_a_living_owner_for_dead_does_not_lose_its_answer(tmp_path: Path) -> None:
    """The owner was held up for longer than its heart may rest, and writes its answer just now."""
    with ObjectLedger(str(tmp_path)) as slow, ObjectLedger(str(tmp_path)) as other:
        row = begin(slow)

        def is_alive(owner: str) -> bool:
            answer(slow, row, b"paid")
            return False

        other.is_alive = is_alive  # type: ignore[method-assign]
        found = find(other).answer
        assert found is not None
        assert found.body == b"paid"
        assert slow.body("k") == b"paid"


def test_a_purse_that_others_change_all_the_time_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    """The answer is kept at once; what its call was held for beyond its price is given back when the purse is free."""
    pauses: list[float] = []
    with ObjectLedger(str(tmp_path), sleep=pauses.append) as ledger:
        ledger._storage = busy = BusyPurses(ledger._storage)
        row, other = begin(ledger), begin(ledger, "k2")
        busy.conflicts = SWAPS - 1
        answer(ledger, other)
        assert ledger._purse("p")[0] == 140
        assert len(pauses) == SWAPS - 1
        assert max(pauses) <= LONGEST_PAUSE_S
        busy.conflicts = SWAPS
        with pytest.raises(LedgerFullError, match="changed the purse p 50 times in a row") as caught:
            answer(ledger, row)
        assert caught.value.where == str(tmp_path)
        assert ledger.body("k") == b"{}"
        assert ledger._purse("p")[0] == 140
        busy.conflicts = SWAPS
        with pytest.raises(LedgerFullError):
            ledger.apply([intent("k3")])
        assert find(ledger, "k3") == Found(), "nothing may be sent"
        assert ledger._purse("p")[0] == 80, "the next change took it along"
        row = begin(ledger, "k4")
        busy.conflicts = SWAPS
        with pytest.raises(LedgerFullError):
            answer(ledger, row)
    with ObjectLedger(str(tmp_path)) as ledger:
        assert ledger._purse("p")[0] == 120, "closing took it along"


def test_handles_share_one_budget(opened: Open) -> None:
    taken: list[str] = []

    def spend(name: str) -> None:
        with opened() as ledger:
            for number in range(6):
                if isinstance(ledger.apply([intent(f"{name}{number}", worst=100)])[0], str):
                    taken.append(name)

    threads = [threading.Thread(target=spend, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 10


def test_many_may_make_the_file_at_once(tmp_path: Path) -> None:
    failed: list[BaseException] = []
    for number in range(60):
        start = threading.Barrier(8)

        def open_it(path: Path, start: threading.Barrier) -> None:
            start.wait()
            try:
                SqliteLedger(path).close()
            except UserError as error:
                failed.append(error)

        threads = [threading.Thread(target=open_it, args=(tmp_path / f"{number}.sqlite", start)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed


def test_what_was_written_before_has_its_columns_added(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(
            "CREATE TABLE attempts (id INTEGER PRIMARY KEY, key TEXT NOT NULL, attempt INTEGER NOT NULL, owner TEXT NOT"
            " NULL, purse TEXT NOT NULL, purpose TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL, started_utc"
            " TEXT NOT NULL, ended_utc TEXT, status INTEGER, headers TEXT, body BLOB, error TEXT, tokens_in INTEGER NOT"
            " NULL DEFAULT 0, tokens_out INTEGER NOT NULL DEFAULT 0, cost_nano INTEGER NOT NULL,"
            " UNIQUE (key, attempt));"
            " CREATE TABLE purses (purse TEXT PRIMARY KEY, held_nano INTEGER NOT NULL);"
            "INSERT INTO attempts VALUES (1,'k',1,'gone','p','write','m','answered','2026','2026',200,'{}',x'41',NULL,"
            " 3,4,40); INSERT INTO purses VALUES ('p', 40);"
        )
    db.close()
    with SqliteLedger(path) as ledger:
        assert ledger.body("k") == b"A"
        assert [one.subject for one in ledger.attempts("p")] == [""]
        begin(ledger, "k2", worst=960)
    with SqliteLedger(path) as ledger:
        ledger._db.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="format 99"):
        SqliteLedger(path)


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(b"SQLite format 3\0" + b"and nothing that SQLite wrote " * 100)
    with pytest.raises(UserError, match="cannot be used"):
        SqliteLedger(path)


def test_nothing_is_sent_while_the_disk_is_nearly_full(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l", free_bytes=0) as ledger:
        row = begin(ledger)
        ledger._free_bytes = shutil.disk_usage(tmp_path).total + 1
        with pytest.raises(LedgerFullError, match="free some room"):
            ledger.apply([intent("k2")])
        answer(ledger, row)
        assert find(ledger).answer is not None


def test_the_ballast_makes_room_for_answers_that_are_on_their_way(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l") as ledger:
        assert ledger._ballast.stat().st_size == BALLAST_BYTES
        rows = [begin(ledger, f"k{n}") for n in range(2)]
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own word for a full disk

        class Freed:
            """Stands beside the ballast: when it goes, there is room again."""

            def unlink(self, missing_ok: bool) -> None:
                ballast.unlink()
                ledger._db.execute(f"PRAGMA max_page_count = {pages + 100}")

        ballast, ledger._ballast = ledger._ballast, Freed()  # type: ignore[assignment]
        body = b"x" * 50_000
        answer(ledger, rows[0], body)
        assert ledger.body("k0") == body
        assert not ballast.exists()


def test_every_write_is_synced(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l") as ledger:
        assert ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_the_intent_is_readable_by_others_before_anything_is_sent(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "l") as ledger:
        begin(ledger)
        db = sqlite3.connect(tmp_path / "l")
        assert db.execute("SELECT state, cost_nano FROM attempts").fetchall() == [("intent", 100)]
        db.close()


def test_headers_pass_an_allow_list() -> None:
    kept = kept_headers({"X-Request-Id": "r", "Set-Cookie": "s", "Authorization": "a", "x-ratelimit-reset": "1s"})
    assert kept == {"x-ratelimit-reset": "1s", "x-request-id": "r"}


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 100), st.floats(0, 100),
    st.none() | st.floats(0, 200), st.none() | st.floats(0, 200), st.booleans(),
)  # fmt: skip
def test_the_worst_price_is_never_below_the_price(
    tokens_in: int, tokens_out: int, cached: float, price_in: float, price_out: float,
    cached_in: float | None, write: float | None, batch: bool,
) -> None:  # fmt: skip
    prices = Prices(tokens_in=price_in, tokens_out=price_out, cached_in=cached_in, cache_write=write)
    hit = int(tokens_in * cached)
    use = TokenUse(tokens_in=tokens_in, tokens_out=tokens_out, cached=hit, cache_written=(tokens_in - hit) // 2)
    assert prices.worst_nano(tokens_in, tokens_out, batch=batch) >= prices.cost_nano(use, batch=batch) - 1


def test_prices_are_exact_in_billionths() -> None:
    prices = Prices(tokens_in=0.15, tokens_out=0.6, cached_in=0.075)
    assert prices.cost_nano(TokenUse(tokens_in=1000, tokens_out=100)) == 210_000
    assert prices.cost_nano(TokenUse(tokens_in=1000, tokens_out=100, cached=1000)) == 135_000
    assert prices.cost_nano(TokenUse(tokens_in=1000, tokens_out=100), batch=True) == 105_000
    assert limit_nano(0.02) == 20_000_000


def test_what_is_no_ledger_is_refused_before_anything_is_laid_beside_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    for name, what in (("folder", "this is a folder"), ("notes.txt", "this file is no ledger")):
        with pytest.raises(UserError, match=f"{name}: {what}"):
            SqliteLedger(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "notes.txt"]


def test_a_place_where_nothing_can_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for place in (tmp_path / "file" / "ledger.sqlite", Path("/proc/ledger.sqlite")):
        with pytest.raises(UserError, match="cannot be written to"):
            SqliteLedger(place)
