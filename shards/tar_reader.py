"""Reading shards without trust: plain files with names of the format, each once, of sizes that are there.

Links, devices, folders, absolute or climbing paths, long-name tricks and sizes beyond the file are refused before
a byte of content is used.
"""

from __future__ import annotations

import os
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from schemas.errors import DatasetError, IntegrityError
from shards.samples import CHIP_ID, SUFFIX
from shards.tar import BLOCK

OPEN_FILES = 32
"""Shards held open at once by one reader."""
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a shard."""

    chip_id: str
    """Key."""
    suffix: str
    """``s2_10m.npy``."""
    offset: int
    """First byte of the content."""
    size: int
    """Bytes of the content."""

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.offset + self.size + -self.size % BLOCK


def parse_header(block: bytes, offset: int, limit: int) -> Member:
    """The member that a 512-byte header at ``offset`` announces.

    Args:
        block: the header.
        offset: where it stands.
        limit: end of the bytes that the member must lie in.

    Raises:
        IntegrityError: not a member that a shard may hold.
    """
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
        raise IntegrityError(f"no tar header at byte {offset}: {error}") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.linkname:
        raise IntegrityError(f"{info.name!r} at byte {offset} is no plain file (type {info.type!r}): refused")
    key, _, suffix = info.name.partition(".")
    if not CHIP_ID.fullmatch(key) or not SUFFIX.fullmatch(suffix):
        raise IntegrityError(f"{info.name!r} at byte {offset} is no name that a shard may hold: refused")
    member = Member(key, suffix, offset + BLOCK, info.size)
    if info.size < 0 or member.end > limit:
        raise IntegrityError(f"{info.name!r} says {info.size} bytes, more than there are: refused")
    return member


def scan(descriptor: int, start: int, stop: int) -> Iterator[Member]:
    """Members between two bytes of an open file, headers only.

    Raises:
        IntegrityError: a member that a shard may not hold, or the same twice in a row of one key.
    """
    position = start
    seen: set[tuple[str, str]] = set()
    while position < stop:
        block = os.pread(descriptor, BLOCK, position)
        if len(block) != BLOCK:
            raise IntegrityError(f"the file ends within a header at byte {position}")
        if block == _ZEROS:
            return
        member = parse_header(block, position, stop)
        if (member.chip_id, member.suffix) in seen:
            raise IntegrityError(f"{member.chip_id}.{member.suffix} stands twice in a shard: refused")
        seen.add((member.chip_id, member.suffix))
        yield member
        position = member.end


class ShardFiles:
    """Open shards of one dataset, a few at a time. Pickles without its file handles."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "_open": OrderedDict()}

    def __enter__(self) -> ShardFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; a later read opens again."""
        while self._open:
            os.close(self._open.popitem()[1][0])

    def descriptor(self, path: str) -> tuple[int, int]:
        """(file descriptor, size) of a shard.

        Raises:
            IntegrityError: it is not there.
        """
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            descriptor = os.open(self.root / path, os.O_RDONLY)
        except OSError as error:
            raise IntegrityError(f"{path}: {error.strerror}") from error
        self._open[path] = (descriptor, os.fstat(descriptor).st_size)
        while len(self._open) > OPEN_FILES:
            os.close(self._open.popitem(last=False)[1][0])
        return self._open[path]

    def members(self, path: str, offset: int, length: int, chip_id: str) -> list[Member]:
        """Members of one sample, by their headers.

        Raises:
            IntegrityError: the bytes are not this sample.
        """
        descriptor, size = self.descriptor(path)
        if offset < 0 or length <= 0 or offset + length > size:
            raise IntegrityError(f"{path}: bytes {offset}..{offset + length} of {chip_id} lie outside of {size}")
        found = list(scan(descriptor, offset, offset + length))
        if not found or found[-1].end != offset + length or any(m.chip_id != chip_id for m in found):
            raise IntegrityError(f"{path}: bytes {offset}..{offset + length} are not the sample {chip_id}")
        return found

    def read(
        self, path: str, offset: int, length: int, chip_id: str, wanted: Callable[[str], bool] | None = None
    ) -> dict[str, memoryview]:
        """Suffix -> bytes of one sample; members that are not ``wanted`` are not read.

        Raises:
            IntegrityError: the bytes are not this sample.
        """
        if wanted is None:
            return self._read_whole(path, offset, length, chip_id)
        descriptor, _ = self.descriptor(path)
        return {
            member.suffix: memoryview(os.pread(descriptor, member.size, member.offset))
            for member in self.members(path, offset, length, chip_id)
            if wanted(member.suffix)
        }

    def segment(self, path: str, offset: int, length: int) -> bytes:
        """The bytes of one sample as they are.

        Raises:
            IntegrityError: the file is shorter.
        """
        descriptor, _ = self.descriptor(path)
        content = os.pread(descriptor, length, offset)
        if len(content) != length:
            raise IntegrityError(f"{path}: ends before byte {offset + length}")
        return content

    def _read_whole(self, path: str, offset: int, length: int, chip_id: str) -> dict[str, memoryview]:
        return {member.suffix: content for member, content in members_in(self.segment(path, offset, length), chip_id)}


def members_in(content: bytes, chip_id: str) -> Iterator[tuple[Member, memoryview]]:
    """(member, bytes) of one sample's segment; nothing is copied.

    Raises:
        IntegrityError: the bytes are not this sample.
    """
    view, position = memoryview(content), 0
    seen: set[str] = set()
    while position < len(content):
        member = parse_header(content[position : position + BLOCK], position, len(content))
        if member.chip_id != chip_id or member.suffix in seen:
            raise IntegrityError(f"{member.chip_id}.{member.suffix} has no place, or a second one, in {chip_id}")
        seen.add(member.suffix)
        yield member, view[member.offset : member.offset + member.size]
        position = member.end
    if not seen:
        raise DatasetError(f"{chip_id} has no member")
