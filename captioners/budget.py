"""What a call may cost at worst, before it is sent; and when so much goes wrong that nothing more is sent."""

from __future__ import annotations

import math
from collections import deque

from captioners.ledger import NANO

BYTES_PER_TOKEN = 2.0
"""At least so many bytes of English text and figures make a token (measured averages are 3.5 to 4.5)."""
FRAME_TOKENS = 64
"""Tokens that a chat's frame adds."""
WINDOW = 50
"""The share of errors is taken over so many calls."""


def worst_tokens_in(text_bytes: int, images: int, image_tokens: int) -> int:
    """Most input tokens that a request can be billed for: short tokens, dear pictures."""
    return math.ceil(text_bytes / BYTES_PER_TOKEN) + images * image_tokens + FRAME_TOKENS


def limit_nano(max_cost: float) -> int:
    """The hard limit in billionths; 0 lets only calls through that cost nothing."""
    return round(max_cost * NANO)


class ErrorGuard:
    """Says when to stop: where too many of the last calls brought no usable answer.

    Args:
        most: largest share of them, 0..1.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self.tripped = False
        """Whether nothing more is to be sent."""

    def note(self, usable: bool) -> None:
        """One call ended."""
        self._last.append(usable)
        if len(self._last) == WINDOW and sum(not one for one in self._last) > self.most * WINDOW:
            self.tripped = True
