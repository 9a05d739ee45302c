from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captioners.clerk import Clerk
from captioners.costs import cost_report
from captioners.dry_run import dry_run
from captioners.estimate import ANSWER_TOKENS, IMAGE_TOKENS, estimate_calls
from captioners.ledger import NANO, Attempt, Ending, Intent, LedgerFullError, Step
from captioners.ledger_sqlite import SqliteLedger
from captioners.prompt import slots_of
from captioners.records import Chip
from captioners.template import KINDS, told
from schemas.model_profile import TokenUse
from tests.fake_openai import FakeOpenAI
from tests.unit.captioners.answering import answers, captioner, computed, inputs, section


def attempt(key: str, state: str, cost: float, subject: str = "a", purpose: str = "write") -> Attempt:
    return Attempt("1", key, 1, "p", purpose, "m", state, subject, "", "", 200, "", 10, 5, 4, round(cost * NANO), "")  # type: ignore[arg-type]


def text(chip_id: str, style: str, words: str, key: str = "", backend: str = "openai") -> dict[str, Any]:
    return {"chip_id": chip_id, "kind": "caption", "style": style, "text": words, "backend": backend,
            "request_key": key, "checks": {}}  # fmt: skip


def test_costs_are_told_by_fate_and_by_kind_and_nothing_is_left_out() -> None:
    attempts = [
        attempt("k1", "answered", 3.0), attempt("k2", "answered", 1.0, purpose="repair"),
        attempt("k3", "doubt", 2.0, "b"), attempt("k3", "refused", 0.0, "b"),
        attempt("k4", "answered", 4.0, "b"), attempt("p", "answered", 0.5, "", "probe"),
    ]  # fmt: skip
    texts = [
        text("a", "short", "xx", "k2"),
        text("a", "long", "yyyyyy", "k2"),
        text("b", "short", "z", "k4", "template"),
    ]
    report = cost_report(attempts, texts)
    assert report["cost"] == 10.5
    assert {fate: one["cost"] for fate, one in report["cost_by_fate"].items()} == {
        "in doubt": 2.0, "probe": 0.5, "refused": 0.0, "replaced": 7.0, "used": 1.0,
    }  # fmt: skip
    assert report["kinds"]["caption/short"]["cost"] == pytest.approx(4.0 * 2 / 8 + 6.0)
    assert report["kinds"]["caption/long"]["cost"] == pytest.approx(4.0 * 6 / 8)
    assert report["per_1000"] == pytest.approx(3500.0)
    assert report["written"] == {"texts": 3, "by_model": 2, "by_template": 1}
    assert sum(chip["cost"] for chip in report["chips"].values()) == report["cost"]
    assert report["chips"][""]["calls"] == 1


def test_a_dry_run_counts_what_would_be_asked_and_sends_nothing(tmp_path: Path) -> None:
    chips = inputs(5)
    with FakeOpenAI(answers(chips)) as server:
        made = captioner(server, tmp_path)
        made.write(chips[:2])
        with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            run = dry_run(section(), chips, ledger, server.base_url, show=1)
        rest = captioner(server, tmp_path)
        rest.write(chips[2:])
        assert len(server.requests) == 5
    cost = rest.cost()
    assert (run.chips, run.reused, run.calls) == (5, 2, (3, 6))
    assert run.tokens_in[0] <= cost["tokens_in"] <= run.tokens_in[1]
    assert run.tokens_out[0] <= cost["tokens_out"] <= run.tokens_out[1]
    assert run.cost[0] <= cost["cost"] <= run.cost[1] <= run.worst * 2
    assert run.prompts[0][0] == chips[0].chip_id
    assert "--- system" in run.prompts[0][1]
    fresh = dry_run(section(), chips, None, "", show=0)
    assert (fresh.reused, fresh.prompts) == (0, [])


def test_a_dry_run_passes_over_chips_of_which_nothing_is_asked() -> None:
    asked, rest = inputs(2), computed(5)[2:]
    run, alone = (dry_run(section(), chips, None, "", show=9) for chips in ([rest[0], *asked, *rest[1:]], asked))
    assert (run.chips, run.calls) == (5, (2, 4))
    assert [chip_id for chip_id, _ in run.prompts] == [one.chip_id for one in asked]
    assert (run.tokens_in, run.tokens_out, run.cost, run.worst) == (
        alone.tokens_in, alone.tokens_out, alone.cost, alone.worst,
    )  # fmt: skip


def test_kinds_that_no_model_is_asked_for_have_no_price() -> None:
    """What the table of answers' lengths lacks is computed, whatever the chip holds; what it has is asked somewhere."""
    asked = set()
    for kind in KINDS:
        for one in inputs(24, kinds=(kind,)):
            if any(slots_of(told(Chip.of(one)))):
                asked.add(kind)
    assert asked == set(ANSWER_TOKENS)
    alone, more = section(kinds=("short",)), section(kinds=("short", "labels", "grounded", "dialogue", "revision"))
    chips = inputs(2, kinds=("short",))
    assert estimate_calls(more, 9) == estimate_calls(alone, 9)
    assert dry_run(more, chips, None, "", 0) == dry_run(alone, chips, None, "", 0)
    nothing = estimate_calls(section(kinds=("labels", "grounded")), 9)
    assert (nothing["calls"], nothing["tokens_in"], nothing["cost"]) == ([0, 0], [0, 0], [0.0, 0.0])


