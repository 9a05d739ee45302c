"""What a call may cost at worst is said before it is sent, and what was spent is added up."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from captioners.budget import FRAME_TOKENS, worst_tokens_in
from captioners.ledger import NANO, Ending
from captioners.manner import Manner
from captioners.prompt import Prompt, canonical
from captioners.till import Till
from tests.unit.captioners.answering import section

SCHEMA: dict[str, Any] = {"type": "object"}
PROFILE = {"image_tokens": 300, "thinking_tokens": 1000, "prices": {"tokens_in": 9.0, "tokens_out": 9.0}}


def prompt(pictures: int) -> Prompt:
    shown = f"data:image/png;base64,{base64.b64encode(b'pixels').decode()}"
    parts = [{"type": "image_url", "image_url": {"url": shown}}] * pictures
    return Prompt.of([{"role": "user", "content": [{"type": "text", "text": "Zürich"}, *parts]}])


def test_input_is_counted_in_short_tokens_and_dear_pictures() -> None:
    assert worst_tokens_in(0, 0, 300) == FRAME_TOKENS
    assert worst_tokens_in(1001, 3, 300) == 501 + 900 + FRAME_TOKENS


def test_a_question_is_held_at_its_worst_with_its_pictures_and_what_the_model_thinks() -> None:
    till = Till(section(profile=PROFILE, view_px=512, max_tokens=50_000), "purse")
    asked = till.asked(prompt(2), SCHEMA, 200, Manner())
    size = len(canonical(prompt(2).bare).encode()) + len(canonical(SCHEMA))
    assert (asked.worst_in, asked.worst_out) == (worst_tokens_in(size, 2, 300), 1200)
    assert asked.parameters["max_tokens"] == 1200
    intent = till.intent(asked, "write", "chip")
    assert intent.worst_nano == (asked.worst_in * 1 + asked.worst_out * 2) * NANO / 1e6, "at the recipe's prices"
    assert (intent.limit_nano, intent.limit_tokens) == (10 * NANO, 50_000)
    assert intent.worst_tokens == asked.worst_in + 1200
    assert (intent.purse, intent.purpose, intent.subject, intent.batch) == ("purse", "write", "chip", "")


@pytest.mark.parametrize(("wish", "doubts"), [("ask_again", 2), ("template", 1)])
def test_a_request_in_doubt_is_sent_again_once_where_the_recipe_says_so(wish: str, doubts: int) -> None:
    till = Till(section(in_doubt=wish), "purse")
    assert till.intent(till.asked(prompt(0), SCHEMA, 9, Manner()), "write", "chip").most_doubts == doubts


def test_what_was_spent_is_added_up_and_an_answer_without_usage_counts_at_its_worst() -> None:
    till = Till(section(), "purse")
    assert till.summary() == {
        "calls": 0, "tokens_in": 0, "tokens_out": 0, "cost": 0.0, "reused": 0, "events": {}, "fallbacks": {},
    }  # fmt: skip
    till.add("a", 5 * NANO, Ending("1", "answered", tokens_in=10, tokens_out=3, cost_nano=NANO))
    till.add("a", 5 * NANO, Ending("2", "answered", cost_nano=None))
    till.add("b", 5 * NANO, Ending("3", "refused"))
    till.spent("b").calls += 2
    till.spent("a").reused += 1
    told = till.summary()
    assert (told["calls"], told["tokens_in"], told["tokens_out"], told["cost"], told["reused"]) == (2, 10, 3, 6.0, 1)
    assert till.spent("a").cost_nano == 6 * NANO


def test_what_was_cut_off_is_counted_and_told_once_and_what_the_template_wrote_by_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    till = Till(section(), "purse")
    for is_cut in (True, False, True):
        talk: Any = SimpleNamespace(cut_off=is_cut, one=SimpleNamespace(chip_id="chip"))
        till.heard(talk)
    assert caplog.text.count("chip: an answer ended at its limit of tokens") == 1
    record: Any = SimpleNamespace(verification="passed", checks={})
    fallback: Any = SimpleNamespace(verification="fallback", checks={"fallback": "budget"})
    till.closed([record, fallback])
    till.closed([fallback])
    assert (till.summary()["events"], till.summary()["fallbacks"]) == ({"cut off": 2}, {"budget": 2})
