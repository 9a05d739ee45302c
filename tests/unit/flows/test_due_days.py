"""Days on which a schedule fires, in its own time zone."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import deployments
from flows.deployments import backfill, due_days, odd_day
from flows.regions import Regions, load_regions
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
    ("since", "until", "said"),
    [
        (date(2021, 6, 1), date(2206, 1, 3), "--until: 2206-01-03 has not come yet"),
        (date(2020, 12, 31), date(2021, 2, 1), "--since: 2020-12-31 lies before the recipe's first day, 2021-01-01"),
    ],
)
def test_days_of_which_there_is_nothing_to_be_had_are_refused(
    since: date, until: date, said: str, tmp_path: Path
) -> None:
    """Each day to come would be a version of today's, and each day too early a message of a failure."""
    with pytest.raises(UserError, match=said):
        backfill(_site(tmp_path), "inn", since, until)


@pytest.mark.parametrize(("collision", "is_refused"), [("cancel_new", True), ("enqueue", False)])
def test_a_back_fill_that_would_be_cancelled_is_refused(
    collision: str, is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect cancels it for the sake of the night's run, and tells nobody."""
    made: list[dict[str, Any]] = []
    client = SimpleNamespace(create_flow_run_from_deployment=lambda deployment, **run: made.append(run))
    monkeypatch.setattr(deployments, "api", lambda: nullcontext(client))
    monkeypatch.setattr(deployments, "read_deployment", lambda *_: SimpleNamespace(id="d"))
    monkeypatch.setattr(deployments, "done_days", lambda *_: set())
    monkeypatch.setattr(deployments, "flow_runs", lambda *_: iter([SimpleNamespace(name="inn 2022-03-01")]))
    days = date(2022, 2, 1), date(2022, 2, 3)
    with pytest.raises(UserError, match="inn 2022-03-01 is not through") if is_refused else nullcontext():
        assert len(backfill(_site(tmp_path, collision), "inn", *days)) == 3
    assert len(made) == (0 if is_refused else 1)


def test_deployments_of_the_site_s_name_before_are_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both refreshed the same datasets every night, and nothing said so."""

    def one(name: str, table: Path, site: str, flow: str = "refresh_region") -> SimpleNamespace:
        entrypoint, parameters = f"flows.scheduled.{flow}", {"table": str(table)}
        return SimpleNamespace(name=name, entrypoint=entrypoint, parameters=parameters, tags=[f"site:{site}"])

    regions = _site(tmp_path)
    other = tmp_path / "other.yaml"
    there = [
        one("alps-inn", regions.path, "alps"),
        one("alps-etsch", regions.path, "alps"),
        one("mountains-inn", regions.path, "mountains"),
        one("mountains-sarca", other, "mountains"),
        one("my-own-plan", regions.path, "mine", flow="plan_region"),
    ]
    monkeypatch.setattr(deployments, "api", lambda: nullcontext())
    monkeypatch.setattr(deployments, "_all_deployments", lambda client: there)
    assert [found.name for found in deployments.strangers(regions)] == ["alps-etsch", "mountains-inn"]


def _site(folder: Path, collision: str = "enqueue") -> Regions:
    schedule = "schedule: {cron: '0 2 * * *', timezone: Europe/Berlin}"
    rows = f"collision: {collision}\nregions: [{{name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}}]"
    path = folder / "regions.yaml"
    path.write_text(f"format: 1\nname: alps\nrecipe: sandbox\nroot: d/{{region}}\n{schedule}\n{rows}\n")
    return load_regions(path)
