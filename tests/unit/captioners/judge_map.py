"""The independent judge of texts about single map features: which one the rules choose, and what is said of it."""

from __future__ import annotations

import re

import numpy as np
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from schemas.labels import Feature
from schemas.text import TextRecord
from tests.unit.captioners.judge import SHARE, agrees, square_metres
from tests.unit.captioners.judge_pointed import NINTHS
from tests.unit.captioners.worlds import World

NOUNS = {
    ("landuse", "residential"): "residential area", ("landuse", "farmland"): "farmland",
    ("natural", "water"): "body of water", ("leisure", "park"): "park", ("landuse", "forest"): "forest",
    ("waterway", "river"): "river", ("highway", "secondary"): "secondary road",
    ("building", "yes"): "building", ("water", "lake"): "lake",
}  # fmt: skip
SEEN_AT_10_M = {
    "residential area", "farmland", "body of water", "lake", "park", "forest", "river", "secondary road", "building",
}  # fmt: skip


def parts(world: World) -> list[tuple[Feature, BaseGeometry]]:
    frame = box(*world.georef.bounds_xyxy)
    found = []
    for feature in world.features.features:
        part = feature.geometry.intersection(frame)
        if "boundary" not in feature.tags and not part.is_empty and (part.area > 1e-6 or part.length > 1e-6):
            found.append((feature, part))
    return found


def judge_element(world: World, row: TextRecord) -> list[str]:
    """RSTeller: the largest area of a tenth of the chip or more, or the best of the three longest lines."""
    (identifier,) = {fact.split(".")[1].replace("-", "/", 1) for fact in row.facts}
    feature, part = next(pair for pair in parts(world) if pair[0].feature_id == identifier)
    frame = box(*world.georef.bounds_xyxy)
    wrong = []
    if "Polygon" in feature.geometry.geom_type:
        largest = max(p.area for f, p in parts(world) if "Polygon" in f.geometry.geom_type)
        if part.area < 0.1 * frame.area or part.area < largest - 1e-6:
            wrong.append(f"{identifier} is not the largest area, or under a tenth")
        area = re.search(r"[\d.,]+ (?:m²|ha|km²)", row.text)
        assert area is not None
        value, slack = square_metres(area.group(0))
        wrong += [] if abs(value - part.area) <= slack + 0.1 else [f"{area.group(0)}, in truth {part.area}"]
        share = SHARE.search(row.text)
        wrong += [] if share is None or agrees(share, 100 * part.area / frame.area) else [share.group(0)]
        place = re.search(
            r"\bin the (north-west|north-east|south-west|south-east|north|south|east|west|centre)\b", row.text, re.I
        )
        assert place is not None, row.text
        wrong += (
            [] if ninth(world, part.centroid.x, part.centroid.y) == NINTHS[place.group(1).lower()] else [place.group(0)]
        )
    else:
        length = re.search(r"([\d.,]+) (k?m)\b", row.text)
        assert length is not None
        told = float(length.group(1)) * (1000 if length.group(2) == "km" else 1)
        wrong += [] if abs(told - part.length) <= (50.1 if length.group(2) == "km" else 5.1) else [length.group(0)]
        ends = (
            [feature.geometry.intersection(frame).coords[i] for i in (0, -1)] if part.geom_type == "LineString" else []
        )
        words = re.findall(
            r"\b(north-west|north-east|south-west|south-east|north|south|east|west|centre)\b", row.text, re.I
        )
        truth = {ninth(world, *end[:2]) for end in ends}
        wrong += [] if not ends or {NINTHS[w.lower()] for w in words} <= truth else [f"{words} {truth}"]
    noun = {NOUNS[item] for item in feature.tags.items() if item in NOUNS}
    wrong += [] if any(one in row.text.lower() for one in noun) else [f"names none of {noun}"]
    beyond = bool(re.search(r"beyond the edge|outside the scene|past the edge", row.text))
    wrong += [] if beyond == (not frame.covers(feature.geometry)) else ["beyond the edge"]
    return wrong + [f"leaks {word}" for word in ("Ignore", "tiger", "survey", "maize") if word in row.text]


def ninth(world: World, x: float, y: float) -> tuple[int, int]:
    left, bottom, right, top = world.georef.bounds_xyxy
    row, column = (
        int(np.clip((top - y) / (top - bottom) * 3, 0, 2)),
        int(np.clip((x - left) / (right - left) * 3, 0, 2)),
    )
    return row, column


def judge_title(world: World, row: TextRecord) -> list[str]:
    """SkyScript: every thing named is on the map, large enough, and to be made out at 10 m."""
    named = {noun for noun in SEEN_AT_10_M if re.search(rf"\b{noun}\b", row.text.lower())}
    there = {
        NOUNS[item]
        for feature, part in parts(world)
        for item in feature.tags.items()
        if item in NOUNS and (part.area >= 9 * 100 or ("Line" in part.geom_type and part.length >= 100))
    }
    return [] if named and named <= there else [f"{row.text!r}: there is {there}"]
