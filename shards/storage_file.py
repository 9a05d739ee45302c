"""A stored file as Python and Arrow read files: positions, and only the bytes that are asked for."""

from __future__ import annotations

import io
from typing import Any

from shards.storage import Storage


class StorageFile(io.RawIOBase):
    """A file of a dataset's root, read in ranges.

    Args:
        storage: the root.
        path: relative to it.
        size: bytes of the file, where known: saves asking.

    Raises:
        FileNotFoundError: there is none.
    """

    def __init__(self, storage: Storage, path: str, size: int | None = None) -> None:
        found = storage.size(path) if size is None else size
        if found is None:
            raise FileNotFoundError(f"{storage.uri}/{path}")
        self._storage, self._path, self._size, self._position = storage, path, found, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; how many bytes there were."""
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._position)
        if length <= 0:
            return 0
        content = self._storage.read_range(self._path, self._position, length)
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
