"""Single map features, for texts about one of them: which they are, what their tags mean, how they lie in the chip.

The rules of what is an area follow OpenStreetMap's table of polygon features (wiki, Key:area and iD's area keys);
meanings and the size at which a thing can be seen stand in ``tag_meanings.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from rasterio.features import rasterize
from shapely import box
from shapely.geometry.base import BaseGeometry

from captioners.facts_osm import clip
from captioners.geometry_words import (
    edges_touched,
    longest_line,
    orientation_word,
    position_word,
    shape_word,
    sinuosity,
    sinuosity_word,
)
from schemas.facts import Fact
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.osm_seen import is_hidden
from schemas.shipped import shipped_table

MAX_ELEMENTS = 30
"""So many areas and so many lines have facts: the largest and the longest."""
_AREA_KEYS = frozenset(
    {
        "area", "building", "building:part", "landuse", "amenity", "leisure", "place", "shop", "tourism", "historic",
        "public_transport", "office", "military", "ruins", "area:highway", "craft", "golf", "indoor",
    }
)  # fmt: skip
"""Any value but ``no`` makes a closed way of these an area."""
_AREA_ONLY = {
    "highway": {"services", "rest_area", "escape", "elevator"},
    "waterway": {"riverbank", "dock", "boatyard", "dam"},
    "barrier": {"city_wall", "ditch", "hedge", "retaining_wall", "wall", "spikes"},
    "railway": {"station", "turntable", "roundhouse", "platform"},
    "power": {"plant", "substation", "generator", "transformer"},
}
"""Only these values do."""
_AREA_BUT = {
    "natural": {"coastline", "cliff", "ridge", "arete", "tree_row"},
    "man_made": {"cutline", "embankment", "pipeline"},
    "aeroway": {"taxiway"},
}
"""Any value but these and ``no`` does."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a tag says of a place."""

    noun: str
    """How a sentence names it, without article."""
    words: str
    """What it is, in our words."""
    visible_m: float
    """Largest pixel in metres at which it can be made out; 0: it cannot be seen."""


@dataclass(frozen=True, slots=True)
class MapElement:
    """One feature of the map, clipped to the chip."""

    osm_id: str
    """``way/123``."""
    form: str
    """area or line."""
    tags: tuple[tuple[str, str], ...]
    """Tags with a meaning in the table, the telling one first."""
    noun: str
    """How a sentence names it."""
    area_fraction: float
    """Part of the chip it covers; 0 for a line."""
    length_m: float
    """Length inside the chip; 0 for an area."""
    clipped: bool
    """Whether it goes on beyond the chip."""
    visible_m: float
    """Largest pixel at which it can be made out."""
    facts: tuple[str, ...]
    """Ids of its facts."""

    @staticmethod
    def of(values: Mapping[str, Any]) -> MapElement:
        """From plain values."""
        known = dict(values)
        known["tags"] = tuple((str(key), str(value)) for key, value in known["tags"])
        known["facts"] = tuple(known["facts"])
        return MapElement(**known)

    @property
    def head(self) -> str:
        """What the ids of its facts begin with."""
        return f"element.{self.osm_id.replace('/', '-')}"


@cache
def meanings() -> Mapping[str, Meaning]:
    """``key=value`` -> meaning."""
    table = shipped_table("captioners", "tag_meanings.yaml")
    return {
        f"{key}={value}": Meaning(row["noun"], row["words"], float(row["visible_m"]))
        for key, values in table.items()
        for value, row in values.items()
    }


