"""WebDataset shards, written so that the same samples give the same bytes.

USTAR headers with fixed time, owner and mode; samples ordered by chip id whatever order they arrive in; the file's name
is its own sha256. A sample's bytes (`segment`) do not depend on where they stand in the file, so a range read finds it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from schemas.dataset import ShardRecord
from schemas.errors import IntegrityError
from schemas.sample import Sample
from shards.hashing import Digests, EarlyWriteback, write_all
from shards.layout import sha256_of, shard_path
from shards.samples import label_arrays, sample_members
from shards.storage import Storage

log = logging.getLogger(__name__)

BLOCK = 512
"""Everything in a tar is padded to this many bytes."""
NAME_BYTES = 100
"""Longest name in one field of a USTAR header."""
RECORD = 20 * BLOCK
"""A tar file ends in zeros up to a whole record, as tar itself writes it."""
_COPY_BYTES = 8 << 20
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Segment:
    """Where one sample lies in its shard."""

    offset: int
    """First byte of its first header."""
    length: int
    """Bytes of all its members, headers and padding included."""
    sha256: str
    """Of exactly these bytes: the chip's ``sample_sha256``."""


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample that lies in a shard already: taken over byte by byte, never decoded."""

    chip_id: str
    """Key."""
    split: str
    """train, val or test."""
    shard: str
    """Path of its shard."""
    segment: Segment
    """Its bytes there."""


@dataclass(frozen=True, slots=True)
class WrittenShard:
    """A finished shard and where its samples lie."""

    record: ShardRecord
    """What the manifest says of it."""
    index: dict[str, Segment]
    """Chip id -> its bytes, in the order of the file."""
    written: bool = True
    """False where the identical file was there already."""
    labels: Mapping[str, tuple[str, tuple[int, int]]] = field(default_factory=dict)
    """Label group -> type and largest shape, of samples that were encoded; taken-over ones are not looked into."""


def header_of(name: str, size: int) -> bytes:
    """The 512 bytes before a member.

    Raises:
        ValueError: a name or size that USTAR cannot hold.
    """
    if len(name) > NAME_BYTES or size >= 8**11 or not name.isascii() or not name.isprintable() or name.endswith("/"):
        return _tarfile_header(name, size)
    blank, written, length = _blank_header(), name.encode("ascii"), b"%011o" % size
    checksum = b"%06o" % (blank.checksum + sum(written) + sum(length))
    return b"".join((written, blank.to_size[len(name) :], length, blank.to_checksum, checksum, blank.rest))


@dataclass(frozen=True, slots=True)
class _Blank:
    """A header as tarfile writes it, less name, size and checksum."""

    to_size: bytes
    to_checksum: bytes
    rest: bytes
    checksum: int
    """Sum of its bytes without name and size, the checksum itself counted as blanks."""


@cache
def _blank_header() -> _Blank:
    made = _tarfile_header("", 0)
    blank = made[:124] + made[135:148] + b" " * 8 + made[156:]
    return _Blank(made[:124], made[135:148], made[154:], sum(blank))


def _tarfile_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def segment_parts(sample: Sample) -> Iterator[bytes | memoryview]:
    """The bytes of one sample in a shard, in pieces."""
    for suffix, (head, body) in sample_members(sample):
        size = len(head) + len(body)
        yield header_of(f"{sample.chip_id}.{suffix}", size)
        yield head
        yield body
        yield _ZEROS[: -size % BLOCK]


def segment_length(sample: Sample) -> int:
    """Bytes that a sample takes in a shard."""
    return sum(len(part) for part in segment_parts(sample))


def sample_sha256(sample: Sample) -> str:
    """sha256 of the sample's bytes in a shard."""
    digest = hashlib.sha256()
    for part in segment_parts(sample):
        digest.update(part)
    return digest.hexdigest()


