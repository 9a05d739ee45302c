"""Options that say something impossible are one line, and nothing is written."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from sandbox.products import SandboxIndex
from schemas.errors import DatasetError, UserError
from shards.storage import open_storage
from terraweft.cli import main
from terraweft.commands import _fitting_recipe
from terraweft.console import print_table
from terraweft.options import box_of, require_local, require_share
from terraweft.versions import _buckets


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "none", "--to", "zarr", "--out", "s3://b/x"],
        ["export", "none", "--to", "zarr", "--out", "file:///b/x"],
        ["plan", "sandbox", "--out", "s3://b/x"],
        ["index", "sandbox", "--out", "gs://b/x.parquet"],
        ["report", "none", "--out", "s3://b/x.html"],
        ["sandbox", "--out", "s3://b/x", "--size", "tiny"],
        ["demo", "--out", "s3://b/x", "--size", "tiny"],
        ["show", "none", "chip", "--png", "s3://b/x.png"],
    ],
)
def test_what_is_written_to_this_machine_takes_no_address(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is an address, and this is written to a path on this machine" in told(arguments, capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_tilde_that_no_shell_filled_in_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = told(["plan", "sandbox", "--out=~/plan"], capsys)
    assert "--out: the shell left ~ in ~/plan as it is (write --out ~/plan, without =)" in line
    assert list(tmp_path.iterdir()) == []


def test_what_is_closed_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """``terraweft ... >&-``: Python has no such stream then, and the command ended in a traceback once all was done."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert sys.stdout.name == os.devnull
    sys.stdout.close()


def test_paths_with_colons_are_paths() -> None:
    for path in ("a:b", "/data/a:b/c", "x", "..", "2021-01-01T00:00/x"):
        require_local(Path(path))
    require_local(None)


@pytest.mark.parametrize("root", ["", " ", "\t"])
def test_an_empty_address_holds_no_dataset(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DatasetError, match="its address is empty"):
        open_storage(root)
    assert "its address is empty" in told(["build", "sandbox", "--out", root], capsys)


def test_a_file_is_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pointer = tmp_path / "terraweft.json"
    pointer.write_text("{}")
    for arguments in (["check", str(pointer)], ["build", "sandbox", "--out", f"{pointer}/below"]):
        line = told(arguments, capsys)
        assert f"{pointer}: this is a file, not a dataset's folder (give its folder, {tmp_path})" in line
        assert "Errno" not in line


def test_a_box_is_west_south_east_north() -> None:
    assert box_of("11,47,11.5,47.5") == (11.0, 47.0, 11.5, 47.5)
    assert box_of("179,-20,-179,-18") == (179.0, -20.0, -179.0, -18.0)
    for text, what in (
        ("1,2,3", "is no box"),
        ("a,b,c,d", "is no box"),
        ("11.5,47,11,48", "its west, 11.5, lies east of its east, 11"),
        ("11,48,11.5,47", "its south, 48, lies north of its north, 47"),
        ("11,47,200,48", "does not lie on the Earth"),
        ("11,nan,12,48", "does not lie on the Earth"),
        ("0,0,1,100", "does not lie on the Earth"),
    ):
        with pytest.raises(UserError, match=f"--bbox: .*{what}"):
            box_of(text)


def test_a_share_lies_between_0_and_1() -> None:
    for value in (None, 0.0, 0.8, 1.0):
        require_share(value, "--min-clear")
    for value in (-0.1, 1.1, 80.0, math.nan, math.inf):
        with pytest.raises(UserError, match=r"--min-clear: .* is no share"):
            require_share(value, "--min-clear")


@pytest.mark.parametrize("option", ["--collection", "--bbox"])
def test_options_of_a_catalog_are_refused_beside_a_recipe(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = told(["index", "sandbox", "--out", "below/x.parquet", option, "1,2,3,4"], capsys)
    assert f"{option}: goes with a catalog, and sandbox is a recipe" in line
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_of_a_chip(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--png: is of one chip's pictures" in told(["show", "none", "--png", "x.png"], capsys)


def test_a_split_stands_once() -> None:
    assert _buckets("8") == 8
    assert _buckets("train=8,val=2") == {"train": 8, "val": 2}
    with pytest.raises(UserError, match="--buckets: split 'train' stands twice"):
        _buckets("train=2,train=3")


def test_a_table_is_as_wide_as_it_needs_to_be_and_figures_alone_stand_to_the_right() -> None:
    console = Console(file=StringIO(), width=20)
    long = "20261130T153212Z-bdd1e85a"
    print_table(console, ("version", "chips", "shards"), [(f"{long} *", "7", "4.25 MB"), (long, "12", "")])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.splitlines() == [
        "version                      chips   shards",
        f"{long} *      7  4.25 MB",
        f"{long}       12",
    ]


@pytest.mark.parametrize("how", ["out.print('one line')", "sys.stdout.write('one line')", "out.print('x' * 100_000)"])
def test_a_reader_that_leaves_ends_a_command_without_a_word(how: str) -> None:
    program = (
        f"import sys\nfrom terraweft.cli import app, main, out\n@app.command()\ndef talk():\n    {how}\nmain(['talk'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


def test_a_place_of_the_sandbox_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "world")
    assert "no place" in told(["sandbox", "--out", out, "--at", "Nairobi"], capsys)
    assert "cannot lie at" in told(["sandbox", "--out", out, "--at=-179.9,-17"], capsys)
    assert not (tmp_path / "world").exists()


def test_the_recipe_of_a_world_elsewhere_asks_for_what_the_world_has(tmp_path: Path) -> None:
    held = ("sentinel-2-l2a", "esa-worldcover", "osm-extract")
    world = SandboxIndex(tmp_path, "tiny", 7, {"south": (36.7, -1.4, 36.9, -1.2)}, held, 3, 0)
    data = yaml.safe_load(_fitting_recipe(world, "tiny"))
    assert list(data["labels"]["sources"]) == ["worldcover", "worldcover_2020", "osm"]
    assert data["regions"] == [{"name": "south", "bbox": [36.7, -1.4, 36.9, -1.2]}]
    assert "description" not in data  # which speaks of central Europe
