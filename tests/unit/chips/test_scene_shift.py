"""One shift from many chips: better than any of them, unmoved by the wrong ones, and none where they do not agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chips.scene_shift import (
    Acquisitions,
    Observation,
    combine,
    combine_scene_shifts,
    from_rows,
    observe,
    to_rows,
)
from schemas.chip import Shift

PAIR = Acquisitions("landsat", "L8-1", "s2", "S2-1")


def chips(
    seed: int, count: int, *, centre: tuple[float, float] = (6.0, -4.0), noise: float = 2.0, wrong: float = 0.0
) -> list[Observation]:
    """Estimates of chips around a truth; a share of them locked on to something 80 m away."""
    rng = np.random.default_rng(seed)
    places = np.array(centre) + rng.normal(0, noise, (count, 2))
    places[: round(wrong * count)] += rng.normal([80.0, 60.0], 5.0, (round(wrong * count), 2))
    return [Observation(PAIR, f"c{i:04d}", float(x), float(y), noise, 30.0) for i, (x, y) in enumerate(places)]


def test_the_scenes_shift_is_better_than_its_chips_and_says_how_much() -> None:
    errors = []
    for seed in range(60):
        found = combine(chips(seed, 50), min_chips=5)
        errors += [(found.dx_m - 6.0) / found.sigma_m, (found.dy_m + 4.0) / found.sigma_m]
        assert found.sigma_m < 0.45  # of 2 m per chip: 0.28 m in theory
        assert found.agrees
    assert 0.7 < np.std(errors) < 1.3  # the standard error is one


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_chips_that_locked_on_to_something_else_are_left_out(share: float) -> None:
    found = combine(chips(3, 60, wrong=share), min_chips=5)
    assert (found.dx_m, found.dy_m) == pytest.approx((6.0, -4.0), abs=1.0)
    assert found.inliers <= round((1 - share) * 60)
    assert found.agrees


def test_chips_that_do_not_agree_have_no_common_shift() -> None:
    assert not combine(chips(4, 60, noise=40.0), min_chips=5).agrees  # 1.3 pixels of scatter
    halves = chips(5, 30) + [
        Observation(PAIR, f"d{i}", o.dx_m + 50.0, o.dy_m, 2.0, 30.0) for i, o in enumerate(chips(6, 30))
    ]
    assert not combine(halves, min_chips=5).agrees


@pytest.mark.parametrize("along", [0, 1])
def test_chips_that_scatter_along_one_axis_alone_do_not_agree(along: int) -> None:
    """Relief under a radar's slant view: east and west by more than a pixel, north and south as exact as any."""
    rng = np.random.default_rng(8)
    for _ in range(10):
        places = rng.normal(0.0, 1.0, (60, 2))
        places[:, along] = rng.uniform(-15.0, 15.0, 60)
        found = combine(
            [Observation(PAIR, f"c{i:02d}", x, y, 1.0, 10.0) for i, (x, y) in enumerate(places)], min_chips=5
        )
        assert not found.agrees
        assert max(abs(found.dx_m), abs(found.dy_m)) < 4.0 * found.sigma_m


def test_few_chips_are_not_a_scene() -> None:
    assert not combine(chips(7, 4), min_chips=5).agrees
    assert combine(chips(7, 5), min_chips=5).agrees
    alone = combine(chips(7, 1), min_chips=2)
    assert (alone.spread_m, alone.agrees) == (None, False)


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(2, 30), st.integers(-50, 50), st.integers(-50, 50), st.randoms())
def test_order_does_not_matter_and_moving_all_chips_moves_the_answer(
    seed: int, count: int, east: int, north: int, random: object
) -> None:
    made = chips(seed, count, wrong=0.2)
    mixed = made.copy()
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert combine_scene_shifts(mixed, 5) == combine_scene_shifts(made, 5)
    moved = [Observation(PAIR, o.chip_id, o.dx_m + east, o.dy_m + north, o.sigma_m, o.pixel_m) for o in made]
    before, after = combine_scene_shifts(made, 5)[PAIR], combine_scene_shifts(moved, 5)[PAIR]
    assert (after.dx_m - before.dx_m, after.dy_m - before.dy_m) == pytest.approx((east, north), abs=0.011)
    assert after.inliers == before.inliers


@given(st.integers(0, 99), st.integers(1, 12))
def test_the_table_comes_back_from_json(seed: int, count: int) -> None:
    scenes = combine_scene_shifts(chips(seed, count), 5)
    assert from_rows(json.loads(json.dumps(to_rows(scenes)))) == scenes


def test_a_chip_contributes_its_reliable_dates_against_its_reference() -> None:
    shifts = {
        "s2": (
            Shift(0, 0, 1, "measured", method="reference", sigma_m=0.0),
            Shift(1.0, 2.0, 0.9, "measured", sigma_m=0.5),
        ),
        "l8": (Shift(9.0, 9.0, 0.1, "unreliable", sigma_m=9.0), Shift(0, 0, 0, "not_applicable")),
        "s1": (Shift(3.0, 4.0, 0.6, "measured", sigma_m=5.0, pixel_m=10.0),),
    }
    found = observe("c1", shifts, {"s2": ["a", "b"], "l8": ["c", "d"], "s1": ["e"]})
    assert [(o.pair, o.dx_m, o.sigma_m) for o in found] == [
        (Acquisitions("s2", "b", "s2", "a"), 1.0, 0.5),
        (Acquisitions("s1", "e", "s2", "a"), 3.0, 5.0),
    ]
    assert observe("c2", {"s1": (Shift(3.0, 4.0, 0.6, "measured", sigma_m=5.0),)}, {"s1": ["e"]}) == []