def write_shard(
    storage: Storage, split: str, bucket: int, samples: Iterable[Sample | StoredSample], *, scratch: Path
) -> WrittenShard:
    """Write the samples of one bucket as ``shards/<split>/<bucket>-<id>.tar``: one pass over their bytes.

    Args:
        storage: the dataset's root.
        split: train, val or test; every sample must be of it.
        bucket: number of the bucket.
        samples: in any order; a few are held in memory at a time.
        scratch: local folder for the unfinished file; best on the file system of the root (below its ``work/``).

    Returns:
        The record, and each chip's offset, length and hash. An identical file that exists is kept as it is.

    Raises:
        ValueError: no sample, a chip twice, a sample of another split, or one that the format forbids.
        IntegrityError: a stored sample is not what its hash says.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    labels: dict[str, tuple[str, tuple[int, int]]] = {}
    with tempfile.TemporaryDirectory(prefix=f"{split}-{bucket:05d}-", dir=scratch) as folder:
        part = Path(folder) / "arrival.tar"
        with part.open("wb", buffering=0) as file, Digests() as digests:
            arrived = _spool(file.fileno(), storage, split, _looked_at(samples, labels), digests)
            if not arrived:
                raise ValueError(f"no samples for bucket {bucket} of {split}")
            in_order = list(arrived) == sorted(arrived)
            if in_order:
                digests.end(_finish(file.fileno()))
        ordered = part if in_order else _reorder(part, arrived, Path(folder) / "ordered.tar")
        index = _laid_out(arrived)
        sha256 = digests.whole() if in_order else sha256_of(ordered)
        size = ordered.stat().st_size
        path = shard_path(split, bucket, sha256)
        written = _move_into_place(storage, path, ordered, sha256)
    log.info("shard %s: %d chips, %d bytes%s", path, len(index), size, "" if written else ", as before")
    record = ShardRecord(path=path, bytes=size, sha256=sha256, split=split, bucket=bucket, chip_ids=tuple(index))
    return WrittenShard(record, index, written, labels)


def _looked_at(
    samples: Iterable[Sample | StoredSample], labels: dict[str, tuple[str, tuple[int, int]]]
) -> Iterator[Sample | StoredSample]:
    """The samples as they pass; types and largest shapes of their labels go into ``labels``."""
    for sample in samples:
        if isinstance(sample, Sample):
            for name, array in label_arrays(sample).items():
                largest = labels.get(name, ("", (0, 0)))[1]
                shape = (max(largest[0], array.shape[0]), max(largest[1], array.shape[1]))
                labels[name] = (array.dtype.name, shape)
        yield sample


def _spool(
    file: int, storage: Storage, split: str, samples: Iterable[Sample | StoredSample], digests: Digests
) -> dict[str, Segment]:
    """Write samples as they arrive; where each of them lies. The digests take in every byte, in threads of their own.

    Raises:
        IntegrityError: a stored sample is not what its hash says.
    """
    places: dict[str, tuple[int, int]] = {}
    wanted: dict[str, str] = {}
    writeback, position = EarlyWriteback(file), 0
    for sample in samples:
        if sample.split != split:
            raise ValueError(f"{sample.chip_id} is of split {sample.split!r}, not {split!r}")
        if sample.chip_id in places:
            raise ValueError(f"{sample.chip_id} came twice")
        if isinstance(sample, StoredSample):
            parts: Sequence[bytes | memoryview] = list(_stored_parts(storage, sample))
            wanted[sample.chip_id] = sample.segment.sha256
        else:
            parts = list(segment_parts(sample))
        digests.add(sample.chip_id, parts)
        length = write_all(file, parts)
        places[sample.chip_id] = (position, length)
        position += length
        writeback.reached(position)
    found = digests.of_samples()
    odd = [chip_id for chip_id, sha256 in wanted.items() if found[chip_id] != sha256]
    if odd:
        raise IntegrityError(f"{odd[0]}: its bytes in the version before are not those of sample_sha256")
    return {chip_id: Segment(start, length, found[chip_id]) for chip_id, (start, length) in places.items()}


def _stored_parts(storage: Storage, sample: StoredSample) -> Iterator[bytes]:
    """The bytes of a stored sample, in pieces.

    Raises:
        IntegrityError: the shard is gone or ends too early.
    """
    position, end = sample.segment.offset, sample.segment.offset + sample.segment.length
    while position < end:
        try:
            piece = storage.read_range(sample.shard, position, min(_COPY_BYTES, end - position))
        except FileNotFoundError as error:
            raise IntegrityError(f"{sample.shard}: there is no such file") from error
        if not piece:
            raise IntegrityError(f"{sample.shard}: ends before byte {end}")
        yield piece
        position += len(piece)


def _laid_out(arrived: dict[str, Segment]) -> dict[str, Segment]:
    """The index of the file in which samples stand by chip id."""
    index: dict[str, Segment] = {}
    position = 0
    for chip_id, segment in sorted(arrived.items()):
        index[chip_id] = Segment(position, segment.length, segment.sha256)
        position += segment.length
    return index


def _reorder(source: Path, arrived: dict[str, Segment], target: Path) -> Path:
    with source.open("rb") as reader, target.open("wb", buffering=0) as writer:
        for _, segment in sorted(arrived.items()):
            reader.seek(segment.offset)
            left = segment.length
            while left:
                left -= write_all(writer.fileno(), [reader.read(min(left, _COPY_BYTES))])
        _finish(writer.fileno())
    return target


def _finish(file: int) -> bytes:
    """Write the end of a tar: two empty blocks, then zeros to a whole record; and all of it is on the disk."""
    end = os.lseek(file, 0, os.SEEK_CUR) + 2 * BLOCK
    zeros = bytes(2 * BLOCK + -end % RECORD)
    write_all(file, [zeros])
    os.fsync(file)
    return zeros


def _move_into_place(storage: Storage, path: str, finished: Path, sha256: str) -> bool:
    """Give the file its final name; False where the same bytes are there already."""
    if storage.size(path) == finished.stat().st_size and storage.sha256(path) == sha256:
        return False
    storage.put_file(path, finished)
    return True
