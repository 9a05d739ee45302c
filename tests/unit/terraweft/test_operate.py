"""What an operator reads in the morning."""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

import flows.told
from flows import deployments, freshness, notify
from schemas.errors import MissingExtraError, UserError
from shards.storage import open_storage
from shards.version import publish
from terraweft.operate import run_backfill, run_deploy, run_freshness
from tests.unit.shards import made_up

LONG = "a-region-with-quite-a-long-name-somewhere-in-the-eastern-alps"
TABLE = f"""\
format: 1
name: s
recipe: sandbox
root: data/{{region}}
fresh_within_days: 2
regions:
  - {{name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}}
  - {{name: {LONG}, bbox: [11.1, 46.7, 11.3, 46.9]}}
"""


def test_the_table_of_freshness_is_not_cut_where_it_goes_to_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    monkeypatch.setattr(freshness, "api", lambda: nullcontext())
    monkeypatch.setattr(freshness, "_runs", lambda *_: (None, "AwaitingConcurrencySlot", due, False, None))
    monkeypatch.setattr(deployments, "strangers", lambda regions: [SimpleNamespace(name="s-etsch")])
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    path = tmp_path / "regions.yaml"
    path.write_text(TABLE)
    recipe = {"name": "made-up", "format": 1, "time": {"start": "2021-01-01", "end": "2022-12-31"}}
    created = datetime.now(UTC) - timedelta(hours=1)
    root = tmp_path / "data" / LONG
    publish(open_storage(root), made_up.draft(root, [made_up.sample(0)], created=created, recipe=recipe))
    console = Console(file=io.StringIO(), width=80)
    assert not run_freshness(path, (), False, False, console)
    head, inn, long, over, gone = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert head.split() == ["region", "state", "version", "checked", "age", "promise", "last", "run", "next", "run"]
    assert inn.split() == ["inn", "never", "-", "-", "-", "2", "d", "AwaitingConcurrencySlot", "2030-01-02", "03:04"]
    assert long.split()[:2] == [LONG, "fresh"]
    assert long.endswith("0.0 d      2 d  AwaitingConcurrencySlot  2030-01-02 03:04")
    assert over == f"{LONG}: nothing acquired after 2022-12-31 is asked for (time.end of the recipe)"
    assert gone.startswith("s-etsch is deployed, but not in the table any more: terraweft deploy --prune")


def test_who_waits_for_news_of_staleness_hears_of_a_prefect_server_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins no run and tells of none: else the night in which it died passes in silence."""

    def away(*_: object) -> list[object]:
        raise UserError("the Prefect API does not answer: ConnectError", where="PREFECT_API_URL", mend="start it")

    told: list[notify.Event] = []
    monkeypatch.setattr(freshness, "freshness", away)
    monkeypatch.setattr(notify, "notify", lambda rule, event, environment: told.append(event))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    path = tmp_path / "regions.yaml"
    path.write_text(TABLE)
    for tell in (False, True):
        with pytest.raises(UserError, match="does not answer"):
            run_freshness(path, (), False, tell, Console(file=io.StringIO()))
    (event,) = told
    assert (event.kind, event.region) == ("stale", "s")
    assert "the Prefect API does not answer" in event.text


def test_a_night_of_which_nobody_was_told_is_told_in_the_morning_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that begin while Prefect's server is away crash, and their worker cannot say so to anybody."""
    run, told, marked = uuid4(), [], []
    monkeypatch.setattr(freshness, "api", lambda: nullcontext())
    monkeypatch.setattr(freshness, "_runs", lambda *_: (datetime.now(UTC), "Crashed", None, True, run))
    monkeypatch.setattr(deployments, "strangers", lambda regions: [])
    monkeypatch.setattr(notify, "notify", lambda rule, event, environment: told.append(event) or 1)
    monkeypatch.setattr(flows.told, "_label", marked.append)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    path = tmp_path / "regions.yaml"
    path.write_text(TABLE)
    run_freshness(path, ("inn",), False, False, Console(file=io.StringIO()))
    assert (told, marked) == ([], [])
    run_freshness(path, ("inn",), False, True, Console(file=io.StringIO()))
    assert [(one.kind, one.region) for one in told] == [("failed", "inn")]
    assert "Crashed" in told[0].text
    assert marked == [run]


def test_who_looks_in_the_morning_is_told_of_a_version_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[notify.Event] = []
    monkeypatch.setattr(freshness, "api", lambda: nullcontext())
    monkeypatch.setattr(freshness, "_runs", lambda *_: (datetime.now(UTC), "Completed", None, False, None))
    monkeypatch.setattr(notify, "notify", lambda rule, event, environment: told.append(event) or 1)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    path, root, console = tmp_path / "regions.yaml", tmp_path / "data" / "inn", Console(file=io.StringIO())
    path.write_text(TABLE)
    recipe = {"name": "made-up", "format": 1, "publish": {"after_validation": True}}
    created = datetime(2026, 1, 2, 3, tzinfo=UTC)
    drafted = made_up.draft(root, [made_up.sample(0)], created=created, recipe=recipe)
    version = publish(open_storage(root), drafted, current=False).version
    assert not run_freshness(path, ("inn",), False, True, console)
    said = f"{version} waits for its validation, and readers get nothing new since 2026-01-02 03:00: "
    said += f"terraweft validate {root} --version {version}"
    assert f"inn: {said}" in console.file.getvalue()  # type: ignore[attr-defined]
    checked = "checked 2026-01-02 03:00 UTC, 2 days are promised"
    assert [one.text for one in told] == [f"never: {checked}; {said}"]


def test_yesterday_is_that_of_the_region_s_own_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the one the day is over that has not ended in London, or in the other it still runs that ended there."""
    asked: list[date] = []
    monkeypatch.setattr(deployments, "backfill", lambda regions, region, since, until: asked.append(until) or [])
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    path = tmp_path / "regions.yaml"
    zones = ("Pacific/Kiritimati", "Etc/GMT+12")  # one of them has another date than London at any hour
    wanted = [datetime.now(ZoneInfo(zone)).date() - timedelta(days=1) for zone in zones]
    for zone in zones:
        path.write_text(TABLE + f"schedule: {{cron: '0 2 * * *', timezone: {zone}}}\n")
        run_backfill(path, "inn", date(2026, 1, 1), None, Console(file=io.StringIO()))
    assert asked == wanted


def test_deploy_names_the_extra_that_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setitem(sys.modules, "cronsim", None)
    for name in ("flows.deployments", "flows.schedule_days"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    path = tmp_path / "regions.yaml"
    path.write_text(TABLE)
    with pytest.raises(MissingExtraError, match=r"cronsim is missing .*terraweft\[build\]"):
        run_deploy(path, (), False, None, Console())


def test_a_file_for_prefect_s_own_command_says_what_that_does_not_make(tmp_path: Path) -> None:
    """Without the watch a run whose machine died keeps its place in the pool, and without the limit all run at once."""
    path, console = tmp_path / "regions.yaml", Console(file=io.StringIO())
    path.write_text(TABLE)
    run_deploy(path, (), False, tmp_path / "prefect.yaml", console)
    assert "the watch over lost runs" in console.file.getvalue()  # type: ignore[attr-defined]
