"""What a sentence says of the scene as a whole: what the rest of it is, and what kind of landscape it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import GROUND, ONE_PART, listed_after, listed_before, part_of, percent_of, region_of
from captioners.mentions import Mention, Place, find_places
from captioners.quantities import find_numbers

_REST = compiled(
    r"\b(?:(?P<most>(?:most|much|the bulk|the greater part) of )?"
    rf"(?:the (?:rest|remainder)\b(?! of the (?!(?:mapped )?{GROUND}))|the (?:remaining|other) [\w%. -]{{1,20}}?"
    r"(?=\s+(?:is|are|being|lies|belongs?|goes|consists?|comprises?|holds?|contains?)\b)"
    r"|what (?:remains|is left)\b|everything else\b)|otherwise\b)",
    re.I,
)
_MAKES_UP = compiled(
    r"\b(?:mak(?:es?|ing) up|fill(?:s|ing)?|cover(?:s|ing)?|tak(?:es?|ing) up|form(?:s|ing)?|occup(?:y|ies|ying)|"
    r"account(?:s|ing)? for) (?P<most>(?:most|much|the bulk|the greater part) of )?$",
    re.I,
)
_MOSTLY = compiled(r"\b(?:mostly|mainly|largely|chiefly|predominantly|primarily|above all)\b", re.I)
_APART = compiled(
    r"\b(?:apart from|aside from|except for|save for|other than|besides|but for|in addition to) [^.;:]*?, "
    rf"(?:everything|all of it|it|the (?:whole |entire |rest of the )?{GROUND}|there)\s+"
    r"(?:is|are|lies|consists of)\s+(?P<most>(?:mostly|mainly|largely|chiefly) )?"
    r"(?:(?:only|all|entirely|wholly|nothing but|covered (?:by|with)|under|of)\s+){0,2}$",
    re.I,
)
_PART_OF = compiled(r"(?:%|\b(?:per ?cent|half|thirds?|quarters?|fifths?|most|much|bulk)) of the $", re.I)
"""Before a part of the scene of which the rest is told, too."""
_WORTH = {"half": 50.0, "third": 100 / 3, "quarter": 25.0, "fifth": 20.0, "tenth": 10.0}
_FIGURE = compiled(rf"(?<!two )(?<!three )(?<!four )\b(?:{'|'.join(_WORTH)})\b", re.I)
OFF_PERCENT = 3.0
"""What is the remaining quarter may be so far from a quarter."""
REACH = 45
"""The covers of the rest are named within so many characters."""
LEFT_OVER = 0.5
"""So many percent of the ground may go unnamed where the rest is told."""
CHARACTER_PERCENT, LEADING_PERCENT = 50.0, 35.0
"""A landscape is called by what covers so much of it, or so much and more than anything else."""
_LANDSCAPE = r"(?:landscape|scene|scenery|countryside|plain|setting|picture|image|view)"
_PARTLY = compiled(
    r"\b(?:part(?:ly|ially)?|half|semi|sparsely|lightly|thinly|scarcely|hardly|barely|little|less|in part|also)"
    r"[\s-]+(?:\w+ly )?$",
    re.I,
)
_KIND_OF = compiled(rf"\b{_LANDSCAPE} (?:made )?of (?:an? |the )?$", re.I)
_IS = compiled(
    rf"(?:^|[;:,]\s*|\b(?:and|but|while|whereas|overall,?)\s+)(?:the|this) (?P<all>whole |entire )?{GROUND} "
    r"(?:is|are|lies|remains)\s+(?:(?!not\b|no\b)[\w-]+ly\s+|still\s+|also\s+)?"
    r"(?:(?:covered (?:by|with|in)|under|given over to|made up of)\s+)?(?:an? |the )?$",
    re.I,
)


def whole(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    if not said.reading.classes:
        return
    places = find_places(said.text)
    yield from _rest(said, places)
    yield from _apart(said)
    yield from _character(said, places)
    yield from _vegetated(said, places)


def _rest(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A covers a half, the rest is B``; ``B makes up the remainder``."""
    for match in _REST.finditer(said.text):
        makes_up = _MAKES_UP.search(said.text[: match.start()])
        if makes_up:
            named = listed_before(said, makes_up.start())
            is_most = bool(makes_up.group("most") or match.group("most"))
        else:
            first = said.after(match.end())
            between = said.text[match.end() : first.start] if first else "."
            if first is None or len(between) > REACH or re.search(r"[.;:]", between):
                continue
            named = listed_after(said, first.start)
            is_most = bool(match.group("most") or _MOSTLY.search(between))
        if named:
            begin = min(match.start(), *(m.start for m in named))
            told = [m for m in said.mentions if m.end <= begin]
            is_part = ONE_PART.search(said.text) or (places and _PART_OF.search(said.text[: places[0].start]))
            region = next((p.region for p in places), "") if is_part else ""
            yield from _left(said, told, named, region, is_most=is_most, words=match.group(0))


