from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioners.base import CaptionInput, make_captioner
from captioners.budget import WINDOW
from captioners.ledger import totals
from captioners.ledger_sqlite import SqliteLedger
from captioners.live import ATTEMPTS, THROTTLED, LiveCaptioner
from captioners.llm import ChatServer, Key, Lost, Received, Refused
from captioners.prompt import make_request
from captioners.reading import read_sheet
from captioners.records import Chip
from captioners.template import TemplateCaptioner
from schemas.errors import RecipeError, UserError
from schemas.legend import load_legend
from schemas.recipe import Captions
from tests.fake_openai import FakeOpenAI, Fault
from tests.unit.captioners.answering import Waits, access, answers, captioner, computed, good_draft, inputs, section


def test_a_faithful_model_passes_with_one_call_per_chip(tmp_path: Path) -> None:
    chips = inputs(6)
    with FakeOpenAI(answers(chips)) as server:
        made = captioner(server, tmp_path)
        records = made.write(chips)
    assert [rows[0].chip_id for rows in records] == [one.chip_id for one in chips]
    rows = [row for one in records for row in one]
    assert {row.verification for row in rows} == {"pass"}
    assert {row.backend for row in rows} == {"openai"}
    assert {row.model for row in rows} == {"fake-1"}
    assert all(len(row.request_key) == 64 and len(row.prompt_sha256) == 64 for row in rows)
    assert len(server.requests) == len(chips)
    for row in rows:
        assert all(row.text[span.start : span.end] == span.phrase for span in row.spans)
    cost = made.cost()
    assert cost["calls"] == 6
    assert (cost["tokens_in"], cost["tokens_out"]) == (server.tokens_in, server.tokens_out)
    assert cost["cost"] == pytest.approx((server.tokens_in + 2 * server.tokens_out) / 1e6)


