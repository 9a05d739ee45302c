"""`terraweft plan` for programs: the same figures by name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from captioners.estimate import estimate_calls
from chips.estimate import Beside, Estimate
from schemas.recipe import Recipe
from terraweft.ahead import beside_row
from terraweft.cli import main
from tests.unit.flows.test_forecast import PAID
from tests.unit.terraweft.support import RECIPE


def test_a_script_reads_bytes_time_and_money_of_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe.model_validate({**RECIPE, "captions": PAID, "write": {"kinds": ["webdataset", "zarr"]}})
    beside = Beside(700, 8, 2, 900, 3)
    estimate = Estimate(10, 2, 3, 4_000, 5, 6_000, window_bytes=80_000_000, beside=beside)
    plan: Any = SimpleNamespace(
        recipe=recipe, estimate=estimate, layers=(), offered={}, splits={"train": 9, "val": 1}, notes=("a note",)
    )
    monkeypatch.setattr("flows.planning.make_plan", lambda *_: plan)
    monkeypatch.setenv("TERRAWEFT_SOMEWHERE", "https://stac.example.org")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)))
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(path), "--workers", "2", "--json"])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert (told["recipe_hash"], told["plan"], told["notes"]) == (recipe.hash(), None, ["a note"])
    assert (told["read_bytes_about"], told["requests_about"], told["seconds_about"]) == (4_000, 5, 1.0)
    assert told["window_bytes_about"] == 80_000_000, "what a run's account counts is the windows"
    names = ("read_bytes_about", "requests_about", "files", "file_bytes", "queries_about")
    assert [told[f"beside_{name}"] for name in names] == [700, 8, 2, 900, 3]
    assert (told["disk_bytes_about"], told["work_bytes_about"]) == (6_000, 3_000), "the raw arrays lie there once more"
    assert recipe.captions is not None
    assert told["llm"] == {**estimate_calls(recipe.captions, 10), "currency": "USD"}


def test_what_is_read_beside_imagery_is_a_row_of_its_own() -> None:
    assert beside_row(Beside()) == {}
    (line,) = beside_row(Beside(7_000_000, 8, 2, 900_000, 3)).values()
    assert line == (
        "about 7 MB of class rasters and elevation, raw, in about 8 requests; 2 whole file(s), 900 kB, once a machine; "
        "about 3 queries of OpenStreetMap"
    )
    (line,) = beside_row(Beside(files=1, unknown=("osm",))).values()
    assert line == "1 whole file(s), of unknown size, once a machine"
