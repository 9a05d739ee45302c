"""What could leak between splits, measured on the chips themselves: computed, not promised."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.nearness import Squares
from schemas.recipe_places import SplitRule

SAME_PLACE = 0.5
"""Two chips that share this much of the smaller one show the same place."""


def leakage_report(
    cells: CellTable,
    splits: NDArray[np.str_],
    units: NDArray[np.str_],
    items: Sequence[Sequence[Hashable]],
    dates: Sequence[Sequence[Hashable]] = (),
) -> dict[str, Any]:
    """What could leak between train and the held-out splits, and between those two.

    Args:
        cells: N chips.
        splits: (N,) split of each.
        units: (N,) block or group that decided it.
        items: ids of the items that each chip was cut from; empty lists in a plan.
        dates: dates of each chip's pixels, where they are known.

    Returns:
        For val and test against train, and for ``test_val``: number of chips, smallest distance in metres, pairs that
        overlap, pairs that show the same place (and of those, pairs with not one date in common), blocks or groups
        that both have, and the share of chips that were cut from an item that the other split uses too.
    """
    squares = Squares.of(cells)
    at = {name: np.flatnonzero(splits == name) for name in ("train", "val", "test")}
    return {
        "val": _between(squares, at["val"], at["train"], units, items, dates),
        "test": _between(squares, at["test"], at["train"], units, items, dates),
        "test_val": _between(squares, at["test"], at["val"], units, items, dates),
    }


def _between(
    squares: Squares,
    held: NDArray[np.intp],
    others: NDArray[np.intp],
    units: NDArray[np.str_],
    items: Sequence[Sequence[Hashable]],
    dates: Sequence[Sequence[Hashable]],
) -> dict[str, Any]:
    distance = squares.smallest_gap_m(held, others)
    entry: dict[str, Any] = {
        "chips": int(held.size),
        "min_distance_m": None if distance is None else round(distance, 1),
        "overlapping_pairs": 0,
        "same_place_pairs": 0,
        "same_place_other_date_pairs": 0,
        "shared_blocks": 0,
        "share_with_shared_items": 0.0,
    }
    if not held.size or not others.size:
        return entry
    one, other, area = squares.overlaps(held, others)
    smaller = np.minimum(_area(squares, one), _area(squares, other))
    same = area >= SAME_PLACE * smaller
    apart = [
        (i, j)
        for i, j in zip(one[same].tolist(), other[same].tolist(), strict=True)
        if dates and not set(dates[i]) & set(dates[j])
    ]
    used = {item for index in others.tolist() for item in items[index]} if items else set()
    shared = sum(1 for index in held.tolist() if items and not used.isdisjoint(items[index]))
    return entry | {
        "overlapping_pairs": int(one.size),
        "same_place_pairs": int(same.sum()),
        "same_place_other_date_pairs": len(apart),
        "shared_blocks": int(np.intersect1d(units[held], units[others]).size),
        "share_with_shared_items": round(shared / held.size, 4),
    }


def _area(squares: Squares, index: NDArray[np.intp]) -> NDArray[np.float64]:
    edges = squares.cells.bounds[index, 2:] - squares.cells.bounds[index, :2]
    return np.asarray(edges[:, 0] * edges[:, 1], dtype=np.float64)


def warnings_of(report: dict[str, Any]) -> list[str]:
    """What of a report a person should be told: one line for each kind of leak."""
    lines = []
    for name, entry in report.items():
        pair = "test and val" if name == "test_val" else f"{name} and train"
        if entry["same_place_other_date_pairs"]:
            lines.append(f"{pair} show the same place on other dates in {entry['same_place_other_date_pairs']} pair(s)")
        elif entry["overlapping_pairs"]:
            lines.append(f"chips of {pair} overlap in {entry['overlapping_pairs']} pair(s)")
        if entry["shared_blocks"]:
            lines.append(f"{pair} share {entry['shared_blocks']} block(s) or group(s)")
    return lines


def small_blocks(rule: SplitRule, chip_m: float | None, report: dict[str, Any]) -> list[str]:
    """A line where blocks are smaller than a chip, so that they hold no neighbours together, and splits lie side by
    side: a length in kilometres, or the default under large chips.
    """
    block_m = rule.said().get("block_m")
    gaps = [entry["min_distance_m"] for entry in report.values() if entry["min_distance_m"] is not None]
    if block_m is None or chip_m is None or block_m >= chip_m or not gaps or min(gaps) >= chip_m:
        return []
    return [
        f"split.block_m of {block_m:g} m is less than a chip of {chip_m:g} m: "
        "each chip is drawn by itself, its neighbours stand in other splits"
    ]
