"""Zarr says what the shards say: its digest is that of the manifest, and every chip equals its sample,
padding included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError
from schemas.sample import LayerArrays, Sample
from shards.samples import label_arrays
from shards.storage import Storage
from shards.zarr_arrays import NAT
from shards.zarr_groups import padding_of
from shards.zarr_store import open_store, store_digest

LARGEST = 4 << 30
"""Bytes: no chip has as many in one array, no chunk, and no array of coordinates."""


class ZarrCheck:
    """The Zarr of one version, open for comparison.

    Raises:
        DatasetError: no repository, or no such tag.
    """

    def __init__(self, storage: Storage, document: DatasetDocument) -> None:
        self.document = document
        self.store = open_store(storage, str(document.zarr["tag"]))
        self.top = zarr.open_group(self.store, mode="r")
        self._arrays: dict[str, Any] = {}
        self._small: dict[str, NDArray[Any]] = {}

    def faults(self, chip_ids: list[str]) -> Iterator[str]:
        """Groups, digest, chips and bands.

        Raises:
            DatasetError: an array is larger than any of ours: who reads it would take all memory.
        """
        groups = sorted(name for name, _ in self.top.groups())
        for path, array in self.top.members(max_depth=None):
            if isinstance(array, zarr.Array):
                _check_size(path, array, len(chip_ids))
        if groups != sorted(self.document.zarr["groups"]):
            yield f"groups {groups}, dataset.json says {sorted(self.document.zarr['groups'])}"
        digest = store_digest(self.store)
        if digest != self.document.zarr["digest"]:
            yield f"digest {digest[:16]}, dataset.json says {self.document.zarr['digest'][:16]}"
        for group in groups:
            if self._vector(f"{group}/chip_id").tolist() != chip_ids:
                yield f"{group}: chip_id does not stand in the order of chips.parquet"
        for layer in self.document.modalities:
            bands = self._vector(f"{layer.group}/band").tolist()
            if bands != [band.name for band in layer.bands]:
                yield f"{layer.group}: bands {bands} are not those of dataset.json"

    def differences(self, index: int, sample: Sample) -> Iterator[str]:
        """Where the chip at a ``zarr_index`` is not its sample."""
        for layer in self.document.modalities:
            yield from self._layer(index, layer.group, padding_of(layer), sample.layers.get(layer.group))
            if layer.composite:
                yield from self._counts(index, layer.group, sample.layers.get(layer.group))
        labels = label_arrays(sample)
        for group in self.document.zarr["groups"]:
            if group in labels:
                rows, columns = labels[group].shape
                if not np.array_equal(self._array(f"{group}/data")[index][:rows, :columns], labels[group]):
                    yield f"zarr {group} differs from the shard"

    def _layer(self, index: int, group: str, pad: float, layer: LayerArrays | None) -> Iterator[str]:
        data, valid = self._array(f"{group}/data")[index], self._array(f"{group}/valid")[index]
        wanted, mask = np.full(data.shape, pad, data.dtype), np.zeros(valid.shape, np.uint8)
        times = np.full(data.shape[0], NAT, np.int64)
        scale, offset = np.full(data.shape[0], np.nan), np.full(data.shape[0], np.nan)
        if layer is not None:
            dates, _, rows, columns = layer.data.shape
            wanted[:dates, :, :rows, :columns], mask[:dates, :rows, :columns] = layer.data, layer.valid
            times[:dates] = layer.time_utc.astype(np.int64)
            scale[:dates], offset[:dates] = layer.scale, layer.offset
        floats = data.dtype.kind == "f"
        if not np.array_equal(data, wanted, equal_nan=floats):
            yield f"zarr {group}/data differs from the shard"
        if not np.array_equal(valid, mask):
            yield f"zarr {group}/valid differs from the shard"
        for name, expected in (("time", times), ("scale", scale), ("offset", offset)):
            found = self._vector(f"{group}/{name}")[index]
            if not np.array_equal(found, expected, equal_nan=name != "time"):
                yield f"zarr {group}/{name} differs from the shard"
        if layer is not None:
            place = (layer.georef.x0, layer.georef.y0, layer.georef.epsg, *layer.georef.shape_yx)
            names = ("x0", "y0", "epsg", "rows", "columns")
            found_place = tuple(self._vector(f"{group}/{name}")[index] for name in names)
            if found_place != place:
                yield f"zarr {group} lies at {found_place}, the shard's layer at {place}"

    def _counts(self, index: int, group: str, layer: LayerArrays | None) -> Iterator[str]:
        found = self._array(f"{group}/count")[index]
        wanted = np.zeros(found.shape, np.uint8)
        if layer is not None and layer.count is not None:
            dates, rows, columns = layer.count.shape
            wanted[:dates, :rows, :columns] = layer.count
        if not np.array_equal(found, wanted):
            yield f"zarr {group}/count differs from the shard"

    def _array(self, path: str) -> Any:
        if path not in self._arrays:
            self._arrays[path] = self.top[path]
        return self._arrays[path]

    def _vector(self, path: str) -> NDArray[Any]:
        if path not in self._small:
            self._small[path] = np.asarray(self._array(path)[...])
        return self._small[path]


def _check_size(path: str, array: Any, chips: int) -> None:
    """Look at what an array says of itself, before any of it is read.

    Raises:
        DatasetError: it has other chips, or a chip, a chunk or all of its coordinates are larger than `LARGEST`.
    """
    shape, item = array.shape, array.dtype.itemsize
    if len(shape) > 2 and shape[0] != chips:
        raise DatasetError(f"zarr {path} holds {shape[0]} chips, chips.parquet {chips}")
    held = math.prod(shape[1:] if len(shape) > 2 else shape)
    if item * max(held, math.prod(array.chunks)) > LARGEST:
        raise DatasetError(f"zarr {path} has the shape {shape} in chunks of {array.chunks}: more than is ever read")
