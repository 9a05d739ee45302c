"""A training stream: `ChipStream`, a torch `IterableDataset` over the shards of one version.

Axis order of pixels is (T, C, H, W) for one sample and (N, T, C, H, W) for a batch of the default collation.

    stream = ChipStream("build/demo/dataset", StreamOptions(split="train", modalities=("s2",)))
    loader = torch.utils.data.DataLoader(stream, batch_size=8, num_workers=2)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import LayerTable
from schemas.errors import DatasetError, MissingExtraError
from schemas.sample import LayerArrays, Sample
from shards.reader import Dataset
from shards.samples import to_physical
from terraweft.reading import open_dataset

try:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError.of("torch", "train") from error


@dataclass(frozen=True)
class StreamOptions:
    """What a stream yields, and in which order."""

    split: str | None = "train"
    """One split; all where None."""
    version: str | None = None
    """Name of a version; the current one where None."""
    modalities: tuple[str, ...] | None = None
    """Modalities or groups; the others are not even read. All where None."""
    labels: bool = True
    """Whether to yield the fused label and its confidence."""
    texts: bool = False
    """Whether to yield texts: a list of strings, so batches need a collation of their own."""
    physical: bool = True
    """float32 physical values with 0 where there is no data; else int32 or float32 as stored."""
    normalise: bool = False
    """(x - mean) / std per band, with the statistics of the train split; no data becomes 0, the mean. Bands without
    a clear pixel there are 0."""
    pad: bool = True
    """Pad dates and pixels to the group's largest, so that samples can be stacked."""
    shuffle: bool = True
    """Another order each epoch: shards, and samples within them."""
    seed: int = 0
    """Of the order."""
    rank: int = 0
    """This process, of `world_size`."""
    world_size: int = 1
    """Processes that share the epoch."""
    even: bool = False
    """Leave out the last few samples so that every rank gets the same number."""


