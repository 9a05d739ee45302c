"""How fast to learn at which step."""

from __future__ import annotations

import math

LEAST = 0.02
"""Share of the highest rate at which a training ends."""


def rise_and_fall(step: int, steps: int, warm: int) -> float:
    """Share of the highest rate: a straight rise, then half a cosine.

    >>> [round(rise_and_fall(step, 10, 2), 2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.51, 0.02]
    """
    rising = min(1.0, (step + 1) / warm)
    part = min(1.0, max(0.0, (step - warm) / max(1, steps - warm)))
    return rising * (LEAST + (1.0 - LEAST) * 0.5 * (1.0 + math.cos(part * math.pi)))
