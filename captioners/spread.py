"""How a cover is said to be dealt out over the scene: all of it here, most of it there, in every quarter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioners.attributed import LIES_IN
from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import ALL_OF_IT, JOINED, NEARLY_ALL, inside_of, joined_places, list_around, percent_of
from captioners.mentions import Mention, Place, find_mentions, find_places
from captioners.placed import tells
from captioners.regions import ALONG, CELLS, GRID

_NUMBER = r"(?:two|three|four|five|six|seven|eight|nine|ten|\d+)"
_ALL = compiled(
    rf"\b(?:all(?: of)?(?: the| its)?(?: {_NUMBER})?|every(?: single)?|(?:each|both)(?: of the)?|"
    rf"(?<!of )the {_NUMBER})\s+"
    r"(?:separate |distinct )?(?:(?:patch(?:es)?|stands?|blocks?|pieces?|bod(?:y|ies)) of (?:the )?)?$",
    re.I,
)
_BOTH = compiled(r"\bboth (?:the )?$", re.I)
_MOST_OF = compiled(
    r"\b(?:most|the (?:bulk|(?:greater|larger|bigger) part|(?:(?P<vast>vast|great|overwhelming) )?majority)|"
    r"(?:more than|over) half) of (?:all )?(?:the |its )?"
    r"(?:(?:patch(?:es)?|stands?|blocks?|pieces?|bod(?:y|ies)) of (?:the )?)?$",
    re.I,
)
_MAINLY = r"(?:mostly|mainly|chiefly|largely|primarily|predominantly)"
_MOSTLY = compiled(rf"\b{_MAINLY}\b", re.I)
_MOSTLY_LIES = compiled(
    rf"(?: (?:areas|patches|blocks|stands|fields))?\s+(?:{_MAINLY} )?"
    r"(?:lies?|stands?|grows?|sits?|occurs?|can be found|(?:is|are)(?: (?:found|located|seen|situated))?)\s+"
    rf"(?:{_MAINLY} )?(?:found |located |seen )?(?:in|along|at|within|on)\s+(?:the )?",
    re.I,
)
MOST_PART, VAST_PART = 0.49, 0.65
"""Most of a cover, and the vast majority of it, are so much of it."""
_NEARLY = compiled(r"\b(?:almost|nearly|virtually|practically) (?=all\b)", re.I)
_ALL_OF_THEM = compiled(
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
    for rule in (_all, _quarters, _all_but, _only, _most, _evenly):
        yield from rule(said, places)


def _all(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``all patches of A lie in the north``, ``every A stands in the east``, ``most of A lies in the west``, ``both A
    and B lie in the south``.
    """
    for rank, place in enumerate(places):
        one = said.before(place.start)
        lies = LIES_IN.fullmatch(said.text, one.end, place.start) if one else None
        mostly = _MOSTLY_LIES.fullmatch(said.text, one.end, place.start) if one else None
        lies = lies or (_ALL_OF_THEM.fullmatch(said.text, one.end, place.start) if one else None)
        if one is None or (lies is None and mostly is None):
            continue
        most = _MOST_OF.search(said.text[: one.start])
        where = joined_places(said.text, places[rank:])
        other = said.before(one.start)
        if most or (mostly and _MOSTLY.search(mostly.group(0))):
            named, least = [one], VAST_PART if most and most.group("vast") else MOST_PART
        elif lies is None:
            continue
        elif lies.group("all") or _ALL.search(said.text[: one.start]):
            named, least = [one], NEARLY_ALL if _NEARLY.search(said.text[: place.start]) else ALL_OF_IT
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
                much = "all" if least >= NEARLY_ALL else "most"
                yield "place", f"{place.text!r} is not where {much} of it lies"


def _parts(said: Said, one: Mention, where: Sequence[Place]) -> list[float]:
    """Of each class that a mention may mean, and of all together, which part 0..1 lies in some places."""
    classes = [c for c in said.classes_of(one.concept) if c.share > 0]
    parts = [sum(inside_of(said, c.code, c.share, place) for place in where) for c in classes]
    told = [f"place.{c.code}" for c in classes if any(_tells(said, f"place.{c.code}", place) for place in where)]
    held = [float(fact.value) / 100.0 for i in told if (fact := said.reading.by_id.get(f"{i}.fraction")) is not None]
    whole = sum(c.share for c in classes)
    parts_of_all = sum(part * c.share for part, c in zip(parts, classes, strict=True)) / whole if classes else 0.0
    return [*parts, *held, parts_of_all] if classes else []


