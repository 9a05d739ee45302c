"""How covers are said to follow each other across the scene: one between two others, one after the other from side to
side, and along which axis a cover runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise, product

from captioners.claims import Claim, Said
from captioners.contact import share_edge
from captioners.gated import compiled
from captioners.mentions import Mention, Place, find_places
from captioners.placed import bearing_of, centre_of
from captioners.reading import Reading


def across(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    for rule in (_between, _passed, _axis, _edge_to_edge):
        yield from rule(said)


_LIES_BETWEEN = compiled(
    r"\b(?:lies?|lying|stands?|sits?|runs?|running|extends?|stretch(?:es|ing)?|found|situated|located|sandwiched|wedged|"
    r"squeezed|nestled|(?<!is )(?<!are )strips?|bands?|belts?|transition(?:al)?(?: zone)?|buffer(?: zone)?|zone)"
    r" (?:right |directly |just )?between (?:the )?$",
    re.I,
)
_BETWEEN = compiled(r"(?:^|[,;] |\band )between (?:the )?$", re.I)
_THEN_LIES = compiled(
    r"[^.;:]*\b(?:lies?|stands?|sits?|runs?|is|are|there is|there are|extends?|stretch(?:es)?|separates?)\b[^.;:]*",
    re.I,
)
_AND = compiled(r"[^.;:]{0,40}\band (?:the |an? )?", re.I)
OPPOSITE_DEGREES = 120.0
"""What lies between two covers sees them so far apart, where it does not meet both."""


def _between(said: Said) -> Iterable[Claim]:
    """``C lies between A and B``, ``between A and B lies C``."""
    for first, second in pairwise(said.mentions):
        if not _AND.fullmatch(said.text, first.end, second.start):
            continue
        before = said.text[: first.start]
        one: Mention | None = None
        if (match := _LIES_BETWEEN.search(before)) and (one := said.before(match.start() + 1)) is not None:
            one = None if re.search(r"[.;:]", said.text[one.end : match.start()]) else one
        elif _BETWEEN.search(before) and (one := said.after(second.end)) is not None:
            one = one if _THEN_LIES.fullmatch(said.text, second.end, one.start) else None
        if one is not None and not is_between(said, one, first, second):
            yield "relation", f"it does not lie between {_words(said, first)} and {_words(said, second)}"


def _words(said: Said, one: Mention) -> str:
    return repr(said.text[one.start : one.end])


def is_between(said: Said, one: Mention, first: Mention, second: Mention) -> bool:
    """Whether a cover meets both of two others, or sees them on opposite sides; also where some has no class."""
    if len({one.concept, first.concept, second.concept}) < 3:
        return True
    codes = [[c.code for c in said.classes_of(m.concept)] for m in (one, first, second)]
    if not all(codes) or all(share_edge(said, one, m) for m in (first, second)):
        return True
    seen = [[_bearing(said.reading, b, a) for a, b in product(codes[0], others)] for others in codes[1:]]
    return any(
        abs((a - b + 180.0) % 360.0 - 180.0) >= OPPOSITE_DEGREES
        for a, b in product(*seen)
        if a is not None and b is not None
    )


def _bearing(reading: Reading, code: int, seen_from: int) -> float | None:
    fact = reading.by_id.get(f"bearing.{code}.{seen_from}")
    return bearing_of(reading, code, seen_from) if fact is None else float(fact.value)


_PASSES = compiled(
    r"\b(?:pass(?:es|ing)?|chang(?:es?|ing)|transition\w*|shift(?:s|ing)?|grad(?:es|ing)|progress\w*|mov(?:es?|ing)|"
    r"giv(?:es|ing) way|layer(?:s|ed)|arranged|"
    r"ordered|zon(?:ed|ation)|turn(?:s|ing)?|sequence|succession|succeed\w*|follow(?:s|ed)?)\b",
    re.I,
)
_STEPS = {"n": (0, -1), "s": (0, 1), "e": (1, 0), "w": (-1, 0)}
_TO = compiled(r" to (?:the )?", re.I)
_FROM_HERE = compiled(r"\bfrom (?:the )?$", re.I)
BACKWARDS = 0.05
"""A cover may lie so much of the scene's side behind the one that is told before it."""


def passed(text: str, places: Sequence[Place], mentions: Sequence[Mention]) -> tuple[Place, Place] | None:
    """The two sides of ``from north to south, the scene passes from A to B``; None where none is told."""
    if len(mentions) < 2 or not _PASSES.search(text):
        return None
    for first, second in pairwise(places):
        is_pair = _TO.fullmatch(text, first.end, second.start) and re.search(
            r"\bfrom (?:the )?$", text[: first.start], re.I
        )
        if is_pair and not first.form and {first.region, second.region} in ({"n", "s"}, {"e", "w"}):
            return first, second
    return None


