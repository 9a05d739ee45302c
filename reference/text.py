"""The text tower: a small transformer over byte pairs, trained from scratch beside the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference.heads import Projection
from reference.trunk import Trunk
from reference.vocabulary import PAD, Vocabulary

MOST_TOKENS = 96


class TextTower(nn.Module):
    """Texts -> unit vectors."""

    def __init__(self, vocabulary: Vocabulary, width: int, depth: int, heads: int, to: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.tokens = nn.Embedding(len(vocabulary), width)
        self.places = nn.Parameter(torch.randn(MOST_TOKENS, width) * 0.02)
        self.trunk = Trunk(width, depth, heads)
        self.project = Projection(width, to)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """B texts -> (B, to)."""
        ids = self.encode(texts).to(self.places.device)  # (B, L)
        real = ids != PAD  # (B, L)
        x = self.tokens(ids) + self.places[: ids.shape[1]]  # (B, L, D)
        x = self.trunk(x, real[:, None, None])  # (B, L, D); texts are short: here a mask costs less than packing
        counted = real.to(x.dtype)[..., None]  # (B, L, 1)
        vectors: Tensor = self.project((x * counted).sum(1) / counted.sum(1))
        return vectors

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, L) ids, padded with `PAD`."""
        found = [self.vocabulary.encode(text, MOST_TOKENS) for text in texts]
        longest = max(len(ids) for ids in found)
        return torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in found])
