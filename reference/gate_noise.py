"""Gate *noise*: labels against what is predicted for chips that were left out of training.

The noise matrix is that of confident learning (Northcutt, Jiang and Chuang, 2021): of pixels labelled i, those whose
chance of j reaches the mean chance of j over the pixels labelled j. Controls: labels of which two fifths were changed
must be refused, and chips whose labels were exchanged must stand at the top of the list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.evaluate import known, predictions
from reference.findings import Figure, Finding, not_here, rounded
from reference.lessons import ChipSource
from reference.spoilt import Exchanged, Flipped, deranged
from reference.study import Study

FLIPPED = 0.4
"""Share of the control's labels that are changed."""
EXCHANGED = 0.15
"""Share of the control's chips whose labels are exchanged."""
LEAST_CHIPS = 4
"""Fewer cannot be left out in turn."""
MOST_BYTES = 1_000_000_000
"""Of chances that are kept: of larger datasets every second, third, ... pixel along both edges is looked at."""


@dataclass(frozen=True)
class LeftOut:
    """What models said of chips that they had not seen."""

    chances: Mapping[str, NDArray[np.float16]]
    """Chip -> (classes, h, w), of every ``step``-th pixel."""
    step: int = 1
    """Pixels from one that is looked at to the next, along both edges."""


def noise(study: Study) -> Finding:
    """Noise matrix, noise rate and suspicious chips."""
    rule, chips, train = study.gates.noise, study.chips, study.split.train
    step = thinning(study)
    labelled = [chip_id for chip_id in train if known(thinned(chips[chip_id].label.numpy(), step)).any()]
    if len(labelled) < max(LEAST_CHIPS, rule.folds):
        return not_here("noise", f"{len(labelled)} training chips with labels are too few to leave some out in turn")
    if len(chips.classes) < 2:
        return not_here("noise", "there is one class, and labels cannot be changed to another")
    found = left_out(study, rule.folds, labelled, step)
    matrix, rate = noise_matrix(found, chips)
    suspicion = suspicions(found, chips)
    listed = sorted(suspicion, key=lambda chip_id: -suspicion[chip_id])[: rule.suspicious]
    spoilt = Flipped(chips, FLIPPED, study.training.seed)
    _, control_rate = noise_matrix(found, spoilt)
    ranking = _ranking(found, chips, labelled, study.training.seed)
    classes = [name for name, row in zip(chips.classes, matrix, strict=True) if row.sum() > 0]
    kept = np.flatnonzero(matrix.sum(1) > 0)
    shares = matrix[np.ix_(kept, kept)] / matrix[kept].sum(1, keepdims=True)
    said = (
        f"{rate:.1%} of the labelled pixels seem to be of another class; with {FLIPPED:.0%} changed on purpose "
        f"{control_rate:.1%}; chips with exchanged labels are found with an area under the curve of {ranking:.2f}"
    )
    said += f"; every {found.step} pixels along both edges one was looked at" if found.step > 1 else ""
    return Finding(
        "noise",
        rate <= rule.max_noise and ranking >= rule.min_ranking,
        said,
        {"noise": rounded(rate), "ranking": rounded(ranking)},
        {name: float(value) for name, value in rule.model_dump().items()},
        f"{FLIPPED:.0%} of the labels changed to another class, of the chip where it has two",
        {"noise": rounded(control_rate)},
        control_rate > rule.max_noise,
        tuple({"chip": chip_id, "suspicion": rounded(suspicion[chip_id])} for chip_id in listed),
        (
            Figure(
                "Labelled (rows) and seemingly true (columns)",
                "matrix",
                labels=tuple(classes),
                matrix=tuple(tuple(rounded(v) for v in row) for row in shares),
            ),
        ),
        tuple(listed),
    )


def left_out(study: Study, folds: int, labelled: Sequence[str], step: int) -> LeftOut:
    """Chances for every training chip from models that did not see it; blocks stay together."""
    chances: dict[str, NDArray[np.float16]] = {}
    for asked in folds_of(study, folds, labelled):
        left = set(asked)
        rest = [chip_id for chip_id in study.split.train if chip_id not in left]
        model = study.train(study.chips, rest)
        for batch, said in predictions(model, study.chips, asked):
            for i, chip_id in enumerate(batch.chip_ids):
                chances[chip_id] = thinned(said[i], step).astype(np.float16)
    return LeftOut(chances, step)


