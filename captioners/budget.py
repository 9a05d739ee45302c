"""What a call may cost at worst, before it is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from captioners.ledger import NANO

BYTES_PER_TOKEN = 2.0
"""At least so many bytes of English text and figures make a token (measured averages are 3.5 to 4.5)."""
IMAGE_TOKENS = 2_000
"""At most so many tokens are billed for one small picture (512 px: 85 to 1,700 on the servers we know)."""
FRAME_TOKENS = 64
"""Tokens that a chat's frame adds."""


@dataclass(frozen=True)
class Prices:
    """Prices of a model, in the recipe's currency."""

    per_million_in: float
    """A million input tokens."""
    per_million_out: float
    """A million output tokens."""

    def cost_nano(self, tokens_in: int, tokens_out: int) -> int:
        """Price of a call in billionths, rounded up."""
        exact = (tokens_in * self.per_million_in + tokens_out * self.per_million_out) * NANO / 1e6
        return math.ceil(round(exact, 3))

    def worst_nano(self, text_bytes: int, images: int, max_tokens_out: int) -> int:
        """Most that a call can cost: short tokens, dear pictures, an answer as long as allowed."""
        tokens_in = math.ceil(text_bytes / BYTES_PER_TOKEN) + images * IMAGE_TOKENS + FRAME_TOKENS
        return self.cost_nano(tokens_in, max_tokens_out)


def limit_nano(max_cost: float) -> int:
    """The hard limit in billionths; 0 lets only calls through that cost nothing."""
    return round(max_cost * NANO)
