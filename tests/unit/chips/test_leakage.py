"""The leakage report finds a planted leak."""

from __future__ import annotations

import numpy as np
import shapely

from chips.cell_table import footprints_lonlat
from chips.leakage import leakage_report


def test_leakage_report_finds_a_planted_leak() -> None:
    footprints = [
        footprints_lonlat(np.array([[600_000.0 + 960 * c, 5_300_160.0, 600_960.0 + 960 * c, 5_301_120.0]]), 32632)[0]
        for c in (0, 1, 8)
    ]
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
