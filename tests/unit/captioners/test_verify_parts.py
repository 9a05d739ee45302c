"""What is said of parts of the scene, of all covers but some, of patches larger than so much: judged by the facts."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from shapely.geometry import box

from captioners.facts import Evidence
from captioners.mentions import find_places
from captioners.regions import GRID, THIRDS, parts_of
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import load_legend
from tests.unit.captioners.judged import Judge, broken, judge_of
from tests.unit.captioners.test_verify_phrases import mountain, shore
from tests.unit.captioners.test_verify_spoken import meadow


@cache
def pit() -> Judge:
    """The verifier of a field of 300 m by 200 m, and the ids of its facts.

    Cropland 75 %, grassland 25 % in the north. On the map a quarry of 1 ha in the south and three orchards, 0.75 ha, in
    the north.
    """
    shape = (20, 30)
    codes = np.full(shape, 40, np.uint8)
    codes[:5] = 30
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, shape)
    left, bottom, _, top = georef.bounds_xyxy
    rows = [Feature("way/1", box(left + 100, bottom, left + 350, bottom + 40), {"landuse": "quarry"})]
    for n in range(3):
        x = left + 20 + 80 * n
        rows.append(Feature(f"way/{n + 2}", box(x, top - 50, x + 50, top), {"landuse": "orchard"}))
    evidence = Evidence(
        codes, load_legend("worldcover-11"), georef, by="code", features=FeatureTable("osm", 32631, tuple(rows), "2022")
    )
    return judge_of("pit", evidence)


CHIPS = {"meadow": meadow, "pit": pit, "shore": shore, "mountain": mountain}

TRUE = {
    "meadow": (
        "The top left ninth is mostly wooded.",
        "In the upper left cell, trees cover about 60% of the ground.",
        "The bottom centre is all grassland.",
        "In the middle row, cropland covers about 7% of the ground.",
        "In the right third of the scene, water covers roughly a quarter of the ground.",
        "The top left corner is about 60% trees.",
        "Almost all of the trees lie in the northern half.",
        "Trees lie almost exclusively in the northern half.",
        "About 68% of the trees lie in the north-west.",
        "The north-west is the most densely wooded quarter.",
        "Trees are most common in the north-west.",
        "Grassland is the main cover and has its lowest share in the north-west.",
        "The largest share of the water lies in the south-east.",
        "The share of trees in the north-west is about three times that in the north-east.",
        "The north-west is about three times as wooded as the north-east.",
        "Trees cover 27% of the north-west and 8% of the north-east.",
        "Apart from grassland, no cover exceeds 10% of the ground.",
        "Trees and water each cover between 7% and 10% of the ground.",
        "Grassland dominates in seven of the nine cells.",
        "Trees stand in three patches, two of which are larger than 0.4 ha.",
        "Trees stand in three patches, all larger than 0.2 ha.",
        "Trees are three times as common in the north-west as in the north-east.",
        "The largest patch of trees does not reach the northern edge.",
        "Built-up land runs from edge to edge along the western edge.",
        "In July it was greener than in March, with mean NDVI up from 0.35 to 0.62.",
        "Cropland has its longest border with grassland.",
        "Cropland is scarce in the middle of the scene.",
        "Trees and water have a similar extent.",
        "Grassland is the largest cover by far, ahead of trees by 65 percentage points.",
        "Five land covers occur, the rarest of which is cropland.",
        "Cropland, the rarest of the covers, makes up only 2.5% of the scene.",
        "Grassland, trees and water occur, the smallest of which is water.",
        "Trees occur in every quarter except the south-east.",
        "Each quarter but the south-east holds trees.",
        "Together, the four smaller covers account for about a quarter of the ground.",
        "The two largest covers make up about 85% of the scene.",
        "The ground falls from the north.",
        "The ground rises to the north-west.",
    ),
    "shore": ("The cropland lies in two blocks, the larger of which covers 7.2 ha in the south-east.",),
    "mountain": ("Every quarter holds trees or snow.",),
    "pit": (
        "A quarry of 1 ha lies in the south.",
        "Three orchards are on the map.",
        "Orchards cover about 0.75 ha.",
        "Cropland and grassland cover the ground, and the top third is largely grassland.",
    ),
}  # fmt: skip
FALSE = {
    "meadow": (
        ("number", "In the upper left cell, trees cover about 27% of the ground."),
        ("place", "The top right ninth is mostly wooded."),
        ("number", "The bottom centre is all water."),
        ("number", "In the middle row, cropland covers about 21% of the ground."),
        ("number", "In the left third of the scene, water covers roughly a quarter of the ground."),
        ("place", "Almost all of the trees lie in the western half."),
        ("place", "Trees lie almost exclusively in the north-west."),
        ("number", "About 68% of the trees lie in the north-east."),
        ("comparison", "The north-east is the most densely wooded quarter."),
        ("comparison", "Trees are most common in the north-east."),
        ("comparison", "Grassland is the main cover and has its lowest share in the south-west."),
        ("comparison", "The largest share of the water lies in the south-west."),
        ("comparison", "The share of trees in the north-east is about three times that in the north-west."),
        ("comparison", "The north-east is about three times as wooded as the north-west."),
        ("number", "Trees cover 8% of the north-west and 27% of the north-east."),
        ("number", "The share of trees rises from 8% in the north-west to 27% in the north-east."),
        ("number", "Apart from grassland, no cover exceeds 5% of the ground."),
        ("number", "No cover exceeds 40% of the ground."),
        ("number", "Trees and built-up land each cover between 7% and 10% of the ground."),
        ("number", "Grassland dominates in all nine of the nine cells."),
        ("number", "Trees stand in three patches, three of which are larger than 0.4 ha."),
        ("place", "The largest patch of built-up land does not reach the northern edge."),
        ("shape", "A strip of water runs from edge to edge."),
        ("number", "In July it was greener than in March, with mean NDVI up from 0.62 to 0.35."),
        ("relation", "Trees have their longest border with water."),
        ("class", "A wooded valley runs through the grassland."),
        ("comparison", "Trees edge out grassland."),
        ("number", "Three patches of trees of about 2 ha each stand in the scene."),
        ("number", "Trees stand in three patches, all larger than 0.4 ha."),
        ("number", "Three of the three wooded patches are larger than 0.4 ha."),
        ("comparison", "Trees are twice as common in the south-west as in the north-west."),
        ("comparison", "Five land covers occur, the rarest of which is water."),
        ("comparison", "Trees, the rarest of the covers, make up 9.75% of the scene."),
        ("comparison", "Grassland, trees and water occur, the smallest of which is trees."),
        ("place", "Trees occur in every quarter except the north-west."),
        ("place", "Each quarter but the south-west holds trees."),
        ("place", "Grassland occurs in every quarter except the south-east."),
        ("number", "The three smaller covers account for about a quarter of the ground."),
        ("number", "The two largest covers make up about 75% of the scene."),
        ("comparison", "Water, at 8%, comes a distant second."),
        ("terrain", "Elevation falls by about 120 m from west to east."),
        ("terrain", "The ground rises towards the east."),
    ),
    "shore": (
        ("number", "The cropland lies in two blocks, the larger of which covers 4.5 ha in the north."),
        ("number", "The cropland lies in two blocks, the smaller of which covers 7.2 ha."),
    ),
    "mountain": (("place", "Every quarter holds water or snow."),),
    "pit": (
        ("number", "A quarry of 5 ha lies in the south."),
        ("place", "A quarry lies in the north."),
        ("number", "A dozen orchards are on the map."),
        ("number", "Orchards cover more than 2 ha."),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("chip", "text"), [(chip, text) for chip, texts in TRUE.items() for text in texts])
def test_what_the_facts_bear_out_passes(chip: str, text: str) -> None:
    assert broken(CHIPS[chip](), text) == set()


@pytest.mark.parametrize(
    ("chip", "rule", "text"), [(chip, *case) for chip, cases in FALSE.items() for case in cases]
)  # fmt: skip
def test_what_they_do_not_is_doubted(chip: str, rule: str, text: str) -> None:
    assert rule in broken(CHIPS[chip](), text)


@pytest.mark.parametrize(
    ("words", "region"),
    [
        ("the bottom centre", "r3c2"), ("the upper middle", "r1c2"), ("the middle left", "r2c1"),
        ("the right-hand centre", "r2c3"), ("the top left ninth", "r1c1"), ("the central cell", "r2c2"),
        ("the upper third", "r1"), ("the western third", "c1"), ("the middle row", "r2"), ("the right column", "c3"),
        ("the northern half", "n"), ("the lower right corner", "se"), ("the centre", "middle"),
    ],
)  # fmt: skip
def test_a_part_of_the_grid_is_one_place(words: str, region: str) -> None:
    assert [place.region for place in find_places(f"Trees stand in {words}.")] == [region]


@pytest.mark.parametrize("region", ["n", "s", "e", "w", "nw", "middle", *THIRDS, *GRID])
def test_parts_make_up_a_region(region: str) -> None:
    parts, each = parts_of(region)
    part = {1: 0.5 if region in "nsew" else 0.0, 2: 1 / 3 if region in THIRDS else 0.25}.get(len(region))
    assert len(parts) * each == pytest.approx(part if part is not None else 0.25 if region == "middle" else 1 / 9)