def told_tags(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Tags that have a meaning, the most visible one first; names, sources, notes and addresses have none."""
    known = meanings()
    found = [(key, value) for key, value in tags.items() if f"{key}={value}" in known]
    return tuple(sorted(found, key=lambda tag: (-known[f"{tag[0]}={tag[1]}"].visible_m, tag)))


def is_area_feature(feature: Feature) -> bool:
    """Whether it is an area by OSM's table: a polygon by its geometry (so its ring is closed) and by its tags."""
    tags = feature.tags
    if "Polygon" not in feature.geometry.geom_type or tags.get("area") == "no":
        return False
    if feature.feature_id.startswith("relation/"):
        return True  # a multipolygon
    return (
        any(key in tags and tags[key] != "no" for key in _AREA_KEYS)
        or any(tags.get(key) in values for key, values in _AREA_ONLY.items())
        or any(key in tags and tags[key] not in (values | {"no"}) for key, values in _AREA_BUT.items())
    )


def find_elements(table: FeatureTable, georef: GeoRef) -> tuple[tuple[MapElement, ...], tuple[Fact, ...]]:
    """The map's areas, the largest first, then its lines, the longest first, with facts; boundaries are left out, and
    what is hidden or gone.

    Lengths and areas are measured in the chip's UTM zone.
    """
    rows = []
    for feature in table.features:
        if "admin_level" in feature.tags or "boundary" in feature.tags:
            continue
        if is_hidden(feature.tags, table.extract_date[:10]):
            continue
        tags = told_tags(feature.tags)
        area = is_area_feature(feature)
        if not tags or not (area or "Line" in feature.geometry.geom_type):
            continue
        part = clip(feature.geometry, georef.bounds_xyxy, "area" if area else "line", georef.pixel_size)
        if part is not None:
            rows.append((feature, tags, area, part))
    areas = sorted((r for r in rows if r[2]), key=lambda r: (-round(r[3].area, 3), r[0].feature_id))[:MAX_ELEMENTS]
    lines = sorted((r for r in rows if not r[2]), key=lambda r: (-round(r[3].length, 3), r[0].feature_id))
    elements: list[MapElement] = []
    facts: list[Fact] = []
    for feature, tags, area, part in (*areas, *lines[:MAX_ELEMENTS]):
        one, about = _element(feature, tags, area, part, georef, table)
        elements.append(one)
        facts += about
    return tuple(elements), tuple(facts)


def _element(
    feature: Feature,
    tags: tuple[tuple[str, str], ...],
    area: bool,
    part: BaseGeometry,
    georef: GeoRef,
    table: FeatureTable,
) -> tuple[MapElement, list[Fact]]:
    first = meanings()[f"{tags[0][0]}={tags[0][1]}"]
    left, bottom, right, top = georef.bounds_xyxy
    head = f"element.{feature.feature_id.replace('/', '-')}"
    source = f"{table.source} {feature.feature_id} {table.extract_date}".strip()

    def make(name: str, value: float | int | str, unit: str) -> Fact:
        return Fact(f"{head}.{name}", "element", first.noun, value, unit, "chip", source)

    def place(x: float, y: float) -> str:
        return position_word((x - left) / (right - left), (top - y) / (top - bottom))

    facts = [make("tag", f"{tags[0][0]}={tags[0][1]}", "tag")]
    fraction = 0.0
    if area:
        fraction = float(part.area) / ((right - left) * (top - bottom))
        centre = part.centroid
        facts += [
            make("area", round(float(part.area), 1), "m2"),
            make("share", round(100.0 * fraction, 4), "percent"),
            make("position", place(centre.x, centre.y), "position"),
        ]
        word = polygon_shape(part, georef)
        facts += [make("shape", word, "word")] if word else []
    else:
        facts.append(make("length", round(float(part.length), 1), "m"))
        line = longest_line(part)
        if line is not None:
            ends = [line.coords[0], line.coords[-1]]
            words = [place(x, y) for x, y, *_ in ends]
            facts += [make("start", words[0], "position"), make("end", words[1], "position")]
            curve = sinuosity_word(sinuosity(line))
            facts += [make("form", curve, "word")] if curve else []
            dx, dy = ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]
            if float(np.hypot(dx, dy)) > 0.1 * (right - left):
                facts.append(make("axis", orientation_word(float(np.degrees(np.arctan2(dx, dy)))), "axis"))
    edges = edges_touched(part, georef.bounds_xyxy)
    clipped = not box(left, bottom, right, top).covers(feature.geometry)
    facts += [make("edges", edges, "edges")] if edges and clipped else []
    one = MapElement(
        osm_id=feature.feature_id, form="area" if area else "line", tags=tags, noun=first.noun,
        area_fraction=fraction, length_m=0.0 if area else float(part.length), clipped=clipped,
        visible_m=first.visible_m, facts=tuple(fact.fact_id for fact in facts),
    )  # fmt: skip
    return one, facts


def polygon_shape(part: BaseGeometry, georef: GeoRef) -> str:
    """Shape word of an area, from its pixels on the chip's grid; empty where it is small or no word fits."""
    from affine import Affine

    mask = rasterize([(part, 1)], georef.shape_yx, transform=Affine(*georef.transform), dtype=np.uint8) > 0
    return shape_word(mask) if int(mask.sum()) >= 30 else ""


MASS = frozenset(
    {
        "farmland", "grassland", "scrub", "heath", "bare rock", "sand", "scree", "allotment gardens", "railway ground",
        "military ground", "university grounds", "sewage works",
    }
)  # fmt: skip
"""Nouns that take no article."""


def with_article(noun: str) -> str:
    """The noun with the article that it needs."""
    if noun in MASS:
        return noun
    return f"{'an' if noun[0] in 'aeio' or noun.startswith('under') else 'a'} {noun}"
