"""Reading shards without trust: plain files with names of the format, each once, of sizes that are there.

Links, devices, folders, absolute or climbing paths, long-name tricks and sizes beyond the file are refused before
a byte of content is used.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from schemas.errors import DatasetError, IntegrityError
from schemas.sample import CHIP_ID
from shards.samples import SUFFIX
from shards.storage import CHUNK_BYTES, FolderStorage, Storage
from shards.tar import BLOCK, header_of

_ZEROS = bytes(BLOCK)
_NAME, _MODE, _SIZE, _SUM, _REST = slice(0, 100), slice(100, 124), slice(124, 136), slice(148, 156), slice(156, 512)
_TIME = slice(136, 148)
_OURS = header_of("", 0)
_OURS_SUM = sum(_OURS) - sum(_OURS[_SIZE]) - sum(_OURS[_SUM]) + 8 * ord(" ")
"""Checksum of a header as we write it, less what name and size add; the field itself counts as spaces."""


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
    quick = _as_written(block)
    if quick is not None:
        return _member(*quick, offset, limit)
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
        raise IntegrityError(f"no tar header at byte {offset}: {error}") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.linkname:
        raise IntegrityError(f"{info.name!r} at byte {offset} is no plain file (type {info.type!r}): refused")
    return _member(info.name, info.size, offset, limit)


def _as_written(block: bytes) -> tuple[str, int] | None:
    """Name and size in a header that is, to the byte, one that we write; None of any other."""
    if block[_MODE] != _OURS[_MODE] or block[_TIME] != _OURS[_TIME] or block[_REST] != _OURS[_REST]:
        return None
    name, _, padding = block[_NAME].partition(b"\0")
    digits, checksum = block[_SIZE], block[_SUM]
    if padding.strip(b"\0") or not name.isascii() or not digits[:11].isdigit() or not checksum[:6].isdigit():
        return None
    try:
        size, told = int(digits[:11], 8), int(checksum[:6], 8)
    except ValueError:  # digits 8 and 9
        return None
    if digits[11] or checksum[6:] != b"\0 " or told != _OURS_SUM + sum(name) + sum(digits):
        return None
    return name.decode("ascii"), size


def _member(name: str, size: int, offset: int, limit: int) -> Member:
    key, _, suffix = name.partition(".")
    if not CHIP_ID.fullmatch(key) or not SUFFIX.fullmatch(suffix):
        raise IntegrityError(f"{name!r} at byte {offset} is no name that a shard may hold: refused")
    member = Member(key, suffix, offset + BLOCK, size)
    if size < 0 or member.end > limit:
        raise IntegrityError(f"{name!r} says {size} bytes, more than there are: refused")
    return member


def scan(read: Callable[[int, int], bytes], start: int, stop: int) -> Iterator[Member]:
    """Members between two bytes of a file, headers only.

    Args:
        read: (first byte, how many) -> bytes.
        start: first byte of the first header.
        stop: end of the last member.

    Raises:
        IntegrityError: a member that a shard may not hold, or the same twice in a row of one key.
    """
    position = start
    seen: set[tuple[str, str]] = set()
    while position < stop:
        block = read(position, BLOCK)
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
    """Shards of one dataset, read in parts. Pickles without its file handles.

    In a folder a sample's headers are read one by one, so that what is not wanted is not read. From an object store a
    sample is one request, whatever is wanted of it.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.by_header = isinstance(storage, FolderStorage)
        self._sizes: dict[str, int] = {}

    def __enter__(self) -> ShardFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; a later read opens again."""
        self.storage.close()

    def size(self, path: str) -> int:
        """Bytes of a shard.

        Raises:
            IntegrityError: it is not there.
        """
        if path not in self._sizes:
            found = self.storage.size(path)
            if found is None:
                raise IntegrityError(f"{path}: there is no such file")
            self._sizes[path] = found
        return self._sizes[path]

    def at(self, path: str) -> Callable[[int, int], bytes]:
        """(first byte, how many) -> bytes of a shard."""

        def read(start: int, length: int) -> bytes:
            try:
                return self.storage.read_range(path, start, length)
            except OSError as error:
                raise IntegrityError(f"{path}: {error.strerror or error}") from error

        return read

    def ahead(self, path: str) -> Callable[[int, int], bytes]:
        """As `at`, for who goes through a shard from front to back: many members come by one request of a store."""
        read = self.at(path)
        if self.by_header:
            return read
        start, held = 0, b""

        def read_ahead(first: int, length: int) -> bytes:
            nonlocal start, held
            if not start <= first <= first + length <= start + len(held):
                start, held = first, read(first, min(max(length, CHUNK_BYTES), self.size(path) - first))
            return held[first - start : first - start + length]

        return read_ahead

    def members(self, path: str, offset: int, length: int, chip_id: str) -> list[Member]:
        """Members of one sample, by their headers.

        Raises:
            IntegrityError: the bytes are not this sample.
        """
        size = self.size(path)
        if offset < 0 or length <= 0 or offset + length > size:
            raise IntegrityError(f"{path}: bytes {offset}..{offset + length} of {chip_id} lie outside of {size}")
        found = list(scan(self.at(path), offset, offset + length))
        if not found or found[-1].end != offset + length or any(m.chip_id != chip_id for m in found):
            raise IntegrityError(f"{path}: bytes {offset}..{offset + length} are not the sample {chip_id}")
        return found

    def read(
        self, path: str, offset: int, length: int, chip_id: str, wanted: Callable[[str], bool] | None = None
    ) -> dict[str, memoryview]:
        """Suffix -> bytes of one sample; members that are not ``wanted`` are left out.

        Raises:
            IntegrityError: the bytes are not this sample.
        """
        if wanted is None or not self.by_header:
            found = members_in(self.segment(path, offset, length), chip_id)
            return {member.suffix: content for member, content in found if wanted is None or wanted(member.suffix)}
        read = self.at(path)
        return {
            member.suffix: memoryview(read(member.offset, member.size))
            for member in self.members(path, offset, length, chip_id)
            if wanted(member.suffix)
        }

    def segment(self, path: str, offset: int, length: int) -> bytes:
        """The bytes of one sample as they are.

        Raises:
            IntegrityError: the file is shorter.
        """
        content = self.at(path)(offset, length)
        if len(content) != length:
            raise IntegrityError(f"{path}: ends before byte {offset + length}")
        return content


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
