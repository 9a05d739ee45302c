"""Which cover a figure belongs to by its words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from captioners.gated import compiled
from captioners.mentions import Mention
from captioners.quantities import Number

ONE_OF_THEM = compiled(
    r"\b(?:patch(?:es)?|piece|largest|biggest|larger|smaller|smallest|mean|average|typical|single|one|each|objects?|"
    r"blocks?|areas?|stands?|bod(?:y|ies)|stretch|expanse|strip|plots?)\b",
    re.I,
)
"""Words by which an area is that of a patch."""


_CLAUSE = compiled(
    r"[;,](?!\s*(?:covering|measuring|spanning|occupying|totall?ing|extending over|with an area of)\b)"
    r"|\band\b(?=[^,;]*\d)"
)
"""Clauses; "the built-up land, covering 3 ha" is one."""


def beside(number: Number, mentions: Sequence[Mention], text: str) -> list[Mention]:
    """The cover that a figure belongs to by its words: ``two patches of water``, ``3 ha of woodland``."""
    after = next((m for m in mentions if m.start >= number.end), None)
    if after is not None and re.fullmatch(r"[^,;.()]{0,24}", text[number.end : after.start]):
        return (
            [] if re.search(r"\b(?:and|or|by|with|on|in|lies?|are|is)\b", text[number.end : after.start]) else [after]
        )
    return []


def told_before(number: Number, mentions: Sequence[Mention], text: str) -> list[Mention]:
    """The covers that a figure's clause names before it, up to the figure before."""
    clause = _CLAUSE.split(text[: number.start])[-1]
    return [m for m in mentions if number.start - len(clause) <= m.start and m.end <= number.start]


def neighbours(number: Number, mentions: Sequence[Mention]) -> list[Mention]:
    """The mention before and the one after a number."""
    before = [m for m in mentions if m.end <= number.start]
    after = [m for m in mentions if m.start >= number.end]
    return before[-1:] + after[:1]
