from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from captioners.batch_results import read_results
from captioners.completion import json_in, read_content, read_message, read_usage
from captioners.ledger import Attempt, totals
from captioners.ledger_sqlite import SqliteLedger
from captioners.llm import Key
from captioners.till import Till
from tests.fake_openai import FakeOpenAI
from tests.unit.captioners.answering import answers, captioner, inputs, section


def body(content: Any = "said", **usage: Any) -> bytes:
    tokens = {"prompt_tokens": 12, "completion_tokens": 5} | usage
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return json.dumps({"model": "m", "choices": [choice], "usage": tokens}).encode()


NESTED = b"[" * 200_000


@pytest.mark.parametrize(
    "raw",
    [
        NESTED,
        body(prompt_tokens=float("inf")),
        body(prompt_tokens=10**30),
        body(completion_tokens=-1),
        body(prompt_tokens=0, completion_tokens=0, total_tokens=0),
        body(prompt_tokens=0),
        body(completion_tokens=0),
    ],
    ids=["nested", "infinite", "more than a ledger can hold", "negative", "zeros", "no input", "no output"],
)
def test_a_body_that_makes_no_sense_says_nothing_of_use(raw: bytes) -> None:
    assert read_usage(raw) is None


@pytest.mark.parametrize(("total", "billed"), [(1_112, 1_100), (17, 5), (0, 5), (None, 5)])
def test_hidden_reasoning_that_only_the_total_counts_is_billed_as_output(total: int | None, billed: int) -> None:
    use = read_usage(body(total_tokens=total))
    assert use is not None
    assert (use.tokens_in, use.tokens_out) == (12, billed)


def test_a_body_nested_without_end_is_no_message() -> None:
    assert read_message(NESTED) is None
    assert read_content(NESTED) == ""


def test_content_comes_as_text_or_in_parts() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "reasoning", "text": "no"}, {"type": "text", "text": "two"}]
    assert read_content(body("one two")) == read_content(body(parts)) == "one two"
    assert read_content(body(None)) == read_content(body([3])) == ""


@pytest.mark.parametrize(
    "content",
    [
        '{"a": {"b": 1}}',
        'Here it is:\n```json\n{"a": {"b": 1}}\n```\nDone.',
        '<think>{"a": 2}? No.</think>\n\n{"a": {"b": 1}}',
        'Sure! {"a": {"b": 1}} I hope that helps.',
        '[THINK]The shape is {"a": ...}, so[/THINK]{"a": {"b": 1}}',
        '{"a": {"b": 1}}\n\nNote: nothing of {this} was left out.',
    ],
)
def test_the_object_is_found_whatever_stands_around_it(content: str) -> None:
    assert json.loads(json_in(content)) == {"a": {"b": 1}}


def test_half_a_character_in_an_answer_breaks_neither_the_repair_nor_a_record(tmp_path: Path) -> None:
    chips = inputs(1)
    good = answers(chips)

    def halved(request: dict[str, Any]) -> str:
        return "\ud800 no object" if len(request["messages"]) == 2 else good(request)

    with FakeOpenAI(halved, model="m\ud800") as server:
        rows = captioner(server, tmp_path).write(chips)[0]
        assert len(server.requests) == 2
    assert {row.verification for row in rows} == {"pass"}
    assert {row.model for row in rows} == {"m?"}


def test_an_answer_with_absurd_use_is_kept_and_counts_at_its_worst(tmp_path: Path) -> None:
    chips = inputs(1)
    with FakeOpenAI(answers(chips)) as server:
        told = server._completion
        server._completion = lambda *a: told(*a) | {"usage": {"prompt_tokens": 10**30, "completion_tokens": 1}}  # type: ignore[method-assign]
        rows = captioner(server, tmp_path).write(chips)[0]
    assert {row.backend for row in rows} == {"openai"}
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        whole = totals(ledger.attempts())
    assert whole["attempts"] == {"answered": 1}
    assert whole["cost"] > 0


def test_lines_of_a_batch_that_make_no_sense_end_without_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    rows = {name: _attempt(name) for name in ("a", "b")}
    halved = json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": json.loads(body("\ud800"))}})
    path.write_bytes(b"\n".join([NESTED, halved.encode(), b'{"custom_id": "b", "response": "gone"}']))
    found = dict(read_results(path, rows, Till(section(), "run"), Key(None)))
    assert {one.key: ending.state for one, ending in found.items()} == {"a": "answered", "b": "refused"}
    assert [read_content(ending.body) for ending in found.values() if ending.body] == ["?"]
    assert rows == {}


def _attempt(key: str) -> Attempt:
    values: dict[str, Any] = dict.fromkeys(Attempt.__dataclass_fields__, "")
    return Attempt(**(values | {"key": key, "row": "1", "attempt": 1, "cost_nano": 5, "tokens_in": 0}))
