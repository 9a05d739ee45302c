from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console

from flows.reporting import report_inputs, spread
from flows.request import BuildResult
from reference.data import Target
from reference.gates import GATES, is_whole
from reports.html import render_report
from shards.pointer import read_pointer
from shards.reader import Dataset, open_dataset
from terraweft.cli import main
from terraweft.commands import report_build
from terraweft.learning import promote_waiting
from tests.unit.reference import made_dataset
from tests.unit.shards import made_up


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_validation_says_its_verdict_by_exit_code_and_keeps_it(tmp_path: Path, capsys: Any) -> None:
    made_dataset.write(tmp_path, 10)
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(tmp_path), "--gate", "statistics"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "passed" in said
    assert "refused, as it must be" in said
    (kept,) = (tmp_path / "validations").rglob("*.json")
    assert json.loads(kept.read_text())["passed"]
    (page,) = (tmp_path / "work" / "reports").glob("*.html")
    assert 'id="validation"' in page.read_text()


def test_a_gate_that_fails_ends_with_one(tmp_path: Path, capsys: Any) -> None:
    strict = {"statistics": {"max_error": 1e-30}}
    made_dataset.write(tmp_path, 5, recipe={"name": "made-up", "format": 1, "gates": strict})
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(tmp_path), "--gate", "statistics"])
    assert ended.value.code == 1
    assert "FAILED" in capsys.readouterr().out


def test_thresholds_may_be_those_of_another_recipe(tmp_path: Path, capsys: Any) -> None:
    """Whatever was edited in ``gates``, a version that was refused was refused again: it was asked its own."""
    strict = {"statistics": {"max_error": 1e-30}}
    made_dataset.write(tmp_path / "dataset", 5, recipe={"name": "made-up", "format": 1, "gates": strict})
    recipe = yaml.safe_load((Path(__file__).parents[3] / "recipes" / "sandbox.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe | {"gates": {"statistics": {"max_error": 0.001}}}))
    given = ["validate", str(tmp_path / "dataset"), "--gate", "statistics", "--recipe", str(tmp_path / "mine.yaml")]
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 0, capsys.readouterr()
    (kept,) = (tmp_path / "dataset" / "validations").rglob("*.json")
    assert json.loads(kept.read_text())["thresholds"]["statistics"]["max_error"] == 0.001


@pytest.mark.parametrize("where", ["validations", "work/reports"])
def test_a_verdict_that_cannot_be_kept_is_told_all_the_same(where: str, tmp_path: Path, capsys: Any) -> None:
    """Whoever may only read a dataset waits for the gates, too: what they found was lost at the last step."""
    made_dataset.write(tmp_path, 10)
    (tmp_path / where).write_text("a file where a folder should be")
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(tmp_path), "--gate", "statistics"])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "refused, as it must be" in said.out
    assert ("not kept" in said.out) == (where == "validations")
    assert said.err.count("\n") == 1
    assert str(tmp_path / where) in said.err


def test_training_leaves_weights_and_metrics(tmp_path: Path, capsys: Any) -> None:
    made_dataset.write(tmp_path / "dataset", 10)
    to = tmp_path / "trained"
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path / "dataset"), "--out", str(to), "--steps", "3", "--batch-size", "2"])
    assert ended.value.code == 0
    assert "mean IoU" in capsys.readouterr().out
    found = torch.load(to / "model.pt", weights_only=True)
    assert found["classes"] == list(made_dataset.NAMES)
    assert (to / "metrics" / "metrics.csv").is_file()


def test_a_size_that_is_not_known_is_one_line(tmp_path: Path, capsys: Any) -> None:
    made_dataset.write(tmp_path, 5)
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path), "--size", "huge", "--out", str(tmp_path / "t")])
    assert ended.value.code == 2
    assert "tiny, small, base" in capsys.readouterr().err


def test_a_version_that_waits_becomes_current_and_others_do_not(tmp_path: Path) -> None:
    out = Console(record=True, file=io.StringIO(), width=300)
    first = made_dataset.write(tmp_path, 5)
    rule = {"name": "made-up", "format": 1, "publish": {"after_validation": True}}
    day = timedelta(days=1)
    waiting = made_dataset.write(tmp_path, 6, created=made_up.CREATED + day, recipe=rule, current=False)
    assert read_pointer(first.storage).current == first.version  # type: ignore[union-attr]
    promote_waiting(first, out)
    assert read_pointer(first.storage).current == first.version  # type: ignore[union-attr]
    promote_waiting(waiting, out)
    assert read_pointer(first.storage).current == waiting.version  # type: ignore[union-attr]
    without = made_dataset.write(tmp_path, 7, created=made_up.CREATED + 2 * day, current=False)
    promote_waiting(without, out)
    assert read_pointer(first.storage).current == waiting.version  # type: ignore[union-attr]
    late = made_dataset.write(tmp_path, 8, created=made_up.CREATED + 3 * day, recipe=rule, current=False)
    made_dataset.write(tmp_path, 9, created=made_up.CREATED + 4 * day)
    assert "is current" not in out.export_text(clear=False)
    promote_waiting(late, out)
    assert f"follows {waiting.version}, and {read_pointer(first.storage).current} is current" in out.export_text()  # type: ignore[union-attr]


