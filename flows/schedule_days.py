"""The days on which a row's schedule fires, in its own time zone, and those on which Prefect reads it otherwise."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from functools import cache

from cronsim import CronSim, CronSimError
from prefect.schedules import Cron
from prefect.server.schemas.schedules import CronSchedule

from schemas.errors import UserError
from schemas.region_table import Row, Schedule

FIRINGS = 366
"""Runs of a schedule that are looked at ahead."""


def require_fires(schedule: Schedule) -> None:
    """Stop where a schedule cannot be used.

    Raises:
        UserError: cron or Prefect cannot read it, or it never fires.
    """
    mend = "cron has five fields: minute, hour, day of month, month, day of week"
    try:
        soon = next(CronSim(schedule.cron, datetime.now(UTC)), None)
        Cron(schedule.cron)
    except (CronSimError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"cron {schedule.cron!r} cannot be used: {said}", mend=mend) from error
    if soon is None:
        raise UserError(f"cron {schedule.cron!r} never fires", mend=mend)


def due_days(row: Row, since: date, until: date) -> list[date]:
    """Days from ``since`` to ``until``, both included, on which a row's schedule fires in its own time zone."""
    return _days_of(row.schedule, since, until) if row.schedule is not None else []


def _days_of(schedule: Schedule, since: date, until: date) -> list[date]:
    start = datetime.combine(since, datetime.min.time(), schedule.zone) - timedelta(minutes=1)
    days: list[date] = []
    for moment in CronSim(schedule.cron, start):
        day = moment.date()
        if day > until:
            break
        if not days or days[-1] != day:
            days.append(day)
    return days


def odd_day(row: Row, since: date) -> str:
    """The next year's first day on which a row's schedule and Prefect differ, in words; empty where there is none.

    Where clocks are put forward at midnight Prefect begins the run of that hour on the day before; it passes over the
    1 March of every tenth day, and takes a day of the month *or* of the week where cron takes both (``*/2 * 1``).
    """
    return _odd_day(row.schedule, since) if row.schedule is not None else ""


@cache
def _odd_day(schedule: Schedule, since: date) -> str:
    start = datetime.combine(since, datetime.min.time(), schedule.zone)
    asked = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    found = asyncio.run(asked.get_dates(FIRINGS, start, start + timedelta(days=366)))
    begun = [moment.astimezone(schedule.zone) for moment in found]
    if not begun:
        return ""
    days, last = {moment.date() for moment in begun}, begun[-1].date()
    named = set(_days_of(schedule, since, last))
    lost, more = min(named - days, default=None), min(days - named, default=None)
    if lost is not None and (more is None or lost <= more + timedelta(days=1)):  # a run that was put forward
        before = max((moment for moment in begun if moment.date() < lost), default=None)
        nearest = f", the one before it on {before:%Y-%m-%d at %H:%M}" if before is not None else ""
        return f"Prefect begins no run on {lost} ({schedule.timezone}), which the schedule names{nearest}"
    return f"Prefect begins a run on {more} ({schedule.timezone}), which cron would not" if more is not None else ""
