from __future__ import annotations

import string
from collections import Counter

import pytest

from captioners.base import CaptionInput, make_captioner
from captioners.estimate import estimate_calls
from captioners.lexicon import concepts, nouns_of
from captioners.number_words import Choice
from captioners.phrasing import phrases
from captioners.prompt import render_prompt
from captioners.qa import questions
from captioners.reading import read_sheet
from captioners.records import Chip
from captioners.statistics import caption_statistics, distinct, percentile, self_bleu, text_statistics, words
from captioners.template import TemplateCaptioner, template_records
from schemas.facts import Fact, FactSheet
from schemas.legend import known_tables, load_legend
from schemas.recipe import Captions
from schemas.text import TextRecord
from tests.unit.captioners.worlds import caption_input, make_world


def some(count: int, **fields: object) -> list[CaptionInput]:
    return [caption_input(make_world(seed), f"u31-{seed:04d}", **fields) for seed in range(count)]


def test_the_same_facts_give_the_same_bytes_in_any_order() -> None:
    chips = some(5)
    made = make_captioner(Captions())
    forward = made.write(chips)
    backward = made.write(chips[::-1])[::-1]
    assert [[r.model_dump_json() for r in rows] for rows in forward] == [
        [r.model_dump_json() for r in rows] for rows in backward
    ]


def test_the_wording_of_a_pinned_chip_does_not_drift() -> None:
    facts = FactSheet(
        "pinned",
        (
            Fact("ground.height", "ground", "chip", 1280.0, "m", "chip", "grid"),
            Fact("ground.width", "ground", "chip", 1280.0, "m", "chip", "grid"),
            Fact("labelled.share", "labelled", "label", 100.0, "percent", "chip", "label"),
            Fact("share.10", "share", "trees", 30.0, "percent", "chip", "label"),
            Fact("share.40", "share", "cropland", 70.0, "percent", "chip", "label"),
        ),
    )
    rows = template_records(CaptionInput("pinned", facts, kinds=("short", "long")))
    assert [row.text for row in rows] == PINNED


PINNED = [
    "A little more than two thirds of the scene is under cropland, roughly 30% under trees.",
    "A little more than two thirds of the scene is covered by crops and not quite a third by tree cover.",
]


def test_ids_kinds_and_hashes_of_records() -> None:
    one = some(1)[0]
    rows = template_records(one)
    assert [row.text_id for row in rows[:3]] == ["u31-0000-caption-1", "u31-0000-caption-2", "u31-0000-qa-1"]
    assert [row.style for row in rows[:2]] == ["short", "long"]
    assert {row.facts_sha256 for row in rows} == {one.facts.sha256()}
    assert {row.backend for row in rows} == {"template"}
    assert {row.verification for row in rows} == {"pass"}
    held = {fact.fact_id for fact in one.facts.facts}
    for row in rows:
        assert row.facts
        assert set(row.facts) <= held
        for span in row.spans:
            assert row.text[span.start : span.end] == span.phrase
            assert set(span.fact_ids) <= held
        if row.kind == "qa":
            assert row.text == f"{row.question} {row.answer}"
            assert not row.options or row.answer in row.options


def test_only_the_kinds_asked_for_are_written() -> None:
    for kinds in (("short",), ("long", "qa"), ("qa",)):
        rows = template_records(some(1, kinds=kinds)[0])
        assert {"qa" if row.kind == "qa" else row.style for row in rows} == set(kinds)


def test_a_text_that_uses_the_map_takes_on_the_maps_licence() -> None:
    for one in some(20):
        for row in template_records(one):
            uses_map = any(fact.startswith("osm.") for fact in row.facts)
            assert row.licence == ("CC-BY-4.0 AND ODbL-1.0" if uses_map else "CC-BY-4.0")


def test_both_captions_are_said_once_more_in_other_words_of_the_same_facts() -> None:
    for seed in range(12):
        one = caption_input(make_world(seed), f"u31-{seed:04d}", kinds=("short", "long", "revision"))
        rows = {(row.kind, row.style): row for row in template_records(one)}
        for style in ("short", "long"):
            first, again = rows["caption", style], rows["revision", style]
            assert again.parent_id == first.text_id
            assert again.text != first.text
            assert set(again.facts) == set(first.facts)


def test_every_chip_gets_a_caption_even_without_any_label() -> None:
    facts = FactSheet(
        "bare",
        tuple(
            Fact(f"ground.{name}", "ground", "chip", 640.0, "m", "chip", "grid") for name in ("height", "width")
        ),
    )  # fmt: skip
    rows = template_records(CaptionInput("bare", facts))
    assert [row.style for row in rows] == ["short", "long"]
    assert all("not known" in row.text or "No land cover" in row.text for row in rows)


def test_texts_read_as_sentences() -> None:
    for legend in known_tables("legend_"):
        for seed in range(12):
            for row in template_records(caption_input(make_world(seed, legend), f"u31-{seed:04d}")):
                if row.kind == "caption":
                    assert row.text[0].isupper() or row.text[0].isdigit(), row.text
                    assert row.text.endswith("."), row.text
                assert "  " not in row.text
                assert not set(row.text) & set("{}[]<>_\ue000\ue001\ue002"), row.text
                assert " ." not in row.text


def test_captions_vary_over_chips_of_like_content() -> None:
    one = some(1)[0]
    texts = [template_records(CaptionInput(f"u31-{n}", one.facts, kinds=("short",)))[0].text for n in range(60)]
    assert len(set(texts)) >= 20
    openings = {" ".join(text.split()[:3]) for text in texts}
    assert len(openings) >= 8


