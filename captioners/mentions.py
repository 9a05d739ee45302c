"""What a sentence says: classes it mentions, places it names. Reading only, no judgement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from captioners.gated import any_of, compiled
from captioners.lexicon import concepts
from captioners.regions import CELLS


@dataclass(frozen=True)
class Mention:
    """A word that names a concept of land cover."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    concept: str
    """Key in ``lexicon.yaml``, or ``class:<code>`` for a noun of the chip's own legend."""
    negated: bool
    """Whether the sentence says that it is not there."""


@dataclass(frozen=True)
class Place:
    """A part of the chip that is named."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    region: str
    """nw, ne, sw, se, n, s, e, w or middle; r1 to r3, c1 to c3, r1c1 to r3c3: rows, columns, cells of a 3x3 grid."""
    form: str
    """edge, corner, half or empty."""
    text: str
    """As written."""


_NEGATION = compiled(
    r"(?:\b(?:no(?! longer\b)|not any|zero|without(?: any)?|lacks?|lacking|absence of|free of|devoid of|void of|"
    r"neither|nor|never|not contain|no trace of|not a trace of|"
    r"does not (?:hold|contain|include|show)|contains? no|there (?:is|are) no|nowhere (?:is|are) there)\b(?! quite)"
    r"(?:\s+[\w-]+){0,2}\s*(?:,|or|and)?\s*)$",
    re.IGNORECASE,
)
_HEAD = r"(?: (?:land|ground|cover|areas?))?"
_ALL_ABSENT = compiled(
    rf"^{_HEAD}(?:(?:,\s*(?:(?:and|or)\s+)?|\s+(?:and|or)\s+)(?:any\s+)?x{{2,}}{_HEAD})+\s+(?:do not occur|are\s+"
    r"(?:all\s+|both\s+|\w+ly\s+)?(?:absent|missing|lacking|not (?:present|found|seen|there)|nowhere|non-?existent))\b",
    re.IGNORECASE,
)
"""After a cover, covers blanked to x: "snow, shrubs and wetlands are absent" denies all three."""
_CLAUSE_START = compiled(
    r"(?:^|[,;:]|\b(?:and|or|but|while|whereas|with|both))\s*(?:(?:the|any|all|other|natural|significant|larger?)\s+){0,2}$",
    re.IGNORECASE,
)
_LACKED = compiled(
    r"\b(?:no(?! longer\b)|without(?: any)?|lacks?|lacking|absence of|free of|devoid of|void of|no trace of)\s+"
    rf"(?:any\s+|of\s+)?(?P<list>x{{2,}}{_HEAD}(?:(?:,\s*x{{2,}}{_HEAD})+,?)?\s+and\s+x{{2,}}{_HEAD})"
    r"(?=\s*(?:[.;:]|$|\b(?:in|within|on|at|from|anywhere|here)\b))",
    re.IGNORECASE,
)
"""A list of covers joined by and that is denied: "free of snow, shrubs and wetland"."""
_LISTED = compiled(r"\bx{2,}(?:,\s*|\s*,?\s*(?:or|nor)\s+(?:any\s+|of\s+)?)$")


def _list_head(before: str, after: str) -> str:
    """What stands before a list of covers joined by or: "no snow, mangroves or wetland" denies all three.

    Args:
        before: the text before a mention, covers blanked to x.
        after: the text after it, covers blanked to x.
    """
    joined = re.match(r"(?:,?\s*(?:or|nor)\s|,\s*x{2,}[^.;:]*\b(?:or|nor)\s)", after) is not None
    while match := _LISTED.search(before):
        joined = joined or "or" in match.group(0).replace("x", "")
        if not joined:
            break
        before = before[: match.start()]
    return before


_DOUBLE = compiled(r"\b(?:no|not|never)\b[^.;:,]*\bwithout\b[^.;:,]*$", re.IGNORECASE)
_ABSENT_AFTER = compiled(
    r"^\s+(?:cover\s+)?(?:(?:is|are|remains?)\s+(?:\w+ly |all but |next to |almost )?"
    r"(?:absent|missing|lacking|not (?:present|found|seen|there)|nowhere|non-?existent)|"
    r"do(?:es)? not occur|\w+\s+(?:up\s+)?none of)\b",
    re.IGNORECASE,
)
_LESS = compiled(r"\b([a-z]+?)(?:less|-free)\b", re.IGNORECASE)
"""``treeless``, ``snow-free``."""


@cache
def _owners() -> Mapping[str, str]:
    """Every synonym in lower case and its concept."""
    said = {noun.text.lower(): name for name, one in concepts().items() for noun in one.say}
    return said | {word.lower(): name for name, one in concepts().items() for word in one.synonyms}


@cache
def _pattern(nouns: frozenset[tuple[str, str]]) -> tuple[re.Pattern[str], Mapping[str, str]]:
    """One pattern over synonyms and a legend's own nouns, longer ones first, and the owner of each."""
    owner = {**_owners(), **{noun.lower(): name for noun, name in nouns}}
    ends = r"(?!\w|-(?!(?:capped|covered|lined|clad|dusted|filled|topped|rich)\b))"  # "snow-capped" tells of snow
    return re.compile(rf"(?<![\w-])({any_of(owner)}){ends}", re.IGNORECASE), owner


