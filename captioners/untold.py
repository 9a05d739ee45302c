"""What few facts tell, or none: which thing parts two covers, which way leads from one to another, which sort of a
cover lies where, what a sensor without facts saw. What is told of that and not borne out is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import combinations

from captioners.across import is_between
from captioners.claims import Claim, Said
from captioners.dated import unknown_sensors
from captioners.gated import compiled
from captioners.lexicon import word_table
from captioners.mentions import Mention, Place, find_places


def untold(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    for rule in (_parted, _parted_by, _lies_between, _led, _sorts, _sensed, _measured, _sloped, _flows, _sized):
        yield from rule(said)


_PARTS = r"(?:separat|divid|isolat|insulat|screen|shield|shelter|protect|buffer|detach|hid)"
_PARTING = compiled(
    rf"\b{_PARTS}(?:es|s|e|ing)? (?:the |both )?(?=[^.;]*?\b(?:from|and)\b)"
    r"|\b(?:cuts?|cutting|splits?|splitting) (?:off )?the (?=[^.;]*?\bfrom\b)",
    re.I,
)
"""``C separates A from B``"""
_FROM = compiled(r"[^.;:]{0,30}\b(?:from|and) (?:the |an? )?", re.I)
_OTHER = compiled(r"\b(?:and|while|whereas|but|where)\b|;", re.I)


def _parted(said: Said) -> Iterable[Claim]:
    """``C separates A from B``: C is a cover, and lies between them."""
    for match in _PARTING.finditer(said.text):
        first = said.after(match.end())
        second = said.after(first.end) if first is not None else None
        if first is None or second is None or not _FROM.fullmatch(said.text, first.end, second.start):
            continue
        if first.start - match.end() > 16:
            continue
        one = said.before(match.start())
        if one is not None and _OTHER.search(said.text, one.end, match.start()):
            one = None  # "grassland leads, and a road separates A from B"
        yield from _is_parted(said, match, one, (first, second))


_PARTED = compiled(
    rf"\b(?:(?P<touch>separated|divided|isolated|detached|cut off)|{_PARTS}(?:e?d|den)|set apart)\b", re.I
)
"""Of the first of these without "by", `denials` asks whether the two touch."""
_AWAY_FROM = compiled(r"[^.;,]{0,40}?\bfrom (?:the |an? )?", re.I)
_BY = compiled(
    r"[^.;,]{0,40}?\bby (?:the |an? )?(?:[\w-]+ )?"
    r"(?:(?:strip|band|belt|ribbon|stretch|line|zone|buffer)s? of (?:the )?)?",
    re.I,
)


def _parted_by(said: Said) -> Iterable[Claim]:
    """``A is separated from B by C``, ``A and B are separated by C``: C lies between them."""
    for match in _PARTED.finditer(said.text):
        first, third = said.before(match.start()), said.after(match.end())
        second = third
        if first is not None and second is not None and _AWAY_FROM.fullmatch(said.text, match.end(), second.start):
            end, third = second.end, said.after(second.end)
        else:
            end, second, first = match.end(), first, said.before(first.start) if first is not None else None
        if first is None or second is None:
            continue
        if re.search(r"^[^.;]*?\bby\b", said.text[end:]):
            third = third if third is not None and _BY.fullmatch(said.text, end, third.start) else None
            yield from _is_parted(said, match, third, (first, second))
        elif end > match.end() and not match.group("touch"):
            yield "relation", f"{match.group(0)!r} is told by no fact"


def _is_parted(said: Said, words: re.Match[str], one: Mention | None, pair: tuple[Mention, Mention]) -> Iterable[Claim]:
    if one is None or not said.classes_of(one.concept):
        yield "relation", f"{words.group(0).strip()!r}: no fact tells what lies between them"
    elif not is_between(said, one, *pair):
        yield "relation", f"{words.group(0).strip()!r}, but it does not lie between them"


_BETWEEN = compiled(r"\bbetween (?:the )?$", re.I)
_AND = compiled(r" and (?:the )?", re.I)
_THERE = compiled(r",? (?:there )?(?:lies?|runs?|stands?|is|are|sits?|flows?|winds) (?:an?|the|some|two|three)\b", re.I)


def _lies_between(said: Said) -> Iterable[Claim]:
    """``between A and B runs a road``; where it is a cover, `across` knows."""
    for first in said.mentions:
        second = said.after(first.end)
        if second is None or not _BETWEEN.search(said.text[: first.start]):
            continue
        if not _AND.fullmatch(said.text, first.end, second.start):
            continue
        words = _THERE.match(said.text, second.end)
        if words and said.after(second.end) is None:
            yield "relation", f"{words.group(0).strip()!r}: no fact tells what lies between them"


_FROM_TO = compiled(r"\bfrom (?:the |an? )?$", re.I)
_TO = compiled(r"[^.;,]{0,30}? (?:to|into|towards?) (?:the |an? )?", re.I)
_LISTS = compiled(
    r"\b(?:rang\w*|var(?:y|ies|ying)|everything|anything|pass\w*|chang\w*|transition\w*|shift\w*|grad\w*|progress\w*|"
    r"giv\w* way|turn\w*|moves?|moving|"
    r"sequence|succession|rank\w*|order\w*|falling|descending|ascending|largest|smallest|most|least)\b",
    re.I,
)
"""Words of a sentence that goes through covers from one to the other; rules of their own judge those."""


def _led(said: Said) -> Iterable[Claim]:
    """``a path leads from A to B``: no fact tells where a way begins and ends among the covers."""
    for first in said.mentions:
        second = said.after(first.end)
        if second is None or not _FROM_TO.search(said.text[: first.start]) or _LISTS.search(said.text):
            continue
        if _TO.fullmatch(said.text, first.end, second.start):
            yield "relation", f"{said.text[first.start : second.end]!r}: no fact tells what leads from one to the other"


@cache
def _sort_words() -> Mapping[str, tuple[str, int]]:
    """Word of a sort -> the concept that it is one of, and its number among its sorts."""
    return {
        str(word): (concept, number)
        for concept, groups in word_table()["sorts"].items()
        for number, words in enumerate(groups)
        for word in words
    }


def _sorts(said: Said) -> Iterable[Claim]:
    """``pasture lies in the west, meadow in the east``: a class has one place for all that its name covers."""
    words = [(one, _sort_words().get(said.text[one.start : one.end].lower())) for one in said.mentions]
    sorts = [(one, sort) for one, sort in words if sort is not None and said.classes_of(one.concept)]
    places = find_places(said.text)
    for (one, sort), (other, another) in combinations(sorts, 2):
        if sort[0] == another[0] and sort[1] != another[1] and one.concept == other.concept:
            own = [_own_place(said, m, places) for m in (one, other)]
            if None not in own and own[0] != own[1]:
                words_of = (said.text[m.start : m.end] for m in (one, other))
                yield (
                    "class",
                    f"{' and '.join(map(repr, words_of))} are one cover: no fact tells where each of them lies",
                )


def _own_place(said: Said, one: Mention, places: Iterable[Place]) -> tuple[str, str] | None:
    """Region and form of the first place that is told after a cover and before the next one."""
    end = next((m.start for m in said.mentions if m.start >= one.end), len(said.text))
    return next(((p.region, p.form) for p in places if one.end <= p.start < end), None)


def _sensed(said: Said) -> Iterable[Claim]:
    """``Landsat saw``, where no fact comes from it."""
    for word in unknown_sensors(said.text, said.reading):
        yield "name", f"{word!r}: no fact comes from that sensor"


_MEASURE = r"(?:NDVI|NDWI|NDBI|backscatter|VV|VH)"
_OF_COVER = compiled(rf"\b{_MEASURE} (?:values? )?(?:of|over|for|in|on) (?:the |all )?$", re.I)
_COVER_HAS = compiled(
    rf"\s+(?:has|have|had|shows?|showed|with|reach(?:es|ed)) (?:an? |the )?[\w ]{{0,16}}?\b{_MEASURE}\b", re.I
)


def _measured(said: Said) -> Iterable[Claim]:
    """``the NDVI of A``: an index is that of the whole scene, or of what was clear of it."""
    for one in said.mentions:
        classes = said.classes_of(one.concept)
        if not classes or sum(c.share for c in classes) >= 99.5:
            continue
        if _OF_COVER.search(said.text[: one.start]) or _COVER_HAS.match(said.text, one.end):
            yield "number", f"{said.text[one.start : one.end]!r}: no fact tells an index of one cover"


_SLOPES = compiled(
    r"\b(?:slop(?:es?|ing)|descend(?:s|ing)?|ris(?:es?|ing)|falls?|falling|climb(?:s|ing)?|drop(?:s|ping)?|fac(?:es?|ing)|"
    r"overlook(?:s|ing)?)(?: (?:\w+ )?(?:to|towards?|above|over|behind|from))? (?:the |an? )?$",
    re.I,
)
_AT_HEIGHT = compiled(
    r"\b(?:with|by) (?:increasing |rising |growing )?(?:height|altitude|elevation)\b"
    r"|\b(?:on|in|at|covers?|to) (?:the )?(?:higher|lower|upper|steeper|gentler|flatter|highest|lowest|steepest) "
    r"(?:ground|slopes?|elevations?|altitudes?|terrain|land)\b",
    re.I,
)
_THE_MORE = compiled(r"\bthe (?:[a-z]+er|more|less) [^,;.]*, the (?:[a-z]+er|more|less|fewer)\b", re.I)


def _sloped(said: Said) -> Iterable[Claim]:
    """``A slopes to B``, ``A faces B``, ``the higher the ground, the more A``: no fact joins heights and covers."""
    for other in said.mentions:
        match, one = _SLOPES.search(said.text[: other.start]), said.before(other.start)
        if match and one is not None and not _OTHER.search(said.text, one.end, match.start()):
            yield "terrain", f"{match.group(0).strip()!r} a cover is told by no fact"
    for match in (*_THE_MORE.finditer(said.text), *(_AT_HEIGHT.finditer(said.text) if said.mentions else ())):
        yield "comparison", f"{match.group(0)!r} is told by no fact"


_FLOWS = compiled(
    r"\bflow(?:s|ing)?(?: \w+ly)? (?:(?:from|to|towards?|into|out of|down|up)\b|(?:north|south|east|west)[\w-]*ward)",
    re.I,
)
_SIZED = compiled(
    r"\b(?:larger?|big|bigger|small|smaller|tiny|huge|tall|low|high) "
    r"(?:houses?|buildings?|homes?|roofs?|rooftops)\b",
    re.I,
)


def _flows(said: Said) -> Iterable[Claim]:
    """``the river flows to the south``: no fact tells which way water flows."""
    for match in _FLOWS.finditer(said.text):
        yield "relation", f"{match.group(0)!r}: no fact tells which way water flows"


def _sized(said: Said) -> Iterable[Claim]:
    """``large buildings``: no fact tells the size of a building."""
    for match in _SIZED.finditer(said.text):
        yield "size", f"{match.group(0)!r}: no fact tells how large one is"
