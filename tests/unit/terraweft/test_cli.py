from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from rich.console import Console

from flows.site import require_variables
from schemas.errors import CatalogError, DatasetError, RecipeError, TransientSourceError, UserError
from schemas.recipe import Recipe
from shards.exporters import EXPORTERS
from shards.storage import open_storage
from shards.version import publish
from sources.breaker import CatalogRestingError
from terraweft import __version__
from terraweft.cli import app, main
from terraweft.commands import estimates_of, open_recipe
from terraweft.console import calls_rows, print_notes
from terraweft.endings import guarded
from terraweft.show import PICTURE_PX, _best, _place, can_draw, contact_sheet
from tests.unit.shards import made_up
from tests.unit.terraweft.support import RECIPE, sample_of

MINE = """\
format: 1
name: small
time:
  start: 2021-01-01
  end: 2022-12-31
catalogs:
  c:
    kind: stac-api
    href: ${TERRAWEFT_SOMEWHERE}
grid:
  chip_m: 960
regions:
  - {name: north, bbox: [12.0, 47.8, 12.1, 47.9]}
  - {name: south, bbox: [12.0, 46.8, 12.1, 46.9]}
modalities:
  s2: {sensor: sentinel-2-l2a, catalog: c, collection: sentinel-2-l2a}
"""


def ended(call: object, capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str]:
    """Exit code and what stands on standard error."""
    with pytest.raises(SystemExit) as end:
        call()  # type: ignore[operator]
    return end.value.code, capsys.readouterr().err


def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    code, err = ended(lambda: guarded((tmp_path / "file" / "below").mkdir), capsys)
    assert code == 2
    mend = "(a file lies where a folder is needed: give another path)"
    assert err.strip() == f"terraweft: {tmp_path / 'file' / 'below'}: Not a directory {mend}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_is_one_line_although_no_file_is_named(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = ended(lambda: guarded(lambda: (_ for _ in ()).throw(OSError(number, os.strerror(number)))), capsys)
    assert code == 2
    assert err.startswith(f"terraweft: {os.strerror(number)}")
    assert len(err.splitlines()) == 1