def _tells(said: Said, fact_id: str, place: Place) -> bool:
    """Whether a fact names a place; where much has no class, shares of parts do not tell how much lies there."""
    fact = said.reading.by_id.get(fact_id)
    return fact is not None and tells(fact, place)


_QUARTER = compiled(
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
        named = list_around([one], said.mentions, said.text)
        if not re.search(r"\bor\b", said.text[named[0].end : named[-1].start]):  # "each quarter holds A or B"
            named = [one]
        shares = [percent_of(said, named, part) for part in parts]
        is_all = match.group("verb").lower() in ("is", "are", "lie", "lies")
        if min(shares) <= (50.0 if is_all else 0.0):
            yield "place", f"{match.group(0).strip()!r}, but one of them has less"


_BUT = compiled(
    r"\b(?:every|each|all(?: of)?(?: the)?(?: four)?) (?P<part>quarter|quadrant|corner)s?"
    r"(?: of the (?:scene|image|picture|view|area))?,? "
    r"(?:except|but|apart from|other than|save|bar)(?: for)?(?: in)? (?:the )?$",
    re.I,
)


def are_left_out(text: str, places: Sequence[Place]) -> list[Place]:
    """The parts that ``in every quarter except the north-west and the south-west`` leaves out: `spread` judges them."""
    first = next((n for n, place in enumerate(places) if _BUT.search(text[: place.start])), len(places))
    return joined_places(text, places[first:])


def _all_but(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A occurs in every quarter except the north-west``, ``each quarter but the north-west holds A``."""
    out = are_left_out(said.text, places)
    words = _BUT.search(said.text[: out[0].start]) if out else None
    one = (said.before(words.start()) or said.after(out[-1].end)) if words else None
    if words is None or one is None:
        return
    regions = [CELLS.get(p.region, "") if words.group("part").lower() == "corner" else p.region for p in out]
    parts = _CORNERS if words.group("part").lower() == "corner" else _QUADRANTS
    held = [part for part in parts if percent_of(said, [one], part) > 0.0]
    if not said.classes_of(one.concept) or sorted([*held, *regions]) != sorted(parts):
        yield "place", f"{words.group(0).strip()!r} {out[0].text!r} is not where it lies"


_ONLY = compiled(
    r"(?: of the (?:scene|image))?\s+(?:is|are) the only (?:quarter|quadrant|part|corner)s? "
    r"(?:(?P<no>without|that has no|that lacks|that holds no)|"
    r"with|that has|that holds|to have|to hold|holding|containing)(?: any| some)? (?:the )?$",
    re.I,
)


def is_without(said: Said, place: Place) -> bool:
    """Whether a place is said to be the only quarter that has none of a cover: `spread` judges it."""
    matches = [
        _ONLY.fullmatch(said.text, place.end, one.start)
        for one in find_mentions(said.text, said.nouns)
        if one.start >= place.end and place.region in _QUADRANTS
    ]
    return any(match is not None and match.group("no") for match in matches)


def _only(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the south-east is the only quarter with A``, ``without A``."""
    for place in [p for p in places if p.region in _QUADRANTS]:
        for one in find_mentions(said.text, said.nouns):
            match = _ONLY.fullmatch(said.text, place.end, one.start) if one.start >= place.end else None
            if match is None or not said.classes_of(one.concept):
                continue
            has = [part for part in _QUADRANTS if percent_of(said, [one], part) > 0.0]
            told = [part for part in _QUADRANTS if part not in has] if match.group("no") else has
            if told != [place.region]:
                yield "place", f"{place.text!r}{match.group(0).rstrip()!r} it is not"


_TOP = r"(?P<way>most|least|largest|highest|greatest|smallest|lowest)"
_SHARE_OF = r"(?:share|proportion|amount|percentage|concentration|cover|coverage|area|extent|part|portion)"
_OF_SCENE = r"(?: of (?:the )?(?:scene|image|picture|view|area))?"
_HAS_MOST = compiled(
    rf"{_OF_SCENE},?\s+(?:is|has|holds|contains|shows) (?:by far |clearly )?the {_TOP} "
    rf"(?:(?:[a-z]+ly )?|{_SHARE_OF} of (?:the |its )?)$",
    re.I,
)
"""Between a part of the scene and a cover."""
_IS_MOST = compiled(
    r"[^.;]{0,80}?\s(?:"
    r"(?P<way>most|least) (?:common|extensive|widespread|abundant|prominent|concentrated|frequent|dense)"
    r"|(?P<alone>densest|thickest|sparsest|scarcest|rarest)) (?:in|along|at|near|towards?|around) (?:the )?",
    re.I,
)
"""Between a cover and a part."""
_MOST_LIES = compiled(rf"\bthe {_TOP} (?:(?:[a-z]+ly )?|{_SHARE_OF} of (?:the )?)$", re.I)
"""Before a cover; `_LIES_THERE` follows it."""
_ITS_MOST = compiled(
    r"[^;.]{0,80}\b(?:its|their) (?P<way>largest|highest|greatest|smallest|lowest) "
    rf"{_SHARE_OF} (?:is |lies )?(?:in|along|at) (?:the )?",
    re.I,
)
"""Between a cover and a part: ``A is the main cover and reaches its highest share in``."""
_LIES_THERE = compiled(
    r"(?: (?:part|quarter|quadrant|corner|ninth|cell|area|third|half|section|cover))?"
    rf"{_OF_SCENE}\s+(?:lies|is|are|stands?|occurs?|(?:is|are) found|can be found) (?:in |along |at )?(?:the )?",
    re.I,
)
_FEWEST = ("least", "smallest", "lowest", "sparsest", "scarcest", "rarest")
_PARTS = (_QUADRANTS, ("n", "s", "e", "w"), GRID, ("r1", "r2", "r3"), ("c1", "c2", "c3"), (*_QUADRANTS, "middle"))
"""Parts of the scene that are compared with each other."""
_OF_ALL = compiled(r"\bof (?:any|all) (?:the )?(?:other )?(?:parts?|corners?|quarters?|cells?)\b", re.I)


_LEAST_THERE = compiled(
    rf"\b(?:{'|'.join(_FEWEST)})\b[^,;.]{{0,32}} (?:in|along|at|near|towards?|around) (?:the )?$", re.I
)


def is_least_there(text: str, place: Place) -> bool:
    """Whether a place is one of which little is told: ``A is least common in the west``."""
    return _LEAST_THERE.search(text[: place.start]) is not None


def _most(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the north-west is the most wooded quarter``, ``A is densest along the northern edge``, ``the largest share of A
    lies in the middle``.
    """
    for place in places:
        one, match = _told_most(said, place)
        if one is None or match is None:
            continue
        region, parts = _among(place, is_of_all=_OF_ALL.search(said.text) is not None)
        if not said.classes_of(one.concept) or not parts:
            continue
        said.judge(match)
        way = (match.groupdict().get("alone") or match.group("way")).lower()
        is_less = (way in _FEWEST) != (
            re.search(r"\b(?:sparse|thin|light|scarce)ly\b", match.group(0), re.I) is not None
        )
        shares, here = [percent_of(said, [one], part) for part in parts], percent_of(said, [one], region)
        if (here > min(shares) + 1e-6) if is_less else (here < max(shares) - 1e-6):
            yield "comparison", f"{place.text!r} has not the {way} of it"


def _told_most(said: Said, place: Place) -> tuple[Mention | None, re.Match[str] | None]:
    """The cover of which a place is said to have the most or the least, and the words; None where nothing is said."""
    after, before = said.after(place.end), said.before(place.start)
    if after is not None and (match := _HAS_MOST.fullmatch(said.text, place.end, after.start)):
        return after, match
    if before is None:
        return None, None
    match = _IS_MOST.fullmatch(said.text, before.end, place.start)
    match = match or _ITS_MOST.fullmatch(said.text, before.end, place.start)
    if match is None and _LIES_THERE.fullmatch(said.text, before.end, place.start):
        match = _MOST_LIES.search(said.text[: before.start])
    return before, match


def _among(place: Place, *, is_of_all: bool) -> tuple[str, Sequence[str]]:
    """The region of a place and those with which it is compared; a corner is a cell, an edge the third beside it."""
    if place.form == "corner" and place.region in CELLS:
        return CELLS[place.region], GRID if is_of_all else _CORNERS
    if place.form == "edge":
        return (ALONG[place.region], tuple(ALONG.values())) if place.region in ALONG else ("", ())
    return place.region, next((parts for parts in _PARTS if place.region in parts), ())


_EVENLY = compiled(
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
