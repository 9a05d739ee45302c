"""What a tile leaves behind between the passes: one folder per tile and pass, renamed into place when complete.

    work/runs/<run>/<pass>/<tile>-<key>/chips.arrays   its chips: of each a mapping and its arrays, raw (`Record`)
    work/runs/<run>/<pass>/<tile>-<key>/places.json    chip -> file, first byte, length
    work/runs/<run>/<pass>/<tile>-<key>/tile.json      outcomes, statistics, steps

A folder that has its final name is complete, and on the disk; anything else is swept away. The key is a hash of all
that decides the content, so a fragment is used again exactly when nothing changed. One file for all chips of a tile:
making a file takes longer than writing a small chip, and a run of a million chips would leave as many of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import mmap
import os
import secrets
import shutil
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import IntegrityError
from shards.hashing import EarlyWriteback, write_all
from shards.layout import sync_folder, write_durably

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]

FORMAT = "4"
"""Of the files: stands in the keys of folders, so that what older code left is not read."""
MAGIC = b"TWARRAY4"
ALIGNED = 64
"""Every array begins at a multiple of this."""
FIRST_READ_BYTES = 16 << 10
"""A chip's mapping is seldom longer: it comes with one read."""
FOLDERS_KNOWN = 1024
"""So many folders' places are kept in memory: a shard draws its chips from many tiles, in the order of their ids."""
CHIPS, PLACES, SUMMARY, TAKEN = "chips.arrays", "places.json", "tile.json", "before.arrays"
"""Files of a folder; the last where chips were taken over from another folder."""


