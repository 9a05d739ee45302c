"""Of how many pieces a cover is said to be, and how many hectares of it lie in a part of the scene."""

from __future__ import annotations

import re
from collections.abc import Iterable

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import listed_before
from captioners.mentions import Mention, find_places
from captioners.objects import MIN_PIXELS
from captioners.placed import tells
from captioners.quantities import IN_WORDS, Number, find_numbers, value_of
from captioners.reading import ClassReading, Reading
from captioners.regions import parts_of

_PIECE = r"(?:patch|block|piece|body|mass|unit|area|expanse|stretch|whole|stand|tract)"
_AS_ONE = compiled(
    r"\s+(?:(?:cover|land|ground)\s+)?"
    r"(?:forms?|is|are|lies?|makes? up|consists? of|occurs?|exists?|comprises?|stands?)\s+"
    r"(?P<most>(?:(?:almost|nearly|virtually) (?:all|entirely)|mostly|mainly|largely)\s+)?"
    r"(?:all\s+|entirely\s+|only\s+)?"
    rf"(?:as |in |of )?(?:one|an? (?:single|continuous|contiguous|unbroken|coherent|connected))\s+"
    rf"(?:[\w-]+,?\s+){{0,3}}?{_PIECE}\b"
    r"(?!\s+(?:of (?:\w+ )?[\d.]|covering|measuring|and|or))",
    re.I,
)
"""``A forms a single block``; one of so many hectares need not be all of it."""
_IS_WHOLE = compiled(
    r"\s+(?:is|are|forms?|remains?)\s+(?:an? )?(?:continuous|contiguous|unbroken|undivided|all connected)\b", re.I
)
_IS_PARTED = compiled(
    r"\s+(?:is|are|lies?)\s+(?:\w+ly )?"
    r"(?:fragmented|broken up|split(?: up)?|divided into|broken into|scattered in|patchy)\b",
    re.I,
)
IN_ONE, MOSTLY_IN_ONE = 0.95, 0.85
"""The largest patch of what is one piece, and of what is nearly so, holds so much of it."""


