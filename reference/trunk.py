"""A plain vision transformer over the cells. Every cell has a token, so attention needs no mask and the flash
kernel applies.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention and MLP, each after a norm, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_one, self.norm_two = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D); `keys` (B, 1, 1, L) says which tokens count, for texts of different lengths."""
        qkv = self.qkv(self.norm_one(x)).unflatten(2, (3, self.heads, -1))  # (B, L, 3, heads, D / heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, L, D / heads) each
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)  # (B, heads, L, D / heads)
        x = x + self.out(seen.transpose(1, 2).flatten(2))  # (B, L, D)
        raised: Tensor = self.down(F.gelu(self.up(self.norm_two(x))))  # (B, L, D)
        return x + raised


class Trunk(nn.Module):
    """Blocks one after the other, and a last norm."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.apply(_small)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        for block in self.blocks:
            x = block(x, keys)
        normed: Tensor = self.norm(x)
        return normed


def _small(module: nn.Module) -> None:
    """Truncated normal weights of 0.02, as ViT begins."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
