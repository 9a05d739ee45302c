"""What comes out: classes on the label's grid, and a vector for a picture or a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.stems import Seen, part_name


class Local(nn.Module):
    """What the neighbours say: a depthwise 3 x 3 and a pointwise convolution, added to the input. A full 3 x 3
    convolution here would cost more than all the rest of the tiny model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, H, W) -> (B, d, H, W)."""
        mixed: Tensor = self.mix(F.gelu(self.near(x)))
        return x + mixed


class GroupView(nn.Module):
    """What one group tells the head: a map of its own for what it saw, a vector where it saw nothing."""

    def __init__(self, pixel_width: int, width: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(pixel_width, width, 1, bias=False)
        self.absent = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, part: Seen | None) -> Tensor:
        """(B, width, h, w) on the group's own grid: mean over its dates, mapped; (width, 1, 1) where it is absent."""
        if part is None:
            return self.absent[:, None, None]
        any_seen = (part.weight > 0).to(part.pixels.dtype)  # (B, 1, h, w)
        mean = part.pixels / torch.where(part.weight > 0, part.weight, torch.ones_like(part.weight))
        mapped: Tensor = self.map(mean)
        return any_seen * mapped + (1.0 - any_seen) * self.absent[:, None, None]


class SegmentationHead(nn.Module):
    """Class scores at the label's GSD: what each pixel's own pictures say beside what its surroundings say.

    Each group's pixels, averaged over dates with learned weights, are mapped by a matrix of the group's own and added
    up on the label's grid (a group of 30 m is repeated, not interpolated): as if all were put side by side, whichever
    are there.
    """

    def __init__(self, width: int, pixel_width: int, groups: Iterable[str], classes: int) -> None:
        super().__init__()
        inner = 2 * pixel_width
        self.groups = tuple(groups)
        self.views = nn.ModuleDict({part_name(name): GroupView(pixel_width, inner) for name in self.groups})
        self.around = nn.Linear(width, inner)
        self.local = nn.Sequential(Local(inner), Local(inner))
        self.classes = nn.Conv2d(inner, classes, 1)

    def forward(self, tokens: Tensor, seen: Sequence[Seen], grid: tuple[int, int], shape_yx: tuple[int, int]) -> Tensor:
        """(B, rows * columns, D) -> (B, classes, H, W)."""
        around = self.around(tokens).transpose(1, 2).unflatten(2, grid)  # (B, inner, rows, columns)
        total = F.interpolate(around, shape_yx, mode="bilinear")  # (B, inner, H, W)
        parts = {part.group: part for part in seen}
        for name, view in zip(self.groups, self.views.values(), strict=True):
            total = total + _on_grid(view(parts.get(name)), shape_yx)
        scores: Tensor = self.classes(self.local(total))  # (B, classes, H, W)
        return scores


def _on_grid(values: Tensor, shape_yx: tuple[int, int]) -> Tensor:
    """(B, c, h, w) -> (B, c, H, W): repeated where coarser, averaged where finer."""
    if values.shape[-2:] in (shape_yx, (1, 1)):
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
