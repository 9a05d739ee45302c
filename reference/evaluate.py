"""What a model says of chips, and how well: confusion matrices per chip, from which every score follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from reference.data import ABSTAIN, Batch, stack

if TYPE_CHECKING:
    from reference.lessons import ChipSource
    from reference.model import ReferenceModel

Counts = NDArray[np.int64]
Classes = NDArray[np.uint8]
Alter = Callable[[Batch], Batch]

LEAST_SHARE = 0.002
"""A class counts in a mean over classes where it fills at least this share of the pixels it is measured on: the IoU of
a class of forty pixels is a coin's toss."""


def batches(chips: ChipSource, chip_ids: Sequence[str], size: int = 8) -> Iterator[Batch]:
    """Whole chips, in order."""
    return (stack(parts) for parts in alike((chips[chip_id] for chip_id in chip_ids), size))


def alike(chips: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Neighbours of one size, at most so many: what pads a chip to a larger one changes what is said of it."""
    held: list[Batch] = []
    for chip in chips:
        if held and (len(held) == size or chip.label.shape != held[0].label.shape):
            yield held
            held = []
        held.append(chip)
    if held:
        yield held


@torch.no_grad()
def predictions(
    model: ReferenceModel,
    chips: ChipSource,
    chip_ids: Sequence[str],
    *,
    alter: Alter | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
    """Each batch with its class probabilities (B, classes, H, W).

    Args:
        model: in any mode; evaluated.
        chips: where from.
        chip_ids: which.
        alter: what is done to a batch before the model sees it.
        device: where the model is.
    """
    model.eval()
    for batch in batches(chips, chip_ids):
        shown = (alter(batch) if alter is not None else batch).to(device)
        yield batch, torch.softmax(model(shown).scores.float(), 1).cpu().numpy()


def confusions(
    model: ReferenceModel,
    chips: ChipSource,
    chip_ids: Sequence[str],
    *,
    alter: Alter | None = None,
    against: Mapping[str, Classes] | None = None,
    device: torch.device | str = "cpu",
) -> Counts:
    """(n, classes, classes) pixels of each chip: rows are the label (or ``against``), columns the model's."""
    found = []
    for batch, chances in predictions(model, chips, chip_ids, alter=alter, device=device):
        for i, chip_id in enumerate(batch.chip_ids):
            aim = batch.label[i].numpy() if against is None else against[chip_id]
            found.append(confusion(aim, chances[i].argmax(0), len(chips.classes)))
    return np.stack(found)


def confusion(wanted: NDArray[Any], said: NDArray[Any], classes: int) -> Counts:
    """(classes, classes) pixels; those where either abstains are left out.

    >>> confusion(np.array([0, 1, 1, 255]), np.array([0, 1, 0, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    both = (wanted < classes) & (said < classes)
    flat = wanted[both].astype(np.int64) * classes + said[both]
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def iou(counts: NDArray[Any]) -> NDArray[np.float64]:
    """(classes,) intersection over union; NaN for a class that neither side has."""
    hit = np.diagonal(counts).astype(np.float64)
    union = counts.sum(0) + counts.sum(1) - hit
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


def counted_classes(counts: NDArray[Any]) -> NDArray[np.bool_]:
    """(classes,) which classes of a (classes, classes) matrix count in a mean: see `LEAST_SHARE`."""
    rows = counts.sum(1)
    return np.asarray(rows >= LEAST_SHARE * max(1, int(rows.sum())))


def mean_iou(counts: NDArray[Any], which: NDArray[np.bool_] | None = None) -> float:
    """Mean over the classes that count; 0 where there are none."""
    which = counted_classes(counts) if which is None else which
    return float(np.nan_to_num(iou(counts)[which]).mean()) if which.any() else 0.0


def accuracy(counts: NDArray[Any]) -> float:
    """Share of pixels that agree."""
    return float(np.trace(counts) / max(1, int(counts.sum())))


def spread_over_chips(
    per_chip: Counts, score: Callable[[NDArray[Any]], float] = mean_iou, repeats: int = 200, seed: int = 0
) -> tuple[float, float]:
    """(low, high) of the middle 90 % of a score when chips are drawn again with replacement.

    Args:
        per_chip: (n, ...) counts of each chip, summed over the chips that are drawn.
        score: of such a sum.
        repeats: draws.
        seed: of them.
    """
    luck = np.random.Generator(np.random.PCG64(seed))
    drawn = [score(per_chip[luck.integers(len(per_chip), size=len(per_chip))].sum(0)) for _ in range(repeats)]
    return float(np.quantile(drawn, 0.05)), float(np.quantile(drawn, 0.95))


def known(label: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a label says something."""
    return np.asarray(label != ABSTAIN)
