"""What a sentence claims of how much a cover takes up, without a figure: nearly all, mainly, everywhere, hardly any."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioners.attributed import LIES_IN
from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import (
    ALL_OF_IT,
    GROUND,
    JOINED,
    NEARLY_ALL,
    inside_of,
    joined_places,
    listed_after,
    listed_before,
    part_of,
    percent_of,
)
from captioners.mentions import Mention, Place, find_places
from captioners.regions import ALONG, THIRDS
from captioners.scarce import described
from captioners.spread import are_left_out

_ALMOST = r"(?:almost|nearly|virtually|hardly|practically)"
_LEAST = (
    (
        compiled(
            rf"\b{_ALMOST} (?:all|entirely|the entire|the whole|everything|nothing but|anything but)\b"
            r"(?! in (?:one|a single)\b)",
            re.I,
        ),
        88.0,
    ),
    (
        compiled(
            rf"(?<!almost )(?<!nearly )(?<!virtually )(?<!practically )(?:\b(?:entirely"
            r"(?! (?:in|within|along) the (?:north|south|east|west|middle|cent|upper|lower))|completely|exclusively|"
            r"the whole of|the entire(?! (?:width|height|length|breadth|extent))|nothing but|from edge to edge|"
            rf"the lot) ?\b|"
            rf"\ball of the (?:mapped )?{GROUND}\b)",
            re.I,
        ),
        99.5,
    ),
    (compiled(r"\beverything (?:here |else )?(?:is|but|except|other than|apart from)\b|\ball (?:the )?ground\b",
                re.I), 99.5),
    (compiled(r"\b(?:vast|great|overwhelming) majority\b|\bthe lion's share\b", re.I), 65.0),
    (compiled(rf"\b(?:the majority of|most of|the bulk of|the (?:greater|larger|bigger) part of) the {GROUND}\b",
                re.I), 50.0),
    (compiled(r"\b(?:pre)?dominat(?:es?|ed by|ing)\b|\b(?:pre)?dominant\b(?! (?:land|cover|class|type))|"
                r"\bprevails?\b", re.I), 35.0),
)  # fmt: skip
"""Words and the least percent of which they are true, of one cover or of those named together."""
_MAINLY = compiled(
    r"(?:^|\b(?:is|are|holds?|shows?|contains?|landscape|scene of|consists of)\s+)"
    r"(?:mainly|mostly|chiefly|predominantly|largely|primarily|above all)\s+(?:of\s+)?",
    re.I,
)
_NEAR = compiled(r"[^,;:]{0,12}")
MAINLY_PERCENT = 50.0
"""``mainly A``, ``mostly A and B``: they make up so much."""
_OF_THE_REST = compiled(r"\b(?:rest|remainder|remains|left|else)\s*$", re.I)
_MAINLY_SCENE = compiled(
    r"\ban? (?:mainly|mostly|chiefly|predominantly|largely|primarily) "
    r"(?=[\w-]+(?: and [\w-]+)? (?:scene|landscape|region|view|picture|image|area)\b)",
    re.I,
)
"""``a largely wooded scene``"""
_EVERYWHERE = compiled(r"\b(?:everywhere|ubiquitous|all over|every (?:part|corner))\b", re.I)
_EVERY_QUARTER = compiled(r"\b(?:every|each|all four|all) (?:of the )?(?:quarter|quadrant)s?\b", re.I)
EVERYWHERE_PERCENT = 75.0
"""What covers so much is everywhere, whether or not each quadrant has its share."""


def extents(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    places = find_places(said.text)
    for rule in (
        _least,
        _mainly,
        _filled,
        _alone,
        _only_there,
        _lesser,
        _whole_edge,
        _everywhere,
    ):
        yield from rule(said, places)


def _least(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``almost all of the scene is A``."""
    if not said.mentions or not said.reading.classes:
        return
    for pattern, least in _LEAST:
        match = pattern.search(said.text)
        if match and any(m.start < match.end() < m.end for m in said.mentions):
            continue  # "most of the land without crops" speaks of that class, not of the land
        if match and (
            _SO_MANY.match(said.text, match.end()) or _is_run(said.text, match) or _is_of_cover(said, match, places)
        ):
            continue  # "a strip of A runs from edge to edge", "almost all of the A lies in the north": rules know these
        part = part_of(said, places, match.start(), match.end()) if match else None
        if match is None or (part is not None and part.form in ("edge", "corner")):
            continue  # what lies along an edge is judged as a place
        if percent_of(said, _spoken_of(said, match), "" if part is None else part.region) < least:
            yield "number", f"{match.group(0).strip()!r} says too much"