def test_the_request_is_strict_and_carries_no_secret_but_the_key(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips)) as server:
        captioner(server, tmp_path).write(chips)
    schema = server.requests[0]["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["required"] == ["short", "long", "questions"]
    assert schema["schema"]["additionalProperties"] is False
    assert server.request_headers[0]["authorization"] == "Bearer key-123"
    ledger = (tmp_path / "ledger.sqlite").read_bytes()
    assert b"key-123" not in ledger
    assert b"secret=1" not in ledger, "cookies are not kept"


def test_a_chip_of_which_nothing_is_asked_is_written_without_a_call(tmp_path: Path) -> None:
    asked, rest = inputs(2), computed(4)[2:]
    with FakeOpenAI(answers([*asked, *rest])) as server:
        made = captioner(server, tmp_path)
        done = {one.chip_id: one for one in made.stream([rest[0], *asked, rest[1]])}
        assert len(server.requests) == 2
    assert [done[one.chip_id].records for one in rest] == TemplateCaptioner().write(rest)
    assert {row.verification for one in rest for row in done[one.chip_id].records} == {"pass"}
    assert {one.open for one in done.values()} == {""}
    assert made.cost()["calls"] == 2
    assert made.cost()["fallbacks"] == {}


def test_a_recipe_of_computed_kinds_does_not_even_probe(tmp_path: Path) -> None:
    with FakeOpenAI(answers([])) as server:
        made = captioner(server, tmp_path, kinds=("grounded", "labels"), probe=True)
        assert made.write(computed(2)) == TemplateCaptioner().write(computed(2))
        assert server.requests == []


def test_answers_are_never_paid_twice(tmp_path: Path) -> None:
    chips = inputs(4)
    with FakeOpenAI(answers(chips)) as server:
        first = captioner(server, tmp_path).write(chips)
        again = captioner(server, tmp_path)
        second = again.write(chips)
        assert len(server.requests) == 4
    assert second == first
    assert again.cost()["calls"] == 0
    assert again.cost()["reused"] == 4
    assert again.cost()["cost"] == 0.0


def test_hallucinations_are_mended_in_one_round(tmp_path: Path) -> None:
    chips = inputs(3)

    def change(draft: dict[str, Any], round_: int) -> dict[str, Any]:
        if round_ == 0:
            draft["long"][1]["text"] = "Several people walk along a beautiful glacier."
        return draft

    with FakeOpenAI(answers(chips, change)) as server:
        records = captioner(server, tmp_path).write(chips)
        assert len(server.requests) == 6
        repair = server.requests[-1]["messages"][-1]["content"]
    assert "cannot be seen at 10 m" in repair
    longs = [row for one in records for row in one if row.style == "long"]
    assert {row.verification for row in longs} == {"repaired"}
    assert all(row.checks["violations"]["visibility"] == 1 for row in longs)
    assert not any("people" in row.text for row in longs)
    assert {row.verification for one in records for row in one if row.style == "short"} == {"repaired"}


def test_a_sentence_that_stays_false_is_dropped_and_a_caption_that_does_is_replaced(tmp_path: Path) -> None:
    chips = [one for one in inputs(12) if len(good_draft(one)["long"]) >= 5][:2]

    def change(draft: dict[str, Any], round_: int) -> dict[str, Any]:
        draft["long"][2]["text"] = "A glacier of 7,000 km² fills the scene."
        draft["short"][0]["text"] = "This could be a desert with probably no people."
        return draft

    with FakeOpenAI(answers(chips, change)) as server:
        made = captioner(server, tmp_path)
        records = made.write(chips)
    for rows in records:
        short, long = rows[0], rows[1]
        assert short.verification == "fallback"
        assert short.backend == "template"
        assert (
            short.text == TemplateCaptioner().write([next(c for c in chips if c.chip_id == short.chip_id)])[0][0].text
        )
        assert long.verification == "repaired"
        assert long.checks["dropped"] == 1
        assert "glacier" not in long.text.lower()
    assert made.cost()["fallbacks"]["violations"] == 2


def test_a_changed_question_falls_back_alone(tmp_path: Path) -> None:
    chips = inputs(1)

    def change(draft: dict[str, Any], round_: int) -> dict[str, Any]:
        draft["questions"][0]["question"] = "Is there any lava in the scene?"
        return draft

    with FakeOpenAI(answers(chips, change)) as server:
        rows = captioner(server, tmp_path).write(chips)[0]
    questions = [row for row in rows if row.kind == "qa"]
    assert questions[0].verification == "fallback"
    assert {row.verification for row in questions[1:]} == {"pass"}


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        (Fault("status", 429, {"retry-after": "7"}), 7.0),
        (Fault("status", 500), None),
        (Fault("status", 503, {"retry-after": "3"}), 3.0),
        (Fault("reset"), None),
    ],
)
def test_passing_faults_are_waited_out(tmp_path: Path, fault: Fault, waited: float | None) -> None:
    chips, waits = inputs(1), Waits()
    with FakeOpenAI(answers(chips), [fault]) as server:
        rows = captioner(server, tmp_path, waits=waits).write(chips)[0]
    assert {row.verification for row in rows} == {"pass"}
    assert len(waits.seconds) == 1
    if waited is not None:
        assert waits.seconds == [pytest.approx(waited, abs=0.5)]
    else:
        assert 0.5 <= waits.seconds[0] <= 0.625


def test_a_wait_that_is_too_long_is_left_to_the_template(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips), [Fault("status", 429, {"retry-after": "4000"})]) as server:
        rows = captioner(server, tmp_path).write(chips)[0]
    assert {row.verification for row in rows} == {"fallback"}
    assert rows[0].checks["fallback"] == "backend"


def test_an_error_that_comes_as_an_answer_is_in_doubt_and_asked_once_more(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips)) as server:
        told, bodies = server._completion, [{"error": {"code": 502, "message": "Provider returned error"}}]
        server._completion = lambda *a: bodies.pop() if bodies else told(*a)  # type: ignore[method-assign]
        rows = captioner(server, tmp_path).write(chips)[0]
        assert len(server.requests) == 2
        assert server.requests[0] == server.requests[1], "no repair of what was never said"
    assert {row.verification for row in rows} == {"pass"}
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        assert totals(ledger.attempts())["attempts"] == {"answered": 1, "doubt": 1}


