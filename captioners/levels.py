"""Which of two is higher where no cover is spoken of: measured on one date or another, ground here or there; and what
no fact tells: that a cover came or went.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import combinations

from captioners.claims import Claim, Said
from captioners.dated import dates_of_sensor, moments
from captioners.gated import compiled
from captioners.mentions import find_places
from captioners.placed import tells
from captioners.quantities import Number, find_numbers, value_of
from captioners.reading import Reading


def levels(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    rules = (
        _dates, _pictures, _apart, _multiple, _order, _steady, _extreme, _moved_most, _heights, _higher, _gentle,
        _came_or_went,
    )  # fmt: skip
    for rule in rules:
        yield from rule(said)


_INDEX = compiled(r"\b(?P<name>NDVI|NDWI|NDBI)\b|\b(?:green\w*|vegetation)\b", re.I)
_HIGHER = compiled(
    r"\b(?:(?P<up>higher|more|greater|greener|denser|stronger)|lower|less(?: green)?|sparser|weaker)\b"
    r"[^.;]*?\b(?:than|compared (?:with|to))\b",
    re.I,
)
_BESIDE_THEN = compiled(
    r"\bcompared (?:with|to)\b[^.;]*?"
    r"\b(?:(?P<up>higher|greater|greener|denser|stronger)|lower|less green|sparser|weaker)\b",
    re.I,
)


def _levels(said: Said) -> list[tuple[str, float]]:
    """(ISO day, mean) of the index that a sentence speaks of, in order of time; NDVI where it speaks of green."""
    match = _INDEX.search(said.text)
    if match is None:
        return []
    name = f"index.{(match.group('name') or 'ndvi').lower()}"
    return [(d.day, float(d.values[name])) for d in said.reading.dates if name in d.values]


def _dates(said: Said) -> Iterable[Claim]:
    """``NDVI was higher in March than in July``, ``greener in spring than in summer``."""
    known, before = dict(_levels(said)), _BESIDE_THEN.search(said.text)
    when = moments(said.text, said.reading) if known else []
    if before is not None and len(when) == 2 and before.start() < when[0][0] < before.end():
        first, second = ([known[day] for day in days if day in known] for _, days in when)
        if len(first) == len(second) == 1 and ((second <= first) if before.group("up") else (second >= first)):
            yield "trend", f"{before.group(0)!r} is the wrong way round"
        return
    match = _HIGHER.search(said.text)
    if match is None or len(when) != 2 or not match.start() <= when[1][0] or when[1][0] < match.end():
        return
    said.judge(match)
    first, second = ([known[day] for day in days if day in known] for _, days in when)
    if len(first) == len(second) == 1 and ((first <= second) if match.group("up") else (first >= second)):
        yield "trend", f"{match.group(0)!r} is the wrong way round"


_PICTURES = compiled(
    r"\b(?P<count>two|three|four|five|six|seven|eight|nine|ten|\d+) (?:(?:cloud-free|clear|optical|radar|satellite|SAR|"
    r"Sentinel-[12]|S[12]|Landsat) )*(?:images|dates|scenes|pictures|acquisitions|observations)\b",
    re.I,
)


def _pictures(said: Said) -> Iterable[Claim]:
    """``three radar dates``: there are no more than that."""
    for match in _PICTURES.finditer(said.text):
        known = {d.day for d in dates_of_sensor(match.group(0), said.reading)}
        if value_of(match.group("count")) > len(known):
            yield "number", f"{match.group(0)!r}, but there are {len(known)}"


_APART = compiled(
    r"\b(?P<count>an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d+) "
    r"(?P<unit>day|week|month|year)s? (?:apart|later|earlier)\b",
    re.I,
)
_DAYS = {"day": 1.0, "week": 7.0, "month": 30.4, "year": 365.25}


def _apart(said: Said) -> Iterable[Claim]:
    """``four months later``: two dates of a sensor lie so far apart."""
    for match in _APART.finditer(said.text):
        days = [date.fromisoformat(d.day[:10]).toordinal() for d in dates_of_sensor(said.text, said.reading)]
        unit, count = _DAYS[match.group("unit").lower()], match.group("count").lower()
        told = unit * (1.0 if count.startswith("a") else value_of(count))
        if not any(abs(abs(a - b) - told) <= max(0.4 * unit, 0.1 * told) for a, b in combinations(days, 2)):
            yield "number", f"{match.group(0)!r} is not how far two dates lie apart"


_MULTIPLE = compiled(
    r"\b(?:(?P<more>more than|over) )?(?:(?P<two>doubled?)|(?P<three>tripled?|trebled?)|(?P<half>halved?))\b", re.I
)
NEAR = 1.2
"""A multiple may be off by this ratio."""


def _multiple(said: Said) -> Iterable[Claim]:
    """``mean NDVI doubled``."""
    match = _MULTIPLE.search(said.text)
    known = _levels(said) if match else []
    if match is None or len(known) < 2 or not known[0][1] > 0:
        return
    ratio = known[-1][1] / known[0][1]
    wanted = 2.0 if match.group("two") else 3.0 if match.group("three") else 0.5
    holds = ratio > wanted if match.group("more") else wanted / NEAR <= ratio <= wanted * NEAR
    if not holds:
        yield "trend", f"{match.group(0)!r} is not by how much it changed"


_BETWEEN = compiled(r"\b(?:between|from)\b[^.;]*\b(?:and|to|until)\b", re.I)
_GREW = compiled(r"\b(?:rose|fell|grew|greened|thinned|increased|decreased|dropped|declined|gained|lost)\b", re.I)


def _order(said: Said) -> Iterable[Claim]:
    """``between July and March``, where March was first: what rose would have fallen."""
    if not (_BETWEEN.search(said.text) and _GREW.search(said.text)):
        return
    seen = {d.day for d in said.reading.dates}
    when = [days & seen for _, days in moments(said.text, said.reading)]
    if len(when) == 2 and all(len(days) == 1 for days in when) and min(when[0]) > min(when[1]):
        yield "trend", "the later date is named first"


_RADAR = compiled(r"\b(?P<name>V[VH])\b|\bbackscatter\b")


def _series(said: Said) -> list[dict[str, float]]:
    """ISO day -> mean of the index, or backscatter in dB, that a sentence speaks of, for each modality that has it on
    two dates or more.
    """
    index, radar = _INDEX.search(said.text), _RADAR.search(said.text)
    if index is None and radar is None:
        return []
    name = f"index.{(index.group('name') or 'ndvi').lower()}" if index else "sar.vv"
    if radar is not None:
        name = f"sar.{(radar.group('name') or 'vv').lower()}"
    found: dict[str, dict[str, float]] = {}
    for one in dates_of_sensor(said.text, said.reading):
        if name in one.values:
            found.setdefault(one.tag.split(".")[0], {})[one.day] = float(one.values[name])
    return [days for days in found.values() if len(days) > 1]


_STEADY = compiled(
    r"\b(?:remained|stayed|was|were|is|are) (?:\w+ )?(?:the same|unchanged|stable|constant|steady)\b"
    r"|\b(?:hardly|barely|scarcely) (?:changed|moved|varied)\b",
    re.I,
)
HARDLY, HARDLY_DB = 0.05, 0.5
"""An index, or backscatter, that moved by less may be called unchanged."""


def _steady(said: Said) -> Iterable[Claim]:
    """``mean NDVI remained the same``, ``VV hardly changed``: from first to last date, or between those named."""
    match = _STEADY.search(said.text)
    series = _series(said) if match else []
    if match is None or not series or "nearly" in match.group(0):
        return
    said.judge(match)
    when = [days for _, days in moments(said.text, said.reading)]
    limit = HARDLY_DB if _RADAR.search(said.text) else HARDLY
    moved = []
    for known in series:
        told = [value for day, value in sorted(known.items()) if len(when) != 2 or day in when[0] | when[1]]
        moved += [abs(told[-1] - told[0])] if len(told) > 1 else []
    if not moved or min(moved) > limit:
        yield "trend", f"{match.group(0)!r}, but it moved by {min(moved, default=0.0):.2f}"


_EXTREME = compiled(
    r"\b(?:(?P<up>highest|greatest|greenest|peaked|peaks(?= (?:in|on)\b))|lowest|least green|bottomed out)\b", re.I
)


def _extreme(said: Said) -> Iterable[Claim]:
    """``mean NDVI was lowest in December``, ``NDVI peaked in summer``: of all dates of one modality."""
    match = _EXTREME.search(said.text)
    if match is None or _GROUND_HEIGHT.search(said.text):
        return
    when, series = moments(said.text, said.reading), _series(said)
    if len(when) != 1 or not series:
        return
    said.judge(match)
    best = [(max if match.group("up") else min)(known, key=known.__getitem__) for known in series]
    if not any(day in when[0][1] for day in best):
        yield "trend", f"{match.group(0)!r} is another date"


_MOST_MOVED = compiled(r"\b(?:strongest|most (?:pronounced|marked|widespread)) (?:in|along) (?:the )?$", re.I)
_MOVES = (
    (compiled(r"\b(?:green(?:ing|ed)|gains?|increase)\b", re.I), ".greener.place"),
    (compiled(r"\b(?:thinn(?:ing|ed)|browning|loss(?:es)?|decline|decrease)\b", re.I), ".barer.place"),
)


def _moved_most(said: Said) -> Iterable[Claim]:
    """``greening was strongest in the south``: most of the ground that greened lies there."""
    for place in find_places(said.text):
        match = _MOST_MOVED.search(said.text[: place.start])
        ends = [end for words, end in _MOVES if words.search(said.text)] if match else []
        if match is None or len(ends) != 1 or said.mentions:
            continue
        said.judge(match)
        facts = [f for f in said.reading.sheet.facts if f.kind == "change" and f.fact_id.endswith(ends[0])]
        if not any(tells(fact, place) for fact in facts):
            yield "place", f"{place.text!r} is not where most of it lies"


_GROUND_HEIGHT = compiled(
    r"\b(?:terrain|elevations?|altitudes?|relief|above sea level|metres high|m high)\b"
    r"|\b(?:ground|land) (?:rises|falls|slopes|lies (?:at|between)|climbs|drops)\b",
    re.I,
)


_HEIGHT_OF = {
    "mean": compiled(r"\b(?:average|mean)\b", re.I),
    "low": compiled(r"\b(?:lowest|minimum)\b", re.I),
    "high": compiled(r"\b(?:highest|maximum|peak|summit)\b", re.I),
    "relief": compiled(r"\b(?:relief|difference)\b", re.I),
}
"""Words for which height of the ground a figure tells."""


def _heights(said: Said) -> Iterable[Claim]:
    """``the terrain rises to 300 m``: heights are those of the ground, not the sides of the scene."""
    match = _GROUND_HEIGHT.search(said.text)
    facts = {name: said.reading.by_id.get(f"terrain.{name}") for name in _HEIGHT_OF}
    values = {name: float(fact.value) for name, fact in facts.items() if fact is not None}
    if match is None or not values or said.mentions or re.search(r"\b(?:wide|long|length|size)\b", said.text, re.I):
        return
    numbers = [number for number in find_numbers(said.text) if number.kind == "length"]
    named = _named_heights(said, numbers)
    for number in numbers:
        name = named.get(number.start)
        if not any(number.allows(value) for value in ([values[name]] if name in values else values.values())):
            yield "number", f"{number.text!r} is no height of the ground"


def _named_heights(said: Said, numbers: Sequence[Number]) -> dict[int, str]:
    """First character of a figure -> which height a word says it is: in turn where there are as many words as figures
    (``the highest point is at 380 m, the lowest at 300 m``), else of a word the figure that is nearest to it.
    """
    words = [(match, name) for name, pattern in _HEIGHT_OF.items() for match in pattern.finditer(said.text)]
    words.sort(key=lambda word: word[0].start())
    found = {}
    for place, (match, name) in enumerate(words if numbers else ()):
        said.judge(match)

        def away(number: Number, match: re.Match[str] = match) -> int:
            return max(number.start - match.end(), match.start() - number.end)

        number = numbers[place] if len(words) == len(numbers) else min(numbers, key=away)
        found[number.start] = name
    return found


_LIES_HIGH = compiled(
    r"\b(?:(?P<up>high(?:er|est)|rises|climbs|ascends|uphill)"
    r"|(?P<down>low(?:er|est)|falls|slopes? (?:down(?:wards?)?|(?=to(?:wards)? ))|dips|drops|descends))\b"
    r"(?! (?:half|part|quarter|edge|third|left|right))",
    re.I,
)
_OF_GROUND = compiled(r"\b(?:ground|terrain|land|slopes?|elevations?|altitudes?|relief)\b|\bthan the\b", re.I)
_OF_SHARES = compiled(r"\b(?:shares?|proportions?|percentage|coverage|ND[VWB]I|index|backscatter)\b", re.I)
_OPPOSITE = {"n": "s", "s": "n", "e": "w", "w": "e"}


def sides_of_slope(text: str, reading: Reading) -> tuple[str, ...]:
    """Regions of the higher and the lower side where a sentence tells how the ground lies: its rules know these."""
    side = reading.by_id.get("terrain.higher")
    if side is None or not _LIES_HIGH.search(text) or not _OF_GROUND.search(text) or _OF_SHARES.search(text):
        return ()
    high = str(side.value).split("-")[0]
    return high, _OPPOSITE[high]


def _higher(said: Said) -> Iterable[Claim]:
    """``the south lies higher than the north``, ``the ground falls to the south``."""
    match, places = _LIES_HIGH.search(said.text), find_places(said.text)
    relief, side = (said.reading.by_id.get(f"terrain.{name}") for name in ("relief", "higher"))
    if not match or not places or said.mentions or relief is None:
        return
    if _OF_SHARES.search(said.text) or not _OF_GROUND.search(said.text):
        return
    said.judge(match)
    for than in re.finditer(r"\bthan\b", said.text):
        said.judge(than)
    high = "" if side is None else str(side.value).split("-")[0]
    told = places[0]
    if re.search(r"\bthan\b", said.text[: told.start], re.I):
        return  # only what it is compared with is named as a place
    if len(places) == 2 and re.search(r"\bfrom\b", said.text, re.I):  # "rises from the south to the north"
        told = places[1]
    low = "".join(_OPPOSITE.get(letter, "") for letter in high)
    up = match.group("up") is not None
    if len(places) == 1 and re.search(r"\bfrom (?:the )?$", said.text[: told.start], re.I):
        up = not up  # "falls from the north"
    right = high if up else low
    if float(relief.value) < 1.0 or not right or right not in told.region:
        why = f"the higher ground lies in the {high!r}" if high else "no side is higher than the other"
        yield "terrain", f"{match.group(0)!r}, but {why}"


_GENTLE = compiled(r"\bgentle slopes?\b|\bslopes? (?:is|are) (?:\w+ )?gentle\b|\bgently (?:sloping|rolling)\b", re.I)
GENTLE_DEGREES = 8.0
"""Steeper ground is not called gentle."""


def _gentle(said: Said) -> Iterable[Claim]:
    """``a gentle slope``."""
    match, slope = _GENTLE.search(said.text), said.reading.by_id.get("terrain.slope")
    if match and slope is not None and float(slope.value) > GENTLE_DEGREES:
        yield "terrain", f"{match.group(0)!r}, but it slopes by {float(slope.value):.0f} degrees"


_CHANGED = compiled(
    r"\s+(?:\w+ly )?(?:grew|expanded|shrank|receded|retreated|advanced|disappeared|vanished|encroached)\b"
    r"(?! (?:over|across|throughout|out|in|along|at|on|denser|greener|sparser)\b)"
    r"|\s+(?:(?:has|have|had) (?:been )?|was |were |is |are )(?:\w+ly )?(?:being )?"
    r"(?:expanded|grown|shrunk|shrunken|receded|retreated|advanced|spread|cleared|felled|replaced|converted|disappeared|"
    r"vanished|lost|reclaimed|drained|abandoned|planted|encroached|flooded(?! vegetation)|inundated|submerged|"
    r"harvested|mown|mowed|ploughed|plowed|burnt|burned|sown|logged)\b(?! (?:over|across|throughout|out|in|along)\b)",
    re.I,
)


def _came_or_went(said: Said) -> Iterable[Claim]:
    """``the forest was cleared``: covers are known of one time alone."""
    for one in said.mentions:
        match = _CHANGED.match(said.text, one.end)
        if match and said.classes_of(one.concept):
            yield "trend", f"{match.group(0).strip()!r} is told by no fact"
