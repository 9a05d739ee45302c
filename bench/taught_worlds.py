"""Worlds of the sandbox, what models learn from their labels, and how these score on the truth.

Worlds, datasets and finished trainings are kept in ``build/reproduction``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.worlds import sandbox_dataset, without_coarse
from reference.data import ABSTAIN, Batch, Chips, Target, ground_size_m
from reference.evaluate import accuracy, confusion, confusions, mean_iou
from reference.lessons import Altered, ChipSource
from reference.model import ReferenceModel
from reference.spoilt import clouded
from reference.study import split_of
from reference.train import Training, fit
from reference.truth import read_truth
from schemas.recipe_gates import GateTraining
from terraweft import open_dataset

KEPT = Path(__file__).parents[1] / "build" / "reproduction"
OPTICAL = "s2"
CLOUD_SHARE = 0.6
FEW = 8
"""Chips of trainings that see few."""
BY_LOOK = 0.5
"""Share of the variance of WorldCover's errors that follows from what the ground looks like."""


@dataclass(frozen=True)
class Lesson:
    """One training of each world."""

    target: str = "label"
    """Label that is learned."""
    by_confidence: bool = True
    """Whether sure pixels count more."""
    modalities: tuple[str, ...] | None = None
    """Those that the model has; all where None."""
    chips: int | None = None
    """So many of the training chips, drawn by the world's seed; all where None."""
    least: float = 0.0
    """Labels that are less sure do not count."""
    told: str = ""
    """By somebody who knows the truth: which labels are ``wrong``, so that they do not count, or the ``truth`` itself
    wherever there is a label (`bench/weighting.py`)."""


class Sure(Altered):
    """Chips whose labels abstain where they are less sure than ``least``."""

    def __init__(self, chips: Chips, least: float) -> None:
        super().__init__(chips)
        self.least = least

    def __getitem__(self, chip_id: str) -> Batch:
        """One chip as a batch of one."""
        chip = self.chips[chip_id]
        return replace(chip, label=torch.where(chip.confidence < self.least, ABSTAIN, chip.label))


class Told(Altered):
    """Chips whose labels to learn from somebody corrects (`Lesson.told`)."""

    def __init__(self, chips: Chips, truth: Mapping[str, Any], told: str) -> None:
        super().__init__(chips)
        self.truth, self.told = truth, told

    def __getitem__(self, chip_id: str) -> Batch:
        """One chip as a batch of one."""
        chip = self.chips[chip_id]
        if chip_id not in self.truth:
            return chip
        true = torch.from_numpy(self.truth[chip_id].astype(np.int64))[None]  # (1, H, W)
        if self.told == "wrong":
            return replace(chip, label=torch.where(chip.label == true, chip.label, ABSTAIN))
        return replace(chip, label=torch.where(chip.label == ABSTAIN, ABSTAIN, true))


NEWEST = "worldcover"
SOURCES = (NEWEST, "worldcover_2020")
PARTIAL = ("corine", "osm")
"""Sources that do not speak everywhere."""
RIGHT_ALONE, TRUTH = "fused, right ones alone", "truth where labelled"
ABSTAINS = 0.5
"""A recipe's default: labels that are less sure abstain."""
LEAST, LEAST_ALIKE = f"fused, {ABSTAINS} and more", f"fused, {ABSTAINS} and more, all alike"
LESSONS: Mapping[str, Lesson] = {
    "fused": Lesson(),
    "fused, all alike": Lesson(by_confidence=False),
    **{name: Lesson(name) for name in (*SOURCES, *PARTIAL)},
    f"fused, {OPTICAL} alone": Lesson(modalities=(OPTICAL,)),
    f"fused, {FEW} chips": Lesson(chips=FEW),
    f"{NEWEST}, {FEW} chips": Lesson(NEWEST, chips=FEW),
    RIGHT_ALONE: Lesson(by_confidence=False, told="wrong"),
    TRUTH: Lesson(by_confidence=False, told="truth"),
    LEAST: Lesson(least=ABSTAINS),
    LEAST_ALIKE: Lesson(by_confidence=False, least=ABSTAINS),
}


