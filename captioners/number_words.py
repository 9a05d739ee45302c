"""Numbers as words that stay true: every phrase is offered only where its rounding cannot make it false.

Stated tolerances (the verifier and the tests use the same ones):

    about N%            N a multiple of 5: within 2.5 points; else within 0.5 points
    N%                  within 0.5 points
    about a third ...   within 2 points of the fraction
    just over / under   above (below) the fraction by at most 4 points
    less than 1%        above 0 and below 1
    about 3.4 ha        within half a unit of the last digit shown
    N (a count)         exact
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

T = TypeVar("T")

FRACTIONS: tuple[tuple[float, str], ...] = (
    (20.0, "a fifth"),
    (25.0, "a quarter"),
    (100.0 / 3, "a third"),
    (40.0, "two fifths"),
    (50.0, "half"),
    (60.0, "three fifths"),
    (200.0 / 3, "two thirds"),
    (75.0, "three quarters"),
    (80.0, "four fifths"),
    (90.0, "nine tenths"),
)
FRACTION_WITHIN = 2.0
"""``about a third`` holds this many points around the fraction."""
JUST_WITHIN = 4.0
"""``just over a third`` holds up to this many points above it."""

_ONES = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Choice:
    """Choices that depend on the chip, the seed and the slot alone, never on order or platform."""

    seed: int
    """The recipe's seed."""
    chip_id: str
    """The chip."""

    def number(self, slot: str) -> int:
        """A number 0 .. 2^32 - 1 for a slot."""
        digest = hashlib.sha256(f"{self.seed}|{self.chip_id}|{slot}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def one(self, slot: str, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.number(slot) % len(options)]

    def shuffled(self, slot: str, options: Sequence[T]) -> list[T]:
        """All options in an order of their own."""
        return [options[i] for i in sorted(range(len(options)), key=lambda i: self.number(f"{slot}/{i}"))]


def percent_phrases(percent: float) -> list[str]:
    """Phrases with a figure for a share strictly between 0 and 100 percent."""
    if percent < 1.0:
        return ["less than 1%", "under 1%"]
    if percent > 99.0:
        return ["more than 99%", "over 99%"]
    whole = round(percent)
    if abs(percent - whole) > 0.5 - 1e-9:  # a tie could be told either way: one digit more
        return [f"{percent:.1f}%"]
    phrases = [f"about {whole}%", f"{whole}%"]
    five = 5 * round(percent / 5)
    if 12.5 <= percent < 90 and five != whole:
        phrases += [f"about {five}%", f"roughly {five}%"]
    elif percent >= 10:
        phrases.append(f"roughly {whole}%")
    return phrases


def fraction_phrases(percent: float) -> list[str]:
    """Phrases with a fraction; empty where none is near."""
    phrases = []
    for target, word in FRACTIONS:
        gap = percent - target
        if abs(gap) <= FRACTION_WITHIN - 1e-9:
            phrases += [f"about {word}", f"roughly {word}"]
        elif 0 < gap <= JUST_WITHIN - 1e-9:
            phrases += [f"just over {word}", f"a little more than {word}"]
        elif 0 < -gap <= JUST_WITHIN - 1e-9:
            phrases += [f"just under {word}", f"not quite {word}"]
    return phrases


def area_phrase(square_metres: float) -> str:
    """``900 m2``, ``3.4 ha``, ``34 ha``, ``1.2 km2``: rounded to half a unit of the last digit shown."""
    if square_metres < 9_950:
        step = 100 if square_metres >= 950 else 10 if square_metres >= 95 else 1
        return f"{max(step, round(square_metres / step) * step):,} m²"
    hectares = square_metres / 10_000
    if hectares < 9.95:
        return f"{hectares:.1f} ha"
    if hectares < 99.5:
        return f"{hectares:.0f} ha"
    return f"{hectares / 100:.1f} km²" if hectares < 9_950 else f"{hectares / 100:.0f} km²"


def length_phrase(metres: float) -> str:
    """``80 m``, ``340 m``, ``1.2 km``, ``14 km``: rounded to half a unit of the last digit shown."""
    if metres < 995:
        step = 10 if metres >= 95 else 1
        return f"{max(step, round(metres / step) * step)} m"
    return f"{metres / 1000:.1f} km" if metres < 9_950 else f"{metres / 1000:.0f} km"


def count_phrase(count: int) -> str:
    """Words up to ten, figures above; never rounded."""
    return _ONES[count] if count < len(_ONES) else str(count)


def day_phrase(day: str) -> str:
    """``2022-06-16`` -> ``16 June 2022``."""
    when = date.fromisoformat(day)
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}"


MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def listing(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
