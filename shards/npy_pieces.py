"""Pieces of an ``.npy`` that lies in a shard: where its numbers begin, which ranges hold the dates and bands wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import IntegrityError
from shards.npy import HEADER_LIMIT, header_of
from shards.tar_reader import Member

_PREFIX = 10
"""Bytes of magic, version and header length."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in a file, not yet read."""

    shape: tuple[int, ...]
    """As its header says."""
    dtype: np.dtype[Any]
    """Likewise."""
    start: int
    """First byte of its numbers in the file."""

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


@lru_cache(maxsize=1024)
def _parsed(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """`header_of` of exactly a header: samples of a dataset share a few."""
    return header_of(head)


def stored_array(member: Member, head: bytes, more: Callable[[int], bytes]) -> Stored:
    """The array of a member, from its first bytes; nothing is allocated, and its size is the member's.

    Args:
        member: where it lies.
        head: its first bytes, as many as were read with the tar header.
        more: so many first bytes, where ``head`` is too short.

    Raises:
        IntegrityError: no ``.npy`` of exactly this many bytes.
    """
    if len(head) < _PREFIX or member.size < _PREFIX:
        raise IntegrityError(f"{member.suffix}: no readable .npy header")
    length = _PREFIX + int.from_bytes(head[8:10], "little")
    if length > min(member.size, HEADER_LIMIT + 16):
        raise IntegrityError(f"{member.suffix}: .npy header of {length} bytes: refused")
    shape, dtype, start = _parsed(bytes(head[:length] if len(head) >= length else more(length)))
    found = Stored(shape, dtype, member.offset + start)
    if found.size != member.size - start:
        raise IntegrityError(
            f"{member.suffix}: .npy says {shape} {dtype}: {found.size} bytes, but {member.size - start} follow"
        )
    return found


def runs(
    dates: Sequence[int], bands: Sequence[int], shape: tuple[int, int], plane_bytes: int
) -> Iterator[tuple[int, int]]:
    """(first byte, how many) of the planes wanted of a (T, C, H, W) array, in the order wanted; neighbours are merged.

    Example:
        >>> list(runs([0, 1], [0, 1], (3, 2), 10)), list(runs([0, 2], [1], (3, 2), 10))
        ([(0, 40)], [(10, 10), (50, 10)])
    """
    start = length = 0
    for date in dates:
        for band in bands:
            at = (date * shape[1] + band) * plane_bytes
            if length and at == start + length:
                length += plane_bytes
                continue
            if length:
                yield start, length
            start, length = at, plane_bytes
    if length:
        yield start, length


def as_bytes(array: NDArray[Any]) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data
