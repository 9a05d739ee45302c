"""What a model is shown, step by step: which chips, which part of them, turned which way.

Everything follows from (seed, step) alone: a run that goes on from step k sees exactly what it would have seen, and no
sample is read to be thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from reference.bands import GroupTable
from reference.data import ABSTAIN, Batch, Layer, stack

Key = tuple[int, int]
"""(number of a chip, epoch)."""


class ChipSource(Protocol):
    """Where chips come from: `reference.data.Chips`, or one that alters what it gives."""

    @property
    def groups(self) -> Mapping[str, GroupTable]:
        """Group -> its table."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        ...

    def __getitem__(self, chip_id: str) -> Batch:
        """One chip as a batch of one."""
        ...


class Altered:
    """What is the same of chips that are altered: their groups and classes; the rest of a `ChipSource` is added."""

    def __init__(self, chips: ChipSource) -> None:
        self.chips = chips

    @property
    def groups(self) -> Mapping[str, GroupTable]:
        """Of the real chips."""
        return self.chips.groups

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the real chips."""
        return self.chips.classes


@dataclass(frozen=True)
class Course:
    """How chips become batches."""

    batch_size: int = 8
    """Chips in a batch, of each process."""
    steps: int = 300
    """Batches in all."""
    seed: int = 0
    """Of order, crops and turns."""
    crop_m: float | None = None
    """Edge of the part that is shown; whole chips where None."""
    cell_m: float = 10.0
    """Parts begin at a multiple of this: the model's cell."""
    turn: bool = True
    """Whether parts are turned and mirrored."""


class Exercises(Dataset[Batch]):
    """Parts of chips, each a batch of one, by (chip, epoch)."""

    def __init__(self, chips: ChipSource, chip_ids: Sequence[str], course: Course) -> None:
        self.chips, self.chip_ids, self.course = chips, list(chip_ids), course

    def __len__(self) -> int:
        return len(self.chip_ids)

    def __getitem__(self, key: Key) -> Batch:
        """The part of a chip that an epoch shows."""
        number, epoch = key
        luck = np.random.Generator(np.random.PCG64([self.course.seed, epoch, number]))
        chip = replace(self.chips[self.chip_ids[number]], captions=())  # of the whole chip: see `reference.words`
        if self.course.crop_m is not None:
            chip = cropped(chip, self.chips.groups, self.course.crop_m, self.course.cell_m, luck)
        return turned(chip, int(luck.integers(8))) if self.course.turn else chip


class Steps(Sampler[list[Key]]):
    """Keys of each batch, from a step on: every chip once per epoch, in another order each time."""

    def __init__(self, count: int, course: Course, start: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.count, self.course, self.start = count, course, start
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return self.course.steps - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        size, epoch_seen = self.course.batch_size, -1
        order = np.zeros(0, np.int64)
        for step in range(self.start, self.course.steps):
            first = (step * self.world_size + self.rank) * size
            keys: list[Key] = []
            for position in range(first, first + size):
                epoch, place = divmod(position, self.count)
                if epoch != epoch_seen:
                    generator = np.random.Generator(np.random.PCG64([self.course.seed, epoch]))
                    order, epoch_seen = generator.permutation(self.count), epoch
                keys.append((int(order[place]), epoch))
            yield keys


def loader(
    chips: ChipSource,
    chip_ids: Sequence[str],
    course: Course,
    *,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    pin: bool = False,
) -> DataLoader[Batch]:
    """Batches from a step on.

    Args:
        chips: where from.
        chip_ids: which.
        course: how.
        start: first step.
        rank: this process, of ``world_size``.
        world_size: processes that share each step.
        workers: processes that read ahead; 0 reads in this one.
        pin: into page-locked memory.
    """
    return DataLoader(
        Exercises(chips, chip_ids, course),
        batch_sampler=Steps(len(chip_ids), course, start, rank, world_size),
        collate_fn=stack,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers > 0 else None,
    )


def cropped(
    chip: Batch, tables: Mapping[str, GroupTable], crop_m: float, cell_m: float, luck: np.random.Generator
) -> Batch:
    """A square part of a chip, the same ground in every group; the whole chip where it is no larger."""
    name = next(iter(chip.layers))
    h, w = chip.layers[name].valid.shape[-2:]
    rows, columns = (round(edge * tables[name].step_m / cell_m) for edge in (h, w))
    side = max(1, round(crop_m / cell_m))
    if side >= rows and side >= columns:
        return chip
    top = int(luck.integers(max(rows - side, 0) + 1)) * cell_m
    left = int(luck.integers(max(columns - side, 0) + 1)) * cell_m

    def cut(values: Tensor, step_m: float) -> Tensor:
        y, x, edge = round(top / step_m), round(left / step_m), round(side * cell_m / step_m)
        return values[..., y : y + edge, x : x + edge]

    layers = {
        n: Layer(cut(layer.values, tables[n].step_m), cut(layer.valid, tables[n].step_m), layer.day)
        for n, layer in chip.layers.items()
    }
    label_step_m = h * tables[name].step_m / chip.label.shape[-2]
    return replace(
        chip, layers=layers, label=cut(chip.label, label_step_m), confidence=cut(chip.confidence, label_step_m)
    )


def turned(chip: Batch, number: int) -> Batch:
    """One of the eight ways to lay a square down; 0 leaves it. Chips that are not square are mirrored only."""
    square = chip.label.shape[-1] == chip.label.shape[-2]
    quarter, mirror = (number % 4 if square else 2 * (number % 2)), number >= 4

    def turn(values: Tensor) -> Tensor:
        values = torch.rot90(values, quarter, (-2, -1))
        return values.flip(-1) if mirror else values

    layers = {n: Layer(turn(layer.values), turn(layer.valid), layer.day) for n, layer in chip.layers.items()}
    return replace(chip, layers=layers, label=turn(chip.label), confidence=turn(chip.confidence))


def class_weights(chips: ChipSource, chip_ids: Sequence[str], classes: int) -> Tensor:
    """(classes,) weights of the loss: one over the square root of a class's share, 1 on average over pixels; 0 for a
    class that never occurs.
    """
    counts = torch.zeros(classes, dtype=torch.float64)
    for chip_id in chip_ids:
        label = chips[chip_id].label
        counts += torch.bincount(label[label != ABSTAIN], minlength=classes)[:classes]
    share = counts / counts.sum().clamp_min(1)
    weights = torch.where(share > 0, share.clamp_min(1e-4).rsqrt(), torch.zeros_like(share))
    return (weights / (weights * share).sum().clamp_min(1e-9)).float()
