"""What is derived from label layers: shares of classes, the dominant one, multi-labels, agreement of
sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelers.fuse import ABSTAINED
from labelers.voters import SILENT, FusionSetup, to_symbols
from schemas.labels import LabelLayer
from schemas.legend import Legend


def class_fractions(label: NDArray[np.uint8], legend: Legend) -> dict[str, float]:
    """Share of each class among the pixels that do not abstain.

    Args:
        label: (H, W) class index, 255 = abstained.
        legend: names the classes.

    Returns:
        Name -> share, only classes that occur, in the legend's order; empty where every pixel abstains. Shares
        sum to 1.
    """
    counts = np.bincount(label[label != ABSTAINED].ravel(), minlength=len(legend.classes))
    total = int(counts.sum())
    return {entry.name: float(n) / total for entry, n in zip(legend.classes, counts, strict=True) if n}


def abstained_share(label: NDArray[np.uint8]) -> float:
    """Share of the pixels that abstain."""
    return float(np.mean(label == ABSTAINED))


def dominant_class(label: NDArray[np.uint8], legend: Legend) -> str:
    """Name of the most frequent class, the earlier of two equal ones; empty where every pixel abstains."""
    fractions = class_fractions(label, legend)
    return max(fractions, key=lambda name: fractions[name]) if fractions else ""


def multi_label(label: NDArray[np.uint8], legend: Legend, min_fraction: float) -> tuple[str, ...]:
    """Names of the classes that cover at least a share of what does not abstain, in the legend's order."""
    return tuple(name for name, share in class_fractions(label, legend).items() if share >= min_fraction)


def mean_confidence(confidence: NDArray[np.uint8]) -> float:
    """Mean confidence (0..1) over all pixels."""
    return float(confidence.mean()) / 255.0


def agreement(votes: Sequence[LabelLayer], setup: FusionSetup) -> float | None:
    """Share of the pixels with two or more speaking sources at which one class is admitted by all of them.

    None where no pixel has two. A coarse source admits several classes of the target.
    """
    if len(votes) < 2:
        return None
    symbols = to_symbols(votes, setup)
    several = np.count_nonzero(symbols != SILENT, axis=0) > 1
    admitted = np.ones((*symbols.shape[1:], setup.tables()[0].shares.shape[1]), dtype=bool)
    for layer, table in zip(symbols, setup.tables(), strict=True):
        admitted &= (layer == SILENT)[..., None] | (table.shares > 0)[np.maximum(layer, 0)]
    agreed = np.asarray(admitted.any(axis=-1))[several]
    return float(np.mean(agreed)) if agreed.size else None
