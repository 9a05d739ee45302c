"""One build at a time per dataset: a locked file in a folder's ``work/`` that names its owner, or a `shards.lease`
in an object store.

The kernel frees the lock when its holder dies, so a stale file stops nobody.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from schemas.errors import DatasetError
from shards.layout import WORK
from shards.lease import Lease
from shards.storage import FolderStorage, Storage

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def hold_folder(folder: Path) -> int | None:
    """A descriptor that holds the lock of a folder itself until it is closed; None where its file system has no locks.

    Raises:
        BlockingIOError: somebody holds it.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        if isinstance(error, BlockingIOError):
            raise
        return None  # of some network file systems
    return held


class Held(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Make sure that it still is.

        Raises:
            DatasetError: it was lost.
        """
        ...


def dataset_lock(storage: Storage, owner: str) -> AbstractContextManager[Held]:
    """What a build or publish holds while it writes into a dataset, as a context manager.

    Raises (on entering):
        DatasetError: another one holds it; names its owner.
    """
    if isinstance(storage, FolderStorage):
        return DatasetLock(storage.folder, owner)
    return Lease(storage, owner)


class DatasetLock:
    """Held while a build or publish writes into a dataset: ``with DatasetLock(root, "build"): ...``.

    Args:
        root: the dataset's folder; made where it is missing.
        owner: what holds it, for the message that another one gets.
    """

    def __init__(self, root: Path, owner: str) -> None:
        self.path = root / WORK / "lock.json"
        self.owner = owner
        self._file: IO[str] | None = None

    def __enter__(self) -> DatasetLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, at once or not at all.

        Raises:
            DatasetError: another process holds it; names its owner. The filesystem has no locks.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # Lustre without -o flock: ENOSYS
                file.close()
                raise DatasetError(
                    f"this filesystem gives no lock: {error.strerror}",
                    where=str(self.path),
                    mend="mount it with locks (Lustre: -o flock), or take another folder, or an s3:// address",
                ) from error
            holder = _holder(file)
            file.close()
            raise DatasetError(
                f"another build holds this dataset: {holder}",
                where=str(self.path),
                mend="wait for it, or end it",
            ) from error
        file.seek(0)
        file.truncate()
        boot = BOOT_ID.read_text().strip() if BOOT_ID.is_file() else ""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {
            "owner": self.owner,
            "pid": os.getpid(),
            "host": platform.node(),
            "boot_id": boot,
            "started": started,
        }
        file.write(json.dumps(entry))
        file.flush()
        self._file = file

    def check(self) -> None:
        """Nothing to ask: the kernel takes it from nobody who lives."""

    def release(self) -> None:
        """Give the lock back. The file stays, empty."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.close()
            self._file = None


def _holder(file: IO[str]) -> str:
    """The owner of a lock in words."""
    file.seek(0)
    try:
        entry = json.loads(file.read())
        return f"{entry['owner']}, process {entry['pid']} on {entry['host']}, since {entry['started']}"
    except (ValueError, KeyError, TypeError):
        return "an owner who has not yet said its name"