def test_yes_and_no_are_in_balance_and_every_style_is_asked() -> None:
    rows = [q for one in some(150) for q in questions(read_sheet(one.facts), Choice(7, one.chip_id))]
    polar = [q.answer for q in rows if q.style == "bool"]
    assert 0.4 <= polar.count("Yes") / len(polar) <= 0.62
    assert {q.style for q in rows} == {"bool", "share", "comparison", "position", "count", "relation", "choice"}
    sided = [q.answer for q in rows if q.style == "relation" and q.answer in ("Yes", "No")]
    assert 0.4 <= sided.count("Yes") / len(sided) <= 0.6
    places = Counter(q.options.index(q.answer) for q in rows if q.style == "choice" and len(q.options) == 4)
    assert all(0.18 <= places[n] / places.total() <= 0.32 for n in range(4)), places
    compared = [q for q in rows if q.style == "comparison"]
    assert 0.35 <= sum(q.answer == q.options[0] for q in compared) / len(compared) <= 0.65


def test_nobody_is_told_that_there_are_no_trees_among_mangroves() -> None:
    rows = (
        Fact("labelled.share", "labelled", "label", 100.0, "percent", "chip", "label"),
        Fact("share.10", "share", "trees", 0.0, "percent", "chip", "label"),
        Fact("share.95", "share", "mangroves", 100.0, "percent", "chip", "label"),
    )
    for number in range(40):
        asked = questions(read_sheet(FactSheet("m", rows)), Choice(7, f"m-{number}"))
        assert not [q for q in asked if "tree" in q.question and q.answer == "No"]


def test_every_phrase_uses_known_braces_and_every_slot_has_one_that_always_fits() -> None:
    known = {
        "scene", "list", "area", "centred", "count", "edges", "shape", "noun", "Noun", "place", "from", "to", "day",
        "ndvi", "season", "clear", "green", "cloud", "vv", "vh", "low", "high", "unmapped", "width", "height", "day1",
        "day2", "ndvi1", "ndvi2", "region", "in_region", "rest", "mean", "length", "theme", "Theme", "step", "signed",
        "moved", "part", "at", "dry", "wet", "ndbi", "ndwi", "slope", "absent",
    }  # fmt: skip
    for slot, rows in phrases().items():
        assert rows, slot
        for row in rows:
            for _, name, _, _ in string.Formatter().parse(row):
                if name and name not in known:
                    assert name[-1] in "abcd", (slot, row)


def test_every_noun_of_every_legend_has_a_wording() -> None:
    for legend in known_tables("legend_"):
        for entry in load_legend(legend).classes:
            for noun in nouns_of(entry.noun or entry.name.lower()):
                assert noun.text
                assert noun.full
    assert all(one.synonyms for one in concepts().values())


def test_the_plan_of_a_template_costs_nothing_and_a_models_has_a_range() -> None:
    assert estimate_calls(Captions(), 1000)["cost"] == [0.0, 0.0]
    paid = Captions(
        backend="openai", base_url="http://x/v1", model="m", price_per_million_in=1.0, price_per_million_out=4.0
    )
    plan = estimate_calls(paid, 1000)
    assert plan["calls"] == [1000, 2000]
    assert 0 < plan["cost"][0] < plan["cost"][1]


def test_the_estimate_covers_real_prompts() -> None:
    from captioners.dry_run import CHARACTERS_PER_TOKEN
    from captioners.estimate import ANSWER_TOKENS, PROMPT_TOKENS
    from captioners.prompt import canonical, make_request

    large = [caption_input(make_world(seed, shape=(96, 97)), kinds=tuple(ANSWER_TOKENS)) for seed in range(6)]
    sizes = [len(canonical(make_request(Chip.of(one)).prompt.bare)) for one in [*some(20), *large]]
    assert PROMPT_TOKENS[0] <= min(sizes) / CHARACTERS_PER_TOKEN[0]
    assert max(sizes) / CHARACTERS_PER_TOKEN[1] <= PROMPT_TOKENS[1]


def test_a_prompt_with_an_unknown_variable_is_an_error() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render_prompt("prompt.jinja", facts=[])


def test_statistics_by_hand() -> None:
    assert words("A 2.5 ha wood, north-west: 40%.") == ["a", "2.5", "ha", "wood", "north-west", "40%"]
    assert percentile([1, 2, 3, 4], 50) == 2
    assert percentile([1, 2, 3, 4], 95) == 4
    assert distinct([["a", "b", "a"], ["a", "b"]], 1) == 0.4
    assert distinct([["a", "b", "a"], ["a", "b"]], 2) == round(2 / 3, 4)
    same = ["one", "two", "three", "four", "five", "six"]
    assert self_bleu([same, same]) == 1.0
    assert self_bleu([same, ["seven", "eight", "nine", "ten", "eleven", "twelve"]]) < 0.3
    measured = caption_statistics(["A b.", "a B", "c d e"])
    assert (measured["count"], measured["duplicates"], measured["most_common"]) == (3, 1, 2)


def test_statistics_do_not_depend_on_order_and_take_plain_rows() -> None:
    rows = [row for rows in TemplateCaptioner().write(some(12)) for row in rows]
    one = text_statistics(rows)
    two = text_statistics([row.model_dump(mode="json") for row in rows[::-1]])
    assert one == two
    assert one["count"] == len(rows)
    assert one["chips"] == 12
    assert one["verification"] == {"pass": len(rows)}
    assert one["captions"]["long"]["words_p50"] > one["captions"]["short"]["words_p50"]
    assert text_statistics([])["count"] == 0
    broken = rows[0].model_copy(update={"checks": {"violations": {"class": 2}}})
    assert text_statistics([broken])["violations"] == {"class": 2}
    assert isinstance(broken, TextRecord)
