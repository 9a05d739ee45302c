"""A disk that is too small for a build is told before anything is read."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chips.estimate import Estimate
from flows.room import tell_of_room
from shards.storage import open_storage
from tests.unit.chips.test_inputs import recipe

PETABYTE = 10**15


def told(caplog: pytest.LogCaptureFixture, work: Path, disk_bytes: int, *, root: str = "", before: Any = None) -> str:
    caplog.clear()
    plan = SimpleNamespace(estimate=Estimate(4, 1, 1, 1, 1, disk_bytes), chip_count=2)
    found: Any = SimpleNamespace(plan=plan, before=before, job=SimpleNamespace(folder=work / "run"))
    asked: Any = SimpleNamespace(recipe=recipe(), work=work, storage=open_storage(root or work))
    tell_of_room(asked, found)
    return caplog.text


def test_a_disk_that_is_too_small_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds = len(recipe().write.kinds)
    here, in_store = (1 + 1 / kinds) * PETABYTE / 2, PETABYTE / kinds / 2  # half of the plan's chips
    assert f"needs up to {here / 1e9:.3g} GB" in told(caplog, tmp_path, PETABYTE)
    assert f"needs up to {in_store / 1e9:.3g} GB" in told(caplog, tmp_path, PETABYTE, root="s3://bucket/dataset")
    fits = round(1.5 * shutil.disk_usage(tmp_path).free / (1 + 1 / kinds))  # half of it does, the whole would not
    assert told(caplog, tmp_path, fits) == ""
    assert told(caplog, tmp_path, PETABYTE, before="v1") == "", "a refresh writes what changed"
    (tmp_path / "run" / "first" / "tile").mkdir(parents=True)
    assert told(caplog, tmp_path, PETABYTE) == "", "a part of it is behind a run that goes on"
