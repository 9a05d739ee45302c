"""What no version of a dataset lists, found and removed: torn shards, old and unfinished versions, untagged chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schemas.errors import DatasetError
from shards import layout
from shards.document import read_document
from shards.history import current_version
from shards.lock import Held
from shards.pointer import list_versions, unfinished_versions
from shards.storage import FolderStorage, Storage
from shards.zarr_store import NewFiles, has_repository, open_repository, tags, zarr_errors

KEPT_WORK = ("reports",)
"""Folders of ``work/`` that hold results, not leftovers."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What no version lists."""

    shards: Mapping[str, int] = field(default_factory=dict)
    """Path -> bytes, in ``shards/``."""
    unfinished: tuple[str, ...] = ()
    """Folders in ``versions/`` that a publisher died over."""
    forgotten: tuple[str, ...] = ()
    """Versions beyond those that are to be kept."""
    tags: tuple[str, ...] = ()
    """Zarr tags of no version."""
    work: Mapping[str, int] = field(default_factory=dict)
    """Path -> bytes, in ``work/``."""
    scratch: Mapping[str, int] = field(default_factory=dict)
    """Path -> bytes, on this machine: the unfinished work of a dataset in an object store."""
    zarr_bytes: int = 0
    """Freed in ``zarr/``; known once it is done."""

    @property
    def bytes(self) -> int:
        """Of all files that are named."""
        return sum(sum(some.values()) for some in (self.shards, self.work, self.scratch)) + self.zarr_bytes


def find_garbage(
    storage: Storage, *, keep: int | None = None, work: bool = False, scratch: Path | None = None
) -> Garbage:
    """What could be removed: files that no version lists.

    Args:
        storage: the dataset's root.
        keep: how many of the newest versions stay, beside the current one; all where None.
        work: whether the fragments of runs in ``work/`` count, too; a run that was stopped then begins anew.
        scratch: where they lie if the dataset is in an object store.

    Raises:
        DatasetError: there is no dataset, or a version cannot be read: then nothing is certain, and nothing is named.
            Or a folder of the dataset is a link: what lies behind it is perhaps others'.
    """
    current = current_version(storage)
    if isinstance(storage, FolderStorage):
        _refuse_links(storage.folder, work)
    versions = list_versions(storage)
    kept = versions if keep is None else sorted({*versions[len(versions) - min(keep, len(versions)) :], current})
    documents = {version: read_document(storage, version) for version in kept}
    listed = {record.path for document in documents.values() for record in document.shards}
    known_tags = {str(document.zarr["tag"]) for document in documents.values() if document.zarr}
    return Garbage(
        shards={path: size for path, size in storage.list(layout.SHARDS) if path not in listed},
        unfinished=tuple(unfinished_versions(storage)),
        forgotten=tuple(version for version in versions if version not in documents),
        tags=tuple(sorted(tags(storage) - known_tags)),
        work=dict(_leftovers(storage)) if work else {},
        scratch=dict(_scratch_files(scratch)) if work and scratch and not isinstance(storage, FolderStorage) else {},
    )


@zarr_errors()
def remove_garbage(storage: Storage, garbage: Garbage, held: Held | None = None) -> Garbage:
    """Remove what `find_garbage` named, versions first, so that none is left without its shards. Hold the lock.

    Args:
        storage: the dataset's root.
        garbage: what goes.
        held: the dataset's lock, asked before each removal: what was garbage once may be listed by now.

    Returns:
        The same, with the bytes freed in ``zarr/``.

    Raises:
        DatasetError: the lock was lost, or the store refuses.
    """

    def delete(path: str) -> None:
        if held is not None:
            held.check()
        storage.delete(path)

    for version in (*garbage.forgotten, *garbage.unfinished):
        folder = f"{layout.VERSIONS}/{version}"
        delete(f"{folder}/{layout.DOCUMENT}")
        for path, _ in list(storage.list(folder)):
            delete(path)
    for path in (*garbage.shards, *garbage.work):
        delete(path)
    for path in garbage.scratch:
        Path(path).unlink(missing_ok=True)
    if isinstance(storage, FolderStorage):
        _remove_empty_folders(storage)
    if held is not None:
        held.check()
    return replace(garbage, zarr_bytes=_clean_zarr(storage, garbage.tags))


def _refuse_links(root: Path, work: bool) -> None:
    """A stranger's dataset whose ``shards`` is a link would have all removed that lies there, a home for example.

    Raises:
        DatasetError: a folder in which something could be removed is a link.
    """
    names = (layout.SHARDS, layout.VERSIONS, layout.ZARR, *((layout.WORK,) if work else ()))
    for folder in (*(root / name for name in names), *(root / layout.VERSIONS).glob("*")):
        if folder.is_symlink():
            raise DatasetError(
                "this is a link: nothing is removed where others may keep files",
                where=str(folder),
                mend="put the folder itself in its place, or link the whole dataset",
            )


def _leftovers(storage: Storage) -> Iterator[tuple[str, int]]:
    for path, size in storage.list(layout.WORK):
        if not _is_kept(path.split("/")[1:]):
            yield path, size


def _scratch_files(scratch: Path) -> Iterator[tuple[str, int]]:
    for path, size in FolderStorage(scratch).list("."):
        if not _is_kept(path.split("/")):
            yield str(scratch / path), size


def _is_kept(parts: Sequence[str]) -> bool:
    """Whether a file of unfinished work stays, by its path: locks, results, and a ledger, which is never deleted."""
    return len(parts) < 2 or parts[0] in KEPT_WORK or ".sqlite" in parts[-1]


def _remove_empty_folders(storage: FolderStorage) -> None:
    """Those that removed files leave; of a ``work`` that is a link none, nor what stands in another's way by then."""
    for name in (layout.VERSIONS, layout.SHARDS, layout.WORK):
        root = storage.folder / name
        for folder in sorted(root.rglob("*"), reverse=True) if not root.is_symlink() else ():
            if folder.is_dir():
                with suppress(OSError):  # it holds something, perhaps since a moment ago
                    folder.rmdir()


def _clean_zarr(storage: Storage, dangling: tuple[str, ...]) -> int:
    """Drop tags of no version, then every snapshot without a tag and the chunks that none of the others names.

    Raises:
        DatasetError: the object store did not delete them; Icechunk passes over that.
    """
    if not has_repository(storage):
        return 0
    repository, changed = open_repository(storage), NewFiles(storage)
    tag = str(read_document(storage, current_version(storage)).zarr.get("tag", ""))
    if tag:
        repository.reset_branch("main", repository.lookup_tag(tag))
    for name in dangling:
        repository.delete_tag(name)
    now = datetime.now(UTC) + timedelta(seconds=1)
    repository.expire_snapshots(now)  # rewrites those that stay, without the ones before them
    changed.to_disk()
    freed = int(repository.garbage_collect(now).bytes_deleted)
    left = 0 if isinstance(storage, FolderStorage) else int(repository.garbage_collect(now, dry_run=True).bytes_deleted)
    if left:
        raise DatasetError(
            f"the store did not delete {left} bytes that no version names, {freed} are freed",
            where=f"{storage.uri}/{layout.ZARR}",
            mend="see whether the credentials may delete there, and run the same command again",
        )
    return freed
