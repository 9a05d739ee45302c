"""Covers that are said to be equal, to have so much each, or so many times as much as another."""

from __future__ import annotations

import re
from collections.abc import Iterable

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import clause_region, listed_before, shares_in
from captioners.mentions import find_places
from captioners.orders import both_shares
from captioners.quantities import find_numbers


def multiples(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    for rule in (_equal, _each, _times):
        yield from rule(said)


_EQUAL = compiled(
    r"\b(?:equal (?:shares?|parts?|areas?|amounts?)|"
    r"equally (?:common|large|extensive|widespread|abundant|high|well represented)|in equal measure|"
    r"the same (?:share|area|amount|extent)|share (?:the \w+ )?equally|evenly (?:divided|split|shared))\b",
    re.I,
)
_ALIKE = compiled(
    r"\b(?:equal in (?:area|extent|size|share)|"
    r"(?:of|in|have|cover(?:ing)?|occupy(?:ing)?|take up|taking up|hold|share|with) (?:an? |the )?"
    r"(?:\w+ly |about |almost )?"
    r"(?:similar|comparable|equal) (?:extent|area|size|share|amount|proportion)s?|"
    r"(?:similar|comparable) in (?:area|extent|size|share))\b",
    re.I,
)
"""Of covers that are named together; else it may be said of the patches of one."""
NEARLY = 1.25
"""Shares may be called equal up to this ratio."""
ROUNDED = 1.2
"""A multiple may be off by this ratio: from 2.5 on a cover is three times another."""


def _equal(said: Said) -> Iterable[Claim]:
    """``A and B cover equal shares``."""
    match, alike = _EQUAL.search(said.text), _ALIKE.search(said.text)
    named = said.mentions if match else listed_before(said, alike.start()) if alike else ()
    match = match or alike
    if not match or len(named) < 2:
        return
    said.judge(match)
    region = clause_region(said, min(match.start(), named[0].start), max(match.end(), named[-1].end))
    shares = [shares_in(said, one, region) for one in named]
    if max(low for low, _ in shares) > NEARLY * min(high for _, high in shares):
        yield "comparison", f"{match.group(0)!r}, but they are not"


_EACH = compiled(r"\b(?:each|both)\b[^,;.]{0,48}$", re.I)
_APIECE = compiled(r"[^,;.\d]{0,32}\b(?:each|apiece)\b", re.I)


def _each(said: Said) -> Iterable[Claim]:
    """``A and B, each covering 7%``: the figure is that of every one of them."""
    numbers = [n for n in find_numbers(said.text) if n.kind == "percent"]
    number = numbers[0] if len(numbers) == 1 else None
    each = _EACH.search(said.text[: number.start]) if number is not None else None
    if number is None or not (each or _APIECE.match(said.text, number.end)):
        return
    named = [m for m in said.mentions if m.end <= number.start]
    places = find_places(said.text)
    if len(named) < 2 or not all(said.classes_of(m.concept) for m in named) or len(places) > 1:
        return
    for one in named:
        shares = [*shares_in(said, one, ""), *(share for p in places for share in shares_in(said, one, p.region))]
        if not any(number.allows(share) for share in shares):
            yield "number", f"{number.text!r} is not the share of each"


_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty")
FACTORS = {
    "half": 0.5, "twice": 2.0, "double": 2.0, "thrice": 3.0, "triple": 3.0, "several times": 3.0, "many times": 5.0,
    **{f"{word} times": 20.0 if word == "twenty" else float(n) for n, word in enumerate(_NUMBERS, 2)},
}  # fmt: skip
"""Words for a multiple."""
OPEN = ("several times", "many times")
"""Multiples that may be larger than they are counted here."""
_AS = compiled(
    rf"(?P<hedge>\b(?:more than|over|less than|not) )?(?P<factor>\b(?:{'|'.join(FACTORS)}) )?"
    r"\bas (?:much|many|large|big|extensive|common|widespread)\b(?P<inside>[^.;]*?)\bas\b"
    rf"|(?P<hedges>\b(?:more than|over|less than) )?\b(?P<also>{'|'.join(FACTORS)}) "
    r"(?:the (?:area|share|extent|size|amount)|that)(?P<within>) of\b"
    rf"|(?P<hedged>\b(?:more than|over|less than|not) )?\b(?P<times>{'|'.join(FACTORS)}) "
    r"(?:(?P<less>less|fewer|smaller)|more|larger|greater|bigger|wider)\b[^.;]*?\bthan\b",
    re.I,
)
_FOLD = compiled(rf"\b(?:{'|'.join(_NUMBERS)}|many|mani)-?fold\b", re.I)


def _times(said: Said) -> Iterable[Claim]:
    """``A covers twice as much as B``, ``A is three times smaller than B``, ``A is as extensive as B``."""
    for match in _FOLD.finditer(said.text):
        yield "comparison", f"{match.group(0)!r} is read by no rule"
    for match in _AS.finditer(said.text):
        one, other = said.before(match.start()), said.after(match.end())
        inside = [m for m in said.mentions if match.start() < m.start < match.end()]
        one = inside[0] if inside else one
        if match.group("times") and re.search(r"\bpatch", said.text, re.I):
            yield "comparison", f"{match.group(0)!r} is known of shares, not of patches"
        if one is None or other is None or one.concept == other.concept:
            continue
        word = (match.group("factor") or match.group("also") or match.group("times") or "").strip().lower()
        factor = FACTORS.get(word, 1.0)
        said.judge(match)
        (low, high), (other_low, other_high) = both_shares(said, one, other, match)
        if match.group("less"):
            (low, high), (other_low, other_high) = (other_low, other_high), (low, high)
        least, most = low / max(1e-9, other_high), high / max(1e-9, other_low)
        hedge = (match.group("hedge") or match.group("hedged") or match.group("hedges") or "").strip().lower()
        if hedge in ("more than", "over") or word in OPEN:
            holds = most > factor
        elif hedge in ("less than", "not"):
            holds = least < factor
        else:
            slack = NEARLY if factor == 1.0 else ROUNDED
            holds = least <= factor * slack and most >= factor / slack
        if not holds:
            yield "comparison", f"{match.group(0)!r} does not fit their shares"
