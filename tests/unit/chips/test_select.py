"""Selection of dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chips.select import DateCandidate, Kept, Wish, screen_dates, select_dates
from chips.windows import Span
from schemas.recipe import Select

NOON = datetime(2021, 6, 15, 12, tzinfo=UTC)


def candidate(day: float, clear: float = 1.0, nodata: float = 0.0, item_id: str = "") -> DateCandidate:
    return DateCandidate(item_id or f"item{day:+}", NOON + timedelta(days=day), clear, nodata)


@pytest.mark.parametrize(
    ("how", "wanted"),
    [("closest", [2, 3]), ("least_cloudy", [0, 4]), ("newest", [3, 4]), ("all", [0, 4])],
)
def test_preference_decides_which_dates_stay_in_time_order(how: Any, wanted: list[int]) -> None:
    days = [
        candidate(-20, 1.0),
        candidate(-9, 0.8),
        candidate(-1, 0.5),
        candidate(2, 0.6),
        candidate(12, 0.9),
    ]
    assert select_dates(days, Select(how=how, max_dates=2), NOON) == wanted


def test_a_long_series_is_thinned_evenly() -> None:
    days = [candidate(d) for d in range(9)]
    assert select_dates(days, Select(how="all", max_dates=3), NOON) == [0, 4, 8]
    assert select_dates(days, Select(how="all", max_dates=1), NOON) == [4]


def test_limits_drop_dates_before_the_preference() -> None:
    days = [candidate(0, 0.1), candidate(1, 0.9, 0.6), candidate(40), candidate(5), candidate(6, 0.0, 1.0)]
    select = Select(min_clear_fraction=0.2, max_nodata_fraction=0.5, max_gap_days=30)
    assert select_dates(days, select, NOON) == [3]


def test_the_cloudy_date_of_a_pair_is_one_that_is_not_clear() -> None:
    days = [candidate(0, 1.0), candidate(1, 0.55), candidate(2, 0.1), candidate(3, 0.0)]
    select = Select(how="closest", max_dates=1, min_clear_fraction=0.05, max_clear_fraction=0.5)
    assert select_dates(days, select, NOON) == [2]
    half_missing = candidate(0, clear=0.5, nodata=0.5)
    assert select_dates([half_missing], select, NOON) == []
    glance = DateCandidate("seen from afar", NOON, 0.54, 0.0, slack=0.05)
    assert select_dates([glance], select, NOON) == [0]
    with pytest.raises(ValidationError, match="no date would be kept"):
        Select(min_clear_fraction=0.6, max_clear_fraction=0.5)


def test_a_date_without_any_pixel_is_never_kept() -> None:
    assert select_dates([candidate(0, 0.0, 1.0)], Select(max_nodata_fraction=1.0), NOON) == []


def test_ties_fall_to_the_earlier_time_then_the_smaller_id() -> None:
    days = [candidate(1), candidate(-1, item_id="b"), candidate(-1, item_id="a")]
    assert select_dates(days, Select(how="closest", max_dates=1), NOON) == [2]
    assert select_dates(days, Select(how="least_cloudy", max_dates=2), NOON) == [2, 1]


candidates = st.builds(
    candidate,
    st.integers(-40, 40),
    st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    st.sampled_from([0.0, 0.4, 0.6]),
)


@given(st.lists(candidates, max_size=9, unique_by=lambda c: c.item_id), st.randoms(), st.data())
def test_the_choice_does_not_depend_on_the_order_of_the_candidates(days: Any, random: Any, data: Any) -> None:
    how = data.draw(st.sampled_from(["all", "closest", "least_cloudy", "newest"]))
    select = Select(how=how, max_dates=data.draw(st.integers(1, 5)), min_clear_fraction=0.2)
    shuffled = list(days)
    random.shuffle(shuffled)
    kept = [days[i] for i in select_dates(days, select, NOON)]
    assert kept == [shuffled[i] for i in select_dates(shuffled, select, NOON)]
    assert kept == sorted(kept, key=lambda c: c.datetime_utc)
    assert len(set(kept)) == len(kept) <= select.max_dates


def test_too_few_dates_reject_with_count_and_limit() -> None:
    span = Span("", NOON, NOON, NOON)
    wish = Wish(Select(min_dates=2), (span,))
    outcome = screen_dates("c1", "s2", [Kept(span, (3,)), Kept(span, ())], wish)
    assert outcome is not None
    assert (outcome.state, outcome.reason, outcome.measured, outcome.limit) == (
        "rejected",
        "s2.min_dates",
        1.0,
        2.0,
    )
    assert screen_dates("c1", "s2", [Kept(span, (3,)), Kept(span, (4,))], wish) is None
