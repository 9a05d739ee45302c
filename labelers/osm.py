"""OpenStreetMap: features with tags in, classes of legend ``osm`` out.

The rule at every GSD: a pixel takes the class of what covers its centre, so that shares of area stay true. Lines are
buffered by half their width first; lines narrower than half a pixel are not painted, nor what a pixel of this size does
not show (``visible``). In each step of the order the higher ``layer`` lies on top. Where nothing is mapped the layer is
no data: absence is no evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import GeometryType
from shapely.geometry.base import BaseGeometry

from schemas.georef import GeoRef
from schemas.labels import FeatureTable, LabelLayer
from schemas.legend import load_legend
from schemas.licences import is_share_alike
from schemas.osm_seen import ANY, is_hidden, matches
from schemas.shipped import shipped_table

PLAUSIBLE_WIDTH_M = (0.5, 100.0)
AREAS = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)
LINES = (GeometryType.LINESTRING, GeometryType.MULTILINESTRING)


class _Stroke(NamedTuple):
    """How one feature is painted."""

    step: int
    """Place in the order of painting."""
    code: int
    """Class code of the legend."""
    level: float
    """The feature's ``layer``."""
    width_m: float
    """Of a line; 0 of an area."""


class Painted(NamedTuple):
    """What one feature puts on the grid."""

    step: int
    """Place in the order of painting."""
    code: int
    """Class code of the legend."""
    geometry: BaseGeometry
    """Area to fill."""
    level: float
    """The feature's ``layer``."""
    area_m2: float
    """Of the geometry."""


@dataclass(frozen=True, slots=True)
class AreaRule:
    """Areas with one of these tags are this class."""

    class_name: str
    """Class of legend ``osm``."""
    values: Mapping[str, tuple[str, ...]]
    """Key -> values, or ``any``."""
    unless: Mapping[str, tuple[str, ...]]
    """Key -> values with which the rule does not hold."""

    def holds(self, tags: Mapping[str, str]) -> bool:
        """Whether a feature with these tags falls under the rule."""
        return _has_one(tags, self.values) and not _has_one(tags, self.unless)


@dataclass(frozen=True, slots=True)
class LineRule:
    """Lines with one of these tags are this class, so wide."""

    class_name: str
    """Class of legend ``osm``."""
    width_m: Mapping[str, Mapping[str, float | None]]
    """Key -> value (or ``any``) -> width in metres; None of what is not this class."""
    unless: Mapping[str, tuple[str, ...]]
    """Key -> values with which a line is not painted; a network has it all the same."""

    def width_of(self, tags: Mapping[str, str]) -> float | None:
        """Width in metres of a line with these tags; None where the rule does not hold."""
        if _has_one(tags, self.unless):
            return None
        for key, widths in self.width_m.items():
            if tags.get(key, "no") != "no":
                width = widths.get(tags[key], widths.get(ANY))
                if width is not None:
                    return _tagged_width(tags) or width
        return None


@dataclass(frozen=True, slots=True)
class Visible:
    """What of a class a pixel shows."""

    max_gsd_m: float
    """Coarsest GSD at which it is painted."""
    min_area_m2: float
    """Smaller areas are not painted."""


@dataclass(frozen=True)
class OsmRules:
    """The table ``osm_rules.yaml``."""

    version: str
    """Version of the table: part of the label's inputs."""
    areas: tuple[tuple[AreaRule, ...], ...]
    """Groups in the order of painting; inside a group larger areas come first."""
    lines: tuple[LineRule, ...]
    """After the areas."""
    top: tuple[AreaRule, ...]
    """Areas over everything."""
    visible: Mapping[str, Visible]
    """Class -> what of it a pixel shows; of every class that a rule names."""
    min_width_pixels: float
    """Narrower lines are not painted."""

    @cached_property
    def area_keys(self) -> frozenset[str]:
        """Keys that the rules of areas look at."""
        groups = (*self.areas, self.top)
        return frozenset(key for group in groups for rule in group for key in (*rule.values, *rule.unless))

    def has_line(self, key: str, tags: Mapping[str, str]) -> bool:
        """Whether a line is one of a key's class: a dam, a platform, what is gone or planned is none."""
        widths = next(rule.width_m[key] for rule in self.lines if key in rule.width_m)
        return tags.get(key, "no") != "no" and widths.get(tags[key], widths.get(ANY)) is not None

    def shows(self, class_name: str, area_m2: float, pixel_m: float) -> bool:
        """Whether an area or a line of a class is painted on pixels of this size."""
        visible = self.visible[class_name]
        return pixel_m <= visible.max_gsd_m and area_m2 >= visible.min_area_m2


