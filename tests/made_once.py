"""What every process of a test run needs alike: the first that asks makes it, and each gets a copy of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.prefect_api import prefect_api
from sandbox.products import SandboxIndex, read_index, write_sandbox


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A new folder of this process, equal to the one that ``make`` fills once in a run.

    Args:
        factory: pytest's, whose folders of one run lie side by side.
        name: of the folder.
        make: fills a folder that is not there yet; nothing in it may hold its path.
    """
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    made, half = run / f"made-once-{name}", run / f"made-once-{name}-half"
    with half.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            shutil.rmtree(half, ignore_errors=True)  # of a process that was killed, or failed
            make(half)
            half.rename(made)
    return shutil.copytree(made, factory.mktemp(name) / name)


def tiny_world(factory: pytest.TempPathFactory) -> SandboxIndex:
    """The smallest sandbox, of seed 7."""
    index = read_index(made_once(factory, "world", lambda folder: write_sandbox(folder, size="tiny", seed=7)))
    assert index is not None
    return index


def prefect_home(factory: pytest.TempPathFactory) -> Path:
    """A folder of Prefect's whose database has all its tables: making them takes a server longer than its start."""

    def make(folder: Path) -> None:
        with prefect_api({**os.environ, "PREFECT_API_URL": ""}, folder):
            pass

    return made_once(factory, "prefect", make)