def is_synonym(noun: str) -> bool:
    """Whether a noun is itself a word of the lexicon."""
    return noun.lower() in _owners()


def find_mentions(sentence: str, nouns: frozenset[tuple[str, str]] = frozenset()) -> list[Mention]:
    """Concepts of land cover in a sentence, in order, each with whether it is denied.

    Args:
        sentence: the sentence.
        nouns: (noun, ``class:<code>``) of the legend; they win over synonyms that they contain.
    """
    return list(_mentions(sentence, nouns))


@lru_cache(256)
def _mentions(sentence: str, nouns: frozenset[tuple[str, str]]) -> tuple[Mention, ...]:
    """A sentence is asked for with each that stands after it, too."""
    pattern, owner = _pattern(nouns)
    found = []
    blanked = pattern.sub(lambda match: "x" * len(match.group(0)), sentence)  # "land without crops" denies nothing
    lacked = [match.span("list") for match in _LACKED.finditer(blanked)]
    for match in pattern.finditer(sentence):
        before = _list_head(re.split(r"[.;:]", blanked[: match.start()])[-1], blanked[match.end() :])
        denied = bool(_NEGATION.search(before)) and not _DOUBLE.search(before)
        denied = denied or bool(_ABSENT_AFTER.match(sentence[match.end() :]))
        denied = denied or any(start <= match.start() < end for start, end in lacked)
        all_absent = _ALL_ABSENT.match(blanked[match.end() :]) is not None
        denied = denied or (all_absent and _CLAUSE_START.search(blanked[: match.start()]) is not None)
        found.append(Mention(match.start(), match.end(), owner[match.group(1).lower()], denied))
    for match in _LESS.finditer(sentence):
        if match.group(1).lower() in owner:
            found.append(Mention(match.start(), match.end(), owner[match.group(1).lower()], negated=True))
    return tuple(sorted(found, key=lambda one: one.start))


def merged(mentions: Sequence[Mention], sentence: str) -> list[Mention]:
    """Mentions of one concept that stand side by side are one: "agricultural fields", "bare rock"."""
    found: list[Mention] = []
    for one in mentions:
        last = found[-1] if found else None
        is_same = last is not None and (last.concept, last.negated) == (one.concept, one.negated)
        if last is not None and is_same and sentence[last.end : one.start] in (" ", "-") and one.end > last.end:
            found[-1] = replace(last, end=one.end)
        else:
            found.append(one)
    return found


def asserting(text: str, mentions: Sequence[Mention]) -> str:
    """The text with the covers that it denies blanked: "no lake" names none."""
    for one in mentions:
        if one.negated:
            text = text[: one.start] + "x" * (one.end - one.start) + text[one.end :]
    return text


