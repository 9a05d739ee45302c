"""What a sentence claims of the order of covers: which is more, first, second or last."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import (
    GROUND,
    IN_SO_MANY,
    clause_region,
    listed_after,
    percent_of,
    shares_in,
    summed_after,
    summed_before,
)
from captioners.mentions import Mention, find_places
from captioners.quantities import LEADING, find_numbers


def orders(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    rules = (_comparison, _higher, _points, _verb, _than_all, _beside, _order, _rank, _both_ends, _place)
    for rule in rules:
        yield from rule(said)


_THAN = compiled(r"\b(more|less|fewer|larger|greater|smaller|bigger|wider|more extensive)\b([^.;]*?)\bthan\b", re.I)
_LESS = ("less", "fewer", "smaller")
_DIGIT = compiled(r"\s*(?:\d|half|a (?:third|quarter|fifth|tenth)|two thirds|three quarters|one )", re.I)


def _comparison(said: Said) -> Iterable[Claim]:
    """``more A than B``, ``A covers more ground than B``."""
    for match in _THAN.finditer(said.text):
        if _DIGIT.match(said.text[match.end() :]):
            said.judge(match)  # with its figure
            continue
        inside = [m for m in said.mentions if match.start(2) <= m.start < match.end(2)]
        one, other = inside[0] if inside else said.before(match.start()), said.after(match.end())
        if one is None or other is None or one.concept == other.concept:
            continue
        said.judge(match)
        if summed_after(said, other.start):
            continue  # `amounts` knows
        (low, high), (other_low, other_high) = both_shares(said, one, other, match)
        added = [] if inside else summed_before(said, match.start())
        if added:
            low = high = percent_of(said, added, clause_region(said, added[0].start, other.end))
        less = match.group(1).lower() in _LESS
        holds = low < other_high if less else high > other_low
        if not holds:
            yield "comparison", f"{match.group(0)!r} is the wrong way round"


def both_shares(
    said: Said, one: Mention, other: Mention, match: re.Match[str]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Least and most percent of two covers that words compare, in the part of the scene of which they do."""
    start, end = min(one.start, match.start()), max(other.end, match.end())
    region = clause_region(said, start, end)
    return shares_in(said, one, region), shares_in(said, other, region)


_FARTHER = compiled(
    r"\s+(?:(?P<less>less|fewer|smaller|lower|behind|below)|more|larger|greater|higher|ahead of|above)\b", re.I
)


_HIGHER = compiled(
    r"\b(?:share|proportion|percentage|cover(?:age)?)\b[^.;,]*?\b(?:higher|(?P<less>lower))\b[^.;,]*?\bthan\b"
    r"|\b(?:higher|(?P<lower>lower)) (?:share|proportion|percentage)\b[^.;,]*?\bthan\b",
    re.I,
)
_RATIO = compiled(r"\bratio\b", re.I)


def _higher(said: Said) -> Iterable[Claim]:
    """``the share of A is higher than that of B``; a ratio of two covers is read by no rule."""
    for match in _HIGHER.finditer(said.text):
        before = [m for m in said.mentions if match.start() <= m.start < match.end()]
        one, other = (before[0] if before else said.before(match.start())), said.after(match.end())
        if one is None or other is None or one.concept == other.concept:
            continue
        said.judge(match)
        (low, high), (other_low, other_high) = both_shares(said, one, other, match)
        if not (low < other_high if match.group("less") or match.group("lower") else high > other_low):
            yield "comparison", f"{match.group(0)!r} is the wrong way round"
    if _RATIO.search(said.text) and len(said.mentions) > 1:
        yield "comparison", "'ratio' is read by no rule"


