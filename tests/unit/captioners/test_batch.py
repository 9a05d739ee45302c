from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captioners.base import CaptionInput, make_captioner
from captioners.batch import BatchCaptioner
from captioners.budget import WINDOW
from captioners.dry_run import dry_run
from captioners.ledger import totals
from captioners.ledger_sqlite import SqliteLedger
from captioners.manner import red_png
from captioners.prompt import make_request
from captioners.records import Chip
from captioners.template import TemplateCaptioner
from schemas.errors import RecipeError
from tests.fake_openai import FakeOpenAI
from tests.unit.captioners.answering import Waits, access, answers, captioner, computed, inputs, section


def batches(server: FakeOpenAI, folder: Path, *, purse: str = "run", **fields: Any) -> BatchCaptioner:
    limits = {name: fields.pop(name) for name in ("most_requests", "most_bytes") if name in fields}
    recipe = section(backend="openai-batch", **fields)
    return BatchCaptioner(recipe, access(folder, server, purse=purse), sleep=Waits(), **limits)


def states(folder: Path) -> dict[str, int]:
    with SqliteLedger(folder / "ledger.sqlite") as ledger:
        return dict(totals(ledger.attempts())["attempts"])


def test_a_batch_says_the_same_as_single_calls_for_half_the_price(tmp_path: Path) -> None:
    chips = inputs(5)
    with FakeOpenAI(answers(chips)) as server:
        single = captioner(server, tmp_path / "single")
        one = single.write(chips)
        made = batches(server, tmp_path / "batch", price_per_million_in=None, price_per_million_out=None,
                       profile={"prices": {"tokens_in": 1.0, "tokens_out": 2.0}})  # fmt: skip
        many = made.write(chips)
    same = [[row.model_copy(update={"backend": "openai"}) for row in rows] for rows in many]
    assert {row.backend for rows in many for row in rows} == {"openai-batch"}
    assert same == one
    assert made.cost()["cost"] == pytest.approx(single.cost()["cost"] / 2)
    assert len(server.files.batches) == 1


def test_a_chip_of_which_nothing_is_asked_is_in_no_batch(tmp_path: Path) -> None:
    asked, rest = inputs(2), computed(4)[2:]
    with FakeOpenAI(answers([*asked, *rest])) as server:
        made = batches(server, tmp_path)
        done = {one.chip_id: one for one in made.stream([rest[0], *asked, rest[1]])}
        assert server.answered == 2
    assert [done[one.chip_id].records for one in rest] == TemplateCaptioner().write(rest)
    assert {one.open for one in done.values()} == {""}
    assert made.cost()["calls"] == 2


def test_answers_that_say_no_usage_count_at_their_worst(tmp_path: Path) -> None:
    chips = inputs(2)
    with FakeOpenAI(answers(chips)) as server:
        told = server.files._answer
        server.files._answer = lambda request: {n: value for n, value in told(request).items() if n != "usage"}
        made = batches(server, tmp_path)
        made.write(chips)
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        whole = totals(ledger.attempts())["cost"]
    assert whole > 0
    assert made.cost()["cost"] == pytest.approx(whole)


def test_repairs_go_in_a_batch_of_their_own(tmp_path: Path) -> None:
    chips = inputs(3)

    def change(draft: dict[str, Any], round_: int) -> dict[str, Any]:
        if round_ == 0:
            draft["short"][0]["text"] = "A glacier covers the scene."
        return draft

    with FakeOpenAI(answers(chips, change)) as server:
        made = batches(server, tmp_path)
        records = made.write(chips)
        sizes = [len(server.files.files[b["input_file_id"]].splitlines()) for b in server.files.batches.values()]
    mended = sum(rows[0].verification == "repaired" for rows in records)
    assert mended > 0
    assert sizes == [3, mended], "a glacier in a scene of ice needs no repair"
    assert made.cost()["events"]["repairs"] == mended


@pytest.mark.parametrize("fate", ["expired", "partial"])
def test_what_a_batch_left_out_is_asked_again_and_nothing_else(tmp_path: Path, fate: str) -> None:
    chips = inputs(7)
    with FakeOpenAI(answers(chips), batches=[fate]) as server:
        records = batches(server, tmp_path).write(chips)
        assert {row.verification for rows in records for row in rows} == {"pass"}
        assert len(server.files.batches) == 2
        assert server.answered == 7, "what was answered is not asked again"
    counts = states(tmp_path)
    assert counts["answered"] == 7
    assert counts["refused"] == (4 if fate == "expired" else 3)


