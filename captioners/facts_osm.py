"""Facts from map features: how many, how long, how large, where; kinds from ``osm_words.yaml``.

What the map holds is a fact; what it lacks is none: a kind that is absent from the map has no fact at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from shapely import box, clip_by_rect, make_valid, set_precision, unary_union
from shapely.geometry.base import BaseGeometry

from captioners.geometry_words import course, longest_line, sinuosity, sinuosity_word
from captioners.regions import PLACE_REGIONS, place_of, region_bounds
from schemas.facts import Fact
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.osm_seen import is_hidden
from schemas.shipped import shipped_table

MAX_NAME = 60
"""Longer names are cut: a name is data, not a place for prose."""
LEAST_PIXEL = 0.01
"""Part of a pixel to which the coordinates of a chip's map are rounded (``osm.json``)."""


@dataclass(frozen=True)
class Kind:
    """A kind of map feature."""

    name: str
    """Stands in fact ids."""
    singular: str
    """Noun for one."""
    plural: str
    """Noun for several; lines are measured, so theirs is a mass noun or plural."""
    form: str
    """line or area."""
    match: tuple[Mapping[str, tuple[str, ...]], ...]
    """Alternatives; each: every key must hold one of its values (``*``: any but ``no``)."""
    course: bool = False
    """Whether it is told from which edge to which edge it runs."""

    def fits(self, tags: Mapping[str, str]) -> bool:
        """Whether the tags make a feature of this kind."""
        return any(
            all(
                key in tags and (tags[key] in values or ("*" in values and tags[key] != "no"))
                for key, values in one.items()
            )
            for one in self.match
        )


@cache
def kinds() -> tuple[Kind, ...]:
    """The kinds of ``osm_words.yaml``; the first that fits a feature's tags is its kind."""
    table = shipped_table("captioners", "osm_words.yaml")
    return tuple(
        Kind(
            name=name,
            singular=row["singular"],
            plural=row["plural"],
            form=row["form"],
            match=tuple({key: tuple(values) for key, values in one.items()} for one in row["match"]),
            course=bool(row.get("course", False)),
        )
        for name, row in table["kinds"].items()
    )


def kind_of(feature: Feature) -> Kind | None:
    """Kind of a feature, None where no rule fits or its geometry has another form."""
    form = "line" if "Line" in feature.geometry.geom_type else "area" if "Polygon" in feature.geometry.geom_type else ""
    return next((kind for kind in kinds() if kind.form == form and kind.fits(feature.tags)), None)


def feature_facts(table: FeatureTable, georef: GeoRef, *, with_names: bool = False) -> list[Fact]:
    """Count, length, area and place of every kind of feature, clipped to the chip; of what is hidden or gone none.

    Raises:
        ValueError: the features lie in another CRS than the chip.
    """
    if table.epsg != georef.epsg:
        raise ValueError(f"features lie in EPSG:{table.epsg}, the chip in EPSG:{georef.epsg}")
    grouped: dict[str, list[BaseGeometry]] = {}
    names: dict[str, set[str]] = {}
    bounds = georef.bounds_xyxy
    for feature in table.features:
        kind = kind_of(feature)
        if kind is None or is_hidden(feature.tags, table.extract_date[:10]):
            continue
        clipped = clip(feature.geometry, bounds, kind.form, georef.pixel_size)
        if clipped is None:
            continue
        grouped.setdefault(kind.name, []).append(clipped)
        name = clean_name(feature.tags.get("name", ""))
        if name:
            names.setdefault(kind.name, set()).add(name)
    if not grouped:
        return []
    source = f"{table.source} {table.extract_date}".strip()
    facts = [Fact("osm.date", "date", table.source, table.extract_date, "date", "chip", source)]
    for kind in kinds():
        if kind.name in grouped:
            facts += _kind_facts(kind, grouped[kind.name], georef, source)
            if with_names:
                listed = " | ".join(sorted(names.get(kind.name, set()))[:5])
                if listed:
                    facts.append(Fact(f"osm.{kind.name}.names", "name", kind.singular, listed, "name", "chip", source))
    return facts


def _kind_facts(kind: Kind, geometries: list[BaseGeometry], georef: GeoRef, source: str) -> list[Fact]:
    """Facts of the clipped geometries of one kind."""
    union = unary_union(geometries)
    measure = float(union.length if kind.form == "line" else union.area)
    head, noun = f"osm.{kind.name}", kind.plural

    def make(name: str, value: Any, unit: str, region: str = "chip") -> Fact:
        return Fact(f"{head}.{name}", "osm", noun, value, unit, region, source)

    if kind.form == "line":
        facts = [make("length", round(measure, 1), "m")]
    else:
        facts = [make("count", len(geometries), "count"), make("area", round(measure, 1), "m2")]
    fractions = {region: _inside(union, region, georef, kind.form) / measure for region in PLACE_REGIONS}
    place = place_of(fractions)
    if place is not None:
        facts.append(make("place", place[0], "region"))
        facts.append(make("place.fraction", round(100.0 * min(1.0, place[1]), 4), "percent", place[0]))
    line = longest_line(union) if kind.course else None
    if line is not None:
        way = course(line, georef.bounds_xyxy)
        if way:
            facts.append(make("course", way, "edges"))
            word = sinuosity_word(sinuosity(line))
            facts += [make("course.form", word, "word")] if word else []
    return facts


def _inside(geometry: BaseGeometry, region: str, georef: GeoRef, form: str) -> float:
    """Length or area inside a region of the chip."""
    part = clip_by_rect(geometry, *region_bounds(region, georef.bounds_xyxy))
    return float(part.length if form == "line" else part.area)


def clip(
    geometry: BaseGeometry, bounds: tuple[float, float, float, float], form: str, pixel_m: float
) -> BaseGeometry | None:
    """The part inside the chip, None where nothing with a length or an area is left.

    What the chip's edge cuts down to less than a hundredth of a pixel is not left: a chip's own map does not hold it.
    """
    valid = geometry if geometry.is_valid else make_valid(geometry)
    frame = box(*bounds)
    part = valid.intersection(frame)
    kept = part if frame.covers(valid) else set_precision(part, pixel_m * LEAST_PIXEL)
    measure = kept.length if form == "line" else kept.area
    return part if measure > 1e-6 else None


def clean_name(name: str) -> str:
    """A name fit to be quoted: one line, no control characters, no quotes or brackets, at most `MAX_NAME` long.

    >>> clean_name("Rue de l'Église  'old'")
    "Rue de l'Église old"
    """
    plain = re.sub(r"(?<!\w)'|'(?!\w)", " ", name)  # an apostrophe inside of a word is one of its letters
    kept = "".join(c if c.isprintable() and c not in '"`<>{}[]|\\' else " " for c in plain)
    return " ".join(kept.split())[:MAX_NAME].strip()
