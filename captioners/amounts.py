"""How much of the scene a cover is said to take up in words of size: a large part, a minor component, extensive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import (
    GROUND,
    TOGETHER,
    listed_after,
    listed_before,
    part_of,
    percent_of,
    summed_after,
    summed_before,
)
from captioners.mentions import Mention, find_places
from captioners.quantities import Number

_PART = (
    r"(?:parts?|portions?|shares?|areas?|proportions?|fractions?|sections?|swathe?s?|tracts?|expanses?|percentage|"
    r"amounts?)"
)
_LARGE = r"(?:large|major|substantial|considerable|significant|sizea?ble|big|great|good|extensive|vast|huge)"
_SMALL = r"(?:small|minor|little|tiny|modest|limited|slight|minimal|insignificant)"
_OF = (
    rf" (?:of|within|in) (?:(?:the |this )(?:whole |entire |overall |total )?{GROUND}\b"
    r"|the (?=(?:north|south|east|west|upper|lower|left|right|middle|cent)))"
)
_TOLD = compiled(
    rf"\b(?:an? |the )?(?:(?P<large>{_LARGE})|(?P<small>(?:very |relatively |rather |only )?{_SMALL})) {_PART}{_OF}"
    rf"|\b(?P<much>much|a good deal|a lot){_OF}"
    r"|\b(?:(?P<major>major|main|key|principal|significant|substantial)|(?P<minor>minor|small|marginal|insignificant)) "
    rf"(?:component|constituent|element|contributor)s?(?:{_OF})?",
    re.I,
)
_IS = compiled(
    r"(?: in the [\w-]+)?\s+(?:is|are|lies?|consists? of|belongs? to|remains?|holds?|comprises?)\s+"
    r"(?:(?:covered|taken up|occupied|filled|made up) (?:by|with|in|of) |under |(?:only|mostly|mainly) )?"
    r"(?:an? |the |some )?",
    re.I,
)
_WIDE = compiled(
    r"(?<!most )(?<!more )(?<!less )(?<!least )(?<!as )\b(?:extensive|expansive|widespread|abundant|"
    r"(?:vast|large|broad|extensive|wide) (?:areas|expanses|stretches|tracts|swathe?s) of) (?:open )?$",
    re.I,
)
_IS_WIDE = compiled(
    r" (?:is|are) (?:very |quite |particularly )?(?:extensive|expansive|widespread|abundant)\b(?! (?:than|as))", re.I
)
_THAN = compiled(r"\b(?:(?P<less>less|fewer|smaller)|more|larger|greater|bigger)\b[^.;]*?\bthan (?:the )?$", re.I)
_BY = compiled(
    r"\b(?:(?P<much>far|much|considerably|vastly|substantially)|(?:slightly|marginally|a little|narrowly|just)) "
    r"(?:ahead of|behind|(?:more|larger|greater|bigger|less|fewer|smaller)\b[^.;,]*?\bthan) (?:the )?$",
    re.I,
)
MUCH, LITTLE = 1.25, 1.6
"""What is far more is at least so many times as much, and what is slightly more at most."""
LARGE_PERCENT, SMALL_PERCENT = 15.0, 25.0
"""Less is no large part, and more no small one."""


def amounts(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    yield from _than_sum(said)
    yield from _by_how_much(said)
    yield from _than_others(said)
    for match in _TOLD.finditer(said.text):
        is_small = bool(match.group("small") or match.group("minor"))
        if re.search(r"\b(?:no|not|none|second|third|than)\b[^.;,]*$", said.text[: match.start()], re.I):
            continue
        yield from _judged(said, _spoken_of(said, match), match, is_small)
    for one in said.mentions:
        wide = _WIDE.search(said.text[: one.start]) or _IS_WIDE.match(said.text, one.end)
        if wide is not None:
            yield from _judged(said, listed_after(said, one.start), wide, is_small=False)


def _spoken_of(said: Said, match: re.Match[str]) -> list[Mention]:
    """The covers that a part is said to be, after it or before it."""
    after = said.after(match.end())
    if after is not None and _IS.fullmatch(said.text, match.end(), after.start):
        return listed_after(said, after.start)
    return listed_before(said, match.start())


def _judged(said: Said, named: Sequence[Mention], match: re.Match[str], is_small: bool) -> Iterable[Claim]:
    if not any(said.classes_of(m.concept) for m in named):
        return
    starts, stops = ([getattr(one, name) for one in named] for name in ("start", "end"))
    ends = min(match.start(), *starts), max(match.end(), *stops)
    part = part_of(said, find_places(said.text), *ends)
    if part is not None and part.form in ("edge", "corner"):
        return
    share = percent_of(said, named, "" if part is None else part.region)
    each = [percent_of(said, [m], "" if part is None else part.region) for m in named]
    if (max(each) > SMALL_PERCENT) if is_small else (share < LARGE_PERCENT):
        yield "number", f"{match.group(0).strip()!r} says too {'little' if is_small else 'much'}"


def _than_sum(said: Said) -> Iterable[Claim]:
    """``A covers more ground than B and C together``, in the whole scene."""
    for first in said.mentions:
        others, match = summed_after(said, first.start), _THAN.search(said.text[: first.start])
        if not others or match is None:
            continue
        inside = [m for m in said.mentions if match.start() <= m.start and m.end <= match.end()]
        one = inside[0] if inside else said.before(match.start())
        if one is None or find_places(said.text):
            yield "comparison", f"{match.group(0).strip()!r} is told by no fact"
            continue
        said.judge(match)
        share, total = said.share(one)[1], percent_of(said, others, "")
        if share >= total if match.group("less") else share <= total:
            yield "comparison", f"{match.group(0).strip()!r}, but together they have {total:.1f}%"


_OTHERS = r"(?:all|every)(?: of)?(?: the)? (?:other|remaining)(?: land)?(?: (?:covers?|class(?:es)?)(?: types?)?|s)?"
_THAN_OTHERS = compiled(
    rf"\b(?:(?P<less>less|fewer|smaller)|more|larger|greater|bigger)\b[^.;]*?"
    rf"\bthan (?:that of )?{_OTHERS} {TOGETHER}\b",
    re.I,
)
_OTHERS_HAVE = compiled(rf"\b{_OTHERS}(?: {TOGETHER})? (?:account for|make up|cover|take up|amount to|total)\s+$", re.I)


def _than_others(said: Said) -> Iterable[Claim]:
    """``A covers more ground than all other covers together``, in the whole scene."""
    for match in _THAN_OTHERS.finditer(said.text):
        one = said.before(match.start())
        said.judge(match)
        if one is None or find_places(said.text):
            yield "comparison", f"{match.group(0)!r} is told by no fact"
            continue
        low, high = said.share(one)
        if low >= 50.0 if match.group("less") else high <= 50.0:
            yield "comparison", f"{match.group(0)!r} is the wrong way round"


def of_all_others(said: Said, number: Number) -> float | None:
    """Percent that all covers but those of the text before have, where a figure tells that ("all other covers together
    account for 43%"); None where it tells another.
    """
    if number.kind != "percent" or not _OTHERS_HAVE.search(said.text[: number.start]):
        return None
    told = [m for m in said.mentions if m.end <= number.start] or said.earlier
    return sum(c.share for c in said.reading.classes) - percent_of(said, told, "") if told else None


def _by_how_much(said: Said) -> Iterable[Claim]:
    """``A is far ahead of B``, ``A covers slightly more ground than B``, in the whole scene."""
    for other in said.mentions:
        match = _BY.search(said.text[: other.start])
        one = said.before(match.start()) if match else None
        if match is None or one is None or one.concept == other.concept or find_places(said.text):
            continue
        if summed_after(said, other.start):
            continue  # `_than_sum` knows
        added = summed_before(said, one.end)
        mine = [percent_of(said, added, "")] if added else said.share(one)
        pairs = [(a, b) for a in mine for b in said.share(other) if a > 0 and b > 0]
        ratios = [max(a, b) / min(a, b) for a, b in pairs]
        if ratios and (max(ratios) < MUCH if match.group("much") else min(ratios) > LITTLE):
            yield "comparison", f"{match.group(0).strip()!r} does not fit their shares"
