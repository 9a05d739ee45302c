"""Commands on a dataset that is not there leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from schemas.errors import DatasetError
from terraweft.versions import run_gc, run_repack, run_rollback

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
