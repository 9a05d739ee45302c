"""The text file holds every state, is valid Prometheus text, and is replaced in one move."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from flows.metrics import RunTotals, render_metrics, write_metrics
from flows.publishing import _run_rows
from flows.request import BuildResult
from shards.storage import FolderStorage
from terraweft import commands


def _result(folder: Path) -> BuildResult:
    counts = {"planned": 10, "kept": 6, "rejected": {"clear_fraction": 3}, "failed": {"AssetMissingError": 1}}
    return BuildResult(FolderStorage(folder), "20260101T000000Z-00000000", True, counts, (), 12.5, 3, 1)


def _values(text: str, name: str) -> dict[tuple[str, str], float]:
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {(s.labels.get("state", ""), s.labels.get("why", "")): s.value for s in families[name].samples}


def test_chips_by_state_sum_to_what_was_planned(tmp_path: Path) -> None:
    text = render_metrics(_result(tmp_path), RunTotals(bytes=7, cost=0.25), "alps-inn", "inn", 1.0).decode()
    chips = _values(text, "terraweft_chips")
    assert chips.pop(("planned", "")) == sum(chips.values()) == 10
    assert _values(text, "terraweft_read_bytes") == {("", ""): 7}
    assert _values(text, "terraweft_llm_cost") == {("", ""): 0.25}


def test_nothing_is_written_unasked_and_a_second_run_replaces_the_file(tmp_path: Path) -> None:
    result = _result(tmp_path)
    assert write_metrics(result, RunTotals(), "alps-inn", "inn", {}) is None
    for cost in (1.0, 2.0):
        path = write_metrics(
            result, RunTotals(cost=cost), "alps-inn", "inn", {"TERRAWEFT_METRICS": str(tmp_path / "m")}
        )
        assert path is not None
        assert _values(path.read_text(), "terraweft_llm_cost") == {("", ""): cost}
    assert [entry.name for entry in (tmp_path / "m").iterdir()] == ["alps-inn.prom"]


def test_a_build_by_hand_writes_its_figures_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_build", lambda *_: replace(_result(tmp_path), published=False))
    monkeypatch.setenv("TERRAWEFT_METRICS", str(tmp_path / "m"))
    commands.run_build(Path("sandbox"), str(tmp_path), commands.BuildOptions(), False, Console(file=StringIO()))
    (path,) = (tmp_path / "m").iterdir()
    assert 'terraweft_chips{dataset="sandbox",region="",state="planned",why=""} 10.0' in path.read_text()


def test_attempts_beyond_the_first_are_those_of_the_worst_read_of_each_chip(tmp_path: Path) -> None:
    reads = [
        {"chips": ["a", "b"], "urls": ["u"], "bytes": 4, "retries": 2},
        {"chips": ["b"], "urls": ["v"], "bytes": 2, "retries": 3},
        {"chips": ["c"], "urls": ["w"], "bytes": 1},
    ]
    outcomes = [{"chip_id": name, "attempts": 1, "url": ""} for name in "abc"]
    outcomes.append({"chip_id": "d", "attempts": 5, "url": "http://host/x.tif"})
    (tmp_path / "tile.json").write_text(json.dumps({"reads": reads, "outcomes": outcomes, "seconds": 4.0}))
    assert [row["attempts"] for row in _run_rows({"t": tmp_path})] == [3, 4, 1, 5]