def _points(said: Said) -> Iterable[Claim]:
    """``A covers ten points more than B``: so far their shares are apart, in the scene or in the region named."""
    for number in find_numbers(said.text):
        if number.kind != "points":
            continue
        way = _FARTHER.match(said.text, number.end)
        verb = None if way else LEADING.search(said.text)
        told = way or verb
        sign = -1.0 if told and told.group("less") else 1.0
        start, end = (verb.start(), verb.end()) if verb else (number.start, number.end)
        before, other = [m for m in said.mentions if m.end <= start], said.after(end)
        gaps = [gap for one in (*before[:1], *before[-1:]) if other for gap in _gaps(said, one, other)]
        if not any(number.allows(sign * gap) for gap in gaps):
            yield "number", f"{number.text!r} is not how far they are apart"


def _gaps(said: Said, one: Mention, other: Mention) -> list[float]:
    """By how many points the first may cover more than the second."""
    (low, high), (other_low, other_high) = said.share(one), said.share(other)
    gaps = [a - b for a in (low, high) for b in (other_low, other_high)]
    return gaps + [_in(said, one, region) - _in(said, other, region) for region in _regions(said)]


_FOLLOWED = compiled(r"\b(?:followed by|ahead of|then comes?|next comes?)\b", re.I)


def _order(said: Said) -> Iterable[Claim]:
    """``A, followed by B``: A covers no less than B, in the scene or in the region named."""
    for match in _FOLLOWED.finditer(said.text):
        one = next((m for m in said.mentions if m.end <= match.start()), None)
        other = said.after(match.end())
        if one is None or other is None:
            continue
        pairs = [(said.share(one)[1], said.share(other)[0])]
        for region in {f.region for f in said.cited if f.kind == "share" and f.region != "chip"}:
            pairs.append((_in(said, one, region), _in(said, other, region)))
        if all(first < second - 0.5 for first, second in pairs):
            yield "comparison", f"{match.group(0)!r}, but the second covers more"


def _in(said: Said, mention: Mention, region: str) -> float:
    return sum(said.reading.region_share(one.code, region) or 0.0 for one in said.classes_of(mention.concept))


_LARGEST = compiled(
    r"\b(?:(?P<nth>second|third|fourth|fifth)[- ])?"
    r"(?P<top>largest|main|dominant|most (?:common|extensive|widespread)|biggest|prevailing|predominant|leading|"
    r"principal|smallest|least (?:common|extensive)|rarest)\s+(?:single )?(?:land )?"
    r"(?:cover|class|cover type|type of (?:land )?cover|"
    rf"share(?! of (?:the |its )?(?!{GROUND}))|(?:part|portion) of (?:the )?"
    r"(?:scene|area|ground|chip|image|landscape|view|land|picture))\b",
    re.I,
)
LEADS = compiled(rf"{_LARGEST.pattern}|\bdominates? the {GROUND}\b|\bleads?(?=,)", re.I)
"""Words by which a cover is the first of all."""
_IN_PART = compiled(r"\s+(?:in|of|across) the ", re.I)
_AFTER = compiled(
    r"^(?:(?:after|behind|next to)|(?P<beside>apart from|aside from|besides|other than|except for))\s+(?:the )?$", re.I
)


