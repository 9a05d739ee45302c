"""Versions as they are listed; commands on a dataset that is not there leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from schemas.errors import DatasetError
from shards.storage import open_storage
from shards.version import publish
from terraweft.versions import run_gc, run_repack, run_rollback, show_versions
from tests.unit.shards import made_up

OUT = Console()


@pytest.mark.parametrize(
    "command",
    [
        lambda root: run_gc(root, None, False, False, OUT),
        lambda root: run_rollback(root, "20261120T101500Z-3f9a1c0b", OUT),
        lambda root: run_repack(root, "8", None, None, OUT),
    ],
    ids=["gc", "rollback", "repack"],
)
def test_a_mistyped_address_is_told_and_makes_no_folder(command: Callable[[str], None], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no dataset"):
        command(str(tmp_path / "mistyped"))
    assert list(tmp_path.iterdir()) == []


def test_versions_that_wait_for_their_validation_are_marked(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)

    def add(days: int, current: bool) -> str:
        rule = {"name": "made-up", "format": 1, "publish": {"after_validation": True}}
        created = made_up.CREATED + timedelta(days=days)
        draft = made_up.draft(tmp_path, [made_up.sample(days)], created=created, recipe=rule, zarr_shard_chips=None)
        return publish(storage, draft, current=current).version

    def shown() -> dict[str, str]:
        out = StringIO()
        show_versions(str(tmp_path), Console(file=out, width=200))
        rows = [line.split() for line in out.getvalue().splitlines()]
        return {row[0]: row[1] for row in rows[1:] if row[0] != "*"}

    first = add(0, current=False)
    assert shown() == {first: "?"}
    second = add(1, current=True)
    third = add(2, current=False)
    assert shown() == {first: "1", second: "*", third: "?"}
    path = f"validations/{third}/20261201T000000Z.json"
    storage.put(path, json.dumps({"whole": True, "passed": False}).encode())
    out = StringIO()
    show_versions(str(tmp_path), Console(file=out, width=200))
    assert f"{third} -" in out.getvalue()
    gates = [{"gate": "noise", "holds": False, "thresholds": {"max_noise": 0.35}}, {"gate": "leak", "holds": True}]
    storage.put(path, json.dumps({"whole": True, "passed": False, "gates": gates}).encode())
    out = StringIO()
    show_versions(str(tmp_path), Console(file=out, width=200))
    assert f"{third} did not pass noise (max_noise 0.35)\n" in out.getvalue(), "the limit of then"
