"""What is said of single patches of a cover, by rank, by place or on average: their area, place, size and edges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from captioners.claims import SHAPES, Claim, Said
from captioners.gated import compiled
from captioners.listed import joined_places
from captioners.mentions import Mention, Place, find_places
from captioners.quantities import find_numbers
from captioners.reading import ClassReading, Reading
from captioners.regions import CELLS, short_of

_PATCH = r"(?:patch(?:es)?|blocks?|stands?|pieces?|bod(?:y|ies)|expanses?|clumps?|areas?)"
_NTH = {"second": 2, "third": 3, "fourth": 4}
_COUNTS = {word: n for n, word in enumerate(("one", "two", "three", "four", "five", "six"), 1)}
_RANK = compiled(
    rf"\b(?:(?P<nth>{'|'.join(_NTH)})[- ])?(?P<top>largest|biggest|smallest|larger|bigger|smaller)\s+"
    rf"(?:of (?:the|its) (?:two|three|four) )?"
    rf"(?:of (?:the )?[\w-]+ (?={_PATCH} of ))?(?:single )?(?:{_PATCH} of (?:the )?)?$",
    re.I,
)
_RANK_OF_THEM = compiled(
    rf"\b(?:(?P<nth>{'|'.join(_NTH)})[- ])?(?P<top>largest|biggest|smallest|"
    r"(?:larger|bigger|smaller)(?= of (?:which|these|them)\b))"
    rf"(?: {_PATCH}| one)?"
    r"(?: of (?:which|these|them|all))?(?=,? (?:(?:of )?which |is |lies |covers |covering |measures |"
    r"measuring |in the )|,? (?:(?:at|with|of) )?(?:\w+ )?\d)",
    re.I,
)
_FIRST = compiled(
    rf"\b(?:(?P<count>two|three|four)|(?P<both>both)) (?:larger|largest|bigger|biggest)\s+(?:{_PATCH} of (?:the )?)?$",
    re.I,
)
_SOME = compiled(
    rf"\b(?P<count>{'|'.join(_COUNTS)}) of the (?:\w+ )?(?:{_PATCH} of (?:the )?)?$",
    re.I,
)
_CLAUSE = compiled(r"\.(?!\d)|;|,? (?:while|whereas|but)\b|(?:,| and) (?:the|that|those)\b|, and\b")
_LIES = compiled(
    r"[^,;.]{0,24}\b(?:lies?|stands?|grows?|is|are|centred|located|found)(?: (?:located|found|centred))?"
    r" (?:in|at|near|along) (?:the )?|,? (?:in|centred in) the ",
    re.I,
)
_ASIDE = compiled(r",[^,;.]{0,30}(?:\.\d[^,;.]{0,20})?,")
_HERE = compiled(r"\s+(?:lying |standing )?(?:in|at) the ", re.I)
_MEASURES = compiled(r"\s+(?:\w+ )?(?:covers?|measures?|has|spans?|extends? over|is|takes? up)\b[^,;.]{0,20}$", re.I)
_IS_SIZE = compiled(r"\s+(?:is|are) (?:very |quite |rather )?(?P<size>tiny|small|medium-sized|large|vast|huge)\b", re.I)
_IS_SHAPE = compiled(
    r"(?:\s+(?:is|are)|,)\s+(?:\w+ly |very |quite |rather )?(?P<shape>"
    + "|".join(sorted((re.escape(word) for words in SHAPES.values() for word in words), key=len, reverse=True))
    + r")\b",
    re.I,
)
_REACHING = compiled(r"\b(?:reach(?:es)?|touch(?:es)?|extends? to|meets?|abuts?)\s", re.I)
_REACHES = compiled(rf"(?:\s[^,;.]*?)?{_REACHING.pattern}+(?:down to |up to )?(?:the |an )?$", re.I)
_ANY_EDGE = compiled(r"(?:edge|border|margin)s? of the (?:scene|image|picture|view)\b", re.I)
_ALL_EDGES = compiled(r"\b(?:all(?: of)?(?: the)?(?: four)?|every|each) (?:edge|border|margin|side)s?\b", re.I)
_MEAN = compiled(rf"\b(?:average|mean|typical)\s+(?:size of the )?(?:{_PATCH} of (?:the )?)?$", re.I)
_ON_AVERAGE = compiled(r"\s+on average\b", re.I)
_BIGGEST = compiled(
    r"\b(?:largest|biggest) (?:single )?(?:patch|block)(?: of (?:ground|land))?"
    r"(?: (?:in|of) the (?:scene|image|picture|view))? is (?:the |an? )?$",
    re.I,
)
_IS_BIGGEST = compiled(
    r"[^,;.]{0,30}? is the (?:largest|biggest)(?: (?:single )?(?:patch|block))? (?:in|of) the "
    r"(?:scene|image|picture|view)\b",
    re.I,
)


@dataclass(frozen=True)
class _Patch:
    """What the facts tell of one patch; empty or None where they tell nothing."""

    area: float
    """m2."""
    position: str
    size: str
    edges: str
    shape: str


def patches(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    places = find_places(said.text)
    for one in said.mentions:
        classes = [c for c in said.classes_of(one.concept) if c.patches]
        if len(classes) != 1:
            continue
        code = classes[0].code
        yield from _ranked(said, one, code, places)
        yield from _several(said, one, code, places)
        yield from _here(said, one, code, places)
        yield from _each(said, one, code)
        yield from _mean(said, one, code)
        yield from _reached(said, one, code, places)
        yield from _biggest(said, one, code)


def _patch(reading: Reading, code: int, rank: int) -> _Patch | None:
    """A patch by its rank among those of its class, 1: the largest."""
    head = f"patches.{code}.largest" if rank == 1 else f"object.{code}.{rank}"
    names = ("", ".area", ".position", ".size", ".edges", ".shape")
    values = {name: fact.value for name in names if (fact := reading.by_id.get(head + name)) is not None}
    return _of(values, "" if rank == 1 else ".area")


def _of(values: Mapping[str, float | int | str | bool], area: str) -> _Patch | None:
    if area not in values:
        return None
    words = (str(values.get(name, "")) for name in (".position", ".size", ".edges", ".shape"))
    return _Patch(float(values[area]), *words)


def _all_of(reading: Reading, code: int) -> list[_Patch]:
    """All patches of a class; empty where some are too small to have facts."""
    count = int(_value(reading, f"patches.{code}.count"))
    found = [_patch(reading, code, rank) for rank in range(1, min(count, 40) + 1)]
    return [one for one in found if one is not None] if count <= 40 and None not in found else []


def edges_reached(reading: Reading, classes: Iterable[ClassReading]) -> str | None:
    """Letters of the scene's edges that some classes reach; None where the facts do not tell."""
    every = [_all_of(reading, one.code) for one in classes]
    return None if not every or not all(every) else "".join(patch.edges for each in every for patch in each)


