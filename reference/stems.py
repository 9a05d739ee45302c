"""From pictures of any sensor to one token grid: pixel features, patches, and attention over what saw each cell.

Pictures without a usable pixel (padded dates, absent modalities, wholly cloudy ones) are dropped before anything is
computed; of the others, patches without a usable pixel are dropped before attention. What is left is packed into one
list of tokens, so no kernel computes what a mask would throw away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.bands import GroupTable
from reference.data import Layer
from reference.embeddings import BandWeights, SourceContext, gsd_numbers

MOST_SCORE = 3.0
"""A source's weight in a pixel's mean lies between exp(-3) and exp(3): it can be all but ignored, never lost."""


@dataclass
class Seen:
    """What one group adds."""

    group: str
    """Its name."""
    tokens: Tensor
    """(M, D) usable patches, packed."""
    cell: Tensor
    """(M,) which cell of which chip: (chip * rows + row) * columns + column."""
    share: Tensor
    """(M,) usable share of each patch, above 0."""
    pixels: Tensor
    """(B, d, h, w) weighted sum of pixel features over dates, native grid."""
    weight: Tensor
    """(B, 1, h, w) sum of the weights."""


def part_name(group: str) -> str:
    """A group's name among a module's parts: its own, unless PyTorch has that for itself (``half``, ``type``).

    >>> part_name("s2_10m"), part_name("half")
    ('s2_10m', 'group half')
    """
    return f"group {group}" if hasattr(nn.ModuleDict(), group) else group


class GroupStem(nn.Module):
    """Patch stem of one group; its pixel features come from networks that all groups share."""

    numbers: Tensor
    gsd: Tensor

    def __init__(self, table: GroupTable, index: int, patch_m: float, pixel_width: int, width: int) -> None:
        super().__init__()
        self.name, self.index = table.name, index
        self.side = max(1, round(patch_m / table.step_m))
        """Pixels along a patch."""
        self.register_buffer("numbers", torch.from_numpy(table.numbers), persistent=False)
        self.register_buffer("gsd", gsd_numbers(table.gsd_m), persistent=False)
        self.patch = nn.Conv2d(pixel_width, width, self.side, stride=self.side, bias=False)

    def forward(self, layer: Layer, shared: PixelNet, grid: tuple[int, int]) -> Seen | None:
        """What this group adds to a batch; None where nobody has a usable pixel of it.

        Args:
            layer: values (B, T, C, h, w), valid (B, T, h, w), day (B, T).
            shared: pixel features.
            grid: rows and columns of cells.
        """
        size, dates = layer.day.shape
        kept = layer.valid.flatten(0, 1).flatten(1).any(1).nonzero()[:, 0]  # (N,) of B * T pictures
        if kept.numel() == 0:
            return None
        values = layer.values.flatten(0, 1)[kept]  # (N, C, h, w)
        valid = layer.valid.flatten(0, 1)[kept][:, None].to(values.dtype)  # (N, 1, h, w)
        day, chip = layer.day.flatten()[kept], torch.div(kept, dates, rounding_mode="floor")  # (N,)
        features, weight = shared(values, valid, self, day)  # (N, d, h, w), (N, 1, h, w)
        pixels = features.new_zeros(size, *features.shape[1:]).index_add(0, chip, features * weight)
        total = weight.new_zeros(size, *weight.shape[1:]).index_add(0, chip, weight)
        tokens, share = self._patches(features, valid, grid)  # (N, rows, columns, D), (N, rows, columns)
        tokens = tokens + shared.token_context(self.index, self.gsd, day)[:, None, None]
        picture, row, column = (share > 0).nonzero(as_tuple=True)  # (M,)
        cell = (chip[picture] * grid[0] + row) * grid[1] + column
        return Seen(self.name, tokens[picture, row, column], cell, share[picture, row, column], pixels, total)

    def _patches(self, features: Tensor, valid: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Tokens of the patches as if all their pixels were usable, and the share that is."""
        aim = (grid[0] * self.side, grid[1] * self.side)
        if features.shape[-2:] != aim:  # a GSD that does not divide the cell
            features, valid = F.adaptive_avg_pool2d(features, aim), F.adaptive_avg_pool2d(valid, aim)
        share = F.avg_pool2d(valid, self.side)  # (N, 1, rows, columns)
        tokens = self.patch(features) / share.clamp_min(1.0 / self.side**2)  # (N, D, rows, columns)
        return tokens.permute(0, 2, 3, 1), share[:, 0]


