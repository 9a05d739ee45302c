"""What travels to workers and to Prefect: a job is taken apart once in a process, and Prefect sees no parameters."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from chips.plan import LayerPlan
from flows import build
from flows.request import BuildRequest
from flows.steps import STEPS
from shards.storage import open_storage
from sources.openers import PlainOpener
from sources.osm import fetch_extract
from tests.loopback import serving
from tests.unit.chips.test_inputs import ITEMS, tile
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


def test_fragments_that_hold_counts_of_a_fusion_are_of_that_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of other software lie beside those of this one otherwise, packed in another way."""
    labels = {"sources": {"osm": {"kind": "osm", "href": "a.osm.pbf"}}}
    unfused, fused = job(tmp_path, labels=labels), job(tmp_path, labels=labels | {"fuse": {}})
    before = [one.first_folder(tile(ITEMS)) for one in (unfused, fused)]
    monkeypatch.setitem(STEPS, "fuse", "another")
    unfused, fused = (replace(one) for one in (unfused, fused))
    assert unfused.first_folder(tile(ITEMS)) == before[0]
    assert fused.first_folder(tile(ITEMS)) != before[1]


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


def test_prefect_keeps_names_of_a_build_and_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows parameters on its pages, and refuses more than 512 kB of them."""
    kept: list[str] = []

    def run(flow: Any, parameters: dict[str, Any], **_: Any) -> None:
        kept.append(json.dumps(flow.serialize_parameters(parameters)))

    monkeypatch.setattr("prefect.flow_engine.run_flow", run)
    storage, signed = open_storage(tmp_path), {"TERRAWEFT_MAP": "https://h.example.org/a.tif?sig=canary"}
    build.build(BuildRequest(job(tmp_path).recipe, tmp_path, storage, tmp_path, signed, estimates={"s": "x" * 600_000}))
    assert "canary" not in kept[0]
    assert len(kept[0]) < 1000
    assert str(tmp_path) in kept[0]


@pytest.mark.parametrize(
    "change",
    [
        {"region": "other"},
        {"split": "val"},
        {"block_id": "other"},
        {"majortom_cell": "0U_0R"},
        {"columns": (("crop", "maize"),)},
        {"dates": (("event", date(2021, 5, 1)),)},
        {"end_utc": datetime(2021, 7, 1, tzinfo=UTC)},
    ],
)
def test_what_decides_a_row_decides_the_name_of_its_fragments(tmp_path: Path, change: dict[str, Any]) -> None:
    """Grids, regions and samples come from files that the recipe only names."""
    plan, work = tile(ITEMS), job(tmp_path)
    edited = replace(plan, chips=(replace(plan.chips[0], **change), *plan.chips[1:]))
    assert work.first_folder(edited) != work.first_folder(plan)
    assert work.first_folder(tile(ITEMS)) == work.first_folder(plan)


def test_layers_and_runs_that_do_again_decide_the_names_of_fragments(tmp_path: Path) -> None:
    layer = LayerPlan("s2", "s2", "sentinel-2-l2a", 10.0, ("B02",), "uint16", 0.0, "reflectance")
    work = job(tmp_path)
    others = [replace(work, layers=(layer,)), replace(work, layers=(replace(layer, nodata=None),))]
    others += [replace(work, reading="one"), replace(work, reading="two")]
    assert len({one.first_folder(tile(ITEMS)) for one in (work, *others)}) == 5


def test_a_run_that_does_again_fetches_files_behind_addresses_again(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    first, again = job(tmp_path), replace(job(tmp_path), reading="redo v1")
    with serving(partial(SimpleHTTPRequestHandler, directory=str(served))) as url:
        for one, text in ((first, "old"), (again, "new")):
            (served / "region.osm").write_text(text)
            path = fetch_extract(f"{url}/region.osm", one.fetched, PlainOpener(allow_local=True))
            assert path.read_text() == text
    assert replace(job(tmp_path), reading="redo v1").fetched == again.fetched, "restarted, it goes on with what it has"
