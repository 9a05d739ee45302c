"""A region table against a real Prefect API: deployments, back-fills, pauses, what is stale, what is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.support import Terraweft

TABLE = """\
format: 1
name: {name}
recipe: sandbox
root: data/{{region}}
schedule: {{cron: "0 2 * * *", timezone: Europe/Berlin}}
collision: cancel_new
fresh_within_days: 2
pool: pool-{name}
regions:
  - {{name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}}
  - {{name: etsch, bbox: [11.1, 46.7, 11.3, 46.9], schedule: {{cron: "30 4 * * 1"}}, paused: true}}
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "regions.yaml"
    path.write_text(TABLE.format(name="alps"))
    return path


def _ask(environment: dict[str, str], path: str, body: dict[str, Any]) -> Any:
    with httpx.Client(trust_env=False) as client:
        answer = client.post(f"{environment['PREFECT_API_URL']}{path}", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def _deployments(environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    found = _ask(environment, "/deployments/filter", {})
    return {one["name"]: one for one in found if "site:alps" in one["tags"]}


def test_rows_become_deployments_that_can_be_paused_filled_in_and_taken_away(
    terraweft: Terraweft, environment: dict[str, str], table: Path
) -> None:
    done = terraweft("deploy", table)
    assert done.returncode == 0, done.stderr
    found = _deployments(environment)
    assert set(found) == {"alps-inn", "alps-etsch"}
    inn, etsch = found["alps-inn"], found["alps-etsch"]
    assert inn["parameters"] == {"table": str(table), "region": "inn"}
    assert inn["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert inn["global_concurrency_limit"]["limit"] == 1
    assert inn["schedules"][0]["schedule"] == {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "day_or": True}
    assert (inn["paused"], etsch["paused"]) == (False, True)
    (watch,) = _ask(environment, "/automations/filter", {})

    assert terraweft("pause", table, "inn").returncode == 0
    assert terraweft("deploy", table).returncode == 0, "whose row does not say whether it rests"
    assert _deployments(environment)["alps-inn"]["paused"]
    watches = [(one["name"], one["trigger"]["id"]) for one in _ask(environment, "/automations/filter", {})]
    assert watches == [("alps: lost runs", watch["trigger"]["id"])], "one, which remembers whom it waits for"
    assert terraweft("resume", table).returncode == 0
    assert not any(one["paused"] for one in _deployments(environment).values())

    filled = terraweft("backfill", table, "etsch", "--since", "2026-10-01", "--until", "2026-10-15")
    assert "etsch: 2 missed day(s) scheduled: 2026-10-05, 2026-10-12" in filled.stdout, filled.stderr
    runs = _ask(environment, "/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["back-fill", "region:etsch"]}}})
    assert [run["parameters"]["as_of"] for run in runs] == [["2026-10-05", "2026-10-12"]], "runs have no order"

    paused = terraweft("pause", table, "etsch")
    waits = "etsch 2026-10-05 to 2026-10-12 (back-fill) (Scheduled)"
    assert paused.stdout == f"etsch: paused; what began or waits goes on: {waits}\n", paused.stderr
    assert terraweft("resume", table, "etsch").stdout == "etsch: goes on\n"

    stale = terraweft("freshness", table, "--json")
    assert stale.returncode == 1
    assert {one["region"]: one["state"] for one in json.loads(stale.stdout)} == {"inn": "never", "etsch": "never"}

    table.write_text(table.read_text().replace("name: etsch", "name: adige"))
    left = terraweft("pause", table)
    assert (left.returncode, "region 'adige' is not deployed" in left.stderr) == (2, True)
    assert not any(one["paused"] for one in _deployments(environment).values()), "all of them, or none"
    assert "deleted alps-etsch" in terraweft("deploy", table, "--prune").stdout
    assert set(_deployments(environment)) == {"alps-inn", "alps-adige"}


def test_without_a_server_of_the_site_s_own_nothing_is_deployed(terraweft: Terraweft, table: Path) -> None:
    done = terraweft("deploy", table, PREFECT_API_URL="")
    assert done.returncode == 2
    assert "no Prefect server is configured" in done.stderr


def test_a_recipe_that_is_broken_is_told_when_it_is_deployed(terraweft: Terraweft, table: Path) -> None:
    (table.parent / "mine.yaml").write_text("format: 1\nname: mine\n")
    table.write_text(table.read_text().replace("recipe: sandbox", "recipe: mine.yaml"))
    done = terraweft("deploy", table)
    assert done.returncode == 2
    assert ": mine.yaml:1: " in done.stderr
