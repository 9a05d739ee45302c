"""How a cover is said to be dealt out over the scene: all of it here, more there than here, in every quarter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from captioners.claims import Claim, Said
from captioners.listed import ALL_OF_IT, JOINED, inside_of, joined_places, percent_of
from captioners.mentions import Mention, Place, find_places

_NUMBER = r"(?:two|three|four|five|six|seven|eight|nine|ten|\d+)"
_ALL = re.compile(
    rf"\b(?:all(?: of)?(?: the| its)?(?: {_NUMBER})?|every(?: single)?|(?:each|both)(?: of the)?|"
    rf"(?<!of )the {_NUMBER})\s+"
    r"(?:separate |distinct )?(?:(?:patch(?:es)?|stands?|blocks?|pieces?|bod(?:y|ies)) of (?:the )?)?$",
    re.I,
)
_BOTH = re.compile(r"\bboth (?:the )?$", re.I)
_LIES = re.compile(
    r"(?: (?:areas|patches|blocks|stands|fields|parts|spots|surfaces))?(?P<all>\s+all)?\s+"
    r"(?:lies?|stands?|grows?|sits?|occurs?|can be found|(?:is|are)(?: all)?(?: (?:found|located|seen))?)\s+"
    r"(?:only |entirely |mostly )?(?:in|along|at|within|on)\s+(?:the )?",
    re.I,
)
_ALL_OF_THEM = re.compile(
    r"(?P<all>[^.;]{0,40},? all (?:of (?:them|it|which) )?)(?:lying |located |found )?"
    r"(?:in|along|at|within|on)\s+(?:the )?",
    re.I,
)
"""``trees stand in three patches, all in the north``"""
BOTH_PART = 0.5
"""Two covers that both lie in a part have more than so much of themselves there."""


def spread(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    places = find_places(said.text)
    for rule in (_all, _quarters, _compared, _most, _evenly):
        yield from rule(said, places)


def _all(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``all patches of A lie in the north``, ``every A stands in the east``, ``both A and B lie in the south``."""
    for rank, place in enumerate(places):
        one = said.before(place.start)
        lies = _LIES.fullmatch(said.text, one.end, place.start) if one else None
        lies = lies or (_ALL_OF_THEM.fullmatch(said.text, one.end, place.start) if one else None)
        if one is None or lies is None:
            continue
        where = joined_places(said.text, places[rank:])
        other = said.before(one.start)
        if lies.group("all") or _ALL.search(said.text[: one.start]):
            named, least = [one], ALL_OF_IT
        elif (
            other is not None
            and JOINED.fullmatch(said.text[other.end : one.start])
            and _BOTH.search(said.text[: other.start])
        ):
            named, least = [other, one], BOTH_PART
        else:
            continue
        for each in named:
            parts = _parts(said, each, where)
            if parts and max(parts) < least:
                yield "place", f"{place.text!r} is not where all of it lies"


def _parts(said: Said, one: Mention, where: Sequence[Place]) -> list[float]:
    """Of each class that a mention may mean, and of all together, which part 0..1 lies in some places."""
    classes = [c for c in said.classes_of(one.concept) if c.share > 0]
    parts = [sum(inside_of(said, c.code, c.share, place) for place in where) for c in classes]
    whole = sum(c.share for c in classes)
    return [*parts, sum(part * c.share for part, c in zip(parts, classes, strict=True)) / whole] if classes else []


_QUARTER = re.compile(
    r"\b(?:every|each|all four|the four|all) (?:of the )?(?:four )?(?P<part>quarter|quadrant|corner)s?"
    r"(?: of the (?:scene|image|picture|view|area))?\s+"
    r"(?P<verb>holds?|has|have|contains?|shows?|is|are|lies?)\s+(?:(?!no\b|not\b)[\w-]+\s+){0,3}?$",
    re.I,
)
_CORNERS = ("r1c1", "r1c3", "r3c1", "r3c3")
_QUADRANTS = ("nw", "ne", "sw", "se")


