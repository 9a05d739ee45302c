"""Datasets are freed of what no version lists, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import DatasetError, IntegrityError
from shards.check import check_dataset
from shards.garbage import find_garbage, remove_garbage
from shards.history import roll_back
from shards.pointer import list_versions
from shards.reader import open_dataset
from shards.sample_reader import SampleReader
from shards.sample_request import SampleRequest
from shards.storage import FolderStorage, Storage, open_storage
from tests.unit.shards import made_up
from tests.unit.shards.durability import files_of, synced_files


def test_nothing_that_a_version_lists_is_garbage(history: tuple[Path, Storage, list[str]]) -> None:
    root, storage, names = history
    garbage = find_garbage(storage)
    assert (garbage.shards, garbage.unfinished, garbage.forgotten, garbage.tags) == ({}, (), (), ())
    remove_garbage(storage, garbage)
    for name in names:
        assert open_dataset(root, name).xarray("s2_10m")["data"].values.size
    assert check_dataset(root).problems == []


def test_leftovers_are_found_and_removed(history: tuple[Path, Storage, list[str]]) -> None:
    root, storage, names = history
    storage.put("shards/train/00009-0123456789abcdef.tar", b"torn")
    storage.put("versions/20250101T000000Z-00000000.tmp/chips.parquet", b"torn")
    storage.put("work/runs/abc/first/x.npz", b"fragment")
    storage.put("work/ledger/paid.sqlite", b"paid for")
    storage.put("work/reports/x.html", b"report")
    garbage = find_garbage(storage, work=True)
    assert list(garbage.shards) == ["shards/train/00009-0123456789abcdef.tar"]
    assert garbage.unfinished == ("20250101T000000Z-00000000.tmp",)
    assert list(garbage.work) == ["work/runs/abc/first/x.npz"]
    remove_garbage(storage, garbage)
    assert storage.size("work/ledger/paid.sqlite")
    assert storage.size("work/reports/x.html")
    assert not (root / "versions/20250101T000000Z-00000000.tmp").exists()
    assert find_garbage(storage).bytes == 0
    assert list_versions(storage) == names
    assert check_dataset(root).problems == []


@pytest.mark.parametrize("name", ["shards", "versions", "zarr", "work", "versions/20200101T000000Z-aaaaaaaa"])
def test_nothing_is_removed_behind_a_link(dataset_root: Path, tmp_path: Path, name: str) -> None:
    folder, home = dataset_root / name, tmp_path / "home"
    if folder.exists():
        folder.rename(home)
    home.mkdir(exist_ok=True)
    (home / "thesis.txt").write_text("years")
    folder.symlink_to(home)
    with pytest.raises(DatasetError, match=f"{name}: this is a link"):
        find_garbage(open_storage(dataset_root), keep=1, work=True)


def test_empty_folders_behind_a_link_of_work_stay(dataset_root: Path, tmp_path: Path) -> None:
    """A build's own files on a faster disk, or one folder of them: what lies beside them there is not the dataset's."""
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home / "mine", other):
        folder.mkdir(parents=True)
    shutil.rmtree(dataset_root / "work", ignore_errors=True)
    (dataset_root / "work").symlink_to(home)
    storage = open_storage(dataset_root)
    remove_garbage(storage, find_garbage(storage, keep=1))
    assert (home / "mine").is_dir()
    (dataset_root / "work").unlink()
    (dataset_root / "work" / "runs").mkdir(parents=True)
    (dataset_root / "work" / "linked").symlink_to(other)
    remove_garbage(storage, find_garbage(storage, keep=1, work=True))
    assert [path.name for path in (dataset_root / "work").iterdir()] == ["linked"]
    assert other.is_dir()


def test_old_versions_are_forgotten_with_their_shards_and_chunks(history: tuple[Path, Storage, list[str]]) -> None:
    root, storage, names = history
    roll_back(storage, names[0])
    before = sum(size for _, size in storage.list("zarr"))
    done = remove_garbage(storage, find_garbage(storage, keep=1))
    assert done.forgotten == (names[1],), "the current one and the newest stay"
    assert list_versions(storage) == [names[0], names[2]]
    assert sum(size for _, size in storage.list("zarr")) < before
    assert done.zarr_bytes > 0
    for name in (names[0], names[2]):
        version = open_dataset(root, name)
        assert version.xarray("s2_10m")["data"].values.shape[0] == len(version)
        assert len(list(version.iterate())) == len(version)
    assert check_dataset(root).problems == []
    made_up.publish_again(root, storage, 5, 5)
    assert check_dataset(root).problems == []


class _Swept(FolderStorage):
    """A storage in which another version is published, and the one before removed, once the pointer was read."""

    def __init__(self, folder: Path, sweep: Callable[[], object]) -> None:
        super().__init__(folder)
        self.sweeps = [sweep]

    def read_tagged(self, path: str) -> tuple[bytes, str] | None:
        found = super().read_tagged(path)
        while self.sweeps:
            self.sweeps.pop()()
        return found


def test_reader_of_the_current_version_opens_the_one_that_took_its_place(
    history: tuple[Path, Storage, list[str]],
) -> None:
    root, storage, names = history

    def sweep() -> None:
        names.append(made_up.publish_again(root, storage, 5, 5))
        remove_garbage(storage, find_garbage(storage, keep=1))

    assert open_dataset(_Swept(root, sweep)).version == names[3]
    assert list_versions(storage) == names[3:]
    storage.delete(f"versions/{names[3]}/dataset.json")
    with pytest.raises(DatasetError, match=f"there is no version {names[3]}"):
        open_dataset(root)


@pytest.mark.parametrize("what", ["chips", "outcomes", "texts", "run", "places", "column_names"])
def test_reader_of_a_version_that_was_removed_is_told_so(history: tuple[Path, Storage, list[str]], what: str) -> None:
    root, storage, names = history
    small, large = open_dataset(root, names[0]), open_dataset(root, names[0])
    large._tables.whole_bytes = 0
    remove_garbage(storage, find_garbage(storage, keep=1))
    for reader in (small, large):
        with pytest.raises(DatasetError, match=f"{names[0]} is not there any more .open the current one"):
            getattr(reader, what)
    assert len(small.at(names[2]).outcomes) == len(open_dataset(root).outcomes)


def test_samples_of_a_version_that_was_removed_are_not_called_damaged(history: tuple[Path, Storage, list[str]]) -> None:
    root, storage, names = history
    opened = open_dataset(root, names[0])
    reader = SampleReader(opened, SampleRequest(groups=("s2_10m",)))
    arrays = {name: np.empty(one.shape, one.dtype) for name, one in reader.fields().items()}
    shard = root / opened.places.of(0)[1]
    away = shard.rename(root / "away.tar")
    for read in (lambda: opened.sample(opened.places.of(0)[0]), lambda: reader.read(0, arrays)):
        with pytest.raises(IntegrityError, match="No such file"):
            read()
    away.rename(shard)
    remove_garbage(storage, find_garbage(storage, keep=1))
    shard.unlink(missing_ok=True)
    for read in (lambda: opened.sample(opened.places.of(0)[0]), lambda: reader.read(0, arrays)):
        with pytest.raises(DatasetError, match=f"{names[0]} is not there any more"):
            read()


def test_zarr_of_a_version_that_was_removed_is_told_so(history: tuple[Path, Storage, list[str]]) -> None:
    root, storage, names = history
    opened = open_dataset(root, names[0])
    chips = opened.zarr_chips("s2_10m")
    remove_garbage(storage, find_garbage(storage, keep=1))
    for read in (lambda: chips.read([0, 1]), lambda: chips.read([0]), lambda: opened.zarr_chips("s2_10m")):
        with pytest.raises(DatasetError, match=f"{names[0]} is not there any more"):
            read()
    current = open_dataset(root).zarr_chips("s2_10m")
    for path in (root / "zarr" / "manifests").iterdir():
        path.unlink()
    with pytest.raises(IntegrityError, match=r"zarr s2_10m cannot be read: .*manifests") as told:
        current.read([0])
    assert "\n" not in str(told.value)


def test_snapshots_that_are_rewritten_are_on_the_disk_before_others_are_removed(
    history: tuple[Path, Storage, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, storage, _ = history
    synced = synced_files(monkeypatch)
    before = set(files_of(root / "zarr"))
    assert remove_garbage(storage, find_garbage(storage, keep=1)).zarr_bytes > 0
    rewritten = {(path, inode) for path, inode in files_of(root / "zarr") if (path, inode) not in before}
    assert any("snapshots" in path.parts for path, _ in rewritten)
    assert {inode for _, inode in rewritten} <= synced
