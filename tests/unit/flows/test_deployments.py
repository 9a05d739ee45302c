"""Back-fills are refused for what there is nothing to be had of; what is left of another table is found."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import deployments
from flows.deployments import backfill
from flows.regions import Regions, load_regions
from schemas.errors import UserError


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
