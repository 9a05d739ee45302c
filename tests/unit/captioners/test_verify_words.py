"""Words that no rule knows; who is largest and who smallest, what all others have, where none is."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from shapely.geometry import LineString, box

from captioners.facts import Evidence
from captioners.facts_scene import DatedBands
from captioners.vocabulary import strange_words, words_in
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import load_legend
from tests.unit.captioners.judged import Judge, broken, judge_of
from tests.unit.captioners.test_verify_contrasts import whole_meadow


@cache
def valley() -> Judge:
    """The verifier of a valley of 600 m by 400 m, and the ids of its facts.

    Cropland 56.8 %; two woods, 12.5 %: 2.5 ha in the north-east, 0.5 ha in the south-east; water 10 % along the
    western edge, wetland 7.5 % beside it; built-up land 6.9 % in the middle, grassland 6.25 % south of it. A river in
    the water, a main road from west to east, a park. Mean NDVI 0.55 on 20 May, 0.41 on 12 September 2023; flat.
    """
    shape = (40, 60)
    codes = np.full(shape, 40, np.uint8)
    codes[:, :6], codes[:30, 6:12], codes[16:26, 25:40], codes[26:36, 25:40] = 80, 90, 50, 30
    codes[:14, 40:58] = codes[30:37, 45:52] = 10
    codes[36:40, 30:34] = 50
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, shape)
    left, bottom, right, top = georef.bounds_xyxy
    rows = (
        Feature("way/1", LineString([(left + 30, top + 5), (left + 30, bottom - 5)]), {"waterway": "river"}),
        Feature("way/2", LineString([(left - 5, top - 150), (right + 5, top - 150)]), {"highway": "secondary"}),
        Feature("way/3", box(left + 260, top - 350, left + 380, top - 270), {"leisure": "park"}),
    )
    red = np.full(shape, 0.08)
    scenes = [
        DatedBands("s2", day, {"red": red, "nir": red * (1 + ndvi) / (1 - ndvi)})
        for day, ndvi in (("2023-05-20", 0.55), ("2023-09-12", 0.41))
    ]
    evidence = Evidence(
        codes, load_legend("worldcover-11"), georef, by="code", scenes=scenes, elevation=np.full(shape, 50.0),
        features=FeatureTable("osm", 32631, rows, "2023-07-01"),
    )  # fmt: skip
    return judge_of("valley", evidence)


CHIPS = {"meadow": whole_meadow, "valley": valley}
UNTOLD = {
    "valley": (
        "A cluster of detached houses stands in the middle.", "High-rise blocks occupy the centre.",
        "The houses in the middle are detached.", "Small cottages are clustered in the middle.",
        "The fields have just been harvested.",
        "The cropland lies fallow.", "The cropland is used for growing sunflowers.", "The water is shallow.",
        "The wetland is home to waterfowl.", "Mature trees stand in the north-east.", "The wetland is protected.",
        "The wood has been clear-cut in part.", "The built-up land is expanding.", "Built-up land was once cropland.",
        "The built-up area has grown in recent years.", "Drought lowered the NDVI.", "The climate is temperate.",
        "The NDVI dropped owing to the onset of autumn.", "The area is sparsely populated.", "The main road is busy.",
        "The river flows southwards.", "A road runs along the edge of the wood.", "The main road bypasses the wood.",
    ),
    "meadow": (
        "The grassland is intensively managed.", "Short, dry grass covers the scene.", "The water is clear and deep.",
        "The buildings are single-storey.", "The houses are modern.", "Large houses line the western edge.",
        "The built-up land comprises warehouses.", "The road is unpaved.", "The land is fertile.",
        "The woods are remnants of a once larger forest.", "Morning mist lies over the water.",
    ),
}  # fmt: skip
TRUE = {
    "valley": (
        "Cropland sweeps across most of the scene, broken up by a block of buildings at its heart.",
        "Trees form two patches, a larger one of 2.5 ha in the north-east and a smaller one in the south-east.",
        "Two woods stand here, one in the north-east and a smaller one in the south-east.",
        "Trees are absent from the north-west and the south-west.",
        "Trees are absent from the western half.",
        "Cropland is the most extensive cover and grassland the least.",
        "Cropland is by far the most widespread class, and grassland the rarest.",
        "Water borders only on wetland and cropland.",
        "Cropland covers more ground than all other covers together.",
        "Cropland covers 57%, and all other covers together account for 43%.",
        "No cover other than cropland exceeds 13%.",
        "Water and wetland together cover more ground than trees.",
        "Trees and water combined cover far more ground than grassland.",
        "From water in the far west, the scene passes through wetland to cropland.",
        "The wetland stretches from the northern edge southwards.",
        "Roughly every eighth pixel is wooded.",
        "Compared with May, the NDVI was lower in September by 0.14.",
        "The river runs the length of the western edge.",
    ),
    "meadow": (
        "Trees are absent only from the south-east.",
        "Three detached patches of trees lie in the grassland.",
        "Water is absent from every quarter except the south-east.",
        "The south-east is the only quarter without trees.",
        "The water lies entirely within the south-east quarter.",
        "All other covers border on grassland.",
        "Grassland borders every other cover.",
        "Built-up land borders only on grassland.",
        "Grassland is the most widespread cover and cropland the rarest.",
        "The remaining quarter consists of trees, water, built-up land and cropland.",
        "Altitude drops by 120 m from the northern to the southern end.",
    ),
}
FALSE = {
    "valley": (
        (
            "place",
            "Trees form two patches, a larger one of 2.5 ha in the south-east and a smaller one in the north-east.",
        ),
        ("number", "Trees form two patches, a larger one of 3.5 ha and a smaller one of 0.5 ha."),
        ("number", "Trees form two patches, a larger one of 2.5 ha and a smaller one of 0.9 ha."),
        ("place", "Two woods stand here, one in the south-east and a smaller one in the north-east."),
        ("absence", "Trees are absent from the north-west and the north-east."),
        ("absence", "Trees are absent from the eastern half."),
        ("place", "Trees are absent only from the north-west."),
        ("absence", "Trees are absent from every quarter except the north-east."),
        ("comparison", "Cropland is the most extensive cover and water the least."),
        ("comparison", "Trees are the most extensive cover and grassland the least."),
        ("relation", "Water borders only on cropland."),
        ("relation", "Every other cover borders on water."),
        ("comparison", "Cropland covers less ground than all other covers combined."),
        ("comparison", "Trees cover more ground than all other covers together."),
        ("number", "Cropland covers 57%, and all other covers together account for 33%."),
        ("number", "No cover other than cropland exceeds 11%."),
        ("comparison", "Water and wetland together cover less ground than trees."),
        ("comparison", "Water and wetland together cover more ground than cropland."),
        ("comparison", "Trees and water combined cover slightly more ground than grassland."),
        ("relation", "Grassland forms a belt around the built-up land."),
        ("number", "Roughly every third pixel is wooded."),
        ("comparison", "Trees are second to water."),
        ("trend", "Compared with May, the NDVI was higher in September by 0.14."),
        ("relation", "Wetland lies immediately below the trees."),
    ),
    "meadow": (
        ("absence", "Trees are absent from the north-east."),
        ("place", "Water is absent from every quarter except the south-west."),
        ("place", "The south-west is the only quarter without trees."),
        ("place", "The trees lie entirely within the north-west quarter."),
        ("relation", "All other covers border on water."),
        ("relation", "Grassland borders only on water."),
        ("comparison", "Grassland is the most widespread cover and water the rarest."),
        ("number", "The remaining quarter consists of trees and water."),
        ("terrain", "Altitude drops by 120 m from the southern to the northern end."),
    ),
}


@pytest.mark.parametrize(("chip", "text"), [(chip, text) for chip, texts in UNTOLD.items() for text in texts])
def test_what_no_fact_tells_is_refused(chip: str, text: str) -> None:
    assert broken(CHIPS[chip](), text)


@pytest.mark.parametrize(("chip", "text"), [(chip, text) for chip, texts in TRUE.items() for text in texts])
def test_what_the_facts_bear_out_passes(chip: str, text: str) -> None:
    assert broken(CHIPS[chip](), text) == set()


@pytest.mark.parametrize(("chip", "rule", "text"), [(chip, *case) for chip, cases in FALSE.items() for case in cases])
def test_what_they_do_not_is_doubted(chip: str, rule: str, text: str) -> None:
    assert rule in broken(CHIPS[chip](), text)


def test_a_word_is_known_in_its_forms_and_by_the_facts_of_the_chip() -> None:
    assert list(
        strange_words("The easternmost patches, dotted with evergreen trees, widen southwards.", frozenset())
    ) == ["evergreen"]
    assert not list(strange_words("Evergreen trees lie here.", words_in(["evergreen forest"])))
