from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captioners.ledger import totals
from captioners.ledger_sqlite import SqliteLedger
from captioners.live import LiveCaptioner
from captioners.manner import Manner, red_png, server_name
from captioners.prompt import make_request
from captioners.records import Chip
from schemas.errors import RecipeError
from schemas.model_profile import find_profile, known_profiles
from schemas.recipe import Captions
from tests.fake_openai import FakeOpenAI, Request
from tests.minds import Mind
from tests.unit.captioners.answering import answers, captioner, inputs, section, user_text


def formats(server: FakeOpenAI) -> list[str]:
    return [request.get("response_format", {}).get("type", "text") for request in server.requests]


def only(*taken: str) -> Any:
    """A server that refuses every other way to JSON."""

    def takes(request: Request) -> str:
        name = request.get("response_format", {}).get("type", "text")
        return "" if name in taken else f"response_format {name} is not supported"

    return takes


@pytest.mark.parametrize(
    ("taken", "asked"),
    [
        (("json_schema", "json_object", "text"), ["json_schema"]),
        (("json_object", "text"), ["json_schema", "json_object"]),
        (("text",), ["json_schema", "json_object", "text"]),
    ],
)
def test_a_server_is_asked_once_what_it_can_and_remembered(
    tmp_path: Path, taken: tuple[str, ...], asked: list[str]
) -> None:
    with FakeOpenAI(Mind(), takes=only(*taken)) as server:
        first = captioner(server, tmp_path, probe=True).write(inputs(2))
        assert formats(server) == [*asked, asked[-1], asked[-1]]
        captioner(server, tmp_path, probe=True).write(inputs(3)[2:])
        assert formats(server)[len(asked) + 2 :] == [asked[-1]], "another run does not probe again"
        with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
            note = ledger.load("server", server_name(server.base_url, "m"))
            probes = [one for one in ledger.attempts() if one.purpose == "probe"]
    assert note is not None
    assert note["format"] == asked[-1]
    assert probes[-1].state == "answered"
    assert probes[-1].cost_nano > 0, "a probe is paid for, too"
    assert {row.verification for rows in first for row in rows} <= {"pass", "repaired", "fallback"}


def test_a_server_that_takes_the_schema_and_ignores_it_is_found_out(tmp_path: Path) -> None:
    mind = Mind()

    def answer(request: Request) -> str:
        if request.get("response_format", {}).get("type") == "json_schema" and "any colour" in str(request):
            return "Blue is a colour, and a rather dark one."
        return mind(request)

    with FakeOpenAI(answer) as server:
        captioner(server, tmp_path, probe=True).write(inputs(1))
        assert formats(server) == ["json_schema", "json_object", "json_object"]


def test_parameters_that_a_server_does_not_take_are_left_out(tmp_path: Path) -> None:
    def takes(request: Request) -> str:
        if "temperature" in request:
            return "Unsupported value: 'temperature' does not support 0.2 with this model."
        return "Use 'max_completion_tokens' instead." if "max_tokens" in request else ""

    with FakeOpenAI(Mind(), takes=takes) as server:
        captioner(server, tmp_path, probe=True, parameters={"temperature": 0.2, "top_p": 0.9}).write(inputs(1))
    last = server.requests[-1]
    assert "temperature" not in last
    assert last["top_p"] == 0.9
    assert "max_completion_tokens" in last


def test_a_manner_learns_each_way_only_once() -> None:
    manner = Manner()
    asked = manner.parameters(section(), {}, 10)
    assert manner.learned("the schema is too deep", asked) == Manner(format="json_object")
    assert manner.learned("this model has no context left", asked) is None
    text = Manner(format="text")
    assert text.learned("response_format is unknown", text.parameters(section(), {}, 10)) is None


@pytest.mark.parametrize(
    "said",
    [
        "Error code: 400 - {'error': {'message': 'Unrecognized request argument supplied: max_completion_tokens'}}",
        "{'detail': [{'type': 'extra_forbidden', 'loc': ['body', 'max_completion_tokens'], 'msg': 'Extra inputs are not"
        " permitted', 'input': 700}]}",
    ],
    ids=["Azure of 2024", "Mistral"],
)
def test_a_server_that_knows_the_older_limit_alone_is_asked_with_it(said: str) -> None:
    newer = Manner(limit_name="max_completion_tokens")
    assert newer.learned(said, newer.parameters(section(), {}, 10)) == Manner(limit_name="max_tokens")
    too_large = "max_completion_tokens is too large: 32768. This model takes at most 16384 completion tokens."
    assert newer.learned(too_large, newer.parameters(section(), {}, 10)) is None


def test_a_schema_that_makes_no_grammar_is_asked_for_in_another_way() -> None:
    said = "Failed to initialize samplers: failed to parse grammar"
    assert Manner().learned(said, Manner().parameters(section(), {}, 10)) == Manner(format="json_object")


TOO_LONG = (
    "'max_tokens' or 'max_completion_tokens' is too large: 2700. This model's maximum context length is 4096 tokens and"
    " your request has 3000 input tokens (2700 > 4096 - 3000)."
)


