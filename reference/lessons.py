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
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from reference.bands import GroupTable
from reference.data import ABSTAIN, Batch, Chips, Layer, stack
from schemas.errors import DatasetError
from shards.storage import FolderStorage

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
    label_m: float | None = None
    """Pixel of the labels on the ground; as each chip's pictures say where None, see `label_step_m`."""


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
            chip = cropped(chip, self.chips.groups, self.course.crop_m, self.course.cell_m, luck, self.course.label_m)
        return turned(chip, int(luck.integers(8))) if self.course.turn else chip


class Steps(Sampler[list[Key]]):
    """Keys of each batch, from a step on: every chip once per epoch, in another order each time."""

    def __init__(self, count: int, course: Course, start: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.count, self.course, self.start = count, course, start
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        """Of the whole course: who goes on, Lightning say, counts the batches before the start as taken."""
        return self.course.steps

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
        workers: processes that read ahead; 0 reads in this one. From an object store they are started by a fork
            server, for its connections cannot be forked.
        pin: into page-locked memory.
    """
    forks = torch.multiprocessing.get_start_method() == "fork"
    return DataLoader(
        Exercises(chips, chip_ids, course),
        batch_sampler=Steps(len(chip_ids), course, start, rank, world_size),
        collate_fn=stack,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers > 0 else None,
        multiprocessing_context="forkserver" if workers > 0 and forks and not _is_local(chips) else None,
    )


def _is_local(chips: ChipSource) -> bool:
    """Whether chips are read from files, or from nowhere."""
    while isinstance(chips, Altered):
        chips = chips.chips
    return not isinstance(chips, Chips) or isinstance(chips.dataset.storage, FolderStorage)


def cropped(
    chip: Batch,
    tables: Mapping[str, GroupTable],
    crop_m: float,
    cell_m: float,
    luck: np.random.Generator,
    label_m: float | None = None,
) -> Batch:
    """A square part of a chip, the same ground in every group; the whole chip where it is no larger.

    Args:
        chip: a batch of one.
        tables: group -> its table.
        crop_m: edge of the part.
        cell_m: it begins at a multiple of this.
        luck: decides where.
        label_m: pixel of the label, which says what ground the chip has; as its pictures say where None.
    """
    label_m = label_step_m(chip, tables) if label_m is None else label_m
    h, w = chip.label.shape[-2:]
    rows, columns = (round(edge * label_m / cell_m) for edge in (h, w))
    side = max(1, round(crop_m / cell_m))
    if side >= rows and side >= columns:
        return chip
    top = int(luck.integers(max(rows - side, 0) + 1)) * cell_m
    left = int(luck.integers(max(columns - side, 0) + 1)) * cell_m
    edge = max(1, round(side * cell_m / label_m))
    size_yx = (min(edge, h), min(edge, w))
    begin_yx = (min(round(top / label_m), h - size_yx[0]), min(round(left / label_m), w - size_yx[1]))
    return part_of(chip, tables, label_m, begin_yx, size_yx)


def label_step_m(chip: Batch, tables: Mapping[str, GroupTable], edge_m: float | None = None) -> float:
    """Pixel of a chip's label on the ground.

    Args:
        chip: a chip.
        tables: group -> its table.
        edge_m: edge of the dataset's largest chip. It counts where the pictures agree, which show a chip's edge to half
            a pixel of theirs; else the finest of them does.

    Raises:
        ValueError: neither an edge nor a picture.
    """
    edge_px = max(chip.label.shape[-2:])
    shown = [(tables[name].step_m, max(layer.valid.shape[-2:])) for name, layer in chip.layers.items()]
    if edge_m is not None and all(abs(pixels * step_m - edge_m) < 0.499 * step_m for step_m, pixels in shown):
        return edge_m / edge_px
    if not shown:
        raise ValueError(f"nothing says how large the label of {', '.join(chip.chip_ids)} is on the ground")
    step_m, pixels = min(shown)
    return pixels * step_m / edge_px


def part_of(
    chip: Batch,
    tables: Mapping[str, GroupTable],
    label_m: float,
    begin_yx: tuple[int, int],
    size_yx: tuple[int, int],
    shown: Mapping[str, GroupTable] | None = None,
) -> Batch:
    """A rectangle of a chip, the same ground in every group by the nearest pixels.

    Args:
        chip: a batch of one.
        tables: group -> its table.
        label_m: pixel of the label on the ground.
        begin_yx: first pixel of the label.
        size_yx: pixels of the label.
        shown: group -> a table with the pixel in which it is shown; ``tables`` where None.
    """
    places = [(begin * label_m, size * label_m) for begin, size in zip(begin_yx, size_yx, strict=True)]
    layers = {}
    for name, layer in chip.layers.items():
        step_m, shown_m = tables[name].step_m, (shown or tables)[name].step_m
        rows, columns = (_pixels(begin_m, size_m, step_m, shown_m) for begin_m, size_m in places)
        layers[name] = _cut(layer, rows, columns)
    (y, x), (h, w) = begin_yx, size_yx
    label, confidence = (values[..., y : y + h, x : x + w] for values in (chip.label, chip.confidence))
    return replace(chip, layers=layers, label=label, confidence=confidence)


def _pixels(begin_m: float, size_m: float, step_m: float, shown_m: float) -> NDArray[np.int64]:
    """Numbers of the pixels of ``step_m`` nearest to pixels of about ``shown_m`` that divide a stretch of ground; they
    may lie beyond the picture.
    """
    count = max(1, round(size_m / shown_m))
    if abs(count * step_m - size_m) < 1e-6 * size_m:
        return np.arange(count, dtype=np.int64) + round(begin_m / step_m)
    centres_m = begin_m + (np.arange(count) + 0.5) * (size_m / count)
    nearest: NDArray[np.int64] = np.floor(centres_m / step_m + 1e-6).astype(np.int64)
    return nearest


def _cut(layer: Layer, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Layer:
    """Those pixels of a layer; what lies beyond it is not valid."""
    h, w = layer.valid.shape[-2:]
    inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))
    if inside.all() and (np.diff(rows) == 1).all() and (np.diff(columns) == 1).all():
        down, across = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return Layer(layer.values[..., down, across], layer.valid[..., down, across], layer.day)
    y, x = torch.from_numpy(rows.clip(0, h - 1))[:, None], torch.from_numpy(columns.clip(0, w - 1))
    valid = layer.valid[..., y, x] & torch.from_numpy(inside)  # (1, T, rows, columns)
    return Layer(layer.values[..., y, x] * valid[:, :, None], valid, layer.day)


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

    Raises:
        DatasetError: no pixel has a label.
    """
    counts = torch.zeros(classes, dtype=torch.float64)
    for chip_id in chip_ids:
        label = chips[chip_id].label
        counts += torch.bincount(label[label != ABSTAIN], minlength=classes)[:classes]
    if not bool(counts.any()):
        raise no_label(len(chip_ids))
    share = counts / counts.sum()
    weights = torch.where(share > 0, share.clamp_min(1e-4).rsqrt(), torch.zeros_like(share))
    return (weights / (weights * share).sum().clamp_min(1e-9)).float()


def no_label(chips: int) -> DatasetError:
    """What is said of chips from which nothing can be learned."""
    return DatasetError(
        f"no labelled pixel in the {chips} chips to learn from",
        mend="terraweft report shows what the labels cover; --label names another product",
    )
