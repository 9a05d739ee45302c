"""Splits: decided by place alone, stable under growth, and the report finds a planted leak."""

from __future__ import annotations

import shapely
from hypothesis import given
from hypothesis import strategies as st

from chips.cells import footprint_lonlat
from chips.splits import block_of, leakage_report, split_of, within_buffer
from schemas.recipe import SplitRule

RULE = SplitRule(method="blocks", block_m=3000, fractions=(0.6, 0.2, 0.2))


def _square(column: int, row: int) -> tuple[float, float, float, float]:
    left, bottom = 600_000.0 + 960 * column, 5_300_160.0 + 960 * row
    return (left, bottom, left + 960, bottom + 960)


@given(st.integers(0, 40), st.integers(0, 30), st.sampled_from(["blocks", "stripes"]))
def test_chips_of_one_block_share_a_split(column: int, row: int, method: str) -> None:
    rule = RULE.model_copy(update={"method": method})
    block = block_of(_square(column, row), 32632, rule)
    assert split_of(block, rule, 7) == split_of(block, rule, 7)
    assert block.startswith("32632_")


@given(st.integers(0, 10_000))
def test_seed_decides_the_split(seed: int) -> None:
    assert split_of("32632_1_2", RULE, seed) in {"train", "val", "test"}


def test_fractions_are_met_over_many_blocks() -> None:
    splits = [split_of(f"32632_{i}_{j}", RULE, 7) for i in range(60) for j in range(50)]
    assert abs(splits.count("train") / 3000 - 0.6) < 0.03
    assert abs(splits.count("test") / 3000 - 0.2) < 0.03


def test_buffer_drops_train_chips_near_the_held_out() -> None:
    footprints = [footprint_lonlat(_square(column, 0), 32632) for column in range(5)]
    splits = ["train", "train", "train", "test", "train"]
    assert within_buffer(splits, footprints, 1000.0) == {1, 2, 4}
    assert within_buffer(splits, footprints, 0.0) == set()


def test_leakage_report_finds_a_planted_leak() -> None:
    footprints = [footprint_lonlat(_square(column, 0), 32632) for column in (0, 1, 8)]
    clean = leakage_report(["train", "train", "test"], footprints, ["a", "a", "b"], [["x"], ["y"], ["z"]])
    assert clean["test"]["overlapping_pairs"] == 0
    assert clean["test"]["shared_blocks"] == 0
    assert abs(clean["test"]["min_distance_m"] - 6 * 960) < 60
    assert clean["test"]["share_with_shared_items"] == 0.0
    shifted = shapely.transform(footprints[1], lambda xy: xy + 0.001)
    planted = leakage_report(
        ["train", "train", "test"], [*footprints[:2], shifted], ["a", "a", "a"], [["x"], ["y"], ["y"]]
    )
    assert planted["test"]["overlapping_pairs"] > 0
    assert planted["test"]["shared_blocks"] == 1
    assert planted["test"]["min_distance_m"] == 0.0
    assert planted["test"]["share_with_shared_items"] == 1.0