def test_a_request_that_fails_in_every_batch_is_the_templates_and_may_be_asked_again(tmp_path: Path) -> None:
    chips = inputs(3)
    with FakeOpenAI(answers(chips), batches=["expired"] * 3) as server:
        made = batches(server, tmp_path)
        done = {written.chip_id: written for written in made.stream(chips)}
        left = [one for one in done.values() if one.open == "backend"]
        assert len(left) == 1, "3 -> 1 answered; 2 -> 1; 1 -> none"
        again = {written.chip_id: written.open for written in batches(server, tmp_path).stream(chips)}
    assert set(again.values()) == {""}


def test_files_are_split_by_requests_and_by_bytes(tmp_path: Path) -> None:
    chips = inputs(7)
    with FakeOpenAI(answers(chips)) as server:
        batches(server, tmp_path / "a", most_requests=3).write(chips)
        sizes = [len(server.files.files[b["input_file_id"]].splitlines()) for b in server.files.batches.values()]
        assert sizes == [3, 3, 1]
        largest = max(len(file) for name, file in server.files.files.items() if name.startswith("file"))
        batches(server, tmp_path / "b", most_bytes=largest).write(chips)
        assert len(server.files.batches) > 4
        assert all(len(f) <= largest for name, f in server.files.files.items() if name.startswith("file"))


def test_a_batch_too_large_for_the_queue_is_made_smaller(tmp_path: Path) -> None:
    chips = inputs(4)
    with FakeOpenAI(answers(chips), batches=["limit"]) as server:
        made = batches(server, tmp_path, most_requests=4)
        assert {row.verification for rows in made.write(chips) for row in rows} == {"pass"}
        assert len(server.files.batches) == 3


def test_a_batch_whose_every_request_is_refused_teaches_how_to_ask(tmp_path: Path) -> None:
    chips = inputs(WINDOW + 1, kinds=("short",))

    def takes(body: dict[str, Any]) -> str:
        if "temperature" in body:
            return "Unsupported value: 'temperature' does not support 0.2 with this model."
        return "Use 'max_completion_tokens' instead of 'max_tokens'." if "max_tokens" in body else ""

    fields: dict[str, Any] = {"kinds": ("short",), "parameters": {"temperature": 0.2}}
    with FakeOpenAI(answers(chips)) as server:
        server.files.takes = takes
        made = batches(server, tmp_path, **fields)
        assert {row.verification for rows in made.write(chips) for row in rows} == {"pass"}
        assert len(server.files.batches) == 3
        batches(server, tmp_path, **fields).write(chips)
        assert len(server.files.batches) == 3, "another run asks in the way that was found, and has its answers"
    assert states(tmp_path) == {"answered": len(chips), "refused": 2 * len(chips)}


def test_one_refused_request_among_answers_asks_nothing_anew(tmp_path: Path) -> None:
    chips = inputs(3, kinds=("short",))
    long = make_request(Chip.of(chips[0])).messages[1]["content"]
    with FakeOpenAI(answers(chips)) as server:
        server.files.takes = lambda body: "no schema for this one" if body["messages"][1]["content"] == long else ""
        made = batches(server, tmp_path, kinds=("short",))
        assert [rows[0].backend for rows in made.write(chips)] == ["template", "openai-batch", "openai-batch"]
        assert server.answered == 2


def test_a_queue_that_holds_one_batch_is_filled_one_batch_after_the_other(tmp_path: Path) -> None:
    chips = inputs(7, kinds=("short",))
    with FakeOpenAI(answers(chips)) as server:
        server.files.room = 2
        made = batches(server, tmp_path, kinds=("short",))
        assert {row.verification for rows in made.write(chips) for row in rows} == {"pass"}
        assert len(server.files.batches) == 1 + 1 + 7, "of 7, of 3 (the rest of them is not sent), of 1"
        assert server.answered == 7
    assert states(tmp_path)["answered"] == 7


def test_a_queue_without_room_for_one_request_is_one_line(tmp_path: Path) -> None:
    chips = inputs(3, kinds=("short",))
    with FakeOpenAI(answers(chips)) as server:
        server.files.room = 0
        made = batches(server, tmp_path, kinds=("short",))
        with pytest.raises(RecipeError, match="the batch was not begun"):
            made.write(chips)


def test_a_batch_that_is_refused_is_one_line(tmp_path: Path) -> None:
    chips = inputs(2)
    with (
        FakeOpenAI(answers(chips), batches=["failed"]) as server,
        pytest.raises(RecipeError, match="refuses the batch: the batch was not begun"),
    ):
        batches(server, tmp_path).write(chips)
    assert states(tmp_path) == {"refused": 2}


def test_a_server_that_is_unwell_for_a_while_is_waited_for(tmp_path: Path) -> None:
    chips = inputs(2)
    with FakeOpenAI(answers(chips)) as server:
        server.files.refuse = [503, 500, 429]
        assert batches(server, tmp_path).write(chips)[0][0].verification == "pass"


