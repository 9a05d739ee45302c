"""What a sentence claims beyond classes, figures and places: directions, shapes, seasons, trends, terrain.

Each rule finds the words of one sort of claim and asks the facts; a claim that no fact bears out is a violation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from captioners.dated import dates_of_sensor, moments, seasons_then
from captioners.gated import compiled
from captioners.lexicon import concepts_of
from captioners.mentions import Mention
from captioners.placed import bearing_of
from captioners.quantities import find_numbers
from captioners.reading import ClassReading, Reading
from schemas.facts import Fact

Claim = tuple[str, str]
"""(rule, what is wrong, in words for the repair round)."""


@dataclass(frozen=True)
class Said:
    """One sentence as the rules see it."""

    text: str
    """The sentence, names blanked out."""
    mentions: tuple[Mention, ...]
    """Covers that it asserts."""
    cited: tuple[Fact, ...]
    """Facts that it cites."""
    reading: Reading
    """All facts."""
    classes_of: Callable[[str], list[ClassReading]]
    """Concept -> classes of the chip that a mention of it may mean."""
    earlier: tuple[Mention, ...] = ()
    """Covers that the text before this sentence asserts; their characters are those of other sentences."""
    nouns: frozenset[tuple[str, str]] = frozenset()
    """(noun, ``class:<code>``) of the legend, see `find_mentions`."""
    read: list[tuple[int, int]] = field(default_factory=list)
    """First and last characters of the comparing words that some rule has judged: `unread` refuses the others."""

    def judge(self, match: re.Match[str]) -> None:
        """Notes that a rule understood these words and asked the facts."""
        self.read.append(match.span())

    def share(self, mention: Mention) -> tuple[float, float]:
        """Least and most percent that a mention may stand for: of one of its classes, or of all together."""
        shares = [one.share for one in self.classes_of(mention.concept)]
        return (min(shares), sum(shares)) if shares else (0.0, 0.0)

    def before(self, position: int) -> Mention | None:
        """The last cover named before a character."""
        found = [m for m in self.mentions if m.end <= position]
        return found[-1] if found else None

    def after(self, position: int) -> Mention | None:
        """The first cover named after a character."""
        return next((m for m in self.mentions if m.start >= position), None)

    def is_about(self, fact: Fact, mention: Mention) -> bool:
        """Whether a fact speaks of what a mention names."""
        if any(one.noun == fact.subject for one in self.classes_of(mention.concept)):
            return True
        return mention.concept in concepts_of(fact.subject)


def claims(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    rules = (_direction, _shape, _quality, _size, _season, _trend, _terrain, _sky)
    for rule in rules:
        yield from rule(said)


_ROSE = r"north-?west|north-?east|south-?west|south-?east|north|south|east|west"
_BEARINGS = {
    "north": 0.0, "north-east": 45.0, "east": 90.0, "south-east": 135.0, "south": 180.0, "south-west": 225.0,
    "west": 270.0, "north-west": 315.0,
}  # fmt: skip
WITHIN_DEGREES = 40.0
"""A direction may be told for what lies so near to it."""
_OF = compiled(
    rf"\b(?:to the )?(?P<way>{_ROSE}|(?<=to the )(?:right|left))(?:ern (?:side|bank|shore)s?|wards?)? of"
    r" (?:the )?(?:largest )?(?:patch(?:es)? of )?(?:the )?",
    re.I,
)
_AND_ALSO = compiled(r",?\s+(?:and|but)\s+(?:also\s+)?", re.I)
_LEVEL_OF = compiled(
    r"\b(?:lies?|lying|is|are|sits?|found|situated) "
    r"(?:(?:immediately|just|directly|right|far) )?(?P<way>above|below|beneath) (?:the )?",
    re.I,
)
_SIDES = {"right": "east", "left": "west", "above": "north", "below": "south", "beneath": "south"}
_SEEN = compiled(rf"\bto the (?P<way>{_ROSE})\b(?!\s+of)", re.I)


def _direction(said: Said) -> Iterable[Claim]:
    """``A lies to the north of B and west of C``; ``seen from B, A lies to the north``."""
    last: tuple[Mention, Mention] | None = None
    for match in (*_OF.finditer(said.text), *_LEVEL_OF.finditer(said.text)):
        one, other = said.before(match.start()), said.after(match.end() - 1)
        if last is not None and one == last[1] and _AND_ALSO.fullmatch(said.text, last[1].end, match.start()):
            one = last[0]  # of A again, not of B
        if one is None and other is not None:
            one = said.after(other.end)  # "south of the water lie trees"
        if one is None or other is None or other.start > match.end() + 2 or one.concept == other.concept:
            continue
        last = (one, other)
        said.judge(match)
        yield from _is_so(said, one, other, _SIDES.get(match.group("way").lower(), match.group("way")))
    seen = re.search(r"\bseen from\b", said.text, re.I)
    way = _SEEN.search(said.text)
    if seen and way:
        other = said.after(seen.end())
        one = said.after(other.end) if other else None
        if one is not None and other is not None:
            yield from _is_so(said, one, other, way.group("way"))


def _is_so(said: Said, one: Mention, other: Mention, way: str) -> Iterable[Claim]:
    told = re.sub(r"^(north|south)-?(west|east)$", r"\1-\2", way.lower())
    pairs = [(a.code, b.code) for a in said.classes_of(one.concept) for b in said.classes_of(other.concept)]
    bearings = [float(fact.value) for a, b in pairs if (fact := said.reading.by_id.get(f"bearing.{a}.{b}")) is not None]
    if not bearings and "patch" not in said.text:  # told of the largest objects; else by what the parts hold
        bearings = [bearing for a, b in pairs if (bearing := bearing_of(said.reading, a, b)) is not None]
    if not any(abs((bearing - _BEARINGS[told] + 180.0) % 360.0 - 180.0) <= WITHIN_DEGREES for bearing in bearings):
        yield "relation", f"{told!r} is not where the one lies of the other"


SHAPES = {
    "ring-shaped": ("ring-shaped", "ring", "annular"),
    "elongated": ("elongated", "long and narrow", "long, narrow", "narrow", "linear", "stretched"),
    "compact": ("compact", "blocky", "squarish", "rounded"),
    "irregular": ("irregular", "ragged", "jagged", "irregularly shaped"),
    "winding": ("winding", "winds", "meandering", "meanders", "sinuous", "twisting"),
    "straight": ("straight",),
}
"""Value of a fact -> words that say it."""
_SHAPE_WORD = compiled(
    r"(?<![\w-])(" + "|".join(sorted((re.escape(w) for ws in SHAPES.values() for w in ws), key=len, reverse=True)) +
    r"|(?!irregularly)[a-z]+-shaped|crescents?|ovals?|circles?|circular|semi-?circ(?:le|ular)|triang(?:le|ular)s?|"
    r"rectang(?:le|ular)s?|(?<!nine )(?<!of the )squares?(?! (?:kilo)?met)|ellip(?:se|tical)|oblong|"
    r"trapezoid(?:al)?|diamonds?|hexagon(?:al)?|(?<=is )round|(?<=a )round|symmetric(?:al)?|"
    r"geometric(?:al)?|straight-edged|"
    r"zigzag|perfect(?:ly)?|curv(?:es?|ed|ing)|spiral|checkerboard|chequerboard|gridded|grid-like|"
    r"(?<!x3 )grid(?! cells?\b)(?!.*\bcells?\b))"
    r"(?![\w-])(?! margin\b)",
    re.I,
)  # fmt: skip
"""Words for shapes: those of a fact, and those that no fact has."""


_BEFORE_IT = compiled(
    r" (?:and \w+ )?(?:[\w-]+ )?(?:strip|band|belt|ribbon|patch|block|piece|body|stand|stretch)(?:es|s)? of (?:the )?",
    re.I,
)
"""Between a shape and the cover that has it: "between A and B lies a narrow strip of C"."""


def _shape(said: Said) -> Iterable[Claim]:
    """Words for a shape or a course: a cited fact has them."""
    shapes = [f for f in said.cited if f.unit == "word"]
    for match in _SHAPE_WORD.finditer(said.text):
        word = match.group(1).lower()
        after = said.after(match.end())
        if after is not None and not _BEFORE_IT.fullmatch(said.text, match.end(), after.start):
            after = said.before(match.start()) or after
        near = after or said.before(match.start())
        own = [f for f in shapes if near is not None and said.is_about(f, near)]
        values = {str(f.value) for f in (own if near is not None and said.classes_of(near.concept) else shapes)}
        if not any(word in SHAPES.get(value, ()) for value in values):
            yield "shape", f"{word!r} is the shape of nothing that is cited"


_QUALITY = compiled(
    r"(?<![\w-])(?:(?<!most )(?<!least )dense(?:ly)?|thick(?:ly)?|terrac(?:ed|es?|ing)|irrigated|"
    r"(?<!\bm )(?<!\bkm )(?<!metres )(?<!meters )(?<!metre )(?<!meter )(?:wide|broad(?:er)?|narrower|widen(?:s|ing)?|"
    r"broaden(?:s|ing)?|narrows|narrowing))(?![\w-])"
    r"(?! (?:margin|variety|range|mix)\b)",
    re.I,
)


def _quality(said: Said) -> Iterable[Claim]:
    """``dense trees``, ``a wide river``, ``terraced fields``: no fact tells that, but a class may be called so."""
    nouns = "|".join(re.escape(one.noun) for one in said.reading.classes) or "(?!)"
    named = [match.span() for match in re.finditer(nouns, said.text, re.I)]
    for match in _QUALITY.finditer(said.text):
        if not any(start <= match.start() < end for start, end in named):
            yield "shape", f"{match.group(0)!r} is told by no fact"


_SIZE = compiled(
    r"\b(tiny|small|medium-sized|large|vast|huge)\s+(?:single |compact )?"
    r"(?:(?:patch|area|block|expanse|stretch|pocket|piece|clump|body|strip)\s+of\s|(?=(?:wood|forest|lake|pond)\b))",
    re.I,
)
_SIZE_AS = {"huge": "vast"}
_SMALLER = {"small": "tiny", "large": "vast"}
"""A tiny patch is a small one, too."""


def _size(said: Said) -> Iterable[Claim]:
    """``a large patch of A``: the size word of one of its patches, or of all of it."""
    from captioners.geometry_words import size_word

    for match in _SIZE.finditer(said.text):
        one = said.after(match.end() - 1 if match.group(0)[-1] == " " else match.end())
        if one is None or one.start > match.end() + 12:
            continue
        word = _SIZE_AS.get(match.group(1).lower(), match.group(1).lower())
        about = [f for f in said.reading.sheet.facts if f.unit == "word" and said.is_about(f, one)]
        known = {str(f.value) for f in about if f.fact_id.endswith(".size")}
        known |= {size_word(said.share(one)[1] / 100.0 * said.reading.labelled / 100.0)}
        if not word.startswith(tuple(known)) and _SMALLER.get(word) not in known:
            yield "size", f"{match.group(0).strip()!r} is not its size"


_SEASON = compiled(r"\b((?<!\ba )spring|summer|autumn|winter)(?:y|time)?\b|\b(wint)ry\b|\b(autumn)al\b", re.I)


_ALL_DATES = compiled(
    r"\b(?:both|all|each|every|the two)\b(?: of the)?(?: [\w-]+){0,2}? (?:images?|dates?|scenes?|pictures?|"
    r"acquisitions?|observations?)\b",
    re.I,
)


def _season(said: Said) -> Iterable[Claim]:
    """Seasons: that of the date named, else those of the dates cited, or of any date where none is."""
    tags = [f.fact_id.removeprefix("date.") for f in said.cited if f.fact_id.startswith("date.")]
    held = {d.tag: str(d.values["season"]) for d in dates_of_sensor(said.text, said.reading) if "season" in d.values}
    own = {held[tag] for tag in tags if tag in held}
    values = seasons_then(said.text, said.reading) or own or set(held.values())
    every = len({match.group(0).lower() for match in _SEASON.finditer(said.text)}) == 1 and _ALL_DATES.search(said.text)
    for match in _SEASON.finditer(said.text):
        named = "winter" if match.group(2) else (match.group(1) or match.group(3)).lower()
        if named not in values or (every and values != {named}):
            yield "season", f"{match.group(0)!r} is not the season"


_RISES = (
    r"rose|rises|risen|increased?|increases|grew|grown|gained|gains?|greened|greener|denser|climbed|went up|brightened"
)
_FALLS = (
    r"fell(?! into)|falls(?! into)|fallen|decreased?|decreases|declined?|declines|dropped|drops|lost|loss|"
    r"thinned|sank|less green|browned|went down|withdrew|dimmed"
)
_TREND = compiled(rf"\b(?:(?P<up>{_RISES})|(?P<down>{_FALLS}))\b", re.I)
_MEASURED = compiled(
    r"\b(?:NDVI|NDWI|NDBI|vegetation|green|greener|greenness|backscatter|open water|water index)\b", re.I
)


def _trend(said: Said) -> Iterable[Claim]:
    """What rose or fell: the sign of the cited change, or the order of two cited values."""
    match = _TREND.search(said.text)
    if not match or not _MEASURED.search(said.text) or re.search(r"\brises from\b", said.text):
        return
    when = moments(said.text, said.reading)
    if len(when) == 2 and re.search(r"\bthan\b", said.text[match.end() : when[1][0]]):
        return  # "greener in June than in March": `levels` knows
    up = match.group("up") is not None
    means, parts = _signs(said)
    is_mean = _MEAN.search(said.text) and means and not any(n.kind == "percent" for n in find_numbers(said.text))
    if up not in (means if is_mean else means | parts):
        yield "trend", f"{match.group(0)!r} is borne out by no fact"


_MEAN = compiled(
    r"\b(?:ND[VWB]I|index|backscatter|V[VH])\b|\b(?:scene|vegetation|landscape) (?:\w+ )?(?:became|turned|grew|was)\b"
)
"""Whose mean a sentence tells, where it has no figure of a part of the ground."""
_RADAR = compiled(r"\b(?:backscatter|radar|SAR|(?P<name>V[VH]))\b")
_INDEX = compiled(r"\b(?P<name>ND[WB]I)\b|\b(?P<water>open water|water index)\b", re.I)


def _signs(said: Said) -> tuple[set[bool], set[bool]]:
    """Whether the mean of what a sentence speaks of rose (True) or fell, and whether parts of the ground did, by the
    cited facts; between the two dates that it names, where it names two.
    """
    radar, index = _RADAR.search(said.text), _INDEX.search(said.text)
    if radar:
        name, (ups, downs) = f"sar.{(radar.group('name') or 'VV').lower()}", ("", "")
    elif index:
        name, (ups, downs) = f"index.{(index.group('name') or 'ndwi').lower()}", ("wetter", "drier")
    else:
        name, (ups, downs) = "index.ndvi", ("greener", "barer")
    changes = [(f.fact_id.rsplit(".", 1)[-1], f.value) for f in said.cited if f.kind == "change"]
    parts = {word == ups for word, value in changes if word in (ups, downs) and float(value) > 0}
    days = [days for _, days in moments(said.text, said.reading)]
    told = [d for d in said.reading.dates if any(f.fact_id == f"{name}.{d.tag}" for f in said.cited)]
    if len(days) == 2 and len([d for d in told if any(d.day in each for each in days)]) == 2:
        told = [d for d in told if any(d.day in each for each in days)]
        changes = []
    means = {float(value) > 0 for word, value in changes if word == name.rsplit(".", 1)[-1]}
    if len(told) > 1:
        means.add(float(told[-1].values[name]) > float(told[0].values[name]))
    return means, parts


_LEVEL = compiled(
    r"\b(?<!tidal )(?<!inter)(?:flat|level|even) (?:ground|terrain|land|relief|plain)\b|\bnearly level\b|"
    r"\b(?:ground|terrain|land|relief|scene|area|landscape) (?:is|lies) (?:\w+ )?(?:flat|level)\b",
    re.I,
)
_HILLY = compiled(r"\b(?:hilly|hills?|mountainous|mountains?|steep(?:ly)?|rugged|undulating)\b", re.I)


def _terrain(said: Said) -> Iterable[Claim]:
    """Flat or hilly, by the relief and the mean slope."""
    relief, slope = said.reading.by_id.get("terrain.relief"), said.reading.by_id.get("terrain.slope")
    for pattern, is_flat in ((_LEVEL, True), (_HILLY, False)):
        match = pattern.search(said.text)
        if not match:
            continue
        if relief is None:
            yield "terrain", f"{match.group(0)!r}, but nothing is known of the ground's height"
            continue
        gentle = float(relief.value) < 25.0 or (slope is not None and float(slope.value) < 2.0)
        rough = float(relief.value) >= 50.0 or (slope is not None and float(slope.value) >= 5.0)
        if (is_flat and not gentle) or (not is_flat and not rough):
            yield "terrain", f"{match.group(0)!r} does not fit a relief of {float(relief.value):.0f} m"


_CLOUDY = compiled(r"\b(?:cloudy|overcast|clouded over|veiled by clouds?)\b", re.I)
_CLEAR = compiled(r"\b(?:cloudless|clear sk(?:y|ies)|sk(?:y|ies) (?:was|is|were|are) (?:\w+ )?clear)\b", re.I)
MUCH_PERCENT, LITTLE_PERCENT = 80.0, 20.0
"""From so much on a sky may be called clear, and from so much cloud on cloudy."""


def _sky(said: Said) -> Iterable[Claim]:
    """Cloudy or clear, where no figure tells how much: by the dates cited, or by any where none is."""
    for pattern, kind, least in ((_CLOUDY, "cloud", LITTLE_PERCENT), (_CLEAR, "clear", MUCH_PERCENT)):
        match = pattern.search(said.text)
        if not match or any(number.kind == "percent" for number in find_numbers(said.text)):
            continue
        facts = [f for f in said.reading.sheet.facts if f.kind == kind]
        tags = tuple(f.fact_id.removeprefix("date") for f in said.cited if f.fact_id.startswith("date."))
        values = [float(f.value) for f in facts if f.fact_id.endswith(tags)] or [float(f.value) for f in facts]
        if values and max(values) < least:
            yield "number", f"{match.group(0)!r}, but that is so of {max(values):.0f}% at most"


def concepts_told(facts: Sequence[Fact], nouns: frozenset[tuple[str, str]] = frozenset()) -> frozenset[str]:
    """Concepts that cited map features bring with them: what they are, and what their tag means.

    Args:
        facts: the facts that are cited.
        nouns: (noun, ``class:<code>``) of the legend, see `find_mentions`.
    """
    from captioners.elements import meanings
    from captioners.mentions import find_mentions

    found: set[str] = set()
    for fact in facts:
        if fact.fact_id.endswith((".wetter", ".drier")) or fact.fact_id.startswith("index.ndwi.water."):
            found.add("water")  # the sensor saw it, whatever the label says
        if fact.kind == "element":
            found |= concepts_of(fact.subject)
            found |= {m.concept for m in find_mentions(fact.subject, nouns)}
        if fact.unit == "tag" and str(fact.value) in meanings():
            found |= {m.concept for m in find_mentions(meanings()[str(fact.value)].words, nouns)}
    return frozenset(found)