class ChipStream(IterableDataset[dict[str, Any]]):
    """Samples of a dataset as dictionaries of tensors, each exactly once per epoch over all ranks and
    workers.

    Keys of a sample:
        ``chip_id``: str.
        ``<group>``: (T, C, H, W) float32, or int32 for stored integers.
        ``<group>_valid``: (T, H, W) uint8, 0 where there is no data or padding.
        ``<group>_count``: (T, H, W) uint8 clear dates behind each pixel, of composites.
        ``label``: (H, W) int64, 255 = abstain (``ignore_index=255``); ``confidence``: (H, W) uint8.
        ``texts``: list of str, if asked for.

    The order follows from seed, epoch and version alone, so a run can be repeated; call `set_epoch` before each epoch.

    Args:
        dataset: an open dataset, or its address.
        options: what to yield.

    Raises:
        DatasetError: no such dataset, split or modality; a rank outside of the world; no statistics to normalise by.
    """

    def __init__(self, dataset: Dataset | str | Path, options: StreamOptions = StreamOptions()) -> None:
        super().__init__()
        opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, options.version)
        if not 0 <= options.rank < options.world_size:
            raise DatasetError(f"rank {options.rank} of {options.world_size}", where=opened.name)
        self.dataset, self.options, self.epoch = opened, options, 0
        self.groups = opened.wanted_groups(options.modalities)
        self._shards = _by_shard(opened, options.split)
        self._statistics = {g: _statistics(opened, g) for g in self.groups} if options.normalise else {}

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._of_rank())

    def chip_ids(self) -> list[str]:
        """Chips of this rank in the order of this epoch, before workers share them."""
        return self._of_rank()

    def _order(self) -> list[str]:
        """All chips of the split in the order of this epoch; those of a shard stay together."""
        if not self.options.shuffle:
            return [chip_id for shard in self._shards for chip_id in shard]
        generator = np.random.Generator(np.random.PCG64([self.options.seed, self.epoch]))
        shards = [self._shards[i] for i in generator.permutation(len(self._shards))]
        return [shard[i] for shard in shards for i in generator.permutation(len(shard))]

    def _of_rank(self) -> list[str]:
        order, world = self._order(), self.options.world_size
        if self.options.even:
            order = order[: len(order) - len(order) % world]
        return _part(order, self.options.rank, world)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        chip_ids = self._of_rank()
        worker = get_worker_info()
        if worker is not None:
            chip_ids = _part(chip_ids, worker.id, worker.num_workers)
        members = [
            *(("label", "confidence") if self.options.labels else ()),
            *(("texts",) if self.options.texts else ()),
        ]
        for sample in self.dataset.iterate(modalities=self.groups, members=members, chip_ids=chip_ids):
            yield self._tensors(sample)

    def _tensors(self, sample: Sample) -> dict[str, Any]:
        found: dict[str, Any] = {"chip_id": sample.chip_id}
        for group in self.groups:
            data, valid = self._arrays(self.dataset.layer(group), sample.layers.get(group))
            found[group] = torch.from_numpy(data)  # (T, C, H, W)
            found[f"{group}_valid"] = torch.from_numpy(valid)  # (T, H, W)
            if self.dataset.layer(group).composite:
                found[f"{group}_count"] = torch.from_numpy(_counts(sample.layers.get(group), valid))  # (T, H, W)
        if self.options.labels and sample.label is not None:
            found["label"] = torch.from_numpy(sample.label.astype(np.int64))  # (H, W)
        if self.options.labels and sample.confidence is not None:
            found["confidence"] = torch.from_numpy(sample.confidence.copy())  # (H, W)
        if self.options.texts:
            found["texts"] = [str(text["text"]) for text in sample.texts]
        return found

    def _arrays(self, table: LayerTable, layer: LayerArrays | None) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """(T, C, H, W) values and (T, H, W) validity, padded where asked for."""
        dates = max(1, table.max_dates)
        shape = (dates, len(table.bands), *table.shape_yx)
        if layer is None:
            kind = np.float32 if self.options.physical or np.dtype(table.dtype).kind == "f" else np.int32
            return np.zeros(shape, kind), np.zeros((dates, *table.shape_yx), np.uint8)
        values = self._values(table, layer)
        valid = layer.valid.copy()
        if not self.options.pad or values.shape == shape:
            return values, valid
        t, _, h, w = values.shape
        data, mask = np.zeros(shape, values.dtype), np.zeros((dates, *table.shape_yx), np.uint8)
        data[:t, :, :h, :w], mask[:t, :h, :w] = values, valid
        return data, mask

    def _values(self, table: LayerTable, layer: LayerArrays) -> NDArray[Any]:
        if not self.options.physical and not self.options.normalise:
            kind = np.float32 if layer.data.dtype.kind == "f" else np.int32
            return np.ascontiguousarray(layer.data, dtype=kind) if kind != layer.data.dtype else layer.data.copy()
        values = to_physical(layer, table.nodata)
        if self.options.normalise:
            mean, std = self._statistics[table.group]
            values = (values - mean[:, None, None]) / std[:, None, None]
        return np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _by_shard(dataset: Dataset, split: str | None) -> list[list[str]]:
    """Chip ids per shard, of one split."""
    wanted = set(dataset.chip_ids(split))
    shards = [[c for c in record.chip_ids if c in wanted] for record in dataset.document.shards]
    return [shard for shard in shards if shard]


def _part(items: list[str], number: int, parts: int) -> list[str]:
    """One of several neighbouring parts of nearly equal length: neighbours share shards."""
    return items[len(items) * number // parts : len(items) * (number + 1) // parts]


def _statistics(dataset: Dataset, group: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(C,) mean and standard deviation of the train split.

    A band that is constant there or has no clear pixel (EnMAP leaves bands empty in the water vapour's absorption)
    gets an infinite deviation: it is 0 throughout.

    Raises:
        DatasetError: the dataset holds none for any band.
    """
    bands = dataset.layer(group).bands
    if all(band.mean is None for band in bands):
        raise DatasetError(
            f"no mean and deviation for {group} {bands[0].name}", where=dataset.name, mend="normalise=False"
        )
    return (
        np.array([band.mean or 0.0 for band in bands], np.float32),
        np.array([band.std or math.inf for band in bands], np.float32),
    )


def _counts(layer: LayerArrays | None, valid: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Counts of a composite, padded as its mask is."""
    padded = np.zeros_like(valid)
    if layer is not None and layer.count is not None:
        t, h, w = layer.count.shape
        padded[:t, :h, :w] = layer.count
    return padded
