"""What is said of map features: each is judged by its own facts, not by those of another feature that is cited too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from captioners.claims import Claim, Said
from captioners.denials import are_disjoint
from captioners.gated import compiled
from captioners.lexicon import singular
from captioners.mentions import Place, find_places
from captioners.placed import tells
from captioners.quantities import find_numbers
from schemas.facts import Fact

_PLAIN = (
    "main", "line", "lines", "small", "large", "area", "areas", "of", "and", "or", "other", "minor", "land", "water",
)  # fmt: skip
"""Words of a feature's noun that alone do not name it."""
_MAP_ALONE = ("building", "river", "stream", "canal", "orchard", "vineyard")
"""Words that mean the map even where a class of the label goes by them too: "farmland" means the class."""


@dataclass(frozen=True)
class _Named:
    """A map feature that a sentence names."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    facts: tuple[Mapping[str, Fact], ...]
    """Of every kind of feature that goes by this word: name of a fact (``place``, ``length``) -> fact."""

    def known(self, name: str) -> list[Fact]:
        """The facts of a name."""
        return [facts[name] for facts in self.facts if name in facts]


def mapped(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    yield from _largest(said)
    named = _named(said)
    if named:
        places = find_places(said.text)
        is_of_one = any(fact.kind == "element" for fact in said.cited)  # one road, not all: `verify` asks its own facts
        rules = (_course, _sizes, _denied, _crossed, _related)
        for rule in rules if is_of_one else (_places, *rules):
            yield from rule(said, named, places)


_ON_MAP = compiled(r"\b(?:largest|biggest) area (?:on|of) the map\b", re.I)


def _largest(said: Said) -> Iterable[Claim]:
    """``the largest area on the map here is an orchard``: the largest areas have facts of their own."""
    match = _ON_MAP.search(said.text)
    if match:
        said.judge(match)
        areas = [f for f in said.reading.sheet.facts if f.kind == "element" and f.fact_id.endswith(".area")]
        told = [float(f.value) for f in said.cited if f in areas]
        if not told or max(told) < max(float(f.value) for f in areas):
            yield "comparison", f"{match.group(0)!r}, but another is larger or none is cited"


def _named(said: Said) -> list[_Named]:
    """Map features in the order in which a sentence names them."""
    by_word: dict[str, list[Mapping[str, Fact]]] = {}
    for feature in said.reading.features:
        _put(by_word, feature.noun, said.reading.map_facts[feature.kind])
    elements: dict[str, dict[str, Fact]] = {}
    for fact in said.cited:
        if fact.kind == "element":
            head, name = fact.fact_id.rsplit(".", 1)
            elements.setdefault(head, {})[name] = fact
    for facts in elements.values():
        _put(by_word, next(iter(facts.values())).subject, facts)
    if not by_word:
        return []
    words = sorted(by_word, key=len, reverse=True)  # "main road" before "road"
    forms = "|".join(f"{re.escape(word[:-1])}(?:y|ies)" if word.endswith("y") else re.escape(word) for word in words)
    pattern = re.compile(rf"\b({forms})s?\b", re.I)
    covers = [m for m in said.mentions if said.classes_of(m.concept)]
    return [
        _Named(found.start(), found.end(), tuple(by_word[word]))
        for found in pattern.finditer(said.text)
        for word in (singular(found.group(1).lower()),)
        if word in _MAP_ALONE or not any(m.start <= found.start() < m.end for m in covers)
    ]


def is_on_map(words: str) -> bool:
    """Whether the words for a cover mean a feature of the map, also where a class of the label goes by them."""
    return any(word in words.lower() for word in _MAP_ALONE)


def is_of_map(fact: Fact, words: str) -> bool:
    """Whether a fact of the map speaks of the feature that words mean: no railway bears out "buildings"."""
    return not is_on_map(words) or any(word in words.lower() and word in fact.subject.lower() for word in _MAP_ALONE)


def _put(by_word: dict[str, list[Mapping[str, Fact]]], noun: str, facts: Mapping[str, Fact]) -> None:
    """Enters a feature under its noun, and under every word of it that may stand for it."""
    if " " in noun:
        by_word.setdefault(singular(noun.lower()), []).append(facts)
    for word in noun.lower().split():
        if word not in _PLAIN:
            by_word.setdefault(singular(word), []).append(facts)


def _own(said: Said, named: Sequence[_Named], one: _Named) -> int:
    """Where the words that speak of a feature end: at the next feature, cover or clause."""
    starts = [other.start for other in named if other.start >= one.end]
    starts += [m.start for m in said.mentions if m.start >= one.end]
    end = re.compile(r"[;,]|\b(?:and|while|but)\b").search(said.text, one.end)
    return min([len(said.text), *starts, *([end.start()] if end else [])])


_NO = compiled(
    r"\b(?:no|without(?: an?y?)?|lacks?(?: an?y?)?|free of|neither|nor) (?:an? |any )?(?:main |major )?$", re.I
)
_LIES = compiled(
    r"[^,;.]{0,40}\b(?:in|along|through|across|over|at|near|within|cross(?:es|ing)?|travers(?:es|ing)|cuts|bisects)\s+"
    r"(?:the )?(?:far |extreme )?",
    re.I,
)
_ALL_OVER = compiled(
    r"[^,;.]{0,24}\b(?:spread|scattered|distributed|dotted)\s+(?:over|across|throughout|all over)\s+(?:the )?"
    r"(?:whole |entire )?(?:scene|area|image|picture)\b",
    re.I,
)


def _places(said: Said, named: Sequence[_Named], places: Sequence[Place]) -> Iterable[Claim]:
    """``buildings stand along the eastern edge``."""
    for one in named:
        end, stored = _own(said, named, one), one.known("place")
        if not stored or _NO.search(said.text[: one.start]) or _is_of_label(said, one):
            continue
        if _ALL_OVER.match(said.text, one.end) and not any(fact.value == "spread" for fact in stored):
            yield "place", "it is not spread over all of the scene"
        for place in places:
            if not one.end <= place.start < end or not _LIES.fullmatch(said.text, one.end, place.start):
                continue
            facts = [*stored, *one.known("course")]
            spread = any(fact.value == "spread" for fact in stored)
            if not spread and not any(tells(fact, place) for fact in facts) and _is_apart(stored, place):
                yield "place", f"{place.text!r} is not where it lies"


def _is_of_label(said: Said, one: _Named) -> bool:
    """Whether a word means a class of the label: one goes by it, and facts of that class are cited, none of the map."""
    covers = [m for m in said.mentions if m.start <= one.start < m.end and said.classes_of(m.concept)]
    cited = [fact for fact in said.cited if any(said.is_about(fact, cover) for cover in covers)]
    return bool(cited) and all(fact.kind != "osm" for fact in cited)


def _is_apart(stored: Sequence[Fact], place: Place) -> bool:
    """Whether no place that is a fact shares ground with one that is named; an edge is at odds with any other place."""
    return all(place.form == "edge" or are_disjoint(str(fact.value), place) for fact in stored)


_FROM_TO = compiled(
    r"[^,;.]{0,40}\bfrom (?:the )?(?P<a>north|south|east|west)\w* to (?:the )?(?P<b>north|south|east|west)\w*"
    r"(?![\w-])",
    re.I,
)


def _course(said: Said, named: Sequence[_Named], places: Sequence[Place]) -> Iterable[Claim]:
    """``a railway line runs from north to south``."""
    for one in named:
        match, courses = _FROM_TO.match(said.text, one.end), _courses(one)
        if match and courses and match.end() <= _own(said, named, one):
            told = {match.group("a")[0].lower(), match.group("b")[0].lower()}
            if told not in courses:
                yield "place", f"{match.group(0).strip()!r} is not its course"


def _courses(one: _Named) -> list[set[str]]:
    """The two sides between which a feature runs, or the ways of single ones, as first letters."""
    ways = [str(fact.value).split("-") for fact in one.known("course")]
    ways += [str(fact.value).split(" to ") for fact in one.known("axis")]
    ways += [list(str(fact.value)) for fact in one.known("edges") if len(str(fact.value)) == 2]
    return [{end[0] for end in way} for way in ways]


_LONG = compiled(
    r"[^,;.]{0,24}\b(?:is|are|measures?|runs?|for|of|over|length|covers?|spans?|occup(?:y|ies)|takes? up|totals?|"
    r"(?:adds?|sums?) up to|amounts? to|extends?)\b"
    r"[^,;.]{0,16}$",
    re.I,
)


def _sizes(said: Said, named: Sequence[_Named], places: Sequence[Place]) -> Iterable[Claim]:
    """``the road is 600 m long``, ``the park covers 2 ha``."""
    for number in find_numbers(said.text):
        if number.kind not in ("length", "area"):
            continue
        one = next((each for each in reversed(named) if each.end <= number.start), None)
        if one is None or not _LONG.fullmatch(said.text, one.end, number.start) or _is_of_label(said, one):
            continue
        told = [float(fact.value) for fact in one.known(number.kind)]
        if told and not any(number.allows(value) for value in (*told, sum(told))):
            yield "number", f"{number.text!r} is not its {number.kind}"


def _denied(said: Said, named: Sequence[_Named], places: Sequence[Place]) -> Iterable[Claim]:
    """``there is no railway``: what the map has is there, but for a part where none of it lies."""
    for one in named:
        if not _NO.search(said.text[: one.start]) or any(m.start <= one.start < m.end for m in said.mentions):
            continue
        near = [place for place in places if place.start >= one.end]
        stored, whole = one.known("place"), one.known("place.fraction")
        is_elsewhere = (
            bool(near)
            and len(stored) == len(one.facts) == len(whole)
            and all(float(fact.value) >= 100.0 for fact in whole)
            and all(are_disjoint(str(fact.value), place) for fact in stored for place in near)
        )
        if not is_elsewhere and not re.match(r" (?:longer|other)\b", said.text[one.end :]):
            yield "absence", f"denies {said.text[one.start : one.end]!r}, which is on the map"


_THROUGH = compiled(
    r"(?:\s[^,;.]{0,30})?\s(?:through|across|past|into|crosses|crossing|divides|skirts|follows|lines?|among|amid|amidst|"
    r"between|(?:stands?|lies?|is|are) (?:in|inside|within)|"
    r"(?:leads?|runs?|winds|extends?|stretch(?:es)?|continues|heads|ends?|starts?|begins?|flows|drains|empties|curves|bends|"
    r"goes|leading|running|winding|heading|flowing) (?:\w+ )?"
    r"(?:to|into|towards?|from|past|around|beside|by|along|behind|near|at)|"
    r"(?:serves|drains|feeds|borders|bounds|splits|cuts|separates|reaches|enters|leaves)|"
    r"(?P<way>(?:north|south)?-?(?:north|south|east|west) of)|bypass(?:es)?)\s+"
    r"(?:(?:the |an? )?(?:\w+ )?(?:edge|margin|border|side|bank|shore|heart|centre|middle)s? of )?(?:the |an? )?$",
    re.I,
)
_FOLLOWS = compiled(r"\s+(?:follows?|lines?|fringes?|flanks?|skirts?)\s+(?:the |an? )?(?:main )?$", re.I)
_IS_MET = compiled(
    r"\s+(?:is|are) (?:\w+ly )?(?:crossed|cut|split|divided|bisected|traversed|intersected|dissected|bordered|bounded|"
    r"lined|flanked|fringed|skirted|framed|served|drained|fed|reached) by (?:the |an? )?(?:main )?$",
    re.I,
)
_LIES_AT = compiled(
    r"\s[^,;.]{0,40}?\b(?:along|beside|alongside|next to|near|close to|on (?:both|either|one|the other) sides? of|"
    r"at|by|around|across|behind|beyond|up to|to|towards?|facing|borders?(?: on)?|bordering|meets?|touch(?:es)?|"
    r"reach(?:es)?|adjoins?|adjacent to|(?:north|south|east|west)[\w-]* of) (?:the |an? )?(?:main |local )?$",
    re.I,
)


def _crossed(said: Said, named: Sequence[_Named], places: Sequence[Place]) -> Iterable[Claim]:
    """``the river flows through the wood``: no fact tells which cover a map feature crosses, but where all is one."""
    for one in named:
        # "wetland lies west of the buildings": the label knows
        is_class = any(m.start <= one.start < m.end and said.classes_of(m.concept) for m in said.mentions)
        for cover in said.mentions:
            classes = said.classes_of(cover.concept)
            if not classes or cover.start <= one.start < cover.end or sum(c.share for c in classes) >= 99.5:
                continue
            crosses = _THROUGH.fullmatch(said.text, one.end, cover.start) if cover.start >= one.end else None
            if crosses and crosses.group("way") and any(m.start <= one.start < m.end for m in said.mentions):
                continue  # a cover's own direction is known
            follows = cover.end <= one.start and (
                _FOLLOWS.fullmatch(said.text, cover.end, one.start)
                or _IS_MET.fullmatch(said.text, cover.end, one.start)
                or (not is_class and _LIES_AT.fullmatch(said.text, cover.end, one.start))
            )
            if crosses or follows:
                yield "relation", f"{said.text[one.start : one.end]!r}: no fact tells which covers it meets"


_BESIDE = compiled(
    r"(?:\s[^,;.]{0,30}?)?\s(?:(?P<parallel>parallel (?:to|with))|(?P<across>cross(?:es|ing)?|intersects?)|"
    r"next to|beside|near|"
    r"close to|along(?:side)?|follow(?:s|ing)?|meets?|joins?|reach(?:es)?|lin(?:es?|ing)|between|opposite|"
    r"(?:linked|connected) (?:to|with|by)) (?:the |an? )?(?:main )?",
    re.I,
)
_BOTH = compiled(
    r"(?: lines?)?\s+(?:(?P<parallel>(?:run|are|lie) parallel)|(?P<across>cross|intersect)|meet|join)\b", re.I
)
_AND = compiled(r"(?: lines?)?,? and (?:the |an? )?(?:main )?", re.I)


def _related(said: Said, named: Sequence[_Named], places: Sequence[Place]) -> Iterable[Claim]:
    """``the railway runs parallel to the road``: two features are known by their courses alone."""
    for one, other in pairwise(named):
        match = _BESIDE.fullmatch(said.text, one.end, other.start)
        if match is None and _AND.fullmatch(said.text, one.end, other.start):
            match = _BOTH.match(said.text, other.end)
        if match is None or one.end > other.start:
            continue
        said.judge(match)
        pairs = [(a, b) for a in _courses(one) for b in _courses(other)]
        is_so = (match.group("parallel") and any(a == b for a, b in pairs)) or (
            match.group("across") and any(not a & b for a, b in pairs)
        )
        if not is_so:
            yield "relation", f"{match.group(0).strip()!r}: no fact tells how these two lie to each other"