_LARGEST = compiled(rf"\b(?:largest|biggest) (?:single )?(?:{_PATCH} of (?:the )?)?$", re.I)


def edges_of_largest(said: Said, one: Mention) -> str | None:
    """Letters of the scene's edges that the largest patch of a cover reaches; None where no such patch is spoken of."""
    classes = [c for c in said.classes_of(one.concept) if c.patches]
    if len(classes) != 1 or not _LARGEST.search(said.text[: one.start]):
        return None
    patch = _patch(said.reading, classes[0].code, 1)
    return None if patch is None else patch.edges


def _value(reading: Reading, fact_id: str) -> float:
    fact = reading.by_id.get(fact_id)
    return 0.0 if fact is None else float(fact.value)


def _lies_in(patch: _Patch, place: Place) -> bool:
    """Whether a patch's ninth is not at odds with a place: what is centred in the north may lie in the north-west."""
    short = short_of(patch.position)
    if place.form == "edge":
        return place.region in patch.edges or place.region in short
    if place.region[0] in "rc":
        return place.region in CELLS[short]
    if len(place.region) == 1:
        return place.region in short and short != "middle"
    return short == place.region or (len(short) == 1 and short in place.region) or (short + place.region == "middle")


def _clause(said: Said, start: int) -> int:
    end = _CLAUSE.search(said.text, start)
    return end.start() if end else len(said.text)