def _rank(said: Said) -> Iterable[Claim]:
    """``the main land cover is A``, ``A is the smallest class``."""
    match = _LARGEST.search(said.text)
    if not match or not said.reading.classes or not said.mentions:
        return
    many = IN_SO_MANY.search(said.text, match.end())
    said.judge(match)
    if many is not None and re.fullmatch(r" (?:only )?in (?:only )?", said.text[match.end() : many.start()]):
        return  # "the main cover in six of the nine cells": `ranks` counts them
    tail = re.sub(r"^ by far\b", " " * len(" by far"), said.text[match.end() :])
    copula = re.match(r"[^,;.]{0,40}?\b(?:is|are|being|,)\s", tail)
    one = said.after(match.end()) if copula or said.before(match.start()) is None else said.before(match.start())
    if tail.startswith(",") and re.search(r",\s*the\s+$", said.text[: match.start()], re.I):
        one = said.before(match.start())  # "A, the largest cover, borders on B"
    if one is None:
        return
    if match.group("nth"):
        yield from _nth(said, one, match.group("nth"), match.group(0), is_last=_is_last(match))
        return
    first = said.mentions[0]
    after = _AFTER.match(said.text[: first.start]) if first is not one else None
    if after is not None:  # "after A, B is the largest cover"; "apart from A and B, C is the largest cover"
        others = listed_after(said, first.start)
        codes = {c.code for m in others for c in said.classes_of(m.concept)}
        rest = [c.share for c in said.reading.classes if c.code not in codes]
        share = said.share(one)[1]
        is_less = after.group("beside") or all(said.share(m)[1] >= share for m in others)
        if codes and rest and not (is_less and share >= max(rest) - 1e-6):
            yield "comparison", f"{match.group(0)!r} is another"
        return
    last = _is_last(match)
    low, high = said.share(one)
    classes = said.reading.classes
    shares = [c.share for c in classes]
    regions = _regions(said)
    best = any(_in(said, one, region) >= _top(said, region) - 1e-6 for region in regions)
    where = next((p for p in find_places(said.text) if _IN_PART.fullmatch(tail, 0, p.start - match.end())), None)
    if where is not None and not last and where.form not in ("edge", "corner"):  # "the largest cover in the north"
        shares_there = [percent_of(said, [Mention(0, 0, f"class:{c.code}", False)], where.region) for c in classes]
        if any(shares_there) and percent_of(said, [one], where.region) < max(shares_there) - 1e-6:
            yield "comparison", f"{match.group(0)!r} is another there"
        return
    if (last and low > min(shares) + 1e-6) or (not last and high < max(shares) - 1e-6 and not best):
        yield "comparison", f"{match.group(0)!r} is another"


_WIDEST, _RAREST = (
    rf"(?:{words}|{more} (?:widespread|common|extensive|abundant))(?: (?:single )?(?:land )?(?:cover|class)(?: type)?)?"
    for words, more in (("largest|biggest|commonest", "most"), ("smallest|rarest|scarcest", "least"))
)
_BOTH_ENDS = compiled(
    rf"\s+(?:is|are) (?:by far )?the (?:(?P<most>{_WIDEST})|{_RAREST}),? (?:and|while|whereas) (?:the )?$", re.I
)
_OTHER_END = compiled(
    rf"\s+(?:(?:is|are) )?(?:by far )?the (?:(?P<most>{_WIDEST}|most)|{_RAREST}|least)(?=\s*[.,;])", re.I
)


def _both_ends(said: Said) -> Iterable[Claim]:
    """``A is the most extensive cover and B the least``: of all covers, in the whole scene."""
    for one, other in pairwise(said.mentions):
        first = _BOTH_ENDS.match(said.text[: other.start], one.end)
        second = _OTHER_END.match(said.text, other.end) if first else None
        if first is None or second is None or find_places(said.text):
            continue
        said.judge(first)
        said.judge(second)
        shares = [c.share for c in said.reading.classes]
        for match, (low, high) in ((first, said.share(one)), (second, said.share(other))):
            if (high < max(shares) - 1e-6) if match.group("most") else (low > min(shares) + 1e-6):
                yield "comparison", f"{match.group(0).strip()!r} is another"


def _is_last(match: re.Match[str]) -> bool:
    return match.group("top").lower().startswith(("small", "least", "rarest"))


def _regions(said: Said) -> set[str]:
    """Parts of the scene that a sentence may speak of: those of the facts it cites, where it names a place at all."""
    if not find_places(said.text):
        return set()
    return {f.region for f in said.cited if f.kind in ("share", "dominant") and f.region != "chip"}


def _top(said: Said, region: str) -> float:
    return max((said.reading.region_share(one.code, region) or 0.0 for one in said.reading.classes), default=0.0)


_NTH = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
_RANKED = compiled(
    r"\b(?:ranks?|ranked|comes?|stands?|is|are|in|takes?)\s+(?:an? (?:distant|close|clear|far) )?"
    r"(?P<nth>first|second|third|fourth|fifth|last)"
    r"(?: place| rank)?(?=\s*(?:[,.;(]|by\b|with\b|at\b|in\b|on\b|after\b|behind\b))",
    re.I,
)


