"""Splits: decided by place alone, stable under growth, by whole units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chips.cell_table import CellTable
from chips.grid_utm import to_table
from chips.splits import split_cells, units_of, years_of
from schemas.errors import RecipeError
from schemas.recipe import SplitRule

RULE = SplitRule(method="blocks", block_m=3000, fractions=(0.6, 0.2, 0.2))


def _cells(columns: int, rows: int, first_column: int = 600, first_row: int = 5500) -> CellTable:
    """``columns`` x ``rows`` cells of 960 m in zone 32."""
    at = np.indices((columns, rows)).reshape(2, -1)
    return to_table(first_column + at[0], first_row + at[1], 32632, 960.0, "r")


@pytest.mark.parametrize("method", ["blocks", "stripes", "checkerboard", "kfold"])
def test_chips_of_one_unit_share_a_split(method: str) -> None:
    rule = RULE.model_copy(update={"method": method, "block_m": 1000.0})
    splits, units, _ = split_cells(_cells(40, 30), rule, 7)
    for unit in np.unique(units):
        assert len(set(splits[units == unit])) == 1
    assert set(splits) == {"train", "val", "test"}


def test_blocks_bear_their_place() -> None:
    _, units, _ = split_cells(_cells(1, 1, 600, 5500), RULE, 7)
    assert units.tolist() == ["32632_192_1760"]


@given(
    st.integers(0, 10_000),
    st.integers(0, 12),
    st.integers(0, 9),
    st.sampled_from(["blocks", "stripes", "checkerboard"]),
)
def test_larger_region_moves_no_chip_to_another_split(seed: int, columns: int, rows: int, method: str) -> None:
    rule = RULE.model_copy(update={"method": method})
    large = _cells(14, 11)
    at = np.indices((14, 11)).reshape(2, -1)
    inner = (at[0] >= columns // 2) & (at[0] <= columns) & (at[1] <= rows)
    whole, part = split_cells(large, rule, seed)[0], split_cells(large.take(inner), rule, seed)[0]
    assert (whole[inner] == part).all()


def test_fractions_are_met_over_many_blocks() -> None:
    splits, _, _ = split_cells(_cells(180, 150), RULE, 7)
    assert abs((splits == "train").mean() - 0.6) < 0.03
    assert abs((splits == "test").mean() - 0.2) < 0.03


def test_buffer_drops_train_chips_near_the_held_out() -> None:
    cells = _cells(5, 1).with_column("split", np.array(["train", "train", "train", "test", "train"]))
    rule = SplitRule(method="listed", buffer_m=1000.0)
    assert np.flatnonzero(split_cells(cells, rule, 7)[2]).tolist() == [1, 2, 4]
    assert not split_cells(cells, rule.model_copy(update={"buffer_m": 0.0}), 7)[2].any()


def test_folds_hold_the_strata_alike() -> None:
    cells = _cells(40, 30)
    strata = np.where(np.arange(len(cells)) % 10 == 0, "rare", "common")
    rule = SplitRule(method="kfold", folds=4, stratify="class", block_m=960)
    splits, units, _ = split_cells(cells.with_column("class", strata), rule, 7)
    folds = np.array([unit.split("_")[0] for unit in units])
    for fold in ("f0", "f1", "f2", "f3"):
        assert (folds == fold).sum() == 300
        assert (strata[folds == fold] == "rare").sum() == 30
    assert set(splits[folds == "f0"]) == {"test"}
    assert set(splits[folds == "f1"]) == {"val"}
    without_val = rule.model_copy(update={"fractions": (0.75, 0.0, 0.25)})
    assert set(split_cells(cells.with_column("class", strata), without_val, 7)[0]) == {"train", "test"}


def test_every_fold_is_test_once() -> None:
    cells = _cells(12, 9)
    tests = [split_cells(cells, SplitRule(method="kfold", folds=3, fold=k), 7)[0] == "test" for k in range(3)]
    assert (np.sum(tests, axis=0) == 1).all()


@pytest.mark.parametrize(
    ("columns", "rule", "units", "mend"),
    [
        ([600], {}, 1, "chips at more places"),
        ([600, 601, 602, 603, 604], {"block_m": 1e6}, 1, "a smaller split.block_m"),
        ([600, 600, 600, 601, 601], {}, 1, "chips at more places"),  # one place on several dates
        ([600, 610, 620], {}, 3, "at most 3 folds, or chips at more places"),
        ([600, 601, 602, 610, 620], {}, 3, "at most 3 folds, or a smaller split.block_m"),
        ([600, 601, 602, 603, 604], {"by": "region"}, 1, "split.by of more groups"),
        ([600, 601], {"by": "region"}, 1, "more chips"),
    ],
)
def test_more_folds_than_units_is_one_line_with_what_helps(
    columns: list[int], rule: dict[str, Any], units: int, mend: str
) -> None:
    cells = to_table(np.array(columns), np.full(len(columns), 5500), 32632, 960.0, "r")
    with pytest.raises(RecipeError) as caught:
        split_cells(cells, SplitRule(method="kfold", folds=5, **rule), 7)
    assert caught.value.line() == f"split.folds: {units} block(s) or group(s) cannot fill 5 folds ({mend})"


def test_groups_are_whole_and_may_be_named() -> None:
    cells = _cells(6, 5)
    events = np.array(["bolivia", "ghana", "nigeria"])[np.arange(30) % 3]
    rule = SplitRule(method="groups", by="event", assign="rest_is_train", held_out={"test": ("bolivia",)})
    splits, units, _ = split_cells(cells.with_column("event", events), rule, 7)
    assert (units == events).all()
    assert ((splits == "test") == (events == "bolivia")).all()
    assert set(splits[events != "bolivia"]) == {"train"}


def test_balanced_groups_meet_the_fractions() -> None:
    cells = _cells(20, 10)
    events = np.array([f"e{i % 10}" for i in range(200)])
    rule = SplitRule(method="groups", by="event", assign="balanced", fractions=(0.6, 0.2, 0.2))
    splits, _, _ = split_cells(cells.with_column("event", events), rule, 7)
    assert [(splits == name).sum() for name in ("train", "val", "test")] == [120, 40, 40]


def test_years_are_those_of_dates_in_every_usual_form() -> None:
    texts = ["2021-05-01", "20210501", "2021-05-01T10:00:00Z", "2021-05-01 10:00:00+00:00", "2021"]
    forms = [texts, [20210501, 20211231], [2021], np.array(["2021-05-01T10"], "datetime64[ns]")]
    assert [set(years_of(np.array(dates)).tolist()) for dates in forms] == [{"2021"}] * 4
    for none in ("", "nan", "01.05.2021"):
        with pytest.raises(RecipeError, match=rf"split.by: '{none}' is no date to take a year from"):
            years_of(np.array(["2021-05-01", none]))
    with pytest.raises(RecipeError, match="'NaT' is no date"):
        years_of(np.array(["NaT"], "datetime64[ns]"))


def test_year_is_taken_from_a_date() -> None:
    cells = _cells(2, 1).with_column("date", np.array(["2019-12-31", "2020-01-01"]))
    _, units, _ = split_cells(cells, SplitRule(method="groups", by="year"), 7)
    assert units.tolist() == ["2019", "2020"]


def test_mgrs_squares_are_those_of_the_chips_centres() -> None:
    rule = SplitRule(method="groups", by="mgrs")
    places = [(3, 53, 32601), (3, 53, 32633), (4, 53, 32660), (2, -38, 32734)]
    squares = [to_table(np.array([x]), np.array([y]), epsg, 100_000.0, "r") for x, y, epsg in places]
    assert units_of(CellTable.concat(squares), rule).tolist() == ["01UCP", "33UUP", "60UVU", "34HBH"]
    beside_an_edge = to_table(np.array([599, 600]), np.array([5500, 5500]), 32632, 500.0, "r")
    assert units_of(beside_an_edge, rule).tolist() == ["32RKN", "32RLN"]


@pytest.mark.parametrize("epsg", [3035, 32661, 32761])
def test_what_lies_in_no_zone_has_no_mgrs_square(epsg: int) -> None:
    with pytest.raises(RecipeError, match=f"EPSG:{epsg} is no UTM zone"):
        units_of(to_table(np.array([20]), np.array([20]), epsg, 100_000.0, "r"), SplitRule(method="groups", by="mgrs"))
    southern = to_table(np.array([3]), np.array([-1]), 32633, 100_000.0, "r")
    with pytest.raises(RecipeError, match="south of the equator"):
        units_of(southern, SplitRule(method="groups", by="mgrs"))


def test_one_colour_of_a_checkerboard_is_train_and_the_other_is_shared_by_val_and_test() -> None:
    rule = SplitRule(method="checkerboard", block_m=1920.0, fractions=(0.2, 0.6, 0.2))
    splits, units, _ = split_cells(_cells(180, 150), rule, 7)
    is_white = np.array([sum(map(int, unit.split("_")[1:])) % 2 == 0 for unit in units.tolist()])
    assert ((splits == "train") == is_white).all()
    assert rule.aimed_at() == pytest.approx((0.5, 0.375, 0.125))
    assert [(splits == name).mean() for name in ("train", "val", "test")] == pytest.approx(
        [0.5, 0.375, 0.125], abs=0.02
    )


def test_unknown_column_names_the_known() -> None:
    with pytest.raises(RecipeError, match=r"no column 'event' .*region, majortom, mgrs, scene, biome"):
        split_cells(_cells(2, 1).with_column("biome", np.array(["a", "b"])), SplitRule(method="groups", by="event"), 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "groups"}, "needs by"),
        ({"by": "mgrs"}, "not for blocks"),
        ({"method": "kfold", "folds": 3, "fold": 3}, "counted from 0"),
        ({"fractions": (0.5, 0.2, 0.2)}, "sum to 1"),
        ({"held_out": {"val": ("a",), "test": ("a",)}}, "for val and for test"),
        ({"method": "kfold", "held_out": {"val": ("a",)}}, "not for kfold"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitRule.model_validate(fields)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"method": "checkerboard", "assign": "balanced"}, "balanced is not for checkerboard"),
        ({"method": "kfold", "assign": "balanced"}, "balanced is not for kfold"),
        ({"assign": "rest_is_train"}, "rest_is_train needs held_out"),
        ({"method": "kfold", "folds": 2}, "two folds are test and val, and leave none to train"),
    ],
)
def test_what_a_rule_would_pass_over_is_refused(wish: dict[str, Any], words: str) -> None:
    """A balanced checkerboard was none: its colours were passed over."""
    with pytest.raises(ValidationError, match=words):
        SplitRule.model_validate(wish)
    assert SplitRule(method="kfold", folds=2, fractions=(0.5, 0.0, 0.5)).aimed_at() == (0.5, 0.0, 0.5)
