from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import charts


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.integers(1, 30))
def test_every_finite_value_stands_in_one_bar(values: list[float], bins: int) -> None:
    chart = charts.histogram("shift", "m", np.array([*values, np.nan]), limits=(-10.0, 10.0), bins=bins)
    assert chart is not None
    assert sum(bar.count for bar in chart.bars) == len(values) == chart.count
    assert chart.beyond == sum(abs(value) > 10 for value in values)
    assert 0 <= chart.median_x <= chart.width


def test_a_histogram_of_nothing_is_none() -> None:
    assert charts.histogram("shift", "m", np.array([np.nan, np.inf])) is None


def test_a_single_value_has_a_histogram() -> None:
    chart = charts.histogram("shift", "m", np.array([3.0]))
    assert chart is not None
    assert chart.median_x == pytest.approx(chart.width / 2)


@given(st.floats(1e-6, 1e9), st.integers(2, 8))
def test_a_nice_step_is_one_two_or_five(span: float, parts: int) -> None:
    step = charts.nice_step(span, parts)
    mantissa = float(f"{step:e}".split("e")[0])
    assert min(abs(mantissa - wanted) for wanted in (1, 2, 5)) < 1e-6
    assert span / parts <= step * 1.001
    assert step <= 2.6 * span / parts


def test_north_is_up_and_east_is_right() -> None:
    def ring(west: float, south: float) -> np.ndarray:
        return np.array([[west, south], [west + 1, south], [west + 1, south + 1], [west, south]])

    rings, extent = [ring(10, 40), ring(13, 44)], (10.0, 40.0, 14.0, 45.0)
    chart = charts.region_map("r", ["a", "b"], ["train", "val"], rings, total=2, extent=extent)
    first, second = ([tuple(map(float, p.split(","))) for p in o.points.split()] for o in chart.outlines)
    assert first[0][0] < second[0][0]
    assert first[0][1] > second[0][1]
    assert chart.width < chart.height  # a degree of longitude is shorter than one of latitude


@pytest.mark.parametrize("count", [0, 1, charts.MAX_DRAWN_CHIPS, charts.MAX_DRAWN_CHIPS * 2 + 5])
def test_a_large_map_draws_a_part(count: int) -> None:
    numbers = charts.numbers_drawn(count)
    assert len(numbers) == count if count <= charts.MAX_DRAWN_CHIPS else len(numbers) <= charts.MAX_DRAWN_CHIPS
    assert all(0 <= number < count for number in numbers)
