"""The Zarr v3 form of a dataset, in an Icechunk repository: one commit and one tag per version.

    <group>/            data (chip, time, band, y, x), valid (chip, time, y, x), time, scale, offset (chip, time);
                        chip_id, x0, y0, epsg, rows, columns (chip); band, wavelength_nm, fwhm_nm (band)
    label_<source>/     data (chip, y, x); chip_id, x0, y0, epsg, rows, columns (chip)
    label/, confidence/ likewise

Chips with fewer dates or pixels than the group's largest are padded: times NaT, validity 0, data no data; ``rows`` and
``columns`` say what is real. Sharding codec, one chip per inner chunk. Nothing is seen by readers before `Written.tag`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import icechunk
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from schemas.errors import DatasetError
from shards.guard import redact
from shards.layout import ZARR, sync_file, sync_folder
from shards.storage import FolderStorage, Storage
from shards.zarr_record import ZarrRecord, digest_of

REFS = f"{ZARR}/refs"
"""Folder in which Icechunk keeps its branch and its tags, each in a folder of its own."""
BRANCH = f"{REFS}/branch.main/ref.json"
"""File in which Icechunk keeps the snapshot that its one branch names."""
SYNCED_AT_ONCE = 8
"""Files that wait for the disk side by side: its journal takes them together."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


@dataclass
class ZarrResult:
    """Groups that are written but not yet visible."""

    groups: tuple[str, ...]
    """Names of the groups."""
    digest: str
    """sha256 over every metadata document and encoded chunk."""
    record: ZarrRecord = field(repr=False)
    """The store's objects, and what its shards follow from."""
    session: Any = field(repr=False)
    """Icechunk's open session, until `tag`."""
    repository: Any = field(repr=False)
    """Icechunk's repository."""

    def tag(self, version: str) -> str:
        """Commit, and tag the commit with the version's name; the snapshot's id.

        Raises:
            DatasetError: another publish committed meanwhile.
        """
        try:
            snapshot = commit(self.repository, self.session, f"version {version}")
        except icechunk.ConflictError as error:
            what = "another publish wrote Zarr meanwhile; nothing of it was touched"
            raise DatasetError(what, where=version, mend="run the same command again") from error
        _tag(self.repository, version, snapshot)
        return snapshot


def commit(repository: Any, session: Any, message: str) -> str:
    """Commit to the one branch; the snapshot's id. Where the store's answer is lost, Icechunk asks again, and takes
    for another's what it wrote itself.

    Raises:
        icechunk.ConflictError: another commit was first.
    """
    mark = {"commit": uuid4().hex}
    try:
        return str(session.commit(message, metadata=mark))
    except icechunk.ConflictError:
        tip = next(iter(repository.ancestry(branch="main")))
        if tip.metadata != mark:
            raise
        return str(tip.id)


def _tag(repository: Any, name: str, snapshot: str) -> None:
    """Tag a snapshot, once: see `commit` for answers that are lost."""
    try:
        repository.create_tag(name, snapshot_id=snapshot)
    except icechunk.IcechunkError:
        if name not in repository.list_tags() or repository.lookup_tag(name) != snapshot:
            raise


class NewFiles:
    """What is written into ``zarr/`` from now on: Icechunk itself does not wait until a file is on the disk.

    Args:
        storage: the dataset's root; an object store has nothing to wait for.
    """

    def __init__(self, storage: Storage) -> None:
        self.folder = storage.folder / ZARR if isinstance(storage, FolderStorage) else None
        self._known = set(self._files())

    def to_disk(self) -> None:
        """Wait until all of it is on the disk, what was replaced too.

        Raises:
            OSError: the disk takes no more.
        """
        files = set(self._files())
        new = [path for path, _ in files - self._known]
        with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
            list(pool.map(sync_file, new))
            list(pool.map(sync_folder, {folder for path in new for folder in (path.parent, path.parent.parent)}))
        self._known = files

    def _files(self) -> Iterator[tuple[Path, int]]:
        """All files with their inodes: one that is written anew has another."""
        folders = [self.folder] if self.folder is not None and self.folder.is_dir() else []
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        yield Path(entry.path), entry.inode()


def branch_to_disk(storage: Storage) -> None:
    """Wait until it is on the disk where Icechunk's branch stands: with a torn branch a repository opens to nobody."""
    path = storage.folder / BRANCH if isinstance(storage, FolderStorage) else None
    if path is not None and path.is_file():
        sync_file(path)
        sync_folder(path.parent)