class NotWholeError(IntegrityError):
    """A file of a fragment is damaged.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} is no whole fragment: remove its folder, and the next build makes it again")

    def __reduce__(self) -> tuple[type[NotWholeError], tuple[str]]:
        return type(self), (self.path,)


def key_of(*parts: Any) -> str:
    """First 16 hex digits of the sha256 of some JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Record:
    """Where one chip lies: its mapping as JSON with the names, types, shapes and places of its arrays, then these."""

    path: str
    """The file."""
    offset: int
    """First byte, a multiple of the page size."""
    length: int
    """Bytes."""

    def facts(self) -> dict[str, Any]:
        """The mapping, without its arrays.

        Raises:
            NotWholeError: the file is damaged.
            OSError: it cannot be read.
        """
        file = os.open(self.path, os.O_RDONLY)
        try:
            begin = os.pread(file, min(FIRST_READ_BYTES, self.length), self.offset)
            length = self._head_length(begin)
            missing = _PREFIX + length - len(begin)
            if missing > 0:
                begin += os.pread(file, missing, self.offset + len(begin))
        finally:
            os.close(file)
        return dict(self._head(begin, length)[1])

    def chip(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The mapping and the arrays, these mapped and not read: who does not look at one does not pay for it.

        Changes stay in memory.

        Raises:
            NotWholeError: the file is damaged.
            OSError: it cannot be read.
        """
        file = os.open(self.path, os.O_RDONLY)
        try:
            if os.fstat(file).st_size < self.offset + self.length:
                raise NotWholeError(self.path)
            content = mmap.mmap(file, self.length, access=mmap.ACCESS_COPY, offset=self.offset)
        finally:
            os.close(file)
        length = self._head_length(content[:_PREFIX])
        described, facts = self._head(content[: _PREFIX + length], length)
        start = _start_of(length)
        arrays: dict[str, NDArray[Any]] = {}
        for name, code, shape, offset in described:
            dtype, count = np.dtype(code), math.prod(shape)
            if start + offset + count * dtype.itemsize > len(content):
                raise NotWholeError(self.path)
            flat = np.frombuffer(content, dtype, count, start + offset) if count else np.empty(0, dtype)
            arrays[name] = flat.reshape(shape)
        return dict(facts), arrays

    def _head_length(self, begin: bytes) -> int:
        length = int.from_bytes(begin[len(MAGIC) : _PREFIX], "little")
        if begin[: len(MAGIC)] != MAGIC or _PREFIX + length > self.length:
            raise NotWholeError(self.path)
        return length

    def _head(self, begin: bytes, length: int) -> Any:
        if len(begin) < _PREFIX + length:
            raise NotWholeError(self.path)
        try:
            return json.loads(begin[_PREFIX : _PREFIX + length], object_hook=_rich)
        except ValueError as error:
            raise NotWholeError(self.path) from error


class FragmentWriter:
    """Collects one tile's chips in a temporary folder; `commit` renames it into place.

    Args:
        final: the folder's final path.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        # a token, since workers in containers may have one process number; no mkdtemp, whose folders are for one user
        self.temporary = final.with_name(f"{final.name}.tmp-{secrets.token_hex(8)}")
        self.temporary.mkdir(parents=True)
        self._places: dict[str, tuple[str, int, int]] = {}
        self._end = 0
        self._file: int | None = None

    def add(self, chip_id: str, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Store a chip's arrays and a JSON-ready mapping.

        Raises:
            TypeError: an array of objects, or a value that has no form in JSON.
        """
        pieces = _pieces(arrays, facts)
        begin = -(-self._end // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        if self._file is None:
            self._file = os.open(f"{self.temporary}/{CHIPS}", os.O_WRONLY | os.O_CREAT, 0o666)
            self._close = weakref.finalize(self, os.close, self._file)
            self._writeback = EarlyWriteback(self._file)
        os.lseek(self._file, begin, os.SEEK_SET)
        length = write_all(self._file, pieces)
        self._end = begin + length
        self._writeback.reached(self._end)
        self._places[chip_id] = (CHIPS, begin, length)

    def take_over(self, folder: Path, chip_ids: Iterable[str]) -> None:
        """Chips of a finished folder as they are: its file is linked, no byte is copied."""
        os.link(folder / CHIPS, self.temporary / TAKEN)
        places = _places_in(folder)
        self._places |= {chip_id: (TAKEN, *places[chip_id][1:]) for chip_id in chip_ids}

    def read(self, chip_id: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A chip that was added or taken over: see `Record.chip`."""
        name, offset, length = self._places[chip_id]
        return Record(f"{self.temporary}/{name}", offset, length).chip()

    def commit(self, summary: Mapping[str, Any]) -> Path:
        """Write ``tile.json``, bring all to the disk and rename the folder; what another worker finished first stays.

        Without the fsyncs a power cut leaves short files under the final name. Checksums would cost a pass over all
        bytes here and at each reading, and find the damage only there.
        """
        if self._file is not None:
            os.fsync(self._file)
            self._close()
        write_durably(self.temporary / PLACES, json.dumps(self._places).encode())
        write_durably(self.temporary / SUMMARY, json.dumps(summary, default=_plain).encode())
        sync_folder(self.temporary)
        try:
            os.rename(self.temporary, self.final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(self.temporary)
        return self.final


def read_facts(folder: str | Path, chip_id: str) -> dict[str, Any]:
    """A chip's mapping, without its arrays.

    Raises:
        NotWholeError: the folder is damaged.
        OSError: it does not hold the chip.
    """
    return record_of(folder, chip_id).facts()


def read_chip(folder: str | Path, chip_id: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A chip's mapping and its arrays: see `Record.chip`."""
    return record_of(folder, chip_id).chip()


def record_of(folder: str | Path, chip_id: str) -> Record:
    """Where a finished folder holds a chip.

    Raises:
        NotWholeError: the folder is damaged.
        OSError: it does not hold the chip.
    """
    try:
        name, offset, length = _places_in(folder)[chip_id]
    except KeyError:
        raise OSError(f"{folder} holds no {chip_id}") from None
    return Record(f"{folder}/{name}", offset, length)


def _places_in(folder: str | Path) -> Mapping[str, tuple[str, int, int]]:
    path = f"{folder}/{PLACES}"
    found = os.stat(path)  # a tile with failed chips is made again under its name
    return _read_places(path, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=FOLDERS_KNOWN)
def _read_places(path: str, _inode: int, _written_ns: int) -> Mapping[str, tuple[str, int, int]]:
    return {chip_id: tuple(place) for chip_id, place in read_json(Path(path)).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return {"__bytes__": value.hex()}
    if hasattr(value, "isoformat"):
        return {"__time__": value.isoformat()}
    raise TypeError(f"{type(value)} has no place in a fragment")


def _rich(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    if "__bytes__" in value:
        return bytes.fromhex(value["__bytes__"])
    if "__time__" in value:
        return datetime.fromisoformat(value["__time__"])
    return value


def read_json(path: Path) -> Any:
    """A JSON file of a fragment, with bytes and times as they were.

    Raises:
        NotWholeError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_hook=_rich)
    except ValueError as error:
        raise NotWholeError(str(path)) from error


def _pieces(arrays: Arrays, facts: Mapping[str, Any]) -> list[bytes | memoryview]:
    """A record's bytes: arrays as raw memory behind one JSON. Inverse: `Record.chip`."""
    described: list[Any] = []
    bodies: list[bytes | memoryview] = []
    position = 0
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name}: {array.dtype} has no place in a fragment")
        described.append([name, array.dtype.str, list(array.shape), position])
        padding = -array.nbytes % ALIGNED
        bodies += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, bytes(padding)]
        position += array.nbytes + padding
    head = json.dumps([described, facts], default=_plain).encode()
    begin = MAGIC + len(head).to_bytes(8, "little") + head
    return [begin, bytes(_start_of(len(head)) - len(begin)), *bodies]


_PREFIX = len(MAGIC) + 8
"""Bytes before the JSON: who we are, and its length."""


def _start_of(head_bytes: int) -> int:
    """Where the first array begins behind a head."""
    return -(-(_PREFIX + head_bytes) // ALIGNED) * ALIGNED


def sweep(folder: Path) -> None:
    """Remove what an earlier run left half-done, tiles in which a chip failed, and damaged ones: all are made again."""
    for leftover in (*folder.glob("*.tmp-*"), *folder.glob("*.failed")):
        shutil.rmtree(leftover, ignore_errors=True)
    for fragments in finished(folder):
        if not is_whole(fragments):
            log.warning("%s is damaged: it is removed and made again", fragments)
            shutil.rmtree(fragments)


def is_whole(folder: Path) -> bool:
    """Whether a finished folder has its files, as long as the chips in them say; the chips themselves are not read."""
    ends = {SUMMARY: 1}
    try:
        for path in folder.glob("*.json"):
            if path.name != PLACES:
                read_json(path)
        for name, offset, length in _places_in(folder).values():
            ends[name] = max(ends.get(name, 0), offset + length)
        return all((folder / name).stat().st_size >= end for name, end in ends.items())
    except (FileNotFoundError, NotWholeError):
        return False


def finished(folder: Path) -> Iterable[Path]:
    """Complete fragments of a pass, by name."""
    return (
        sorted(path for path in folder.iterdir() if path.is_dir() and ".tmp-" not in path.name)
        if folder.exists()
        else []
    )