def _place(said: Said) -> Iterable[Claim]:
    """``A comes second``."""
    for match in _RANKED.finditer(said.text):
        one = said.before(match.start()) or said.after(match.end())
        if one is not None:
            yield from _nth(said, one, match.group("nth"), match.group(0))
        other = said.after(match.end()) if re.match(r"\s*(?:after|behind)\b", said.text[match.end() :], re.I) else None
        if one is not None and other is not None and said.share(other)[1] < said.share(one)[0]:
            yield "comparison", f"{match.group(0)!r} comes before it"


def _nth(said: Said, one: Mention, nth: str, words: str, *, is_last: bool = False) -> Iterable[Claim]:
    """Whether one of a mention's classes has this rank, in the scene or in a region that is cited."""
    regions = _regions(said)
    codes = {c.code for c in said.classes_of(one.concept)}
    for region in ("", *regions):
        shares = {
            c.code: said.reading.region_share(c.code, region) if region else c.share for c in said.reading.classes
        }
        ordered = sorted((share for share in shares.values() if share), reverse=not is_last)
        rank = len(ordered) if nth.lower() == "last" else _NTH[nth.lower()]
        if rank <= len(ordered) and any(abs((shares[code] or 0.0) - ordered[rank - 1]) < 1e-6 for code in codes):
            return
    if codes:
        yield "comparison", f"{words!r} is another"


_VERB = compiled(
    r"\b(?:(?P<more>exceeds?|outstrips?|outweighs?|surpass(?:es)?|outranks?|outpaces?|edges? out)|"
    r"(?:trails?|lags? behind))\b",
    re.I,
)


def _verb(said: Said) -> Iterable[Claim]:
    """``A exceeds B``."""
    for match in _VERB.finditer(said.text):
        one, other = said.before(match.start()), said.after(match.end())
        if one is None or other is None or one.concept == other.concept:
            continue
        said.judge(match)
        more, less = (one, other) if match.group("more") else (other, one)
        region = clause_region(said, one.start, other.end)
        if shares_in(said, more, region)[1] <= shares_in(said, less, region)[0]:
            yield "comparison", f"{match.group(0)!r} is the wrong way round"


_THAN_ALL = compiled(rf"(?:{_VERB.pattern}|\bthan)\s+(?:every|all|any)(?: of the)? other", re.I)


def _than_all(said: Said) -> Iterable[Claim]:
    """``A exceeds every other cover``, ``A covers more ground than any other cover``."""
    for match in _THAN_ALL.finditer(said.text):
        one, top = said.before(match.start()), max((c.share for c in said.reading.classes), default=0.0)
        said.judge(match)
        is_less = re.search(r"\b(?:less|fewer|smaller)\b", said.text[: match.end()], re.I)
        if one is not None and said.classes_of(one.concept) and not is_less and said.share(one)[1] < top - 1e-6:
            yield "comparison", f"{match.group(0)!r}, but another covers more"


_COMPARED = compiled(r"\b(?:compared|in comparison|relative) (?:with|to) (?:the )?$", re.I)
_EXCEEDS = compiled(
    r"\b(?:(?P<less>less|fewer|smaller)|more|larger|greater|bigger)\b(?![^.;]*\bthan\b)(?! (?:patch|block))", re.I
)


def _beside(said: Said) -> Iterable[Claim]:
    """``compared with B, A covers a larger area``."""
    for other in said.mentions:
        match, one = _EXCEEDS.search(said.text), said.after(other.end)
        if not _COMPARED.search(said.text[: other.start]):
            continue
        one = one if one is not None and match and one.end <= match.start() else said.before(other.start)
        if match is None or one is None or one.concept == other.concept:
            continue
        said.judge(match)
        more, less = (other, one) if match.group("less") else (one, other)
        if said.share(more)[1] <= said.share(less)[0]:
            yield "comparison", f"{match.group(0)!r} is the wrong way round"
