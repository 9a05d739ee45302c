"""Words for little of a cover, without a figure: scarce, hardly any, few, a lone tree; or for many small patches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import percent_of, region_of
from captioners.mentions import Mention, Place, find_places

_SCARCE = compiled(
    r"\b(?:hardly any|barely any|scarcely any|scarce|rare|negligible|traces? of|next to no|"
    r"(?:tiny|minute|minuscule) (?:fractions?|parts?|shares?|portions?|amounts?))(?! (?:thing|but))\b",
    re.I,
)
SCARCE_PERCENT = 10.0
"""More than this is not scarce."""


def scarce(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    places = find_places(said.text)
    for rule in (_scarce, _few, _scattered):
        yield from rule(said, places)


def _scarce(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A is scarce``, ``hardly any A``."""
    for match in _SCARCE.finditer(said.text):
        after = said.after(match.end())
        near = after if after is not None and after.start - match.end() <= 12 else said.before(match.start())
        there = next((p for p in places if re.fullmatch(r" of (?:the )?", said.text[match.end() : p.start])), None)
        end = 0 if near is None else near.end if near is after else match.end()  # "A is scarce in the north"
        region = there.region if there is not None else "" if near is None else region_of(said, places, end)
        if near is not None and percent_of(said, [near], region) > SCARCE_PERCENT:
            yield "number", f"{match.group(0)!r} says too little"


_FEW = compiled(
    r"\blittle of the \w+ is\b|(?<!\ba )\bfew\b|(?<!\ba )\blittle\b(?= \w+(?: \w+)?)|"
    r"\bsparse(?:ly)?\b(?! vegetat)|"
    r"(?<!quite )\b(?:a few|a handful of|a couple of|a pair of|a single|a lone|occasional)"
    r"(?= (?:trees?|shrubs?|bush(?:es)?)(?![\w-])(?! cover))",
    re.I,
)
_COPULA = compiled(r"\b(?:is|are|remains?|stays?|grows?|stands?)(?: \w+)? $", re.I)


def _few(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``few trees``, ``a few trees``, ``little water``, ``the tree cover is sparse``."""
    for match in _FEW.finditer(said.text):
        near = described(said, match, 2 if match.group(0).lower() == "little" else 12)
        if near is not None and percent_of(said, [near], region_of(said, places, near.end)) > SCARCE_PERCENT:
            yield "number", f"{match.group(0)!r} says too little"


_SCATTERED = compiled(r"\b(?:scattered|dotted|dispersed|sprinkled|speckled|strewn|interspersed)\b", re.I)
SCATTERED_PATCHES = 3
"""Fewer patches are not scattered."""


def _scattered(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``scattered trees``, ``cropland dotted with trees``: they lie in several patches."""
    for match in _SCATTERED.finditer(said.text):
        near = described(said, match, 12)
        counts = [int(c.patches.get("count", 0)) for c in said.classes_of(near.concept)] if near is not None else []
        if counts and sum(counts) < SCATTERED_PATCHES:
            yield "shape", f"{match.group(0)!r}, but it lies in {sum(counts)} patch{'es' if sum(counts) > 1 else ''}"


def described(said: Said, match: re.Match[str], reach: int) -> Mention | None:
    """The cover that a word speaks of: right after it, or before it by a verb ("trees are few")."""
    after = said.after(match.end())
    if after is not None and after.start - match.end() <= reach:
        return after
    return said.before(match.start()) if _COPULA.search(said.text[: match.start()]) else None
