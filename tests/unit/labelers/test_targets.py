"""Targets: every kind against what it says by hand, and a recipe that asks for what cannot be."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage
from shapely.geometry import LineString, box
from shapely.geometry.base import BaseGeometry

from labelers.degrade import degraded
from labelers.densities import building_density, road_density
from labelers.graph import network
from labelers.targets import ChipLabels, Made, check_targets, make_targets, square_fractions
from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable, LabelLayer
from schemas.recipe import Labels
from schemas.recipe_targets import DegradedTarget

GRID = GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (6, 8))
SOURCES = {
    "wc": {"kind": "worldcover", "href": "a.tif", "year": 2021},
    "old": {"kind": "worldcover", "href": "b.tif", "year": 2020},
    "clc": {"kind": "corine", "href": "c.tif"},
    "osm": {"kind": "osm", "href": "d.osm.pbf"},
}
FUSE = {"method": "vote"}


def labels_with(fuse: Any = FUSE, **targets: Any) -> Labels:
    return Labels.model_validate({"sources": SOURCES, "fuse": fuse, "targets": targets})


def layer(source: str, codes: NDArray[Any], legend: str, nodata: int) -> LabelLayer:
    return LabelLayer(source, codes, GRID, nodata, legend, "2021", "x")


def features(*parts: tuple[str, BaseGeometry, dict[str, str]]) -> FeatureTable:
    return FeatureTable("osm", 32632, tuple(Feature(i, g, t) for i, g, t in parts), "2024-01-01")


def at(x: float, y: float) -> tuple[float, float]:
    return GRID.x0 + 10 * x, GRID.y0 - 10 * y


def line(*places: tuple[float, float]) -> LineString:
    return LineString([at(*place) for place in places])


WC = np.full(GRID.shape_yx, 40, np.uint8)
WC[:, 5:] = 10
WC[0, 0] = 0
FUSED = np.full(GRID.shape_yx, 3, np.uint8)
FUSED[:3] = 0
FUSED[5, 7] = 255
CLC = np.full(GRID.shape_yx, 211, np.uint16)
CLC[:, :2] = 523
CHIP = ChipLabels(
    "a", GRID, {"wc": layer("wc", WC, "worldcover", 0), "clc": layer("clc", CLC, "corine-44", 999)},
    layer("fused", FUSED, "worldcover-11", 255), None, 7,
)  # fmt: skip


def made(chip: ChipLabels = CHIP, **targets: Any) -> Made:
    return make_targets(labels_with(**targets), chip)


def test_a_mask_is_1_where_its_classes_are_and_unknown_where_nothing_is_known() -> None:
    found = made(
        wood={"kind": "mask", "classes": ["Tree cover"]}, field={"kind": "mask", "of": "wc", "classes": ["Cropland"]}
    ).arrays
    np.testing.assert_array_equal(found["wood"], np.where(FUSED == 255, 255, FUSED == 0))
    np.testing.assert_array_equal(found["field"], np.where(WC == 0, 255, WC == 40))


def test_columns_hold_shares_names_and_the_commonest() -> None:
    columns = made(
        shares={"kind": "fractions"}, tags={"kind": "multi_label", "min_fraction": 0.5},
        all={"kind": "multi_label", "of": "wc", "min_fraction": 0.0}, most={"kind": "dominant", "of": "clc"},
    ).columns  # fmt: skip
    assert columns["target.shares"][0] == pytest.approx(24 / 47, abs=1e-6)
    assert sum(columns["target.shares"]) == pytest.approx(1, abs=1e-5)
    assert columns["target.tags"] == ["Tree cover"]
    assert columns["target.all"] == ["Tree cover", "Cropland"]
    assert columns["target.most"] == "Non-irrigated arable land"


def test_a_chip_of_which_nothing_is_known_has_no_class_and_does_not_say_that_it_has_none() -> None:
    blank = replace(CHIP, layers={"wc": replace(CHIP.layers["wc"], classes=np.zeros_like(WC))})
    found = made(
        blank, tags={"kind": "multi_label", "of": "wc"}, most={"kind": "dominant", "of": "wc"},
        shares={"kind": "fractions", "of": "wc"},
    ).columns  # fmt: skip
    assert found == {"target.tags": None, "target.most": "", "target.shares": None}


def test_what_a_chip_lacks_makes_no_target() -> None:
    bare = replace(CHIP, layers={}, fused=None)
    found = made(
        bare, a={"kind": "mask", "classes": ["Built-up"]}, b={"kind": "dominant", "of": "wc"},
        c={"kind": "density", "of": "roads"}, d={"kind": "pair", "before": "clc"},
    )  # fmt: skip
    assert found == Made()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_squares_hold_the_shares_of_their_pixels(seed: int, cell: int) -> None:
    classes = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), (5, 7))
    found = square_fractions(classes, 3, cell)
    assert found.shape == (3, -(-5 // cell), -(-7 // cell))
    for row, column in np.ndindex(found.shape[1:]):
        part = classes[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        known = part[part != 255]
        want = [np.nan] * 3 if known.size == 0 else [(known == k).mean() for k in range(3)]
        np.testing.assert_allclose(found[:, row, column], want, rtol=1e-6)


def test_a_pair_knows_a_class_only_where_the_code_admits_one() -> None:
    before, after, changed = made(change={"kind": "pair", "before": "clc"}).arrays["change"]
    assert (before[:, :2] == 7).all()  # sea is water
    assert (before[:, 2:] == 255).all()  # arable land admits grass
    np.testing.assert_array_equal(after, FUSED)
    np.testing.assert_array_equal(changed, np.where((before == 255) | (after == 255), 255, before != after))


def test_two_editions_of_worldcover_are_no_pair() -> None:
    with pytest.raises(ValidationError, match="differ by their algorithm"):
        labels_with(change={"kind": "pair", "before": "old", "after": "wc"})


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"kind": "mask", "of": "nothing", "classes": ["a"]}, "label sources: wc, old, clc, osm"),
        ({"kind": "degraded"}, "a degraded map needs"),
        ({"kind": "mask", "classes": []}, "classes"),
        ({"kind": "other"}, "does not match any of the expected tags"),
    ],
)
def test_a_target_that_cannot_be_is_refused(target: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        labels_with(x=target)


def test_a_second_map_is_refused_and_does_not_take_the_place_of_the_first() -> None:
    sources = SOURCES | {"osm_2015": {"kind": "osm", "href": "e.osm.pbf"}}
    with pytest.raises(ValidationError, match="'osm' and 'osm_2015' are both of kind osm"):
        Labels.model_validate({"sources": sources})


def test_the_fused_layer_has_to_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="set fuse"):
        labels_with(None, x={"kind": "dominant"})


def test_an_unknown_class_and_odd_squares_name_what_there_is() -> None:
    with pytest.raises(RecipeError, match="no class 'Wood'"):
        made(x={"kind": "mask", "classes": ["Wood"]})
    with pytest.raises(RecipeError, match="multiple of 10"):
        made(x={"kind": "fractions", "cell_m": 25})


# OpenStreetMap


def test_buildings_count_their_area_once() -> None:
    house = box(*at(1, 3), *at(3, 1))
    table = features(
        ("way/1", house, {"building": "yes"}), ("way/2", house, {"building": "yes"}),
        ("way/3", box(*at(4, 2), *at(5, 1)), {"building": "no"}), ("way/4", house, {"building": "roof", "layer": "1"}),
    )  # fmt: skip
    density = building_density(table, GRID, 4)
    assert density.shape == (2, 2)
    np.testing.assert_allclose(density, [[4 / 16, 0], [0, 0]], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 11), st.floats(-3, 9)), min_size=2, max_size=5), st.integers(1, 8))
def test_road_kilometres_of_all_squares_are_those_in_the_chip(places: list[tuple[float, float]], cell: int) -> None:
    road = line(*places)
    density = road_density(features(("way/1", road, {"highway": "residential"})), GRID, cell)
    x = np.minimum(np.arange(density.shape[1] + 1) * cell, 8)
    y = np.minimum(np.arange(density.shape[0] + 1) * cell, 6)
    metres = (density * np.diff(x)[None] * np.diff(y)[:, None] * 100).sum() / 1000
    inside = shapely.intersection(road, box(*GRID.bounds_xyxy)).length
    assert metres == pytest.approx(inside, rel=1e-4, abs=0.5) or inside < metres <= 2 * inside + 0.5  # on a border


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.floats(-4, 12), st.floats(-4, 10)), min_size=3, max_size=6), min_size=0, max_size=6),
    st.integers(1, 8),
)
def test_densities_are_those_of_every_shape_cut_by_every_square(
    shapes: list[list[tuple[float, float]]], cell: int
) -> None:
    areas = [shapely.convex_hull(shapely.MultiPoint([at(*place) for place in places])) for places in shapes]
    areas = [area for area in areas if area.geom_type == "Polygon" and area.area > 1]
    apart = [a for i, a in enumerate(areas) if not any(a.intersects(b) for b in areas[:i])]
    roads = [line(*places) for places in shapes]
    table = features(
        *((f"way/{i}", area, {"building": "yes"}) for i, area in enumerate(apart)),
        *((f"way/{50 + i}", road, {"highway": "residential"}) for i, road in enumerate(roads)),
    )
    houses, streets = building_density(table, GRID, cell), road_density(table, GRID, cell)
    for row, column in np.ndindex(houses.shape):
        top, left = row * cell, column * cell
        square = box(*at(left, min(top + cell, 6)), *at(min(left + cell, 8), top))
        covered = sum(area.intersection(square).area for area in apart)
        metres = sum(road.intersection(square).length for road in roads)
        assert houses[row, column] == np.float32(covered / square.area)  # to the bit
        assert streets[row, column] == np.float32(1000.0 * metres / square.area)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(-3, 11), st.integers(-3, 9)), min_size=2, max_size=7), max_size=5),
)
def test_edges_are_as_long_as_what_of_the_ways_lies_in_the_chip(ways: list[list[tuple[int, int]]]) -> None:
    lines = [line(*((x + 0.25, y + 0.25) for x, y in places)) for places in ways]
    table = features(*((f"way/{i}", one, {"highway": "residential"}) for i, one in enumerate(lines)))
    graph = network(table, GRID)
    inside = sum(one.intersection(box(*GRID.bounds_xyxy)).length for one in lines)
    again = sum(one.length for one in lines) - sum(shapely.union_all([one]).length for one in lines)
    total = sum(edge["length_m"] for edge in graph["edges"])
    assert inside - 0.01 * len(graph["edges"]) - 1e-6 <= total <= inside + again + 0.01 * len(graph["edges"]) + 1e-6
    courses = [list(one.coords) for one in lines]
    met = Counter(b for places in courses for a, b in zip([None, *places], places, strict=False) if a != b)
    shared = {vertex for vertex, count in met.items() if count > 1} | {one.coords[i] for one in lines for i in (0, -1)}
    at_nodes = {(GRID.x0 + 10 * x, GRID.y0 - 10 * y) for x, y, _ in graph["nodes"]}
    between = {(GRID.x0 + 10 * x, GRID.y0 - 10 * y) for edge in graph["edges"] for x, y in edge["points"][1:-1]}
    assert not between & shared
    assert at_nodes <= shared | {
        (GRID.x0 + 10 * x, GRID.y0 - 10 * y) for x, y, _ in (graph["nodes"][i] for i in graph["at_edge"])
    }


def test_a_footway_and_a_tunnel_are_no_road() -> None:
    table = features(
        ("way/1", line((0, 1), (8, 1)), {"highway": "footway"}),
        ("way/2", line((0, 2), (8, 2)), {"highway": "primary", "tunnel": "yes"}),
        ("way/3", line((0, 3), (8, 3)), {"highway": "no", "railway": "rail"}),
    )
    assert not road_density(table, GRID, 2).any()


@pytest.mark.parametrize("gone", ["abandoned", "razed", "proposed", "construction"])
def test_a_street_with_rails_that_are_gone_or_planned_is_a_street(gone: str) -> None:
    table = features(("way/1", line((0, 1), (8, 1)), {"highway": "residential", "railway": gone}))
    assert road_density(table, GRID, 2).any()
    assert [edge["feature"] for edge in network(table, GRID)["edges"]] == ["way/1"]
    assert not network(table, GRID, "railways")["edges"]
    planned = features(("way/1", line((0, 1), (8, 1)), {"highway": "construction", "landuse": "grass"}))
    assert not road_density(planned, GRID, 2).any()


def test_a_platform_is_no_railway_and_a_dam_no_waterway() -> None:
    table = features(
        ("way/1", line((0, 1), (8, 1)), {"railway": "platform"}),
        ("way/2", line((0, 2), (8, 2)), {"railway": "rail"}),
        ("way/3", line((0, 3), (8, 3)), {"waterway": "dam"}),
        ("way/4", line((0, 4), (8, 4)), {"waterway": "stream", "intermittent": "yes"}),
    )
    assert [edge["feature"] for edge in network(table, GRID, "railways")["edges"]] == ["way/2"]
    assert [edge["feature"] for edge in network(table, GRID, "waterways")["edges"]] == ["way/4"]


def test_a_way_that_comes_back_to_a_vertex_meets_itself_there() -> None:
    loop = line((1, 3), (3, 3), (6, 3), (6, 1), (3, 1), (3, 3), (3, 5))
    graph = network(features(("way/1", loop, {"highway": "residential"})), GRID)
    assert {(x, y): degree for x, y, degree in graph["nodes"]} == {(1, 3): 1, (3, 3): 4, (3, 5): 1}
    assert sorted(edge["length_m"] for edge in graph["edges"]) == [20.0, 20.0, 100.0]
    ring = line((3, 1), (6, 1), (6, 3), (3, 3), (3, 1))
    assert [n[:2] for n in network(features(("way/1", ring, {"highway": "residential"})), GRID)["nodes"]] == [[3, 1]]


def test_what_is_gone_or_not_yet_there_on_the_day_of_the_extract_is_in_no_density_and_no_graph() -> None:
    gone, planned = {"end_date": "2023"}, {"start_date": "2025-03"}
    table = features(
        ("way/1", line((0, 5), (10, 5)), {"highway": "residential", **gone}),
        ("way/2", line((0, 6), (10, 6)), {"highway": "residential", **planned}),
        ("way/3", box(*at(1, 3), *at(3, 1)), {"building": "yes", **gone}),
    )
    assert not road_density(table, CHIP.georef, 4).any()
    assert not building_density(table, CHIP.georef, 4).any()
    assert not network(table, CHIP.georef)["edges"]
    later = replace(table, extract_date="2025-03-02")
    assert road_density(later, CHIP.georef, 4).any()
    assert {edge["feature"] for edge in network(later, CHIP.georef)["edges"]} == {"way/2"}


def test_ways_meet_where_they_share_a_vertex_and_not_under_a_bridge() -> None:
    table = features(
        ("way/1", line((1, 1), (3, 1), (5, 1), (12, 1)), {"highway": "residential"}),
        ("way/2", line((3, 1), (3, 4)), {"highway": "service"}),
        ("way/3", line((4, 0.5), (4, 5)), {"highway": "primary", "bridge": "yes", "layer": "1"}),
    )
    graph = network(table, GRID)
    assert len(graph["edges"]) == 4
    degree = {(x, y): d for x, y, d in graph["nodes"]}
    assert degree[3.0, 1.0] == 3
    assert (4.0, 1.0) not in degree
    assert degree[8.0, 1.0] == 1
    assert [graph["nodes"][i][:2] for i in graph["at_edge"]] == [[8.0, 1.0]]
    bridge = next(edge for edge in graph["edges"] if edge["bridge"])
    assert (bridge["feature"], bridge["value"], bridge["layer"], bridge["length_m"]) == ("way/3", "primary", "1", 45.0)
    for edge in graph["edges"]:
        assert edge["points"][0] == graph["nodes"][edge["from"]][:2]
        assert edge["points"][-1] == graph["nodes"][edge["to"]][:2]


# Degraded maps


def worse(classes: NDArray[np.uint8], seed: str = "s", dropped: tuple[int, ...] = (), **what: Any) -> NDArray[np.uint8]:
    target = DegradedTarget.model_validate({"kind": "degraded", "drop": ["x"] * bool(dropped)} | what)
    return degraded(classes, target, dropped, 10.0, seed)


BLOTCHES = np.random.default_rng(3).choice(np.array([0, 1, 2], np.uint8), (6, 9)).repeat(5, 0).repeat(5, 1)


def test_a_dropped_class_takes_that_of_its_surroundings() -> None:
    codes = np.full((5, 7), 3, np.uint8)
    codes[2, 3] = 4
    codes[0, 0] = 255
    out = worse(codes, dropped=(4,))
    assert out[2, 3] == 3
    assert out[0, 0] == 255
    assert (worse(np.full((3, 4), 4, np.uint8), dropped=(4,)) == 255).all()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 4))
def test_what_is_dropped_takes_what_the_transform_of_the_whole_chip_finds(seed: int, size: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.array([*range(kinds), 7, 7, 255], np.uint8), (-(-50 // size), -(-44 // size)))
    codes = drawn.repeat(size, 0).repeat(size, 1)[:50, :44]
    gone = codes == 7
    rows, columns = ndimage.distance_transform_edt(gone | (codes == 255), return_distances=False, return_indices=True)
    expected = np.where(gone, codes[rows, columns], codes) if (~gone & (codes != 255)).any() else codes
    np.testing.assert_array_equal(worse(codes, dropped=(7,)), np.where(expected == 7, 255, expected))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 1))
def test_patches_are_lost_by_one_draw_each_class_by_class(seed: int, share: float) -> None:
    drawn = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), (9, 7))
    codes = drawn.repeat(3, 0).repeat(3, 1)
    rng = np.random.default_rng(list(hashlib.sha256(b"s").digest()))
    gone, patches = np.zeros(codes.shape, bool), []
    for code in np.unique(codes[codes != 255]):
        labels, count = ndimage.label(codes == code)
        patches += [labels == number for number in range(1, count + 1)]
        gone |= np.isin(labels, 1 + np.flatnonzero(rng.random(count) < share))
    gone &= ~max(patches, key=np.count_nonzero)
    out = worse(codes, drop_objects=share)
    np.testing.assert_array_equal(out[~gone], codes[~gone])
    rows, columns = ndimage.distance_transform_edt(gone | (codes == 255), return_distances=False, return_indices=True)
    np.testing.assert_array_equal(out[gone], codes[rows, columns][gone])


def test_a_shift_moves_everything_alike_and_brings_in_the_unknown() -> None:
    out = worse(BLOTCHES, shift_m=30.0)
    known = out != 255
    assert 0.7 < known.mean() < 1
    dy, dx = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    origin = (min(dy), min(dx))
    best = [
        (y, x)
        for y in range(-3, 4)
        for x in range(-3, 4)
        if (np.roll(BLOTCHES, (y, x), (0, 1))[known] == out[known]).all()
    ]
    assert len(best) == 1
    assert origin == (max(best[0][0], 0), max(best[0][1], 0))
    assert 2 <= np.hypot(*best[0]) <= 4


def test_blur_makes_squares_of_the_commonest() -> None:
    out = worse(BLOTCHES, blur_m=50.0)
    np.testing.assert_array_equal(out, BLOTCHES)
    coarse = worse(BLOTCHES, blur_m=150.0)
    assert all(len(np.unique(coarse[r : r + 15, c : c + 15])) == 1 for r in (0, 15) for c in (0, 15, 30))


def test_objects_are_lost_whole_and_the_same_seed_loses_the_same() -> None:
    out = worse(BLOTCHES, drop_objects=0.4)
    changed = out != BLOTCHES
    assert 0 < changed.mean() < 0.7
    np.testing.assert_array_equal(out, worse(BLOTCHES, drop_objects=0.4))
    assert (worse(BLOTCHES, "other", drop_objects=0.4) != out).any()
    assert (worse(np.ones((4, 5), np.uint8), drop_objects=1.0) == 1).all()  # never all of it


def test_an_old_vintage_is_a_degraded_map_too() -> None:
    older = replace(CHIP, layers=dict(CHIP.layers) | {"old": layer("old", np.roll(WC, 1, 1), "worldcover", 0)})
    out = made(older, x={"kind": "degraded", "of": "old"}).arrays["x"]
    expected = np.roll(np.where(WC == 0, 255, np.where(WC == 40, 3, 0)), 1, 1)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"kind": "mask", "classes": ["Buildup"]}, r"x: legend worldcover-11 has no class 'Buildup' \(it has "),
        ({"kind": "mask", "of": "clc", "classes": ["Built-up"]}, r"x: legend corine-44 has no class 'Built-up'"),
        ({"kind": "degraded", "drop": ["Builtup"]}, r"x: legend worldcover-11 has no class 'Builtup'"),
        ({"kind": "density", "of": "roads", "cell_m": 25}, r"x: squares of 25 m are no whole number of pixels of 10 m"),
        ({"kind": "degraded", "shift_m": 4}, r"x: shift_m 4 changes nothing on pixels of 10 m \(give at least 10\)"),
        ({"kind": "degraded", "blur_m": 12}, r"x: blur_m 12 changes nothing on pixels of 10 m \(give at least 20\)"),
        ({"kind": "fractions", "cell_m": 4}, r"x: squares of 4 m are no whole number of pixels of 10 m"),
    ],
)
def test_a_target_that_cannot_be_made_is_told_before_anything_is_read(target: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=r"^labels\.targets\." + said):
        check_targets(labels_with(x=target), 10.0)


def test_targets_that_can_be_made_pass() -> None:
    check_targets(
        labels_with(
            a={"kind": "mask", "classes": ["Built-up"]},
            b={"kind": "fractions", "cell_m": 20},
            c={"kind": "degraded", "drop": ["Tree cover"]},
            d={"kind": "graph"},
        ),
        10.0,
    )