@pytest.mark.parametrize(
    ("fault", "reason", "most"),
    [
        (Fault("status", 402, message="Insufficient Balance"), "quota", 8),
        (Fault("status", 429, code="insufficient_quota"), "quota", 8),
        (Fault("status", 400, message="no"), "errors", WINDOW + 8),
        (Fault("status", 413), "errors", WINDOW + 8),
        (Fault("status", 429, {"retry-after": "4000"}), "errors", WINDOW + 8),
    ],
    ids=["no money", "no quota", "refused", "too large", "tomorrow"],
)
def test_a_server_that_takes_nothing_is_not_asked_for_every_chip(
    tmp_path: Path, fault: Fault, reason: str, most: int
) -> None:
    chips = inputs(WINDOW + 20, kinds=("short",))
    with FakeOpenAI(answers(chips), [fault] * len(chips)) as server:
        records = captioner(server, tmp_path, kinds=("short",)).write(chips)
        assert len(server.requests) <= most
    assert records[-1][0].checks["fallback"] == reason


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("status", 400, message="the range of max_tokens is [1, 512]"), "HTTP 400: the range of max_tokens is"),
        (Fault("status", 413, message="picture too large"), "HTTP 413: picture too large"),
        (Fault("status", 502, message="upstream is away"), "no answer (HTTP 502: upstream is away)"),
    ],
    ids=["refused", "too large", "away"],
)
def test_why_a_model_wrote_nothing_is_told_in_its_server_s_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Fault, told: str
) -> None:
    chips = inputs(1, kinds=("short",))
    with FakeOpenAI(answers(chips), [fault] * ATTEMPTS) as server:
        captioner(server, tmp_path, kinds=("short",)).write(chips)
    assert told in caplog.text


def test_a_host_that_cannot_be_spoken_to_is_told_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    captioner(None, tmp_path, kinds=("short",)).write(inputs(1, kinds=("short",)))
    assert "no answer (ConnectError: All connection attempts failed) after 6 attempt(s)" in caplog.text


def test_a_model_that_is_not_there_is_told_in_its_server_s_words(tmp_path: Path) -> None:
    chips = inputs(1, kinds=("short",))
    fault = Fault("status", 404, message="No endpoints found that match your data policy")
    with FakeOpenAI(answers(chips), [fault]) as server, pytest.raises(RecipeError, match="your data policy"):
        captioner(server, tmp_path, kinds=("short",)).write(chips)


def test_a_chip_that_is_refused_for_want_of_capacity_to_the_end_is_an_error(tmp_path: Path) -> None:
    chips = inputs(2, kinds=("short",))
    fault = Fault("status", 429, message="Rate limit exceeded: free-models-per-day")
    with FakeOpenAI(answers(chips), [fault] * THROTTLED) as server:
        made = captioner(server, tmp_path, kinds=("short",), concurrency=1)
        for _ in range(WINDOW - 1):
            made.guard.note(False)
        assert not made.guard.tripped
        made.write(chips[:1])
        assert made.guard.tripped
        assert made.write(chips[1:])[0][0].checks["fallback"] == "errors"
        assert len(server.requests) == THROTTLED, "and no other is asked"


def test_a_stalled_call_is_in_doubt_costs_its_worst_and_is_asked_once_more(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips), [Fault("stall"), Fault("stall")]) as server:
        made = captioner(server, tmp_path, timeout_s=0.3)
        rows = made.write(chips)[0]
        assert len(server.requests) == 2, "asked again at most once"
    assert {row.verification for row in rows} == {"fallback"}
    assert made.cost()["events"] == {"in doubt": 2}
    assert made.cost()["cost"] > 0
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        states = db.execute("SELECT state, cost_nano > 0 FROM attempts").fetchall()
    db.close()
    assert states == [("doubt", 1), ("doubt", 1)]


def test_thoughts_that_take_all_the_room_are_told_with_what_helps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chips = inputs(2, kinds=("short",))
    with FakeOpenAI(answers(chips), [Fault("thoughts")] * 4) as server:
        made = captioner(server, tmp_path, kinds=("short",))
        made.write(chips)
        assert "was cut off: be shorter" in str(server.requests[-1]["messages"][-1])
    assert made.cost()["events"]["cut off"] == 4
    assert caplog.text.count("captions.profile.thinking_tokens") == 1


@pytest.mark.parametrize("kind", ["length", "broken"])
def test_an_answer_that_cannot_be_read_is_kept_and_asked_for_once_more_in_other_words(
    tmp_path: Path, kind: str
) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips), [Fault(kind)]) as server:
        rows = captioner(server, tmp_path).write(chips)[0]
        assert len(server.requests) == 2
        assert len(server.requests[1]["messages"]) == 4
    assert {row.verification for row in rows} == {"pass"}


@pytest.mark.parametrize(("kind", "reason"), [("refusal", "refusal"), ("html", "unreadable")])
def test_a_refusal_or_rubbish_is_replaced_by_the_template(tmp_path: Path, kind: str, reason: str) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips), [Fault(kind), Fault(kind)]) as server:
        rows = captioner(server, tmp_path).write(chips)[0]
    assert {row.checks["fallback"] for row in rows} == {reason}
    assert {row.backend for row in rows} == {"template"}


