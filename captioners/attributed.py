"""Which of the cited facts may bear out a figure or a place, by what the words around it speak of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from captioners.gated import compiled
from captioners.lexicon import singular
from captioners.mentions import Mention, Place
from captioners.quantities import ANY_SORT, Number, value_of
from captioners.reading import Reading
from schemas.facts import Fact

Held = tuple[Mention, Place]
"""A cover of which a part lies in a place."""
PLACE_UNITS = ("region", "edges", "position", "axis")
"""Units of facts that say where."""
OF_LABEL = ("share", "dominant", "patches", "object", "place", "adjacency", "relation")
"""Kinds of facts of the label: where they are cited, a cover is that of the label, not a map feature alone."""
MOVED = compiled(
    r"\b(?:green(?:ed|er|ing|ness)|(?:turned|stayed|remained) green|brown(?:ed|ing)|thinn(?:ed|ing)|"
    r"chang(?:ed?|es|ing)|flooded|dried|loss(?:es)?|gains?|lost vegetation|"
    r"(?:turned|became|grew|got) (?:\w+ )?(?:barer|wetter|drier|sparser))\b",
    re.I,
)
"""Words of what came and went between two dates."""
PIECES = compiled(
    rf"\s*{ANY_SORT}(?:patch|patches|pieces|fragments?|clumps?|blocks?|stands?|segments|pockets?)\b", re.I
)
"""Words after a count by which it is one of patches."""
_JUDGED = compiled(r"\b(?:(?:hardly|barely|scarcely) any(?:thing)?|next to none|almost none) of (?:the )?$", re.I)
_SIDE_OF_SCENE = compiled(
    r"\b(?:scene|image|chip|landscape|view|picture|area|tile) (?:measures?|spans?|covers?|extends?|stretches|is)\b"
    r"[^;.]*\d\s?k?m\b[^;.]*\b(?:from|to) (?:the )?$",
    re.I,
)
_NONE = compiled(r"\b(?:no|neither|nor|without)\b[^.;,]*$", re.I)
_SORT = compiled(r"\b(V[VH]|ND[VWB]I)\b")
_SORT_AFTER = compiled(r"\s*(?:in |for |\()(V[VH]|ND[VWB]I)\b")
_BY = compiled(
    r"\b(?:by|chang\w*|difference|gain\w*|loss|lost|drop|rise|fall|decline|increase|decrease|moved|step|ground)\b"
    r"[^.;,]{0,40}$",
    re.I,
)
_STEP_AFTER = compiled(r"\s*(?:dB )?(?:higher|lower|more|less|greater|stronger|weaker|above|below)\b", re.I)
"""``0.27 higher``"""
_STEP = compiled(r"\bmore than 0\.2\b")
"""The step from which a pixel counts as changed may be told."""
_THINGS = compiled(
    rf"\s*{ANY_SORT}(roads|railways|rivers|streams|canals|bridges|schools|churches|dams|parks|buildings|orchards|"
    r"vineyards|quarries|cemeteries)\b",
    re.I,
)


_OF_COVERS = compiled(
    r"\b(?:it|its|they|their|them|this|these|that|which|all|most|covers?|class(?:es)?|patch(?:es)?|blocks?|pieces?|objects?|"
    r"strips?|one|ones|rest|remainder|vegetation|green\w*)\b",
    re.I,
)
"""Words by which a sentence that names no cover speaks of one."""


def spoken_of(text: str, cited: Sequence[Fact]) -> Sequence[Fact]:
    """The cited facts that say where that is of which a sentence without a cover speaks: a change, a map feature."""
    placed = [f for f in cited if f.unit in PLACE_UNITS]
    if MOVED.search(text) and (found := [f for f in placed if f.kind == "change"]):
        return found
    words = set(re.findall(r"[a-z]{4,}", text.lower()))
    words |= set(map(singular, words))
    of_map = [f for f in placed if f.kind in ("osm", "element")]
    told = [f for f in of_map if words & set(map(singular, f.subject.split()))]
    return told or (placed if _OF_COVERS.search(text) else [f for f in placed if f.kind not in OF_LABEL])


_NEXT_CLAUSE = compiled(r"[,;] (?:and|while|whereas|but) ", re.I)


def is_of_feature(text: str, place: Place, after: Mention, cited: Sequence[Fact]) -> bool:
    """Whether a place before the first cover is that of a map feature: "a road lies in the west, and A in the east"."""
    if after.start < place.end or not _NEXT_CLAUSE.search(text, place.end, after.start):
        return False
    words = set(map(singular, re.findall(r"[a-z]{4,}", text[: place.start].lower())))
    return any(f.kind in ("osm", "element") and words & set(map(singular, f.subject.split())) for f in cited)


def placing(facts: Sequence[Fact], place: Place, text: str, *, strong: bool) -> list[Fact]:
    """Facts of a cover that may say where it lies: the edges that it meets bear out edges, its axis a way from here to
    there, and a single patch nothing that is said of most of it (``strong``).
    """
    apt = {"edges": place.form == "edge" or bool(_RUNS.search(text)), "axis": bool(_RUNS.search(text)),
           "position": not strong}  # fmt: skip
    return [fact for fact in facts if apt.get(fact.unit, True)]


_OF_PART = compiled(r"\s*(?:of|(?P<there>in)) (?:all (?:of )?)?(?:the )?(?:mapped ground of the )?", re.I)
_OF_IT = compiled(r"\s*of (?:all )?(?:the |its )?", re.I)
LIES_IN = compiled(
    r"(?: (?:areas|patches|blocks|stands|fields|parts|spots|surfaces))?(?P<all>\s+all)?\s+"
    r"(?:lies?|stands?|grows?|sits?|occurs?|can be found|"
    r"(?:is|are)(?: all)?(?: (?:found|located|seen|concentrated))?)\s+"
    r"(?:only |entirely |mostly )?(?:in|along|at|within|on)\s+(?:the )?",
    re.I,
)
"""Between a cover and the part of the scene in which it is said to lie."""


def regions_of_figures(text: str, figures: Sequence[Number], places: Sequence[Place]) -> dict[int, str]:
    """First character of a figure -> the part of the scene of which it is a share: ``40% of the north``; also ``40% in
    the north, 60% in the south``, where several are told so.
    """
    found = [(f, p, m) for f in figures for p in places if (m := _OF_PART.fullmatch(text, f.end, p.start))]
    return {f.start: p.region for f, p, m in found if len(found) > 1 or not m.group("there")}


def place_of_it(text: str, number: Number, mentions: Sequence[Mention], places: Sequence[Place]) -> Held | None:
    """The cover and the place of ``two thirds of the A lies in the north``; None where a figure is no such one."""
    for one in mentions:
        for place in places if _OF_IT.fullmatch(text, number.end, one.start) else ():
            if LIES_IN.fullmatch(text, one.end, place.start):
                return one, place
    return None


_RUNS = compiled(
    r"\bfrom\b|\b(?:reach|touch|extend|stretch|run)\w*\b|\b(?:north-south|south-north|east-west|west-east)\b", re.I
)


def is_judged_elsewhere(before: str, *, names_a_cover: bool) -> bool:
    """Whether rules of their own judge the place that follows: "hardly any of the south", "no roads in the east"."""
    if not names_a_cover and _SIDE_OF_SCENE.search(before):
        return True  # "the scene measures 800 m from west to east": `sides` knows
    return bool(_JUDGED.search(before)) or (not names_a_cover and bool(_NONE.search(before)))


def values_of_sort(number: Number, text: str, able: Sequence[Fact], cited: Sequence[Fact]) -> list[float]:
    """What a figure may be of the polarisation or index that is named beside it; empty where none is, or none cited.

    Args:
        number: an index or a level of backscatter: "VV was -10 dB, VH -16 dB".
        text: the sentence.
        able: cited facts of its unit.
        cited: all of them.
    """
    if number.kind not in ("index", "decibel"):
        return []
    after = _SORT_AFTER.match(text, number.end)
    named = [after.group(1)] if after else _SORT.findall(text[: number.start])
    if not named:
        return []
    own = [f for f in able if f".{named[-1].lower()}." in f"{f.fact_id}."]
    values = [float(f.value) for f in own if f.kind != "change"]
    is_step = _STEP_AFTER.match(text, number.end) is not None
    if is_step or _BY.search(text[: number.start]):
        steps = [float(f.value) for f in own if f.kind == "change"]  # "fell by 0.1", "hardly moved (-0.1)"
        steps = [*steps, *map(abs, steps), *(abs(a - b) for a, b in combinations(values, 2))]
        values = steps if is_step else [*values, *steps]
    return [*values, number.low] if tells_the_step(text, cited) else values


def tells_the_step(text: str, cited: Sequence[Fact]) -> bool:
    """Whether a sentence of a change tells that step."""
    return bool(_STEP.search(text)) and any(fact.kind == "change" for fact in cited)


_OF_SCENE = compiled(
    r"\b(?:scene|image|chip|landscape|view|picture|area|tile) (?:is|measures?|spans?|covers?|extends?(?: over)?|"
    r"stretches|shows|has) (?:an area )?(?:of )?$",
    re.I,
)
_SIDE = compiled(r"\s*(?:wide|high|long|tall|across|by|x|in (?:width|height)|from (?:north|south|east|west))\b", re.I)


def sides(number: Number, text: str, reading: Reading) -> list[float] | None:
    """Metres of the scene's sides where a figure tells one ("the scene is 960 m wide"); None where it tells another."""
    if number.kind != "length" or not (_OF_SCENE.search(text[: number.start]) and _SIDE.match(text, number.end)):
        return None
    facts = [fact for name in ("width", "height") if (fact := reading.by_id.get(f"ground.{name}")) is not None]
    return [float(fact.value) for fact in facts if _is_on_axis(fact, number, text)]


