"""Groups of scenes: no scene stands on both sides of a split."""

from __future__ import annotations

import numpy as np
import shapely

from chips.grid_utm import to_table
from chips.leakage import leakage_report
from chips.split_scenes import scene_groups
from chips.splits import split_cells
from schemas.recipe import SplitRule


def test_scenes_that_share_a_chip_are_one_group_and_none_is_shared() -> None:
    cells = to_table(600 + np.arange(12), np.full(12, 5500), 32632, 960.0, "r")
    outlines = cells.footprints()
    spans = {"a": (0, 4), "b": (3, 6), "c": (7, 9), "d": (10, 11)}  # a and b share a chip
    prints = np.array([shapely.union_all(outlines[i : j + 1]).buffer(-0.002) for i, j in spans.values()], dtype=object)
    groups = scene_groups(cells, prints, np.array(list(spans)))
    assert groups.tolist() == ["a"] * 7 + ["c"] * 3 + ["d"] * 2
    rule = SplitRule(method="groups", by="scene", assign="balanced", fractions=(0.6, 0.2, 0.2))
    splits, units, _ = split_cells(cells, rule, 7, groups)
    items = [[name for name, (i, j) in spans.items() if i <= index <= j] for index in range(12)]
    report = leakage_report(cells, splits, units, items)
    assert report["test"]["share_with_shared_items"] == 0.0
    assert report["val"]["share_with_shared_items"] == 0.0
    by_chip = np.array(["train", "test"] * 6)  # planted: neighbours of one scene on both sides
    assert leakage_report(cells, by_chip, by_chip, items)["test"]["share_with_shared_items"] == 1.0


def test_cells_without_a_scene_belong_to_none() -> None:
    cells = to_table(np.array([600, 700]), np.array([5500, 5500]), 32632, 960.0, "r")
    assert scene_groups(cells, cells.footprints()[:1], np.array(["s"])).tolist() == ["s", ""]
    assert scene_groups(cells, np.empty(0, object), np.empty(0, "U1")).tolist() == ["", ""]
