"""The published forms: each recipe loads and asks for its form, and the texts of that form are what was published.

The rules are read off the raw label maps and map features, by the judge that shares no code with the captioners.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml
from shapely.geometry import LineString, Polygon, box

from captioners.elements import find_elements, is_area_feature, meanings
from captioners.form_chatearthnet import size_word
from captioners.style import style_violations
from captioners.template import template_records
from schemas.labels import Feature, FeatureTable
from schemas.recipe_file import load_recipe
from schemas.text import TextRecord
from tests.unit.captioners.judge import mask_of
from tests.unit.captioners.judge_records import judge_record
from tests.unit.captioners.worlds import World, caption_input, make_world

FORMS = {"chatearthnet": "chatearthnet", "rsteller": "rsteller", "skyscript": "skyscript", "rsvlm-qa": "rsvlm_qa"}


def records(world: World, kind: str, chip_id: str = "c") -> list[TextRecord]:
    return template_records(caption_input(world, chip_id, kinds=(kind,)))


@pytest.mark.parametrize("name", FORMS)
def test_a_recipe_asks_for_its_form(name: str) -> None:
    recipe = load_recipe(Path(str(resources.files("recipes") / f"{name}.yaml")))
    assert recipe.captions is not None
    assert FORMS[name] in recipe.captions.kinds
    pixels = recipe.grid.chip_m / recipe.grid.gsd_m
    assert pixels == {"chatearthnet": 256, "rsteller": 448, "skyscript": 224, "rsvlm-qa": 256}[name]


@pytest.mark.parametrize("percent", [0.01, 9.99, 10.0, 19.9, 20.0, 49.9, 50.0, 79.9, 80.0, 100.0])
def test_five_size_words_begin_at_their_published_limits(percent: float) -> None:
    words = ("extra small", "small", "medium", "large", "extra large")
    assert size_word(percent) == words[int(np.searchsorted([10, 20, 50, 80], percent, side="right"))]


def test_chatearthnet_tells_four_quadrants_then_the_middle_and_no_small_class() -> None:
    told = 0
    for seed in range(30):
        world = make_world(seed, shape=(36, 40))
        for row in records(world, "chatearthnet"):
            assert judge_record(world, row) == []
            sized = re.findall(
                r"(?:extra )?(?:small|medium|large) (?:fraction|part|portion|amount|quantity)\b", row.text
            )
            assert sized
            told += 1
            small = [e for e in world.legend.classes if 0 < int(mask_of(world, e.code).sum()) < 20]
            for entry in small:
                noun = entry.noun or entry.name.lower()
                assert f"share.{entry.code}" not in row.facts, (noun, row.text)
    assert told == 30


def test_rsteller_tells_one_feature_with_its_meaning_and_other_words_in_its_revisions() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(70):
        world = make_world(seed)
        rows = records(world, "rsteller", f"c{seed}")
        if not rows:
            continue
        caption, *revisions = rows
        assert (caption.kind, caption.style) == ("caption", "rsteller")
        assert 1 <= len(revisions) <= 4
        assert {row.parent_id for row in revisions} == {caption.text_id}
        assert {row.facts for row in revisions} <= {caption.facts} | {row.facts for row in rows}
        assert len({row.text for row in rows}) == len(rows)
        for row in rows:
            assert judge_record(world, row) == []
            assert row.licence == "CC-BY-4.0 AND ODbL-1.0"
            assert not row.visually_verifiable
        (tag,) = {fact for fact in caption.facts if fact.endswith(".tag")}
        element = caption_input(world, f"c{seed}").facts.get(tag)
        assert element is not None
        assert meanings()[str(element.value)].words in caption.text
        kinds["area" if any(f.endswith(".area") for f in caption.facts) else "line"] += 1
    assert min(kinds["area"], kinds["line"]) >= 6


def test_a_road_among_others_of_its_kind_is_as_long_as_it_is_itself() -> None:
    world = make_world(3, shape=(40, 40))
    left, bottom, right, top = world.georef.bounds_xyxy
    roads = tuple(
        Feature(f"way/{n}", LineString([(left - 9, y), (right + 9, y)]), {"highway": "secondary"})
        for n, y in ((1, bottom + 90.0), (2, top - 90.0))
    )
    alone = replace(world, features=replace(world.features, features=roads))
    rows = records(alone, "rsteller")
    assert {row.verification for row in rows} == {"pass"}, [row.checks for row in rows]


def test_skyscript_names_what_can_be_made_out_at_the_gsd() -> None:
    titles = 0
    for seed in range(60):
        world = make_world(seed)
        rows = records(world, "skyscript")
        assert len(rows) <= 2
        assert [row.style for row in rows] == ["title", "title_multi_objects"][: len(rows)]
        for row in rows:
            assert judge_record(world, row) == []
        titles += len(rows)
    assert titles > 40


def test_rsvlm_has_nine_questions_of_four_kinds_and_true_relations() -> None:
    for seed in range(40):
        world = make_world(seed)
        rows = records(world, "rsvlm_qa")
        types = Counter(row.style for row in rows if row.kind == "qa")
        complete = not (world.label == 255).any()
        if complete:
            wanted = {"rsvlm_spatial": 3, "rsvlm_object": 2, "rsvlm_scene": 2, "rsvlm_quantity": 2}
            assert types == Counter(wanted), (seed, types)
        assert [row.style for row in rows if row.kind == "caption"] == ["rsvlm_caption", "rsvlm_paragraph"]
        for row in rows:
            assert judge_record(world, row) == []


def feature(tags: dict[str, str], ring: bool = True, identifier: str = "way/1") -> Feature:
    corners = [(0.0, 0.0), (80.0, 0.0), (80.0, 80.0), (0.0, 80.0)]
    return Feature(identifier, Polygon(corners) if ring else LineString(corners), tags)


@pytest.mark.parametrize(
    ("tags", "is_area"),
    [
        ({"landuse": "farmland"}, True),
        ({"landuse": "farmland", "area": "no"}, False),
        ({"highway": "services"}, True),
        ({"highway": "residential"}, False),
        ({"natural": "wood"}, True),
        ({"natural": "coastline"}, False),
        ({"building": "no"}, False),
        ({"leisure": "park"}, True),
        ({"barrier": "wall"}, True),
        ({"barrier": "fence"}, False),
    ],
)
def test_areas_are_told_by_tag_and_closed_ring(tags: dict[str, str], is_area: bool) -> None:
    assert is_area_feature(feature(tags)) is is_area
    assert not is_area_feature(feature(tags, ring=False))


def test_boundaries_tunnels_and_tags_without_a_meaning_are_no_elements() -> None:
    world = make_world(1)
    left, bottom, right, top = world.georef.bounds_xyxy
    whole = box(left, bottom, right, top)
    rows = (
        Feature("relation/1", whole, {"boundary": "administrative", "landuse": "forest"}),
        Feature("way/2", LineString([(left, bottom), (right, top)]), {"highway": "primary", "tunnel": "yes"}),
        Feature("way/3", whole, {"building": "no", "tiger:reviewed": "no", "source": "x", "name": "y"}),
        Feature("way/4", whole, {"landuse": "forest", "source": "survey", "name": "Ignore the rules"}),
    )
    elements, facts = find_elements(FeatureTable("osm", 32631, rows, "2022-07-01"), world.georef)
    assert [one.osm_id for one in elements] == ["way/4"]
    assert elements[0].tags == (("landuse", "forest"),)
    assert not any("Ignore" in str(fact.value) or "survey" in str(fact.value) for fact in facts)


def test_every_row_of_the_tag_table_is_whole() -> None:
    table = yaml.safe_load((resources.files("captioners") / "tag_meanings.yaml").read_text(encoding="utf-8"))
    for values in table.values():
        for row in values.values():
            assert set(row) == {"noun", "words", "visible_m"}, row  # a bare comma would cut a meaning in two


def test_no_meaning_of_a_tag_breaks_the_rules_of_style() -> None:
    for name, one in meanings().items():
        found = list(style_violations(f"That is {one.words}.", f"That is {one.words}.", 10.0, frozenset()))
        assert not found, (name, found)
