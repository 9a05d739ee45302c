"""What a search asks a server for, and what truly answers it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from flows.frozen_items import window_of
from schemas.recipe import Time
from sources.window import SearchWindow, select_items

DAYS = Time(start=date(2021, 1, 1), end=date(2021, 12, 31))


def item(moment: str) -> dict[str, Any]:
    return {
        "id": moment,
        "collection": "c",
        "geometry": {"type": "Point", "coordinates": [9.5, 48.5]},
        "properties": {"datetime": moment},
        "assets": {},
    }


@pytest.mark.parametrize(
    ("moment", "is_in"),
    [
        ("2020-12-31T23:59:59.999Z", False),
        ("2021-01-01T00:00:00Z", True),
        ("2021-12-31T23:59:59.500Z", True),
        ("2022-01-01T00:00:00Z", False),
    ],
)
def test_the_last_day_is_searched_to_its_end_and_no_further(moment: str, is_in: bool) -> None:
    window = SearchWindow((9.0, 48.0, 10.0, 49.0), *window_of(DAYS))
    first, _, last = (window.interval() or "").partition("/")
    at = datetime.fromisoformat(moment)
    if is_in:  # a server keeps what lies outside of what it is asked for to itself
        assert datetime.fromisoformat(first) <= at <= datetime.fromisoformat(last)
    assert bool(select_items([(item(moment), "https://h/")], window, False, None, {})) == is_in


def test_whole_seconds_are_asked_for() -> None:
    """Not every server reads a fraction."""
    begin, end = datetime(2021, 1, 1, 0, 0, 0, 400_000, UTC), datetime(2021, 1, 2, 3, 4, 5, 600_000, UTC)
    window = SearchWindow((0.0, 0.0, 1.0, 1.0), begin, end)
    assert window.interval() == "2021-01-01T00:00:00Z/2021-01-02T03:04:06Z"
    assert SearchWindow((0.0, 0.0, 1.0, 1.0), None, datetime(2021, 1, 2, tzinfo=UTC)).interval() == (
        "../2021-01-02T00:00:00Z"
    )
    assert SearchWindow((0.0, 0.0, 1.0, 1.0)).interval() is None
