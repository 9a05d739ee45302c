"""What comes out: classes on the label's grid, and a vector for a picture or a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.stems import Seen


class SegmentationHead(nn.Module):
    """Class scores at the label's GSD: what each pixel's own pictures say beside what its surroundings say.

    Pixel features of all groups and dates are averaged with learned weights on the label's grid (a group of 30 m is
    repeated, not interpolated); a pixel that nothing saw has a learned feature and its surroundings.
    """

    def __init__(self, width: int, pixel_width: int, classes: int) -> None:
        super().__init__()
        self.unseen = nn.Parameter(torch.randn(pixel_width) * 0.02)
        self.around = nn.Linear(width, pixel_width)
        self.mix = nn.Conv2d(2 * pixel_width, 2 * pixel_width, 3, padding=1)
        self.classes = nn.Conv2d(2 * pixel_width, classes, 1)

    def forward(self, tokens: Tensor, seen: Sequence[Seen], grid: tuple[int, int], shape_yx: tuple[int, int]) -> Tensor:
        """(B, rows * columns, D) -> (B, classes, H, W)."""
        around = self.around(tokens).transpose(1, 2).unflatten(2, grid)  # (B, d, rows, columns)
        around = F.interpolate(around, shape_yx, mode="bilinear")  # (B, d, H, W)
        own = self._own(around, seen, shape_yx)  # (B, d, H, W)
        mixed = torch.cat([own, around], 1)  # (B, 2 d, H, W)
        mixed = mixed + F.gelu(self.mix(mixed))
        scores: Tensor = self.classes(mixed)  # (B, classes, H, W)
        return scores

    def _own(self, like: Tensor, seen: Sequence[Seen], shape_yx: tuple[int, int]) -> Tensor:
        """(B, d, H, W) weighted mean of what saw each pixel."""
        total, weight = torch.zeros_like(like), torch.zeros_like(like[:, :1])
        for part in seen:
            total = total + _on_grid(part.pixels, shape_yx)
            weight = weight + _on_grid(part.weight, shape_yx)
        any_seen = (weight > 0).to(like.dtype)  # (B, 1, H, W)
        mean = total / torch.where(weight > 0, weight, torch.ones_like(weight))
        return any_seen * mean + (1.0 - any_seen) * self.unseen[:, None, None]


def _on_grid(values: Tensor, shape_yx: tuple[int, int]) -> Tensor:
    """(B, c, h, w) -> (B, c, H, W): repeated where coarser, averaged where finer."""
    if values.shape[-2:] == shape_yx:
        return values
    if values.shape[-2] > shape_yx[0]:
        return F.adaptive_avg_pool2d(values, shape_yx)
    return F.interpolate(values, shape_yx, mode="nearest")


class Projection(nn.Module):
    """A unit vector from the mean of tokens."""

    def __init__(self, width: int, to: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, to, bias=False)

    def forward(self, mean: Tensor) -> Tensor:
        """(B, D) -> (B, to), of length 1."""
        return F.normalize(self.out(self.norm(mean)).float(), dim=-1)


def contrast(images: Tensor, texts: Tensor, captions: Sequence[str], scale: Tensor) -> Tensor:
    """Symmetric cross-entropy of matching pairs. Chips with the same words are all right answers to them.

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
