"""The bytes of one sample where they lie: in a file, read piece by piece into the caller's memory, or in memory."""

from __future__ import annotations

import os
from typing import Protocol

from schemas.errors import IntegrityError
from shards.storage import OpenFile


class SegmentSource(Protocol):
    """Bytes of a shard around one sample."""

    def head(self, start: int, length: int) -> bytes:
        """At most ``length`` bytes from a byte of the shard."""
        ...

    def into(self, start: int, target: memoryview) -> None:
        """Fill ``target`` from a byte of the shard.

        Raises:
            IntegrityError: there are fewer.
        """
        ...


class FileSegment:
    """Pieces of an open file: what is not asked for is not read.

    Args:
        file: the shard.
    """

    def __init__(self, file: OpenFile) -> None:
        self.file = file

    def head(self, start: int, length: int) -> bytes:
        """See `SegmentSource.head`."""
        return os.pread(self.file.descriptor, length, start)

    def into(self, start: int, target: memoryview) -> None:
        """See `SegmentSource.into`; the kernel writes into ``target`` itself."""
        done = 0
        while done < len(target):
            got = os.preadv(self.file.descriptor, [target[done:]], start + done)
            if not got:
                raise IntegrityError(f"the shard ends at byte {start + done}, within a member")
            done += got


class MemorySegment:
    """A whole sample that came by one request.

    Args:
        content: its bytes.
        offset: where they begin in the shard.
    """

    def __init__(self, content: bytes, offset: int) -> None:
        self.content, self.offset = memoryview(content), offset

    def head(self, start: int, length: int) -> bytes:
        """See `SegmentSource.head`."""
        begin = start - self.offset
        return bytes(self.content[begin : begin + length])

    def into(self, start: int, target: memoryview) -> None:
        """See `SegmentSource.into`."""
        begin = start - self.offset
        piece = self.content[begin : begin + len(target)]
        if begin < 0 or len(piece) != len(target):
            raise IntegrityError("the shard ends within a member")
        target[:] = piece
