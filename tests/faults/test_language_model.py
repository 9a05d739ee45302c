"""A language model's server that is unwell: faults stand in the ledger, no answer is paid for twice, no text lacks."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from captioners.base import Access
from captioners.ledger import Attempt, LedgerPlace
from captioners.ledger_sqlite import SqliteLedger
from captioners.live import LiveCaptioner
from schemas.text import TextRecord
from tests.captions_killed import stats
from tests.fake_openai import AT_RATES, FakeOpenAI
from tests.faults.broken_server import until
from tests.faults.conftest import Tally
from tests.unit.captioners.answering import Waits, answers, captioner, inputs, section

CHIPS = 40
SHARE = 0.25
"""Of all requests."""
REFUSED = {"429": 429, "500": 500}
"""Faults that the ledger holds as refused, with this status."""
STALL_S = 0.5
"""As long as a call may take here."""
DOUBTFUL = ("stall", "reset", "truncated")
"""Faults after which nobody knows whether there was an answer: each call in doubt costs its worst."""
WRITTEN = {
    **dict.fromkeys(DOUBTFUL, "doubt"),
    **dict.fromkeys(("length", "broken", "html", "schema"), "unreadable"),
    "refusal": "refusal",
}
"""Why the template may have written a chip."""


def _attempts(folder: Path) -> list[Attempt]:
    with SqliteLedger(folder / "ledger.sqlite") as ledger:
        return list(ledger.attempts())


def _reasons(records: list[list[TextRecord]]) -> Counter[str]:
    """Why the template wrote chips."""
    found = [{str(row.checks["fallback"]) for row in rows if row.verification == "fallback"} for rows in records]
    return Counter(reason for reasons in found for reason in reasons)


def _told(reasons: Counter[str]) -> str:
    return f"some by the template: {', '.join(sorted(reasons))}" if reasons else "all by the model"


def _is_whole(records: list[list[TextRecord]]) -> bool:
    """Whether every chip has its texts, those that a model wrote among them held to the facts."""
    rows = [row for one in records for row in one]
    return (
        all(records)
        and all(row.text for row in rows)
        and {row.verification for row in rows} <= {"pass", "repaired", "fallback"}
    )


@pytest.mark.parametrize("kind", AT_RATES)
def test_a_fault_of_some_answers_is_written_down_and_costs_no_text(kind: str, tally: Tally, tmp_path: Path) -> None:
    chips = inputs(CHIPS)
    right, seen = False, ""
    try:
        with FakeOpenAI(answers(chips), rates={kind: SHARE}) as server:
            records = captioner(server, tmp_path, timeout_s=STALL_S).write(chips)
            injected = server.faulted[kind]
            assert injected >= CHIPS // 8, "too few answers were spoilt"
            found = _attempts(tmp_path)
            assert Counter(one.state for one in found) == _states(kind, injected, server.answered)
            assert {one.status for one in found if one.state == "refused"} <= {REFUSED.get(kind)}
            assert all(one.cost_nano > 0 for one in found if one.state == "doubt"), "a doubt costs its worst"
            server.rates = {}
            before = server.answered
            captioner(server, tmp_path, timeout_s=STALL_S).write(chips)
            assert server.answered == before, "an answer that came was asked for again"
        reasons = _reasons(records)
        assert set(reasons) <= {WRITTEN.get(kind)}, reasons
        right, seen = _is_whole(records), _told(reasons)
    finally:
        tally.note(f"language model: {kind} for one request in four", right, seen)
    assert right


def _states(kind: str, injected: int, answered: int) -> Counter[str]:
    """What the ledger holds: every answer that came, and every fault under its own state."""
    state = "refused" if kind in REFUSED else "doubt" if kind in DOUBTFUL else ""
    return Counter({"answered": answered} | ({state: injected} if state else {}))


def test_a_budget_that_runs_out_is_never_exceeded(tally: Tally, tmp_path: Path) -> None:
    chips, limit = inputs(CHIPS), 0.05
    right, seen = False, ""
    try:
        with FakeOpenAI(answers(chips)) as server:
            made = captioner(server, tmp_path, max_cost=limit)
            records = made.write(chips)
        assert 0 < server.answered < CHIPS
        assert made.cost()["cost"] <= limit
        reasons = _reasons(records)
        assert reasons == {"budget": CHIPS - server.answered}
        right, seen = _is_whole(records), _told(reasons)
    finally:
        tally.note("language model: over budget", right, seen)
    assert right


def test_a_server_that_dies_in_mid_run_leaves_the_rest_to_the_template(tally: Tally, tmp_path: Path) -> None:
    chips = inputs(CHIPS)
    right, seen = False, ""
    try:
        with _dying_server(tmp_path / "url") as url:
            place = Access(LedgerPlace(str(tmp_path / "ledger.sqlite")), "key", url)
            records = LiveCaptioner(section(concurrency=2), place, sleep=Waits(), timeout_s=STALL_S).write(chips)
        found = _attempts(tmp_path)
        states = Counter(one.state for one in found)
        assert set(states) <= {"answered", "refused", "doubt"}
        assert states["answered"] >= CHIPS // 4
        assert states["refused"] > 0
        assert not any(one.cost_nano for one in found if one.state == "refused"), "what never left costs nothing"
        reasons = _reasons(records)
        assert set(reasons) <= {"backend", "doubt", "errors"}, reasons
        assert len({one.subject for one in found if one.state == "answered"}) == CHIPS - sum(reasons.values())
        right, seen = _is_whole(records), _told(reasons)
    finally:
        tally.note("language model: kill -9 of its server in mid-run", right, seen)
    assert right


@contextmanager
def _dying_server(file: Path) -> Iterator[str]:
    """Address of a server, in a process of its own, that is killed once it has answered a quarter of the chips."""
    command = [sys.executable, "-m", "tests.fake_openai", "--port-file", str(file), "--service-ms", "20"]
    with subprocess.Popen(command) as process:

        def kill() -> None:
            until("answers", lambda: stats(url)["answered"] >= CHIPS // 4)
            process.kill()

        until("server", file.exists)
        url = file.read_text()
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            yield url
        finally:
            killer.join()
