"""One cover in two places, most of a cover, the figures of a feature, a sensor, a date: the facts judge all of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from shapely.geometry import LineString, box

from captioners.facts import Evidence
from captioners.facts_scene import DatedBands
from captioners.mentions import find_places
from captioners.placed import tells
from captioners.quantities import is_day
from schemas.facts import Fact
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import load_legend
from tests.unit.captioners.judged import Judge, broken, judge_of
from tests.unit.captioners.test_verify_spoken import meadow


@cache
def town() -> Judge:
    """The verifier of a field of 400 m by 300 m, and the ids of its facts.

    Grassland but for a compact wood of 1.2 ha in the north-west and a long one of 0.6 ha in the south-east. A main road
    of 300 m in the west, local roads of 800 m in the south, a park of 0.8 ha along the southern edge. By Sentinel-2 a
    ninth of the ground, in the south-west, lost vegetation between March and July, by Landsat a sixth in the
    north-east; mean VV backscatter hardly changed.
    """
    shape = (30, 40)
    codes = np.full(shape, 30, np.uint8)
    codes[1:13, 1:11] = codes[25:28, 19:39] = 10
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, shape)
    left, bottom, right, top = georef.bounds_xyxy
    lines = {"way/1": ((left + 40, bottom, left + 40, top), "primary")}
    lines |= {f"way/{n}": ((left, bottom + 20 * n, right, bottom + 20 * n), "residential") for n in (2, 3)}
    rows = [Feature(name, LineString([at[:2], at[2:]]), {"highway": sort}) for name, (at, sort) in lines.items()]
    rows.append(Feature("way/9", box(left + 100, bottom, left + 300, bottom + 40), {"leisure": "park"}))
    scenes = []
    for source, lost in (("s2", np.s_[20:30, 0:13]), ("landsat", np.s_[0:10, 20:40])):
        for day in ("2022-03-11", "2022-05-02", "2022-07-16"):
            ndvi = np.full(shape, 0.8 if day == "2022-05-02" else 0.6)
            if day == "2022-07-16":
                ndvi[lost] = 0.2
            scenes.append(DatedBands(source, day, {"red": np.full(shape, 0.08), "nir": 0.08 * (1 + ndvi) / (1 - ndvi)}))
    evidence = Evidence(
        codes, load_legend("worldcover-11"), georef, by="code", scenes=scenes,
        features=FeatureTable("osm", 32631, tuple(rows), "2022"),
    )  # fmt: skip
    return judge_of("town", evidence)


@cache
def whole_meadow() -> Judge:
    """The meadow; sentences cite all of its facts."""
    verifier, _ = meadow()
    return verifier, tuple(fact.fact_id for fact in verifier.reading.sheet.facts)


CHIPS = {"meadow": whole_meadow, "town": town}

TRUE = {
    "meadow": (
        "There are about three times as many trees in the north-west as in the north-east.",
        "The north-west holds about three times as much woodland as the north-east.",
        "Trees cover far more of the north-west than of the north-east.",
        "Woodland is more abundant towards the north than towards the south.",
        "Tree cover thins out towards the south.",
        "Tree cover increases from the south-east to the north-west.",
        "Most of the trees stand in the north-west.",
        "The majority of the cropland lies in the centre.",
        "Grassland leads in seven out of nine cells.",
        "Grassland is the main cover in seven of the nine cells.",
        "The south-east holds only grassland, water and a little cropland.",
        "The largest patch of trees covers 1.6 ha in the north-west.",
        "Mean NDVI was lowest in March 2022.",
        "NDVI peaked in July.",
        "The largest patch of grassland reaches the northern, eastern and southern edges.",
        "Built-up land reaches the northern and southern edges.",
    ),
    "town": (
        "The scene is 400 m wide.",
        "Main roads total about 300 m.",
        "Local roads add up to 0.8 km.",
        "A park of 0.8 ha lies along the southern edge.",
        "About 11% of the ground turned barer in the Sentinel-2 images, mainly in the south-west.",
        "About 17% of the ground turned barer according to Landsat, mainly in the north-east.",
        "On 16 July 2022 the Sentinel-2 image was clear.",
        "Mean NDVI was highest in May 2022.",
        "The largest patch of trees is compact.",
    ),
}
FALSE = {
    "meadow": (
        ("comparison", "There are about three times as many trees in the north-east as in the north-west."),
        ("comparison", "There is six times as much tree cover in the north-west as in the north-east."),
        ("comparison", "There is as much woodland in the south-west as in the north-west."),
        ("comparison", "Woodland covers as much of the south-west as of the north-west."),
        ("comparison", "There is as much woodland in the north-west as water in the south-west."),
        ("comparison", "Trees cover far more of the north-east than of the north-west."),
        ("comparison", "Woodland is more abundant towards the south than towards the north."),
        ("comparison", "Tree cover increases towards the south."),
        ("comparison", "Tree cover thins out towards the north-west."),
        ("comparison", "The further south, the more trees there are."),
        ("place", "Most of the grassland lies in the north-west."),
        ("place", "The bulk of the grassland lies in the south-east."),
        ("place", "The grassland lies mostly in the north-west."),
        ("number", "Grassland is the main cover in six of the nine cells."),
        ("number", "Grassland leads in seven of the nine cells, trees in the other two."),
        ("number", "Built-up land occurs in two of the three columns."),
        ("number", "The south-east holds only grassland and a little water."),
        ("place", "The largest patch of trees covers 1.6 ha in the south-west."),
        ("trend", "Mean NDVI was lowest in July 2022."),
        ("trend", "NDVI peaked in March."),
        ("place", "The largest patch of built-up land reaches the eastern, northern and southern edges."),
        ("place", "The largest patch of built-up land reaches the northern, eastern and western edges."),
        ("place", "Built-up land reaches the northern, eastern and southern edges."),
        ("place", "Trees fill the northern edge from end to end."),
    ),
    "town": (
        ("number", "The scene is 800 m wide."),
        ("number", "Main roads total about 800 m."),
        ("number", "Local roads add up to 0.3 km."),
        ("place", "A park of 0.8 ha lies along the northern edge."),
        ("number", "About 17% of the ground turned barer in the Sentinel-2 images."),
        ("number", "About 11% of the ground turned barer according to Landsat."),
        ("place", "The ground that turned barer according to Landsat lies mainly in the south-west."),
        ("place", "About 11% of the ground turned barer in the Sentinel-2 images, mainly in the north-east."),
        ("trend", "Mean NDVI was highest in July 2022."),
        ("shape", "The largest patch of trees is long and narrow."),
    ),
}


@pytest.mark.parametrize(("chip", "text"), [(chip, text) for chip, texts in TRUE.items() for text in texts])
def test_what_the_facts_bear_out_passes(chip: str, text: str) -> None:
    assert broken(CHIPS[chip](), text) == set()


@pytest.mark.parametrize(
    ("chip", "rule", "text"), [(chip, *case) for chip, cases in FALSE.items() for case in cases]
)  # fmt: skip
def test_what_they_do_not_is_doubted(chip: str, rule: str, text: str) -> None:
    assert rule in broken(CHIPS[chip](), text)


def test_what_is_centred_in_the_north_need_not_meet_the_northern_edge() -> None:
    centred = Fact("object.10.1.position", "object", "trees", "north", "position", "chip", "label")
    north, edge = find_places("Trees lie in the north and along the northern edge.")
    assert tells(centred, north)
    assert not tells(centred, edge)


def test_a_list_of_edges_is_one_of_edges() -> None:
    places = find_places("The water reaches the northern, eastern and western edges, south of the northern half.")
    assert [(place.region, place.form) for place in places[:3]] == [("n", "edge"), ("e", "edge"), ("w", "edge")]
    assert places[-1].form == "half"


def test_a_map_of_which_the_year_alone_is_known_has_that_year() -> None:
    assert is_day("July 2022", "2022")
    assert not is_day("July 2021", "2022")


def test_where_most_of_the_ground_has_no_class_the_place_is_known() -> None:
    codes = np.zeros((24, 24), np.uint8)
    codes[8:16, 8:16] = codes[:2, :12] = 10
    codes[10:14, 10:14] = 30
    georef = GeoRef(32631, 500_000.0, 5_600_000.0, 10.0, codes.shape)
    verifier, _ = judge_of("sparse", Evidence(codes, load_legend("worldcover-11"), georef, by="code"))
    assert verifier.sentence("Most of the trees stand in the middle.", ("place.10",)) == []
    assert verifier.sentence("Most of the trees stand in the south.", ("place.10",)) != []