def _apart(said: Said) -> Iterable[Claim]:
    """``Apart from A, the scene is B``."""
    for one in said.mentions:
        match = _APART.search(said.text[: one.start])
        if match:
            told = [m for m in said.mentions if match.start() <= m.start < one.start]
            named = listed_after(said, one.start)
            words = match.group(0).split(",")[0]
            yield from _left(said, told, named, "", is_most=bool(match.group("most")), words=words)


def _left(
    said: Said, told: Sequence[Mention], named: Sequence[Mention], region: str, *, is_most: bool, words: str
) -> Iterable[Claim]:
    """Whether some covers are all that is left beside others, or most of it.

    Where no others are told, the text before has told them; where there is none, sentences may have been left out, the
    larger covers first: with figures the rest is judged by these, without them it has to be the smallest covers.
    """
    codes = {c.code for m in named for c in said.classes_of(m.concept)}
    if not codes:
        return
    concepts = {m.concept for m in named}
    told = told or [m for m in said.earlier if m.concept not in concepts]
    if not told:
        smallest = {c.code for c in said.reading.classes[-len(codes) :]}
        figure = _FIGURE.search(words)
        if (
            figure
            and not is_most
            and abs(percent_of(said, named, region) - _WORTH[figure.group(0).lower()]) > OFF_PERCENT
        ):
            yield "number", f"{words.strip()!r} is not what they make up"
        if not is_most and codes != smallest and not find_numbers(said.text) and not figure:
            yield "number", f"{words.strip()!r}: of what it is the rest, and all that it holds, has to be told"
        return
    before = percent_of(said, told, region)
    both = percent_of(said, [*told, *named], region)
    rest = 100.0 - before
    if (both - before < 0.5 * rest) if is_most else (both < 100.0 - LEFT_OVER):
        yield "number", f"{words.strip()!r} holds more than that"


_ALL_GREEN = compiled(
    rf"\b(?:{GROUND}|(?:north|south|east|west)\w*(?: (?:half|quarter))?) (?:is|are) (?:(?P<all>entirely|completely|"
    r"fully|wholly|all)|almost entirely|mostly|mainly|largely|predominantly)\s+"
    r"(?:(?:covered|overgrown) (?:by|with|in) |under )?(?:green |natural )?vegetat(?:ed|ion)\b",
    re.I,
)


def _vegetated(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the scene is entirely covered by vegetation``: by all covers that are plants."""
    for match in _ALL_GREEN.finditer(said.text):
        plants = [Mention(match.end(), match.end(), "vegetation", negated=False)]
        part = part_of(said, places, match.start(), match.end())
        share = percent_of(said, plants, "" if part is None else part.region)
        if share < (99.5 if match.group("all") else CHARACTER_PERCENT):
            yield "number", f"{match.group(0)!r} says too much"


def _character(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``a forested landscape``, ``a scene of A and B``, ``the landscape is wooded``."""
    text = said.text
    done: set[int] = set()
    for one in said.mentions:
        if one.start in done:
            continue
        named = listed_after(said, one.start)
        done |= {m.start for m in named}
        end = named[-1].end
        before = text[: one.start]
        is_kind = re.match(rf"\s+{_LANDSCAPE}\b(?!['-])", text[end:], re.I) and not _PARTLY.search(before)
        is_said = _IS.search(before)
        if is_said and (_PARTLY.search(before) or re.match(r"[\s-]+(?:and|or|with|in part|to)\b", text[end:], re.I)):
            is_said = None  # "the scene is wooded with fields between": the list goes on in other words
        if not (is_kind or is_said or _KIND_OF.search(before)):
            continue
        part = part_of(said, places, one.start, end)
        if part is not None and part.form in ("edge", "corner"):
            continue
        region = region_of(said, places, end)
        if region and said.reading.region_share(said.reading.classes[0].code, region) is None:
            continue
        share = percent_of(said, named, region)
        top = said.reading.classes[0]
        leads = not region and any(c.code == top.code for m in named for c in said.classes_of(m.concept))
        least = 99.5 if is_said and is_said.group("all") else LEADING_PERCENT if leads else CHARACTER_PERCENT
        if share < least:
            yield "number", f"{text[named[0].start : end]!r} is no word for all of it"
