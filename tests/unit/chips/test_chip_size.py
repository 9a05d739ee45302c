"""Chip sizes that fit, and what is said of those that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chips.chip_size import check_chip_size, common_multiple_m
from schemas.errors import RecipeError


def test_size_that_no_gsd_divides_names_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        check_chip_size(2560.0, [10.0, 20.0, 30.0, 60.0])
    for size in ("2520 m (252 px)", "2580 m (258 px)", "2400 m (240 px)", "2640 m (264 px)", "grid: common"):
        assert size in caught.value.line()


def test_one_common_grid_takes_any_whole_number_of_its_pixels() -> None:
    check_chip_size(2560.0, [10.0])
    check_chip_size(330.0, [10.0])
    check_chip_size(2560.0, [10.0, 20.0])


def test_lattice_must_be_of_pixels_too() -> None:
    check_chip_size(340.0, [10.0, 20.0], 20.0)
    with pytest.raises(RecipeError, match=r"grid.snap_m: .*multiples of 10 m .*\(use 20\)"):
        check_chip_size(340.0, [10.0, 20.0], 10.0)


@given(
    st.lists(st.sampled_from([1.0, 1.5, 2.5, 3.0, 10.0, 15.0, 20.0, 30.0, 60.0, 100.0]), min_size=1, max_size=4),
    st.integers(1, 40),
)
def test_every_multiple_of_the_common_size_fits(gsds: list[float], times: int) -> None:
    check_chip_size(times * common_multiple_m(gsds), gsds)