class PixelNet(nn.Module):
    """Features of single pixels, by networks that know a band by its wavelength and a picture by its context."""

    def __init__(self, groups: int, pixel_width: int, width: int) -> None:
        super().__init__()
        self.weights = BandWeights(pixel_width)
        self.context = SourceContext(groups, pixel_width)
        self.token_context = SourceContext(groups, width)
        self.mix = nn.Conv2d(pixel_width, pixel_width, 1)
        self.score = nn.Conv2d(pixel_width, 1, 1)

    def forward(self, values: Tensor, valid: Tensor, stem: GroupStem, day: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, h, w) -> (N, d, h, w) features, 0 where not valid; (N, 1, h, w) weights, 0 likewise."""
        bands = self.weights(stem.numbers)  # (C, d)
        values = values.masked_fill(valid == 0, 0.0)  # whatever stands under an invalid mask never matters
        mixed = torch.einsum("nchw,cd->ndhw", values, bands)  # (N, d, h, w)
        mixed = mixed + self.context(stem.index, stem.gsd, day)[:, :, None, None]
        features = mixed + self.mix(F.gelu(mixed))  # (N, d, h, w); a straight line from spectrum to classes stays open
        weight = torch.exp(MOST_SCORE * torch.tanh(self.score(features) / MOST_SCORE)) * valid  # (N, 1, h, w)
        return features * valid, weight


class CellAttention(nn.Module):
    """One token per cell: attention of a learned query over everything that saw the cell, whatever and however much.

    A patch that is half cloudy weighs half: the logarithm of its usable share is added to its score. A cell that
    nothing saw holds a learned token, which the trunk fills from its neighbours.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.randn(heads, width // heads) * 0.2)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.unseen = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, seen: Sequence[Seen], cells: int) -> Tensor:
        """Packed tokens of all groups -> (cells, D)."""
        if not seen:
            return self.unseen.expand(cells, -1)
        tokens = self.norm(torch.cat([part.tokens for part in seen]))  # (M, D)
        cell = torch.cat([part.cell for part in seen])  # (M,)
        share = torch.cat([part.share for part in seen])  # (M,)
        key = self.key(tokens).unflatten(1, (self.heads, -1))  # (M, heads, D / heads)
        score = (key * self.query).sum(-1) / math.sqrt(key.shape[-1]) + share.log()[:, None]  # (M, heads)
        score = score.float()
        with torch.no_grad():
            most = score.new_full((cells, self.heads), -math.inf)
            most = most.scatter_reduce(0, cell[:, None].expand_as(score), score, "amax")  # (cells, heads)
        raised = torch.exp(score - most[cell])  # (M, heads)
        total = raised.new_zeros(cells, self.heads).index_add(0, cell, raised)  # (cells, heads)
        value = self.value(tokens).unflatten(1, (self.heads, -1)).float()  # (M, heads, D / heads)
        summed = value.new_zeros(cells, *value.shape[1:]).index_add(0, cell, raised[..., None] * value)
        mean = (summed / total.clamp_min(1e-9)[..., None]).flatten(1).to(tokens.dtype)  # (cells, D)
        any_seen = (total[:, :1] > 0).to(tokens.dtype)  # (cells, 1)
        fused: Tensor = any_seen * self.out(mean) + (1.0 - any_seen) * self.unseen
        return fused
