"""Broken answers under a build: the same dataset in the end, or chips that failed with the class of what was wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.faults.broken_server import Broken, broken
from tests.faults.conftest import Tally
from tests.integration.faulty import faulty, faulty_recipe
from tests.integration.support import Terraweft, World, content_hash, current_version

LASTING = {"404": "AssetMissingError", "403": "AccessDeniedError"}
"""Faults that do not go away, and the class that their chips fail with."""
PASSING = ("429", "500", "503", "reset", "cut", "wrong-range", "flip")
"""Faults that hit some answers and not the next."""

AGAIN = "asked again, same bytes"
MENDED = "{}, then mended by the next run"


@pytest.fixture(scope="module")
def recipe(sandbox_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bands, one date, one label product, a few chips."""
    found = faulty_recipe(sandbox_recipe)
    path = tmp_path_factory.mktemp("recipe") / "broken.yaml"
    path.write_text(yaml.safe_dump(found, sort_keys=False))
    return path


Source = tuple[Broken, Path]
Run = subprocess.CompletedProcess[str]


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[Source]:
    """The broken server, and a static catalog whose files lie behind it."""
    with broken(world.index.root / "files") as state:
        with faulty(world.index, tmp_path / "catalog") as whole:
            for path in (tmp_path / "catalog").rglob("*.json"):
                path.write_text(path.read_text().replace(whole.url, state.url))
        yield state, tmp_path / "catalog"


def _outcomes(root: Path) -> pd.DataFrame:
    return pd.read_parquet(current_version(root) / "outcomes.parquet")


def _run(terraweft: Terraweft, command: str, recipe: Path, root: Path, catalog: Path, *more: str) -> Run:
    return terraweft(command, recipe, "--out", root, "--workers", 1, *more, TERRAWEFT_FAULTY=str(catalog))


@pytest.fixture(scope="module")
def wanted(terraweft: Terraweft, recipe: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Content hash of the dataset that no fault touched."""
    folder = tmp_path_factory.mktemp("whole")
    with faulty(world.index, folder / "catalog") as source:
        done = _run(terraweft, "build", recipe, folder / "d", source.catalog)
    assert done.returncode == 0, done.stderr
    return content_hash(folder / "d")


def _mended(state: Broken, terraweft: Terraweft, recipe: Path, root: Path, catalog: Path) -> str:
    """Content hash after a run from sources that are well again; estimates are made as if nothing had failed."""
    state.kind = ""
    command = ("refresh", "--refit") if (root / "terraweft.json").exists() else ("build",)
    again = _run(terraweft, command[0], recipe, root, catalog, *command[1:])
    assert again.returncode == 0, again.stderr
    return content_hash(root)


@pytest.mark.parametrize("kind", PASSING)
def test_faults_that_pass_lose_nothing(
    kind: str,
    terraweft: Terraweft,
    recipe: Path,
    server: Source,
    wanted: str,
    tally: Tally,
    tmp_path: Path,
) -> None:
    state, catalog = server
    state.kind, state.share, state.most = kind, 0.3, 12
    right, seen = False, ""
    try:
        done = _run(terraweft, "build", recipe, tmp_path / "d", catalog)
        assert done.returncode == 0, done.stderr
        assert state.broken, "no answer was broken"
        states = set(_outcomes(tmp_path / "d")["state"])
        if states == {"kept"}:
            right, seen = content_hash(tmp_path / "d") == wanted, AGAIN
        else:  # given up with its class, never a wrong pixel; the next run mends it
            classes = set(_outcomes(tmp_path / "d").query("state == 'failed'")["error_class"])
            seen = MENDED.format(", ".join(sorted(classes)))
            assert classes <= {"TransientSourceError", "ThrottledError", "DecodeError"}, classes
            right = _mended(state, terraweft, recipe, tmp_path / "d", catalog) == wanted
    finally:
        tally.note(f"HTTP {kind}" if kind.isdigit() else f"HTTP: {kind}", right, seen)
    assert right


@pytest.mark.parametrize("kind", sorted(LASTING))
def test_faults_that_last_fail_the_chips_with_their_class_and_the_next_run_mends_them(
    kind: str,
    terraweft: Terraweft,
    recipe: Path,
    server: Source,
    wanted: str,
    tally: Tally,
    tmp_path: Path,
) -> None:
    state, catalog = server
    state.kind, state.suffix = kind, "_B04_10m.tif"
    right, seen = False, ""
    try:
        done = _run(terraweft, "build", recipe, tmp_path / "d", catalog)
        assert done.returncode == 2, done.stdout
        assert LASTING[kind] in done.stderr
        right, seen = _mended(state, terraweft, recipe, tmp_path / "d", catalog) == wanted, MENDED.format(LASTING[kind])
    finally:
        tally.note(f"HTTP {kind} that lasts", right, seen)
    assert right


@pytest.mark.parametrize("kind", sorted(LASTING))
def test_faults_that_begin_in_mid_run_and_last_leave_the_chips_before_them_whole(
    kind: str,
    terraweft: Terraweft,
    recipe: Path,
    server: Source,
    wanted: str,
    tally: Tally,
    tmp_path: Path,
) -> None:
    state, catalog = server
    state.kind, state.suffix, state.after = kind, ".tif", 12
    right, seen = False, ""
    try:
        done = _run(terraweft, "build", recipe, tmp_path / "d", catalog)
        assert done.returncode == 0, done.stderr
        outcomes = _outcomes(tmp_path / "d")
        assert set(outcomes["state"]) == {"kept", "failed"}
        assert set(outcomes.query("state == 'failed'")["error_class"]) == {LASTING[kind]}
        right, seen = _mended(state, terraweft, recipe, tmp_path / "d", catalog) == wanted, MENDED.format(LASTING[kind])
    finally:
        tally.note(f"HTTP {kind} after some answers", right, seen)
    assert right


def test_a_server_that_stalls_is_given_up_and_nothing_is_kept_wrong(
    terraweft: Terraweft, recipe: Path, server: Source, wanted: str, tally: Tally, tmp_path: Path
) -> None:
    state, catalog = server
    state.kind, state.most = "stall", 2
    right, seen = False, ""
    try:
        done = _run(terraweft, "build", recipe, tmp_path / "d", catalog)
        assert done.returncode == 0, done.stderr
        assert state.broken == state.most
        right, seen = content_hash(tmp_path / "d") == wanted, AGAIN
    finally:
        tally.note("HTTP: stall", right, seen)
    assert right
