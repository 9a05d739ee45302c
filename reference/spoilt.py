"""Datasets spoilt on purpose: what a gate must refuse, so that its passing means something."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reference.bands import GroupTable
from reference.data import ABSTAIN, Batch, Layer
from reference.lessons import Altered, ChipSource
from schemas.errors import DatasetError


def deranged(names: Sequence[str], seed: int) -> dict[str, str]:
    """Name -> another name: a turn of a random order, so that nobody keeps its own.

    Raises:
        DatasetError: a single name, which has no other.

    >>> found = deranged(["a", "b", "c"], 0)
    >>> sorted(found.values()), any(a == b for a, b in found.items())
    (['a', 'b', 'c'], False)
    """
    if len(names) == 1:
        raise DatasetError("there is no other chip to exchange with", where=names[0])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    return {names[order[i]]: names[order[i - 1]] for i in range(len(names))}


class Exchanged(Altered):
    """Chips with something that belongs to other chips.

    Args:
        chips: the real ones.
        partner: chip -> the chip from which it takes; those that are not named keep their own.
        labels: take label and confidence.
        captions: take the texts.
        modality: take the pictures of this modality.
    """

    def __init__(
        self,
        chips: ChipSource,
        partner: Mapping[str, str],
        *,
        labels: bool = False,
        captions: bool = False,
        modality: str = "",
    ) -> None:
        super().__init__(chips)
        self.partner = dict(partner)
        self.labels, self.captions, self.modality = labels, captions, modality

    def __getitem__(self, chip_id: str) -> Batch:
        """A chip, spoilt."""
        own = self.chips[chip_id]
        if chip_id not in self.partner:
            return own
        other = as_large(self.chips[self.partner[chip_id]], own)
        if self.labels:
            own = replace(own, label=other.label, confidence=other.confidence)
        if self.captions:
            own = replace(own, captions=other.captions)
        if self.modality:
            theirs = {n: v for n, v in other.layers.items() if self.groups[n].modality == self.modality}
            kept = {n: v for n, v in own.layers.items() if self.groups[n].modality != self.modality}
            own = replace(own, layers={n: (kept | theirs)[n] for n in self.groups if n in kept or n in theirs})
        return own


def as_large(chip: Batch, own: Batch) -> Batch:
    """A chip in the size of another: cut where it is larger, repeated where it is smaller. One that kept its own labels
    for want of a partner of its size would be no spoilt one.
    """
    if chip.label.shape == own.label.shape:
        return chip
    (h, w), (rows, columns) = chip.label.shape[-2:], own.label.shape[-2:]

    def fitted(values: Tensor) -> Tensor:
        size_yx = values.shape[-2:]
        wanted = (max(1, round(size_yx[0] * rows / h)), max(1, round(size_yx[1] * columns / w)))
        y, x = (torch.arange(n) % size for n, size in zip(wanted, size_yx, strict=True))
        return values[..., y[:, None], x]

    layers = {n: Layer(fitted(layer.values), fitted(layer.valid), layer.day) for n, layer in chip.layers.items()}
    return replace(chip, layers=layers, label=fitted(chip.label), confidence=fitted(chip.confidence))


class Flipped(Altered):
    """Chips of whose labelled pixels a share, in blocks drawn at random, names another class."""

    BLOCK_PX = 8

    def __init__(self, chips: ChipSource, share: float, seed: int) -> None:
        super().__init__(chips)
        self.share, self.seed = share, seed

    def __getitem__(self, chip_id: str) -> Batch:
        """A chip, spoilt."""
        own = self.chips[chip_id]
        return replace(own, label=flipped(own.label, self.share, self._luck(chip_id), self.BLOCK_PX, len(self.classes)))

    def _luck(self, chip_id: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, *chip_id.encode()]))


def flipped(label: Tensor, share: float, luck: np.random.Generator, block_px: int, classes: int) -> Tensor:
    """(1, H, W) label of which a share of blocks says a class that occurs elsewhere in it, moved on by one; the next of
    all classes where there is only one.
    """
    _, h, w = label.shape
    rows, columns = math.ceil(h / block_px), math.ceil(w / block_px)
    hit = np.kron(luck.random((rows, columns)) < share, np.ones((block_px, block_px), bool))[:h, :w]
    there = torch.unique(label[label != ABSTAIN])
    following = {int(c): int(there[(i + 1) % len(there)]) for i, c in enumerate(there)}
    if len(there) == 1:
        following = {c: (c + 1) % classes for c in following}
    moved = label.clone()
    for code, after in following.items():
        moved[label == code] = after
    mask = torch.from_numpy(hit)[None] & (label != ABSTAIN)
    return torch.where(mask, moved, label)


def shifted(
    batch: Batch, tables: Mapping[str, GroupTable], dx_m: float, dy_m: float, modality: str | None = None
) -> Batch:
    """Pictures moved east and south over the labels, by any fraction of a pixel; what comes in from outside is not
    valid.
    """
    layers = {
        name: _moved(layer, dx_m / tables[name].step_m, dy_m / tables[name].step_m)
        if modality in (None, tables[name].modality)
        else layer
        for name, layer in batch.layers.items()
    }
    return replace(batch, layers=layers)


def _moved(layer: Layer, dx_px: float, dy_px: float) -> Layer:
    b, t, c, h, w = layer.values.shape
    y, x = torch.meshgrid(torch.arange(h) - dy_px, torch.arange(w) - dx_px, indexing="ij")
    grid = torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1], -1).to(layer.values)  # (h, w, 2)
    grid = grid[None].expand(b * t, -1, -1, -1)
    values = F.grid_sample(layer.values.flatten(0, 1), grid, align_corners=False)  # (B * T, C, h, w)
    mask = layer.valid.flatten(0, 1)[:, None].to(values.dtype)
    valid = F.grid_sample(mask, grid, align_corners=False)[:, 0] > 0.999  # every pixel that it is made of was valid
    values = values * valid[:, None]
    return Layer(values.view(b, t, c, h, w), valid.view(b, t, h, w), layer.day)


def seen_in_both(batch: Batch, other: Batch) -> Batch:
    """Pictures of which only those pixels are left that are valid in other pictures of the same chips, too."""
    layers = {}
    for name, layer in batch.layers.items():
        valid = layer.valid & other.layers[name].valid  # (B, T, h, w)
        layers[name] = Layer(layer.values * valid[:, :, None], valid, layer.day)
    return replace(batch, layers=layers)


def noisy(batch: Batch, tables: Mapping[str, GroupTable], modality: str, deviations: float, seed: int) -> Batch:
    """Pictures of one modality under noise of so many standard deviations of their bands."""
    generator = torch.Generator().manual_seed(seed)
    layers = dict(batch.layers)
    for name, layer in batch.layers.items():
        if tables[name].modality == modality:
            noise = torch.randn(layer.values.shape, generator=generator) * deviations
            layers[name] = Layer((layer.values + noise) * layer.valid[:, :, None], layer.valid, layer.day)
    return replace(batch, layers=layers)


def clouded(batch: Batch, tables: Mapping[str, GroupTable], modality: str, share: float, seed: int) -> Batch:
    """Pictures of one modality of which a share is not seen, in round patches that all dates have in common."""
    generator = torch.Generator().manual_seed(seed)
    size = len(batch.chip_ids)
    rough = torch.randn(size, 1, 6, 6, generator=generator)
    layers = dict(batch.layers)
    for name, layer in batch.layers.items():
        if tables[name].modality == modality:
            field = F.interpolate(rough, layer.valid.shape[-2:], mode="bicubic")  # (B, 1, h, w)
            limit = torch.quantile(field.flatten(1), 1.0 - share, dim=1)[:, None, None, None]
            valid = layer.valid & (field < limit)
            layers[name] = Layer(layer.values * valid[:, :, None], valid, layer.day)
    return replace(batch, layers=layers)
