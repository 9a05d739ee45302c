"""The leakage report finds what was planted, and nothing where nothing was."""

from __future__ import annotations

import numpy as np

from chips.cell_table import CellTable
from chips.grid_utm import to_table
from chips.leakage import leakage_report, small_blocks, warnings_of
from schemas.recipe_places import SplitRule


def _row(*columns: int) -> CellTable:
    at = np.array(columns)
    return to_table(600 + at, np.full(len(at), 5500), 32632, 960.0, "r")


def test_clean_splits_have_a_distance_and_no_warning() -> None:
    splits, units = np.array(["train", "train", "test", "val"]), np.array(["a", "a", "b", "c"])
    report = leakage_report(_row(0, 1, 8, 20), splits, units, [["x"], ["y"], ["z"], ["w"]])
    assert report["test"]["min_distance_m"] == 6 * 960
    assert report["test"]["overlapping_pairs"] == 0
    assert report["test"]["shared_blocks"] == 0
    assert report["test"]["share_with_shared_items"] == 0.0
    assert report["test_val"]["min_distance_m"] == 11 * 960
    assert warnings_of(report) == []


def test_planted_leaks_are_found() -> None:
    cells = _row(0, 1, 8, 8, 3)
    moved = cells.bounds.copy()
    moved[2] = moved[1] + 300.0  # half of it lies on a chip of train
    cells = CellTable(cells.chip_id, cells.epsg, moved, cells.region, cells.majortom)
    splits, units = np.array(["train", "train", "test", "val", "test"]), np.array(["a", "a", "a", "c", "d"])
    dates = [["2021-06-01"], ["2021-06-01"], ["2021-07-01"], ["2021-06-01"], ["2021-06-01"]]
    report = leakage_report(cells, splits, units, [["x"], ["y"], ["y"], ["z"], ["q"]], dates)
    assert report["test"]["overlapping_pairs"] == 1
    assert report["test"]["same_place_pairs"] == 0  # 47 % of it
    assert report["test"]["shared_blocks"] == 1
    assert report["test"]["min_distance_m"] == 0.0
    assert report["test"]["share_with_shared_items"] == 0.5
    assert warnings_of(report) == [
        "chips of test and train overlap in 1 pair(s)",
        "test and train share 1 block(s) or group(s)",
    ]
    both = leakage_report(cells, np.array(["train", "train", "test", "val", "test"]), np.full(5, "a"), [])
    assert [line for line in warnings_of(both) if "block" in line] == [
        f"{pair} share 1 block(s) or group(s)" for pair in ("val and train", "test and train", "test and val")
    ]
    for place in ((480.0, 0.0, 480.0, 0.0), (240.0, 240.0, -240.0, -240.0)):  # half of it, and a small one within
        moved[2] = moved[1] + place
        assert leakage_report(cells, splits, units, [], dates)["test"]["same_place_pairs"] == 1


def test_the_same_place_on_another_date_is_found() -> None:
    splits, units = np.array(["train", "test", "test"]), np.array(["2019", "2020", "2020"])
    other = leakage_report(_row(0, 0, 5), splits, units, [["x"], ["y"], ["z"]], [["2019-06-01"], ["2020-06-01"], []])
    assert other["test"]["same_place_pairs"] == 1
    assert other["test"]["same_place_other_date_pairs"] == 1
    assert "same place on other dates" in warnings_of(other)[0]
    same = leakage_report(_row(0, 0, 5), splits, units, [["x"], ["x"], ["z"]], [["2019-06-01"], ["2019-06-01"], []])
    assert same["test"]["same_place_other_date_pairs"] == 0


def test_empty_splits_report_no_distance() -> None:
    report = leakage_report(_row(0, 1), np.array(["train", "train"]), np.array(["a", "b"]), [])
    assert report["test"] == report["val"]
    assert report["test"]["min_distance_m"] is None
    assert warnings_of(report) == []
    full = leakage_report(_row(0, 8, 20), np.array(["train", "val", "test"]), np.array(["a", "b", "c"]), [])
    assert report["test"].keys() == full["test"].keys()
    assert report["test"]["share_with_shared_items"] == 0.0


def test_blocks_smaller_than_a_chip_are_told_where_chips_lie_side_by_side() -> None:
    splits, units = np.array(["train", "test"]), np.array(["a", "b"])
    beside, far = (leakage_report(_row(0, column), splits, units, []) for column in (1, 8))
    kilometres = SplitRule(block_m=9.6)
    assert "split.block_m of 9.6 m is less than a chip of 960 m" in small_blocks(kilometres, 960.0, beside)[0]
    assert small_blocks(kilometres, 960.0, far) == []
    assert small_blocks(SplitRule(block_m=960), 960.0, beside) == []
    assert small_blocks(SplitRule(method="groups", by="region"), 4000.0, beside) == []