def _ranked(said: Said, one: Mention, code: int, places: Sequence[Place]) -> Iterable[Claim]:
    """``the second largest patch of A lies in the north, covers 2 ha, is small``."""
    match, start = _RANK.search(said.text[: one.start]), one.end
    if match is None:  # "A lies in three patches, the largest of which covers 2 ha"
        match = _RANK_OF_THEM.search(said.text, one.end)
        if match is None or said.before(match.start()) is not one:
            return
        start = match.end()
    said.judge(match)
    every = _all_of(said.reading, code)
    rank = (
        len(every)
        if match.group("top").lower().startswith("small")
        else _NTH.get((match.group("nth") or "").lower(), 1)
    )
    patch = _patch(said.reading, code, rank) if rank else None
    end = _clause(said, start)
    areas = [n for n in find_numbers(said.text) if n.kind == "area" and start <= n.start < end]
    aside = _ASIDE.match(said.text, start)  # "the largest patch of A, at 4 ha, lies in the north"
    after = aside.end() if aside else start
    afters = [after, *(number.end for number in areas)]  # "covers 4 ha in the north"
    where = next(
        (p for p in places if start <= p.start < end and any(_LIES.fullmatch(said.text, at, p.start) for at in afters)),
        None,
    )
    reached = next(
        (n for n, p in enumerate(places) if start <= p.start < end and _REACHES.fullmatch(said.text, after, p.start)),
        len(places),
    )
    words = match.group(0).strip()
    here = next((p for p in places if _HERE.fullmatch(said.text, start, p.start)), None)
    if here is not None:  # "the largest patch of A in the south": of those there
        found = [each for n in range(1, 41) if (each := _patch(said.reading, code, n)) and _lies_in(each, here)]
        patch, where = (found[0] if found and rank == 1 else None), None
    if patch is None:
        if areas or where:
            yield "number", f"{words!r} has no facts of its own"
        return
    if areas and not areas[0].allows(patch.area):
        yield "number", f"{areas[0].text!r} is not the area of the {words}"
    if where is not None and patch.position and not _lies_in(patch, where):
        yield "place", f"{where.text!r} is not where the {words} lies"
    for edge in joined_places(said.text, places[reached:]):
        if edge.form == "edge" and edge.region not in patch.edges:
            yield "place", f"{edge.text!r} is not reached by the {words}"
    yield from _sized(said, start, [patch])
    shape = _IS_SHAPE.match(said.text, start)
    if shape is not None and shape.group("shape").lower() not in SHAPES.get(patch.shape, ()):
        yield "shape", f"{shape.group('shape')!r} is not the shape of the {words}"


def _sized(said: Said, start: int, found: Sequence[_Patch]) -> Iterable[Claim]:
    match = _IS_SIZE.match(said.text, start)
    word = match.group("size").lower().replace("huge", "vast") if match else ""
    if match and found and not any(patch.size == word for patch in found):
        yield "size", f"{match.group(0).strip()!r} is not its size"


def _several(said: Said, one: Mention, code: int, places: Sequence[Place]) -> Iterable[Claim]:
    """``the two largest patches of A lie in the west``, ``two of the three patches of A lie in the south``."""
    first, some = (pattern.search(said.text[: one.start]) for pattern in (_FIRST, _SOME))
    rank = next((n for n, p in enumerate(places) if p.start >= one.end), None)
    if rank is None or not (first or some) or not _LIES.fullmatch(said.text, one.end, places[rank].start):
        return
    where = joined_places(said.text, places[rank:])
    if first:
        said.judge(first)
        count = _COUNTS.get((first.group("count") or "two").lower(), 2)
        chosen = [_patch(said.reading, code, n) for n in range(1, count + 1)]
        holds = all(patch is not None and any(_lies_in(patch, place) for place in where) for patch in chosen)
    else:
        every = _all_of(said.reading, code)
        there = sum(any(_lies_in(patch, place) for place in where) for patch in every)
        holds = not every or some is None or there == _COUNTS[some.group("count").lower()]
    if not holds:
        yield "place", f"{where[0].text!r} is not where so many of them lie"


