"""What training makes small: the weighted cross-entropy of the classes, the contrast of pictures and captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.data import ABSTAIN


def segmentation_loss(scores: Tensor, label: Tensor, confidence: Tensor | None, weights: Tensor | None) -> Tensor:
    """Cross-entropy over pixels with a label, weighted by confidence and class.

    Args:
        scores: (B, classes, H, W).
        label: (B, H, W), 255 = abstain.
        confidence: (B, H, W) 0..1; None: all alike.
        weights: (classes,); None: all alike.

    Returns:
        A weighted mean; 0, with a gradient of 0, where no pixel has a label. Of several processes, the mean of what
        they return is the weighted mean over the pixels of all, however many each has.
    """
    known = label != ABSTAIN
    each = F.cross_entropy(scores.float(), label, weight=weights, ignore_index=ABSTAIN, reduction="none")  # (B, H, W)
    counts = known.to(each.dtype)
    if confidence is not None:
        counts = counts * confidence
    each = each * counts  # class weights are in `each`
    if weights is not None:
        counts = counts * weights[label.clamp(max=len(weights) - 1)]
    return each.sum() / _mean_over_processes(counts.sum()).clamp_min(1e-6)


def _mean_over_processes(value: Tensor) -> Tensor:
    """The value itself where one process trains."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    torch.distributed.all_reduce(value)
    return value / torch.distributed.get_world_size()


def contrast(images: Tensor, texts: Tensor, captions: Sequence[str], scale: Tensor) -> Tensor:
    """Symmetric cross-entropy of matching pairs. Chips with the same words are all right answers to them. Of several
    processes, each asks among its own pairs.

    Args:
        images: (B, E) unit vectors.
        texts: (B, E) unit vectors.
        captions: B texts.
        scale: logarithm of the inverse temperature.
    """
    scores = scale.exp().clamp(max=100.0) * images @ texts.T  # (B, B)
    same = torch.tensor([[float(a == b) for b in captions] for a in captions], device=scores.device)
    wanted = same / same.sum(1, keepdim=True)  # (B, B)
    return 0.5 * (F.cross_entropy(scores, wanted) + F.cross_entropy(scores.T, wanted))
