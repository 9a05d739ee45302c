"""Legends and crosswalks: complete, consistent, and what the products' documents say."""

from __future__ import annotations

import re

import pytest

from labelers.base import JUDGED_ACCURACY, LABELERS, make_labeler
from labelers.voters import vote_table
from schemas.legend import known_tables, load_crosswalk, load_legend
from schemas.recipe import LabelSource
from schemas.recipe_labels import OWN_LEGEND

LEGENDS = known_tables("legend_")
CROSSWALKS = known_tables("crosswalk_")


def test_every_legend_has_a_crosswalk_to_worldcover() -> None:
    assert {name.split("__")[0] for name in CROSSWALKS} >= set(LEGENDS) - {"worldcover-11"}


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