def test_a_catalog_that_does_not_answer_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise CatalogError("no answer\nat all", url="http://127.0.0.1:9/")

    code, err = ended(lambda: guarded(command), capsys)
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "no answer at all" in err


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (TransientSourceError("HTTP 500"), 1),
        (CatalogRestingError("it rests"), 1),
        (CatalogError("no such collection"), 2),
        (None, 2),
    ],
)
def test_what_a_later_try_may_mend_is_no_mistake_of_the_recipe_s(
    cause: Exception | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever starts us by night tries again where the code is 1, and wakes somebody where it is 2."""

    def command() -> None:
        raise UserError("no", where="http://catalog", mend="later") from cause

    assert ended(lambda: guarded(command), capsys) == (code, "terraweft: http://catalog: no (later)\n")


def test_a_refresh_is_told_as_json_before_it_is_done_and_not_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = ended(lambda: main(["refresh", "sandbox", "--out", str(tmp_path), "--json"]), capsys)
    assert (code, err.strip()) == (2, "terraweft: --json: says what a refresh would do (give --dry-run too)")
    code, err = ended(lambda: main(["refresh", "sandbox", "--out", str(tmp_path), "--dry-run"]), capsys)
    assert code == 2
    assert "there is no dataset to refresh" in err
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)
    with pytest.raises(OSError, match="without a file"):
        guarded(lambda: (_ for _ in ()).throw(OSError("without a file")))


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == f"terraweft {__version__}"


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("catalogs.c.href", "mine.yaml:9: "),
        ("catalogs.c.credentials", "mine.yaml:7: "),  # as much of its way as stands there
        ("regions.north.geojson", "mine.yaml:13: "),
        ("regions[1].bbox", "mine.yaml:14: "),
        ("split.method", ""),  # a default's
        ("--redo", ""),
        ("catalogs/c.json", ""),
    ],
)
def test_a_mistake_that_is_found_after_reading_names_the_line_of_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, place: str
) -> None:
    """Only those of reading did: rooms know the key, and not where it stands."""
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)

    def command() -> None:
        open_recipe(file)
        raise UserError("no", where=key, mend="mend it")

    assert ended(lambda: guarded(command), capsys) == (2, f"terraweft: {place}{key}: no (mend it)\n")
    file.unlink()
    later = RecipeError("no", where=key)
    assert ended(lambda: guarded(lambda: (_ for _ in ()).throw(later)), capsys) == (2, f"terraweft: {key}: no\n")


def test_a_variable_that_is_not_set_stops_before_anything_starts() -> None:
    recipe = Recipe.model_validate(RECIPE)
    require_variables(recipe, {"TERRAWEFT_SOMEWHERE": "http://127.0.0.1:9"})
    with pytest.raises(RecipeError, match=r"catalogs\.c\.href: TERRAWEFT_SOMEWHERE is not set"):
        require_variables(recipe, {})


@pytest.mark.parametrize(
    ("encoding", "colours", "no_color", "drawn"),
    [
        ("utf-8", "truecolor", False, True),
        ("utf-8", None, False, False),
        ("utf-8", "truecolor", True, False),
        ("ascii", "truecolor", False, False),
    ],
)
def test_pictures_are_drawn_only_where_they_can_be_seen(
    encoding: str, colours: str | None, no_color: bool, drawn: bool
) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, color_system=colours, no_color=no_color, force_terminal=True)  # type: ignore[arg-type]
    assert can_draw(console) is drawn


def test_the_clearest_date_is_shown() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pictures = [("s2 2021-01-01", pixels), ("s2 2021-02-01", pixels), ("s1 2021-01-02", pixels), ("label", pixels)]
    assert [t for t, _ in _best(pictures, {"s2.clear_fraction": [0.2, 0.9]})] == ["s2 2021-02-01", "label"]
    assert [t for t, _ in _best(pictures, {})] == ["s2 2021-01-01", "label"]
    assert _best([], {}) == []


def test_a_chip_says_where_it_lies() -> None:
    sample = sample_of(region="north", epsg=32633, bounds_xyxy=[300000.0, 5300040.0, 300960.0, 5301000.0])
    assert _place(sample) == ["train", "region north", "EPSG:32633 300000 5300040 300960 5301000"]
    assert _place(sample_of()) == ["train"]


def test_a_contact_sheet_is_a_png() -> None:
    assert contact_sheet([("one", np.zeros((20, 30, 3), np.uint8))]).startswith(b"\x89PNG")


def test_a_long_title_is_whole_on_a_contact_sheet() -> None:
    """Of composites: ``s2 2022-07-01 median (2022-06-01/2022-08-31)``."""
    pixels = np.zeros((3, 4, 3), np.uint8)
    long = "s2 2022-07-01 median (2022-06-01/2022-08-"
    assert contact_sheet([(f"{long}31)", pixels)]) != contact_sheet([(f"{long}17)", pixels)])


def test_a_contact_sheet_mixes_no_colours_of_classes() -> None:
    striped = np.zeros((PICTURE_PX * 3, PICTURE_PX * 3, 3), np.uint8)
    striped[:, ::2] = 255
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet([("", striped)], {""}))))
    assert set(np.unique(sheet)) == {0, 255}


@pytest.mark.parametrize(("command", "told"), [("check", "interrupted"), ("build", "go on where it stopped")])
def test_an_interrupt_says_so_and_exits_with_130(
    command: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"terraweft.commands.run_{command}", interrupted)
    code, err = ended(lambda: main([command, "anything", *(["--out", "there"] if command == "build" else [])]), capsys)
    assert code == 130
    assert told in err
    assert len(err.strip().splitlines()) == 1


def test_an_unknown_log_level_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAWEFT_LOG", "loud")
    code, err = ended(lambda: main(["--version"]), capsys)
    assert code == 2
    assert err.strip() == "terraweft: TERRAWEFT_LOG: unknown level 'loud' (one of: debug, info, warning, error)"
    monkeypatch.setenv("TERRAWEFT_LOG", "")  # as if it were not set
    assert ended(lambda: main(["--version"]), capsys) == (0, "")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["freshness"], "missing argument 'table' (see terraweft freshness -h)"),
        (["build", "sandbox"], "missing option '--out' (see terraweft build -h)"),
        (
            ["show", "x", "--verson", "3"],
            "no such option: --verson (Possible options: --version) (see terraweft show -h)",
        ),
        (["ledger", "nonsense"], "no such command 'nonsense' (see terraweft ledger -h)"),
        (["nonsense"], "no such command 'nonsense' (see terraweft -h)"),
        (["--nonsense"], "no such option: --nonsense (see terraweft -h)"),
        (["train", "x", "--crop-m", "-3"], "invalid value for '--crop-m': -3 is not above 0 (see terraweft train -h)"),
    ],
)
def test_what_is_mistyped_is_one_line(typed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = ended(lambda: main(typed), capsys)
    assert code == 2
    assert err == f"terraweft: {said}\n"


def test_a_group_without_a_command_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["ledger"])
    shown = capsys.readouterr()
    assert end.value.code == 2
    assert "doubts" in shown.out
    assert shown.err == ""


def test_estimates_of_a_version_that_is_not_there_are_told_so(tmp_path: Path) -> None:
    for name in ("there", "at@home"):
        root = tmp_path / name
        publish(open_storage(root), made_up.draft(root, [made_up.sample(0)]))
        with pytest.raises(DatasetError, match="'BAD' is no version's name"):
            estimates_of(f"{root}@BAD")
        with pytest.raises(DatasetError, match="there is no version 20200101T000000Z-00000000"):
            estimates_of(f"{root}@20200101T000000Z-00000000")
        with pytest.raises(DatasetError, match="holds no estimated parameters"):
            estimates_of(str(root))
    for given in ("nowhere@BAD", "nowhere", "@BAD"):
        with pytest.raises(DatasetError, match="there is no dataset"):
            estimates_of(given)


def test_estimates_of_a_dataset_name_it(tmp_path: Path) -> None:
    """The version alone was told, which the dataset that took them over has not."""
    draft = made_up.draft(tmp_path, [made_up.sample(0)], estimates={"buckets": {}}, name="elsewhere")
    version = publish(open_storage(tmp_path), draft).version
    assert estimates_of(str(tmp_path))["where"]["datasets"] == {version: "elsewhere"}


def test_the_page_of_the_command_line_names_every_command() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    groups = {str(group.name) for group in app.registered_groups}
    assert commands | groups == set(re.findall(r"^\| `([a-z]+)[ `]", page, re.MULTILINE))


def test_many_notes_are_cut_and_counted() -> None:
    for number, lines in ((3, 3), (12, 12), (40, 12)):
        console = Console(file=io.StringIO(), width=80)
        print_notes(console, [f"n{i}" for i in range(number)])
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert len(text.splitlines()) == lines
        assert ("and 29 more" in text) is (number == 40)


def test_a_price_is_told_with_its_currency() -> None:
    calls = {"calls": [2, 4], "tokens_in": [9, 9], "tokens_out": [1, 5000], "cost": [0.001234567, 12.5], "max_cost": 5}
    assert calls_rows(calls, "EUR") == {
        "LLM calls": "2 to 4",
        "tokens": "9 in, 1 to 5,000 out",
        "price": "0.0012 to 12.5000 EUR (limit 5 EUR)",
    }
    assert calls_rows(calls | {"calls": [0, 0]}, "EUR")["price"] == "0"


def test_the_help_of_export_names_every_form() -> None:
    command = typer.main.get_command(app).commands["export"]  # type: ignore[attr-defined]
    told = next(option.help for option in command.params if option.name == "form")
    assert set(EXPORTERS) <= set(re.split(r",? ", told))


def test_without_assertions_a_command_ends_before_zarr_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "terraweft", "versions", "none"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 2
    assert re.fullmatch(r"terraweft: Python runs without assertions .*\(unset PYTHONOPTIMIZE\)\n", done.stderr)


def test_a_working_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"import os; os.rmdir({str(gone)!r}); from terraweft.cli import main; main(['versions', 'none'])"
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=gone, env=variables)
    assert (done.returncode, done.stderr) == (2, "terraweft: the working folder is gone (cd to one that is there)\n")


def test_the_lobby_is_a_program_of_its_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "terraweft", "--version"], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert (done.returncode, done.stdout) == (0, f"terraweft {__version__}\n")
