"""One acquisition, several items: `resolve_duplicates` keeps the newest processing and names what it replaces.

Parts of one datatake over different ground are no duplicates: they share `SceneItem.datatake` and may be mosaicked.
"""

from __future__ import annotations

from collections.abc import Sequence

import shapely

from schemas.scene import SceneItem

SAME_GROUND = 0.8
"""Two footprints that share this much of the smaller one show the same ground."""


def resolve_duplicates(items: Sequence[SceneItem]) -> tuple[list[SceneItem], list[str]]:
    """The items less older processings of the same acquisition, and one line for each that was dropped, naming both.

    The same acquisition: one modality, datatake and tile (where tiles are named), one CRS, and footprints that lie on
    each other. Newest is: higher baseline, then later generation, then higher sequence, then the later id, so that
    the choice does not hang on the order of the answer. Items and lines stand in time order, ties by id.
    """
    kept: list[SceneItem] = []
    dropped: list[tuple[SceneItem, str]] = []
    for item in sorted(items, key=_age, reverse=True):
        winner = next((other for other in kept if is_same_acquisition(item, other)), None)
        if winner is None:
            kept.append(item)
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
    if abs((one.datetime_utc - other.datetime_utc).total_seconds()) > 5:
        return False
    return _share_of_ground(one, other) >= SAME_GROUND


def _share_of_ground(one: SceneItem, other: SceneItem) -> float:
    first, second = shapely.from_wkb(one.footprint_wkb), shapely.from_wkb(other.footprint_wkb)
    smaller = min(first.area, second.area)
    return float(first.intersection(second).area / smaller) if smaller > 0 else 0.0


def _age(item: SceneItem) -> tuple[tuple[int, ...], str, tuple[int, ...], str]:
    facts = dict(item.extra)
    return (
        _numbers(item.baseline),
        facts.get("generation_time", ""),
        _numbers(facts.get("sequence", "")),
        item.item_id,
    )


def _numbers(text: str) -> tuple[int, ...]:
    digits = "".join(char if char.isdigit() else " " for char in text)
    return tuple(int(part) for part in digits.split())


def _why(item: SceneItem, winner: SceneItem) -> str:
    if _numbers(item.baseline) != _numbers(winner.baseline):
        return f"baseline {item.baseline or 'not stated'} is older than {winner.baseline}"
    made, remade = dict(item.extra).get("generation_time", ""), dict(winner.extra).get("generation_time", "")
    if made != remade:
        return f"generated {made or 'at an unknown time'}, the other {remade}"
    return f"same baseline; {winner.item_id} comes later"
