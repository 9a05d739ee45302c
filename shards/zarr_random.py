"""Chips of a version's Zarr by number, many at once: the bytes of each chip's chunk, decoded by threads into its slot.

Zarr's own indexing takes a shard apart for every selection, and one chip after the other. Here a shard's index is
read once, a chip is one range, and decompression, which frees the interpreter, runs on several cores. Masks compress
to next to nothing: a shard of them is read whole, with its first chip. Arrays that are stored in another way than
`shards.zarr_groups` writes them are read through Zarr.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import google_crc32c
import icechunk
import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.codecs import BloscCodec, BytesCodec, ShardingCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from schemas.errors import DatasetError, IntegrityError
from shards.zarr_store import blosc_threads, first_line

T = TypeVar("T")

Encoded = memoryview
"""Bytes of a chunk, as the store gave them."""

SMALL_SHARD_BYTES = 64 << 10
"""A shard whose chunks take no more is read whole."""

HELD_BYTES = 16 << 20
"""Chunks of small shards that an array keeps."""

_ABSENT = np.iinfo(np.uint64).max
_BLOSC_HEADER = struct.Struct("<4xIII")
"""Bytes decoded, block size, bytes encoded."""


class ZarrChips:
    """Random access to the chips of one Zarr group. Threads may not share it.

    Args:
        store: a read-only Zarr store.
        group: name of the group.
        threads: that decode.
        require_version: raises where the version was removed; asked before a chunk that is gone is called damage.

    Raises:
        DatasetError: there is no such group.
    """

    def __init__(
        self, store: Any, group: str, threads: int = 2, require_version: Callable[[], None] = lambda: None
    ) -> None:
        self._group, self._require_version = group, require_version
        try:
            opened = zarr.open_group(store, path=group, mode="r")
        except (KeyError, FileNotFoundError) as error:
            raise DatasetError(f"no Zarr group {group!r}") from error
        self._arrays = {
            name: _ChipArray(store, f"{group}/{name}", array)
            for name in ("data", "valid", "count")
            if isinstance(array := opened.get(name), zarr.Array)
        }
        self._pool = ThreadPoolExecutor(threads, "terraweft-zarr")

    def read(self, numbers: Sequence[int] | NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
        """Chips by ``zarr_index``: ``data`` (N, T, C, H, W) and ``valid`` (N, T, H, W) as stored, labels (N, H, W).

        Raises:
            DatasetError: a number that no chip has; or the version was removed since it was opened.
            IntegrityError: chunks that are gone, or not what the metadata says.
        """
        try:
            return self._read([int(number) for number in numbers])
        except icechunk.IcechunkError as error:
            self._require_version()
            raise IntegrityError(f"zarr {self._group} cannot be read: {first_line(error)}") from error

    def _read(self, wanted: list[int]) -> dict[str, NDArray[Any]]:
        batches = {name: array.empty(wanted) for name, array in self._arrays.items()}
        ours = [(array, batches[name]) for name, array in self._arrays.items() if array.per_shard]
        if len(wanted) == 1:
            for (array, batch), content in zip(ours, sync(_together([a.one(*wanted) for a, _ in ours])), strict=True):
                with blosc_threads(None):
                    array.decode(content, batch[0])
        elif ours:
            sync(_together([array.fill(wanted, batch, self._pool) for array, batch in ours]))
        for name, array in self._arrays.items():
            if not array.per_shard:
                array.read_by_library(wanted, batches[name])
        return batches

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()


class _ChipArray:
    """One array (chip, ...) of a group."""

    def __init__(self, store: Any, path: str, array: zarr.Array[Any]) -> None:
        self._store, self._path, self._array = store, path, array
        self._indexes: dict[int, NDArray[np.uint64]] = {}
        self._held: dict[int, tuple[int, Encoded]] = {}
        self._held_bytes = 0
        self._fill = array.fill_value
        self.per_shard = array.shards[0] if array.shards is not None and _is_ours(array) else 0

    def empty(self, numbers: list[int]) -> NDArray[Any]:
        """Room for chips (N, ...).

        Raises:
            DatasetError: a number that no chip has.
        """
        count = self._array.shape[0]
        odd = [number for number in numbers if not 0 <= number < count]
        if odd:
            raise DatasetError(f"no chip {odd[0]} in {self._path}", mend=f"0 to {count - 1}")
        return np.empty((len(numbers), *self._array.shape[1:]), self._array.dtype)

    def read_by_library(self, numbers: list[int], batch: NDArray[Any]) -> None:
        """Chips of an array that is stored in another way."""
        for slot, number in zip(batch, numbers, strict=True):
            slot[...] = np.asarray(self._array[number])

    async def one(self, number: int) -> Encoded | None:
        """The encoded chunk of a chip; None where it was never written."""
        await self._know([number])
        return await self._chunk(number)

    async def fill(self, numbers: list[int], batch: NDArray[Any], pool: ThreadPoolExecutor) -> None:
        """Chips into their slots: what has come is decoded while the rest is on its way."""
        await self._know(numbers)
        loop = asyncio.get_running_loop()

        async def into(number: int, slot: NDArray[Any]) -> None:
            await loop.run_in_executor(pool, self.decode, await self._chunk(number), slot)

        await _together([into(number, slot) for number, slot in zip(numbers, batch, strict=True)])

    async def _know(self, numbers: Sequence[int]) -> None:
        """Read the indexes of the chips' shards, and small shards whole while there is room for them."""
        shards = sorted({number // self.per_shard for number in numbers})
        missing = [shard for shard in shards if shard not in self._indexes]
        self._indexes |= dict(zip(missing, await _together([self._index(shard) for shard in missing]), strict=True))
        await _together([self._hold(shard) for shard in missing])

    async def _hold(self, shard: int) -> None:
        """Read the chunks of a small shard together."""
        there = [(offset, offset + length) for offset, length in self._indexes[shard].tolist() if offset != _ABSENT]
        if not there:
            return
        start, end = min(first for first, _ in there), max(last for _, last in there)
        if end - start > min(SMALL_SHARD_BYTES, HELD_BYTES - self._held_bytes):
            return
        self._held_bytes += end - start
        content = await self._get(shard, RangeByteRequest(start, end))
        if content is None or len(content) != end - start:
            raise IntegrityError(f"{self._path}: shard {shard} ends early")
        self._held[shard] = start, content

    async def _get(self, shard: int, part: Any) -> Encoded | None:
        key = f"{self._path}/c/{'/'.join([str(shard), *('0' for _ in self._array.shape[1:])])}"
        content = await self._store.get(key, default_buffer_prototype(), part)
        return None if content is None else memoryview(content.as_numpy_array())

    async def _index(self, shard: int) -> NDArray[np.uint64]:
        """(chips of the shard, 2) offset and length of each chunk."""
        size = 16 * self.per_shard
        content = await self._get(shard, SuffixByteRequest(size + 4))
        if content is None:
            return np.full((self.per_shard, 2), _ABSENT, np.uint64)
        if len(content) != size + 4 or google_crc32c.value(bytes(content[:size])) != int.from_bytes(
            content[size:], "little"
        ):
            raise IntegrityError(f"{self._path}: the index of shard {shard} is damaged")
        return np.frombuffer(content[:size], "<u8").reshape(-1, 2)

    async def _chunk(self, number: int) -> Encoded | None:
        shard = number // self.per_shard
        offset, length = (int(value) for value in self._indexes[shard][number % self.per_shard])
        if offset == _ABSENT:
            return None
        if shard in self._held:
            start, whole = self._held[shard]
            content: Encoded | None = whole[offset - start : offset - start + length]
        else:
            content = await self._get(shard, RangeByteRequest(offset, offset + length))
        if content is None or len(content) != length:
            raise IntegrityError(f"{self._path}: chip {number} ends early")
        return content

    def decode(self, content: Encoded | None, slot: NDArray[Any]) -> None:
        """Decompress a chunk into its slot.

        Raises:
            IntegrityError: it is not what the metadata says.
        """
        if content is None:
            slot[...] = self._fill
            return
        decoded, _, encoded = _BLOSC_HEADER.unpack_from(content) if len(content) >= 16 else (0, 0, 0)
        if decoded != slot.nbytes or encoded != len(content):
            raise IntegrityError(f"{self._path}: a chunk of {decoded} bytes, wanted {slot.nbytes}")
        try:
            Blosc().decode(content, slot)
        except RuntimeError as error:
            raise IntegrityError(f"{self._path}: a chunk that cannot be decompressed") from error


async def _together(parts: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    return list(await asyncio.gather(*parts))


def _is_ours(array: zarr.Array[Any]) -> bool:
    """Whether an array is stored as `shards.zarr_groups` does: a chip per chunk, Blosc in shards, index at the end."""
    codecs: Sequence[Any] = getattr(array.metadata, "codecs", ())
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec):
        return False
    sharding = codecs[0]
    inner = sharding.codecs
    return (
        sharding.chunk_shape == (1, *array.shape[1:])
        and sharding.index_location.value == "end"
        and len(inner) == 2
        and isinstance(inner[0], BytesCodec)
        and (inner[0].endian is None or inner[0].endian.value == "little")
        and isinstance(inner[1], BloscCodec)
        and array.shards == (array.shards[0] if array.shards else 0, *array.shape[1:])
    )
