"""How old a region is: by what was asked for, not by when; a dataset that cannot be read hides no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingConcurrencySlot, Completed, Crashed, Failed, Late, Running, Scheduled

from flows import freshness as module
from flows.freshness import Freshness, freshness
from flows.regions import load_regions
from flows.told import TOLD
from shards.storage import open_storage
from shards.version import publish
from terraweft.operate import _waiting
from tests.unit.shards import made_up

NOW = datetime(2026, 3, 10, 3, tzinfo=UTC)
TABLE = """\
format: 1
name: alps
recipe: sandbox
root: data/{region}
fresh_within_days: 2
regions:
  - {name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}
  - {name: etsch, bbox: [11.1, 46.7, 11.3, 46.9]}
"""
WHOLE = "2022-12-31"
"""Last day of the sandbox's recipe."""
GATE = {"gate": "noise", "holds": False, "thresholds": {"max_noise": 0.35}}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site without runs; its folder."""
    monkeypatch.setattr(module, "api", lambda: nullcontext())
    monkeypatch.setattr(module, "_runs", lambda *_: (None, "", None, False, None))
    (tmp_path / "regions.yaml").write_text(TABLE)
    return tmp_path


def _publish(root: Path, created: datetime, last_day: str = WHOLE) -> None:
    recipe = {"name": "made-up", "format": 1, "time": {"start": "2021-01-01", "end": last_day}}
    publish(open_storage(root), made_up.draft(root, [made_up.sample(0)], created=created, recipe=recipe))


def _of(site: Path, region: str) -> Freshness:
    return freshness(load_regions(site / "regions.yaml"), (region,), {}, NOW)[0]


@pytest.mark.parametrize(
    ("created", "last_day", "state"),
    [
        (NOW - timedelta(days=1), WHOLE, "fresh"),
        (NOW - timedelta(days=3), WHOLE, "stale"),
        (NOW - timedelta(hours=1), "2022-06-30", "stale"),
        (NOW + timedelta(days=400), WHOLE, "stale"),
        (NOW + timedelta(minutes=5), WHOLE, "fresh"),
    ],
    ids=["new", "old", "made today as of long ago", "of a clock that was wrong", "of a clock that is a little ahead"],
)
def test_a_version_is_as_old_as_what_it_asked_for(site: Path, created: datetime, last_day: str, state: str) -> None:
    _publish(site / "data" / "inn", created, last_day)
    assert _of(site, "inn").state == state


@pytest.mark.parametrize(
    ("days", "state"), [(1, "fresh"), (3, "paused"), (None, "paused")], ids=["fresh", "stale", "never"]
)
def test_a_row_whose_schedule_rests_breaks_no_promise(
    days: int | None, state: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_runs", lambda *_: (None, "", None, True, None))
    if days is not None:
        _publish(site / "data" / "inn", NOW - timedelta(days=days))
    assert _of(site, "inn").state == state


@pytest.mark.parametrize(
    ("note", "state", "refused"),
    [
        (None, "stale", False),
        ({"passed": False, "whole": True, "gates": [GATE]}, "stale", True),
        ({"passed": True, "whole": True}, "fresh", False),
    ],
    ids=["nobody can judge it", "refused", "passed, and left by hand"],
)
def test_runs_that_leave_a_version_waiting_keep_no_promise(
    note: dict[str, Any] | None, state: str, refused: bool, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every night's run ends well on a worker without torch, and readers stay with the version of last week."""
    monkeypatch.setattr(module, "_runs", lambda *_: (NOW - timedelta(hours=1), "Completed", None, False, None))
    root = site / "data" / "inn"
    _publish(root, NOW - timedelta(days=7))
    assert (_of(site, "inn").state, _of(site, "inn").waits) == ("fresh", "")
    assert _of(site, "inn").checked_utc == NOW - timedelta(hours=1), "a run that found nothing new is younger"
    storage, nights = open_storage(root), []
    recipe = {"name": "made-up", "format": 1, "publish": {"after_validation": True}}
    for night in (3, 2):
        samples = [made_up.sample(number) for number in range(night)]
        parts = {"created": NOW - timedelta(days=night), "recipe": recipe}
        nights.append(publish(storage, made_up.draft(root, samples, **parts), current=False).version)
        if note is not None:
            storage.put(f"validations/{nights[-1]}/20260309T030000Z.json", json.dumps(note).encode())
    found = _of(site, "inn")
    assert (found.state, bool(found.refused)) == (state, refused)
    assert found.refused_by == ("noise (max_noise 0.35)" if refused else ""), "the limit of then"
    said = _waiting(found) if found.waits else ""
    assert (f"{found.waits} did not pass noise (max_noise 0.35) (validations/" in said) is refused
    if state == "stale":
        assert (found.waits, found.waits_since_utc) == (nights[-1], NOW - timedelta(days=3))
        assert found.checked_utc == NOW - timedelta(days=3)
    (root / "versions" / nights[-1] / "dataset.json").write_text("{")
    assert _of(site, "inn").state == state, "a version that nobody opens makes no dataset unreadable"