def _here(said: Said, one: Mention, code: int, places: Sequence[Place]) -> Iterable[Claim]:
    """``the wood in the north-east covers 1.6 ha``: the area and size of a patch there, or of all that lies there."""
    place = next((p for p in places if _HERE.fullmatch(said.text, one.end, p.start)), None)
    every = _all_of(said.reading, code) if place is not None else []
    if place is None or len(every) < 2:
        return
    found = [patch for patch in every if _lies_in(patch, place)]
    if not found:
        return
    for number in find_numbers(said.text):
        if number.kind == "area" and _MEASURES.fullmatch(said.text, place.end, number.start):
            share = said.reading.region_share(code, place.region) or 0.0
            there = share / 400.0 * said.reading.area_m2
            if not any(number.allows(area) for area in (*(p.area for p in found), there)):
                yield "number", f"{number.text!r} is not the area of what lies there"
    yield from _sized(said, place.end, found)


_EACH = compiled(
    rf"\b(?:the|its|all|both|these)\s+(?:{'|'.join((*_COUNTS, 'few', 'scattered'))})?\s*{_PATCH} of (?:the )?$",
    re.I,
)


def _each(said: Said, one: Mention, code: int) -> Iterable[Claim]:
    """``the two patches of A are large``."""
    if _EACH.search(said.text[: one.start]):
        yield from _sized(said, one.end, _all_of(said.reading, code))


def _mean(said: Said, one: Mention, code: int) -> Iterable[Claim]:
    """``the average patch of A covers 2 ha``, ``A lies in patches of 2 ha on average``."""
    mean = _value(said.reading, f"patches.{code}.mean")
    head, end = _MEAN.search(said.text[: one.start]), _clause(said, one.end)
    for number in find_numbers(said.text):
        is_mean = _ON_AVERAGE.match(said.text, number.end) and said.before(number.start) is one
        if number.kind == "area" and (is_mean or (head and one.end <= number.start < end)):
            if mean and not number.allows(mean):
                yield "number", f"{number.text!r} is not the mean of its patches"
            return


def _reached(said: Said, one: Mention, code: int, places: Sequence[Place]) -> Iterable[Claim]:
    """``A reaches the southern edge``: one of its patches does."""
    every = _all_of(said.reading, code) if _REACHING.search(said.text) else []
    if not every:
        return
    edges = "".join(patch.edges for patch in every)
    end = next((m.start for m in said.mentions if m.start >= one.end), len(said.text))
    for rank, place in enumerate(places):
        is_told = place.form == "edge" and one.end <= place.start < end
        if is_told and _REACHES.fullmatch(said.text, one.end, place.start):
            for each in joined_places(said.text, places[rank:]):
                if each.form == "edge" and each.region not in edges:
                    yield "place", f"{each.text!r} is not reached"
    for match in _ALL_EDGES.finditer(said.text, one.end, end):
        if _REACHES.fullmatch(said.text, one.end, match.start()) and len(set(edges)) < 4:
            yield "place", f"{match.group(0)!r} is not reached"
    for match in _ANY_EDGE.finditer(said.text, one.end, end):
        if _REACHES.fullmatch(said.text, one.end, match.start()) and not edges:
            yield "place", f"{match.group(0)!r} is not reached"


def _biggest(said: Said, one: Mention, code: int) -> Iterable[Claim]:
    """``the largest patch in the scene is A``, ``the patch of A in the north is the largest in the scene``."""
    is_patch = re.search(rf"\b{_PATCH} of (?:the )?$", said.text[: one.start], re.I)
    match = _BIGGEST.search(said.text[: one.start]) or (_IS_BIGGEST.match(said.text, one.end) if is_patch else None)
    if match is None:
        return
    said.judge(match)
    largest = {c.code: float(c.patches.get("largest", 0.0)) for c in said.reading.classes if c.patches}
    if largest.get(code, 0.0) < max(largest.values()):
        yield "comparison", "the largest patch of the scene is one of another cover"
