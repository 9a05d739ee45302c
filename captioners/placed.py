"""Whether a cover lies in a part of the scene, and whether a fact says so."""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, degrees, hypot

from captioners.mentions import Place
from captioners.reading import ClassReading, Reading
from captioners.regions import ALONG, CELLS, THIRDS, parts_of, short_of
from schemas.facts import Fact

APART = 0.08
"""Covers whose centres, told by a 3x3 grid, lie nearer in parts of the scene have no direction."""


def lies(reading: Reading, one: ClassReading, place: Place, strong: bool) -> bool:
    """Whether a class lies in a place: its greater part for strong words, its fair share for others."""
    if _compatible(one.place, place):
        return True
    part = _part(reading, one, place)
    if part is None:
        return False
    inside, area = part
    if place.form == "edge":
        return inside >= 0.5 or min(_cells(reading, one, THIRDS[ALONG[place.region]])) >= 40.0
    if strong:
        return inside >= 0.49 or _leads(reading, one, place.region)
    return inside >= 0.8 * area


def _leads(reading: Reading, one: ClassReading, region: str) -> bool:
    """Whether no other class has more of a part of the scene."""
    top = reading.by_id.get(f"dominant.{region}")
    if region not in THIRDS:
        return top is not None and top.subject == one.noun
    held = {c.code: sum(_cells(reading, c, THIRDS[region])) for c in reading.classes}
    return held[one.code] >= max(held.values())


def _cells(reading: Reading, one: ClassReading, cells: Sequence[str]) -> list[float]:
    return [reading.region_share(one.code, cell) or 0.0 for cell in cells]


def _part(reading: Reading, one: ClassReading, place: Place) -> tuple[float, float] | None:
    """(fraction of the class inside, fraction of the chip inside) of a place, from the region facts."""
    region = ALONG.get(place.region) if place.form == "edge" else place.region
    if region is None or one.share <= 0:
        return None
    cells, weight = parts_of(region)
    shares = [reading.region_share(one.code, cell) for cell in cells]
    if any(share is None for share in shares):
        return None
    return sum(s or 0.0 for s in shares) * weight / one.share, weight * len(cells)


def held_in(reading: Reading, classes: Sequence[ClassReading], place: Place) -> list[float]:
    """Percent of each of some classes, and of all together, that lies in a place; empty where the facts do not tell."""
    parts = [_part(reading, one, place) for one in classes]
    found = [(part[0], one.share) for part, one in zip(parts, classes, strict=True) if part is not None]
    whole = sum(share for _, share in found)
    each = [100.0 * inside for inside, _ in found]
    return [*each, 100.0 * sum(inside * share for inside, share in found) / whole] if whole else []


def tells(fact: Fact, place: Place) -> bool:
    """Whether a cited fact names this place in its own words."""
    value = str(fact.value)
    if fact.unit == "region":
        return _compatible(value, place)
    if fact.unit == "position":
        short = short_of(value)
        if place.region[0] in "rc":
            return place.region in CELLS[short]
        if place.form == "edge":
            return False  # what is centred in the north need not meet the northern edge
        return short == place.region or (len(place.region) == 1 and place.region in short and place.form == "")
    if fact.unit == "edges":
        return place.region in value
    return fact.unit == "axis" and place.text.lower().split()[0] in value


def _compatible(stored: str, place: Place) -> bool:
    """Whether a place that is a fact bears out a place that is named."""
    if not stored or stored == "spread":
        return False
    short = stored.split("-")[0]
    if place.form == "edge":
        return stored == f"{place.region}-edge"
    if place.form == "corner":
        return False
    if place.region[0] in "rc":  # an edge strip lies within the outer third
        return (
            stored.endswith("-edge")
            and place.region in (CELLS[short][:2], CELLS[short][2:])
            and "2" not in place.region
        )
    return short == place.region or (len(place.region) == 1 and place.region in short and short != "middle")


def centre_of(reading: Reading, code: int) -> tuple[float, float] | None:
    """(x, y) of a class in parts of the scene, x to the east, y to the south, by its shares of a 3x3 grid.

    None where these are no facts.
    """
    shares = {(x, y): reading.region_share(code, f"r{y + 1}c{x + 1}") for x in range(3) for y in range(3)}
    whole = sum(share or 0.0 for share in shares.values())
    if None in shares.values() or not whole:
        return None
    x, y = (sum((cell[axis] + 0.5) / 3 * (share or 0.0) for cell, share in shares.items()) / whole for axis in (0, 1))
    return x, y


def bearing_of(reading: Reading, code: int, seen_from: int) -> float | None:
    """Direction of a class from another in degrees clockwise from north, by their centres; None where the facts do not
    tell, or where both lie at about the same place.
    """
    here, there = centre_of(reading, seen_from), centre_of(reading, code)
    if here is None or there is None or hypot(there[0] - here[0], there[1] - here[1]) < APART:
        return None
    return degrees(atan2(there[0] - here[0], here[1] - there[1])) % 360.0
