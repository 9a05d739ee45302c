"""What travels to workers and to Prefect: a job is taken apart once in a process, and Prefect sees no parameters."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from flows import build
from tests.unit.flows.test_realign import job


def test_a_job_that_comes_again_is_the_one_that_is_there(tmp_path: Path) -> None:
    sent = job(tmp_path)
    first, again = (pickle.loads(pickle.dumps((sent, tile)))[0] for tile in ("t0", "t1"))
    assert first is again
    assert first.recipe == sent.recipe
    assert first.recipe_hash == sent.recipe_hash
    assert (first.layers, first.work, first.folder, first.variables) == (sent.layers, sent.work, sent.folder, {})
    other = pickle.loads(pickle.dumps(job(tmp_path, seed=9)))
    assert other is not first
    assert other.recipe.seed == 9


def test_prefect_gets_no_parameters_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def task(**options: Any) -> Any:
        asked.append(options)
        return lambda stage: stage  # called by the stages without arguments, as Prefect would

    class Stages:
        def reduce(self, found: str, begun: dict[str, str]) -> tuple[str, dict[str, str]]:
            return found, begun

    monkeypatch.setattr(build, "task", task)
    given = {"t0": "folder"}
    stages: Any = build.PrefectStages(Stages(), [1.0, 2.0])  # type: ignore[arg-type]
    assert stages.reduce("look", given) == ("look", given)
    assert (asked[0]["name"], asked[0]["retries"], asked[0]["retry_delay_seconds"]) == ("reduce", 2, [1.0, 2.0])
