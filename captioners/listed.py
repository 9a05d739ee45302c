"""What a word of a sentence belongs to: the covers of a list, the part of the scene, and what they make up there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from captioners.claims import Said
from captioners.gated import compiled
from captioners.mentions import Mention, Place, find_places
from captioners.regions import ALONG, parts_of

GROUND = r"(?:scene|area|ground|chip|image|landscape|view|land|picture)"
JOINED = compiled(r"\s*(?:\([^)]*\))?\s*,?\s*(?:(?:and|or)\s+)?(?:an?\s+little\s+|an?\s+|the\s+|some\s+)?")
ONE_PART = compiled(
    r"^(?:In|Across|Over) (?:the mapped ground of )?the |"
    r"^The (?:mapped ground of the )?(?:north|south|east|west|middle|cent|upper|lower|top|bottom|left|right)",
    re.I,
)
"""A sentence that begins so speaks of one part of the scene."""
ALL_OF_IT = 0.95
"""What lies only in a part has so much of itself there; the rest is what a pixel at its border may be."""
NEARLY_ALL = 0.88
"""Part of a cover that may be called almost all of it."""
_OF_SCENE = compiled(rf" of (?:the |this ){GROUND}\b", re.I)
_MAPPED = compiled(r" in the mapped ground of the ")
COUNTS = {word: n for n, word in enumerate(("two", "three", "four", "five", "six", "seven", "eight"), 2)}
IN_SO_MANY = compiled(
    rf"\b(?P<count>one|{'|'.join(COUNTS)}|nine|[1-9]) (?:out )?of (?:the )?(?:(?P<all>three|four|nine) )?(?:grid )?"
    r"(?P<what>quarter|quadrant|cell|ninth|part|section|square|row|column|third)s?\b",
    re.I,
)
"""``six of the nine cells``"""
REACH = 16
"""A place within so many characters is the one that a word speaks of."""


def part_of(said: Said, places: Sequence[Place], start: int, end: int) -> Place | None:
    """The part of the scene that a word which stands here speaks of; None: the whole."""
    subject = next((p for p in places if p.end <= start and _IS.fullmatch(said.text, _end_of(said, p), start)), None)
    if subject is not None:
        return subject
    near = next(
        (p for p in places if 0 <= p.start - end <= REACH or _MAPPED.fullmatch(said.text, end, max(end, p.start))), None
    )
    near = near or next((place for place in places if 0 <= start - _end_of(said, place) <= REACH), None)
    return next(iter(places), None) if near is None and ONE_PART.search(said.text) else near


_IS = compiled(r"\s+(?:(?:is|are)\s+(?:\w+ly\s+)?)?")


def _end_of(said: Said, place: Place) -> int:
    """Where the words for a place end: "the left side of the image"."""
    scene = _OF_SCENE.match(said.text, place.end)
    return scene.end() if scene else place.end


def region_of(said: Said, places: Sequence[Place], end: int) -> str:
    """The region that a word which ends here speaks of; empty: the whole scene."""
    part = part_of(said, places, end, end)
    return "" if part is None else part.region


_CLAUSE_OF = compiled(r"(?:^|[,;:] |\b(?:and|but|while|whereas) )(?:(?:in|within|across|over) )?(?:the )?$", re.I)
_SAYS = compiled(rf"(?: of (?:the |this ){GROUND})?,?[^,;.:]{{0,40}}", re.I)
_THERE = compiled(r"(?: (?:cover|land|ground|areas?))?,? (?:in|of|within|across) (?:the )?", re.I)


def clause_region(said: Said, start: int, end: int) -> str:
    """The part of the scene in which some covers are compared: ``in the north, A is B``, ``the north is A and B``, ``A
    and B in the north``; empty: the whole scene.
    """
    for place in find_places(said.text):
        is_before = place.end <= start and not any(place.end <= m.start < start for m in said.mentions)
        if place.form not in ("edge", "corner") and (
            (place.start >= end and _THERE.fullmatch(said.text, end, place.start))
            or (
                is_before
                and _CLAUSE_OF.search(said.text[: place.start])
                and _SAYS.fullmatch(said.text, place.end, start)
            )
        ):
            return place.region
    return ""


def shares_in(said: Said, one: Mention, region: str) -> tuple[float, float]:
    """Least and most percent that a mention may stand for in a part of the scene: of one of its classes, or of all."""
    if not region:
        return said.share(one)
    each = [percent_of(said, [replace(one, concept=f"class:{c.code}")], region) for c in said.classes_of(one.concept)]
    return (min(each), sum(each)) if each else (0.0, 0.0)


def percent_of(said: Said, mentions: Sequence[Mention], region: str) -> float:
    """What some covers make up together, in the scene or a part of it (of several regions, their mean)."""
    shares = {c.code: c.share for m in mentions for c in said.classes_of(m.concept)}
    if not region:
        return sum(shares.values())
    parts, _ = parts_of(region)
    return sum((said.reading.region_share(code, part) or 0.0) / len(parts) for code in shares for part in parts)


def listed_after(said: Said, start: int) -> list[Mention]:
    """The covers of a list that begins at a character: ``A, B and C``."""
    named: list[Mention] = []
    for one in said.mentions:
        if one.start >= start and (JOINED.fullmatch(said.text[start : one.start]) if named else one.start == start):
            named.append(one)
            start = one.end
    return named


TOGETHER = r"(?:(?:put |taken )?together|combined|jointly)"
_SUMMED = compiled(rf"\s+{TOGETHER}\b", re.I)
_SUMMED_AHEAD = compiled(rf"\b{TOGETHER},? (?:the )?$", re.I)


def summed_after(said: Said, start: int) -> list[Mention]:
    """The covers of a list that begins at a character and whose sum is meant: ``A and B combined``; else none."""
    named = listed_after(said, start)
    return named if len(named) > 1 and _SUMMED.match(said.text, named[-1].end) else []


def listed_before(said: Said, end: int) -> list[Mention]:
    """The covers of a list that ends at a verb, which may have a word or two before it: ``A and B largely cover``."""
    named: list[Mention] = []
    for one in reversed([m for m in said.mentions if m.end <= end]):
        between = said.text[one.end : end]
        if not (JOINED.fullmatch(between) if named else not re.search(r"[,;.]", between)):
            break
        named.insert(0, one)
        end = one.start
    return named


def summed_before(said: Said, end: int) -> list[Mention]:
    """The covers of a list that ends at a verb and whose sum is meant: ``A and B combined cover``; else none."""
    named = listed_before(said, end)
    is_sum = len(named) > 1 and (
        _SUMMED.match(said.text, named[-1].end) or _SUMMED_AHEAD.search(said.text[: named[0].start])
    )
    return named if is_sum else []


def list_around(near: Sequence[Mention], mentions: Sequence[Mention], text: str) -> list[Mention]:
    """The list of covers that one of some stands in: "trees and water cover 40%"."""
    found = list(near[:1])
    for one in reversed(mentions):
        if found and one.end <= found[0].start and JOINED.fullmatch(text[one.end : found[0].start]):
            found.insert(0, one)
    for one in mentions:
        if found and one.start >= found[-1].end and JOINED.fullmatch(text[found[-1].end : one.start]):
            found.append(one)
    return found


def joined_places(text: str, places: Sequence[Place]) -> list[Place]:
    """The first of some places and those that a list adds to it: ``the north-east and the south``."""
    found = list(places[:1])
    for one in places[1:]:
        if not re.fullmatch(r"\s*,?\s*(?:and|or|,)\s+(?:(?:in|along|to) )?(?:the )?", text[found[-1].end : one.start]):
            break
        found.append(one)
    return found


def inside_of(said: Said, code: int, share: float, place: Place) -> float:
    """Which part 0..1 of a class lies in a place; along an edge, in the outer third there."""
    region = ALONG.get(place.region, place.region) if place.form == "edge" else place.region
    cells, weight = parts_of(region)
    return sum(said.reading.region_share(code, cell) or 0.0 for cell in cells) * weight / share
