"""One acquisition, several items: `resolve_duplicates` keeps the newest processing and names what it replaces.

Parts of one datatake over different ground are no duplicates: they share `SceneItem.datatake` and may be mosaicked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.scene import SceneItem
from sources.scenes import DEPRECATED
from sources.stac_index_columns import Selection

SAME_GROUND = 0.8
"""Two footprints that share this much of the smaller one show the same ground."""
SAME_MOMENT_US = 5_000_000
"""Items further apart in time are no processings of one acquisition."""
CROWD = 64
"""So many items follow each other in one moment until their ground is looked up in a tree."""


def near_twins(found: Selection) -> list[int]:
    """Places of the items that share a moment and most of their ground with another: candidates, nothing decided.

    Args:
        found: in time order.
    """
    n, times = len(found), found.time_us
    twins: set[int] = set()
    for offset in range(1, min(n, CROWD)):
        near = np.flatnonzero(times[offset:] - times[:-offset] <= SAME_MOMENT_US)
        if not near.size:
            break
        twins |= _on_one_ground(found.footprint, near, near + offset)
    crowded = np.flatnonzero(times[CROWD:] - times[:-CROWD] <= SAME_MOMENT_US) if n > CROWD else np.empty(0, np.int64)
    ends = np.searchsorted(times, times[crowded] + SAME_MOMENT_US, side="right")
    begins = np.flatnonzero(np.concatenate([[True], crowded[1:] >= ends[:-1]])) if crowded.size else crowded
    for first, last in zip(begins, [*begins[1:] - 1, crowded.size - 1], strict=False):
        here = np.arange(crowded[first], ends[last])  # tiles of elevation have one day: each with each would be asked
        one, other = here[shapely.STRtree(found.footprint[here]).query(found.footprint[here])]
        pairs = (other - one >= CROWD) & (times[other] - times[one] <= SAME_MOMENT_US)
        twins |= _on_one_ground(found.footprint, one[pairs], other[pairs])
    return sorted(twins)


def _on_one_ground(footprints: NDArray[np.object_], one: NDArray[np.int64], other: NDArray[np.int64]) -> set[int]:
    """Those of some pairs that share `SAME_GROUND` of the smaller footprint."""
    first, second = shapely.bounds(footprints[one]).reshape(-1, 4), shapely.bounds(footprints[other]).reshape(-1, 4)
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    least = SAME_GROUND * np.minimum(shapely.area(footprints[one]), shapely.area(footprints[other]))
    near = np.flatnonzero(np.prod(np.clip(sides, 0, None), axis=1) >= least)
    one, other, least = one[near], other[near], least[near]
    shared = shapely.area(shapely.intersection(footprints[one], footprints[other])) >= least
    return set(one[shared].tolist()) | set(other[shared].tolist())


def resolve_duplicates(items: Sequence[SceneItem]) -> tuple[list[SceneItem], list[str]]:
    """The items less older processings of the same acquisition, and one line for each that was dropped, naming both.

    The same acquisition: one modality, datatake and tile (where tiles are named), one CRS, and footprints that lie on
    each other. Newest is: not deprecated by its catalog, then higher baseline, then later generation, then higher
    sequence, then the later id, so that the choice does not hang on the order of the answer. Items and lines stand in
    time order, ties by id.
    """
    kept: list[SceneItem] = []
    of_datatake: dict[str, list[SceneItem]] = defaultdict(list)
    dropped: list[tuple[SceneItem, str]] = []
    for item in sorted(items, key=_age, reverse=True):
        winner = next((other for other in of_datatake[item.datatake] if is_same_acquisition(item, other)), None)
        if winner is None:
            kept.append(item)
            of_datatake[item.datatake].append(item)
        else:
            dropped.append((item, f"{item.item_id} is replaced by {winner.item_id}: {_why(item, winner)}"))
    kept.sort(key=lambda item: (item.datetime_utc, item.item_id))
    dropped.sort(key=lambda pair: (pair[0].datetime_utc, pair[0].item_id))
    return kept, [line for _, line in dropped]


def is_same_acquisition(one: SceneItem, other: SceneItem) -> bool:
    """Whether two items are processings of the same ground at the same moment."""
    if (one.modality, one.sensor, one.datatake) != (
        other.modality,
        other.sensor,
        other.datatake,
    ) or not one.datatake:
        return False
    if one.refs and other.refs and one.refs[0].georef.epsg != other.refs[0].georef.epsg:
        return False
    tile, other_tile = dict(one.extra).get("tile"), dict(other.extra).get("tile")
    if tile and other_tile and tile != other_tile:
        return False
    if abs((one.datetime_utc - other.datetime_utc).total_seconds()) > SAME_MOMENT_US / 1e6:
        return False
    return _share_of_ground(one, other) >= SAME_GROUND


def _share_of_ground(one: SceneItem, other: SceneItem) -> float:
    first, second = shapely.from_wkb(one.footprint_wkb), shapely.from_wkb(other.footprint_wkb)
    smaller = min(first.area, second.area)
    return float(first.intersection(second).area / smaller) if smaller > 0 else 0.0


def _age(item: SceneItem) -> tuple[bool, tuple[int, ...], str, tuple[int, ...], str]:
    facts = dict(item.extra)
    return (
        DEPRECATED not in facts,
        _numbers(item.baseline),
        facts.get("generation_time", ""),
        _numbers(facts.get("sequence", "")),
        item.item_id,
    )


def _numbers(text: str) -> tuple[int, ...]:
    digits = "".join(char if char.isdigit() else " " for char in text)
    return tuple(int(part) for part in digits.split())


def _why(item: SceneItem, winner: SceneItem) -> str:
    if DEPRECATED in dict(item.extra) and DEPRECATED not in dict(winner.extra):
        return "its catalog calls it deprecated"
    if _numbers(item.baseline) != _numbers(winner.baseline):
        return f"baseline {item.baseline or 'not stated'} is older than {winner.baseline}"
    made, remade = dict(item.extra).get("generation_time", ""), dict(winner.extra).get("generation_time", "")
    if made != remade:
        return f"generated {made or 'at an unknown time'}, the other {remade}"
    return f"same baseline; {winner.item_id} comes later"