def test_a_dataset_that_cannot_be_read_hides_no_other(site: Path) -> None:
    for region in ("inn", "etsch"):
        _publish(site / "data" / region, NOW - timedelta(hours=1))
    (site / "data" / "inn" / "terraweft.json").write_text("{")
    inn, etsch = freshness(load_regions(site / "regions.yaml"), (), {}, NOW)
    assert (inn.state, inn.dataset, etsch.state) == ("unreadable", str(site / "data" / "inn"), "fresh")
    assert "the pointer cannot be read" in inn.problem


def _run(state: State, hours: float) -> FlowRun:
    moment = NOW + timedelta(hours=hours)
    about = {"expected_start_time": moment, "end_time": moment, "parameters": {}, "labels": {}}
    return FlowRun.model_construct(id=uuid4(), state=state, **about)


@pytest.mark.parametrize(
    ("runs", "last", "due"),
    [
        ([_run(Scheduled(), 23), _run(Completed(), -25)], "Completed", 23),
        ([_run(Scheduled(), 23), _run(Late(), -1), _run(Completed(), -25)], "Late", 23),
        (
            [_run(Scheduled(), 23), _run(AwaitingConcurrencySlot(), -1), _run(Running(), -2)],
            "AwaitingConcurrencySlot",
            23,
        ),
        ([_run(Scheduled(), 47), _run(Scheduled(), 23)], "", 23),
    ],
)
def test_a_run_that_nobody_began_is_the_last_one(
    runs: list[FlowRun], last: str, due: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is gone shows: the run before it ended well, and the next one is due tomorrow."""
    monkeypatch.setattr(module, "api", lambda: nullcontext())
    monkeypatch.setattr(module, "read_deployment", lambda client, regions, name: SimpleNamespace(id=name, paused=False))
    monkeypatch.setattr(module, "flow_runs", lambda client, deployment: iter(runs))
    (tmp_path / "regions.yaml").write_text(TABLE)
    found = _of(tmp_path, "inn")
    assert (found.last_state, found.next_utc) == (last, NOW + timedelta(hours=due))


def test_the_runs_of_years_are_not_read_for_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three years of nights in five pages, of forty regions every morning, from one connection."""
    read: list[FlowRun] = []
    opened: list[None] = []

    def runs(*_: object) -> Iterator[FlowRun]:
        for night in range(1000):
            failed = State(type=StateType.FAILED, name="Failed")
            read.append(_run(failed if night < 250 else Completed(), -24.0 * night - 1))
            yield read[-1]

    monkeypatch.setattr(module, "api", lambda: nullcontext(opened.append(None)))
    monkeypatch.setattr(module, "read_deployment", lambda client, regions, name: SimpleNamespace(id=name, paused=False))
    monkeypatch.setattr(module, "flow_runs", runs)
    (tmp_path / "regions.yaml").write_text(TABLE)
    inn, _ = freshness(load_regions(tmp_path / "regions.yaml"), (), {}, NOW)
    assert (inn.last_state, inn.checked_utc) == ("Failed", NOW - timedelta(days=250, hours=1))
    assert (len(read), len(opened)) == (2 * 251, 1), "further than the newest that ended well, or again for each region"


@pytest.mark.parametrize(
    ("states", "labels", "is_unheard"),
    [
        ([Crashed(), Completed()], {}, True),
        ([Failed(), Completed()], {}, True),
        ([Crashed(), Completed()], {TOLD: True}, False),
        ([Completed(), Crashed()], {}, False),
    ],
    ids=["crashed", "failed", "told", "mended by the next one"],
)
def test_the_last_run_that_ended_badly_and_was_told_nobody_is_named(
    states: list[State], labels: dict[str, bool], is_unheard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's server was away when it ended: its worker could not say so, and nobody heard of that night."""
    runs = [_run(state, -1.0 - 24 * night) for night, state in enumerate(states)]
    runs[0].labels = dict(labels)
    monkeypatch.setattr(module, "api", lambda: nullcontext())
    monkeypatch.setattr(module, "read_deployment", lambda client, regions, name: SimpleNamespace(id=name, paused=False))
    monkeypatch.setattr(module, "flow_runs", lambda client, deployment: iter(runs))
    (tmp_path / "regions.yaml").write_text(TABLE)
    assert _of(tmp_path, "inn").unheard == (runs[0].id if is_unheard else None)
