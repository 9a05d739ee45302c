"""Days on which a schedule fires, in its own time zone."""

from __future__ import annotations

from datetime import date

from flows.deployments import due_days
from schemas.region_table import Row, Schedule


def _row(cron: str, zone: str) -> Row:
    return Row(name="inn", schedule=Schedule(cron=cron, timezone=zone))


def test_both_ends_count_and_days_come_once() -> None:
    found = due_days(_row("0 */6 * * *", "UTC"), date(2026, 1, 1), date(2026, 1, 3))
    assert found == [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)]


def test_weekdays_are_those_of_the_time_zone() -> None:
    # 00:30 on a Monday in Auckland is a Sunday in UTC
    found = due_days(_row("30 0 * * 1", "Pacific/Auckland"), date(2026, 1, 1), date(2026, 1, 15))
    assert found == [date(2026, 1, 5), date(2026, 1, 12)]


def test_a_night_whose_hour_is_skipped_by_the_clock_is_not_lost() -> None:
    # 29 March 2026: 02:00 to 03:00 does not exist in Berlin
    found = due_days(_row("30 2 * * *", "Europe/Berlin"), date(2026, 3, 28), date(2026, 3, 30))
    assert found == [date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30)]


def test_a_row_without_a_schedule_misses_nothing() -> None:
    assert due_days(Row(name="inn"), date(2026, 1, 1), date(2026, 1, 3)) == []
