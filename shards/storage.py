"""Where the bytes of a dataset lie: a folder, or a prefix of an object store. One protocol, two kinds.

Paths are relative to the dataset's root, with ``/``. A `put` is whole or absent for every reader, and durable when it
returns; `put_if` moves the pointer only from the content that was seen.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from schemas.errors import DatasetError
from shards import layout

OPEN_FILES = 32
"""Files of a folder that are held open at once."""
CHUNK_BYTES = 8 << 20
"""Read at once where a whole file passes through."""


class StorageConflictError(Exception):
    """A conditional write met other content than expected."""


@runtime_checkable
class Storage(Protocol):
    """A dataset's root. Pickles small and without secrets."""

    @property
    def uri(self) -> str:
        """Address for people and messages."""
        ...

    def read(self, path: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""
        ...

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """(path, bytes) of every file below a folder."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Write a file, replacing what is there."""
        ...

    def put_file(self, path: str, file: Path) -> None:
        """Take a finished local file into the storage; the file is gone afterwards."""
        ...

    def put_folder(self, path: str, folder: Path) -> None:
        """Take a finished local folder into the storage, all of it or, for those who only list, none yet."""
        ...

    def read_tagged(self, path: str) -> tuple[bytes, str] | None:
        """Content and a tag that changes with it; None where there is no such file."""
        ...

    def put_if(self, path: str, content: bytes, tag: str | None) -> str:
        """Write a file that still has ``tag``, or that is not there where None; the new tag.

        Raises:
            StorageConflictError: it has changed.
        """
        ...

    def modified_s(self, path: str) -> float | None:
        """When a file was last written, in seconds of the storage's own clock; None where there is none."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; nothing where there is none."""
        ...

    def sha256(self, path: str) -> str:
        """sha256 of a file, in hex.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def local(self, path: str) -> Any:
        """Context manager: a local folder that holds all files below ``path``."""
        ...

    def icechunk(self) -> Any:
        """The same root's ``zarr/`` as Icechunk's storage."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def require_conditions(storage: Storage, path: str, content: bytes, stale: str | None = None) -> None:
    """See that a store keeps the conditions of `Storage.put_if`: some S3 servers pass over them, and all puts win.

    Args:
        storage: where the file lies.
        path: a file that is there, and that nobody else writes just now.
        content: other than it holds; what it holds afterwards where a condition was passed over.
        stale: a tag that it had before, where one is known.

    Raises:
        DatasetError: a put went through that should have met a conflict.
    """
    for tag in {None, stale}:
        try:
            storage.put_if(path, content, tag)
        except StorageConflictError:
            continue
        header = "If-None-Match" if tag is None else "If-Match"
        raise DatasetError(
            f"this store passes over {header}: two who write at once would both win",
            where=storage.uri,
            mend="a store, or a newer version of its software, that keeps conditional puts",
        )


class OpenFile:
    """A file that is open for reading for as long as somebody holds this: another thread cannot close it meanwhile.

    Raises:
        OSError: it cannot be opened, or is no plain file: a stranger's pipe or device never ends.
    """

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in a file's place is an error, no wait
        if not S_ISREG(os.fstat(self.descriptor).st_mode):
            raise OSError(f"{path.name} is no plain file")

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def _unless_gone(error: OSError) -> None:
    """Pass over a folder that is not there, or not any more.

    Raises:
        OSError: it is there.
    """
    if not isinstance(error, FileNotFoundError):
        raise error


class FolderStorage:
    """A local folder. Threads may share it.

    Args:
        folder: the dataset's root, absolute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[str, OpenFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        FolderStorage.__init__(self, state["folder"])

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        file = OpenFile(self.folder / path)
        with os.fdopen(os.dup(file.descriptor), "rb") as content:
            return content.read()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """See `Storage.read_range`."""
        file = self.open_file(path)
        return os.pread(file.descriptor, length, start)

    def size(self, path: str) -> int | None:
        """See `Storage.size`; a pipe or a device is none."""
        try:
            status = (self.folder / path).stat()
        except FileNotFoundError:
            return None
        return status.st_size if S_ISREG(status.st_mode) else None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """See `Storage.list`. What a publish moves or removes meanwhile is passed over.

        Raises:
            OSError: a folder cannot be looked into: a list that lacks something would make garbage of it.
        """
        found = []
        for folder, _, names in os.walk(self.folder / prefix, onerror=_unless_gone):
            found += [Path(folder) / name for name in names]
        for file in sorted(found):
            with suppress(FileNotFoundError):
                status = file.stat()
                if S_ISREG(status.st_mode):
                    yield file.relative_to(self.folder).as_posix(), status.st_size

    def put(self, path: str, content: bytes) -> None:
        """See `Storage.put`."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        layout.replace_durably(target, content)

    def put_file(self, path: str, file: Path) -> None:
        """See `Storage.put_file`; a rename where both lie on one file system."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(file, target)
        except OSError:  # another file system
            beside = target.with_name(target.name + layout.UNFINISHED)
            with file.open("rb") as source, beside.open("wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)
                sink.flush()
                os.fsync(sink.fileno())
            os.replace(beside, target)
            file.unlink()
        layout.sync_folder(target.parent)

    def put_folder(self, path: str, folder: Path) -> None:
        """See `Storage.put_folder`: a copy beside the target, synced, then one rename."""
        target = self.folder / path
        if folder.parent != target.parent:
            beside = target.with_name(target.name + layout.UNFINISHED)
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(folder, beside)
            shutil.rmtree(folder)
            folder = beside
        layout.sync_tree(folder)
        folder.rename(target)
        layout.sync_folder(target.parent)

    def read_tagged(self, path: str) -> tuple[bytes, str] | None:
        """See `Storage.read_tagged`; the tag is the content's hash."""
        try:
            content = self.read(path)
        except FileNotFoundError:
            return None
        return content, hashlib.sha256(content).hexdigest()

    def put_if(self, path: str, content: bytes, tag: str | None) -> str:
        """See `Storage.put_if`. Two processes of one machine are kept apart by the dataset's lock."""
        found = self.read_tagged(path)
        if (found[1] if found is not None else None) != tag:
            raise StorageConflictError(f"{path} has changed")
        self.put(path, content)
        return hashlib.sha256(content).hexdigest()

    def modified_s(self, path: str) -> float | None:
        """See `Storage.modified_s`."""
        try:
            return (self.folder / path).stat().st_mtime
        except FileNotFoundError:
            return None

    def delete(self, path: str) -> None:
        """See `Storage.delete`."""
        (self.folder / path).unlink(missing_ok=True)

    def sha256(self, path: str) -> str:
        """See `Storage.sha256`."""
        return layout.sha256_of(self.folder / path)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See `Storage.local`: the folder itself."""
        yield self.folder / path

    def icechunk(self) -> Any:
        """See `Storage.icechunk`."""
        import icechunk

        return icechunk.local_filesystem_storage(str(self.folder / layout.ZARR))

    def close(self) -> None:
        """See `Storage.close`; a file that another thread reads stays open until it is done."""
        self._open.clear()

    def open_file(self, path: str) -> OpenFile:
        """A file of the folder, open; the last `OPEN_FILES` are kept so. No lock: a fork could inherit it held.

        Raises:
            OSError: it cannot be opened.
        """
        file = self._open.get(path)
        if file is None:
            file = OpenFile(self.folder / path)
        with suppress(KeyError):  # another thread let go of it meanwhile
            self._open[path] = file
            self._open.move_to_end(path)
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)
        return file


@dataclass(frozen=True)
class StoreOptions:
    """How an object store is reached; credentials come from the environment or the machine's role, never from here."""

    endpoint_url: str = ""
    """Another server than the cloud's own, for example ``http://127.0.0.1:9000``."""
    region: str = ""
    """Region, where the store wants one."""
    anonymous: bool = False
    """Read without signing."""
    requester_pays: bool = False
    """Say that we pay for the requests."""
    azure_account: str = ""
    """Storage account, of a container in Azure."""


OBJECT_SCHEMES = ("s3", "gs", "az")
"""Object stores that a dataset may lie on."""


def open_storage(root: str | Path | Storage, options: StoreOptions | None = None) -> Storage:
    """The storage behind a dataset's address: a path (``~`` is the home), ``file://``, ``s3://``, ``gs://`` or ``az://``.

    Raises:
        DatasetError: no address, another scheme, one that lacks a slash, a file instead of a folder, or an address of
            which a part would be passed over, so that another dataset than the one that is meant would be opened.
    """
    if not isinstance(root, (str, os.PathLike)):
        return root
    text = os.fspath(root)
    if not text.strip():
        raise DatasetError("no dataset is named: its address is empty", mend="give its folder; . is this one")
    parts = urlsplit(text if "://" in text else "")
    scheme = parts.scheme
    if scheme in (*OBJECT_SCHEMES, "file") and (parts.query or parts.fragment or text[-1] in "?#"):
        raise DatasetError(
            "what follows ? or # is no part of a dataset's address",
            where=re.split("[?#]", text, maxsplit=1)[0],
            mend="leave it out; where the name itself has such a letter, write %3F or %23",
        )
    if scheme in OBJECT_SCHEMES:
        from shards.object_storage import ObjectStorage

        return ObjectStorage(text, options or StoreOptions())
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise DatasetError(
                f"{parts.netloc} is no folder of this machine", where=text, mend="file:///, three strokes"
            )
        return _folder(Path(unquote(parts.path)))
    if scheme:
        known = ", ".join(f"{name}://" for name in OBJECT_SCHEMES)
        raise DatasetError(f"{scheme}:// holds no dataset", where=text.split("?")[0], mend=f"a folder, or {known}")
    if (begin := text.split(":/")[0]) in OBJECT_SCHEMES and begin != text:
        raise DatasetError(f"{begin}:/ lacks a slash", where=text, mend=f"{begin}://...; a folder is ./{begin}:/...")
    return _folder(Path(os.path.expanduser(text)).absolute())


def _folder(path: Path) -> FolderStorage:
    for part in (path, *path.parents):
        if part.is_file():
            mend = f"give its folder, {part.parent}" if part.name == layout.POINTER else "give a folder"
            raise DatasetError("this is a file, not a dataset's folder", where=str(part), mend=mend)
        if part.exists():
            break
    return FolderStorage(path)
