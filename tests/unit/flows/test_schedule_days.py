"""Days on which a schedule fires, in its own time zone."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from datetime import date

import pytest

from flows.schedule_days import due_days, odd_day, require_fires
from schemas.errors import UserError
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


def before_3_13(said: str) -> str:
    """From Python 3.13 on Prefect counts with another library, which puts no run forward into the day before."""
    return "" if sys.version_info >= (3, 13) else said


@pytest.mark.parametrize(
    ("cron", "zone", "said"),
    [
        ("0 0 * * *", "Africa/Cairo", before_3_13("no run on 2027-04-30 .*, the one before it on 2027-04-29 at 23:00")),
        ("30 0 * * 0", "Asia/Beirut", before_3_13("no run on 2027-03-28 .*, the one before it on 2027-03-27 at 23:30")),
        ("0 2 */10 * *", "UTC", "no run on 2027-03-01 .*, the one before it on 2027-02-21 at 02:00"),
        ("0 2 */2 * 1", "UTC", "a run on 2026-12-01 .*, which cron would not"),
        ("0 0 * * 4", "Africa/Cairo", ""),
        ("30 2 * * *", "Europe/Berlin", ""),
        ("* * * * *", "Africa/Cairo", ""),
        ("0 0 29 2 *", "UTC", ""),
    ],
    ids=["midnight", "after it", "tenth days", "both", "another weekday", "on the same day", "every minute", "rare"],
)
def test_a_day_on_which_prefect_reads_a_schedule_otherwise_is_told(cron: str, zone: str, said: str) -> None:
    found = odd_day(_row(cron, zone), date(2026, 12, 1))
    assert re.match(f"Prefect begins {said}", found) if said else found == ""


def test_a_row_without_a_schedule_misses_nothing() -> None:
    assert due_days(Row(name="inn"), date(2026, 1, 1), date(2026, 1, 3)) == []


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 2 * * *", ""),
        ("0 0 29 2 *", ""),
        ("0 0 31 4,6 *", "cron '0 0 31 4,6 \\*' cannot be used: Bad day-of-month"),
        ("99 2 * * *", "cron '99 2 .* cannot be used: Bad minute .cron has five fields"),
    ],
)
def test_a_schedule_that_cannot_fire_is_told(cron: str, said: str) -> None:
    with pytest.raises(UserError, match=said) if said else nullcontext():
        require_fires(Schedule(cron=cron))