_SO_MANY = compiled(
    r"\s+(?:in )?(?:only )?\w+ (?:out )?of (?:the )?(?:four|nine|(?:grid )?cells|quarters|quadrants)\b", re.I
)
_RUNS_TO = compiled(
    r"\b(?:runs?|running|stretch(?:es|ing)?|extends?|extending|reach(?:es|ing)?|cross(?:es|ing)?)(?: [\w-]+){0,3} $",
    re.I,
)


def _is_run(text: str, match: re.Match[str]) -> bool:
    """Whether ``from edge to edge`` tells how far something runs."""
    return match.group(0).strip().lower() == "from edge to edge" and _RUNS_TO.search(text[: match.start()]) is not None


def _is_of_cover(said: Said, match: re.Match[str], places: Sequence[Place]) -> bool:
    """Whether words like ``almost all`` go on with a cover that lies in a part of the scene."""
    one = said.after(match.end())
    return (
        one is not None
        and re.fullmatch(r" (?:of )?(?:the |its )?", said.text[match.end() : one.start]) is not None
        and any(LIES_IN.fullmatch(said.text, one.end, place.start) for place in places)
    )


_THEN = compiled(
    r"\s*(?:(?:is|are|lies?|consists? of|belongs? to|remains?)\s+"
    r"(?:(?:covered|occupied|taken up) (?:by|with)|under)?\s*)?"
    r"(?:an? |the )?",
    re.I,
)
_ADDED = compiled(r"\b(?:along with|together|combined|as well as|plus|with|mix\w*|mosaic|between)\b", re.I)


def _spoken_of(said: Said, match: re.Match[str]) -> Sequence[Mention]:
    """The covers that such words tell of: a list after them or before their verb, else all."""
    after = said.after(match.end())
    if after is not None and _THEN.fullmatch(said.text, match.end(), after.start):
        return listed_after(said, after.start)
    before = [] if _ADDED.search(said.text[: match.start()]) else listed_before(said, match.start())
    return before or said.mentions