def test_a_batch_that_was_started_without_a_word_is_found_and_not_started_twice(tmp_path: Path) -> None:
    chips = inputs(3)
    with FakeOpenAI(answers(chips)) as server:
        for number in range(3):  # older batches of others fill the first page of the list
            server.files.files["other"] = b""
            server.files._create({"input_file_id": "other", "endpoint": "/v1/chat/completions"})
            server.files.batches[f"batch-{number:04d}"]["status"] = "completed"
        server.files.lose_created = 1
        batches(server, tmp_path).write(chips)
        assert len(server.files.batches) == 4
        assert server.answered == 3


class Killed(BaseException):
    """Stands for the end of the process, at a place where it waits."""


class DiesAt:
    """A sleep at which the process dies."""

    async def __call__(self, seconds: float) -> None:
        raise Killed


@pytest.mark.parametrize("state", ["made", "uploaded", "created"])
def test_a_run_that_was_killed_goes_on_with_its_batches(tmp_path: Path, state: str) -> None:
    chips = inputs(4)
    with FakeOpenAI(answers(chips)) as server:
        first = batches(server, tmp_path)
        first.sleep = DiesAt()
        if state == "uploaded":
            server.files.lose_created = 1  # the batch is there, and we were not told
        with pytest.raises((Killed, BaseExceptionGroup)):
            first.write(chips)
        if state == "made":
            _forget_upload(tmp_path, server)
        second = batches(server, tmp_path)
        records = second.write(chips)
        assert {row.verification for rows in records for row in rows} == {"pass"}
        assert server.answered == 4
        assert len(server.files.batches) == 1
    counts = states(tmp_path)
    assert counts["answered"] == 4
    assert counts.get("refused", 0) == (4 if state == "made" else 0)
    assert "doubt" not in counts


def _killed_while_it_waits(folder: Path, server: FakeOpenAI, chips: list[CaptionInput]) -> None:
    made = batches(server, folder)
    made.sleep = DiesAt()
    with pytest.raises((Killed, BaseExceptionGroup)):
        made.write(chips)


def test_answers_of_a_batch_that_its_server_threw_away_are_in_doubt_and_asked_once_more(tmp_path: Path) -> None:
    chips = inputs(4)
    with FakeOpenAI(answers(chips)) as server:
        _killed_while_it_waits(tmp_path, server, chips)
        server.files.looks = 0
        server.files._end(server.files.batches["batch-0000"])
        del server.files.files["output_file_id-batch-0000"]
        records = batches(server, tmp_path).write(chips)
    assert {row.verification for rows in records for row in rows} == {"pass"}
    assert states(tmp_path) == {"answered": 4, "doubt": 4}
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        assert all(one.cost_nano > 0 for one in ledger.attempts()), "it may have been billed"


def test_an_upload_that_expired_before_its_batch_began_is_in_doubt_and_asked_once_more(tmp_path: Path) -> None:
    chips = inputs(4)
    with FakeOpenAI(answers(chips)) as server:
        _killed_while_it_waits(tmp_path, server, chips)
        with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            for name, note in ledger.notes("batch").items():
                ledger.save("batch", name, {**note, "state": "uploaded", "batch_id": ""})
        server.files.batches.clear()
        server.files.files.clear()
        server.files.files["another"] = b""  # so that no name comes twice
        records = batches(server, tmp_path).write(chips)
        assert server.answered == 4
    assert {row.verification for rows in records for row in rows} == {"pass"}
    assert states(tmp_path) == {"answered": 4, "doubt": 4}


def test_a_batch_that_the_server_does_not_know_is_one_line_and_stays(tmp_path: Path) -> None:
    chips = inputs(4)
    with FakeOpenAI(answers(chips)) as server:
        _killed_while_it_waits(tmp_path, server, chips)
        kept = dict(server.files.batches)
        server.files.batches.clear()  # as another account sees it
        with pytest.raises(RecipeError, match="knows no batch batch-0000, which an earlier run started"):
            batches(server, tmp_path).write(chips)
        server.files.batches |= kept
        batches(server, tmp_path).write(chips)
        assert server.answered == 4
    assert states(tmp_path) == {"answered": 4}


