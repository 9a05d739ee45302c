"""The disk is full, or turns read-only, at any point of a build: one line, and with room the same dataset."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.broken_server import until
from tests.faults.conftest import Tally
from tests.integration.faulty import write_recipe_of_both_kinds
from tests.integration.support import World, content_hash

pytestmark = pytest.mark.services("small-disk")
ROOM = 256 << 20


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands, one date, one label product; both kinds of shards."""
    return write_recipe_of_both_kinds(sandbox_recipe, tmp_path_factory.mktemp("recipe") / "disks.yaml")


Remount = Callable[[str], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Remount]]:
    """A folder on a file system of its own, and what mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)], check=True)

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    try:
        yield folder, remount
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


Start = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def start(recipe: Path, world: World, environment: dict[str, str], command: list[str]) -> Start:
    """Begin a build into a folder."""
    variables = {**environment, "TERRAWEFT_SANDBOX_STAC": world.stac_url}

    def begin(root: Path) -> subprocess.Popen[str]:
        line = [*command, "build", str(recipe), "--out", str(root), "--workers", "2"]
        return subprocess.Popen(line, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    return begin


def _end(build: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = build.communicate(timeout=300)
    return build.returncode, errors.strip()


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with room."""
    root = tmp_path_factory.mktemp("whole") / "d"
    code, errors = _end(start(root))
    assert code == 0, errors
    return root


def _used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _is_one_line(code: int, errors: str, words: str) -> bool:
    """A warning may stand before it: that there is too little room was seen when the build began."""
    lines = [line for line in errors.splitlines() if not line.startswith("WARNING flows.room: ")]
    return code == 2 and len(lines) == 1 and words in lines[0]


@pytest.mark.parametrize("percent", [2, 10, 30, 50, 70, 85, 95])
def test_a_disk_that_fills_up_is_one_line_and_with_room_the_build_goes_on(
    percent: int, start: Start, whole: Path, disk: tuple[Path, Remount], tally: Tally
) -> None:
    folder, remount = disk
    right = False
    try:
        remount(f"size={_used(whole) * percent // 100}")
        code, errors = _end(start(folder / "d"))
        assert _is_one_line(code, errors, os.strerror(errno.ENOSPC)), errors[-3000:]
        remount(f"size={ROOM}")
        code, errors = _end(start(folder / "d"))
        assert code == 0, errors
        right = content_hash(folder / "d") == content_hash(whole)
    finally:
        tally.note("disk full at some point of a build", right, "one line; with room it went on" if right else "")
    assert right


def test_an_output_that_is_read_only_is_one_line(
    start: Start, whole: Path, disk: tuple[Path, Remount], tally: Tally
) -> None:
    folder, remount = disk
    right = False
    try:
        remount("ro")
        code, errors = _end(start(folder / "d"))
        assert _is_one_line(code, errors, os.strerror(errno.EROFS)), errors[-3000:]
        remount("rw")
        code, errors = _end(start(folder / "d"))
        assert code == 0, errors
        right = content_hash(folder / "d") == content_hash(whole)
    finally:
        tally.note("output that is read-only", right, "one line" if right else "")
    assert right


@pytest.mark.parametrize("point", ["work/runs/*/first/*/tile.json", "work/shards/*"])
def test_an_output_that_turns_read_only_is_one_line_and_the_build_goes_on_when_it_is_well(
    point: str, start: Start, whole: Path, tally: Tally, tmp_path: Path
) -> None:
    root = tmp_path / "d"
    right = False
    try:
        build = start(root)
        until(point, lambda: list(root.glob(point)))
        with _read_only(root):
            code, errors = _end(build)
        assert _is_one_line(code, errors, os.strerror(errno.EROFS)), errors[-3000:]
        code, errors = _end(start(root))
        assert code == 0, errors
        right = content_hash(root) == content_hash(whole)
    finally:
        tally.note("output that turns read-only in mid-run", right, "one line; later it went on" if right else "")
    assert right


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """The folder, mounted read-only over itself: what is open may be written, nothing can be opened to write."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
