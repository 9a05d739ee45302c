"""What was brought to the disk while a test ran."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


def synced_files(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Inodes of files and folders that are brought to the disk from now on; the set grows."""
    found: set[int] = set()
    to_disk = os.fsync

    def noted(file: int) -> None:
        to_disk(file)
        found.add(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def files_of(folder: Path) -> Iterator[tuple[Path, int]]:
    """All files below a folder with their inodes."""
    return ((path, path.stat().st_ino) for path in sorted(folder.rglob("*")) if path.is_file())
