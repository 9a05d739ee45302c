"""A disk that is full, at whatever byte: the last version stays readable; with room the same publish goes through."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.sample import Sample
from shards.check import check_dataset
from shards.export import ExportOptions, export_dataset
from shards.garbage import find_garbage, remove_garbage
from shards.reader import open_dataset
from shards.storage import open_storage
from shards.version import PublishResult, publish
from tests.unit.shards import made_up

Resize = Callable[[int], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Resize]]:
    """A folder on a file system of its own, and what changes its size in bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    try:
        yield folder, resize
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def used_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@pytest.mark.services("small-disk")
@pytest.mark.parametrize("zarr", [None, 4], ids=["tars", "tars and zarr"])
def test_the_last_version_outlives_a_full_disk(published: Path, disk: tuple[Path, Resize], zarr: int | None) -> None:
    folder, resize = disk
    root = folder / "dataset"
    shutil.copytree(published, root)
    storage, samples = open_storage(root), [made_up.sample(n, seed=2) for n in range(10)]
    before = open_dataset(root)
    first = before.version
    pixels = {chip_id: before.sample(chip_id).layers["s2_10m"].data.tobytes() for chip_id in before.chip_ids()}
    floor, ended, room = used_bytes(folder), 0, 0
    while True:
        resize(floor + room)
        try:
            result = _publish(root, samples, zarr, hours=1)
        except OSError as error:  # whatever library under us met it
            if error.errno != errno.ENOSPC:
                raise
            ended += 1
            resize(64 << 20)
            assert open_dataset(root).version == first
            assert check_dataset(root).problems == []
            remove_garbage(storage, find_garbage(storage, work=True))
            assert used_bytes(folder) <= floor + (256 << 10), "leftovers are not removed"
            room += 96 << 10
            continue
        break
    assert ended >= 5, "the disk was never full"
    assert result.published
    resize(64 << 20)
    assert check_dataset(root).problems == []
    again = open_dataset(root, first)
    assert {c: again.sample(c).layers["s2_10m"].data.tobytes() for c in again.chip_ids()} == pixels


def _publish(root: Path, samples: list[Sample], zarr: int | None, hours: int) -> PublishResult:
    draft = made_up.draft(root, samples, zarr_shard_chips=zarr, report=made_up.write_report)
    return publish(open_storage(root), replace(draft, created=draft.created + timedelta(hours=hours)))


@pytest.mark.services("small-disk")
@pytest.mark.parametrize("form", ["hdf5", "majortom", "terramesh"])
def test_an_export_on_a_full_disk_leaves_nothing(published: Path, disk: tuple[Path, Resize], form: str) -> None:
    folder, resize = disk
    resize(24 << 10)
    with pytest.raises(OSError, match="No space left") as caught:
        export_dataset(open_dataset(published), folder / "out", ExportOptions(form))
    assert caught.value.errno == errno.ENOSPC
    assert list(folder.iterdir()) == []
