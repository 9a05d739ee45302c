"""What a sentence claims of how much a cover takes up, without a figure: nearly all, mainly, everywhere, hardly any."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from captioners.claims import Claim, Said
from captioners.mentions import Mention, Place, find_places

_GROUND = r"(?:scene|area|ground|chip|image|landscape|view|land|picture)"
_ALMOST = r"(?:almost|nearly|virtually|hardly|practically)"
_LEAST = (
    (
        re.compile(
            rf"\b{_ALMOST} (?:all|entirely|the entire|the whole|everything|nothing but|anything but)\b", re.I
        ),
        88.0,
    ),
    (
        re.compile(
            rf"(?<!almost )(?<!nearly )(?<!virtually )(?<!practically )(?:\b(?:entirely|completely|exclusively|"
            rf"the whole of|the entire|nothing but|from edge to edge|the lot) ?\b|"
            rf"\ball of the (?:mapped )?{_GROUND}\b)",
            re.I,
        ),
        99.5,
    ),
    (re.compile(r"\b(?:vast|great|overwhelming) majority\b|\bthe lion's share\b", re.I), 65.0),
    (re.compile(rf"\b(?:the majority of|most of|the bulk of|the greater part of) the {_GROUND}\b", re.I), 50.0),
    (re.compile(r"\b(?:pre)?dominat(?:es?|ed by|ing)\b|\b(?:pre)?dominant\b(?! (?:land|cover|class|type))|"
                r"\bprevails?\b", re.I), 35.0),
)  # fmt: skip
"""Words and the least percent of which they are true, of one cover or of those named together."""
_MAINLY = re.compile(
    r"(?:^|\b(?:is|are|holds?|shows?|contains?|landscape|scene of|consists of)\s+)"
    r"(?:mainly|mostly|chiefly|predominantly|largely|primarily|above all)\s+(?:of\s+)?",
    re.I,
)
MAINLY_PERCENT = 50.0
"""``mainly A``, ``mostly A and B``: they make up so much."""
_JOINED = re.compile(r"\s*(?:\([^)]*\))?\s*,?\s*(?:and\s+)?")
_EVERYWHERE = re.compile(r"\b(?:everywhere|ubiquitous|all over|every (?:part|corner))\b", re.I)
EVERYWHERE_PERCENT = 75.0
"""What covers so much is everywhere, whether or not each quadrant has its share."""
_SCARCE = re.compile(
    r"\b(?:hardly any|barely any|scarcely any|scarce|rare|negligible|traces? of|next to no|"
    r"(?:tiny|minute|minuscule) (?:fractions?|parts?|shares?|portions?|amounts?))(?! (?:thing|but))\b",
    re.I,
)
SCARCE_PERCENT = 10.0
"""More than this is not scarce."""
_ONE_PART = re.compile(
    r"^(?:In|Across|Over) (?:the mapped ground of )?the |"
    r"^The (?:mapped ground of the )?(?:north|south|east|west|middle|cent|upper|lower|top|bottom)",
    re.I,
)
"""A sentence that begins so speaks of one part of the scene."""
REACH = 16
"""A place within so many characters is the one that a word speaks of."""


def extents(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    places = find_places(said.text)
    for rule in (_least, _mainly, _everywhere, _scarce, _few, _scattered):
        yield from rule(said, places)


def _part(said: Said, places: Sequence[Place], start: int, end: int) -> Place | None:
    """The part of the scene that a word which stands here speaks of; None: the whole."""
    near = next((place for place in places if 0 <= place.start - end <= REACH), None)
    near = near or next((place for place in places if 0 <= start - place.end <= REACH), None)
    return next(iter(places), None) if near is None and _ONE_PART.search(said.text) else near


def _region(said: Said, places: Sequence[Place], end: int) -> str:
    part = _part(said, places, end, end)
    return "" if part is None else part.region


def _percent(said: Said, mentions: Sequence[Mention], region: str) -> float:
    """What some covers make up together, in the scene or a part of it (for a half, the mean of its quadrants)."""
    shares = {c.code: c.share for m in mentions for c in said.classes_of(m.concept)}
    if not region:
        return sum(shares.values())
    parts = [q for q in ("nw", "ne", "sw", "se") if region in q] if len(region) == 1 else [region]
    return sum((said.reading.region_share(code, part) or 0.0) / len(parts) for code in shares for part in parts)


def _least(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``almost all of the scene is A``."""
    if not said.mentions or not said.reading.classes:
        return
    for pattern, least in _LEAST:
        match = pattern.search(said.text)
        part = _part(said, places, match.start(), match.end()) if match else None
        if match is None or (part is not None and part.form in ("edge", "corner")):
            continue  # what lies along an edge is judged as a place
        if _percent(said, said.mentions, "" if part is None else part.region) < least:
            yield "number", f"{match.group(0).strip()!r} says too much"


