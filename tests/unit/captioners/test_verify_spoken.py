"""Sentences as a language model phrases them, about a meadow: what each says is so or not, and the verifier knows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from shapely.geometry import LineString, box

from captioners.facts import Evidence, describe
from captioners.facts_scene import DatedBands
from captioners.quantities import find_numbers
from captioners.reading import read_sheet
from captioners.regions import GRID
from captioners.verify import Verifier
from schemas.facts import Fact
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import load_legend

SHAPE = (40, 60)


@cache
def meadow() -> tuple[Verifier, tuple[str, ...]]:
    """The verifier of a meadow of 600 m by 400 m, and the ids of its facts but those of the 3x3 grid.

    Grassland 74.75 %; three woods, 9.75 %: 1.6 ha in the north-west, 0.5 ha in the north-east, 0.24 ha in the
    south-west; water 8 %, all in the south-east, away from the edges; built-up land 5 % along the western edge;
    cropland 2.5 % in the middle, 0.6 ha. A road from north to south in the west, a railway from west to east
    along the southern edge, six buildings along the western edge. Mean NDVI 0.35 on 11 March, 0.62 on 16 July 2022. The
    north is higher by 120 m.
    """
    codes = np.full(SHAPE, 30, np.uint8)
    codes[2:12, 4:20] = codes[4:9, 40:50] = codes[30:36, 6:10] = 10
    codes[24:36, 40:56], codes[:, :3], codes[16:22, 24:34] = 80, 50, 40
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, SHAPE)
    left, bottom, right, top = georef.bounds_xyxy
    rows = [
        Feature("way/1", LineString([(left + 230, top + 5), (left + 230, bottom - 5)]), {"highway": "secondary"}),
        Feature("way/2", LineString([(left - 5, top - 380), (right + 5, top - 380)]), {"railway": "rail"}),
        *(
            Feature(f"way/{n}", box(left + 5, bottom + 25 * n, left + 15, bottom + 25 * n + 15), {"building": "yes"})
            for n in range(3, 9)
        ),
    ]
    red = np.full(SHAPE, 0.08)
    scenes = [
        DatedBands("s2", day, {"red": red, "nir": red * (1 + value) / (1 - value)})
        for day, value in (("2022-03-11", 0.35), ("2022-07-16", 0.62))
    ]
    evidence = Evidence(
        codes, load_legend("worldcover-11"), georef, by="code", scenes=scenes,
        features=FeatureTable("osm", 32631, tuple(rows), "2022-07-01"),
        elevation=np.linspace(220, 100, SHAPE[0])[:, None].repeat(SHAPE[1], 1),
    )  # fmt: skip
    sheet, _ = describe("meadow", evidence)
    return Verifier(read_sheet(sheet)), tuple(
        f.fact_id for f in sheet.facts if set(GRID).isdisjoint(f.fact_id.split("."))
    )


def broken(text: str) -> set[str]:
    """Rules that a sentence about the meadow breaks, whatever of its facts it cites."""
    verifier, facts = meadow()
    return {one.rule for one in verifier.sentence(text, facts)}


@pytest.mark.parametrize(
    "text",
    [
        "Grassland covers three quarters of the scene; the rest is trees, water, built-up land and cropland.",
        "The rest is trees, water, built-up land and cropland.",
        "Apart from trees, water, built-up land and cropland, the scene is grassland.",
        "The rest is mostly trees and water, beside the grassland.",
        "Small amounts of built-up land and cropland make up the rest.",
        "A grassy landscape with patches of trees.",
        "The landscape is grassy.",
        "This is a landscape of grassland and trees.",
        "A sparsely wooded landscape of grassland.",
    ],
)
def test_the_rest_and_the_kind_of_landscape_pass_where_they_are_so(text: str) -> None:
    assert "number" not in broken(text)


@pytest.mark.parametrize(
    "text",
    [
        "The rest is trees.",
        "Grassland covers three quarters; the remaining quarter is water.",
        "Grassland covers three quarters of the scene, the rest being woodland.",
        "Grassland dominates, with cropland covering most of the rest.",
        "Grassland dominates, while most of the remainder is built-up.",
        "Grassland covers most of the scene, and what remains is forest.",
        "Apart from the water in the south-east, the scene is grassland.",
        "Otherwise the scene is built-up.",
        "Grassland and woodland leave little, and water makes up the remainder.",
        "A forested landscape.",
        "A wooded landscape with some meadows.",
        "A scene of water and forest.",
        "An urban landscape.",
        "A cultivated plain.",
        "The landscape is wooded.",
        "The scene is essentially a forest.",
        "The whole scene is grassy.",
    ],
)
def test_the_rest_and_the_kind_of_landscape_are_doubted_where_they_are_not(text: str) -> None:
    assert "number" in broken(text)


@pytest.mark.parametrize(
    ("legend", "text", "facts"),
    [
        ("lc-label", "Most of the land without crops lies in the east.", ("share.99", "place.99")),
        ("lc-label", "In the north-east there is a small part of land without crops.", ("share.99", "place.99")),
        ("lc-label", "A single patch of 900 m² holds all of the land without crops.", ("patches.99",)),
        ("worldcover-11", "22% of the ground is no longer under open water.", ("change.s2.drier",)),
        (
            "worldcover-11",
            "Open water withdrew from 22% of the ground, mostly in the north-eastern part.",
            ("change.s2.drier", "change.s2.drier.place"),
        ),
    ],
)
def test_what_the_template_says_of_a_class_and_of_water_that_withdrew_passes(
    legend: str, text: str, facts: tuple[str, ...]
) -> None:
    table = load_legend(legend)
    codes = np.full((10, 10), 13 if legend == "lc-label" else 30, np.uint8)
    if legend == "lc-label":
        codes[1:4, 6:9] = 99
    sheet, _ = describe("one", Evidence(codes, table, GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, (10, 10)), by="code"))
    known = {fact.fact_id for fact in sheet.facts}
    moved = (
        Fact("change.s2.drier", "change", "ndwi", 22.0, "percent", "chip", "s2"),
        Fact("change.s2.drier.place", "change", "ndwi", "ne", "region", "chip", "s2"),
    )
    told = replace(sheet, facts=(*sheet.facts, *(fact for fact in moved if fact.fact_id not in known)))
    cited = [fact.fact_id for fact in told.facts if fact.fact_id.startswith(facts)]
    assert Verifier(read_sheet(told)).sentence(text, cited) == []


@pytest.mark.parametrize(
    "text",
    [
        "The three patches of trees lie in the north-west, the north-east and the south-west.",
        "All of the water lies in the south-east.",
        "All of the built-up land lies along the western edge.",
        "Both the water and the railway lie in the south.",
        "Every quarter is mostly grassland.",
        "Each quarter holds grassland.",
        "There are more trees in the west than in the east.",
        "The north-west is more wooded than the north-east.",
        "The northern half holds more trees than the southern half.",
        "There is more water in the south than in the north.",
        "Grassland covers three quarters, and the remaining quarter is trees, water, built-up land and cropland.",
        "The north-west is the most wooded quarter.",
        "Neither the north-west nor the north-east holds any water.",
        "None of the water lies in the west or the north.",
        "Neither of the western quarters holds any water.",
        "About two thirds of the trees grow in the north-west.",
        "Two of the three patches of trees lie in the north.",
    ],
)
def test_how_a_cover_is_dealt_out_passes_where_it_is_so(text: str) -> None:
    assert broken(text) == set()


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("place", "All patches of trees lie in the north."),
        ("place", "The three patches of trees lie in the west."),
        ("place", "Every wood lies in the north-west."),
        ("place", "Both woods lie in the south."),
        ("place", "The woods all lie in the north."),
        ("comparison", "The southern half holds more trees than the northern half."),
        ("place", "Both the trees and the water lie in the south."),
        ("place", "Most of the trees lie in the east."),
        ("place", "Each quarter holds a patch of trees."),
        ("place", "All four corners are grassland."),
        ("place", "The trees are divided evenly between east and west."),
        ("comparison", "More trees grow in the east than in the west."),
        ("comparison", "The north-east is more wooded than the north-west."),
        ("comparison", "The north-west is the least wooded quarter."),
        ("absence", "Neither the north-east nor the south-west holds any trees."),
        ("absence", "Neither the south-east nor the south-west holds any water."),
        ("absence", "None of the water lies in the north or the south."),
        ("number", "More than half of the trees grow in the north-east."),
        ("number", "Grassland covers 68% of the scene."),
    ],
)
def test_how_a_cover_is_dealt_out_is_doubted_where_it_is_not(rule: str, text: str) -> None:
    assert rule in broken(text)


@pytest.mark.parametrize(
    "text",
    [
        "The largest patch of trees lies in the north-west and covers 1.6 ha, the mean one 0.78 ha.",
        "The second largest patch of trees lies in the north-east, covers 0.5 ha and is small.",
        "The smallest patch of trees covers 0.24 ha and lies in the south-west.",
        "The wood in the north-east covers 5,000 m².",
        "The largest patch of trees in the south-west covers 0.24 ha.",
        "The two largest patches of trees lie in the north.",
        "The trees form three patches of 0.78 ha on average, the largest of 1.6 ha.",
        "The built-up land reaches the southern edge.",
        "The largest patch in the scene is grassland.",
        "A medium-sized wood lies in the north-west.",
    ],
)
def test_what_is_said_of_single_patches_passes_where_it_is_so(text: str) -> None:
    assert broken(text) == set()


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("number", "The largest patch of trees covers 2.34 ha."),
        ("number", "The second largest patch of trees covers 0.24 ha."),
        ("number", "The smallest patch of trees covers 0.5 ha."),
        ("number", "The average patch of trees covers 1.6 ha."),
        ("number", "The trees form three patches of 1.6 ha on average."),
        ("number", "The wood in the north-east covers 1.6 ha."),
        ("place", "The largest patch of trees lies in the north-east."),
        ("place", "The second largest patch of trees lies in the south-west."),
        ("place", "The two largest patches of trees lie in the west."),
        ("place", "Two of the three woods lie in the south."),
        ("place", "The water reaches the southern edge."),
        ("place", "The wood in the north-west touches the northern edge."),
        ("place", "The cropland reaches the edge of the scene."),
        ("size", "The largest patch of trees is small."),
        ("size", "The wood in the north-east is large."),
        ("size", "A vast wood lies in the north-west."),
        ("comparison", "The largest patch in the scene is wooded."),
        ("comparison", "The patch of trees in the north-west is the largest in the scene."),
    ],
)
def test_what_is_said_of_single_patches_is_doubted_where_it_is_not(rule: str, text: str) -> None:
    assert rule in broken(text)


@pytest.mark.parametrize(
    "text",
    [
        "NDVI was higher in July than in March.",
        "The scene was greener in summer than in spring.",
        "Mean NDVI rose by 0.27 between March and July 2022.",
        "The mean slope is 17 degrees.",
        "The ground rises from 100 m in the south to 220 m in the north.",
        "The highest ground lies in the north.",
        "The upper half of the scene lies higher than the lower half.",
        "Elevations lie between 100 and 220 m, 160 m on average.",
        "The highest elevation is 220 m, the lowest 100 m.",
        "From 100 m at its lowest point the terrain rises to 220 m.",
        "The ground falls to the south.",
        "The land is lower in the south-east than in the north-west.",
        "The trees cover about 5.8 acres, and the wood in the north-east half a hectare.",
        "The largest patch of trees covers about one and a half hectares.",
        "One in ten pixels is wooded.",
        "The scene holds five land covers.",
    ],
)
def test_dates_heights_and_units_pass_where_they_are_so(text: str) -> None:
    assert broken(text) == set()


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("trend", "NDVI was higher in March than in July."),
        ("trend", "The scene was greener in spring than in summer."),
        ("trend", "Vegetation grew greener between July and March 2022."),
        ("trend", "Mean NDVI more than doubled."),
        ("trend", "Mean NDVI remained the same between March and July."),
        ("trend", "The cropland has expanded."),
        ("trend", "Woodland was replaced by grassland."),
        ("number", "The mean slope is 5 degrees."),
        ("number", "The terrain rises to 400 m."),
        ("number", "Elevations lie between 100 and 180 m, 220 m on average."),
        ("number", "The lowest elevation is 180 m."),
        ("number", "Elevations reach 100 m at the highest point and 220 m at the lowest."),
        ("terrain", "The south lies higher than the north."),
        ("terrain", "The ground rises from 100 m in the north to 220 m in the south."),
        ("terrain", "A gentle slope falls to the south."),
        ("number", "The trees cover about 9 acres."),
        ("number", "The water covers half a hectare."),
        ("number", "One pixel in two is wooded."),
        ("number", "The scene holds three land covers."),
    ],
)
def test_dates_heights_and_units_are_doubted_where_they_are_not_so(rule: str, text: str) -> None:
    assert rule in broken(text)


@pytest.mark.parametrize(
    "text",
    [
        "In descending order the covers are grassland, trees, water, built-up land and cropland.",
        "From smallest to largest, the covers are cropland, built-up land and water.",
        "Grassland leads, followed by trees, water and built-up land.",
        "Trees are second only to grassland, and cropland is the least widespread.",
        "The largest cover after grassland is trees.",
        "Water ranks behind trees.",
        "Trees, the second largest cover, border on grassland.",
        "Water and trees together make up about 18% of the scene.",
        "Grassland is the largest cover in the south-east.",
        "Grassland leads in both halves.",
    ],
)
def test_ranks_pass_where_they_are_so(text: str) -> None:
    assert broken(text) == set()


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("comparison", "In descending order the covers are grassland, water, trees and cropland."),
        ("comparison", "The covers rank as follows: trees, grassland and water."),
        ("comparison", "Grassland leads, followed by water, trees and built-up land."),
        ("comparison", "Water is second only to grassland."),
        ("comparison", "Second place goes to water."),
        ("comparison", "Built-up land is the least widespread."),
        ("comparison", "Woodland tops the list."),
        ("comparison", "Trees rank behind water."),
        ("comparison", "The largest cover after grassland is water."),
        ("comparison", "Water, the second largest cover, borders on grassland."),
        ("comparison", "Water is the largest cover in the south-east."),
        ("comparison", "Water leads in every quarter."),
        ("comparison", "Trees lead everywhere."),
        ("comparison", "Water leads in both halves."),
        ("number", "Grassland is in the minority."),
        ("number", "Trees and water together make up 10% of the scene."),
    ],
)
def test_ranks_are_doubted_where_they_are_not_so(rule: str, text: str) -> None:
    assert rule in broken(text)


@pytest.mark.parametrize(
    "text",
    [
        "Six buildings stand along the western edge.",
        "A straight main road crosses the western half from north to south.",
        "The main road is 400 m long and the railway line 600 m.",
        "The railway runs along the southern edge from west to east.",
        "There are no roads in the east.",
    ],
)
def test_map_features_pass_where_their_own_facts_bear_them_out(text: str) -> None:
    assert broken(text) == set()


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("place", "Six buildings stand along the eastern edge."),
        ("place", "Buildings are spread over the whole scene."),
        ("place", "The railway runs along the northern edge."),
        ("place", "A railway line runs from north to south."),
        ("place", "The main road runs through the east of the scene."),
        ("number", "The road is 600 m long."),
        ("absence", "There is no railway."),
        ("absence", "There is neither a road nor a railway."),
        ("absence", "There are no roads in the west."),
        ("relation", "The road passes through the wood."),
        ("relation", "The trees follow the railway."),
    ],
)
def test_map_features_are_doubted_where_only_those_of_another_would_do(rule: str, text: str) -> None:
    assert rule in broken(text)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("comparison", "Trees and water cover equal shares of the south-east."),
        ("comparison", "The north-east shows the greenest ground."),
        ("comparison", "The southern half is the taller one."),
        ("comparison", "The wood in the north-west covers twice the area of that in the north-east."),
        ("shape", "The trees form a single continuous block."),
        ("shape", "The brown ground lies in the middle."),
        ("relation", "The railway runs parallel to the road."),
        ("relation", "The cropland is enclosed on all sides by water."),
        ("relation", "The longest boundary runs between grassland and water."),
        ("season", "Both images were taken in summer."),
        ("number", "The spring date shows a mean NDVI of 0.62 and the summer date 0.35."),
        ("number", "Trees cover 2.3 ha in the north-east."),
        ("number", "Trees lie in dozens of tiny fragments."),
        ("number", "The average elevation is about 218 m."),
        ("number", "Three optical images show the scene."),
        ("number", "The two dates lie a year apart, in March and in July."),
        ("form", "The water reaches neither the northern nor the western edge."),
        ("place", "The woods occupy the entire northern edge."),
    ],
)
def test_words_that_no_rule_has_judged_do_not_pass(rule: str, text: str) -> None:
    """Each passed as checked: a rule met its words and went on, or a fact of something else bore it out."""
    assert rule in broken(text)


@pytest.mark.parametrize(
    "text",
    [
        "Water covers 8% of the scene, none of it in the north.",
        "The main road runs from north to south, just west of the centre.",
        "Trees form three patches, the largest of which covers 1.6 ha.",
        "Grassland covers over nine times the area of water.",
        "The longest boundary runs between grassland and trees.",
        "The cropland is nearly all in one piece.",
        "The two dates lie four months apart.",
        "Built-up land runs from north to south along the western edge.",
        "Standing out are one vast patch of grassland and the three largest patches of trees.",
    ],
)
def test_more_of_what_models_write_passes_where_it_is_so(text: str) -> None:
    assert broken(text) == set()


def _on_the_map(text: str, *about: str) -> set[str]:
    """Rules that a sentence breaks which cites these features: an orchard of 3 ha, a quarry of 2 ha, and a road."""
    noun, meaning = "local connecting road", "highway=tertiary"
    more = [
        Fact(f"element.{name}.{what}", "element", subject, value, unit, "chip", "osm")
        for name, subject, values in (
            ("orchard", "orchard", (("area", 30_000.0, "m2"), ("tag", "landuse=orchard", "tag"))),
            ("quarry", "quarry", (("area", 20_000.0, "m2"), ("tag", "landuse=quarry", "tag"))),
            ("road", noun, (("length", 440.0, "m"), ("tag", meaning, "tag"))),
        )
        for what, value, unit in values
    ]
    sheet = meadow()[0].reading.sheet.with_facts(more)
    cited = [fact.fact_id for fact in more if fact.fact_id.split(".")[1] in about]
    return {one.rule for one in Verifier(read_sheet(sheet)).sentence(text, cited)}


def test_the_largest_area_of_the_map_is_the_largest_and_words_of_its_tags_compare_nothing() -> None:
    assert not _on_the_map("The map shows a local connecting road that is 440 m long here.", "road")
    assert not _on_the_map("The largest area on the map here is an orchard of 3.0 ha.", "orchard")
    assert _on_the_map("The largest area on the map here is a quarry of 2.0 ha.", "quarry") == {"comparison"}


def test_a_step_down_may_be_told_with_its_sign() -> None:
    verifier, facts = meadow()
    sheet = verifier.reading.sheet
    down = replace(
        sheet, facts=tuple(replace(f, value=-0.01) if f.fact_id == "change.s2.ndvi" else f for f in sheet.facts)
    )
    text = "Mean NDVI was nearly the same on 11 March 2022 and on 16 July 2022 (a step of \u22120.01)."
    assert "number" not in {one.rule for one in Verifier(read_sheet(down)).sentence(text, facts)}
    assert "number" in {one.rule for one in verifier.sentence(text, facts)}


def test_nearly_half_is_said_from_a_tenth_below_it() -> None:
    for hedge, percent, fits in (
        ("Nearly half", 45.7, True), ("almost half", 45.1, True), ("Nearly half", 44.9, False),
        ("Just under half", 45.7, False), ("Nearly a third", 29.4, True), ("Nearly a third", 28.8, False),
    ):  # fmt: skip
        assert find_numbers(f"{hedge} of the scene is water.")[0].allows(percent) == fits, (hedge, percent)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("The cropland lies north-west of the water and east of the built-up land.", set()),
        ("The cropland lies to the north-west of the water, and to the east of the built-up land.", set()),
        ("The built-up land lies west of the water and south-east of the cropland.", {"relation"}),
        ("The water does not reach the border of the scene.", set()),
        ("The water does not touch the eastern edge of the scene.", set()),
        ("The built-up land does not reach the border of the scene.", {"place"}),
        ("The built-up land does not touch the western edge of the scene.", {"place"}),
        ("The water does not reach the trees.", {"form"}),
    ],
)
def test_directions_in_a_row_and_edges_that_are_not_reached_are_asked_of_the_cover(text: str, rules: set[str]) -> None:
    assert rules <= broken(text)
    assert bool(rules) == bool(broken(text))
