"""Legends and crosswalks: complete, consistent, and what the products' documents say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from labelers.base import JUDGED_ACCURACY, LABELERS, make_labeler
from labelers.voters import vote_table
from schemas.errors import RecipeError
from schemas.legend import (
    Crosswalk,
    Legend,
    LegendClass,
    known_tables,
    load_crosswalk,
    load_legend,
    use_legends,
)
from schemas.recipe import LabelSource
from schemas.recipe_labels import OWN_LEGEND

LEGENDS = known_tables("legend_")
CROSSWALKS = known_tables("crosswalk_")


TARGETS = ("worldcover-11", "corine-44", "corine-2", "corine-1", "bigearthnet-19")
PRODUCTS = sorted({name.split("__")[0] for name in CROSSWALKS})


def test_every_legend_is_a_product_or_a_target() -> None:
    assert {*PRODUCTS, *TARGETS} == set(LEGENDS)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_code_of_every_product_maps_to_every_target_or_is_declared_unmapped(product: str, target: str) -> None:
    crosswalk = load_crosswalk(product, target)
    assert {*crosswalk.maps, *crosswalk.unmapped} == {entry.code for entry in load_legend(product).classes}
    assert not {*crosswalk.maps} & {*crosswalk.unmapped}
    goal = {entry.code for entry in load_legend(target).classes}
    assert all(admitted and {*admitted} <= goal for admitted in crosswalk.maps.values())
    assert vote_table(product, target).shares.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("level", [1, 2])
def test_levels_of_corine_are_the_first_digits_of_its_codes(level: int) -> None:
    crosswalk = load_crosswalk("corine-44", f"corine-{level}")
    assert all(admitted == (code // 10 ** (3 - level),) for code, admitted in crosswalk.maps.items())
    assert not crosswalk.unmapped


def test_bigearthnets_classes_are_those_of_the_table_in_the_design() -> None:
    legend = load_legend("bigearthnet-19")
    assert len(legend.classes) == 19
    crosswalk = load_crosswalk("corine-44", "bigearthnet-19")
    assert crosswalk.unmapped == (122, 123, 124, 131, 132, 133, 141, 142, 332, 334, 335, 423)
    assert crosswalk.maps[241] == crosswalk.maps[223] == (4,)
    assert crosswalk.maps[333] == (12,)


@pytest.mark.realdata
def test_real_labels_of_bigearthnet_are_classes_of_corine_and_fall_into_the_19(realdata: Path) -> None:
    corine, groups = load_legend("corine-44"), load_crosswalk("corine-44", "bigearthnet-19")
    code_of = {entry.name: entry.code for entry in corine.classes}
    name_of = {entry.code: entry.name for entry in load_legend("bigearthnet-19").classes}
    seen = set()
    for path in (realdata / "catalog" / "bigearthnet-s2" / "items").glob("*.json"):
        stated = json.loads(path.read_text())["properties"]["corine:labels"]
        assert stated
        seen |= {name_of[group] for name in stated for group in groups.maps[code_of[name]]}
    assert "Arable land" in seen
    assert len(seen) >= 3


def test_a_group_comes_at_the_place_of_its_first_member_and_once() -> None:
    assert load_crosswalk("worldcover", "corine-2").maps[10] == (31, 32, 24, 22, 14, 11)
    assert load_crosswalk("worldcover", "corine-1").maps[80] == (5, 4)


OWN = Legend(
    name="cover-3", title="Three", version="1", nodata=(0,), source="test", groups="worldcover-11",
    classes=(
        LegendClass(code=1, name="Green", colour="#00ff00", members=(10, 20, 30, 40)),
        LegendClass(code=2, name="Grey", colour="#888888", members=(50, 60)),
        LegendClass(code=3, name="Blue", colour="#0000ff", members=(80, 90)),
    ),
)  # fmt: skip


def test_a_users_own_grouping_needs_no_crosswalk() -> None:
    use_legends({"cover-3": OWN})
    assert load_crosswalk("osm", "cover-3").maps[4] == (2, 1)  # residential land: built-up, grass, trees
    assert load_crosswalk("worldcover", "cover-3").unmapped == (70, 95, 100)
    assert vote_table("corine-44", "cover-3").shares.shape[1] == 3


def test_a_crosswalk_that_forgets_a_code_is_refused_and_a_new_one_takes_its_place() -> None:
    half = Crosswalk(source="lc-label", target="cover-3", version="1", maps={11: (1,), 13: (1,)})
    use_legends({"cover-3": OWN}, [half])
    with pytest.raises(RecipeError, match="says nothing of code 60"):
        vote_table("lc-label", "cover-3")
    use_legends({}, [half.model_copy(update={"maps": {11: (1,), 13: (1,), 60: (2,)}, "unmapped": (99,)})])
    assert vote_table("lc-label", "cover-3").codes == (11, 13, 60)
    use_legends({}, [half.model_copy(update={"maps": {}, "unmapped": (11, 13, 60, 99)})])
    with pytest.raises(RecipeError, match="maps no code"):
        vote_table("lc-label", "cover-3")


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        ({1: [10], 2: []}, "2 admits no class: name it under unmapped"),  # a vote of 0 / 0
        ({1: [10, 30, 10], 2: [30]}, "1 admits a class twice"),  # the likeliest came last
        ({1: [10], 2: [30], 3: [40]}, "3 stands under unmapped too"),
        ({1: [10], 2: [30], -1: [40]}, "greater than or equal to 0"),  # counted from the end: code 65535
        ({1: [10], 2: [30], 70_000: [40]}, "less than or equal to 65535"),
    ],
)
def test_a_crosswalk_of_which_a_line_makes_no_sense_is_refused(maps: dict[int, list[int]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Crosswalk.model_validate({"source": "a", "target": "b", "version": "1", "maps": maps, "unmapped": [3]})


@pytest.mark.parametrize(
    "classes",
    [
        [{"code": 1, "name": "a", "colour": "#000000", "members": [10]}, {"code": 2, "name": "b", "colour": "#000000"}],
        [{"code": 1, "name": "a", "colour": "#000000", "members": [10, 10]}],
    ],
)
def test_a_grouping_that_is_not_whole_is_refused(classes: list[dict[str, Any]]) -> None:
    shape = {"name": "x", "title": "x", "version": "1", "nodata": [0], "source": "x", "groups": "worldcover-11"}
    with pytest.raises(ValidationError, match="member"):
        Legend.model_validate(shape | {"classes": classes})


@pytest.mark.parametrize("name", LEGENDS)
def test_codes_names_and_colours_of_a_legend_are_distinct_and_well_formed(name: str) -> None:
    legend = load_legend(name)
    codes = [entry.code for entry in legend.classes]
    assert legend.name == name
    assert len(set(codes)) == len(codes)
    assert len({entry.name for entry in legend.classes}) == len(codes)
    assert all(re.fullmatch("#[0-9a-f]{6}", entry.colour) for entry in legend.classes)
    assert all(entry.noun for entry in legend.classes)
    assert legend.nodata
    assert not set(legend.nodata) & set(codes)


@pytest.mark.parametrize("name", CROSSWALKS)
def test_every_code_of_a_source_maps_or_is_declared_unmapped(name: str) -> None:
    crosswalk = load_crosswalk(*name.split("__"))
    source = {entry.code for entry in load_legend(crosswalk.source).classes}
    target = {entry.code for entry in load_legend(crosswalk.target).classes}
    assert f"{crosswalk.source}__{crosswalk.target}" == name
    assert set(crosswalk.maps) | set(crosswalk.unmapped) == source
    assert not set(crosswalk.maps) & set(crosswalk.unmapped)
    for code, admitted in crosswalk.maps.items():
        assert admitted, code
        assert set(admitted) <= target, code
        assert len(set(admitted)) == len(admitted), code


@pytest.mark.parametrize("name", CROSSWALKS)
def test_a_code_divides_one_vote_the_likeliest_first(name: str) -> None:
    crosswalk = load_crosswalk(*name.split("__"))
    table = vote_table(crosswalk.source, crosswalk.target)
    target = load_legend(crosswalk.target)
    assert table.shares.sum(axis=1) == pytest.approx(1.0)
    for code, admitted in crosswalk.maps.items():
        shares = table.shares[table.symbol_of[code]]
        assert [target.classes[i].code for i in (-shares).argsort(kind="stable")[: len(admitted)]] == list(admitted)
        assert (shares > 0).sum() == len(admitted)


def test_corine_has_its_44_classes_in_raster_order_with_the_colours_of_the_eea() -> None:
    legend = load_legend("corine-44")
    codes = [entry.code for entry in legend.classes]
    assert len(codes) == 44
    assert codes == sorted(codes)
    assert (codes[0], codes[11], codes[43]) == (111, 211, 523)
    assert set(legend.nodata) == {990, 995, 999}
    colours = {entry.code: entry.colour for entry in legend.classes}
    assert colours[111] == "#e6004d"
    assert colours[523] == "#e6f2ff"


def test_worldcover_has_its_11_classes() -> None:
    legend = load_legend("worldcover")
    assert [entry.code for entry in legend.classes] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100]
    assert legend.nodata == (0,)
    assert [e.code for e in load_legend("worldcover-11").classes] == [e.code for e in legend.classes]


@pytest.mark.parametrize("kind", sorted(LABELERS))
def test_every_kind_has_a_labeler(kind: str) -> None:
    source = LabelSource.model_validate({"kind": kind, "href": "x.tif", "legend": OWN_LEGEND.get(kind, "lc-label")})
    assert hasattr(make_labeler(source), "label")
    assert 0 < JUDGED_ACCURACY[kind] < 1
