"""How sure a fused layer is, and how far its sources agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelers.voters import SILENT, FusionSetup, to_symbols
from schemas.labels import LabelLayer


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
