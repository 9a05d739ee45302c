"""What a model must beat: the largest class everywhere, and a logistic regression on the spectrum of single pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from reference.data import ABSTAIN, Batch
from reference.evaluate import Counts, confusion
from reference.lessons import ChipSource, no_label

MOST_PIXELS = 60_000
"""Of the training chips, drawn at random: more pixels move the regression's score by less than its spread."""
RIDGE = 1e-3
ROUNDS = 60


def largest_class(chips: ChipSource, chip_ids: Sequence[str]) -> int:
    """The class with most labelled pixels."""
    counts = np.zeros(len(chips.classes), np.int64)
    for chip_id in chip_ids:
        label = chips[chip_id].label.numpy()
        counts += np.bincount(label[label != ABSTAIN].ravel(), minlength=len(counts))[: len(counts)]
    return int(counts.argmax())


def constant_confusions(chips: ChipSource, chip_ids: Sequence[str], said: int) -> Counts:
    """(n, classes, classes) of naming one class everywhere."""
    labels = [chips[chip_id].label.numpy() for chip_id in chip_ids]
    return np.stack([confusion(label, np.full(label.shape, said), len(chips.classes)) for label in labels])


def spectra(chip: Batch, chips: ChipSource) -> Tensor:
    """(features, H, W) of each pixel: its mean over clear dates in every band of every group, and whether there is one.

    A group of coarser pixels is repeated on the label's grid; what was never seen is 0, the mean.
    """
    shape_yx = tuple(chip.label.shape[-2:])
    parts = []
    for name, table in chips.groups.items():
        layer = chip.layers.get(name)
        if layer is None:
            parts.append(torch.zeros(len(table.numbers) + 1, *shape_yx))
            continue
        valid = layer.valid[0, :, None].to(layer.values.dtype)  # (T, 1, h, w)
        count = valid.sum(0)  # (1, h, w)
        mean = (layer.values[0] * valid).sum(0) / count.clamp_min(1.0)  # (C, h, w)
        both = torch.cat([mean, (count > 0).to(mean.dtype)])[None]
        parts.append(F.interpolate(both, shape_yx, mode="nearest")[0])
    return torch.cat(parts)


@dataclass
class PixelRegression:
    """A multinomial logistic regression."""

    weight: Tensor
    """(features + 1, classes)."""

    def confusions(self, chips: ChipSource, chip_ids: Sequence[str]) -> Counts:
        """(n, classes, classes) against the labels."""
        found = []
        for chip_id in chip_ids:
            chip = chips[chip_id]
            said = self.classes_of(spectra(chip, chips))
            found.append(confusion(chip.label[0].numpy(), said, len(chips.classes)))
        return np.stack(found)

    def classes_of(self, features: Tensor) -> NDArray[np.int64]:
        """(features, H, W) -> (H, W)."""
        scores = torch.tensordot(self.weight[:-1], features, dims=([0], [0])) + self.weight[-1][:, None, None]
        said: NDArray[np.int64] = scores.argmax(0).numpy()
        return said


def fit_pixels(chips: ChipSource, chip_ids: Sequence[str], weights: Tensor, seed: int = 0) -> PixelRegression:
    """The regression, with the class weights and confidences that the model is trained with.

    Args:
        chips: where from.
        chip_ids: training chips.
        weights: (classes,) of the loss.
        seed: of the pixels that are drawn.

    Raises:
        DatasetError: no pixel has a label.
    """
    luck = np.random.Generator(np.random.PCG64(seed))
    share = max(1, MOST_PIXELS // max(1, len(chip_ids)))
    features, labels, sure = [], [], []
    for chip_id in chip_ids:
        chip = chips[chip_id]
        at = np.flatnonzero(chip.label[0].numpy().ravel() != ABSTAIN)
        if at.size:
            drawn = torch.from_numpy(luck.choice(at, min(share, at.size), replace=False))
            features.append(spectra(chip, chips).flatten(1)[:, drawn].T)
            labels.append(chip.label.flatten()[drawn])
            sure.append(chip.confidence.flatten()[drawn])
    if not features:
        raise no_label(len(chip_ids))
    x, y, each = torch.cat(features), torch.cat(labels), torch.cat(sure)
    each = each * weights[y]
    weight = torch.zeros(x.shape[1] + 1, len(chips.classes), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        scores = x @ weight[:-1] + weight[-1]
        value = (F.cross_entropy(scores, y, reduction="none") * each).sum() / each.sum().clamp_min(1e-6)
        value = value + RIDGE * weight[:-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    step: Callable[..., object] = optimiser.step
    step(loss)
    return PixelRegression(weight.detach())