def test_a_request_that_is_too_long_changes_nothing_for_the_others(tmp_path: Path) -> None:
    chips = inputs(3)
    long = make_request(Chip.of(chips[0])).messages[1]["content"]
    with FakeOpenAI(answers(chips), takes=lambda r: TOO_LONG if user_text(r) == long else "") as server:
        first = captioner(server, tmp_path, concurrency=1).write(chips)
        paid = sum(server.billed.values())
        again = captioner(server, tmp_path, concurrency=1).write(chips)
        assert sum(server.billed.values()) == paid == 2, "another run asks for nothing that was answered"
    assert len(server.requests) == 4, "the long one once in each run"
    assert [one[0].checks.get("fallback") for one in first] == ["backend", None, None]
    assert again == first


def test_what_a_profile_says_goes_before_what_was_found(tmp_path: Path) -> None:
    chips = [replace(one, views={"true_colour": red_png()}) for one in inputs(2)]
    with FakeOpenAI(Mind()) as server:
        captioner(server, tmp_path, probe=True, views=("true_colour",)).write(chips[:1])
        profile = {"formats": ["json_object"], "images": False}
        captioner(server, tmp_path, probe=True, views=("true_colour",), profile=profile).write(chips[1:])
    first, last = server.requests[-2:]
    assert "image_url" in str(first)
    assert formats(server)[-2:] == ["json_schema", "json_object"]
    assert "image_url" not in str(last)


@pytest.mark.parametrize(
    "said",
    [
        (500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
        (500, "Failed to create new sequence: this model is missing data required for image input"),
        (404, "No endpoints found that support image input"),
    ],
    ids=["llama.cpp", "Ollama", "OpenRouter"],
)
def test_a_server_that_refuses_pictures_by_any_status_does_not_see(tmp_path: Path, said: tuple[int, str]) -> None:
    chips = [replace(one, views={"true_colour": red_png()}) for one in inputs(1, kinds=("short",))]
    with FakeOpenAI(Mind(), takes=lambda r: said if "image_url" in str(r) else "") as server:
        made = captioner(server, tmp_path, probe=True, views=("true_colour",), kinds=("short",))
        row = made.write(chips)[0][0]
        assert len(server.requests) == 3, "one probe of each sort, and the chip"
    assert (row.backend, row.seen_by_model) == ("openai", "text_only")
    assert made.cost()["events"]["pictures left out"] == 1


def test_one_price_in_the_recipe_leaves_the_other_what_it_is() -> None:
    server = {"backend": "openai", "base_url": "http://h/v1", "model": "gpt-5.4-mini", "api_key_env": "K"}
    known = Captions.model_validate({**server, "price_per_million_in": 0.5}).prices
    assert (known.tokens_in, known.tokens_out) == (0.5, 4.5)
    known = Captions.model_validate({**server, "price_per_million_out": 3.0}).prices
    assert (known.tokens_in, known.tokens_out) == (0.75, 3.0)
    own = Captions.model_validate({**server, "model": "mine", "price_per_million_in": 0.0}).prices
    assert (own.tokens_in, own.tokens_out) == (0.0, 0.0)


def test_the_table_of_models_is_whole_and_dated() -> None:
    for profile in known_profiles():
        assert profile.models
        if profile.prices is not None:
            assert profile.prices.as_of is not None
            assert profile.prices.source
            assert profile.prices.tokens_out > profile.prices.tokens_in > (profile.prices.cached_in or 0.0) > 0
    assert find_profile("openai/gpt-5.4-mini-2026-03-17").limit_name == "max_completion_tokens"
    assert find_profile("qwen3-vl-8b").prices is None


def test_a_recipe_brings_its_own_profile_and_prices() -> None:
    own = Captions.model_validate(
        {
            "backend": "openai", "base_url": "http://h/v1", "model": "mine", "api_key_env": "K",
            "parameters": {"top_k": 20},
            "profile": {"parameters": ["top_k"], "prices": {"tokens_in": 1.0, "tokens_out": 2.0, "currency": "EUR"}},
        }
    )  # fmt: skip
    assert own.prices.currency == "EUR"
    assert json.loads(own.model_dump_json())["profile"]["parameters"] == ["top_k"]
    table = Captions(backend="openai", base_url="http://h/v1", model="gpt-5.4-mini", api_key_env="K")
    assert table.prices.tokens_in == 0.75
    dearer = Captions(
        backend="openai", base_url="http://h/v1", model="gpt-5.4-mini", price_per_million_in=2.0,
        price_per_million_out=9.0,
    )  # fmt: skip
    assert (dearer.prices.tokens_in, dearer.prices.cached_in) == (2.0, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parameters": {"temperature": 0.2}, "model": "gpt-5.4-mini"}, "takes reasoning_effort, verbosity"),
        ({"api_key_env": "KEY", "model": "some-new-model"}, "no price of some-new-model is known"),
        ({"price_per_million_in": 1.0, "model": "some-new-model"}, "no price of some-new-model is known"),
        ({"model": ""}, "needs base_url and model"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_sent(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Captions.model_validate({"backend": "openai", "base_url": "http://h/v1", **fields})


def test_a_key_that_is_refused_ends_the_run_and_leaves_nothing_in_doubt(tmp_path: Path) -> None:
    with FakeOpenAI(Mind(), key="another", service_s=0.05) as server:
        made: LiveCaptioner = captioner(server, tmp_path, concurrency=8)
        with pytest.raises(RecipeError, match="refused the key"):
            made.write(inputs(12))
    with SqliteLedger(tmp_path / "ledger.sqlite") as ledger:
        assert set(totals(ledger.attempts())["attempts"]) == {"refused"}
