"""Denials that the facts can judge: no cover takes up half, two covers do not touch or lie apart. All others are
doubted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from captioners.claims import Claim, Said, share_edge
from captioners.lexicon import nouns_of
from captioners.mentions import Mention

_NO_HALF = re.compile(r"\bno (?:single )?(?:land )?(?:cover|class)[\w ]*? half\b", re.I)
_CONTACT = r"(?:touch|meet|adjoin|abut|border(?: on)?|share (?:a|any) (?:border|boundary|edge)(?: with)?)"
_APART = re.compile(
    rf"\bdo(?:es)? not {_CONTACT}(?: (?:each other|one another))?\b"
    r"|\b(?:is|are|lies?) not (?:next to|adjacent to|beside|bordering(?: on)?|in contact with)\b"
    r"|\bshares? no (?:border|boundary|edge)(?: with)?\b",
    re.I,
)
_SEPARATE = re.compile(
    r"\b(?:lies?|lying|is|are|stands?) (?:\w+ )?apart\b(?: from)?"
    r"|\b(?:separated|isolated|cut off|detached) from\b|\bseparates? [^.;]*?(?=\bfrom\b)",
    re.I,
)
"""The same said without a denial."""
REACH = 30
"""A cover within so many characters is the one that is spoken of."""


def judged(said: Said, mapped: frozenset[str]) -> tuple[str, list[Claim]]:
    """The text without the denials that hold, blanked, and what is wrong with those that do not.

    Args:
        said: the sentence with all covers that it names.
        mapped: concepts of map features: what their words name may be a line that no pixel shows.
    """
    text: str = said.text
    found: list[Claim] = []
    for match in _NO_HALF.finditer(said.text):
        text = _blanked(text, match)
        if said.reading.classes and said.reading.classes[0].share >= 50.0:
            found.append(("number", f"{match.group(0)!r}, but {said.reading.classes[0].noun} does"))
    for match in _APART.finditer(said.text):
        pair = _pair(said.mentions, match)
        if pair is None or pair[0].concept == pair[1].concept:
            continue
        if not all(said.classes_of(m.concept) for m in pair) or not said.reading.is_complete:
            continue
        if any(m.concept in mapped and not _is_class(said, m) for m in pair):
            continue
        if share_edge(said, *pair):
            found.append(("relation", f"{match.group(0)!r}, but they share an edge"))
        else:
            text = _blanked(text, match)
    for match in _SEPARATE.finditer(said.text):
        pair = _pair(said.mentions, match)
        if pair is not None and pair[0].concept != pair[1].concept and share_edge(said, *pair):
            found.append(("relation", f"{match.group(0)!r}, but they share an edge"))
    return text, found


def _is_class(said: Said, mention: Mention) -> bool:
    """Whether a mention's words are those of a class of the label."""
    words = said.text[mention.start : mention.end].lower()
    return any(words == noun.text.lower() for c in said.classes_of(mention.concept) for noun in nouns_of(c.noun))


def _blanked(text: str, match: re.Match[str]) -> str:
    return text[: match.start()] + " " * len(match.group(0)) + text[match.end() :]


def _pair(mentions: Sequence[Mention], match: re.Match[str]) -> tuple[Mention, Mention] | None:
    """The covers before and after, or the last two before: "trees and water do not touch"."""
    before = [m for m in mentions if m.end <= match.start()]
    after = next((m for m in mentions if 0 <= m.start - match.end() <= REACH), None)
    if before and after is not None:
        return before[-1], after
    return (before[-2], before[-1]) if len(before) > 1 else None