def thinning(study: Study, most_bytes: int = MOST_BYTES) -> int:
    """`LeftOut.step` with which the chances of all training chips fit."""
    label = study.chips[study.split.train[0]].label
    whole = len(study.split.train) * len(study.chips.classes) * label.nelement() * np.dtype(np.float16).itemsize
    return max(1, math.ceil(math.sqrt(whole / most_bytes)))


def thinned(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Every ``step``-th of (..., H, W) values, along both edges.

    >>> thinned(np.arange(12).reshape(3, 4), 2).tolist()
    [[5, 7]]
    """
    return values[..., step // 2 :: step, step // 2 :: step]


def folds_of(study: Study, folds: int, labelled: Sequence[str]) -> list[list[str]]:
    """Training chips in parts of nearly as many labelled ones, so that beside a part there are some to learn from;
    a block is in one part where there are enough blocks with labels.
    """
    table = study.whole.dataset.chips.set_index("chip_id")["block_id"].to_dict()
    blocks: dict[str, list[str]] = {}
    for chip_id in study.split.train:
        blocks.setdefault(str(table.get(chip_id, chip_id)), []).append(chip_id)
    known_ones = set(labelled)

    def labelled_then_all(group: Sequence[str]) -> tuple[int, int]:
        return len(known_ones.intersection(group)), len(group)

    enough = sum(not known_ones.isdisjoint(block) for block in blocks.values()) >= folds
    groups = list(blocks.values()) if enough else [[chip_id] for chip_id in study.split.train]
    parts: list[list[str]] = [[] for _ in range(folds)]
    for group in sorted(groups, key=labelled_then_all, reverse=True):
        min(parts, key=labelled_then_all).extend(group)
    return parts


def noise_matrix(found: LeftOut, chips: ChipSource) -> tuple[NDArray[np.int64], float]:
    """(classes, classes) confident pixels by label (rows) and seeming truth (columns); share off the diagonal."""
    classes = len(chips.classes)
    sums, counts = np.zeros(classes), np.zeros(classes)
    for label, chance in _pairs(found, chips):
        for i in np.unique(label):
            own = chance[i, label == i]
            sums[i] += own.sum()
            counts[i] += own.size
    limits = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    matrix = np.zeros((classes, classes), np.int64)
    for label, chance in _pairs(found, chips):
        reached = np.where(chance >= limits[:, None], chance, -1.0)  # (classes, pixels)
        said, sure = reached.argmax(0), reached.max(0) > 0
        flat = label[sure] * classes + said[sure]
        matrix += np.bincount(flat, minlength=classes**2).reshape(classes, classes)
    total = matrix.sum()
    return matrix, float(1.0 - np.trace(matrix) / total) if total else 0.0


def _pairs(found: LeftOut, chips: ChipSource) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """(pixels,) labels and (classes, pixels) chances of each chip's labelled pixels."""
    for chip_id, chance in found.chances.items():
        label = thinned(chips[chip_id].label[0].numpy(), found.step)
        shown = label < len(chips.classes)
        yield label[shown], chance[:, shown].astype(np.float32)


def suspicions(found: LeftOut, chips: ChipSource) -> dict[str, float]:
    """Chip -> how little its labels were expected: one less the mean chance of the label, over its classes. Chips
    without a label are left out.
    """
    suspicion = {}
    for chip_id, (label, chance) in zip(found.chances, _pairs(found, chips), strict=True):
        own = np.take_along_axis(chance, label[None], axis=0)[0]
        means = [own[label == i].mean() for i in np.unique(label)]
        if means:
            suspicion[chip_id] = float(1.0 - np.mean(means))
    return suspicion


def _ranking(found: LeftOut, chips: ChipSource, labelled: Sequence[str], seed: int) -> float:
    """Area under the curve with which suspicion finds chips whose labels were exchanged, among chips with labels."""
    luck = np.random.Generator(np.random.PCG64(seed))
    some = luck.permutation(list(labelled))[: max(2, round(EXCHANGED * len(labelled)))].tolist()
    suspicion, exchanged = suspicions(found, Exchanged(chips, deranged(some, seed), labels=True)), set(some)
    wrong: list[Any] = [suspicion[chip_id] for chip_id in some]
    right = [suspicion[chip_id] for chip_id in labelled if chip_id not in exchanged]
    return area_under_curve(wrong, right)


def area_under_curve(high: Sequence[float], low: Sequence[float]) -> float:
    """Chance that one of the first is above one of the second.

    >>> area_under_curve([3.0, 1.0], [0.0, 2.0])
    0.75
    """
    a, b = np.asarray(high)[:, None], np.asarray(low)[None]
    return float(((a > b) + 0.5 * (a == b)).mean()) if a.size and b.size else 0.5
