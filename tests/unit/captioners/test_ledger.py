from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioners.budget import Prices, limit_nano
from captioners.ledger import NANO, Ledger, kept_headers
from schemas.errors import BudgetExceededError

ROOT = Path(__file__).parents[3]


def intend(ledger: Ledger, key: str = "k", worst: int = 100, limit: int = 1000, purse: str = "p") -> int:
    return ledger.intend(key, purse=purse, purpose="write", model="m", worst_nano=worst, limit_nano=limit)


def answer(ledger: Ledger, row: int, body: bytes = b"{}", cost: int = 40) -> None:
    ledger.answered(row, status=200, headers={}, body=body, tokens_in=3, tokens_out=4, cost_nano=cost)


def test_an_answer_is_found_again_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.sqlite"
    with Ledger(path) as ledger:
        assert ledger.answer("k") is None
        answer(ledger, intend(ledger), b"paid")
    with Ledger(path) as ledger:
        found = ledger.answer("k")
        assert found is not None
        assert (found.body, found.tokens_in, found.tokens_out, found.cost_nano) == (b"paid", 3, 4, 40)


def test_the_budget_counts_what_is_in_flight_at_its_worst(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        rows = [intend(ledger, f"k{n}", worst=300) for n in range(3)]
        with pytest.raises(BudgetExceededError, match="could cost"):
            intend(ledger, "k9", worst=300)
        answer(ledger, rows[0], cost=50)
        intend(ledger, "k9", worst=300)
        ledger.refused(rows[1], status=429, headers={}, error="slow down")
        intend(ledger, "k10", worst=300)
        ledger.doubtful(rows[2], "timeout")
        with pytest.raises(BudgetExceededError):
            intend(ledger, "k11", worst=300)
        assert intend(ledger, "k11", worst=300, purse="another") > 0
        assert ledger.totals("p")["cost"] == pytest.approx(950 / NANO)


def test_a_refused_budget_writes_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(BudgetExceededError):
            intend(ledger, worst=2000)
        assert ledger.totals()["attempts"] == {}
        assert intend(ledger, worst=1000) > 0


def test_attempts_at_one_request_are_numbered(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        ledger.doubtful(intend(ledger), "timeout")
        assert ledger.doubts("k") == 1
        ledger.refused(intend(ledger), status=500, headers={}, error="x")
        answer(ledger, intend(ledger))
        assert ledger.totals()["attempts"] == {"answered": 1, "doubt": 1, "refused": 1}
        assert ledger.doubts("k") == 1


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from captioners.ledger import Ledger
ledger = Ledger(Path({path!r}))
row = ledger.intend("paid", purse="p", purpose="write", model="m", worst_nano=100, limit_nano=1000)
ledger.answered(row, status=200, headers={{}}, body=b"kept", tokens_in=1, tokens_out=1, cost_nano=10)
ledger.intend("lost", purse="p", purpose="write", model="m", worst_nano=100, limit_nano=1000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_answers_stay_and_calls_in_flight_are_in_doubt(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    script = KILLED.format(root=str(ROOT), path=str(path))
    killed = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    with Ledger(path) as ledger:
        found = ledger.answer("paid")
        assert found is not None
        assert found.body == b"kept"
        assert ledger.doubts("lost") == 1
        assert ledger.answer("lost") is None
        assert ledger.totals("p")["cost"] == pytest.approx(110 / NANO), "the doubt counts at its worst"


def test_the_calls_of_a_living_process_are_not_in_doubt(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as one:
        row = intend(one)
        with Ledger(tmp_path / "l") as two:
            assert two.recover() == 0
            assert two.doubts("k") == 0
        answer(one, row)
        assert one.answer("k") is not None


def test_two_handles_share_one_budget(tmp_path: Path) -> None:
    taken: list[int] = []

    def spend() -> None:
        with Ledger(tmp_path / "l") as ledger:
            for number in range(10):
                try:
                    intend(ledger, f"{threading.get_ident()}/{number}", worst=100)
                except BudgetExceededError:
                    return
                taken.append(1)

    with Ledger(tmp_path / "l"):
        threads = [threading.Thread(target=spend) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(taken) == 10


def test_every_write_is_synced(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        assert ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_the_intent_is_readable_by_others_before_anything_is_sent(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        intend(ledger)
        db = sqlite3.connect(tmp_path / "l")
        assert db.execute("SELECT state, cost_nano FROM attempts").fetchall() == [("intent", 100)]
        db.close()


def test_headers_pass_an_allow_list() -> None:
    kept = kept_headers({"X-Request-Id": "r", "Set-Cookie": "s", "Authorization": "a", "x-ratelimit-reset": "1s"})
    assert kept == {"x-ratelimit-reset": "1s", "x-request-id": "r"}


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 100), st.floats(0, 100))
def test_the_worst_price_is_never_below_the_price(
    size: int, tokens_out: int, price_in: float, price_out: float
) -> None:
    prices = Prices(price_in, price_out)
    assert prices.worst_nano(size, 0, tokens_out) >= prices.cost_nano(size // 4, tokens_out)
    assert prices.cost_nano(size, tokens_out) >= (size * price_in + tokens_out * price_out) * 1000 - 1


def test_prices_are_exact_in_billionths() -> None:
    assert Prices(0.15, 0.6).cost_nano(1000, 100) == 210_000
    assert limit_nano(0.02) == 20_000_000