def _quarters(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``each quarter holds A``, ``the four corners are A``."""
    for one in said.mentions:
        match = _QUARTER.search(said.text[: one.start])
        if match is None or not said.classes_of(one.concept):
            continue
        parts = _CORNERS if match.group("part").lower() == "corner" else _QUADRANTS
        shares = [percent_of(said, [one], part) for part in parts]
        is_all = match.group("verb").lower() in ("is", "are", "lie", "lies")
        if min(shares) <= (50.0 if is_all else 0.0):
            yield "place", f"{match.group(0).strip()!r}, but one of them has less"


_MORE = re.compile(
    r"\b(?P<more>more|larger|greater|higher|denser|better)\b|\b(?P<less>less|fewer|smaller|lower|rarer|scarcer)\b", re.I
)
_THAN = re.compile(r"\bthan\b(?P<like> (?:in|along|at|that of|those of|it is in|they are in)?)? ?(?:the )?$", re.I)


def are_compared(text: str, first: Place, second: Place) -> bool:
    """Whether two places are those of a comparison: ``more A in the east than in the west``."""
    than = _THAN.search(text[: second.start])
    return than is not None and first.end <= than.start() and _MORE.search(text, 0, than.start()) is not None


def _compared(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``more A in the east than in the west``, ``the north is more wooded than the south``."""
    for first, second in pairwise(places):
        than = _THAN.search(said.text[: second.start])
        if than is None or not are_compared(said.text, first, second) or second.form in ("edge", "corner"):
            continue
        words = list(_MORE.finditer(said.text, 0, than.start()))
        near = [m for m in said.mentions if m.end <= than.start()]
        if not near or any(not said.classes_of(m.concept) for m in near[-1:]):
            continue
        after = said.after(second.end)
        if after is not None and after.start - second.end < 12:
            continue  # "more trees in the north than water in the south"
        said.judge(than)
        here, there = (percent_of(said, near[-1:], place.region) for place in (first, second))
        if (here >= there) if words[-1].group("less") else (here <= there):
            yield "comparison", f"{words[-1].group(0)!r} is the wrong way round"


_SUPERLATIVE = re.compile(
    r"\s+(?:is|has) the (?P<way>most|least) (?:[a-z]+ly )?$",
    re.I,
)


def _most(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the north-west is the most wooded quarter``, ``the south has the least water``."""
    for place in places:
        one = said.after(place.end)
        match = _SUPERLATIVE.fullmatch(said.text, place.end, one.start) if one else None
        if one is None or match is None or not said.classes_of(one.concept):
            continue
        parts = _QUADRANTS if place.region in _QUADRANTS else ("n", "s", "e", "w")
        if place.region not in parts:
            continue
        said.judge(match)
        shares = [percent_of(said, [one], part) for part in parts]
        here = percent_of(said, [one], place.region)
        if (here < max(shares) - 1e-6) if match.group("way").lower() == "most" else (here > min(shares) + 1e-6):
            yield "comparison", f"{place.text!r} has not the {match.group('way')} of it"


_EVENLY = re.compile(
    r"\b(?:(?:evenly|equally) (?:divided|split|spread|distributed|shared|scattered)"
    r"|(?:divided|split|spread|distributed|shared|scattered) (?:evenly|equally))\b",
    re.I,
)
EVEN = 2.0
"""What is spread evenly has at most so many times as much of itself in one part as in another."""


def _evenly(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A is evenly divided between east and west``, ``A is spread evenly over the scene``."""
    match = _EVENLY.search(said.text)
    one = said.before(match.start()) if match else None
    if match is None or one is None or len(said.mentions) > 1 or not said.classes_of(one.concept):
        return
    said.judge(match)
    named = [place.region for place in places if place.start >= match.end()]
    shares = [percent_of(said, [one], region) for region in (named if len(named) > 1 else _QUADRANTS)]
    if max(shares) > EVEN * min(shares):
        yield "place", f"{match.group(0)!r}, but there is more of it in one part than in another"