@dataclass(frozen=True)
class Series:
    """Worlds of one kind."""

    seeds: tuple[int, ...]
    """Of the worlds."""
    by_look: float
    """`write_sandbox`'s ``errors_by_look``."""
    few_worlds: int
    """Worlds that learn from few chips, too."""
    radar: bool
    """Whether models without radar are trained, too."""
    record: str
    """Name of its result."""
    without: str = ""
    """`sandbox_dataset`'s; then the dataset's labels never abstain."""
    first_look: int = 0
    """Worlds after which the differences were looked at for the first time, where more were added then; in these
    models learn from `PARTIAL`, too."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Single sources that models learn from."""
        return (*SOURCES, *(PARTIAL if self.first_look else ()))

    @property
    def lessons(self) -> tuple[str, ...]:
        """Trainings of the series; see `World.learns`."""
        few = [name for name, lesson in LESSONS.items() if lesson.chips is not None and self.few_worlds]
        alone = [f"fused, {OPTICAL} alone"] if self.radar else []
        return ("fused", "fused, all alike", *self.sources, *alone, *few)


def asked_about(recipe: dict[str, Any]) -> None:
    """Leave out Landsat, EnMAP, the optical bands of 60 m, texts and targets, none of which is asked about."""
    without_coarse(recipe)
    recipe.pop("captions")
    recipe["labels"].pop("targets")


def labelled_everywhere(recipe: dict[str, Any]) -> None:
    """The same with a label of every pixel, however unsure."""
    asked_about(recipe)
    recipe["labels"]["fuse"]["abstain_below"] = 0.0