@contextmanager
def zarr_errors() -> Iterator[None]:
    """What a disk answers to Icechunk, as the error of the operating system that it is; what a store does, as one line.

    Raises:
        OSError: with the number that Icechunk's text names.
        DatasetError: a store refuses, or stays unwell.
    """
    try:
        yield
    except icechunk.IcechunkError as error:
        found = _OS_ERROR.search(str(error))
        if found is not None:
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
        if "object store" not in str(error):
            raise
        cause = str(error).splitlines()[-1].lstrip(" `->")
        said = redact(f"{first_line(error).removeprefix('x ')}: {cause}")[:300]
        mend = "see what the credentials may do below zarr/, and run the same command again"
        raise DatasetError(said, where=f"{ZARR}/", mend=mend) from error


def open_repository(storage: Storage, *, create: bool = False) -> Any:
    """The Icechunk repository in ``zarr/``.

    Raises:
        DatasetError: there is none.
    """
    icechunk.set_logs_filter("error")  # its warning about commits to local folders: DatasetLock serialises ours
    if create:
        try:
            return icechunk.Repository.open_or_create(storage.icechunk())
        except icechunk.IcechunkError:  # an answer was lost, and asked again it is there: see `commit`
            if storage.size(BRANCH) is None:
                raise
    if not has_repository(storage):
        raise DatasetError("this dataset has no Zarr", where=storage.uri, mend="recipe: write.kinds holds zarr")
    try:
        return icechunk.Repository.open(storage.icechunk())
    except icechunk.IcechunkError as error:
        raise DatasetError(f"zarr/ is no Icechunk repository: {first_line(error)}", where=storage.uri) from error


def has_repository(storage: Storage) -> bool:
    """Whether anything lies in ``zarr/``."""
    return next(iter(storage.list(ZARR)), None) is not None


def open_store(storage: Storage, tag: str) -> Any:
    """The read-only Zarr store of a version.

    Raises:
        DatasetError: there is no such tag.
    """
    repository = open_repository(storage)
    try:
        return repository.readonly_session(tag=tag).store
    except icechunk.IcechunkError as error:
        raise DatasetError(f"zarr/ has no tag {tag}: {first_line(error)}", where=storage.uri) from error


def tag_again(storage: Storage, snapshot: str, version: str) -> None:
    """Give a version whose arrays equal its parent's the parent's snapshot."""
    _tag(open_repository(storage), version, snapshot)


def tagged_snapshot(storage: Storage, tag: str) -> str:
    """The snapshot that a tag names.

    Raises:
        DatasetError: there is no such tag.
    """
    try:
        return str(open_repository(storage).lookup_tag(tag))
    except icechunk.IcechunkError as error:
        raise DatasetError(f"zarr/ has no tag {tag}: {first_line(error)}", where=storage.uri) from error


@zarr_errors()
def tags(storage: Storage) -> set[str]:
    """Names of all tags; none where there is no repository."""
    return set(open_repository(storage).list_tags()) if has_repository(storage) else set()


def used_tags(storage: Storage) -> set[str]:
    """Names that no new tag can have: of all tags, and of those that were deleted, which Icechunk keeps in mind."""
    found = (path.split("/")[2] for path, _ in storage.list(REFS))
    return {name.removeprefix("tag.") for name in found if name.startswith("tag.")}


def first_line(error: Exception) -> str:
    """What an error of Icechunk's says, less where in its code it arose."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def store_digest(store: Any) -> str:
    """sha256 over the keys and bytes of a Zarr store: metadata documents and encoded chunks."""
    return digest_of({key: hashlib.sha256(read_key(store, key) or b"").hexdigest() for key in keys_of(store)})


def keys_of(store: Any) -> list[str]:
    """All keys of a store, sorted."""

    async def listed() -> list[str]:
        return [key async for key in store.list_prefix("")]

    return sorted(sync(listed()))


def read_key(store: Any, key: str) -> bytes | None:
    """Bytes of an object of a store; None where there is none."""
    content = sync(store.get(key, prototype=default_buffer_prototype()))
    return None if content is None else bytes(content.to_bytes())


@contextmanager
def blosc_threads(use: bool | None) -> Iterator[None]:
    """Whether Blosc works on the blocks of one chunk in threads of its own; Zarr, when it is imported, says no.

    Args:
        use: False for writing: such threads write blocks in the order in which they finish, and bytes would not repeat.
            None for reading one chunk at a time: the main thread has them, whoever writes in another has not.
    """
    blosc: Any = import_module("numcodecs.blosc")  # it has no types
    before = blosc.use_threads
    blosc.use_threads = use
    try:
        yield
    finally:
        blosc.use_threads = before