_WIDTH = compiled(r"\s*(?:wide\b|in width|from (?:the )?(?:west|east))", re.I)
_HEIGHT = compiled(r"\s*(?:high\b|tall\b|in height|from (?:the )?(?:north|south))", re.I)


def _is_on_axis(fact: Fact, number: Number, text: str) -> bool:
    """Whether a side of the scene is the one that the words after a figure mean; other facts are."""
    other = {"ground.width": _HEIGHT, "ground.height": _WIDTH}.get(fact.fact_id)
    return other is None or other.match(text, number.end) is None


_OF_RANK = compiled(
    r"\b(?P<count>two|three|four|five|six|seven|eight) (?:(?P<top>larger|largest|main)|smaller|smallest|minor) "
    r"(?:land )?(?:covers|classes|cover types)\b",
    re.I,
)


def of_rank(text: str, shares: Sequence[float]) -> tuple[re.Match[str], list[float]] | None:
    """The words ``four smaller covers`` and their shares; None where a text tells of none, or there are no others.

    Args:
        text: the sentence, or a part of it.
        shares: percent of each class.
    """
    match = _OF_RANK.search(text)
    count = int(value_of(match.group("count"))) if match else 0
    if match is None or count >= len(shares):
        return None
    return match, sorted(shares, reverse=match.group("top") is not None)[:count]


