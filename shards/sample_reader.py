"""Samples read straight into arrays that are there already: a slot of a batch, for instance.

Only the members, dates and bands that are wanted are read: an ``.npy`` in a tar is plain memory, so a date or a run of
bands is a range of the file. Times, scales and offsets come from chips.parquet, once for all chips.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import IntegrityError
from shards.layer_reader import Arrays, LayerReader, Placed
from shards.npy_pieces import Stored, as_bytes, stored_array
from shards.reader import Dataset
from shards.sample_request import ABSTAIN, Field, SampleRequest, group_fields
from shards.samples import decode_json, decode_texts
from shards.segment_source import FileSegment, MemorySegment, SegmentSource
from shards.storage import FolderStorage
from shards.tar import BLOCK
from shards.tar_reader import Member, parse_header

HEAD = BLOCK + 128
"""A tar header and, mostly, the ``.npy`` header behind it, by one read."""


class SampleReader:
    """Reads samples of a dataset into given arrays. Threads may share it; pickles without open files.

    Args:
        dataset: an open version.
        request: what is read.

    Raises:
        DatasetError: a group, band or label source that the dataset has not, or no statistics to normalise by.
    """

    def __init__(self, dataset: Dataset, request: SampleRequest) -> None:
        self.dataset, self.request = dataset, request
        table = dataset.columns(LayerReader.columns(dataset, request))
        self.layers = {group: LayerReader(dataset, group, request, table) for group in request.groups}
        self._of_modality = {layer.table.modality: layer for layer in reversed(self.layers.values())}
        self.places = dataset.places
        for layer in self.layers.values():
            layer.require_room(self.places.lengths)
        self._targets: dict[str, tuple[str, str]] = {}
        for group, layer in self.layers.items():
            self._targets[f"{group}.npy"] = (group, "data")
            self._targets[f"{group}_valid.npy"] = (group, "valid")
            if layer.table.composite:
                self._targets[f"{group}_count.npy"] = (group, "count")
        self._flat = {f"{name}.npy": name for name in self._label_names()}
        self._json = {f"{name}.json" for name, wanted in (("texts", request.texts), ("osm", request.osm)) if wanted}
        self.label_shape_yx = dataset.label_shape_yx if self._flat else (0, 0)
        self._scratch = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_scratch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._scratch = threading.local()

    def _label_names(self) -> list[str]:
        names = [f"label_{source}" for source in self.dataset.label_sources(self.request.sources)]
        return [*names, *(("label", "confidence") if self.request.label and self.dataset.has_label else ())]

    def fields(self) -> dict[str, Field]:
        """Arrays of a sample, each as large as the largest sample's."""
        found: dict[str, Field] = {}
        for layer in self.layers.values():
            found |= group_fields(
                layer.table, len(layer.bands), layer.max_dates, layer.table.shape_yx, self.request.values
            )
        for name in self._flat.values():
            found[name] = self._label_field(name, self.label_shape_yx)
        return found

    def fields_of(self, number: int) -> dict[str, Field]:
        """Arrays of one sample, without padding.

        Args:
            number: row of chips.parquet.
        """
        found: dict[str, Field] = {}
        for layer in self.layers.values():
            dates = layer.dates_of(number, 0)
            found |= group_fields(
                layer.table, len(layer.bands), len(dates), layer.shape_of(number), self.request.values
            )
        for name in self._flat.values():
            found[name] = self._label_field(name, self.dataset.label_shape_of(number))
        return found

    def _label_field(self, name: str, shape_yx: tuple[int, int]) -> Field:
        if name == "confidence":
            return Field(shape_yx, np.dtype(np.uint8))
        if name == "label":
            kind = np.uint8 if self.request.values == "stored" else np.int64
            return Field(shape_yx, np.dtype(kind), ABSTAIN)
        return Field(shape_yx, np.dtype(np.int32), self.dataset.label_nodata(name.removeprefix("label_")))

    def read(self, number: int, into: Arrays, draw: int = 0) -> dict[str, Any]:
        """Fill ``into`` with a sample; what is not an array is returned (``texts``, ``osm``).

        Args:
            number: row of chips.parquet.
            into: arrays of `fields`, or of `fields_of` this sample; slots of a batch will do.
            draw: what a random choice of dates follows from, with the chip.

        Raises:
            DatasetError: the version was removed since it was opened.
            IntegrityError: the shard does not hold what the table says.
        """
        chip_id, path, offset, length = self.places.of(number)
        if offset < 0 or length <= 0:
            raise IntegrityError(f"{path}: {chip_id} has {length} bytes at {offset}")
        source = self._source(path, offset, length)
        dates = self._dates(number, chip_id, draw)
        found: dict[str, Any] = {}
        placed: dict[str, Placed] = {}
        seen: set[str] = set()
        position, end = offset, offset + length
        try:
            while position < end:
                head = source.head(position, HEAD)
                member = parse_header(head[:BLOCK], position, end)
                if member.chip_id != chip_id or member.suffix in seen:
                    raise IntegrityError(f"{member.chip_id}.{member.suffix} has no place, or a second one")
                seen.add(member.suffix)
                self._take(member, head[BLOCK:], source, number, dates, into, placed, found)
                position = member.end
            self._finish(number, dates, into, placed, seen)
        except (IntegrityError, OSError) as error:
            raise IntegrityError(f"{path}: {chip_id}: {error}") from error
        return found

    def _source(self, path: str, offset: int, length: int) -> SegmentSource:
        storage = self.dataset.storage
        try:
            if isinstance(storage, FolderStorage):
                return FileSegment(storage.open_file(path))
            return MemorySegment(self.dataset.files.segment(path, offset, length), offset)
        except (OSError, IntegrityError) as error:
            self.dataset.require_version()
            if isinstance(error, IntegrityError):
                raise
            raise IntegrityError(f"{path}: {error.strerror or error}") from error

    def _dates(self, number: int, chip_id: str, draw: int) -> dict[str, NDArray[np.int64]]:
        """Modality -> positions of the dates that are read; groups of a modality share them."""
        seed = draw
        if self.request.dates is not None and self.request.dates.by == "random":
            seed = int.from_bytes(hashlib.sha256(f"{draw} {chip_id}".encode()).digest()[:8], "little")
        return {modality: layer.dates_of(number, seed) for modality, layer in self._of_modality.items()}

    def _take(
        self,
        member: Member,
        head: bytes,
        source: SegmentSource,
        number: int,
        dates: Mapping[str, NDArray[np.int64]],
        into: Arrays,
        placed: dict[str, Placed],
        found: dict[str, Any],
    ) -> None:
        """Read a member where it belongs, if it is wanted."""
        target = self._targets.get(member.suffix)
        if target is not None:
            group, part = target
            layer = self.layers[group]
            array = self._array(member, head, source)
            slot = placed.setdefault(group, Placed())
            layer.take(part, array, source, dates[layer.table.modality], number, into, slot, self._memory)
        elif member.suffix in self._flat:
            self._label(self._flat[member.suffix], self._array(member, head, source), source, into)
        elif member.suffix in self._json:
            content = bytearray(member.size)
            source.into(member.offset, memoryview(content))
            name = member.suffix.partition(".")[0]
            found[name] = decode_texts(content) if name == "texts" else decode_json(content, dict)

    def _array(self, member: Member, head: bytes, source: SegmentSource) -> Stored:
        return stored_array(member, head, lambda length: source.head(member.offset, length))

    def _label(self, name: str, array: Stored, source: SegmentSource, into: Arrays) -> None:
        target = into[name]
        rows, columns = array.shape if len(array.shape) == 2 else (-1, -1)
        if not (0 <= rows <= target.shape[0] and 0 <= columns <= target.shape[1]) or array.dtype.kind != "u":
            raise IntegrityError(f"{name} is {array.dtype} {array.shape}, wanted at most {target.shape}")
        if array.shape == target.shape and array.dtype == target.dtype and target.flags.c_contiguous:
            source.into(array.start, as_bytes(target))
            return
        memory = self._memory("label", array.size)
        source.into(array.start, memory)
        target[rows:] = target[:, columns:] = self._fill(name)
        target[:rows, :columns] = np.frombuffer(memory, array.dtype).reshape(array.shape)

    def _fill(self, name: str) -> int:
        return self._label_field(name, (0, 0)).fill

    def _memory(self, purpose: str, size: int) -> memoryview:
        """This thread's scratch memory, used again by the next call of the same purpose."""
        held: bytearray | None = getattr(self._scratch, purpose, None)
        if held is None or len(held) < size:
            held = bytearray(size)
            setattr(self._scratch, purpose, held)
        return memoryview(held)[:size]

    def _finish(
        self,
        number: int,
        dates: Mapping[str, NDArray[np.int64]],
        into: Arrays,
        placed: Mapping[str, Placed],
        seen: set[str],
    ) -> None:
        """Mark what was not there, and see that what was there is whole."""
        for group, layer in self.layers.items():
            layer.finish(number, dates[layer.table.modality], into, placed.get(group))
        for suffix, name in self._flat.items():
            if suffix not in seen:
                into[name][...] = self._fill(name)
