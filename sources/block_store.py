"""What a worker process knows of the files it reads: headers and decoded blocks, each fetched once, within limits.

`BlockStore.header` gives a file's layout, `BlockStore.blocks` the pixels of some of its blocks as futures. Bytes are
fetched by many threads (they wait), decoded by a few (they compute). Neighbouring blocks are asked for in one range.
Blocks stay in memory until others need the room, so that a neighbouring tile and a second look at a date find them.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DecodeError, TransientSourceError
from schemas.scene import Opener
from sources.blocks import decode_blocks
from sources.fetch import Bytes, fetch_range, is_on_disk, stamp_on_disk
from sources.openers import unsigned
from sources.ranges import merged_ranges
from sources.raster_limits import check_mask_inside
from sources.tiff_header import BrokenHeader, TiffHeader, parse_header

HEADER_BYTES = 16 << 10
"""First read of a file: the directory and block lists of a COG of 10,980 pixels in blocks of 512 take 8 KiB."""
FETCHERS = 32
"""Requests in flight."""
BLOCKS_BYTES = 256 << 20
"""Decoded blocks kept."""
IN_USE_BYTES = 256 << 20
"""Decoded blocks that readers wait for or copy from, all together: more items at once would not be faster."""
HEADERS = 8192
"""Headers kept; each holds 16 bytes per block."""
SLAB_BYTES = 8 << 20
"""Pixels of blocks that are decoded together, share their memory and leave it together; one block may be larger. What
GDAL needs to open a file is shared by them, and from this size on NumPy asks the system for large pages."""

Key = tuple[str, str, int, tuple[int, ...]]
"""Address, stamp, number of the block, bands."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file whose header was read."""

    href: str
    """Unsigned address."""
    stamp: str
    """See `Bytes.stamp`."""
    header: TiffHeader
    """Its layout."""
    head: bytes
    """Its first bytes where they are the whole file, else empty."""


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Blocks of a file that are fetched as one range."""

    file: KnownFile
    numbers: tuple[int, ...]
    bands: tuple[int, ...]
    opener: Opener
    promised: dict[int, Future[NDArray[Any]]]

    def is_like(self, other: _Run) -> bool:
        """Whether both are of one file, and asked for in one way."""
        return self.file is other.file and self.bands == other.bands and self.opener is other.opener


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A block that was fetched and waits for a decoder."""

    file: KnownFile
    number: int
    data: memoryview
    promised: Future[NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class _Slab:
    """Blocks that were decoded together."""

    keys: tuple[Key, ...]
    nbytes: int


class Counters:
    """What was done: for benchmarks and the run's account."""

    def __init__(self) -> None:
        self.requests = self.bytes = self.headers = self.decoded = self.reused = 0


class BlockStore:
    """Shared by all readers of a process.

    Args:
        blocks_bytes: limit of decoded blocks kept.
        decoders: threads that decode.
        fetch: reads a range; `fetch_range` but in tests.
        fetchers: threads that fetch.
    """

    def __init__(
        self,
        blocks_bytes: int = BLOCKS_BYTES,
        decoders: int | None = None,
        fetch: Callable[[str, Opener, int, int], Bytes] = fetch_range,
        fetchers: int = FETCHERS,
    ) -> None:
        self.limit, self.fetch, self.counters = blocks_bytes, fetch, Counters()
        self._lock = threading.Lock()
        self._headers: OrderedDict[str, Future[KnownFile]] = OrderedDict()
        self._blocks: dict[Key, tuple[NDArray[Any], _Slab]] = {}
        self._slabs: OrderedDict[int, _Slab] = OrderedDict()
        self._held = self._in_use = 0
        self._freed = threading.Condition()
        self._soon: deque[_Run] = deque()
        self._later: deque[Callable[[], None]] = deque()
        self._fetchers = ThreadPoolExecutor(fetchers, thread_name_prefix="fetch")
        self._at_once = decoders or min(4, os.cpu_count() or 1)
        self._decoders = ThreadPoolExecutor(self._at_once, thread_name_prefix="decode")
        self._waiting: dict[tuple[Any, ...], deque[_Encoded]] = {}
        self._decoding = 0

    def header(self, href: str, opener: Opener) -> Future[KnownFile]:
        """The file's layout, read once however many ask at the same time; a failure is forgotten.

        The future raises SourceError, or `sources.tiff_header.NotBlocked` where GDAL must read the file.
        """
        with self._lock:
            known = self._headers.get(href)
            if known is not None and not _is_spent(known, href, opener):
                self._headers.move_to_end(href)
                return known
            found: Future[KnownFile] = Future()
            self._headers[href] = found
            while len(self._headers) > HEADERS:
                self._headers.popitem(last=False)
            self._later.append(lambda: _fulfil(found, lambda: self._read_header(href, opener)))
        self._fetchers.submit(self._fetch_next)
        return found

    def forget(self, href: str) -> None:
        """The file is not what it was: its header is read again."""
        with self._lock:
            self._headers.pop(href, None)

    def blocks(
        self, file: KnownFile, numbers: Iterable[int], bands: tuple[int, ...], opener: Opener
    ) -> dict[int, Future[NDArray[Any]]]:
        """Pixels of blocks, (bands, rows, columns) each, as futures; not to be written to.

        Args:
            file: what `header` gave.
            numbers: blocks, as `TiffHeader.block_of` numbers them.
            bands: 1-based, of those that a block holds: (1,) in a planar file.
            opener: signs the address.
        """
        found: dict[int, Future[NDArray[Any]]] = {}
        missing = []
        for number in dict.fromkeys(numbers):
            kept = self._kept((file.href, file.stamp, number, bands))
            if kept is not None:
                found[number] = _done(kept)
            elif file.header.counts[number] == 0:
                found[number] = _done(_hole(file.header, len(bands)))
            else:
                missing.append(number)
                found[number] = Future()
        for run in merged_ranges(missing, file.header.place_of):
            with self._lock:
                self._soon.append(_Run(file, tuple(run), bands, opener, {number: found[number] for number in run}))
            self._fetchers.submit(self._fetch_next)
        return found

    @contextmanager
    def room(self, nbytes: int) -> Iterator[None]:
        """Wait until blocks of so many bytes may be in use beside those of other readers; alone, any number may."""
        with self._freed:
            self._freed.wait_for(lambda: not self._in_use or self._in_use + nbytes <= IN_USE_BYTES)
            self._in_use += nbytes
        try:
            yield
        finally:
            with self._freed:
                self._in_use -= nbytes
                self._freed.notify_all()

    def _fetch_next(self) -> None:
        """Blocks before headers: what is begun is finished first, and decoders do not wait for files of later items."""
        with self._lock:
            run = self._with_neighbours(self._soon.popleft()) if self._soon else None
            work = self._later.popleft() if run is None and self._later else None
        if run is not None:
            self._fetch_run(run)
        elif work is not None:
            work()

    def _with_neighbours(self, run: _Run) -> _Run:
        """The run and those that wait beside it in the file: neighbouring tiles ask for them a moment later."""
        for other in [other for other in self._soon if other.is_like(run)]:
            joined = list(merged_ranges([*run.numbers, *other.numbers], run.file.header.place_of))
            if len(joined) == 1 and not run.promised.keys() & other.promised.keys():
                self._soon.remove(other)
                run = _Run(run.file, tuple(joined[0]), run.bands, run.opener, run.promised | other.promised)
        return run

    def _read_header(self, href: str, opener: Opener) -> KnownFile:
        self.counters.headers += 1
        check_mask_inside(opener.resolve(href), unsigned(href))
        first = self._counted(href, opener, 0, HEADER_BYTES)
        try:
            header = parse_header(first.data, lambda at, length: self._counted(href, opener, at, length).data)
        except BrokenHeader as error:
            raise DecodeError(f"not readable as a raster: {error}", unsigned(href)) from error
        size = first.stamp.split(" ")[0]
        whole = size.isdigit() and int(size) <= len(first.data)
        return KnownFile(href, first.stamp, header, first.data if whole else b"")

    def _counted(self, href: str, opener: Opener, offset: int, length: int) -> Bytes:
        answer = self.fetch(href, opener, offset, length)
        with self._lock:
            self.counters.requests += 1
            self.counters.bytes += len(answer.data)
        return answer

    def _fetch_run(self, run: _Run) -> None:
        """Fetch blocks that lie side by side, and hand them to the decoders."""
        file, promised = run.file, run.promised
        wanted = [number for number in run.numbers if promised[number].set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            encoded = self._encoded(file, wanted, run.opener)
        except BaseException as error:
            for number in wanted:
                promised[number].set_exception(error)
            return
        blocks = [_Encoded(file, number, data, promised[number]) for number, data in zip(wanted, encoded, strict=True)]
        with self._lock:
            for rows, alike in groupby(blocks, lambda block: file.header.rows_of(block.number)):
                self._waiting.setdefault((file.header.storage, rows, run.bands), deque()).extend(alike)
            further = min(self._at_once - self._decoding, len(wanted))
            self._decoding += further
        for _ in range(further):
            self._decoders.submit(self._decode_waiting)

    def _encoded(self, file: KnownFile, run: Sequence[int], opener: Opener) -> list[memoryview]:
        offsets, counts = file.header.offsets, file.header.counts
        start = int(offsets[run[0]])
        end = max(int(offsets[number]) + int(counts[number]) for number in run)
        if file.head:
            data = file.head[start:end]
        else:
            answer = self._counted(file.href, opener, start, end - start)
            if answer.stamp != file.stamp:
                self.forget(file.href)
                raise TransientSourceError("the file changed while it was read", unsigned(file.href))
            data = answer.data
        if len(data) < end - start:
            self.forget(file.href)
            raise DecodeError("not readable as a raster: the file ends within a block", unsigned(file.href))
        view = memoryview(data)
        return [view[int(offsets[n]) - start : int(offsets[n]) + int(counts[n]) - start] for n in run]

    def _decode_waiting(self) -> None:
        """Decode blocks until none waits: some of one kind together, of whatever files."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._decoding -= 1
                    return
                kind = next(iter(self._waiting))
                waiting = self._waiting.pop(kind)
                room = max(1, SLAB_BYTES // waiting[0].file.header.block_bytes(len(kind[-1])))
                taken = [waiting.popleft() for _ in range(min(room, -(-len(waiting) // self._at_once)))]
                if waiting:
                    self._waiting[kind] = waiting  # behind the others
            self._decode(taken, kind[-1])

    def _decode(self, taken: Sequence[_Encoded], bands: tuple[int, ...]) -> None:
        first, rows = taken[0].file, taken[0].file.header.rows_of(taken[0].number)
        try:
            decoded = decode_blocks(first.header, [block.data for block in taken], bands, unsigned(first.href), rows)
            self._keep([(block.file.href, block.file.stamp, block.number, bands) for block in taken], decoded)
        except BaseException as error:
            if len(taken) == 1:
                self.forget(first.href)  # whose header may have been changed on its way
                taken[0].promised.set_exception(error)
            else:
                for block in taken:  # alone each, to learn which
                    self._decode([block], bands)
            return
        for block, pixels in zip(taken, decoded, strict=True):
            block.promised.set_result(pixels)

    def _kept(self, key: Key) -> NDArray[Any] | None:
        with self._lock:
            found = self._blocks.get(key)
            if found is None:
                return None
            self._slabs.move_to_end(id(found[1]))
            self.counters.reused += 1
            return found[0]

    def _keep(self, keys: Sequence[Key], blocks: Sequence[NDArray[Any]]) -> None:
        slab = _Slab(tuple(keys), sum(pixels.nbytes for pixels in blocks))
        with self._lock:
            self.counters.decoded += len(keys)
            self._slabs[id(slab)] = slab
            self._blocks.update((key, (pixels, slab)) for key, pixels in zip(keys, blocks, strict=True))
            self._held += slab.nbytes
            while self._held > self.limit:
                _, dropped = self._slabs.popitem(last=False)
                self._held -= dropped.nbytes
                for key in dropped.keys:
                    if key in self._blocks and self._blocks[key][1] is dropped:  # else it was decoded again meanwhile
                        del self._blocks[key]


def gather(futures: Iterable[Future[Any]]) -> list[Any]:
    """Results of all; where one fails or the caller is interrupted, those not begun are not done."""
    waiting = list(futures)
    try:
        return [future.result() for future in waiting]
    except BaseException:
        for future in waiting:
            future.cancel()
        raise


@lru_cache(maxsize=1)
def shared_store() -> BlockStore:
    """The store of this process."""
    return BlockStore()


def _is_spent(known: Future[KnownFile], href: str, opener: Opener) -> bool:
    """Whether a header must be read again: it failed, or its file on disk is another by now."""
    if not known.done():
        return False
    if known.cancelled() or known.exception() is not None:
        return True
    path = opener.resolve(href)
    return is_on_disk(path) and stamp_on_disk(path) != known.result().stamp


def _fulfil(promised: Future[KnownFile], work: Callable[[], KnownFile]) -> None:
    if not promised.set_running_or_notify_cancel():
        return
    try:
        promised.set_result(work())
    except BaseException as error:
        promised.set_exception(error)


def _done(pixels: NDArray[Any]) -> Future[NDArray[Any]]:
    future: Future[NDArray[Any]] = Future()
    future.set_result(pixels)
    return future


def _hole(header: TiffHeader, bands: int) -> NDArray[Any]:
    """A block that is not stored: no data, or zeros, as GDAL reads it."""
    value = 0.0 if header.nodata is None else header.nodata
    return np.full((bands, *header.block_yx), value, header.dtype)
