"""docs/cli.md tells every command and every variable of the environment that is read by its name."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from terraweft.cli import app

ROOT = Path(__file__).parents[2]
ROOMS = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("tests", "bench", "sandbox")]
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_command_is_told() -> None:
    told = set(re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE))
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert "build" in commands
    assert commands - told == set()


def test_every_variable_of_the_environment_is_told() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for room in ROOMS for path in room.glob("*.py"))
    read = set(re.findall(r'environ(?:ment)?(?:\.get\(|\[)"([A-Z][A-Z0-9_]+)"', code))
    assert len(read) > 12
    told = set(re.findall(r"`([A-Z][A-Z0-9_]+)", PAGE.partition("## Environment")[2]))
    assert read - told - {"PREFECT_HOME"} == set()  # ours to set, for the private server