def test_all_gates_on_the_label_of_the_dataset_alone_decide_about_it(tmp_path: Path) -> None:
    dataset = made_dataset.write(tmp_path, 5)
    assert is_whole(dataset, Target("label"), False, ())
    assert is_whole(dataset, Target("label"), False, GATES)
    assert not is_whole(dataset, Target("product"), False, ())
    assert not is_whole(dataset, Target("label"), True, ())
    assert not is_whole(dataset, Target("label"), False, ("leak",))
    legends = dict.fromkeys(("one", "two"), dataset.document.legends["product"])  # no fused label
    products = Dataset(dataset.storage, dataset.document.model_copy(update={"legends": legends}))
    assert is_whole(products, Target("two"), False, ())


def test_a_map_of_the_truth_that_is_not_there_or_not_asked_for_is_one_line(tmp_path: Path, capsys: Any) -> None:
    made_dataset.write(tmp_path / "dataset", 5)
    for name, said in (("no.tif", "there is no map of the truth"), ("a.tif", "no gate asks for the truth")):
        (tmp_path / "a.tif").write_bytes(b"")
        with pytest.raises(SystemExit) as ended:
            main(["validate", str(tmp_path / "dataset"), "--gate", "statistics", "--truth", str(tmp_path / name)])
        assert ended.value.code == 2
        shown = capsys.readouterr().err
        assert said in shown
        assert shown.count("\n") == 1
    assert not (tmp_path / "dataset" / "validations").exists()


def test_names_in_a_validation_are_escaped_in_the_report(tmp_path: Path) -> None:
    made_dataset.write(tmp_path, 5)
    opened = open_dataset(tmp_path)
    one = {"name": "s", "x": [0], "y": [0.5], "low": [], "high": []}
    two = {"name": "s", "x": [0, 1], "y": [0.2, 0.4], "low": [0.1, 0.3], "high": [0.3, 0.5]}
    bars = {"title": "<b>t</b>", "kind": "bars", "labels": ["<i>x"], "series": [one]}
    line = {"title": "l", "kind": "line", "series": [two]}
    matrix = {"title": "m", "kind": "matrix", "labels": ["a", "b"], "matrix": [[0.9, 0.1], [0, 1]]}
    gate = {
        "gate": "<script>alert(1)</script>", "passed": True, "holds": True, "said": "<u>", "control": "c",
        "control_failed": True, "control_measured": {"a": 1}, "thresholds": {"t": 0.1},
        "figures": [bars, line, matrix], "table": [{"chip": "<p>", "value": 0.5}], "chips": ["m31_0001", "none"],
    }  # fmt: skip
    found = {"time_utc": "20261120T101500Z", "passed": True, "gates": [gate]}
    opened.storage.put(f"validations/{opened.version}/20261120T101500Z.json", json.dumps(found).encode())
    page = render_report(report_inputs(opened))
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "m31_0001" in page
    assert page.count("<circle") == 2
    assert "90%" in page


def test_the_gallery_is_spread_over_the_whole_table() -> None:
    assert spread(3, 12) == [0, 1, 2]
    assert spread(23, 12) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
    assert (spread(1_000_000, 12)[0], spread(1_000_000, 12)[-1]) == (0, 999_999)


def test_the_account_of_a_version_that_waits_names_it_and_not_the_one_before(tmp_path: Path) -> None:
    """``show`` and ``check`` without a version open the current one, of a first version nothing at all."""
    dataset = made_dataset.write(tmp_path, 5)
    counts = {"planned": 5, "kept": 5, "rejected": {}, "failed": {}}
    told = {}
    for waits in (True, False):
        out = Console(record=True, file=io.StringIO(), width=300)
        report_build(BuildResult(dataset.storage, dataset.version, True, counts, (), 1.0, 1, 0, waits=waits), out)
        told[waits] = out.export_text()
    assert told[True].count(f"--version {dataset.version}") == 2
    assert "--version" not in told[False]
    assert "terraweft check" in told[False]