def pieces(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    for one in said.mentions:
        classes = [c for c in said.classes_of(one.concept) if c.patches]
        if len(classes) == 1:
            yield from _one_piece(said, one, classes[0])
            yield from _alike(said, one, classes[0])
            yield from _area_there(said, one, classes[0])
            yield from _each_area(said, one, classes[0])
    yield from _larger(said)
    yield from _two(said)


def _one_piece(said: Said, one: Mention, of: ClassReading) -> Iterable[Claim]:
    """``A forms a single block``, ``A is continuous``, ``A is fragmented``."""
    count = int(of.patches.get("count", 0))
    match = _AS_ONE.match(said.text, one.end) or _IS_WHOLE.match(said.text, one.end)
    held = float(of.patches.get("largest", 0.0)) / max(1e-9, of.share / 100.0 * _ground(said))
    if match and held < (MOSTLY_IN_ONE if match.re.pattern == _AS_ONE.pattern and match.group("most") else IN_ONE):
        yield "shape", f"{match.group(0).strip()!r}, but it lies in {count} patches"
    parted = _IS_PARTED.match(said.text, one.end)
    if parted and count == 1:
        yield "shape", f"{parted.group(0).strip()!r}, but it is one patch"


_ALIKE = compiled(
    r"[^,;.]{0,40}? of (?:an? |(?:(?:nearly|roughly|almost|approximately) )?the |about (?:the )?)?"
    r"(?:(?P<equal>\w*\s?equal|identical|same)|"
    r"similar|comparable) (?:size|area|extent)s?\b",
    re.I,
)
EQUAL_RATIO, SIMILAR_RATIO = 1.3, 2.0
"""Patches of equal or similar size differ by no more."""


def _alike(said: Said, one: Mention, of: ClassReading) -> Iterable[Claim]:
    """``two patches of A of equal size``."""
    match, sizes = _ALIKE.match(said.text, one.end), areas_of(said, of.code)
    if match and len(sizes) > 1 and len(listed_before(said, one.end)) == 1:
        said.judge(match)
        if max(sizes) > (EQUAL_RATIO if match.group("equal") else SIMILAR_RATIO) * min(sizes):
            yield "comparison", f"{match.group(0).strip()!r}, but its patches are not"


_EACH_OF = compiled(r"\b(?:each|both|all) (?:of |covering |measuring |with )?$", re.I)
_IS_EACH = compiled(r"(?: in (?:area|size))? (?:each|apiece)\b", re.I)


def _each_area(said: Said, one: Mention, of: ClassReading) -> Iterable[Claim]:
    """``two patches of A of about 2 ha each``: every one of them is as large."""
    sizes = areas_of(said, of.code)
    for number in find_numbers(said.text) if len(said.mentions) == 1 else ():
        is_each = _EACH_OF.search(said.text[: number.start]) or _IS_EACH.match(said.text, number.end)
        if number.kind == "area" and is_each and sizes and not all(map(number.allows, sizes)):
            yield "number", f"{number.text!r} is not the area of each"


_ONE_OF_TWO = compiled(
    r"\b(?:the|an?) (?:(?P<larger>larger|bigger)|smaller) one\b(?: (?:of|covering|measuring) )?", re.I
)
_IN = compiled(r",?(?: lying| standing)? in (?:the )?", re.I)


def _two(said: Said) -> Iterable[Claim]:
    """``A lies in two patches, a larger one of 3 ha in the north and a smaller one in the south``: A has two."""
    for match in _ONE_OF_TWO.finditer(said.text):
        one = said.before(match.start())
        classes = said.classes_of(one.concept) if one is not None else []
        sizes = areas_of(said, classes[0].code) if len(classes) == 1 else []
        if len(sizes) != 2 or sizes[0] == sizes[1]:
            continue
        rank = 1 if (sizes[0] > sizes[1]) == bool(match.group("larger")) else 2
        area = next((n for n in find_numbers(said.text) if n.kind == "area" and n.start == match.end()), None)
        end = match.end() if area is None else area.end
        place = next((p for p in find_places(said.text) if _IN.fullmatch(said.text, end, p.start)), None)
        where = said.reading.by_id.get(f"object.{classes[0].code}.{rank}.position")
        if area is None and (place is None or where is None):
            continue
        said.judge(match)
        if area is not None and not area.allows(sizes[rank - 1]):
            yield "number", f"{area.text!r} is not the area of the {'larger' if rank == 1 else 'smaller'}"
        if place is not None and where is not None and not tells(where, place):
            yield "place", f"{match.group(0).strip()!r} does not lie in the {place.text!r}"


_SO_MANY = compiled(
    rf"\b(?P<count>{IN_WORDS}|\d+|all|each|both)"
    rf"(?: of (?:which|them|these|(?:its|the) (?:{IN_WORDS} |\d+ )?(?:[\w-]+ )?"
    r"(?:patches|stands|blocks)(?: of [\w-]+)?))?"
    r"(?: are| is| being| cover| covers| measure| measures| have| has)? (?P<than>(?:larger|bigger|smaller) than )?$",
    re.I,
)
"""Before an area: ``10 of which are larger than``."""
_OR_MORE = compiled(r" or (?P<way>more|larger|less|smaller)\b", re.I)
_MORE, _LESS = (compiled(rf"(?:{words})\b", re.I) for words in ("more than|at least|over", "less than|under|at most"))


def _counts(text: str) -> Iterable[tuple[re.Match[str], Number, bool]]:
    """How many patches are said to be larger (True) or smaller than an area: the words, the area, which of the two."""
    for area in find_numbers(text):
        match = _SO_MANY.search(text[: area.start]) if area.kind == "area" else None
        after = _OR_MORE.match(text, area.end)
        if match is not None and (match.group("than") or after or _MORE.match(area.text) or _LESS.match(area.text)):
            words = f"{match.group('than') or ''}{area.text}{after.group(0) if after else ''}"
            yield match, area, re.search(r"\b(?:smaller|less|under|at most)\b", words, re.I) is None


def is_counted(number: Number, text: str) -> bool:
    """Whether a figure counts the patches of a cover that are larger or smaller than so much, or is that much: no fact
    has to be either.
    """
    return any(number.start in (match.start("count"), area.start) for match, area, _ in _counts(text))


def _larger(said: Said) -> Iterable[Claim]:
    """``A lies in 55 patches, 10 of which are larger than 1 ha``: patches of 20 pixels or more have their area told."""
    for match, area, is_larger in _counts(said.text):
        inside = [m for m in said.mentions if match.start() <= m.start < match.end()]
        one = inside[0] if inside else said.before(match.start())
        classes = said.classes_of(one.concept) if one is not None else []
        if len(classes) != 1 or not _holds(said.reading, classes[0], match.group("count").lower(), area, is_larger):
            yield "number", f"{match.group(0).strip()!r} is not how many of them are so large"


def _holds(reading: Reading, of: ClassReading, told: str, area: Number, is_larger: bool) -> bool:
    """Whether so many patches of a class are larger, or smaller, than an area."""
    own = re.compile(rf"object\.{of.code}\.\d+\.area")
    sizes = [float(fact.value) for i, fact in reading.by_id.items() if own.fullmatch(i)]
    count = int(of.patches.get("count", 0))
    least = area.low if _MORE.match(area.text) else area.high if _LESS.match(area.text) else (area.low + area.high) / 2
    larger = sum(size >= least for size in sizes)
    is_known = len(sizes) == count or least >= MIN_PIXELS * float(reading.by_id["ground.gsd"].value) ** 2
    wanted = count if told in ("all", "each", "both") else value_of(told)
    return is_known and wanted == (larger if is_larger else count - larger)


def areas_of(said: Said, code: int) -> list[float]:
    """m2 of all patches of a class; empty where some are too small to have facts."""
    count = said.reading.by_id.get(f"patches.{code}.count")
    found = [
        said.reading.by_id.get(f"object.{code}.{rank}.area") for rank in range(1, 1 + int(count.value if count else 0))
    ]
    return [] if None in found else [float(fact.value) for fact in found if fact is not None]


_THERE = compiled(
    r"(?: of (?:the )?[\w -]{1,30})?(?: (?:lies?|is|are|stands?|found|located))? (?:in|within) (?:the )?", re.I
)
_COVERS = compiled(r"\s+(?:covers?|takes? up|occup(?:y|ies)|measures?|extends? over|amounts? to)\s+$", re.I)


def _area_there(said: Said, one: Mention, of: ClassReading) -> Iterable[Claim]:
    """``A covers 8 ha in the north-west``: what lies there, or a patch there."""
    for number in find_numbers(said.text):
        if number.kind != "area":
            continue
        of_it = re.fullmatch(r" of (?:the )?", said.text[number.end : one.start]) is not None
        place = next((p for p in find_places(said.text) if _THERE.fullmatch(said.text, number.end, p.start)), None)
        if place is None or place.form in ("edge", "corner"):
            continue
        if not (of_it or _COVERS.fullmatch(said.text, one.end, number.start)):
            continue
        parts, weight = parts_of(place.region)
        shares = [said.reading.region_share(of.code, part) for part in parts]
        there = sum(share or 0.0 for share in shares) * weight / 100.0 * _ground(said)
        sizes = [
            f for f in said.reading.sheet.facts if f.fact_id.startswith((f"object.{of.code}.", f"patches.{of.code}.l"))
        ]
        single = [float(f.value) for f in sizes if f.unit == "m2"]
        if None not in shares and not any(number.allows(area) for area in (there, *single)):
            yield "number", f"{number.text!r} is not what lies in the {place.text!r}"


def _ground(said: Said) -> float:
    """m2 that have a class."""
    return said.reading.area_m2 * said.reading.labelled / 100.0