def _mainly(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``the scene is mainly A``."""
    for match in _MAINLY.finditer(said.text):
        named: list[Mention] = []
        end = match.end()
        for one in said.mentions:
            joins = _JOINED.fullmatch(said.text[end : one.start]) if named else one.start - end <= 12
            if one.start >= match.end() and joins and not _is_place(places, end, one.start):
                named.append(one)
                end = one.end
        if named and _percent(said, named, _region(said, places, end)) < MAINLY_PERCENT:
            yield "number", f"{match.group(0).strip()!r} says too much"


def _is_place(places: Sequence[Place], start: int, end: int) -> bool:
    return any(start <= place.start < end for place in places)


def _everywhere(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A is everywhere``."""
    match = _EVERYWHERE.search(said.text)
    if match and said.mentions:
        one = said.before(match.start()) or said.mentions[0]
        classes = said.classes_of(one.concept)
        if classes and not any(c.place == "spread" or c.share >= EVERYWHERE_PERCENT for c in classes):
            yield "place", f"{match.group(0)!r} is not where it lies"


def _scarce(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``A is scarce``, ``hardly any A``."""
    for match in _SCARCE.finditer(said.text):
        after = said.after(match.end())
        near = after if after is not None and after.start - match.end() <= 12 else said.before(match.start())
        if near is not None and _percent(said, [near], _region(said, places, near.end)) > SCARCE_PERCENT:
            yield "number", f"{match.group(0)!r} says too little"


_FEW = re.compile(
    r"\blittle of the \w+ is\b|(?<!\ba )\bfew\b|(?<!\ba )\blittle\b(?= \w+(?: \w+)?)|"
    r"\bsparse(?:ly)?\b(?! vegetat)|"
    r"(?<!quite )\b(?:a few|a handful of|a couple of|a pair of|a single|a lone|occasional)"
    r"(?= (?:trees?|shrubs?|bush(?:es)?)(?![\w-])(?! cover))",
    re.I,
)
_COPULA = re.compile(r"\b(?:is|are|remains?|stays?|grows?|stands?)(?: \w+)? $", re.I)


def _few(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``few trees``, ``a few trees``, ``little water``, ``the tree cover is sparse``."""
    for match in _FEW.finditer(said.text):
        near = _described(said, match, 2 if match.group(0).lower() == "little" else 12)
        if near is not None and _percent(said, [near], _region(said, places, near.end)) > SCARCE_PERCENT:
            yield "number", f"{match.group(0)!r} says too little"


_SCATTERED = re.compile(r"\b(?:scattered|dotted|dispersed|sprinkled|speckled|strewn|interspersed)\b", re.I)
SCATTERED_PATCHES = 3
"""Fewer patches are not scattered."""


def _scattered(said: Said, places: Sequence[Place]) -> Iterable[Claim]:
    """``scattered trees``, ``cropland dotted with trees``: they lie in several patches."""
    for match in _SCATTERED.finditer(said.text):
        near = _described(said, match, 12)
        counts = [int(c.patches.get("count", 0)) for c in said.classes_of(near.concept)] if near is not None else []
        if counts and sum(counts) < SCATTERED_PATCHES:
            yield "shape", f"{match.group(0)!r}, but it lies in {sum(counts)} patch{'es' if sum(counts) > 1 else ''}"


def _described(said: Said, match: re.Match[str], reach: int) -> Mention | None:
    """The cover that a word speaks of: right after it, or before it by a verb ("trees are few")."""
    after = said.after(match.end())
    if after is not None and after.start - match.end() <= reach:
        return after
    return said.before(match.start()) if _COPULA.search(said.text[: match.start()]) else None
