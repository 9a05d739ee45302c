"""Which date a figure or a season of a sentence belongs to: what was measured on another one does not bear it out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from captioners.gated import compiled
from captioners.mentions import Place
from captioners.quantities import Number, find_numbers, is_day
from captioners.reading import DateReading, Reading
from schemas.facts import Fact

_DAY = compiled(r"\.(\d{4}-\d\d-\d\d)$")
"""Ending of the id of what was measured on a day."""
_MOVED = compiled(
    r"\b(?:from|since|until|between|by|than|rose|risen|rises?|fell|fallen|falls?|grew|grown|gain(?:ed)?|lost|loss|"
    r"increased?|decreased?|dropped|declined?|climbed|sank)\b",
    re.I,
)
"""Words of a sentence that goes from one date to another: the one that it names need not be that of its figure."""
_SEASON = compiled(
    r"\b(?:in|that|during|mid-|the|of) ?(?:the |late |early |mid-)?(?P<season>spring|summer|autumn|winter)\b", re.I
)

Moment = tuple[int, frozenset[str]]
"""First character of the words for a date or a season, and the ISO days that they may mean."""


def moments(text: str, reading: Reading) -> list[Moment]:
    """Dates and seasons that a sentence names and the facts know, in order; told twice in a row they count once."""
    found: list[Moment] = [
        (number.start, frozenset(day for day in reading.days if is_day(number.text, day)))
        for number in find_numbers(text)
        if number.kind == "date" and not number.text.isdigit()  # a year alone parts no dates
    ]
    for match in _SEASON.finditer(text):
        days = {d.day for d in reading.dates if d.values.get("season") == match.group("season").lower()}
        found.append((match.start(), frozenset(days)))
    ordered = sorted((moment for moment in found if moment[1]), key=lambda moment: moment[0])
    return [one for rank, one in enumerate(ordered) if not rank or not one[1] & ordered[rank - 1][1]]


_FROM_TO = compiled(r"\bfrom (?:[a-z]+ )?\S+ to (?:[a-z]+ )?$", re.I)


def days_of(number: Number, text: str, reading: Reading) -> frozenset[str]:
    """The days that a figure speaks of; empty where the sentence does not tell.

    One date and one figure of its kind belong together, and as many figures as dates in their order, unless two figures
    stand between the dates.
    """
    when = moments(text, reading)
    alike = [n for n in find_numbers(text) if n.kind == number.kind]
    if len(when) != len(alike) or not when or (len(when) == 1 and _MOVED.search(text)):
        return frozenset()
    order = "".join(kind for _, kind in sorted([*((at, "d") for at, _ in when), *((n.start, "n") for n in alike)]))
    if re.fullmatch(r"(?:nd)+|(?:dn)+|n+d+|d+n+", order) is None:
        return frozenset()
    if len(alike) == 2 and _FROM_TO.search(text[: alike[1].start]):  # the earlier value is told first, always
        when = sorted(when, key=lambda moment: min(moment[1]))
    return next((days for n, (_, days) in zip(alike, when, strict=True) if n.start == number.start), frozenset())


def told_then(cited: Sequence[Fact], number: Number, text: str, reading: Reading) -> list[Fact]:
    """The cited facts without those that were measured on another day than the figure's, or by another sensor."""
    days = days_of(number, text, reading)
    of_it = of_sensor(cited, text, reading)
    return [fact for fact in of_it if not days or (day := _DAY.search(fact.fact_id)) is None or day.group(1) in days]


def seasons_then(text: str, reading: Reading) -> set[str]:
    """Seasons of the one day that a sentence names; empty where it names none, or several."""
    named = [n for n in find_numbers(text) if n.kind == "date" and not n.text.isdigit()]
    if len(named) != 1:
        return set()
    days = [d for d in reading.dates if is_day(named[0].text, d.day)]
    return {str(d.values["season"]) for d in days if "season" in d.values}


_OPTICAL = compiled(r"\b(?:optical|multispectral|Sentinel-2|S2|Landsat|ND[VWB]I)\b", re.I)
_RADAR = compiled(r"\b(?:radar|SAR|Sentinel-1|S1|backscatter)\b", re.I)


def dates_of_sensor(text: str, reading: Reading) -> list[DateReading]:
    """The dates of the sort of sensor that a sentence names, optical or radar; all where it names none, or both."""
    wanted = [head for head, pattern in (("index.", _OPTICAL), ("sar.", _RADAR)) if pattern.search(text)]
    if len(wanted) != 1:
        return list(reading.dates)
    return [d for d in reading.dates if any(name.startswith(wanted[0]) for name in d.values)]


_SENSORS = {
    "s2": compiled(r"\b(?:Sentinel-2|S2)\b"),
    "s1": compiled(r"\b(?:Sentinel-1|S1)\b"),
    "landsat": compiled(r"\bLandsat\b"),
    "enmap": compiled(r"\bEnMAP\b"),
}
"""How the names of a sensor's modalities begin -> what people call it."""


_RADAR_SENSED = compiled(r"\b(?:radar|SAR|backscatter)\b")


def unknown_sensors(text: str, reading: Reading) -> list[str]:
    """Words for sensors, or for radar, that a sentence names and of which the sheet has no fact."""
    named = [(head, match) for head, pattern in _SENSORS.items() if (match := pattern.search(text))]
    found = [
        match.group(0) for head, match in named if not any(source.startswith(head) for source in reading.modalities)
    ]
    radar = _RADAR_SENSED.search(text)
    return [*found, radar.group(0)] if radar and not reading.has_radar else found


def of_sensor(cited: Sequence[Fact], text: str, reading: Reading) -> list[Fact]:
    """The cited facts without those of other sensors than the one that a sentence names; all where it names none, or
    several.
    """
    named = [head for head, pattern in _SENSORS.items() if pattern.search(text)]
    sources = {one.tag.split(".")[0] for one in reading.dates}
    if len(named) != 1 or not any(source.startswith(named[0]) for source in sources):
        return list(cited)
    others = {source for source in sources if not source.startswith(named[0])}
    return [fact for fact in cited if not others & set(fact.fact_id.split("."))]


_WAYS = {
    "greener": r"green(?:er|ed|ing)|denser|gain\w*|rose|grew",
    "barer": r"thinn\w*|barer|sparser|browned|lost|losing|less green|fell|declin\w*|decreas\w*|dropp\w*",
    "wetter": r"flood\w*|wetter|inundat\w*|under water|submerged",
    "drier": r"dried|drier|dry|reced\w*|withdrew",
}
_CLAUSE = compiled(r"[;,]|\b(?:while|whereas)\b")


def _ways_in(text: str) -> set[str]:
    return {name for name, words in _WAYS.items() if re.search(rf"\b(?:{words})\b", text, re.I)}


def told_way(cited: Sequence[Fact], told: Number | Place, text: str) -> list[Fact]:
    """The cited facts without those of ground that changed in another way than the clause of a figure or a place says,
    or the sentence, where it tells of one way alone.
    """
    start = max((m.end() for m in _CLAUSE.finditer(text, 0, told.start)), default=0)
    end = next((m.start() for m in _CLAUSE.finditer(text, told.end)), len(text))
    ways = _ways_in(text[start:end])
    if not ways and len(_ways_in(text)) == 1:
        ways = _ways_in(text)
    return [
        f
        for f in cited
        if not ways or f.kind != "change" or not (own := _WAYS.keys() & set(f.fact_id.split("."))) or own & ways
    ]
