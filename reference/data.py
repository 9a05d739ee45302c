"""A dataset as batches for the model, through the public reader: `Chips` reads, `Batch` is what the model takes.

Nothing here knows how a dataset was made: band tables, statistics and legends come from its own ``dataset.json``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from reference.bands import GroupTable, group_table, normalised
from schemas.dataset import DatasetDocument, LayerTable
from schemas.errors import DatasetError
from schemas.georef import GeoRef
from schemas.legend import Crosswalk, stored_legend
from schemas.sample import LayerArrays, Sample
from shards.reader import Dataset

log = logging.getLogger(__name__)

ABSTAIN = 255
"""Class index of a pixel without a label."""
CACHE_BYTES = 2_000_000_000
"""Prepared chips are kept in memory up to this size; a larger dataset is read from its shards every time."""


@dataclass
class Layer:
    """One modality group of a batch (B) or, without the first axis, of a chip."""

    values: Tensor
    """(B, T, C, h, w) float32, normalised; 0 where not valid."""
    valid: Tensor
    """(B, T, h, w) bool: the ground is seen."""
    day: Tensor
    """(B, T) float32 days since 2000-01-01; 0 where there is no date."""


@dataclass
class Batch:
    """Chips, stacked. Groups that nobody in the batch has may be absent."""

    chip_ids: tuple[str, ...]
    """B ids."""
    layers: dict[str, Layer]
    """Group -> its pixels."""
    label: Tensor
    """(B, H, W) int64 class index, 255 = abstain."""
    confidence: Tensor
    """(B, H, W) float32, 0..1."""
    captions: tuple[str, ...] = ()
    """B texts; empty where nobody asked."""

    @property
    def nbytes(self) -> int:
        """Memory of pixels, masks and labels."""
        layers = [tensor for one in self.layers.values() for tensor in (one.values, one.valid, one.day)]
        return sum(tensor.nbytes for tensor in (*layers, self.label, self.confidence))

    def to(self, device: torch.device | str) -> Batch:
        """The same batch elsewhere."""
        layers = {
            name: Layer(*(t.to(device, non_blocking=True) for t in (layer.values, layer.valid, layer.day)))
            for name, layer in self.layers.items()
        }
        return replace(self, layers=layers, label=self.label.to(device), confidence=self.confidence.to(device))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which a GPU copies while the host goes on."""
        layers = {
            name: Layer(layer.values.pin_memory(), layer.valid.pin_memory(), layer.day.pin_memory())
            for name, layer in self.layers.items()
        }
        return replace(self, layers=layers, label=self.label.pin_memory(), confidence=self.confidence.pin_memory())


@dataclass(frozen=True)
class Target:
    """Which label is learned: the fused one, or one product mapped to the same classes."""

    source: str = "label"
    """``label``, or the name of a label source."""


