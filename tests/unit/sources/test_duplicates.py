"""Which processing of one acquisition is read, whatever the order in which a catalog names them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import shapely

from schemas.georef import GeoRef
from schemas.scene import SceneItem, SceneRef
from sources.duplicates import CROWD, SAME_GROUND, SAME_MOMENT_US, near_twins, resolve_duplicates
from sources.stac_index_columns import Selection

MOMENT = datetime(2021, 6, 1, 10, 20, tzinfo=UTC)


def scene(
    item_id: str,
    baseline: str = "03.01",
    *,
    datatake: str = "GS2A_20210601",
    tile: str = "32TQT",
    epsg: int = 32632,
    box: tuple[float, float, float, float] = (11.0, 47.0, 12.0, 48.0),
    made: str = "",
    after_s: float = 0.0,
) -> SceneItem:
    ref = SceneRef(item_id, "B02", "a.tif", "B02", 1, GeoRef(epsg, 0, 0, 10, (3, 4)), "uint16", 0.0)
    return SceneItem(
        catalog="c", collection="c", item_id=item_id, modality="s2", sensor="sentinel-2-l2a",
        datetime_utc=MOMENT + timedelta(seconds=after_s), end_utc=None,
        footprint_wkb=shapely.to_wkb(shapely.box(*box)), refs=(ref,), baseline=baseline, datatake=datatake,
        extra=(("generation_time", made), ("tile", tile)),
    )  # fmt: skip


def test_the_newest_baseline_wins_in_any_order_and_the_loser_is_named() -> None:
    items = [scene("a", "03.01"), scene("b", "05.00"), scene("c", "04.00")]
    for order in itertools.permutations(items):
        kept, lines = resolve_duplicates(order)
        assert [item.item_id for item in kept] == ["b"]
        assert lines == [
            "a is replaced by b: baseline 03.01 is older than 05.00",
            "c is replaced by b: baseline 04.00 is older than 05.00",
        ]


def test_of_one_baseline_the_later_generation_wins() -> None:
    kept, lines = resolve_duplicates([scene("z", made="2021-06-01T12"), scene("a", made="2021-06-02T12")])
    assert [item.item_id for item in kept] == ["a"]
    assert lines == ["z is replaced by a: generated 2021-06-01T12, the other 2021-06-02T12"]
    assert resolve_duplicates([scene("z"), scene("a")])[1] == ["a is replaced by z: same baseline; z comes later"]


def test_what_is_no_duplicate_is_kept() -> None:
    items = [
        scene("first"),
        scene("other tile", tile="33UUP"),
        scene("other zone", epsg=32633),
        scene("other datatake", datatake="GS2B_20210601"),
        scene("other part", box=(11.9, 47.0, 12.9, 48.0)),
        scene("a moment later", after_s=6),
        scene("later", after_s=7200),
        scene("without datatake", datatake=""),
        scene("without datatake 2", datatake=""),
    ]
    kept, lines = resolve_duplicates(items)
    assert len(kept) == len(items)
    assert lines == []
    assert [item.item_id for item in kept][-1] == "later"


def test_a_moment_a_tile_that_one_does_not_name_and_a_part_of_the_ground_keep_no_processings_apart() -> None:
    for old in (scene("a", after_s=4), scene("a", tile=""), scene("a", box=(11.0, 47.0, 11.4, 48.0))):
        assert [item.item_id for item in resolve_duplicates([old, scene("b", "05.00")])[0]] == ["b"]
    kept = resolve_duplicates([scene("a"), scene("b", "05.00", tile="")])[0]
    assert [item.item_id for item in kept] == ["b"]


def test_what_its_catalog_deprecates_wins_over_nothing() -> None:
    bad = scene("b", "05.00")
    bad = replace(bad, extra=(*bad.extra, ("deprecated", "true")))
    for order in itertools.permutations([scene("a", "03.01"), bad]):
        kept, lines = resolve_duplicates(order)
        assert [item.item_id for item in kept] == ["a"]
        assert lines == ["b is replaced by a: its catalog calls it deprecated"]
    assert resolve_duplicates([bad])[0] == [bad]


def found(times_s: list[int], west: list[float]) -> Selection:
    """Items of a degree at the equator, in time order."""
    sides = np.array(west)
    names = np.array([str(number) for number in range(len(west))], dtype=object)
    return Selection(
        np.arange(len(west)), names, names, np.array(times_s, np.int64) * 1_000_000,
        shapely.box(sides, 0.0, sides + 1.0, 1.0), names,
    )  # fmt: skip


def each_with_each(items: Selection) -> list[int]:
    twins: set[int] = set()
    for one, other in itertools.combinations(range(len(items)), 2):
        shared = shapely.intersection(items.footprint[one], items.footprint[other]).area
        if items.time_us[other] - items.time_us[one] <= SAME_MOMENT_US and shared >= SAME_GROUND:
            twins |= {one, other}
    return sorted(twins)


@pytest.mark.parametrize("count", [0, 1, 2, CROWD, CROWD + 1, 3 * CROWD])
@pytest.mark.parametrize("seconds", [1, 40])
def test_twins_are_those_of_each_with_each(count: int, seconds: int) -> None:
    random = np.random.default_rng(count)
    times = np.sort(random.integers(0, seconds, count)).tolist()
    items = found(times, (random.integers(0, 60, count) + random.choice([0.0, 0.1, 0.3], count)).tolist())
    assert near_twins(items) == each_with_each(items)


def test_crowds_at_two_moments_are_looked_at_apart() -> None:
    west = [2.0 * number for number in range(CROWD + 6)]
    west[-1] = west[0]
    items = found([0] * len(west) + [60] * len(west), west * 2)
    last = len(west) - 1
    assert near_twins(items) == [0, last, last + 1, 2 * last + 1]