def test_a_server_without_schemas_is_asked_another_way(tmp_path: Path) -> None:
    chips = inputs(2)
    refuse = Fault("status", 400, message="response_format json_schema is not supported")
    names = Fault("status", 400, message="Unsupported parameter max_tokens: use max_completion_tokens")
    with FakeOpenAI(answers(chips), [refuse, names]) as server:
        records = captioner(server, tmp_path, concurrency=1).write(chips)
    assert {row.verification for one in records for row in one} == {"pass"}
    last = server.requests[-1]
    assert last["response_format"] == {"type": "json_object"}
    assert "max_completion_tokens" in last
    assert "max_tokens" not in last


def test_an_answer_in_a_code_fence_is_read(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips, lambda draft, _: f"Here you are:\n```json\n{json.dumps(draft)}\n```")) as server:
        rows = captioner(server, tmp_path).write(chips)[0]
    assert {row.verification for row in rows} == {"pass"}


def test_a_wrong_key_stops_at_once_with_one_line(tmp_path: Path) -> None:
    chips = inputs(3)
    with (
        FakeOpenAI(answers(chips), [Fault("status", 401)] * 9) as server,
        pytest.raises(RecipeError, match="refused the key"),
    ):
        captioner(server, tmp_path).write(chips)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_prompts_follow_no_redirect_to_another_server(tmp_path: Path, status: int) -> None:
    chips = inputs(3)
    with FakeOpenAI(answers(chips)) as other:
        there = other.base_url.replace("http://", "http://user:word@") + "/chat/completions"
        moved = Fault("status", status, {"location": there + "?token=hidden"})
        with FakeOpenAI(answers(chips), [moved] * 9) as server, pytest.raises(RecipeError) as told:
            captioner(server, tmp_path).write(chips)
    assert other.base_url in str(told.value)
    assert "base_url" in str(told.value)
    assert "word" not in str(told.value)
    assert "hidden" not in str(told.value)
    assert other.requests == []


def test_the_budget_is_never_exceeded_and_the_rest_is_the_templates(tmp_path: Path) -> None:
    chips = inputs(8)
    with FakeOpenAI(answers(chips)) as server:
        made = captioner(server, tmp_path, max_cost=0.02, concurrency=3, purse="run")
        records = made.write(chips)
        few = len(server.requests)
        assert 0 < few < 8
        assert made.cost()["cost"] <= 0.02
        resumed = captioner(server, tmp_path, max_cost=0.02, concurrency=3, purse="run")
        resumed.write(chips)
        spent = made.cost()["cost"] + resumed.cost()["cost"]
    assert spent <= 0.02, "a restart does not fill the purse again"
    reasons = [rows[0].checks.get("fallback") for rows in records]
    assert reasons.count("budget") == 8 - few
    assert reasons.count(None) == few


def test_no_budget_lets_only_free_calls_through(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips)) as server:
        paid = captioner(server, tmp_path, max_cost=0.0)
        assert paid.write(chips)[0][0].checks["fallback"] == "budget"
        assert server.requests == []
        free = captioner(server, tmp_path, max_cost=0.0, price_per_million_in=0.0, price_per_million_out=0.0)
        assert free.write(chips)[0][0].verification == "pass"


def test_an_answer_without_usage_counts_at_its_worst(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips)) as server:
        exact = captioner(server, tmp_path / "one")
        exact.write(chips)
    with FakeOpenAI(answers(chips), [Fault("no_usage")]) as server:
        worst = captioner(server, tmp_path / "two")
        worst.write(chips)
    assert worst.cost()["cost"] > exact.cost()["cost"] > 0


def test_no_more_calls_in_flight_than_allowed(tmp_path: Path) -> None:
    chips = inputs(8, kinds=("short",))
    with FakeOpenAI(answers(chips)) as server:
        captioner(server, tmp_path, concurrency=2).write(chips)
    assert len(server.requests) == 8
    assert server.most_in_flight <= 2