@dataclass
class World:
    """One world's dataset and truth, and the scores of models on it."""

    seed: int
    """Of the world, of weights, order and crops."""
    series: Series
    """What it is one of."""
    _chips: dict[tuple[str, tuple[str, ...] | None], Chips] = field(default_factory=dict)

    def learns(self, name: str) -> bool:
        """Whether a training is made here."""
        if LESSONS[name].chips is not None:
            return self.seed in self.series.seeds[: self.series.few_worlds]
        return name not in PARTIAL or self.seed in self.series.seeds[: self.series.first_look]

    @cached_property
    def root(self) -> Path:
        """World and dataset."""
        root = KEPT / str(self.seed)
        alter = labelled_everywhere if self.series.without else asked_about
        series = self.series
        sandbox_dataset(root, alter, size="demo", seed=self.seed, by_look=series.by_look, without=series.without)
        return root

    @cached_property
    def split(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(learned from, held out with a truth)."""
        split = split_of(self.chips())
        return split.train, tuple(chip_id for chip_id in split.held_out if chip_id in self.truth)

    @cached_property
    def truth(self) -> Mapping[str, Any]:
        """Chip -> (H, W) true class index."""
        return self._truth_of(split_of(self.chips()).held_out)

    def _truth_of(self, chip_ids: Sequence[str]) -> Mapping[str, Any]:
        maps = sorted((self.root / "world" / "truth").glob("*_classes.tif"))
        return read_truth(maps, self.chips().dataset, chip_ids)

    def chips(self, target: str = "label", modalities: tuple[str, ...] | None = None) -> Chips:
        """The dataset's chips, of a label and of modalities."""
        key = (target, modalities)
        if key not in self._chips:
            self._chips[key] = Chips(open_dataset(str(self.root / "dataset")), Target(target), modalities)
        return self._chips[key]

    def path(self, name: str) -> Path:
        """Where a training's scores are kept."""
        return KEPT / str(self.seed) / "scores" / f"{name.replace(', ', '-').replace(' ', '-')}.json"

    def scores(self, name: str) -> dict[str, Any]:
        """Scores of one training, made now or read back."""
        path = self.path(name)
        if path.is_file():
            return dict(json.loads(path.read_text()))
        lesson, rule = LESSONS[name], GateTraining()
        chips = self.chips(lesson.target, lesson.modalities)
        train, _ = self.split
        if lesson.chips is not None:
            luck = np.random.Generator(np.random.PCG64(self.seed))
            train = tuple(luck.permutation(np.array(train))[: lesson.chips].tolist())
        options = Training(
            size=rule.size,
            steps=rule.steps,
            batch_size=rule.batch_size,
            crop_m=rule.crop_m,
            seed=self.seed,
            text_steps=0,
            by_confidence=lesson.by_confidence,
            accelerator="cpu",
        )
        taught: ChipSource = Told(chips, self._truth_of(train), lesson.told) if lesson.told else chips
        taught = Sure(chips, lesson.least) if lesson.least else taught
        done = fit(taught, train, ground_size_m(chips), options)
        asked = self.chips("label", lesson.modalities)
        found: dict[str, Any] = {
            "seconds": round(done.seconds, 1),
            "chips": len(train),
            "clear": self.asked(done.model, asked),
        }
        if lesson.target == "label":
            found["clouds"] = self.asked(done.model, asked, hidden=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        print(f"world {self.seed}, {name}: {found['clear']['mean_iou']:.3f} in {done.seconds:.0f} s", flush=True)
        return found

    def asked(self, model: ReferenceModel, chips: Chips, hidden: bool = False) -> dict[str, float]:
        """Mean IoU and accuracy against the truth on held-out chips; on the pixels that clouds hide where asked."""
        counts = np.zeros((len(chips.classes), len(chips.classes)), np.int64)
        for number, chip_id in enumerate(self.split[1]):
            if not hidden:
                counts += confusions(model, chips, [chip_id], against=self.truth).sum(0)
                continue
            luck = self.seed * 1000 + number
            under = clouded(chips[chip_id], chips.groups, OPTICAL, CLOUD_SHARE, luck)
            seen = under.layers["s2_10m"].valid[0].any(0).numpy()  # (H, W)
            against = {chip_id: np.where(seen, 255, self.truth[chip_id]).astype(np.uint8)}
            counts += confusions(model, chips, [chip_id], alter=lambda _, b=under: b, against=against).sum(0)  # type: ignore[misc]
        return {"mean_iou": mean_iou(counts), "accuracy": accuracy(counts)}

    def labels(self) -> dict[str, dict[str, float]]:
        """Mean IoU and accuracy of the labels themselves where they say something, and where they do."""
        found = {}
        for name in ("label", *self.series.sources):
            chips = self.chips(name)
            pairs = [(self.truth[i], chips[i].label[0].numpy()) for i in self.split[1]]
            counts = np.asarray(sum(confusion(true, label, len(chips.classes)) for true, label in pairs))
            said = sum(int((label != 255).sum()) for _, label in pairs) / sum(label.size for _, label in pairs)
            found["fused" if name == "label" else name] = {
                "mean_iou": mean_iou(counts),
                "accuracy": accuracy(counts),
                "says": said,
            }
        return found

    def judged(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Confidence of each fused label to learn from, and whether it is right; both (pixels,)."""
        truth = self._truth_of(self.split[0])
        pairs = [(self.chips()[chip_id], here) for chip_id, here in truth.items()]
        label = np.concatenate([chip.label.numpy().ravel() for chip, _ in pairs])
        sure = np.concatenate([chip.confidence.numpy().ravel() for chip, _ in pairs])
        true = np.concatenate([here.ravel() for _, here in pairs])
        known = (label != ABSTAIN) & (true != ABSTAIN)
        return sure[known], (label == true)[known]

    def wrong(self) -> tuple[float, float]:
        """Share of the fused labels to learn from that is wrong, counted in pixels and in confidence."""
        sure, right = self.judged()
        return float(1.0 - right.mean()), float(np.average(~right, weights=sure))