_COMPASS = {
    "north-west": "nw", "northwest": "nw", "north-east": "ne", "northeast": "ne", "south-west": "sw",
    "southwest": "sw", "south-east": "se", "southeast": "se", "north": "n", "south": "s", "east": "e", "west": "w",
    "centre": "middle", "center": "middle", "middle": "middle", "central": "middle", "upper left": "nw",
    "upper right": "ne", "lower left": "sw", "lower right": "se", "top left": "nw", "top right": "ne",
    "bottom left": "sw", "bottom right": "se", "top": "n", "bottom": "s",
}  # fmt: skip
_FORM = r"(?P<form>edges?|border|margin|side|corner|half|quarter|quadrant|part|third|row|column|(?:grid )?cell|ninth)"
_PLACE = compiled(
    r"(?<![\w-])(?P<word>"
    + "|".join(sorted(_COMPASS, key=len, reverse=True)).replace(" ", "[- ]")
    + rf")(?:ern(?:most)?)?(?![\w-])(?:\s+{_FORM})?",
    re.IGNORECASE,
)
_MIDDLE = r"(?:centre|center|middle|central)"
_CELL = compiled(
    rf"(?<![\w-])(?:(?P<level>top|upper|bottom|lower|north(?:ern)?|south(?:ern)?)[- ]{_MIDDLE}"
    rf"|(?P<side>left|right|west(?:ern)?|east(?:ern)?)(?:-hand)?[- ]{_MIDDLE}"
    rf"|{_MIDDLE}[- ](?:(?P<level_after>top|bottom)|(?P<side_after>left|right)))(?![\w-])"
    rf"(?:\s+{_FORM})?",
    re.IGNORECASE,
)
"""``bottom centre``, ``middle left``: cells of the 3x3 grid that lie in no corner."""
_SIDE = compiled(
    rf"(?<=the )(?:(?P<word>right|left)(?:-hand)?(?![\w-])(?:\s+{_FORM})?"
    rf"|(?P<level>upper|lower)\s+{_FORM.replace('form', 'part')})"
    r"(?!\s+of\b(?! (?:the |this )?(?:scene|area|chip|image|landscape|view|picture)\b))",
    re.IGNORECASE,
)
_SIDES = {
    "right": "e", "left": "w", "upper": "n", "lower": "s", "top": "n", "bottom": "s", "north": "n", "south": "s",
    "northern": "n", "southern": "s", "west": "w", "western": "w", "east": "e", "eastern": "e",
}  # fmt: skip
_ROWS = {"n": "r1", "middle": "r2", "s": "r3"}
_COLUMNS = {"w": "c1", "middle": "c2", "e": "c3"}


def find_places(sentence: str) -> list[Place]:
    """Parts of the chip that a sentence names, in order."""
    return list(_places(sentence))


@lru_cache(256)
def _places(sentence: str) -> tuple[Place, ...]:
    """Many rules ask for those of one sentence."""
    found = [
        _place(match, _COMPASS[key if key in _COMPASS else key.replace("-", " ")], match.group("form"))
        for match in _PLACE.finditer(sentence)
        for key in (match.group("word").lower(),)
    ]
    found = _of_the_centre(found, sentence)
    cells = [
        Place(match.start(), match.end(), CELLS[_SIDES[word.lower()]], "", match.group(0))
        for match in _CELL.finditer(sentence)
        for word in match.group("level", "side", "level_after", "side_after")
        if word is not None
    ]
    found = [*cells, *(one for one in found if not any(c.start < one.end and one.start < c.end for c in cells))]
    taken = {position for one in found for position in range(one.start, one.end)}
    for match in _SIDE.finditer(sentence):
        if match.start() not in taken:
            word = (match.group("word") or match.group("level")).lower()
            found.append(_place(match, _SIDES[word], match.group("form") or match.group("part")))
    return tuple(_sharing(sorted(found, key=lambda one: one.start), sentence))


_SHARED = compiled(r",? (?:and |or )?(?:the )?", re.IGNORECASE)


def _sharing(places: Sequence[Place], sentence: str) -> list[Place]:
    """Places with the noun that a list has at its end alone: ``the northern, eastern and western edges`` are three."""
    found: list[Place] = []
    for one in reversed(places):
        after = found[-1] if found else None
        is_bare = one.form == "" and one.text.lower().endswith("ern") and len(one.region) == 1
        if is_bare and after is not None and after.form == "edge" and len(after.region) == 1:
            joined = sentence[one.end : after.start]
            one = replace(one, form="edge") if joined and _SHARED.fullmatch(joined) else one
        found.append(one)
    return found[::-1]


def _of_the_centre(places: Sequence[Place], sentence: str) -> list[Place]:
    """``north of the centre`` is one place: the north."""
    found: list[Place] = []
    for one in places:
        last = found[-1] if found else None
        is_beside = one.region == "middle" and last is not None and last.region != "middle"
        if last is not None and is_beside and sentence[last.end : one.start].lower() in (" of the ", " of "):
            found[-1] = replace(last, end=one.end, text=sentence[last.start : one.end])
        else:
            found.append(one)
    return found


def _place(match: re.Match[str], region: str, form: str | None) -> Place:
    form = (form or "").lower()
    if form.endswith(("cell", "ninth")):
        region = CELLS[region]
    elif form in ("row", "column", "third"):
        ways = {"row": _ROWS, "column": _COLUMNS, "third": {**_ROWS, **_COLUMNS, "middle": "middle"}}[form]
        region = ways.get(region, region)
    shape = "edge" if form.startswith(("edge", "border", "margin")) else form if form in ("corner", "half") else ""
    return Place(match.start(), match.end(), region, shape, match.group(0))