def test_a_batch_of_a_living_process_is_not_taken_up(tmp_path: Path) -> None:
    """Another build begins with the same ledger while the file is on its way: nothing is asked, or paid, twice."""
    chips = inputs(4)
    others: list[list[Any]] = []
    with FakeOpenAI(answers(chips)) as server:
        upload = server.files._upload

        def while_it_waits(headers: dict[str, str], body: bytes) -> Any:
            server.files._upload = upload  # type: ignore[method-assign]
            others.append(batches(server, tmp_path, purse="other").write(chips))
            return upload(headers, body)

        server.files._upload = while_it_waits  # type: ignore[method-assign]
        records = batches(server, tmp_path).write(chips)
        assert server.answered == 4
    assert {row.verification for rows in records for row in rows} == {"pass"}
    assert {row.verification for rows in others[0] for row in rows} == {"fallback"}
    assert states(tmp_path) == {"answered": 4}


def _forget_upload(folder: Path, server: FakeOpenAI) -> None:
    """As if the process had died before it sent anything."""
    with SqliteLedger(folder / "ledger.sqlite") as ledger:
        for name, note in ledger.notes("batch").items():
            ledger.save("batch", name, {**note, "state": "made", "file_id": "", "batch_id": ""})
    server.files.batches.clear()
    server.files.files.clear()


def test_the_budget_lets_through_what_fits_and_what_is_left_of_it_afterwards(tmp_path: Path) -> None:
    chips = inputs(8)
    with FakeOpenAI(answers(chips)) as server:
        made = batches(server, tmp_path, max_cost=0.02)
        records = made.write(chips)
        assert made.cost()["cost"] <= 0.02
        assert len(server.files.batches) > 1, "what a batch did not cost pays for the next"
    reasons = [rows[0].checks.get("fallback") for rows in records]
    assert 0 < reasons.count("budget") < 8
    assert reasons.count(None) == server.answered


def test_replay_needs_no_server_and_gives_the_same_words(tmp_path: Path) -> None:
    chips = inputs(4)
    with FakeOpenAI(answers(chips)) as server:
        paid = captioner(server, tmp_path).write(chips[:3])
    replay = make_captioner(section(backend="replay", base_url=""), access(tmp_path))
    words = [[row.model_copy(update={"backend": "openai"}) for row in rows] for rows in replay.write(chips[:3])]
    assert words == paid
    assert replay.cost()["calls"] == 0
    with pytest.raises(RecipeError, match=r"lacks answers for 1 of 4 chips: u31-0003"):
        replay.write(chips)
    lenient = make_captioner(section(backend="replay", base_url="", missing="template"), access(tmp_path))
    last = lenient.write(chips)[3]
    assert {row.verification for row in last} == {"fallback"}
    assert last[0].checks["fallback"] == "missing"


def test_replay_finds_answers_of_a_server_that_was_asked_otherwise(tmp_path: Path) -> None:
    chips = inputs(2)
    with FakeOpenAI(
        answers(chips), takes=lambda r: "no response_format here" if "response_format" in r else ""
    ) as server:
        captioner(server, tmp_path).write(chips)
        assert "response_format" not in json.dumps(server.requests[-1])
    replay = make_captioner(section(backend="replay", base_url=""), access(tmp_path))
    assert {row.verification for rows in replay.write(chips) for row in rows} == {"pass"}


def test_replay_finds_answers_of_a_server_that_did_not_take_a_parameter(tmp_path: Path) -> None:
    chips, given = inputs(1), {"temperature": 0.2, "top_p": 0.9, "seed": 1}
    with FakeOpenAI(answers(chips), takes=lambda r: "Unsupported: 'top_p'" if "top_p" in r else "") as server:
        paid = captioner(server, tmp_path, parameters=given).write(chips)
    replay = make_captioner(section(backend="replay", base_url="", parameters=given), access(tmp_path))
    assert [row.text for row in replay.write(chips)[0]] == [row.text for row in paid[0]]


def test_a_model_that_does_not_see_is_sent_no_pictures_in_batches_either(tmp_path: Path) -> None:
    chips = [replace(one, views={"true_colour": red_png()}) for one in inputs(1)]
    blind = {"images": False, "prices": {"tokens_in": 1.0, "tokens_out": 2.0}}
    fields: dict[str, Any] = {"price_per_million_in": None, "price_per_million_out": None, "profile": blind}
    with FakeOpenAI(answers(inputs(1))) as server:
        rows = batches(server, tmp_path, **fields).write(chips)[0]
        assert isinstance(server.requests[0]["messages"][1]["content"], str)
    assert {row.seen_by_model for row in rows if row.model} == {"text_only"}
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        run = dry_run(section(backend="openai-batch", **fields), chips, ledger, server.base_url, 0)
    assert run.reused == 1


def test_replay_looks_for_no_answer_where_nothing_was_asked(tmp_path: Path) -> None:
    chips = computed(2)
    replay = make_captioner(section(backend="replay", base_url=""), access(tmp_path))
    assert replay.write(chips) == TemplateCaptioner().write(chips)
