"""A split that is empty, or far from what was asked for, is told with what mends it."""

from __future__ import annotations

import numpy as np
import shapely

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.plan import PlannedCells, plan_cells
from chips.split_notes import split_notes
from schemas.recipe import Recipe
from tests.unit.chips.test_inputs import recipe


def _planned(asked: Recipe) -> PlannedCells:
    north = shapely.box(11.95, 47.80, 12.05, 47.85)
    return plan_cells(asked, CellTable.concat(cells_of(asked.grid, {"north": north})))


def test_splits_far_from_what_was_asked_are_told() -> None:
    one_block = recipe(split={"block_m": 100_000})
    (note,) = split_notes(one_block, _planned(one_block).split)
    assert "instead of 15%" in note
    assert "smaller split.block_m" in note
    none = recipe(split={"method": "none"})
    assert split_notes(none, _planned(none).split) == []


def test_a_buffer_that_takes_the_chips_is_named_as_the_cause() -> None:
    wide = shapely.box(11.5, 47.6, 12.2, 47.95)
    buffered = recipe(split={"block_m": 1920, "buffer_m": 100_000})
    cells = CellTable.concat(cells_of(buffered.grid, {"wide": wide}))
    planned = plan_cells(buffered, cells)
    (note,) = split_notes(buffered, planned.split, len(cells) - len(planned))
    assert "train 0% instead of 70%" in note
    assert f"take a smaller split.buffer_m, which left out {len(cells) - len(planned)} of {len(cells)}" in note
    assert "block_m" not in note


def test_a_buffer_and_one_block_are_both_named() -> None:
    (note,) = split_notes(recipe(), np.array(["val"] * 6 + ["train"]), dropped=3)
    assert "smaller split.buffer_m, which left out 3 of 10, and take a smaller split.block_m" in note


def test_a_rule_is_judged_by_what_it_can_make_of_the_chips() -> None:
    """Half of a checkerboard is train, whatever the fractions say, and no smaller block would change that."""
    halves = np.array(["train"] * 50 + ["val"] * 25 + ["test"] * 25)
    assert split_notes(recipe(split={"method": "checkerboard"}), halves) == []
    assert (
        "val 25% instead of 0%"
        in split_notes(recipe(split={"method": "checkerboard", "fractions": [0.5, 0.0, 0.5]}), halves)[0]
    )
    thirds = np.array(["train", "val", "test"] * 20)
    assert split_notes(recipe(split={"method": "kfold", "folds": 3}), thirds) == []
    assert split_notes(recipe(split={"method": "listed"}), np.array(["train"] * 9)) == []
    named = {"method": "groups", "by": "region", "held_out": {"test": ["north"]}, "assign": "rest_is_train"}
    assert split_notes(recipe(split=named), thirds) == []
    (note,) = split_notes(recipe(split=named), np.array(["test"] * 9), dropped=4)
    assert note == "split.buffer_m left out all 4 chips of train: take a smaller one"


def test_groups_far_from_the_fractions_are_mended_by_balance_not_by_blocks() -> None:
    grouped = {"method": "groups", "by": "region"}
    (note,) = split_notes(recipe(split=grouped), np.array(["train"] * 9))
    assert note.endswith("take split.assign: balanced, more groups or another seed")