def _mainly(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the scene is mainly A``."""
    for match in (*_MAINLY.finditer(said.text), *_MAINLY_SCENE.finditer(said.text)):
        if _OF_THE_REST.search(said.text[: match.start()]):
            continue  # what the rest is has a rule of its own
        named: list[Mention] = []
        end = match.end()
        for one in said.mentions:
            joins = (JOINED if named else _NEAR).fullmatch(said.text[end : one.start])
            if one.start >= match.end() and joins and not _is_place(places, end, one.start):
                named.append(one)
                end = one.end
        part = part_of(said, places, match.start(), end)  # "the east is mainly A", "mainly A in the east"
        if named and percent_of(said, named, "" if part is None else part.region) < MAINLY_PERCENT:
            yield "number", f"{match.group(0).strip()!r} says too much"


def _is_place(places: Sequence[Place], start: int, end: int) -> bool:
    return any(start <= place.start < end for place in places)


_WHOLE = r"(?:all|entirely|wholly|completely|fully|solely|purely|exclusively)"
_MOST = r"(?:most|the bulk|the greater part|the majority)"
_FILLS = compiled(
    r"\b(?:covers?|covering|fills?|filling|blankets?|cloaks?|(?P<lies>occup(?:y|ies|ying)|tak(?:es?|ing) up|spans?|"
    r"(?:extend|spread|stretch)(?:s|es|ing)? (?:over|across)))\s+"
    rf"(?:(?P<all>all (?:of )?|the whole (?:of )?|(?:the )?entire )|(?P<most>{_MOST} of ))?(?:the )?$",
    re.I,
)
_IS_FILLED = compiled(
    rf"(?: of the {GROUND})?\s+(?:is|are|lies?|remains?)\s+(?P<all>{_WHOLE} )?"
    r"(?:(?:covered|filled|taken up|occupied) (?:by|with|in) |under )?(?P<more>all )?(?:an? |the )?",
    re.I,
)
_HEAD = compiled(
    r"(?:^|[;:,.]\s*|\b(?:and|but|while|whereas)\s+)"
    rf"(?P<all>all of |the whole of )?(?P<most>{_MOST} of )?the (?P<more>whole |entire )?$",
    re.I,
)
_VAGUE_PARTS = ("part", "side", "edge", "border", "margin", "corner")
"""Parts whose bounds nobody knows, or that are judged as places."""
_BOUNDED = ("half", "quarter", "quadrant")
"""Parts whose bounds are known: what occupies one lies on most of it."""
FILLED_PERCENT, MOST_PERCENT, WHOLE_PERCENT = 60.0, 50.0, 99.5
"""What covers a part of the scene, most of it or all of it, has more than so much of it."""


def _filled(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A covers the southern half``, ``the south is all A``: how much of that part is A."""
    for rank, place in enumerate(places):
        if place.text.lower().endswith(_VAGUE_PARTS):
            continue
        strip = _STRIP.match(said.text, place.start) if len(place.region) == 1 else None
        fills, head = _FILLS.search(said.text[: place.start]), _HEAD.search(said.text[: place.start])
        filled = _IS_FILLED.match(said.text, strip.end() if strip else place.end)
        if fills:
            named = listed_before(said, fills.start())
            strong, most = bool(fills.group("all")), fills.group("most")
            if fills.group("lies") and not (strong or most or strip or place.text.lower().endswith(_BOUNDED)):
                continue  # "trees occupy the north": they lie there
            following = joined_places(said.text, places[rank:])
        elif head and filled:
            named = listed_after(said, filled.end())
            strong = any(found.group(name) for found in (head, filled) for name in ("all", "more"))
            most = head.group("most")
            following = [place]
        else:
            continue
        most = most or (fills and fills.group("lies"))
        least = WHOLE_PERCENT if strong else MOST_PERCENT if most else FILLED_PERCENT
        if strip and any(said.classes_of(m.concept) for m in named):
            if _strip_percent(said, named, place.region, _STRIPS[strip.group(1).lower().replace("-", " ")]) <= least:
                yield "number", f"{strip.group(0)!r} holds less of it than that"
            continue
        for part in following:
            if any(said.classes_of(m.concept) for m in named) and percent_of(said, named, part.region) <= least:
                yield "number", f"{part.text!r} holds less of it than that"


_STRIPS = {
    "third": 1 / 3, "quarter": 1 / 4, "fifth": 1 / 5, "tenth": 1 / 10, "two thirds": 2 / 3, "three quarters": 3 / 4,
}  # fmt: skip
_STRIP = compiled(rf"[a-z]+ ({'|'.join(_STRIPS).replace(' ', '[ -]')})\b", re.I)
"""``northern fifth``, ``western two thirds``"""


def _strip_percent(said: Said, named: Sequence[Mention], side: str, part: float) -> float:
    """How much of the outer part of the scene on a side some covers may fill at most, by the thirds of a 3x3 grid."""
    thirds = {"n": "r{0}c{1}", "s": "r{0}c{1}", "w": "r{1}c{0}", "e": "r{1}c{0}"}[side]
    order = (1, 2, 3) if side in "nw" else (3, 2, 1)
    held = [sum(percent_of(said, named, thirds.format(n, k)) for k in (1, 2, 3)) / 3 for n in order]
    weights = [min(1.0, max(0.0, 3 * part - n)) for n in range(3)]
    return sum(min(share, 100.0 * weight) for share, weight in zip(held, weights, strict=True)) / (3 * part)


_HOLDS = r"(?:consists? of|(?:composed|made up) of|comprises?|holds?|contains?|shows?|has|is|are)"
_ALONE = compiled(
    rf"\b{_HOLDS} (?:only|solely|nothing but|purely|exclusively|wholly|all) (?:of )?"
    rf"|\bconsists? (?:only|solely|entirely|exclusively|purely) of ",
    re.I,
)
_ONLY_FIRST = compiled(r"\bonly ", re.I)
_OCCUR = compiled(r"\s+(?:occurs?|exists?|(?:is|are) (?:found|present|seen|there))\s*[.;,]", re.I)
_ONLY_LAST = compiled(r"\s+(?:only|alone)\s*[.;]", re.I)


def _alone(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the scene is all A``, ``it consists of A and B only``, ``only A and B occur``: there is nothing else."""
    for match in (*_ALONE.finditer(said.text), *_ONLY_FIRST.finditer(said.text)):
        named = listed_after(said, match.end())
        if match.re.pattern == _ONLY_FIRST.pattern and not (named and _OCCUR.match(said.text, named[-1].end)):
            continue
        yield from _nothing_else(said, places, named, match.group(0))
    for match in re.finditer(rf"\b{_HOLDS} ", said.text, re.I):
        named = listed_after(said, match.end())
        if named and _ONLY_LAST.match(said.text, named[-1].end):
            yield from _nothing_else(said, places, named, "only")


def _nothing_else(said: Said, places: Sequence[Place], named: list[Mention], words: str) -> Iterable[Claim]:
    if named and any(said.classes_of(m.concept) for m in named):
        part = part_of(said, places, named[0].start, named[-1].end)
        if part is not None and part.form in ("edge", "corner"):
            return
        if percent_of(said, named, "" if part is None else part.region) < WHOLE_PERCENT:
            yield "number", f"{words.strip()!r}, but there is more"


_ONLY_THERE = compiled(
    r"\b(?P<nearly>almost |nearly |virtually )?"
    r"(?:only|solely|exclusively|entirely|wholly|confined|restricted|limited|nowhere (?:but|except|else than))\s+"
    r"(?:(?:found|seen|present) )?(?:in|along|at|to|around|near|within|on)\s+(?:the )?$",
    re.I,
)


def _only_there(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A lies only in the north``, ``A is confined to the south-west``: none of it lies elsewhere."""
    for rank, place in enumerate(places):
        one = said.before(place.start)
        only = _ONLY_THERE.search(said.text[one.end : place.start]) if one is not None else None
        if one is None or only is None:
            continue
        codes = [(c.code, c.share) for c in said.classes_of(one.concept) if c.share > 0]
        inside = [
            sum(inside_of(said, code, share, p) for p in joined_places(said.text, places[rank:]))
            for code, share in codes
        ]
        if inside and max(inside) < (NEARLY_ALL if only.group("nearly") else ALL_OF_IT):
            yield "place", f"{place.text!r} is not the only place where it lies"


_ENTIRE = compiled(r"\b(?:entire|whole|full length of the|all of the|all along the) $", re.I)
_TO_ITS_END = compiled(
    r"(?: of the \w+)? (?:from (?:end|corner|side) to (?:end|corner|side)|"
    r"along (?:its|the) (?:whole|entire|full) length)\b",
    re.I,
)
EDGE_PERCENT = 25.0
"""What lines a whole edge has so much of each third beside it."""


def _whole_edge(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A occupies the entire southern edge``."""
    for place in places:
        one = said.before(place.start)
        if place.form != "edge" or len(place.region) != 1:
            continue
        if not (_ENTIRE.search(said.text[: place.start]) or _TO_ITS_END.match(said.text, place.end)):
            continue
        cells = [percent_of(said, [one], cell) for cell in THIRDS[ALONG[place.region]]] if one is not None else []
        if one is not None and said.classes_of(one.concept) and min(cells) < EDGE_PERCENT:
            yield "place", f"{place.text!r} is not lined by it from end to end"


_LESSER = compiled(
    rf"\b(?:a|the) (?:small )?minority of the {GROUND}\b|\bthe (?:smaller|lesser) (?:part|portion) of the {GROUND}\b",
    re.I,
)


def _lesser(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``a minority of the scene is A``."""
    for match in _LESSER.finditer(said.text):
        near = described(said, match, 16) or said.before(match.start())
        if near is not None and said.share(near)[0] > 50.0:
            yield "number", f"{match.group(0)!r} says too little"


def _everywhere(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A is everywhere``."""
    match = _EVERYWHERE.search(said.text)
    if match and said.mentions:
        one = said.before(match.start()) or said.mentions[0]
        classes = said.classes_of(one.concept)
        if classes and not any(c.place == "spread" or c.share >= EVERYWHERE_PERCENT for c in classes):
            yield "place", f"{match.group(0)!r} is not where it lies"
    for match in () if are_left_out(said.text, places) else _EVERY_QUARTER.finditer(said.text):
        near = said.before(match.start())
        codes = [c.code for c in said.classes_of(near.concept)] if near is not None else []
        shares = [said.reading.region_share(code, part) for part in ("nw", "ne", "sw", "se") for code in codes]
        by_part = [sum(s or 0.0 for s in shares[n : n + len(codes)]) for n in range(0, len(shares), len(codes) or 1)]
        if codes and not all(by_part):
            yield "place", f"{match.group(0)!r}, but one of them has none"
