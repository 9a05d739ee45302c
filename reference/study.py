"""What the gates share: the dataset's chips, who learns and who is held out, the model that learned from them.

Models are trained when a gate first asks for them, and kept.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reference.bands import GroupTable
from reference.data import ABSTAIN, Batch, Chips, ground_size_m
from reference.evaluate import Classes, Counts, confusions, counted_classes
from reference.lessons import Altered, ChipSource, class_weights, label_step_m, part_of
from reference.model import ReferenceModel
from reference.train import Trained, Training, fit
from schemas.errors import DatasetError
from schemas.recipe_gates import Gates

log = logging.getLogger(__name__)

PARTS = 4
"""Where no chip is held out, each is cut into so many parts along an edge, and every fourth part is."""


class Parts(Altered):
    """Chips cut into squares, for datasets too small to have a split: ``chip~0``, ``chip~1``, ...

    A group whose pixels do not divide a part (30 m in 160 m) is shown in finer ones that do, each repeating the pixel
    that lies there.

    Args:
        chips: the whole ones.
        parts: along an edge.
        edge_m: edge of the largest chip on the ground; the dataset's where None.
        edge_px: pixels of its label along it; the dataset's where None.
    """

    def __init__(
        self, chips: ChipSource, parts: int = PARTS, edge_m: float | None = None, edge_px: int | None = None
    ) -> None:
        super().__init__(chips)
        if isinstance(chips, Chips):
            edge_m, edge_px = edge_m or ground_size_m(chips), edge_px or max(chips.dataset.label_shape_yx)
        self.parts, self.edge_m = parts, edge_m
        self._groups = chips.groups
        if edge_m and edge_px and edge_px >= parts:
            self._groups = dividing(chips.groups, edge_px // parts * edge_m / edge_px)

    @property
    def groups(self) -> Mapping[str, GroupTable]:
        """Of the real chips, with pixels that divide a part."""
        return self._groups

    def names(self, chip_ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """(learned from, held out): of each 2 x 2 parts one is held out, a different one in each chip."""
        learned: list[str] = []
        held: list[str] = []
        for number, chip_id in enumerate(chip_ids):
            for part in range(self.parts**2):
                row, column = divmod(part, self.parts)
                is_held = (row % 2, column % 2) == divmod(number % 4, 2)
                (held if is_held else learned).append(f"{chip_id}~{part}")
        return learned, held

    def __getitem__(self, name: str) -> Batch:
        """A part."""
        chip_id, _, number = name.rpartition("~")
        whole = self.chips[chip_id]
        row, column = divmod(int(number), self.parts)
        h, w = (pixels // self.parts for pixels in whole.label.shape[-2:])
        label_m = label_step_m(whole, self.chips.groups, self.edge_m)
        part = part_of(whole, self.chips.groups, label_m, (row * h, column * w), (h, w), self.groups)
        return replace(part, chip_ids=(name,))


def dividing(tables: Mapping[str, GroupTable], part_m: float) -> dict[str, GroupTable]:
    """Tables of groups shown in pixels that divide a part: their own where they do; else the largest of which both the
    part and the own are multiples, unless that is far finer than the finest group; else about as fine as that one.

    >>> from dataclasses import make_dataclass
    >>> Table = make_dataclass("Table", ["step_m"])
    >>> [t.step_m for t in dividing({"a": Table(10.0), "b": Table(20.0), "c": Table(30.0)}, 160.0).values()]
    [10.0, 20.0, 10.0]
    """

    def shared(step_m: float) -> float:
        pixels = part_m / step_m
        fits = pixels > 0.9 and abs(pixels - round(pixels)) < 0.05
        return step_m if fits else math.gcd(round(part_m * 100), round(step_m * 100)) / 100.0

    finest_m = min((table.step_m for table in tables.values()), default=part_m)
    least_m = max(shared(finest_m), finest_m / 4.0)
    steps = {name: shared(table.step_m) for name, table in tables.items()}
    near_m = part_m / math.ceil(part_m / least_m - 0.05)
    return {
        name: table if steps[name] == table.step_m else replace(table, step_m=max(steps[name], near_m))
        for name, table in tables.items()
    }


@dataclass(frozen=True)
class Split:
    """Who learns, and who is asked."""

    train: tuple[str, ...]
    """Chips that models may see."""
    held_out: tuple[str, ...]
    """Chips that they may not: val and test together, for no choice is made by either."""
    how: str
    """Where this comes from."""


class Study:
    """One validation's models and scores.

    Args:
        chips: the dataset's.
        gates: thresholds and training.
        truth: chip -> (H, W) true class index, 255 where it is not known.
        steps_share: share of the steps of each training; less for a short validation.
        texts: whether a gate asks for captions: the model learns them then.
    """

    def __init__(
        self,
        chips: Chips,
        gates: Gates,
        truth: Mapping[str, Classes] | None = None,
        *,
        steps_share: float = 1.0,
        texts: bool = True,
    ) -> None:
        self.whole, self.gates = chips, gates
        self.split = split_of(chips)
        self.cut = Parts(chips) if "parts" in self.split.how else None
        self.chips: ChipSource = self.cut or chips
        self.edge_m = ground_size_m(chips) / (PARTS if self.cut else 1)
        self.truth = dict(truth or {})
        chosen = gates.training
        self.training = Training(
            size=chosen.size,
            steps=max(1, round(chosen.steps * steps_share)),
            batch_size=chosen.batch_size,
            crop_m=chosen.crop_m,
            seed=chosen.seed,
            text_steps=0,
        )
        self.with_texts = replace(self.training, text_steps=Training.text_steps) if texts else self.training
        self.trained: list[Trained] = []

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of the dataset, in the recipe's order."""
        return self.whole.modalities

    def train(self, chips: ChipSource, chip_ids: Sequence[str], training: Training | None = None) -> ReferenceModel:
        """A model that learned from these chips."""
        done = fit(chips, chip_ids, self.edge_m, training or self.training)
        log.info("%d steps in %.1f s, %.1f chips/s", done.steps, done.seconds, done.samples_per_s)
        self.trained.append(done)
        return done.model

    @cached_property
    def model(self) -> ReferenceModel:
        """The model that learned from the dataset as it is."""
        return self.train(self.chips, self.split.train, self.with_texts)

    @cached_property
    def held_out(self) -> Counts:
        """(n, classes, classes) of that model on the held-out chips."""
        return confusions(self.model, self.chips, self.split.held_out)

    @cached_property
    def scored_held_out(self) -> NDArray[np.bool_]:
        """(held out,) which of them have a label and a clear pixel: of the others nothing can be scored."""
        asked = (self.chips[chip_id] for chip_id in self.split.held_out)
        return np.array([has_label(chip) and is_seen(chip) for chip in asked])

    @cached_property
    def unscored(self) -> str:
        """Why no held-out chip can be scored; empty where one can be."""
        if self.scored_held_out.any():
            return ""
        are_labelled = any(has_label(self.chips[chip_id]) for chip_id in self.split.held_out)
        return f"no held-out chip has a label{' and a clear pixel' if are_labelled else ''}"

    @cached_property
    def weights(self) -> Tensor:
        """(classes,) of the loss."""
        return class_weights(self.chips, self.split.train, len(self.chips.classes))

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """(classes,) those that count in a mean over the held-out labels."""
        return counted_classes(self.held_out.sum(0))

    @cached_property
    def label_m(self) -> float:
        """Pixel of the labels on the ground, as the models know it."""
        return label_step_m(self.chips[self.split.train[0]], self.chips.groups, self.edge_m)

    def has_captions(self) -> bool:
        """Whether there are texts to learn."""
        return any(self.chips[chip_id].captions for chip_id in self.split.train)


def has_label(chip: Batch) -> bool:
    """Whether any pixel of a chip has a label."""
    return bool((chip.label != ABSTAIN).any())


def is_seen(chip: Batch) -> bool:
    """Whether any pixel of a chip is clear, on any date of any modality."""
    return any(bool(layer.valid.any()) for layer in chip.layers.values())


def split_of(chips: Chips) -> Split:
    """The dataset's own split; where it holds nothing out, parts of its chips.

    Raises:
        DatasetError: a dataset without chips.
    """
    train = chips.ids("train")
    held = [*chips.ids("val"), *chips.ids("test")]
    if train and held:
        return Split(tuple(train), tuple(held), "the dataset's split: train against val and test")
    everything = train or held
    if not everything:
        raise DatasetError("there is no chip to learn from", where=chips.dataset.name)
    learned, asked = Parts(chips).names(everything)
    return Split(tuple(learned), tuple(asked), "parts of the chips, a quarter held out: the dataset has no split")
