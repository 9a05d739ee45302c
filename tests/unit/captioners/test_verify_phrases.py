"""Phrases that models of vision write about satellite scenes, true and false, about a shore and a mountainside."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from shapely.geometry import LineString, box

from bench.verifier_chip import Chip
from captioners.facts import Evidence, describe
from captioners.facts_scene import DatedBands
from captioners.reading import read_sheet
from captioners.verify import Verifier
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import load_legend

Told = tuple[Verifier, tuple[str, ...]]


@cache
def shore() -> Told:
    """The verifier of a shore of 600 m by 600 m, and the ids of its facts but those of the 3x3 grid.

    Water on the western third; a strip of wetland beside it, 5 %, from north to south; cropland 32.5 %, a block in the
    north (4.5 ha) and one in the south-east (7.2 ha); built-up land 18.3 % in the north-east, reaching the northern and
    eastern edges; a strip of grassland, 6.2 %, from the wetland to the eastern edge; trees 4.7 %, three patches in the
    south-east amid cropland. Twenty buildings in the north-east, a road from north to south. Mean NDVI 0.48 on
    10 April, 0.31 on 20 September 2021. Nearly level.
    """
    shape = (60, 60)
    codes = np.full(shape, 40, np.uint8)
    codes[:, :20], codes[:, 20:23], codes[:30, 38:] = 80, 90, 50
    codes[45:55, 45:57] = codes[38:43, 28:34] = codes[56:59, 30:36] = 10
    codes[30:36, 23:] = 30
    left, bottom, _, top = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, shape).bounds_xyxy
    homes = [(left + 400 + 30 * (n % 6), top - 250 + 50 * (n // 6)) for n in range(20)]
    rows = (
        Feature("way/1", LineString([(left + 355, top + 5), (left + 355, bottom - 5)]), {"highway": "primary"}),
        *(Feature(f"way/{n}", box(x, y, x + 12, y + 12), {"building": "yes"}) for n, (x, y) in enumerate(homes, 2)),
    )
    days = (("2021-04-10", 0.48), ("2021-09-20", 0.31))
    return _told("shore", codes, rows, days, np.linspace(8, 2, 60))


@cache
def mountain() -> Told:
    """The verifier of a mountainside of 800 m by 500 m, and the ids of its facts but those of the 3x3 grid.

    From north to south: snow 20 %, bare ground 19.4 % around a tiny pond, a strip of shrubland 10 %, trees 47 % on the
    southern half with two clearings of grassland, 0.6 ha each. A stream of 340 m. 2 August 2023, mean NDVI 0.41. Steep,
    1,500 m in the south to 1,700 m in the north.
    """
    shape = (50, 80)
    codes = np.full(shape, 10, np.uint8)
    codes[:10], codes[10:20], codes[20:25] = 70, 60, 20
    codes[12:16, 38:44] = 80
    codes[30:36, 10:20] = codes[40:46, 60:70] = 30
    left, bottom, _, top = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, shape).bounds_xyxy
    stream = LineString([(left + 405, top - 160), (left + 405, bottom - 5)])
    rows = (Feature("way/1", stream, {"waterway": "stream"}),)
    return _told("mountain", codes, rows, (("2023-08-02", 0.41),), np.linspace(1700, 1500, 50))


def _told(
    name: str, codes: np.ndarray, rows: tuple[Feature, ...], days: tuple[tuple[str, float], ...], heights: np.ndarray
) -> Told:
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, codes.shape)
    red = np.full(codes.shape, 0.08)
    scenes = [DatedBands("s2", day, {"red": red, "nir": red * (1 + value) / (1 - value)}) for day, value in days]
    evidence = Evidence(
        codes, load_legend("worldcover-11"), georef, by="code", scenes=scenes,
        features=FeatureTable("osm", 32631, rows, "2022-07-01"),
        elevation=heights[:, None].repeat(codes.shape[1], 1),
    )  # fmt: skip
    sheet, _ = describe(name, evidence)
    return Verifier(read_sheet(sheet)), tuple(f.fact_id for f in sheet.facts if ".r" not in f.fact_id)


def broken(told: Told, text: str) -> set[str]:
    """Rules that a sentence breaks, whatever of the facts it cites."""
    verifier, facts = told
    return {one.rule for one in verifier.sentence(text, facts)}


def test_buildings_are_those_of_the_label_where_its_facts_alone_are_cited() -> None:
    verifier = Chip(9_000_055).verifier  # built-up land in the south-east, buildings of the map in the south-west
    text = "Buildings are concentrated in the south-east."
    assert verifier.sentence(text, ("share.50", "place.50")) == []
    assert {one.rule for one in verifier.sentence(text, ("share.50", "osm.building.place"))} == {"place"}
    wrong = verifier.sentence("Buildings are concentrated in the north-west.", ("share.50", "place.50"))
    assert {one.rule for one in wrong} == {"place"}


WORLDS = {"shore": shore, "mountain": mountain}


@pytest.mark.parametrize(
    ("world", "text"),
    [
        ("shore", "A narrow strip of wetland separates the water from the cropland."),
        (
            "shore",
            "Between built-up land in the north and cropland in the south lies an elongated strip of grassland.",
        ),
        ("shore", "The wetland forms a transition between open water and farmland."),
        ("shore", "A strip of wetland running north to south borders the water."),
        ("shore", "A horizontal strip of grassland lies in the east."),
        ("shore", "Small stands of trees are found in the south-east, surrounded by cropland."),
        ("mountain", "From north to south, the scene passes from snow through bare ground and shrubland to trees."),
        ("mountain", "South of the snow lies bare ground."),
        ("mountain", "Shrubland forms a strip between the bare ground and the trees."),
        ("mountain", "An east-west band of bare ground crosses the scene."),
    ],
)
def test_what_follows_each_other_across_the_scene_passes_where_it_is_so(world: str, text: str) -> None:
    assert broken(WORLDS[world](), text) == set()


@pytest.mark.parametrize(
    ("world", "rule", "text"),
    [
        (
            "shore",
            "relation",
            "Between the water in the west and the cropland in the east lies a strip of built-up land.",
        ),
        ("shore", "relation", "The settlement sits directly on the shore of the water."),
        ("shore", "relation", "A strip of grassland separates the water from the wetland."),
        ("shore", "shape", "The wetland forms a west-east strip."),
        ("shore", "shape", "The wetland is oriented from west to east."),
        ("shore", "shape", "A vertical strip of grassland lies in the east."),
        ("mountain", "relation", "Shrubland forms a strip between the snow and the bare ground."),
        ("mountain", "place", "From north to south, the scene passes from trees through shrubland to snow."),
        ("mountain", "place", "The transition runs from west to east, from forest to snow."),
        ("mountain", "relation", "South of the trees lies bare ground."),
        ("mountain", "shape", "A vertical band of shrubland crosses the scene."),
    ],
)
def test_what_follows_each_other_across_the_scene_is_doubted_where_it_is_not(world: str, rule: str, text: str) -> None:
    assert rule in broken(WORLDS[world](), text)


@pytest.mark.parametrize(
    ("world", "text"),
    [
        ("shore", "Snow, shrubs and mangroves are absent."),
        ("shore", "Shrubs and snow are absent from the scene."),
        ("mountain", "Cropland, wetland and built-up land are not found here."),
        ("mountain", "The scene is devoid of wetland, cropland and mangroves."),
        ("mountain", "The northern half holds snow, bare ground and shrubland, but no trees."),
        ("mountain", "Trees border shrubland, and wetland and moss are absent."),
        ("mountain", "The scene is free of cropland, and trees cover the southern half."),
    ],
)
def test_lists_of_what_is_absent_pass_where_it_is(world: str, text: str) -> None:
    assert broken(WORLDS[world](), text) == set()


@pytest.mark.parametrize(
    ("world", "text"),
    [
        ("shore", "Wetlands and trees are absent from the scene."),
        ("shore", "Snow, trees and shrubs are not found here."),
        ("mountain", "The scene is devoid of wetland, cropland and snow."),
        ("mountain", "The southern half holds snow and bare ground, but no trees."),
    ],
)
def test_lists_of_what_is_absent_are_doubted_where_it_is_there(world: str, text: str) -> None:
    assert "absence" in broken(WORLDS[world](), text)


@pytest.mark.parametrize(
    ("world", "text"),
    [
        ("shore", "Water covers the western third of the scene."),
        ("shore", "The left side of the image is dominated by open water."),
        ("shore", "Water takes up most of the left half of the image."),
        ("shore", "Water and cropland make up about two thirds of the scene."),
        ("shore", "Only a small part of the scene is wooded."),
        ("shore", "Apart from water and cropland, built-up land is the largest cover."),
        ("shore", "A compact built-up block lies in the upper right corner of the image."),
        ("shore", "The built-up area reaches the northern and eastern edges of the scene."),
        ("shore", "In spring 2021 mean NDVI was 0.48."),
        ("shore", "The larger patch of cropland covers 7.2 ha."),
        ("shore", "Agricultural fields cover 32.5% and open water 33% of the scene."),
        ("mountain", "Snow covers the northern fifth of the scene."),
        ("mountain", "The forest stretches across the entire width of the scene."),
        ("mountain", "The bottom half of the image is forest."),
        ("mountain", "Vegetation covers three fifths of the scene."),
        ("mountain", "Trees cover a large part of the scene."),
        ("mountain", "The two patches of grassland are small."),
        ("mountain", "Trees are the dominant land cover, followed by snow and bare ground."),
    ],
)
def test_amounts_and_parts_pass_where_they_are_so(world: str, text: str) -> None:
    assert broken(WORLDS[world](), text) == set()


@pytest.mark.parametrize(
    ("world", "rule", "text"),
    [
        ("shore", "number", "Water covers the western two thirds of the scene."),
        ("shore", "number", "Wetland takes up the left half of the image."),
        ("shore", "number", "Trees occupy the south-eastern quarter."),
        ("shore", "number", "The city extends over most of the eastern half."),
        ("shore", "number", "Only a small part of the scene is water."),
        ("shore", "number", "Water is a minor component of the scene."),
        ("shore", "number", "Trees cover a substantial part of the scene."),
        ("shore", "number", "The scene is characterised by extensive forest."),
        ("shore", "number", "Much of the scene is wetland."),
        ("shore", "number", "In 2019, water and cropland led."),
        ("shore", "number", "The larger of the two patches of cropland covers 4.5 ha."),
        ("shore", "comparison", "Water is the most extensive cover at 33%, followed by built-up land."),
        ("shore", "comparison", "Apart from water, built-up land is the largest cover."),
        ("shore", "place", "Built-up land lines the southern edge."),
        ("mountain", "place", "The snow lines the western edge."),
        ("mountain", "number", "Snow covers the northern third of the scene."),
        ("mountain", "number", "The scene is entirely covered by vegetation."),
        ("mountain", "number", "Vegetation covers a third of the scene."),
        ("mountain", "size", "The two patches of grassland are large."),
        ("mountain", "comparison", "Trees are the dominant land cover, followed by shrubland."),
        ("mountain", "number", "The snowfield takes up the right half."),
        ("mountain", "terrain", "The terrain slopes downward from south to north."),
    ],
)
def test_amounts_and_parts_are_doubted_where_they_are_not_so(world: str, rule: str, text: str) -> None:
    assert rule in broken(WORLDS[world](), text)


@pytest.mark.parametrize(
    ("world", "text"),
    [
        ("shore", "Nearly 40% of the scene is water or wetland."),
        ("shore", "Water leads by a narrow margin, with cropland close behind."),
        ("shore", "The built-up area, covering around 6.6 ha, is compact."),
        ("shore", "Compared with water, built-up land covers a smaller area."),
        (
            "shore",
            "Water dominates the west, whereas the east is a mixture of farmland, built-up land, grass and trees.",
        ),
        ("shore", "About 73% of the north-east is built-up land and the remaining 27% is cropland."),
        ("shore", "Farmland is found on both sides of the strip of grassland."),
        ("shore", "Trees and wetland are the two least extensive covers."),
        ("shore", "Between 30 and 35% of the scene is water."),
        ("shore", "Water covers 30-35% of the scene."),
        ("shore", "The ground lies at 2 to 8 m above sea level."),
        ("shore", "The scene is mostly open, with trees on less than 5% of the ground."),
        ("shore", "In the south-east, the trees adjoin the surrounding fields."),
        ("mountain", "The scene is layered from north to south: snow, bare ground, shrubs and trees."),
        ("mountain", "The northernmost part of the scene is snow-covered."),
        ("mountain", "Snow and bare ground are nearly equal in area."),
        ("mountain", "Two grassy clearings of equal size break up the forest."),
        ("mountain", "The share of shrubland is half that of snow."),
        ("mountain", "Snow occurs nowhere but in the north."),
        ("mountain", "Wetland, moss and cropland do not occur."),
        ("mountain", "A small body of water lies amid bare ground."),
    ],
)
def test_what_models_write_passes_where_it_is_so(world: str, text: str) -> None:
    assert broken(WORLDS[world](), text) == set()


@pytest.mark.parametrize(
    ("world", "rule", "text"),
    [
        ("shore", "number", "The built-up area, covering around 12 ha, is compact."),
        ("shore", "place", "The road crosses the western half of the scene."),
        ("shore", "comparison", "Compared with water, built-up land covers a larger area."),
        ("shore", "comparison", "Built-up land covers more ground than any other cover."),
        ("shore", "comparison", "Cropland exceeds every other cover."),
        ("shore", "comparison", "Cropland leads by a narrow margin."),
        ("shore", "comparison", "Water and trees are the two least extensive covers."),
        ("shore", "relation", "The wetland touches both the water and the built-up land."),
        ("shore", "relation", "Farmland lies on both sides of the water."),
        ("shore", "relation", "Wetland occupies a narrow strip along the built-up land."),
        ("shore", "number", "Water covers between 40 and 45% of the scene."),
        ("shore", "number", "The ground lies at 20 to 80 m above sea level."),
        ("mountain", "place", "The scene is layered from south to north: snow, bare ground, shrubs and trees."),
        ("shore", "place", "Trees appear in three patches, all in the west."),
        ("shore", "number", "Wetland extends over most of the scene, wrapping around the water and the cropland."),
        ("mountain", "place", "The southernmost part of the scene is snow-covered."),
        ("mountain", "comparison", "Trees and bare ground are nearly equal in area."),
        ("mountain", "relation", "Forest and snow share a long boundary."),
        ("mountain", "number", "Five grassy clearings break up the forest."),
        ("mountain", "comparison", "The share of shrubland is twice that of snow."),
        ("mountain", "place", "Snow occurs nowhere but in the south."),
        ("mountain", "absence", "Wetland, moss and trees do not occur."),
        ("mountain", "relation", "A small body of water lies amid snow."),
    ],
)
def test_what_models_write_is_doubted_where_it_is_not_so(world: str, rule: str, text: str) -> None:
    assert rule in broken(WORLDS[world](), text)


def test_how_the_ground_lies_rests_on_the_terrain_alone() -> None:
    verifier, facts = mountain()
    terrain = [fact for fact in facts if fact.startswith("terrain.")]
    for text in (
        "The ground rises from 1,500 m in the south to 1,700 m in the north.",
        "The terrain slopes to the south.",
    ):
        assert verifier.sentence(text, terrain) == []
    for text in (
        "The ground rises from 1,500 m in the north to 1,700 m in the south.",
        "The highest ground is in the east.",
    ):
        assert verifier.sentence(text, terrain)


def test_the_rest_is_what_the_text_before_leaves() -> None:
    verifier, facts = mountain()
    named = ["Trees cover nearly half of the scene.", "Snow and bare ground each cover about a fifth."]
    true, false = "The rest is shrubland, grassland and water.", "The rest is water."
    assert verifier.sentence(true, facts, named) == []
    assert verifier.sentence(false, facts) == []  # alone: sentences may have been left out before it
    assert {one.rule for one in verifier.sentence(false, facts, named)} == {"number"}
    assert {one.rule for one in verifier.sentence(true, facts, named[:1])} == {"number"}
