from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SHARERS
from tests.made_once import made_once

INTEGRATION = Path(__file__).parents[1] / "integration"


class Factory:
    """Pytest's temporary folders as one process sees them."""

    def __init__(self, base: Path) -> None:
        base.mkdir()
        self.base = base

    def getbasetemp(self) -> Path:
        return self.base

    def mktemp(self, name: str) -> Path:
        (self.base / name).mkdir()
        return self.base / name


def test_processes_of_a_run_make_a_folder_once_and_have_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()
        (folder / "one").write_text("1")
        if len(made) == 1:
            raise OSError("broken off")

    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    first, second, third = (Factory(tmp_path / f"popen-gw{number}") for number in range(3))
    with pytest.raises(OSError, match="broken off"):
        made_once(first, "thing", make)  # type: ignore[arg-type]
    mine, theirs = made_once(second, "thing", make), made_once(third, "thing", make)  # type: ignore[arg-type]
    assert len(made) == 2
    assert (mine.parents[1], theirs.parents[1]) == (second.base, third.base)
    (mine / "one").write_text("2")
    assert (theirs / "one").read_text() == "1"


def test_whoever_looks_at_the_build_of_the_whole_sandbox_shares_it() -> None:
    """A file that is not named has a process of its own choice, which builds all of it once more."""
    users = {path.name for path in INTEGRATION.glob("test_*.py") if "build: Build" in path.read_text()}
    assert users == set(SHARERS)