def _passed(said: Said) -> Iterable[Claim]:
    """``from north to south, the scene passes from A through B to C``."""
    pair = passed(said.text, find_places(said.text), said.mentions)
    if pair is None:
        return
    x, y = _STEPS[pair[1].region]
    centres = [
        [
            x * centre[0] + y * centre[1]
            for c in said.classes_of(m.concept)
            if (centre := centre_of(said.reading, c.code))
        ]
        for m in said.mentions
    ]
    known = [each for each in centres if each]
    goes_on = len(known) < 2 or max(known[-1]) > min(known[0]) + BACKWARDS
    if not goes_on or any(max(b) < min(a) - BACKWARDS for a, b in pairwise(known)):
        yield "place", f"they do not follow each other from {pair[0].text!r} to {pair[1].text!r}"


_WAY = r"(?:north|south|east|west)"
_RUNS = compiled(
    rf"\b(?:from (?:the )?)?(?P<a>{_WAY}) to (?:the )?(?P<b>{_WAY})\b(?!-)|\b(?P<c>{_WAY})[-–](?P<d>{_WAY})\b(?!ern)"
    r"|\b(?P<level>horizontal(?:ly)?)\b|\b(?P<upright>vertical(?:ly)?)\b",
    re.I,
)
_STRIP_OF = compiled(r"[ -](?:\w+ )?(?:strip|band|belt|ribbon|stripe|corridor|bar)s? of (?:the )?", re.I)
_LINES = compiled(
    r"\b(?:roads?|rail\w*|rivers?|streams?|canals?|highways?|motorways?|tracks?|lines?|NDVI|slopes?)\b", re.I
)
_NAMED_LINE = ("river", "rivers", "stream", "streams", "canal", "canals", "creek", "creeks", "brook", "channel")
_OPPOSITE = ({"north", "south"}, {"east", "west"})


def _axis(said: Said) -> Iterable[Claim]:
    """``A runs from north to south``, ``an east-west band of A``, ``A stretches horizontally``."""
    if _PASSES.search(said.text):
        return
    for match in _RUNS.finditer(said.text):
        ends = {(match.group(name) or "").lower() for name in "abcd"} - {""}
        if not (match.group("level") or match.group("upright") or ends in _OPPOSITE):
            continue
        told = "north to south" if match.group("upright") or "north" in ends else "east to west"
        after, before = said.after(match.end()), said.before(match.start())
        one = after if after is not None and _STRIP_OF.fullmatch(said.text, match.end(), after.start) else before
        if one is None or said.text[one.start : one.end].lower() in _NAMED_LINE:
            continue
        if one is before and re.search(r"[.;:]", said.text[one.end : match.start()]):
            continue
        if one is before and _LINES.search(said.text[one.end : match.start()]):
            continue  # "cropland is crossed by a road from north to south": the road has a course of its own
        axes = _axes(said, one)
        if axes and told not in axes:
            yield "shape", f"{match.group(0)!r} is not the way in which it runs"


_EDGE_TO_EDGE = compiled(r"\bfrom (?:one )?edge to (?:the other(?: edge)?|edge)\b", re.I)


def _edge_to_edge(said: Said) -> Iterable[Claim]:
    """``a strip of A runs from edge to edge``: one of its patches meets two opposite edges."""
    for match in _EDGE_TO_EDGE.finditer(said.text):
        one = said.before(match.start())
        classes = said.classes_of(one.concept) if one is not None else []
        heads = tuple(f"{kind}.{c.code}." for c in classes for kind in ("patches", "object"))
        reached = [
            set(str(f.value)) for i, f in said.reading.by_id.items() if i.startswith(heads) and i.endswith(".edges")
        ]
        if heads and not any({"n", "s"} <= edges or {"e", "w"} <= edges for edges in reached):
            yield "shape", f"{match.group(0)!r} is not how far it runs"


def _axes(said: Said, one: Mention) -> set[str]:
    """The axes of a cover's patches; ``none`` for those that are compact."""
    found = set()
    for code in (c.code for c in said.classes_of(one.concept)):
        for fact_id, fact in said.reading.by_id.items():
            if fact_id.startswith((f"patches.{code}.", f"object.{code}.")):
                if fact_id.endswith(".axis"):
                    found.add(str(fact.value))
                elif fact_id.endswith(".shape") and fact.value == "compact":
                    found.add("none")
                elif fact_id.endswith(".edges"):  # what meets two opposite edges runs from the one to the other
                    pairs = (("ns", "north to south"), ("ew", "east to west"))
                    found |= {way for ends, way in pairs if set(ends) <= set(str(fact.value))}
    return found