def test_pictures_are_sent_as_png_and_enter_the_key_by_their_hash(tmp_path: Path) -> None:
    one = inputs(1)[0]
    seeing = [
        CaptionInput(one.chip_id, one.facts, views={"true_colour": png}, kinds=one.kinds)
        for png in (b"\x89PNG one", b"\x89PNG two")
    ]
    with FakeOpenAI(answers(seeing)) as server:
        made = captioner(server, tmp_path)
        first, second = (made.write([s])[0] for s in seeing)
        assert len(server.requests) == 2, "another picture is another request"
    part = server.requests[0]["messages"][1]["content"][0]
    assert part["image_url"]["url"].startswith("data:image/png;base64,")
    assert "Natural colours" in server.requests[0]["messages"][0]["content"]
    assert first[0].request_key != second[0].request_key
    assert first[0].seen_by_model == "rgb"


def test_the_lobby_makes_either_captioner(tmp_path: Path) -> None:
    assert isinstance(make_captioner(Captions()), TemplateCaptioner)
    assert isinstance(make_captioner(section(), access(tmp_path)), LiveCaptioner)
    with pytest.raises(RecipeError, match="ledger"):
        make_captioner(section())


def test_a_server_that_is_not_there_is_the_templates_turn(tmp_path: Path) -> None:
    chips, waits = inputs(1), Waits()
    made = captioner(None, tmp_path, waits=waits, timeout_s=2.0)
    rows = made.write(chips)[0]
    assert rows[0].checks["fallback"] == "backend"
    assert made.cost()["cost"] == 0.0, "what never left costs nothing"
    assert made.cost()["events"]["unreachable"] == len(waits.seconds) + 1 == 6, "none after the last"


def test_a_call_that_its_proxy_does_not_let_out_is_not_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main() -> Lost | Received | Refused:
        async with await asyncio.start_server(deny, "127.0.0.1", 0) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
            asked = ChatServer("https://model.example/v1", Key(None), timeout_s=5.0)
            try:
                return await asked.complete("m", [{"role": "user", "content": "?"}], {})
            finally:
                await asked.close()

    for name in ("no_proxy", "NO_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert asyncio.run(asyncio.wait_for(main(), 20)) == Lost("ProxyError", was_sent=False)


def test_a_proxy_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://name:secret@127.0.0.1:9")
    with pytest.raises(UserError, match="the proxy that the environment names cannot be used") as caught:
        ChatServer("https://model.example/v1", Key(None))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["host/v1", "http://127.0.0.1:99999/v1", "http://[::1/v1", "http://h:port/v1", "http://h/v1\n"]
)
def test_an_address_that_is_none_is_one_line(address: str) -> None:
    with pytest.raises(RecipeError, match="the server's address is none"):
        ChatServer(address, Key(None))


INTERRUPTED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from captioners.base import Access
from captioners.ledger import LedgerPlace
from captioners.live import ATTEMPTS, THROTTLED, LiveCaptioner
from tests.unit.captioners.answering import inputs, section
if __name__ == "__main__":
    made = LiveCaptioner(section(), Access(LedgerPlace({path!r}), None, {url!r}))
    try:
        made.write(inputs(1))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_a_body_that_never_ends_is_given_up(tmp_path: Path) -> None:
    gone: list[asyncio.Task[None] | None] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def main() -> Lost | Received | Refused:
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            asked = ChatServer(url, Key(None), timeout_s=0.6)
            try:
                return await asked.complete("m", [{"role": "user", "content": "?"}], {})
            finally:
                await asked.close()
                await asyncio.gather(*(task for task in gone if task is not None))

    assert asyncio.run(asyncio.wait_for(main(), 20)) == Lost("TooSlow", was_sent=True)


def test_ctrl_c_ends_at_once_and_leaves_the_call_in_doubt(tmp_path: Path) -> None:
    path, root = tmp_path / "l.sqlite", str(Path(__file__).parents[3])
    with FakeOpenAI(answers(inputs(1)), [Fault("stall")]) as server:
        script = INTERRUPTED.format(root=root, url=server.base_url, path=str(path))
        process = subprocess.Popen([sys.executable, "-c", script], cwd=root)
        assert server.arrived.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    with SqliteLedger(path) as ledger:
        assert totals(ledger.attempts())["attempts"] == {"doubt": 1}


def test_a_label_map_comes_with_the_key_of_its_colours() -> None:
    one = inputs(1)[0]
    seeing = CaptionInput(one.chip_id, one.facts, legend="worldcover-11", views={"labels": b"png"})
    system = make_request(Chip.of(seeing)).messages[0]["content"]
    held = read_sheet(one.facts).classes[0]
    colour = next(c.colour for c in load_legend("worldcover-11").classes if c.code == held.code)
    assert f"{colour} {held.noun}" in system
