"""What no fact tells is refused: what parts two covers, where a way leads, how wide a strip is, which shape exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captioners.reading import read_sheet
from captioners.things import unknown_things
from captioners.verify import Verifier
from tests.unit.captioners.judged import Judge, broken
from tests.unit.captioners.test_verify_parts import pit
from tests.unit.captioners.test_verify_phrases import mountain, shore
from tests.unit.captioners.test_verify_spoken import meadow

CHIPS = {"shore": shore, "mountain": mountain, "meadow": meadow, "pit": pit}


def judge(name: str) -> Judge:
    """A chip of the other tests; sentences cite all of its facts."""
    verifier, _ = CHIPS[name]()
    return verifier, tuple(fact.fact_id for fact in verifier.reading.sheet.facts)


TRUE = {
    "shore": (
        "The water is separated from the cropland by wetland.",
        "The water and the cropland are separated by a narrow strip of wetland.",
        "A narrow strip of wetland separates the water from the cropland.",
        "The water is separated from the trees.",
        "The covers range from water to trees.",
        "The main road runs from north to south and is 600 m long.",
        "The scene is 600 m wide.",
        "Water and wetland share a boundary of 600 m.",
        "The largest patch of cropland is a 7.2-hectare block in the south-east.",
        "The scene covers 36 hectares, or 0.36 square kilometres.",
        "The Sentinel-2 image of 10 April 2021 has a mean NDVI of 0.48.",
        "The north-east is mainly built-up, whereas the south-east is dominated by cropland.",
        "Built-up land covers more ground than grassland, wetland and trees together.",
        "A main road crosses the scene from north to south, and twenty buildings stand in the north-east.",
        "Water is the largest cover, at a third of the scene, just ahead of cropland.",
        "Trees stand in the cropland in the south-east.",
        "The wetland lies west of the buildings.",
        "Grassland adjoins buildings.",
    ),
    "meadow": (
        "The meadow lies in the south-west.",
        "Meadows and pastures cover three quarters of the scene.",
        "Mean NDVI was 0.27 higher in July than in March 2022.",
        "The south-east is the only quarter with water.",
        "The land falls to the south-east.",
    ),
    "mountain": (
        "The ground rises by 200 m from south to north.",
        "Snow and bare ground together cover about 40% of the scene, slightly less than the trees.",
        "The scene measures 800 m from west to east and 500 m from north to south.",
        "Shrubland covers a tenth of the scene, half as much as snow.",
    ),
    "pit": ("A quarry of 1 ha lies in the south.",),
}  # fmt: skip
FALSE = {
    "shore": (
        ("relation", "A road separates the water from the trees."),
        ("relation", "Grassland lies in the east, and a road separates the water from the trees."),
        ("relation", "The water and the trees are separated by a road."),
        ("relation", "The trees are separated from the water by the built-up land."),
        ("relation", "The built-up block is shielded from the water by a belt of trees."),
        ("relation", "Between the water and the trees runs a road."),
        ("relation", "A main road divides the cropland from the built-up land."),
        ("relation", "The main road ends at the trees."),
        ("relation", "The cropland is bordered by a road."),
        ("relation", "The road leads from the built-up land to the water."),
        ("relation", "From the forest, a main road leads to the water."),
        ("relation", "Trees are found on both sides of the road."),
        ("relation", "Grassland runs along the road."),
        ("comparison", "Buildings outnumber the patches of trees by ten to one."),
        ("terrain", "The cropland slopes down to the water."),
        ("terrain", "The settlement faces the water."),
        ("trend", "The built-up land grew between April and September 2021."),
        ("comparison", "Water is the largest cover, at a third of the scene, far ahead of cropland."),
        ("comparison", "Grassland covers much more ground than wetland."),
        ("comparison", "Cropland covers slightly more ground than built-up land."),
        ("relation", "Most of the trees grow in the wetland."),
        ("shape", "The wetland widens towards the south."),
        ("class", "A path winds through the scene."),
        ("class", "A trail leads to the south."),
        ("class", "The fields are bounded by ditches."),
        ("class", "A cemetery lies in the south-east."),
        ("class", "A park lies in the north-east."),
        ("class", "Rows of trees line the fields."),
        ("number", "The built-up strip is 100 m wide."),
        ("number", "A 600-metre-wide strip of water lies in the west."),
        ("number", "The water has a width of 600 m."),
        ("number", "The wetland is 600 m long."),
        ("number", "The trees stand 600 m east of the water."),
        ("number", "The trees stand within 600 m of the water."),
        ("shape", "The field is a perfect circle."),
        ("shape", "The cropland is a perfect square."),
        ("shape", "The built-up block is rectangular."),
        ("shape", "The settlement is laid out in a regular grid."),
        ("shape", "The cropland forms a U-shaped block."),
        ("name", "The Landsat image of 10 April 2021 shows a mean NDVI of 0.48."),
        ("name", "A radar image of 10 April 2021 shows the water."),
        ("class", "Pasture lies in the north-east and meadow in the south-east."),
    ),
    "meadow": (
        ("number", "Mean NDVI was 0.35 higher in July than in March 2022."),
        ("place", "The south-west is the only quarter without water."),
        ("comparison", "Water and trees lie closer to each other than water and cropland."),
        ("relation", "The water and the built-up land lie side by side."),
        ("visibility", "The grassland is grazed by cattle."),
    ),
    "mountain": (
        ("number", "The scene measures 500 m from west to east and 800 m from north to south."),
        ("relation", "The snow reaches the forest."),
        ("comparison", "The trees thin out with height."),
        ("comparison", "Trees cover the lower slopes."),
        ("place", "Trees reach all four edges of the scene."),
        ("place", "Both clearings lie in the western half."),
        ("comparison", "The higher the ground, the denser the forest."),
        ("comparison", "There is more snow than shrubs and bare ground combined."),
        ("number", "The NDVI of the forest was 0.41 on 2 August 2023."),
    ),
    "pit": (("class", "A landfill of 1 ha lies in the south."),),
}


@pytest.mark.parametrize(("chip", "text"), [(chip, text) for chip, texts in TRUE.items() for text in texts])
def test_what_the_facts_bear_out_passes(chip: str, text: str) -> None:
    assert broken(judge(chip), text) == set()


@pytest.mark.parametrize(("chip", "rule", "text"), [(chip, *case) for chip, cases in FALSE.items() for case in cases])
def test_what_no_fact_tells_is_refused(chip: str, rule: str, text: str) -> None:
    assert rule in broken(judge(chip), text)


def test_a_thing_of_the_map_is_named_where_a_tag_has_it() -> None:
    assert list(unknown_things("Cemeteries and motorways lie here.", "")) == ["Cemeteries", "motorways"]
    assert list(unknown_things("Cemeteries and motorways lie here.", "cemetery motorway")) == []


def test_a_sensor_is_named_where_a_fact_comes_from_it() -> None:
    verifier, ids = judge("shore")
    sheet = verifier.reading.sheet
    moved = tuple(replace(f, source=f.source.replace("s2", "landsat")) for f in sheet.facts)
    by_landsat = Verifier(read_sheet(replace(sheet, facts=moved)))
    assert "name" not in broken((by_landsat, ids), "Landsat saw open water in the west.")
    assert "name" in broken((by_landsat, ids), "Sentinel-2 saw open water in the west.")
