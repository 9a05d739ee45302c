from __future__ import annotations

import json

import pytest

from captioners.base import CaptionInput
from captioners.conversation import Conversation
from captioners.records import Chip, Told
from captioners.style import Violation
from tests.unit.captioners.test_verify import chip


@pytest.mark.parametrize(
    ("text", "facts", "licence"),
    [
        ("Cropland covers about 60% of the scene.", ("share.40",), "CC-BY-4.0"),
        ("Cropland covers about 60% of the scene.", ("share.40", "osm.building.count"), "CC-BY-4.0 AND ODbL-1.0"),
        ("Cropland covers about 60% of the scene, with buildings in it.", ("share.40",), "CC-BY-4.0 AND ODbL-1.0"),
        ("Cropland covers about 60% of the scene along the Lys.", ("share.40",), "CC-BY-4.0 AND ODbL-1.0"),
    ],
)
def test_a_text_that_names_what_only_the_map_knows_takes_on_its_licence(
    text: str, facts: tuple[str, ...], licence: str
) -> None:
    sheet = chip("Lys").reading.sheet
    talk = Conversation(CaptionInput("chip", sheet, legend="worldcover-11", kinds=("short",), licence="CC-BY-4.0"))
    content = json.dumps({"short": [{"text": text, "facts": facts}]})
    talk.hear("key", json.dumps({"choices": [{"message": {"content": content}}]}).encode())
    (record,) = talk.records()
    assert (record.text, record.licence) == (text, licence)


def test_what_a_model_that_runs_in_circles_says_again_is_dropped() -> None:
    said = [
        ("Cropland covers about 60% of the scene.", ["share.40"]),
        ("Trees cover about 25% of the scene.", ["share.10"]),
        ("Water covers about 15% of the scene.", ["share.80"]),
    ]
    for texts, dropped in ((said, None), (said * 3, 6), ([*said, said[0]], 1)):
        talk = Conversation(CaptionInput("chip", chip().reading.sheet, legend="worldcover-11", kinds=("long",)))
        content = json.dumps({"long": [{"text": text, "facts": facts} for text, facts in texts]})
        talk.hear("key", json.dumps({"choices": [{"message": {"content": content}}]}).encode())
        assert talk.prompt is None, "nothing is paid for a second time"
        (record,) = talk.records()
        assert record.text == " ".join(text for text, _ in said)
        assert record.checks.get("dropped") == dropped
        assert all(record.text[span.start : span.end] == span.phrase for span in record.spans)


def test_the_rest_is_judged_by_what_the_same_text_has_named() -> None:
    crops, trees = "Cropland covers about 60% of the scene.", "Trees cover about 25% of the scene."
    for before, holds in (([crops, trees], True), ([crops], False)):
        talk = Conversation(CaptionInput("chip", chip().reading.sheet, legend="worldcover-11", kinds=("long",)))
        said = [
            {"text": text, "facts": ["share.40", "share.10", "share.80"]} for text in (*before, "The rest is water.")
        ]
        talk.hear("key", json.dumps({"choices": [{"message": {"content": json.dumps({"long": said})}}]}).encode())
        assert (talk.prompt is None) == holds  # else a repair is asked for


def test_the_template_is_verified_where_it_stands_in_for_a_model_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def doubted(_: Chip, told: Told) -> list[Violation]:
        asked.append(told.style)
        return [Violation("number", "fits no fact")]

    for module in ("drafts", "records"):
        monkeypatch.setattr(f"captioners.{module}.doubts", doubted)
    for share, kind, verification in (("60%", [], "pass"), ("30%", ["short"], "not_checked")):
        asked.clear()
        talk = Conversation(CaptionInput("chip", chip().reading.sheet, legend="worldcover-11", kinds=("short",)))
        said = {"short": [{"text": f"Cropland covers about {share} of the scene.", "facts": ["share.40"]}]}
        while talk.prompt is not None:
            talk.hear("key", json.dumps({"choices": [{"message": {"content": json.dumps(said)}}]}).encode())
        (record,) = talk.records()
        assert (asked, record.verification) == (kind, verification)
        assert (record.checks.get("fallback") == "violations") == bool(kind)
