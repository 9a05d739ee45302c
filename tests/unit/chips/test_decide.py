"""What a recipe does about shifts: whose estimate counts, what moves, what is rejected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chips.decide import decide, screen_shifts, shifted_georef
from chips.scene_shift import SceneShift
from schemas.chip import Shift
from schemas.georef import GeoRef
from schemas.recipe import Register

SCENE = SceneShift(12.0, -9.0, 0.5, 2.0, 10.0, 40, 38, True)
METRES = st.integers(-900, 900).map(lambda n: n / 10)


@pytest.mark.parametrize(
    ("dx", "status", "reliability", "wanted"),
    [
        (12.0, "measured", 0.9, True),
        (4.0, "measured", 0.9, False),
        (80.0, "measured", 0.9, False),
        (12.0, "unreliable", 0.1, False),
        (12.0, "corrected", 0.9, False),
    ],
)
def test_only_reliable_shifts_between_the_limits_are_corrected(
    dx: float, status: Any, reliability: float, wanted: bool
) -> None:
    shifts = {"s2": (Shift(dx, 0.0, reliability, status),)}
    (found,) = decide(shifts, Register(mode="correct"))["s2"]
    assert (found.applied_by == "chip") is wanted
    assert found.applied_dx_m == (dx if wanted else 0.0)
    assert decide(shifts, Register(mode="measure")) == shifts


@pytest.mark.parametrize("status", ["measured", "unreliable", "not_applicable"])
def test_by_scene_every_date_moves_with_its_acquisition_even_under_clouds(status: Any) -> None:
    register = Register(mode="correct", correct_by="scene")
    shifts = {"s2": (Shift(0, 0, 1, "measured", method="reference"), Shift(30.0, 1.0, 0.4, status))}
    first, second = decide(shifts, register, {"s2": [SCENE, SCENE]})["s2"]
    assert first == shifts["s2"][0]  # what the others were measured against stays
    assert (second.applied_dx_m, second.applied_dy_m, second.applied_by) == (12.0, -9.0, "scene")
    assert (second.dx_m, second.status) == (30.0, status)  # what was measured is not overwritten


def test_where_the_chips_of_a_scene_do_not_agree_each_goes_by_its_own() -> None:
    quarrel = SceneShift(12.0, -9.0, 0.5, 20.0, 10.0, 40, 20, False)
    register = Register(mode="correct", correct_by="scene")
    for scene in (quarrel, None):
        (found,) = decide({"s2": (Shift(30.0, 0.0, 0.9, "measured"),)}, register, {"s2": [scene]})["s2"]
        assert (found.applied_dx_m, found.applied_by) == (30.0, "chip")


def test_a_reliable_shift_beyond_the_limit_rejects_in_mode_reject() -> None:
    shifts = {
        "s2": (Shift(0, 0, 1, "measured"),),
        "l8": (Shift(60.0, 80.0, 0.8, "measured"), Shift(500.0, 0.0, 0.1, "unreliable")),
    }
    outcome = screen_shifts("c1", shifts, Register(mode="reject", max_shift_m=99.0))
    assert outcome is not None
    assert (outcome.reason, outcome.measured, outcome.limit) == ("l8.max_shift_m", 100.0, 99.0)
    assert screen_shifts("c1", shifts, Register(mode="reject", max_shift_m=100.0)) is None
    assert screen_shifts("c1", shifts, Register(mode="measure", max_shift_m=1.0)) is None


def test_by_scene_a_chip_is_rejected_for_its_acquisition_and_not_for_its_own_slip() -> None:
    register = Register(mode="reject", correct_by="scene", max_shift_m=14.0)
    slip = {"s2": (Shift(40.0, 0.0, 0.9, "measured"),)}
    outcome = screen_shifts("c1", slip, register, {"s2": [SCENE]})
    assert outcome is not None
    assert outcome.measured == pytest.approx(15.0)
    assert screen_shifts("c1", slip, Register(mode="reject", correct_by="scene"), {"s2": [SCENE]}) is None


@given(METRES, METRES)
def test_content_read_on_the_moved_grid_and_laid_on_the_old_one_has_moved_by_the_shift(dx: float, dy: float) -> None:
    georef = GeoRef(32632, 600_000.0, 5_300_000.0, 10.0, (3, 4))
    read = shifted_georef(georef, Shift(0, 0, 1, "measured", applied_dx_m=dx, applied_dy_m=dy, applied_by="chip"))
    assert (georef.x0 - read.x0, georef.y0 - read.y0) == pytest.approx((dx, dy))
    assert (read.pixel_size, read.shape_yx) == (georef.pixel_size, georef.shape_yx)
