"""Which place a cover is given among all: lists by falling share, what comes before what, first and last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import COUNTS, IN_SO_MANY, listed_after, listed_before
from captioners.mentions import Mention, find_places
from captioners.orders import LEADS
from captioners.quantities import Number, find_numbers, value_of
from captioners.regions import GRID, QUADRANTS


def ranks(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    if said.reading.classes and said.mentions:
        rules = (_ordered, _second, _few, _before, _ends, _of_them, _everywhere, _in_so_many, _after_another, _half)
        for rule in rules:
            yield from rule(said)
    yield from _none_above(said)


_FALLING = compiled(
    r"\b(?:in (?:descending|decreasing|falling) order|from (?:the )?(?:largest|most) to (?:the )?(?:smallest|least)|"
    r"in order of (?:share|area|size|extent)|ranks? as follows|ranked by (?:share|area|size))\b",
    re.I,
)
_RISING = compiled(
    r"\b(?:in (?:ascending|increasing|rising) order|from (?:the )?(?:smallest|least) to (?:the )?(?:largest|most))\b",
    re.I,
)
_THAT_ORDER = compiled(r"\bin (?:that|this) order\b", re.I)
_THEN = compiled(r"\b(?:followed by|then comes?|next comes?|ahead of)\s+", re.I)
SLACK = 0.5
"""Shares so near to each other may be told in either order."""


def _ordered(said: Said) -> Iterable[Claim]:
    """``in descending order: A, B and C``; ``A leads, followed by B and C``."""
    falling, rising = _FALLING.search(said.text), _RISING.search(said.text)
    match = falling or rising or _THAT_ORDER.search(said.text)
    named: Sequence[Mention] = ()
    if match:
        after = [m for m in said.mentions if m.start >= match.end()]
        named = after if len(after) > 1 else said.mentions
    elif (match := _THEN.search(said.text)) and not find_places(said.text):
        named = listed_after(said, match.end())
    if match:
        said.judge(match)
    shares = [said.share(one) for one in (reversed(named) if rising else named) if said.classes_of(one.concept)]
    if match and any(high < low - SLACK for (_, high), (low, _) in pairwise(shares)):
        yield "comparison", f"{match.group(0).strip()!r} is not the order of their shares"


def _second(said: Said) -> Iterable[Claim]:
    """``A is the largest cover, followed by B``: B is the second of all."""
    leads, then = LEADS.search(said.text), _THEN.search(said.text)
    if leads is None or then is None or then.start() < leads.end() or find_places(said.text):
        return
    if then.group(0).lower().startswith("ahead"):
        return  # of any that is less
    if leads.group("nth") or (leads.group("top") or "").lower().startswith(("small", "least", "rarest")):
        return
    named = listed_after(said, then.end())
    if named and _place(said, named[0]) > 2:
        yield "comparison", f"{then.group(0).strip()!r}, but another cover comes second"


_FEW = compiled(
    r"\bthe (?P<count>two|three) (?:(?P<top>largest|biggest|main|dominant|most (?:extensive|common|widespread))"
    r"|smallest|least (?:extensive|common|widespread)) (?:land )?(?:covers?|classes|cover types)\b",
    re.I,
)


def _few(said: Said) -> Iterable[Claim]:
    """``A and B are the two largest covers``, ``the two least extensive covers are A and B``."""
    for match in _FEW.finditer(said.text):
        count = 2 if match.group("count").lower() == "two" else 3
        after = said.after(match.end())
        is_after = after is not None and re.fullmatch(
            r",? (?:are |being )?(?:the )?", said.text[match.end() : after.start]
        )
        named = listed_after(said, after.start) if after and is_after else listed_before(said, match.start())
        shares = sorted((c.share for c in said.reading.classes), reverse=match.group("top") is not None)
        if len(named) != count or len(shares) < count or find_places(said.text):
            continue
        said.judge(match)
        told = [said.share(one) for one in named]
        limit = shares[count - 1]
        if any((high < limit - SLACK) if match.group("top") else (low > limit + SLACK) for low, high in told):
            yield "comparison", f"{match.group(0)!r} are others"


_BEFORE = compiled(
    r"\b(?:ranks?|ranked|comes?|is placed|are placed)\s+(?:\w+\s+)?"
    r"(?:(?P<ahead>before|ahead of|above)|behind|after|below)\s+",
    re.I,
)
_SECOND_TO = compiled(r"\bsecond (?:only )?to\s+", re.I)


def _before(said: Said) -> Iterable[Claim]:
    """``A ranks behind B``, ``A is second only to B``."""
    for match in (*_BEFORE.finditer(said.text), *_SECOND_TO.finditer(said.text)):
        one, other = said.before(match.start()), said.after(match.end())
        if one is None or other is None or one.concept == other.concept or other.start > match.end() + 4:
            continue
        ahead = match.re.pattern == _BEFORE.pattern and match.group("ahead") is not None
        more, less = (one, other) if ahead else (other, one)
        if said.share(more)[1] < said.share(less)[0] - SLACK or (
            match.re.pattern == _SECOND_TO.pattern and _place(said, one) != 2
        ):
            yield "comparison", f"{match.group(0).strip()!r} is not so by their shares"


def _place(said: Said, one: Mention) -> int:
    """Place of a cover by its share, 1: the largest; the best of several classes; 0: it is not there."""
    shares = [c.share for c in said.classes_of(one.concept)]
    return 1 + sum(c.share > max(shares) + SLACK for c in said.reading.classes) if shares else 0


_TOPS = compiled(
    r"\b(?:tops|heads|leads) the (?:list|ranking|table|field)\b|\btakes? first place\b"
    r"|\bleads?(?=\s*(?:[,.;]|by an? \w+ margin|with\b|at\b))",
    re.I,
)
_GOES_TO = compiled(r"\b(?P<nth>first|second|third|fourth) place (?:goes|belongs|falls) to (?:the )?", re.I)
_IS_END = compiled(
    r"\s+(?:is|are) (?:by far )?the (?:(?P<most>most (?:widespread|common|extensive|abundant)|largest|biggest)|"
    r"smallest|rarest|least (?:widespread|common|extensive|abundant))"
    r"(?: of (?:(?:all|them)(?: covers)?|(?:all |the )+(?P<of>\w+)(?: (?:land )?(?:covers|classes))?))?\s*[.,;]",
    re.I,
)
_PLACES = {"first": 1, "second": 2, "third": 3, "fourth": 4}


def _ends(said: Said) -> Iterable[Claim]:
    """``A tops the list``, ``second place goes to A``, ``A is the least widespread``."""
    for match in _TOPS.finditer(said.text):
        one = said.before(match.start())
        if one is not None and _place(said, one) > 1 and not find_places(said.text):
            yield "comparison", f"{match.group(0)!r}, but another cover does"
    for match in _GOES_TO.finditer(said.text):
        one = said.after(match.end())
        if one is not None and _place(said, one) not in (0, _PLACES[match.group("nth").lower()]):
            yield "comparison", f"{match.group(0)!r} another cover"
    for one in said.mentions:
        found = _IS_END.match(said.text, one.end)
        if found and said.classes_of(one.concept) and not find_places(said.text):
            said.judge(found)
            low, high = said.share(one)
            shares = [c.share for c in said.reading.classes]
            if COUNTS.get((found.group("of") or "").lower(), len(shares)) != len(shares):  # "the largest of the three"
                told = {m.concept for m in (*said.earlier, *said.mentions)}
                shares = [said.share(Mention(0, 0, concept, False))[1] for concept in told]
                if COUNTS[found.group("of").lower()] != len(told):
                    yield "comparison", f"{found.group(0).strip()!r}: of which ones, has to be told"
            if (high < max(shares) - SLACK) if found.group("most") else (low > min(shares) + SLACK):
                yield "comparison", f"{found.group(0).strip()!r} is another"


_OF_THEM = compiled(
    r"\bthe (?:(?P<most>largest|biggest|commonest|most (?:extensive|common|widespread|abundant))"
    r"|smallest|rarest|scarcest|least (?:extensive|common|widespread|abundant)) "
    r"of (?:which|these|them|(?:all )?the (?:\w+ )?(?:land )?(?:covers|classes|cover types))(?: all)?"
    r"(?P<is> (?:is|being) (?:the )?)?",
    re.I,
)


def _of_them(said: Said) -> Iterable[Claim]:
    """``five covers, the rarest of which is A``, ``A, the rarest of the covers``: of those named, else of all."""
    for match in _OF_THEM.finditer(said.text):
        before, after = [m for m in said.mentions if m.end <= match.start()], said.after(match.end())
        if match.group("is"):
            one = after if after is not None and after.start == match.end() else None
        else:
            is_told = before and re.fullmatch(r",? (?:is |are )?", said.text[before[-1].end : match.start()])
            one, before = (before[-1] if is_told else None), []
        if one is None or not said.classes_of(one.concept) or find_places(said.text):
            continue
        said.judge(match)
        among = {m.concept for m in (*before, one)}
        shares = [said.share(Mention(0, 0, concept, negated=False)) for concept in among]
        if len(among) < 3:
            shares = [(c.share, c.share) for c in said.reading.classes]
        low, high = said.share(one)
        is_other = (
            high < max(most for _, most in shares) - SLACK if match.group("most") else low > min(shares)[0] + SLACK
        )
        if is_other:
            yield "comparison", f"{match.group(0).strip()!r} is another"


_EVERYWHERE = compiled(
    r"\bleads? (?:everywhere|throughout|in (?:every|each|both|all(?: of)?(?: the)?(?: four)?) "
    r"(?P<what>quarter|quadrant|corner|part|side|half|halve)s?)\b",
    re.I,
)
_QUARTERS = {"n": ("nw", "ne"), "s": ("sw", "se"), "w": ("nw", "sw"), "e": ("ne", "se")}


def _everywhere(said: Said) -> Iterable[Claim]:
    """``A leads in every quarter``; ``in both halves``, north and south or west and east."""
    for match in _EVERYWHERE.finditer(said.text):
        one = said.before(match.start())
        if one is None or not said.classes_of(one.concept):
            continue
        said.judge(match)
        codes = {c.code for c in said.classes_of(one.concept)}

        def leads(*quarters: str, codes: set[int] = codes) -> bool:
            share = {
                c.code: sum(said.reading.region_share(c.code, q) or 0.0 for q in quarters) / len(quarters)
                for c in said.reading.classes
            }
            mine = sum(share[code] for code in codes)
            return all(mine >= other - SLACK for code, other in share.items() if code not in codes)

        is_halves = (match.group("what") or "").startswith("hal")
        halves = {way: leads(*quarters) for way, quarters in _QUARTERS.items()}
        fits = (halves["n"] and halves["s"]) or (halves["w"] and halves["e"])
        if not (fits if is_halves else all(map(leads, ("nw", "ne", "sw", "se")))):
            yield "comparison", f"{match.group(0)!r}, but another cover does in a part"


_LEADS_THERE = compiled(
    r"\s+(?:(?P<occurs>occurs?|(?:is|are) (?:found|present|seen)|appears?)|leads?|dominates?|prevails?|"
    r"(?:is|are) (?:the )?(?:dominant|main|leading|largest|predominant|prevailing|most extensive)"
    r"(?: (?:land )?(?:cover|class)(?: type)?)?)"
    r"(?: in)?(?: only)?(?=\s+$|\s*[.,;])",
    re.I,
)


def _in_so_many(said: Said) -> Iterable[Claim]:
    """``A dominates in three of the four quarters``, ``in six of the nine cells, A leads``."""
    for match in IN_SO_MANY.finditer(said.text):
        one, after = said.before(match.start()), said.after(match.end())
        leads = _LEADS_THERE.match(said.text[: match.start()], one.end) if one is not None else None
        if one is None and after is not None:
            one, leads = after, _LEADS_THERE.match(said.text, after.end)
        is_third = match.group("what").lower() in ("row", "column", "third")
        if one is None or leads is None or is_third or not said.classes_of(one.concept):
            yield "number", f"{match.group(0)!r} is read by no rule: say it in another way"
            continue
        is_cells = match.group("what").lower() in ("cell", "ninth", "square") or (match.group("all") or "") == "nine"
        held = [_held_and_most(said, one, part) for part in (GRID if is_cells else QUADRANTS)]
        count = sum(mine > 0.0 and (mine >= most or leads.group("occurs") is not None) for mine, most in held)
        if value_of(match.group("count")) != count:
            yield "number", f"{match.group(0)!r}, but it does in {count}"
        yield from _in_the_others(said, match, GRID if is_cells else QUADRANTS, count)


_IN_OTHERS = compiled(
    r"(?: (?:leads?|dominates?|prevails?|does))?,? in the (?:other|remaining) "
    rf"(?P<count>one|{'|'.join(COUNTS)}|[1-9])\b",
    re.I,
)


def _in_the_others(said: Said, words: re.Match[str], parts: Sequence[str], count: int) -> Iterable[Claim]:
    """``..., B in the other four``: B leads in all that are left."""
    for other in said.mentions:
        match = _IN_OTHERS.match(said.text, other.end) if other.start >= words.end() else None
        if match is None or not said.classes_of(other.concept):
            continue
        held = [_held_and_most(said, other, part) for part in parts]
        told = value_of(match.group("count"))
        if told != len(parts) - count or told != sum(mine > 0.0 and mine >= most for mine, most in held):
            yield "number", f"{match.group(0).strip()!r} is not where it leads"


def _held_and_most(said: Said, one: Mention, part: str) -> tuple[float, float]:
    """Percent of a cover in a part of the scene, and of the most extensive other one."""
    codes = {c.code for c in said.classes_of(one.concept)}
    shares = {c.code: said.reading.region_share(c.code, part) or 0.0 for c in said.reading.classes}
    others = [share for code, share in shares.items() if code not in codes]
    return sum(shares[code] for code in codes), max(others, default=0.0)


_AFTER_ANOTHER = compiled(
    r"\b(?:largest|biggest|main|most (?:common|extensive|widespread)) (?:land )?(?:cover|class) "
    r"(?:after|behind|next to|besides|apart from) (?:the )?",
    re.I,
)


def _after_another(said: Said) -> Iterable[Claim]:
    """``the largest cover after A is B``."""
    for match in _AFTER_ANOTHER.finditer(said.text):
        other = said.after(match.end())
        one = said.after(other.end) if other is not None and other.start == match.end() else None
        if one is None or other is None or not re.fullmatch(r" is (?:the )?", said.text[other.end : one.start], re.I):
            continue
        said.judge(match)
        codes = {c.code for c in said.classes_of(other.concept)}
        rest = [c.share for c in said.reading.classes if c.code not in codes]
        if rest and said.share(one)[1] < max(rest) - SLACK:
            yield "comparison", f"{match.group(0).strip()!r} is another"


_COVER_WORD = r"(?:(?:single )?(?:land )?(?:cover|class|type)(?:s|es)?(?: (?:types?|class(?:es)?))?)"
_NONE_ABOVE = compiled(
    rf"\b(?:no|none of the) (?P<other>other |others |remaining )?(?:{_COVER_WORD} )?"
    r"(?:(?:other than|apart from|besides|except(?: for)?|but) (?:the )?[\w -]{3,30}? )?"
    r"(?:exceeds?|reach(?:es)?|"
    r"(?P<open>covers?|makes? up|takes? up|occup(?:y|ies)|accounts? for|has|holds?|is|are))\s+$"
    rf"|\b(?:all|every|each|any)(?: of)?(?: the)? (?P<rest>other |others |remaining )(?:{_COVER_WORD} )?"
    r"(?:each )?(?:covers?|makes? up|takes? up|occup(?:y|ies)|accounts? for|stays?|remains?|is|are|lies?)\s+$",
    re.I,
)
"""Before a figure: ``no other class exceeds 8%``, ``all other covers are below 5%``."""
_BESIDE_IT = compiled(r"\b(?:apart from|aside from|besides|other than|except for|beyond)\b", re.I)
_IS_ABOVE = compiled(r"(?:more than|over|above)\b", re.I)
_IS_BELOW = compiled(r"(?:less than|below|under|at most)\b", re.I)


def _bound(text: str, number: Number) -> re.Match[str] | None:
    match = _NONE_ABOVE.search(text[: number.start]) if number.kind == "percent" else None
    if match is None or (match.group("open") and not _IS_ABOVE.match(number.text)):
        return None
    return None if match.group("rest") and not _IS_BELOW.match(number.text) else match


def is_so_many(text: str, number: Number) -> bool:
    """Whether a figure counts parts of the scene: "seven out of nine cells"."""
    return any(match.start() <= number.start < match.end() for match in IN_SO_MANY.finditer(text))


def is_bound(text: str, number: Number) -> bool:
    """Whether a figure is one that no cover, or no other cover, exceeds: no fact has to be that much."""
    return _bound(text, number) is not None


def _none_above(said: Said) -> Iterable[Claim]:
    """``apart from A, no class exceeds 8%``, ``all other covers stay below 5%``, in the whole scene."""
    for number in find_numbers(said.text):
        match = _bound(said.text, number)
        if match is None:
            continue
        beside = _BESIDE_IT.search(said.text)
        told: Sequence[Mention] = said.mentions
        if beside is None and (match.group("other") or match.group("rest")):
            told = [m for m in said.mentions if m.end <= match.start()] or said.earlier
        is_of_others = beside or match.group("other") or match.group("rest")
        codes = {c.code for m in told for c in said.classes_of(m.concept)} if is_of_others else set()
        left = [c.share for c in said.reading.classes if c.code not in codes]
        if (is_of_others and not codes) or find_places(said.text):
            yield "number", f"{number.text!r}: of which others and where, no rule can tell"
        elif max(left, default=0.0) > (number.low if _IS_ABOVE.match(number.text) else number.high):
            yield "number", f"{number.text!r}, but another cover has more"


_HALF = compiled(r"\s+(?:is|are) in (?:the|a) (?:(?P<more>majority)|minority)\b", re.I)


def _half(said: Said) -> Iterable[Claim]:
    """``A is in the minority``."""
    for one in said.mentions:
        match = _HALF.match(said.text, one.end)
        if match and said.classes_of(one.concept):
            low, high = said.share(one)
            if high < 50.0 if match.group("more") else low > 50.0:
                yield "number", f"{match.group(0).strip()!r} does not fit its share"
