"""Hashes of what is being written, taken in threads of their own: hashlib lets go of the interpreter meanwhile.

A shard has two hashes over the same bytes, that of each sample and that of the file, and neither follows from the
other. Each has its own thread, so that both are taken while the bytes are written, in one pass over memory.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

Parts = Sequence[bytes | memoryview]

HELD = 3
"""Batches of samples whose hashes may be behind the writing: what is held in memory."""
BATCH_BYTES = 4 << 20
"""Samples go to the threads in batches of so many bytes: the more often three threads wait for
each other, the longer two cores lie idle."""
WRITEBACK_BYTES = 4 << 20
"""Written so much, the kernel is asked to begin bringing it to the disk: the fsync at the end finds little left."""
SYNC_FILE_RANGE_WRITE = 2
"""Of Linux' ``sync_file_range``: begin, and do not wait."""
IOV_MAX = 512
"""Pieces handed to the kernel at once; POSIX allows 16, Linux 1,024."""


class Digests:
    """sha256 of every sample and of the whole file, in step with the writing.

    Use it as a context manager; ``add`` samples in the order of the file, then ``end``, then ask.
    """

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._threads = [ThreadPoolExecutor(1, thread_name_prefix=f"sha256-{what}") for what in ("sample", "file")]
        self._batch: list[tuple[str, Parts]] = []
        self._batch_bytes = 0
        self._samples: list[Future[dict[str, str]]] = []
        self._behind: deque[tuple[Future[dict[str, str]], Future[None]]] = deque()

    def __enter__(self) -> Digests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for thread in self._threads:
            thread.shutdown(cancel_futures=kind is not None)

    def add(self, chip_id: str, parts: Parts) -> None:
        """Take in a sample's bytes, which must not change any more; waits where the hashes are too far behind."""
        self._batch.append((chip_id, parts))
        self._batch_bytes += sum(len(part) for part in parts)
        if self._batch_bytes >= BATCH_BYTES:
            self._hand_over()

    def end(self, zeros: bytes) -> None:
        """Take in what follows the last sample."""
        self._hand_over()
        self._threads[1].submit(self._whole.update, zeros)

    def of_samples(self) -> dict[str, str]:
        """Chip id -> sha256 of its bytes, in hex."""
        self._hand_over()
        return {chip_id: sha256 for future in self._samples for chip_id, sha256 in future.result().items()}

    def _hand_over(self) -> None:
        while len(self._behind) >= HELD:
            for one in self._behind.popleft():
                one.result()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._samples.append(self._threads[0].submit(_each, batch))
        self._behind.append((self._samples[-1], self._threads[1].submit(self._take, batch)))

    def whole(self) -> str:
        """sha256 of all bytes, in hex; when the context has ended."""
        return self._whole.hexdigest()

    def _take(self, batch: Sequence[tuple[str, Parts]]) -> None:
        for _, parts in batch:
            for part in parts:
                self._whole.update(part)


def _each(batch: Sequence[tuple[str, Parts]]) -> dict[str, str]:
    found = {}
    for chip_id, parts in batch:
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        found[chip_id] = digest.hexdigest()
    return found


def write_all(file: int, parts: Parts) -> int:
    """Write pieces to a descriptor, all of them; how many bytes.

    Raises:
        OSError: the disk is full.
    """
    waiting = deque(view for view in (memoryview(part).cast("B") for part in parts) if view.nbytes)
    total = sum(view.nbytes for view in waiting)
    while waiting:
        written = os.writev(file, [waiting[i] for i in range(min(IOV_MAX, len(waiting)))])
        while written:
            if written >= waiting[0].nbytes:
                written -= waiting.popleft().nbytes
            else:
                waiting[0] = waiting[0][written:]
                written = 0
    return total


class EarlyWriteback:
    """Asks the kernel to begin writing a file to the disk while it still grows; nothing where it cannot (not Linux).

    Args:
        file: its descriptor.
    """

    def __init__(self, file: int) -> None:
        self._file, self._begun = file, 0
        self._ask = getattr(ctypes.CDLL(None), "sync_file_range", None)
        if self._ask is not None:
            self._ask.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

    def reached(self, position: int) -> None:
        """The file holds so many bytes now."""
        if self._ask is not None and position - self._begun >= WRITEBACK_BYTES:
            self._ask(self._file, self._begun, position - self._begun, SYNC_FILE_RANGE_WRITE)
            self._begun = position