_CROSSWISE = compiled(
    r"[ -]?(?:wide|broad|thick|deep)\b|\s*(?:in|of) (?:width|breadth|diameter|depth|thickness)\b"
    r"|\s*across\b(?! (?:the|an?)\b)",
    re.I,
)
_CROSSWISE_BEFORE = compiled(r"\b(?:width|breadth|diameter|depth|thickness)(?: (?:of|is|was|being|about))*\s*$", re.I)
_AWAY = compiled(
    r"[ -]?(?:away|apart|distant|inland|offshore|beyond|behind|off)\b"
    r"|\s*(?:to the )?(?:north|south|east|west)[\w-]* of\b"
    r"|\s*from (?:the |its |each |any |one )?"
    r"(?!(?:the )?(?:\d|north|south|east|west|top|bottom|left|right|edge to|side to|end to))",
    re.I,
)
_AWAY_BEFORE = compiled(r"\b(?:within|distance of|gap of)\s*$", re.I)
_LENGTH_OF = {
    "adjacency": compiled(
        r"\b(?:border\w*|boundar\w*|edges?|meets?|touch\w*|adjoin\w*|abut\w*|shar(?:e|es|ed|ing)|along|contact)\b", re.I
    ),
    "terrain": compiled(
        r"\b(?:ground|terrain|land|elevations?|altitudes?|relief|slop\w*|ris(?:es?|ing)|f[ae]ll\w*|climb\w*|high\w*|"
        r"low\w*|heights?|sea level|drops?|difference|uplands?|hill\w*|mountain\w*)\b",
        re.I,
    ),
    "ground": compiled(
        r"\b(?:scene|image|chip|landscape|view|picture|area|tile|square|extent|pixels?|resolution|spacing|frame|window)\b"
        r"|\bit (?:covers|measures|spans)\b|\bm by\b",
        re.I,
    ),
}
"""Kind of a fact in metres -> words of which a sentence that tells it has one."""


def lengths(number: Number, text: str, able: Sequence[Fact]) -> list[Fact]:
    """The facts in metres that may bear out a length: those of what the sentence speaks of. No fact tells how wide
    anything but the scene is, nor how far two things lie apart.
    """
    before = text[: number.start]
    if _AWAY.match(text, number.end) or _AWAY_BEFORE.search(before):
        return []
    if _CROSSWISE.match(text, number.end) or _CROSSWISE_BEFORE.search(before):
        return [
            f for f in able if f.kind == "ground" and _is_on_axis(f, number, text) and _LENGTH_OF["ground"].search(text)
        ]
    words = {singular(word) for word in re.findall(r"[a-z]{3,}", text.lower())}
    able = [f for f in able if _is_on_axis(f, number, text)]
    return [f for f in able if (told.search(text) if (told := _LENGTH_OF.get(f.kind)) else _is_named(f, words))]


_PRONOUNS = frozenset({"it", "they", "one", "line", "feature", "way", "length"})


def _is_named(fact: Fact, words: set[str]) -> bool:
    """Whether words name a feature of the map, or stand for one."""
    return bool(words & (_PRONOUNS | {singular(word) for word in fact.subject.lower().split()}))


def counted(number: Number, text: str, cited: Sequence[Fact]) -> list[float] | None:
    """The counts of the things of the map that a figure counts ("two roads"); None where it counts others."""
    noun = _THINGS.match(text, number.end) if number.kind == "count" and number.low > 1 else None
    if noun is None:
        return None
    word = singular(noun.group(1).lower())
    return [
        float(f.value)
        for f in cited
        if f.unit == "count" and f.kind not in OF_LABEL and word in map(singular, f.subject.lower().split())
    ]
