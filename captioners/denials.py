"""Denials that the facts can judge: no cover takes up half, two covers do not touch or lie apart, a cover lies nowhere
in a part of the scene. All others are doubted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from captioners.claims import Claim, Said
from captioners.contact import share_edge
from captioners.gated import compiled
from captioners.lexicon import concepts_of, nouns_of
from captioners.listed import ONE_PART, joined_places
from captioners.mentions import Mention, Place, find_places
from captioners.patches import edges_of_largest, edges_reached
from captioners.reading import ClassReading, Reading
from captioners.regions import PLACE_REGIONS, QUADRANTS, parts_of, region_bounds

_NO_HALF = compiled(r"\bno (?:single )?(?:land )?(?:cover|class)[\w ]*? half\b", re.I)
_CONTACT = r"(?:touch|meet|adjoin|abut|border(?: on)?|share (?:a|any) (?:border|boundary|edge)(?: with)?)"
_APART = compiled(
    rf"\bdo(?:es)? not {_CONTACT}(?: (?:each other|one another))?\b"
    r"|\b(?:is|are|lies?) not (?:next to|adjacent to|beside|bordering(?: on)?|in contact with)\b"
    r"|\bshares? no (?:border|boundary|edge)(?: with)?\b",
    re.I,
)
_SEPARATE = compiled(
    r"\b(?:lies?|lying|is|are|stands?) (?:\w+ )?apart\b(?: from)?"
    r"|\b(?:separated|isolated|cut off|detached) from\b|\bseparates? [^.;]*?(?=\bfrom\b)",
    re.I,
)
"""The same said without a denial."""
_UNREACHED = compiled(
    r"\bdo(?:es)? not (?:reach|touch|meet|extend to) (?:any of )?(?:the )?"
    r"(?P<any>(?:any )?(?:edge|border|margin)s? of the (?:scene|image|picture|view)\b)?",
    re.I,
)
_NO_PART = compiled(
    r"\b(?:(?:no|not an?|not any|not one|(?:hardly|barely|scarcely) an?y?) "
    r"(?:part|portion|piece|corner|area|place|spot)s? (?:of|in)|none of) the "
    r"(?!ground (?:moved|changed) by )",  # what changed has facts of its own
    re.I,
)
_OF_SCENE = r"(?: of (?:the )?(?:scene|image|chip|view|picture|area))?"
_IS = compiled(
    _OF_SCENE + r"\s+(?:(?:is|are|lies) (?:(?:under|covered (?:by|with)|taken up by) )?"
    r"|(?:holds?|contains?|has|shows?) )(?:any )?",
    re.I,
)
_NONE = compiled(r"\b(?:there (?:is|are) )?no $", re.I)
_LIES_IN = compiled(
    r"\s+(?:(?:is|are|lies?|stands?|grows?|occurs?) )?(?:(?:found|seen|present|visible) )?(?:anywhere )?in the ", re.I
)
_NOWHERE_IN = compiled(
    r"\s+(?:is|are|lies?|stands?|grows?|occurs?) (?:(?:found|seen|present) )?nowhere "
    r"(?:to be (?:found|seen) )?in the ",
    re.I,
)
_PART_HEAD = compiled(r"(?:^|[;:,]\s*|\b(?:and|but|while|whereas) )the $", re.I)
_LACKS = compiled(
    _OF_SCENE + r"\s+(?:(?:holds?|has|contains?|shows?) no |(?:is|lies) (?:(?:entirely|completely|wholly) )?"
    r"(?:(?:free|devoid|void) of |without )|lacks )(?:any )?",
    re.I,
)
_IS_LESS = compiled(_OF_SCENE + r"\s+(?:is|lies) ", re.I)
_CLAUSE_END = compiled(r"\s*(?:[.;:]|$|,\s*(?:but|while|whereas)\b)", re.I)
_TURNED = compiled(r"\b(?:no|not|never|neither|nor|without|false|untrue|hardly)\b|n't\b", re.I)
"""Before a denial, in its clause: the one denies the other."""
Denial = tuple[int, int, Mention, list[Place]]
"""First and last character of a denial, the cover, and the parts of the scene that have none of it."""
REACH = 30
"""A cover within so many characters is the one that is spoken of."""


def judged(said: Said, mapped: frozenset[str]) -> tuple[str, list[Claim]]:
    """The text without the denials that hold, blanked, and what is wrong with those that do not.

    Args:
        said: the sentence with all covers that it names.
        mapped: concepts of map features: what their words name may be a line that no pixel shows.
    """
    text: str = said.text
    found: list[Claim] = []
    for match in _NO_HALF.finditer(said.text):
        text = _blanked(text, match)
        if said.reading.classes and said.reading.classes[0].share >= 50.0:
            found.append(("number", f"{match.group(0)!r}, but {said.reading.classes[0].noun} does"))
    for match in _APART.finditer(said.text):
        pair = _pair(said.mentions, match)
        if pair is None or pair[0].concept == pair[1].concept:
            continue
        if not all(said.classes_of(m.concept) for m in pair) or not said.reading.is_complete:
            continue
        if any(m.concept in mapped and not _is_class(said, m) for m in pair):
            continue
        if share_edge(said, *pair):
            found.append(("relation", f"{match.group(0)!r}, but they share an edge"))
        else:
            text = _blanked(text, match)
    text, wrong = _unreached(said, text, mapped)
    found += wrong
    for start, end, one, where in (
        *_nowhere(said),
        *_neither(said),
        *_none_of(said),
        *_none_of_it(said),
        *_absent_from(said),
    ):
        missing = [is_missing_from(said.reading, said.classes_of, one.concept, place) for place in where]
        if all(missing):
            text = text[:start] + " " * (end - start) + text[end:]
        elif False in missing:
            found.append(("absence", f"{said.text[start:end]!r}, but it is there"))
    for match in _NO_PART.finditer(text):
        found.append(("absence", f"{match.group(0).strip()!r} is borne out by no fact"))
    for match in _SEPARATE.finditer(said.text):
        pair = _pair(said.mentions, match)
        if pair is not None and pair[0].concept != pair[1].concept and share_edge(said, *pair):
            found.append(("relation", f"{match.group(0)!r}, but they share an edge"))
    return text, found


def _unreached(said: Said, text: str, mapped: frozenset[str]) -> tuple[str, list[Claim]]:
    """``A does not reach the border of the scene``, ``A does not touch the southern edge``: by all its patches, or by
    the largest.
    """
    found: list[Claim] = []
    places = find_places(said.text)
    for match in _UNREACHED.finditer(said.text):
        place = next((p for p in places if p.start == match.end() and p.form == "edge"), None)
        one = next((m for m in reversed(said.mentions) if m.end <= match.start()), None)
        if one is None or not (place or match.group("any")) or match.start() - one.end > REACH:
            continue
        edges = edges_reached(said.reading, said.classes_of(one.concept)) if said.reading.is_complete else None
        if edges_of_largest(said, one) is not None:
            edges = edges_of_largest(said, one)
        if edges is None or one.negated or (one.concept in mapped and not _is_class(said, one)):
            continue
        if edges if place is None else place.region in edges:
            found.append(("place", f"{match.group(0).strip()!r}, but it does"))
        else:
            end = match.end() if place is None else place.end
            text = text[: match.start()] + " " * (end - match.start()) + text[end:]
    return text, found


def _nowhere(said: Said) -> Iterable[Denial]:
    """Denials of a cover in a part.

    ``no part of the north is A``, ``none of the north is A``, ``there is no A in the north``, ``A lies nowhere in the
    north``, ``the north has no A``, ``the north is free of A``, ``the north is A-less``.
    """
    text = said.text
    for place in find_places(text):
        after = next((m for m in said.mentions if m.start >= place.end), None)
        before = next((m for m in reversed(said.mentions) if m.end <= place.start), None)
        head = next((m for m in _NO_PART.finditer(text) if m.end() == place.start), None)
        if head and after and _IS.fullmatch(text, place.end, after.start):
            one, start, end = after, head.start(), after.end
        elif (
            before
            and (none := _NONE.search(text[: before.start]))
            and _LIES_IN.fullmatch(text, before.end, place.start)
        ):
            one, start, end = before, none.start(), place.end
        elif before and _NOWHERE_IN.fullmatch(text, before.end, place.start):
            one, start, end = before, before.start, place.end
        elif after and (head := _PART_HEAD.search(text[: place.start])) and _lacks(text, place, after):
            one, start, end = after, head.end() - 4, after.end
        else:
            continue
        if _CLAUSE_END.match(text, end) and not _TURNED.search(re.split(r"[.;:]", text[:start])[-1]):
            yield start, end, one, [place]


_NEITHER = compiled(r"\b(?:neither|none) (?:of )?the $", re.I)
_NOR = compiled(r"(?: of (?:the )?\w+)?,?\s+n?or\s+(?:in )?(?:the )?", re.I)
_HOLDS_ANY = compiled(
    r"(?:s|quarters?|quadrants?|halves|parts?)?"
    + _OF_SCENE
    + r"\s+(?:holds?|has|have|contains?|shows?|is|are) (?:any )?",
    re.I,
)
_NONE_OF_IT = compiled(
    r"\b(?:none|nothing) of (?:it|them|which|this) (?:lies |lying |is |are |being |found )?(?:in|within) the $", re.I
)
_NONE_OF = compiled(r"\b(?:none|not any|no part) of (?:the |its )?$", re.I)


def _with_nor(text: str, places: Sequence[Place]) -> list[Place]:
    """The first of some places and those that ``nor`` or ``or`` adds to it."""
    found = list(places[:1])
    for other in places[1:]:
        if _NOR.fullmatch(text, found[-1].end, other.start):
            found.append(other)
    return found


def _neither(said: Said) -> Iterable[Denial]:
    """``neither the north nor the east holds any A``, ``neither of the eastern quarters has A``."""
    places = find_places(said.text)
    for rank, place in enumerate(places):
        head = _NEITHER.search(said.text[: place.start])
        if head is None:
            continue
        where = _with_nor(said.text, places[rank:])
        one = next((m for m in said.mentions if m.start >= where[-1].end), None)
        if one is None or not _HOLDS_ANY.fullmatch(said.text, where[-1].end, one.start):
            continue
        if len(where) == 1 and len(place.region) == 1:  # "the eastern quarters": both of them
            where = [replace(place, region=q, form="") for q in ("nw", "ne", "sw", "se") if place.region in q]
        if _CLAUSE_END.match(said.text, one.end):
            yield head.start(), one.end, one, where


def _none_of(said: Said) -> Iterable[Denial]:
    """``none of the A lies in the north or the east``."""
    places = find_places(said.text)
    for one in said.mentions:
        head = _NONE_OF.search(said.text[: one.start])
        first = next((rank for rank, place in enumerate(places) if place.start >= one.end), None)
        if head is None or first is None or not _LIES_IN.fullmatch(said.text, one.end, places[first].start):
            continue
        where = _with_nor(said.text, places[first:])
        if _CLAUSE_END.match(said.text, where[-1].end):
            yield head.start(), where[-1].end, one, where


def _none_of_it(said: Said) -> Iterable[Denial]:
    """``A covers a tenth, none of it in the south``."""
    for place in find_places(said.text):
        head = _NONE_OF_IT.search(said.text[: place.start])
        one = next((m for m in reversed(said.mentions) if head is not None and m.end <= head.start()), None)
        if head is not None and one is not None and _CLAUSE_END.match(said.text, place.end):
            yield head.start(), place.end, one, [place]


_ABSENT_FROM = compiled(
    r" (?:is|are) (?:(?:entirely|wholly|completely|altogether) )?(?:absent|missing)(?P<only> only)? (?:from|in) "
    r"(?P<but>(?:every|each|all) (?:quarter|quadrant)s?,? (?:except|but|save|other than|apart from)(?: for)?(?: in)? )?"
    r"(?:the )?",
    re.I,
)


def _absent_from(said: Said) -> Iterable[Denial]:
    """``A is absent from the north and the east``, ``only from the north-west``, ``from every quarter except the
    east``: of these two it lies in every other quarter.
    """
    places = find_places(said.text)
    for one in said.mentions:
        rank = next((n for n, p in enumerate(places) if _ABSENT_FROM.fullmatch(said.text, one.end, p.start)), None)
        match = _ABSENT_FROM.match(said.text, one.end)
        if rank is None or match is None:
            continue
        told = joined_places(said.text, places[rank:])
        others = [replace(told[0], region=q, form="") for q in QUADRANTS if q not in {p.region for p in told}]
        where, rest = (others, told) if match.group("but") else (told, others)
        if (match.group("only") or match.group("but")) and not (
            all(p.region in QUADRANTS for p in told)
            and all(is_missing_from(said.reading, said.classes_of, one.concept, p) is False for p in rest)
        ):
            continue
        if _CLAUSE_END.match(said.text, told[-1].end) and not _TURNED.search(said.text[: one.start]):
            yield one.start, told[-1].end, one, where


def _lacks(text: str, place: Place, after: Mention) -> bool:
    """Whether what stands between a part and a cover says that the part has none of it."""
    pattern = _IS_LESS if text[: after.end].lower().endswith(("less", "-free")) else _LACKS
    return after.negated and pattern.fullmatch(text, place.end, after.start) is not None


def is_missing_from(
    reading: Reading, classes_of: Callable[[str], list[ClassReading]], concept: str, place: Place
) -> bool | None:
    """Whether a cover lies nowhere in a part of the scene: no class of it has a pixel there, and whatever the map holds
    of it lies elsewhere, all of it. None where the facts do not tell.
    """
    if not reading.is_complete or place.form not in ("", "half"):
        return None
    parts, _ = parts_of(place.region)
    shares = [reading.region_share(one.code, part) for one in classes_of(concept) for part in parts]
    if None in shares:
        return None
    if any(share for share in shares):
        return False
    nouns = {f"class:{one.code}": one.noun for one in reading.classes} | {
        f"class:{c}": noun for c, noun in reading.absent
    }
    ideas = concepts_of(nouns[concept], own=True) if concept in nouns else {concept}
    if any(f.kind == "element" and ideas & concepts_of(f.subject) for f in reading.sheet.facts):
        return None
    mapped = [one.values for one in reading.features if ideas & concepts_of(one.noun)]
    placed = [str(values.get("place", "")) for values in mapped if float(values.get("place.fraction", 0.0)) >= 100.0]
    is_elsewhere = len(placed) == len(mapped) and all(are_disjoint(stored, place) for stored in placed)
    return True if is_elsewhere else None


def is_local(
    reading: Reading,
    classes_of: Callable[[str], list[ClassReading]],
    one: Mention,
    mentions: Sequence[Mention],
    places: Sequence[Place],
    text: str,
) -> bool:
    """Whether a denial speaks of parts of the scene, up to the next cover that is there, and the cover lies in none."""
    end = next((m.start for m in mentions if m.start >= one.end and not m.negated), None)
    near = [place for place in places if one.end <= place.start and (end is None or place.start < end)]
    if not near and len(places) == 1 and ONE_PART.search(text[: places[0].end]):
        near = list(places)  # "the north holds A and B, but no C"
    return bool(near) and all(is_missing_from(reading, classes_of, one.concept, place) for place in near)


def are_disjoint(stored: str, place: Place) -> bool:
    """Whether a place that is a fact shares no ground with one that is named."""
    if stored not in PLACE_REGIONS:
        return False
    named = f"{place.region}-half" if len(place.region) == 1 else place.region
    (left, bottom, right, top), other = (region_bounds(name, (0.0, 0.0, 1.0, 1.0)) for name in (stored, named))
    return left >= other[2] or other[0] >= right or bottom >= other[3] or other[1] >= top


def _is_class(said: Said, mention: Mention) -> bool:
    """Whether a mention's words are those of a class of the label."""
    words = said.text[mention.start : mention.end].lower()
    return any(words == noun.text.lower() for c in said.classes_of(mention.concept) for noun in nouns_of(c.noun))


def _blanked(text: str, match: re.Match[str]) -> str:
    return text[: match.start()] + " " * len(match.group(0)) + text[match.end() :]


def _pair(mentions: Sequence[Mention], match: re.Match[str]) -> tuple[Mention, Mention] | None:
    """The covers before (or inside: "separates A from") and after, or the last two before: "A and B do not touch"."""
    before = [m for m in mentions if m.end <= match.end()]
    after = next((m for m in mentions if 0 <= m.start - match.end() <= REACH), None)
    if before and after is not None:
        return before[-1], after
    return (before[-2], before[-1]) if len(before) > 1 else None