@cache
def load_rules() -> OsmRules:
    """The table of this version."""
    data: dict[str, Any] = shipped_table("labelers", "osm_rules.yaml")

    def tags_of(entry: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
        return {key: tuple(values) for key, values in entry.items()}

    def area_rule(entry: dict[str, Any]) -> AreaRule:
        name, unless = entry.pop("class"), tags_of(entry.pop("unless", {}))
        return AreaRule(name, tags_of(entry), unless)

    def line_rule(entry: dict[str, Any]) -> LineRule:
        name, unless = entry.pop("class"), tags_of(entry.pop("unless", {}))
        return LineRule(name, entry, unless)

    areas = tuple(tuple(area_rule(entry) for entry in group) for group in data["areas"])
    lines = tuple(line_rule(entry) for entry in data["lines"])
    top = tuple(area_rule(entry) for entry in data["top"])
    named = {rule.class_name for group in (*areas, top) for rule in group} | {rule.class_name for rule in lines}
    default = {key: data[key] for key in ("max_gsd_m", "min_area_m2")}
    if unknown := sorted(set(data["visible"]) - named):
        raise ValueError(f"osm_rules.yaml: visible names {unknown[0]!r}, which no rule paints")
    return OsmRules(
        version=data["version"],
        areas=areas,
        lines=lines,
        top=top,
        visible={name: Visible(**(default | data["visible"].get(name, {}))) for name in sorted(named)},
        min_width_pixels=data["min_width_pixels"],
    )


def tags_wanted() -> dict[str, bool]:
    """Keys that the rules look at, in the form that `sources.osm` and osmnx take: key -> every value."""
    rules = load_rules()
    keys = {key for group in (*rules.areas, rules.top) for rule in group for key in rule.values}
    keys |= {key for rule in rules.lines for key in rule.width_m}
    return dict.fromkeys(sorted(keys), True)


def _has_one(tags: Mapping[str, str], wanted: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether one of some keys has one of its values."""
    return any(matches(tags, key, values) for key, values in wanted.items())


def _level(tags: Mapping[str, str]) -> float:
    """The tag ``layer`` as a number: what lies higher is painted later; 0 where it tells none."""
    try:
        level = float(tags.get("layer", "0"))
    except ValueError:
        return 0.0
    return level if -20 <= level <= 20 else 0.0


class OsmLabeler:
    """Paints features by the rules of ``osm_rules.yaml``."""

    def __init__(self, legend: str = "osm") -> None:
        self.legend = load_legend(legend)
        self.rules = load_rules()
        self._code_of = {entry.name: entry.code for entry in self.legend.classes}

    def label(self, layer: FeatureTable, georef: GeoRef) -> LabelLayer:
        """See `labelers.base.Labeler.label`."""
        if layer.epsg != georef.epsg:
            raise ValueError(f"{layer.source}: features in EPSG:{layer.epsg}, chip in EPSG:{georef.epsg}")
        painted = sorted(self.paint(layer, georef), key=lambda p: (p.step, p.level, -round(p.area_m2, 3)))
        nodata = self.legend.nodata[0]
        return LabelLayer(
            source=layer.source,
            classes=_burned(painted, georef, nodata),
            georef=georef,
            nodata=nodata,
            legend=self.legend.name,
            vintage=layer.extract_date[:10],
            licence=layer.licence,
            share_alike=is_share_alike(layer.licence),
        )

    def paint(self, table: FeatureTable, georef: GeoRef) -> list[Painted]:
        """What each feature near the grid puts on it, in the table's order."""
        reach = shapely.box(*georef.bounds_xyxy).buffer(PLAUSIBLE_WIDTH_M[1])
        shapely.prepare(reach)
        shapes = np.array([feature.geometry for feature in table.features], dtype=object)
        near = np.flatnonzero(shapely.intersects(reach, shapes))
        shapes, date = shapes[near], table.extract_date[:10]
        strokes = [
            None if is_hidden(tags, date) else self._stroke(tags, kind, area, georef.pixel_size)
            for tags, kind, area in zip(
                (table.features[position].tags for position in near.tolist()),
                shapely.get_type_id(shapes).tolist(),
                shapely.area(shapes).tolist(),
                strict=True,
            )
        ]
        shapes = shapes[[stroke is not None for stroke in strokes]]
        made = [stroke for stroke in strokes if stroke is not None]
        widths = np.array([stroke.width_m for stroke in made])
        lines = widths > 0
        shapes[lines] = shapely.buffer(
            shapes[lines], widths[lines] / 2, quad_segs=16, cap_style="flat", join_style="round"
        )
        return [
            Painted(stroke.step, stroke.code, geometry, stroke.level, area)
            for stroke, geometry, area in zip(made, shapes, shapely.area(shapes).tolist(), strict=True)
        ]

    def _stroke(self, tags: Mapping[str, str], kind: int, area_m2: float, pixel_m: float) -> _Stroke | None:
        rules = self.rules
        if kind in AREAS:
            for step, class_name in _areas_of(tuple((key, tags[key]) for key in tags if key in rules.area_keys)):
                if rules.shows(class_name, area_m2, pixel_m):
                    return _Stroke(step, self._code_of[class_name], _level(tags), 0.0)
        elif kind in LINES:
            for step, line_rule in enumerate(rules.lines, start=len(rules.areas)):
                width = line_rule.width_of(tags)
                is_wide = width is not None and width >= rules.min_width_pixels * pixel_m
                if width is not None and is_wide and rules.shows(line_rule.class_name, np.inf, pixel_m):
                    return _Stroke(step, self._code_of[line_rule.class_name], _level(tags), width)
        return None


@lru_cache(maxsize=4096)
def _areas_of(tags: tuple[tuple[str, str], ...]) -> tuple[tuple[int, str], ...]:
    """(step, class) of an area with these tags, the last step first: it would be painted over the others anyway. Of the
    rules of a step the last one that holds.
    """
    rules = load_rules()
    groups = [*enumerate(rules.areas), (len(rules.areas) + len(rules.lines), rules.top)]
    held = [(step, [rule for rule in group if rule.holds(dict(tags))]) for step, group in reversed(groups)]
    return tuple((step, found[-1].class_name) for step, found in held if found)


def _burned(painted: list[Painted], georef: GeoRef, nodata: int) -> NDArray[np.uint8]:
    """(H, W) codes: later ones cover earlier ones, a pixel belongs to what covers its centre."""
    shown = [p for p in painted if not p.geometry.is_empty]
    if not shown:
        return np.full(georef.shape_yx, nodata, dtype=np.uint8)
    burned: NDArray[np.uint8] = rasterize(
        zip(_documents([p.geometry for p in shown]), [p.code for p in shown], strict=True),
        georef.shape_yx,
        fill=nodata,
        transform=Affine(*georef.transform),
        all_touched=False,
        dtype=np.uint8,
    )
    return burned


def _documents(areas: list[BaseGeometry]) -> Iterator[dict[str, Any]]:
    """Areas as GeoJSON: rasterio asks each geometry for it, which costs several times as much as burning it."""
    _, places, (rings, parts, whole) = shapely.to_ragged_array([*areas, shapely.MultiPolygon()])
    xy = places.tolist()
    ring_list = [xy[a:b] for a, b in pairwise(rings.tolist())]
    part_list = [ring_list[a:b] for a, b in pairwise(parts.tolist())]
    for first, last in pairwise(whole.tolist()[:-1]):
        yield {"type": "MultiPolygon", "coordinates": part_list[first:last]}


def _tagged_width(tags: Mapping[str, str]) -> float | None:
    """Width in metres from the tag ``width``, where it is a plausible plain number."""
    text = tags.get("width", "").removesuffix("m").strip()
    try:
        width = float(text)
    except ValueError:
        return None
    low, high = PLAUSIBLE_WIDTH_M
    return width if low <= width <= high else None