class Chips:
    """The chips of a dataset, prepared: normalised pixels, usable masks, class indices, captions.

    Args:
        dataset: what `terraweft.open_dataset` gives.
        target: which label is learned.
        modalities: modalities or groups; all where None, but for those of which no training chip has a clear pixel
            (see ``unseen``).
        cache_bytes: keep prepared chips up to this size.

    Raises:
        DatasetError: no such modality or label, or one that cannot be mapped to the dataset's classes.
    """

    def __init__(
        self,
        dataset: Dataset,
        target: Target = Target(),
        modalities: Sequence[str] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.dataset, self.target, self.cache_bytes = dataset, target, cache_bytes
        document = dataset.document
        wanted = dataset.wanted_groups(modalities)
        bare = {name for name in wanted if not _is_measured(dataset.layer(name))} if modalities is None else set()
        bare = bare if len(bare) < len(wanted) else set()  # of nothing at all the first table says so
        self.unseen = tuple(dict.fromkeys(dataset.layer(name).modality for name in wanted if name in bare))
        """Modalities that nobody could learn, in whole or in some groups: left out."""
        self.groups: dict[str, GroupTable] = {
            name: group_table(dataset.layer(name), _is_aligned(dataset, name)) for name in wanted if name not in bare
        }
        if self.unseen:
            log.warning("no training chip has a clear pixel of %s: left out", ", ".join(sorted(bare)))
        self.classes, self._indices = _classes(document, target.source)
        self._cache: dict[str, Batch] = {}
        self._held = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}, "_held": 0}  # a worker reads for itself, and need not be sent 2 GB

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities, in the recipe's order."""
        return tuple(dict.fromkeys(table.modality for table in self.groups.values()))

    def ids(self, split: str) -> list[str]:
        """Chips of a split that is there, in the order of the shards; none where it is not."""
        return self.dataset.chip_ids(split) if split in set(self.dataset.chips["split"]) else []

    def __getitem__(self, chip_id: str) -> Batch:
        """One chip as a batch of one."""
        found = self._cache.get(chip_id)
        if found is None:
            found = self._prepare(self._read(chip_id))
            if self._held + found.nbytes <= self.cache_bytes:
                self._cache[chip_id], self._held = found, self._held + found.nbytes
        return found

    def _read(self, chip_id: str) -> Sample:
        source = "labels" if self.target.source != "label" else None
        members = [name for name in ("label", "confidence", "texts", source) if name]
        return self.dataset.sample(chip_id, modalities=list(self.groups), members=members)

    def _prepare(self, sample: Sample) -> Batch:
        layers = {
            name: self._layer(table, sample.layers[name], sample.row["bounds_xyxy"])
            for name, table in self.groups.items()
            if name in sample.layers and sample.layers[name].data.shape[0]
        }
        label, confidence = self._labels(sample)
        captions = tuple(str(text["text"]) for text in sample.texts if text.get("kind") == "caption")
        return Batch((sample.chip_id,), layers, label[None], confidence[None], captions)

    def _layer(self, table: GroupTable, layer: LayerArrays, bounds_xyxy: Sequence[float]) -> Layer:
        valid = np.isin(layer.valid, self.dataset.document.clear_codes(table.modality))  # (T, h, w)
        values = normalised(table, layer)  # (T, C, h, w)
        values *= valid[:, None]
        values, valid = on_chip(values, valid, layer.georef, table.step_m, bounds_xyxy)
        days = (layer.time_utc - np.datetime64("2000-01-01", "ns")) / np.timedelta64(1, "D")
        day = np.nan_to_num(days.astype(np.float32))
        return Layer(torch.from_numpy(values)[None], torch.from_numpy(valid)[None], torch.from_numpy(day)[None])

    def _labels(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """(H, W) class index and confidence."""
        if self.target.source == "label":
            if sample.label is None:
                raise DatasetError("there is no label", where=sample.chip_id)
            sure = sample.confidence if sample.confidence is not None else np.full(sample.label.shape, 255, np.uint8)
            label = sample.label
            highest = int(label[label != ABSTAIN].max(initial=0))
            if highest >= len(self.classes):
                raise DatasetError(
                    f"a label names class {highest}, and the legend has {len(self.classes)}",
                    where=f"{self.dataset.name}, chip {sample.chip_id}",
                    mend="terraweft check names what is damaged",
                )
        else:
            codes = sample.labels.get(self.target.source)
            if codes is None:
                return (torch.full(self.label_shape(sample), ABSTAIN), torch.zeros(self.label_shape(sample)))
            label = self._indices[np.minimum(codes, len(self._indices) - 1)]
            sure = np.full(label.shape, 255, np.uint8)
        return torch.from_numpy(label.astype(np.int64)), torch.from_numpy(sure.astype(np.float32) / 255.0)

    def label_shape(self, sample: Sample) -> tuple[int, int]:
        """Rows and columns of a chip's labels, where the sample holds none itself."""
        known = [sample.label, *sample.labels.values()]
        number = self.dataset.places.number(sample.chip_id)
        own = self.dataset.label_shape_yx if number is None else self.dataset.label_shape_of(number)
        return next((one.shape for one in known if one is not None), own)


def _is_measured(layer: LayerTable) -> bool:
    """Whether the manifest states a mean of any band, that is, whether a training chip has a clear pixel."""
    return any(band.mean is not None for band in layer.bands)


def _is_aligned(dataset: Dataset, group: str) -> bool:
    """Whether a group's lattice begins at the upper left corner of every chip."""
    column = f"{group}.transform"
    rows = dataset.columns(["bounds_xyxy", column]).to_pylist()
    return all(
        abs(row[column][2] - row["bounds_xyxy"][0]) < 1e-3 and abs(row[column][5] - row["bounds_xyxy"][3]) < 1e-3
        for row in rows
        if row[column] is not None
    )


def on_chip(
    values: NDArray[np.float32], valid: NDArray[np.bool_], grid: GeoRef, step_m: float, bounds_xyxy: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A layer on the lattice of ``step_m`` that begins where the chip does, by the nearest pixel; the same arrays where
    it lies there already. What lies outside of the layer is not valid.
    """
    left, bottom, right, top = bounds_xyxy
    shape_yx = (round((top - bottom) / step_m), round((right - left) / step_m))
    if shape_yx == grid.shape_yx and abs(grid.x0 - left) < 1e-3 and abs(grid.y0 - top) < 1e-3:
        return values, valid
    rows = np.floor((grid.y0 - top + (np.arange(shape_yx[0]) + 0.5) * step_m) / grid.pixel_size).astype(int)
    columns = np.floor((left - grid.x0 + (np.arange(shape_yx[1]) + 0.5) * step_m) / grid.pixel_size).astype(int)
    h, w = grid.shape_yx
    inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))
    at = np.ix_(np.clip(rows, 0, h - 1), np.clip(columns, 0, w - 1))
    shown = valid[:, *at] & inside
    return values[:, :, *at] * shown[:, None], shown


def _classes(document: DatasetDocument, source: str) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Class names, and class index by code of a product (255 where it says nothing).

    Raises:
        DatasetError: no such label, or no way from its codes to the dataset's classes.
    """
    legends = {name: stored_legend(document.legends, name) for name in document.legends}
    fused = legends.get("label")
    if source == "label":
        if fused is None:
            known = ", ".join(legends) or "none"
            raise DatasetError(
                "there is no fused label to learn", where=document.name, mend=f"--label names a product; it has {known}"
            )
        return tuple(entry.name for entry in fused.classes), np.zeros(0, np.uint8)
    if source not in legends:
        raise DatasetError(f"no label {source!r}", where=document.name, mend=f"it has {', '.join(legends) or 'none'}")
    own, target = legends[source], fused or legends[source]
    target.require_indices(ABSTAIN, where=f"{document.name}, label {source}")
    indices = np.full(max(entry.code for entry in own.classes) + 2, ABSTAIN, np.uint8)
    codes = {entry.code: index for index, entry in enumerate(target.classes)}
    if source in document.crosswalk:
        crosswalk = Crosswalk.model_validate(document.crosswalk[source])
        mapped = {code: admits[0] for code, admits in crosswalk.maps.items() if admits}
    else:
        mapped = {entry.code: entry.code for entry in own.classes}
    for code, aim in mapped.items():
        if aim in codes and code < len(indices) - 1:
            indices[code] = codes[aim]
    if bool((indices == ABSTAIN).all()):
        raise DatasetError(f"codes of {source!r} are none of the classes", where=document.name)
    return tuple(entry.name for entry in target.classes), indices


def stack(chips: Iterable[Batch]) -> Batch:
    """Batches as one: dates are padded to the longest, pixels to the largest chip, below and to the right. Groups
    that are absent and what is added are not valid, and have no label.
    """
    parts = list(chips)
    names = dict.fromkeys(name for part in parts for name in part.layers)
    shape_yx = _largest([tuple(part.label.shape[-2:]) for part in parts])
    return Batch(
        tuple(chip_id for part in parts for chip_id in part.chip_ids),
        {name: _stack_layer(name, parts, shape_yx) for name in names},
        torch.cat([_padded(part.label, shape_yx, ABSTAIN) for part in parts]),
        torch.cat([_padded(part.confidence, shape_yx, 0) for part in parts]),
        tuple(caption for part in parts for caption in part.captions),
    )


def _largest(shapes: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    rows, columns = (max(sizes) for sizes in zip(*shapes, strict=True))
    return rows, columns


def _padded(values: Tensor, shape_yx: tuple[int, int], fill: int) -> Tensor:
    """(B, h, w) -> (B, H, W)."""
    h, w = values.shape[-2:]
    same = (h, w) == shape_yx
    return values if same else F.pad(values, (0, shape_yx[1] - w, 0, shape_yx[0] - h), value=fill)


def _stack_layer(name: str, parts: Sequence[Batch], shape_yx: tuple[int, int]) -> Layer:
    """A group of all parts, over the ground of a label of ``shape_yx``, which parts that lack the group may have."""
    found = [part.layers.get(name) for part in parts]
    own_yx = [part.label.shape[-2:] for part in parts]
    there = [(layer, yx) for layer, yx in zip(found, own_yx, strict=True) if layer is not None]
    dates, (_, _, c, _, _) = max(layer.day.shape[1] for layer, _ in there), there[0][0].values.shape
    rows, columns = _largest(
        [
            tuple(round(n * most / own) for n, most, own in zip(layer.valid.shape[-2:], shape_yx, yx, strict=True))
            for layer, yx in there
        ]
    )
    total = sum(len(part.chip_ids) for part in parts)
    values = torch.zeros((total, dates, c, rows, columns))
    valid, day = torch.zeros((total, dates, rows, columns), dtype=torch.bool), torch.zeros((total, dates))
    at = 0
    for layer, part in zip(found, parts, strict=True):
        size = len(part.chip_ids)
        if layer is not None:
            t, (h, w) = layer.day.shape[1], layer.valid.shape[-2:]
            values[at : at + size, :t, :, :h, :w], valid[at : at + size, :t, :h, :w] = layer.values, layer.valid
            day[at : at + size, :t] = layer.day
        at += size
    return Layer(values, valid, day)


def select(batch: Batch, modalities: Iterable[str], groups: Mapping[str, GroupTable]) -> Batch:
    """The same chips with only these modalities."""
    wanted = set(modalities)
    return replace(batch, layers={n: layer for n, layer in batch.layers.items() if groups[n].modality in wanted})


def ground_size_m(chips: Chips) -> float:
    """Edge of the largest chip on the ground."""
    bounds: list[list[float]] = chips.dataset.columns(["bounds_xyxy"])["bounds_xyxy"].to_pylist()
    return max(max(right - left, top - bottom) for left, bottom, right, top in bounds)