@pytest.mark.parametrize(("size", "tokens"), [(448, 2000), (1024, 8000)])
def test_pictures_are_in_the_estimate_as_in_the_dry_run_and_the_guard(size: int, tokens: int) -> None:
    blind = section(views=("true_colour", "ndvi"), view_px=size, profile={"images": False})
    sees = section(views=("true_colour", "ndvi"), view_px=size, profile={"images": True})
    least, most = (estimate_calls(one, 10)["tokens_in"] for one in (blind, sees))
    assert most == [least[0] + 10 * 2 * IMAGE_TOKENS, least[1] + 2 * 10 * 2 * tokens]
    chips = [replace(one, views={"true_colour": b"png"}) for one in inputs(1)]
    bare, shown = (dry_run(one, chips, None, "", 0) for one in (blind, sees))
    assert 2 * tokens <= shown.tokens_in[1] - bare.tokens_in[1] < 2 * tokens + 400
    assert 1e6 * (shown.worst - bare.worst) >= tokens


def test_hidden_reasoning_is_in_the_estimate_as_in_the_dry_run() -> None:
    plain, thinks = section(), section(profile={"thinking_tokens": 2000})
    least, most = (estimate_calls(one, 10)["tokens_out"] for one in (plain, thinks))
    assert most == [least[0], least[1] + 2 * 10 * 2000]
    chips = inputs(3)
    assert dry_run(thinks, chips, None, "", 0).tokens_out == tuple(estimate_calls(thinks, 3)["tokens_out"])


def test_pictures_are_in_the_estimate_as_in_the_dry_run() -> None:
    views = ("true_colour", "labels")
    chips = [replace(one, views=dict.fromkeys(views, b"png")) for one in inputs(3)]
    for profile, tokens in ({}, (85, 2000)), ({"image_tokens": 500}, (85, 500)), ({"images": False}, (0, 0)):
        plain, shown = (section(profile=profile, views=given) for given in ((), views))
        planned = [estimate_calls(one, 3)["tokens_in"] for one in (plain, shown)]
        dry = [dry_run(shown, given, None, "", 0).tokens_in for given in (inputs(3), chips)]
        for end, repaired in (0, 1), (1, 2):
            is_sent = end == 1 or "images" in profile  # an unknown model may turn out to be blind
            assert planned[1][end] - planned[0][end] == 3 * 2 * tokens[end] * repaired * is_sent
            assert dry[1][end] - dry[0][end] >= 3 * 2 * tokens[end] * repaired


class Slow:
    """A ledger whose first sync lasts until it is let go."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.go = threading.Event()

    def apply(self, steps: list[Step]) -> list[Any]:
        self.groups.append(len(steps))
        self.go.wait(20)
        if any(isinstance(step, Intent) and step.key == "full" for step in steps):
            raise LedgerFullError("full")
        return ["row" if isinstance(step, Intent) else None for step in steps]


def test_steps_that_come_during_a_sync_share_the_next_one() -> None:
    async def main() -> tuple[list[Any], list[int]]:
        slow = Slow()
        clerk = Clerk(slow, asyncio.get_running_loop())  # type: ignore[arg-type]
        first = asyncio.create_task(clerk.intend(Intent("k", "p", "write", "m", 1, 1)))
        while not slow.groups:
            await asyncio.sleep(0)
        rest = [asyncio.create_task(clerk.end(Ending("row", "refused"))) for _ in range(40)]
        await asyncio.sleep(0)
        assert not first.done(), "nothing is sent before its intent is on disk"
        slow.go.set()
        results = [await first, *[await one for one in rest]]
        with pytest.raises(LedgerFullError):
            await clerk.intend(Intent("full", "p", "write", "m", 1, 1))
        clerk.close()
        return results, slow.groups

    results, groups = asyncio.run(main())
    assert results == ["row", *[None] * 40]
    assert groups == [1, 40, 1]


def test_the_range_of_prices_holds_whatever_the_cache_is_billed_at() -> None:
    """A prompt that is cached costs a tenth, one that is written into the cache a quarter more."""
    plain = {"tokens_in": 4.0, "tokens_out": 10.0}
    own = {"price_per_million_in": None, "price_per_million_out": None}
    paid = section(**own, profile={"prices": {**plain, "cached_in": 0.4, "cache_write": 5.0}})
    told, known = estimate_calls(paid, 10), estimate_calls(section(**own, profile={"prices": plain}), 10)
    (fewest, most), (shortest, longest) = told["tokens_in"], told["tokens_out"]
    cheap = TokenUse(tokens_in=fewest, tokens_out=shortest, cached=fewest)
    dear = TokenUse(tokens_in=most, tokens_out=longest, cache_written=most)
    assert told["cost"] == [paid.prices.cost_nano(use) / NANO for use in (cheap, dear)]
    assert told["cost"][0] < known["cost"][0] < known["cost"][1] < told["cost"][1]
