"""What `show`, `versions` and `export` print of a dataset, and what they refuse."""

from __future__ import annotations

import html
import re
import shlex
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from reports.html import ReportInputs, render_report
from schemas.errors import DatasetError, UserError
from shards.reader import open_dataset
from shards.storage import open_storage
from shards.version import publish
from terraweft.commands import BuildOptions, run_refresh
from terraweft.export import Conditions, run_export
from terraweft.show import _print_facts, show_chip, show_dataset
from terraweft.versions import show_versions
from tests.unit.shards import made_up


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three chips."""
    root = tmp_path_factory.mktemp("published") / "dataset"
    publish(open_storage(root), made_up.draft(root, [made_up.sample(n) for n in range(3)]))
    return root


def narrow() -> tuple[Console, StringIO]:
    """A pipe of few columns, and what was written to it."""
    file = StringIO()
    return Console(file=file, width=20, highlight=False), file


def test_lines_of_a_chip_are_not_broken(published: Path) -> None:
    out, file = narrow()
    dataset = open_dataset(published)
    sample = dataset.sample(dataset.chip_ids()[0])
    _print_facts(sample, ["s2 2021-01-01", "s2 2021-02-01"], out)
    lines = file.getvalue().splitlines()
    assert sample.texts
    for text in sample.texts:
        assert f"  [{text['kind']}/{text['style']}] {text['text']}" in lines
    assert "  pictures: s2 2021-01-01, s2 2021-02-01" in lines


def test_commands_that_are_named_can_be_copied(published: Path, tmp_path: Path) -> None:
    """A folder's spaces ended in `missing argument`, and its quotes in the shell's own prompt."""
    root = tmp_path / "my d'ata"
    shutil.copytree(published, root)
    out, file = narrow()
    show_dataset(str(root), None, out)
    _, _, command = file.getvalue().splitlines()[-1].partition("one chip: ")
    assert shlex.split(command) == ["terraweft", "show", str(root), open_dataset(root).chips["chip_id"][0]]
    with pytest.raises(UserError) as caught:
        run_refresh(Path("my recipe.yaml"), str(tmp_path / "b c"), BuildOptions(), out)
    told = caught.value.line().rpartition("(")[2].rstrip(")")
    assert shlex.split(told) == ["terraweft", "build", "my recipe.yaml", "--out", str(tmp_path / "b c")]


def test_the_current_version_s_star_stands_beside_its_name(published: Path) -> None:
    out, file = narrow()
    show_versions(str(published), out)
    assert any(line.startswith(f"{open_dataset(published).version} *  ") for line in file.getvalue().splitlines())


def test_versions_say_how_many_chips_each_of_them_lacks(published: Path) -> None:
    file = StringIO()
    show_versions(str(published), Console(file=file, width=120))
    head, row, *_ = file.getvalue().splitlines()
    counts = open_dataset(published).document.counts
    assert head.split()[:3] == ["version", "chips", "failed"]
    assert row.split()[2:4] == [str(counts["kept"]), str(sum(counts["failed"].values()))]


def test_of_a_damaged_dataset_nothing_is_shown_but_the_error(published: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(published, root)
    (root / open_dataset(root).folder / "chips.parquet").unlink()
    out, file = narrow()
    with pytest.raises(DatasetError, match=r"chips\.parquet: the table is missing"):
        show_dataset(str(root), None, out)
    assert file.getvalue() == ""


def test_a_chip_of_which_nothing_can_be_drawn_leaves_no_file(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.quicklooks.sample_pictures", lambda *_: iter(()))
    out, _ = narrow()
    with pytest.raises(DatasetError, match="there is nothing to draw"):
        show_chip(str(published), made_up.chip_id(0), None, tmp_path / "chip.png", out)
    assert not (tmp_path / "chip.png").exists()


@pytest.mark.parametrize(
    ("conditions", "line"),
    [
        (Conditions(region=("made-up", "nowhere")), r"--region: no chip lies in region 'nowhere' .known: made-up"),
        (Conditions(bbox="11,48,12,47"), "--bbox: its south, 48, lies north of its north, 47"),
        (Conditions(min_clear_fraction=80.0), "--min-clear: 80 is no share"),
    ],
)
def test_a_condition_that_no_chip_can_meet_is_refused(
    published: Path, tmp_path: Path, conditions: Conditions, line: str
) -> None:
    with pytest.raises(UserError, match=line):
        run_export(str(published), None, tmp_path / "out", "zarr", (), conditions, False, None, narrow()[0])
    assert list(tmp_path.iterdir()) == []


def test_an_export_wants_a_folder_s_name(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="--out: no folder is named"):
        run_export(str(published), None, Path(), "zarr", (), Conditions(), False, None, narrow()[0])


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_the_report_says_of_loading_runs(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_dataset(published)
    document = opened.document.model_dump(mode="json")
    folder = published / opened.folder
    tables = (pq.read_table(folder / f"{name}.parquet") for name in ("chips", "outcomes", "texts"))
    page = render_report(ReportInputs(document, *tables))
    first, second = (html.unescape(code) for code in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL))
    monkeypatch.chdir(published)
    ours: dict[str, Any] = {}
    exec(first.replace("URI of this dataset", "."), ours)
    public: dict[str, Any] = {}
    exec(second, public)
    assert len(ours["chips"]) == len(public["chips"]) == public["layer"].sizes["chip"] == 3
    assert ours["sample"].chip_id in set(public["chips"]["chip_id"])
    assert public["arrays"]
