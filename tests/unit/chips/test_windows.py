"""Windows of a chip: seasons by hemisphere, steps, lists, pairs around an event, growth out of a table."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chips.windows import Span, dates_at, span_at, spans_of
from schemas.chip import ChipSpec
from schemas.recipe import Time


def chip(latitude: float = 48.0, **dates: date) -> ChipSpec:
    wish = Time(start=date(2021, 1, 1), end=date(2021, 12, 31))
    here = shapely.to_wkb(shapely.box(9, latitude, 9.01, latitude + 0.01))
    return ChipSpec(
        "c", 32632, (0, 0, 1, 1), "r", "train", "b", *wish.window_utc(), here, dates=tuple(sorted(dates.items()))
    )


def windows(
    of: ChipSpec, start: str = "2021-01-01", end: str = "2021-12-31", **wish: Any
) -> list[tuple[str, str, str]]:
    time = Time.model_validate({"start": start, "end": end, "windows": wish})
    return [(s.window, f"{s.start_utc:%m-%d}", f"{s.end_utc:%m-%d}") for s in spans_of(time, of)]


def test_without_windows_there_is_one_without_a_name() -> None:
    time = Time(start=date(2021, 1, 1), end=date(2021, 1, 31))
    (span,) = spans_of(time, chip())
    assert (span.window, span.start_utc, span.end_utc, span.reference_utc) == ("", *time.window_utc())


def test_seasons_are_named_by_the_hemisphere_and_by_the_year_of_their_last_month() -> None:
    assert windows(chip(48), kind="seasons") == [
        ("2021-winter", "01-01", "02-28"),
        ("2021-spring", "03-01", "05-31"),
        ("2021-summer", "06-01", "08-31"),
        ("2021-autumn", "09-01", "11-30"),
        ("2022-winter", "12-01", "12-31"),
    ]
    south = [name for name, _, _ in windows(chip(-34), kind="seasons")]
    assert south == ["2021-summer", "2021-autumn", "2021-winter", "2021-spring", "2022-summer"]
    assert windows(chip(-34), kind="seasons", only=["spring"]) == [("2021-spring", "09-01", "11-30")]


def test_quarters_are_the_same_everywhere() -> None:
    for latitude in (48, -34):
        found = windows(chip(latitude), end="2021-06-30", kind="seasons", calendar="quarters")
        assert found == [("2021-q1", "01-01", "03-31"), ("2021-q2", "04-01", "06-30")]


def test_months_are_those_of_the_calendar() -> None:
    found = windows(chip(-34), start="2020-01-15", end="2020-12-31", kind="seasons", calendar="months")
    assert found[:2] == [("2020-m01", "01-15", "01-31"), ("2020-m02", "02-01", "02-29")]
    assert (len(found), found[-1]) == (12, ("2020-m12", "12-01", "12-31"))
    assert windows(chip(48), kind="seasons", calendar="months", only=["m06"]) == [("2021-m06", "06-01", "06-30")]


def test_steps_are_equal_but_the_last() -> None:
    found = windows(chip(), end="2021-01-25", kind="every", days=10)
    assert found == [
        ("2021-01-01", "01-01", "01-10"),
        ("2021-01-11", "01-11", "01-20"),
        ("2021-01-21", "01-21", "01-25"),
    ]


def test_steps_of_centuries_are_made_once_for_all_chips() -> None:
    wish = {"start": "1900-01-01", "end": "2199-12-31", "windows": {"kind": "every", "days": 1}}
    one, other = (spans_of(Time.model_validate(wish), chip(latitude)) for latitude in (48, -34))
    assert len(one) == (date(2199, 12, 31) - date(1900, 1, 1)).days + 1
    assert one is other


def test_a_step_longer_than_all_time_is_one_window() -> None:
    assert windows(chip(), kind="every", days=10**12) == [("2021-01-01", "01-01", "12-31")]


@pytest.mark.parametrize("key", ["before_days", "after_days"])
def test_a_pair_that_reaches_out_of_the_calendar_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="less than or equal to 110000"):
        windows(chip(), kind="pair", event="2021-07-14", **{key: 10**7})
    whole = windows(chip(), kind="pair", event="2021-07-14", **{key: 110_000})
    assert ("01-01" in whole[0][1]) or ("12-31" in whole[1][2])


@given(st.integers(-40, 400), st.integers(1, 40))
def test_a_time_lies_in_the_window_that_holds_it(day: int, step: int) -> None:
    time = Time.model_validate({"start": "2021-01-01", "end": "2021-12-31", "windows": {"kind": "every", "days": step}})
    spans = spans_of(time, chip())
    moment = datetime(2021, 1, 1, 23, 59, 59, 700_000, tzinfo=UTC) + timedelta(days=day)
    holding = [place for place, span in enumerate(spans) if span.holds(moment)]
    assert span_at(spans, moment) == (holding[0] if holding else None)


def test_of_windows_that_overlap_the_first_one_holds() -> None:
    noon = datetime(2021, 6, 1, 12, tzinfo=UTC)
    ends = (5, 2, 9)
    spans = [Span(f"w{i}", noon + timedelta(days=i), noon + timedelta(days=last), noon) for i, last in enumerate(ends)]
    assert span_at(spans, noon + timedelta(days=2)) == 0
    assert span_at(spans, noon + timedelta(days=7)) == 2
    past = Span("past", noon - timedelta(days=9), noon - timedelta(days=8), noon)
    assert span_at([past, *spans[:2]], noon + timedelta(days=1)) == 1
    assert span_at(spans, noon - timedelta(days=1)) is None
    assert span_at([], noon) is None


def test_no_instant_falls_between_two_windows() -> None:
    time = Time.model_validate({"start": "2021-01-01", "end": "2021-01-20", "windows": {"kind": "every", "days": 10}})
    spans = spans_of(time, chip())
    late = datetime(2021, 1, 10, 23, 59, 59, 500_000, tzinfo=UTC)
    for moment, window in ((late, "2021-01-01"), (late + timedelta(seconds=0.5), "2021-01-11")):
        assert [span.window for span in spans if span.holds(moment)] == [window]


def test_pair_leaves_out_the_event_and_what_is_excluded() -> None:
    pair = {"kind": "pair", "event": "2021-07-14", "before_days": 20, "after_days": 10, "exclude_days": 3}
    assert windows(chip(), **pair) == [("pre", "06-24", "07-10"), ("post", "07-18", "07-24")]
    time = Time.model_validate({"start": "2021-01-01", "end": "2021-12-31", "windows": pair})
    assert {span.reference_utc.date() for span in spans_of(time, chip())} == {date(2021, 7, 14)}


def test_a_pair_needs_one_day_on_either_side_of_its_event() -> None:
    pair = {"kind": "pair", "event": "2021-07-14", "exclude_days": 3}
    found = windows(chip(), start="2021-07-10", end="2021-07-18", **pair)
    assert found == [("pre", "07-10", "07-10"), ("post", "07-18", "07-18")]
    time = Time.model_validate({"start": "2021-07-10", "end": "2021-07-18", "windows": pair})
    assert time.until(date(2021, 7, 18)) == time
    with pytest.raises(ValueError, match="before the first day after the event of 2021-07-14"):
        time.until(date(2021, 7, 17))


def test_event_of_a_table_is_the_chips_own_and_a_chip_without_one_has_no_window() -> None:
    pair = {"kind": "pair", "table": "e.csv", "before_days": 2, "after_days": 2}
    own = chip(**{"e.csv:event": date(2021, 5, 10)})
    assert windows(own, **pair) == [("pre", "05-08", "05-09"), ("post", "05-11", "05-12")]
    assert windows(chip(), **pair) == []


def test_windows_around_an_observation_hold_its_own_day_and_step_back_from_it() -> None:
    around = {"kind": "around", "column": "date", "days": 5}
    seen = chip(**{":date": date(2021, 3, 3)})
    assert windows(seen, **around) == [("day", "02-26", "03-08")]
    steps = windows(seen, **around, steps=3)
    assert steps == [("day-60", "01-01", "01-07"), ("day-30", "01-27", "02-06"), ("day", "02-26", "03-08")]
    time = Time.model_validate({"start": "2021-01-01", "end": "2021-12-31", "windows": {**around, "steps": 3}})
    assert [span.reference_utc.date() for span in spans_of(time, seen)][1:] == [date(2021, 2, 1), date(2021, 3, 3)]
    assert windows(chip(), **around) == []
    everywhere = {"kind": "around", "event": "2021-03-03", "days": 0}
    assert windows(chip(), **everywhere) == [("day", "03-03", "03-03")]
    time = Time.model_validate({"start": "2021-01-01", "end": "2021-12-31", "windows": everywhere})
    assert spans_of(time.until(date(2021, 3, 3)), chip()) == spans_of(time, chip())
    with pytest.raises(ValueError, match="lies before the event of 2021-03-03"):
        time.until(date(2021, 3, 2))


def test_growth_comes_from_the_table() -> None:
    days = {
        "p.csv:2021.start": date(2021, 4, 1),
        "p.csv:2021.peak": date(2021, 6, 20),
        "p.csv:2021.end": date(2021, 9, 5),
        "q.csv:2020.start": date(2020, 4, 1),  # of another table
        "e.csv:event": date(2021, 5, 1),
    }
    grown, wish = chip(**days), {"kind": "seasons", "calendar": "phenology", "table": "p.csv"}
    assert windows(grown, **wish) == [("2021-season", "04-01", "09-05")]
    assert windows(grown, **wish, only=["green_up", "senescence"]) == [
        ("2021-green_up", "04-01", "06-20"),
        ("2021-senescence", "06-21", "09-05"),
    ]
    time = Time.model_validate({"start": "2021-01-01", "end": "2021-12-31", "windows": wish})
    assert spans_of(time, grown)[0].reference_utc.date() == date(2021, 6, 20)


def test_columns_of_cells_become_dates() -> None:
    columns = {"date e.csv:event": np.array(["2021-05-10", ""]), "height": np.array([1.0, 2.0])}
    assert dates_at(columns, 0) == (("e.csv:event", date(2021, 5, 10)),)
    assert dates_at(columns, 1) == ()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"kind": "seasons", "only": ["monsoon"]}, "meteorological has winter"),
        ({"kind": "seasons", "calendar": "phenology"}, "go together"),
        ({"kind": "pair"}, "give either event"),
        ({"kind": "pair", "event": "2020-01-01"}, "outside time.start"),
        ({"kind": "pair", "event": "2021-01-01"}, "leaves no day before or after it"),
        ({"kind": "pair", "event": "2021-12-31"}, "leaves no day before or after it"),
        ({"kind": "pair", "event": "2021-01-04", "exclude_days": 3}, "leaves no day before or after it"),
        ({"kind": "pair", "event": "2021-05-01", "before_days": 1_000_000}, "less than or equal to 110000"),
        ({"kind": "pair", "event": "2021-05-01", "before_days": 3, "exclude_days": 3}, "leaves nothing"),
        ({"kind": "around"}, "give either event"),
        ({"kind": "around", "event": "2020-01-01"}, "outside time.start"),
        ({"kind": "around", "column": "date", "days": 15, "steps": 2}, "steps of 30 days overlap"),
        ({"kind": "around", "column": "date", "steps": 1000, "step_days": 1000}, "leave the calendar"),
        ({"kind": "list", "windows": [{"id": "a", "start": "2020-01-01", "end": "2020-02-01"}]}, "reaches beyond"),
        (
            {
                "kind": "list",
                "windows": [
                    {"id": "a", "start": "2021-01-01", "end": "2021-02-01"},
                    {"id": "b", "start": "2021-02-01", "end": "2021-03-01"},
                ],
            },
            "without overlap",
        ),
    ],
)
def test_nonsense_is_refused_with_a_reason(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Time.model_validate({"start": "2021-01-01", "end": "2021-12-31", "windows": wish})


wishes = st.one_of(
    st.builds(lambda days: {"kind": "every", "days": days}, st.integers(1, 90)),
    st.sampled_from(
        [{"kind": "seasons"}, {"kind": "seasons", "calendar": "quarters"}, {"kind": "seasons", "calendar": "months"}]
    ),
    st.builds(
        lambda d, b: {"kind": "pair", "event": d, "before_days": b},
        st.dates(date(2021, 1, 2), date(2021, 5, 31)),
        st.integers(1, 99),
    ),
    st.builds(
        lambda d, n, s: {"kind": "around", "event": d, "days": n, "steps": s},
        st.dates(date(2021, 1, 1), date(2021, 5, 31)),
        st.integers(0, 14),
        st.integers(1, 5),
    ),
)


@given(wishes, st.dates(date(2021, 6, 1), date(2023, 1, 1)), st.sampled_from([48.0, -34.0]))
def test_windows_rise_never_overlap_and_lie_inside(wish: dict[str, Any], end: date, latitude: float) -> None:
    time = Time.model_validate({"start": date(2021, 1, 1), "end": end, "windows": wish})
    spans = spans_of(time, chip(latitude))
    start_utc, end_utc, _ = time.window_utc()
    for before, after in pairwise(spans):
        assert before.end_utc < after.start_utc
    assert len({span.window for span in spans}) == len(spans)
    assert all(start_utc <= span.start_utc <= span.end_utc <= end_utc for span in spans)
    if wish["kind"] not in ("pair", "around"):  # every moment lies in one window
        moment = start_utc + timedelta(days=100)
        assert sum(span.holds(moment) for span in spans) == 1
