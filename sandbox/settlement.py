"""Villages, roads and buildings of the landscape, as vectors in the truth's frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import shapely
import shapely.affinity
from scipy.spatial import Delaunay
from shapely.geometry import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry

from .place import Bounds


@dataclass(frozen=True)
class Feature:
    """One thing on the ground, in the truth's frame (metres)."""

    kind: str
    """What it is: road, track, street, building, river, stream, lake, pond, yard or quarry."""
    geometry: BaseGeometry
    """Line or polygon."""
    ground: str
    """Class that it puts on the ground; empty for none."""
    width_m: float = 0.0
    """Width of a line."""
    tags: dict[str, str] = field(default_factory=dict)
    """OpenStreetMap tags."""


class Taken:
    """Ground that is built on already: geometries added one by one, asked whether a shape meets any of them.

    Indexes double in size, so that adding n geometries one by one costs n log n.
    """

    def __init__(self, geometries: Sequence[BaseGeometry]) -> None:
        self._indexes = [shapely.STRtree(list(geometries))]
        self._new: list[BaseGeometry] = []

    def add(self, *geometries: BaseGeometry) -> None:
        """Takes more ground."""
        self._new.extend(geometries)
        if len(self._new) < 48:
            return
        held, self._new = self._new, []
        while self._indexes and len(self._indexes[-1]) <= 2 * len(held):
            held = [*self._indexes.pop().geometries, *held]
        self._indexes.append(shapely.STRtree(held))

    def meets(self, shape: BaseGeometry) -> bool:
        """Whether ``shape`` touches ground that is taken."""
        if self._new and shapely.intersects(np.array(self._new, dtype=object), shape).any():
            return True
        return any(len(index.query(shape, predicate="intersects")) for index in self._indexes)


class Near:
    """Features by place."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self._features = list(features)
        self._tree = shapely.STRtree([f.geometry for f in features])

    def to(self, shape: BaseGeometry) -> list[Feature]:
        """Those that meet ``shape``, in their own order."""
        return [self._features[i] for i in sorted(self._tree.query(shape, predicate="intersects"))]


@dataclass(frozen=True)
class Village:
    """A settlement."""

    x: float
    y: float
    radius_m: float
    """Where its streets end."""
    name: str
    lean: float = 0.0
    """Direction of its long axis, radians."""

    def outline(self, scale: float = 1.0) -> Polygon:
        """An ellipse of the village's area, half as wide as it is long."""
        disc = Point(0, 0).buffer(self.radius_m * scale)
        long = shapely.affinity.scale(disc, 1.35, 0.72)
        return shapely.affinity.translate(shapely.affinity.rotate(long, self.lean, use_radians=True), self.x, self.y)

    def centrality(self, x: float, y: float) -> float:
        """1 in the middle, 0 on the outline and beyond."""
        dx, dy = x - self.x, y - self.y
        u = dx * math.cos(self.lean) + dy * math.sin(self.lean)
        v = dy * math.cos(self.lean) - dx * math.sin(self.lean)
        return 1.0 - min(1.0, math.hypot(u / 1.35, v / 0.72) / self.radius_m)


NAMES_NORTH = ("Ober", "Unter", "Alten", "Neu", "Wald", "See", "Stein", "Buch", "Erl", "Mühl", "Kirch", "Lang")
ENDS_NORTH = ("dorf", "ham", "ing", "bach", "felden", "berg", "kirchen", "au", "hofen", "reit")
NAMES_SOUTH = ("Riebeeks", "Wel", "Moor", "Klip", "Vrede", "Olifants", "Bo", "Nuwe", "Hex", "Goede")
ENDS_SOUTH = ("rivier", "dal", "burg", "fontein", "hoek", "vlei", "berg", "kloof")


def place_villages(
    bounds: Bounds, anchor: tuple[float, float], southern: bool, rng: np.random.Generator
) -> list[Village]:
    """Settlements about 2 km apart over ``bounds`` and 3 km around it; a small town at ``anchor``."""
    starts, ends = (NAMES_SOUTH, ENDS_SOUTH) if southern else (NAMES_NORTH, ENDS_NORTH)
    names = [start + end for start in starts for end in ends]
    rng.shuffle(names)
    margin, spacing = 3000.0, 2900.0 if southern else 2050.0
    x0, y0, x1, y1 = bounds[0] - margin, bounds[1] - margin, bounds[2] + margin, bounds[3] + margin
    tries = int(40 * (x1 - x0) * (y1 - y0) / spacing**2)
    found = [Village(anchor[0], anchor[1], 430.0 if southern else 520.0, names[0])]
    places = np.full((tries + 1, 2), np.inf)
    places[0] = anchor
    for x, y in zip(rng.uniform(x0, x1, tries), rng.uniform(y0, y1, tries), strict=True):
        near = np.sum((places[: len(found)] - (x, y)) ** 2, axis=1).min() < spacing**2
        if not near:
            places[len(found)] = (x, y)
            radius = float(rng.choice([170.0, 210.0, 260.0, 330.0, 460.0], p=[0.2, 0.3, 0.25, 0.17, 0.08]))
            found.append(
                Village(float(x), float(y), radius * (0.8 if southern else 1.0), names[len(found) % len(names)])
            )
    return found


def _bent(start: tuple[float, float], end: tuple[float, float], bend: float, rng: np.random.Generator) -> LineString:
    """A line from ``start`` to ``end`` with three gentle harmonics of total size ``bend`` x length."""
    length = math.dist(start, end)
    t = np.linspace(0, 1, max(4, int(length / 25)))
    off = sum(bend * length * float(rng.normal()) / order**1.4 * np.sin(math.pi * order * t) for order in (1, 2, 3, 5))
    ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    x = start[0] + ux * length * t - uy * off
    y = start[1] + uy * length * t + ux * off
    return LineString(np.stack([x, y], axis=1))


def link_villages(villages: list[Village], rng: np.random.Generator) -> list[Feature]:
    """Roads between neighbouring villages: the Gabriel graph, each edge gently bent."""
    points = np.array([[v.x, v.y] for v in villages])
    pairs = set()
    for triangle in Delaunay(points).simplices:
        for a, b in ((0, 1), (1, 2), (0, 2)):
            pairs.add(tuple(sorted((int(triangle[a]), int(triangle[b])))))
    roads = []
    for a, b in sorted(pairs):
        middle, reach = (points[a] + points[b]) / 2, np.sum((points[a] - points[b]) ** 2) / 4
        others = np.sum((points - middle) ** 2, axis=1) < reach * 0.98
        others[[a, b]] = False
        if others.any():
            continue
        large = villages[a].radius_m + villages[b].radius_m > 640
        line = _bent(tuple(points[a]), tuple(points[b]), 0.035, rng)
        number = f"{2000 + (a * 37 + b) % 800}"
        tags = {"highway": "secondary" if large else "tertiary", "ref": ("St " if large else "K ") + number}
        roads.append(Feature("road", line, "road", 8.5 if large else 6.0, tags))
    return roads


def leaning(village: Village, roads: list[Feature]) -> Village:
    """The village with its long axis along the road that passes through it."""
    here = Point(village.x, village.y)
    passing = [r.geometry for r in roads if r.geometry.distance(here) < 5]
    if not passing:
        return village
    start = passing[0].project(here)
    there = passing[0].interpolate(start + 150 if start + 150 < passing[0].length else start - 150)
    return replace(village, lean=math.atan2(there.y - village.y, there.x - village.x))


def motorway_through(bounds: Bounds, rng: np.random.Generator) -> list[Feature]:
    """Two carriageways across a world that is wide enough for one."""
    if bounds[2] - bounds[0] < 6000:
        return []
    height = bounds[3] - bounds[1]
    start = (bounds[0] - 1500.0, bounds[1] + height * 0.86)
    end = (bounds[2] + 1500.0, bounds[1] + height * 0.62)
    axis = _bent(start, end, 0.012, rng)
    tags = {"highway": "motorway", "ref": "A 98", "oneway": "yes", "lanes": "2"}
    return [
        Feature("road", axis.parallel_offset(off, side), "road", 11.0, tags)
        for off, side in ((9.0, "left"), (9.0, "right"))
    ]


def village_streets(village: Village, roads: list[Feature], rng: np.random.Generator) -> list[Feature]:
    """Side streets of a village: they leave the through roads at about right angles and branch once."""
    disc = village.outline()
    parents = [line for road in roads if not (line := road.geometry.intersection(disc)).is_empty and line.length > 40]
    streets: list[Feature] = []
    queue = [(line, 0) for line in parents]
    while queue:
        line, depth = queue.pop(0)
        if line.geom_type != "LineString":
            continue
        position = float(rng.uniform(35, 80))
        while position < line.length - 25:
            here, ahead = line.interpolate(position), line.interpolate(min(position + 5, line.length))
            heading = math.atan2(ahead.y - here.y, ahead.x - here.x)
            angle = heading + (1 if rng.random() < 0.5 else -1) * (math.pi / 2 + float(rng.normal(0, 0.16)))
            inside = village.centrality(here.x, here.y)
            length = float(rng.uniform(70, 110 + 1.0 * village.radius_m * max(inside, 0.1)))
            end = (here.x + length * math.cos(angle), here.y + length * math.sin(angle))
            street = _bent((here.x, here.y), end, 0.05, rng)
            if not any(s.geometry.distance(Point(end)) < 32 for s in streets):
                name = f"{village.name}er {'Gasse' if depth else 'Straße'} {len(streets) + 1}"
                streets.append(Feature("street", street, "road", 5.0, {"highway": "residential", "name": name}))
                if depth < 2:
                    queue.append((street, depth + 1))
            position += float(rng.uniform(60, 130))
    return streets


def _box(x: float, y: float, length: float, width: float, angle: float) -> Polygon:
    """A rectangle about (x, y) whose long side points along ``angle``."""
    c, s = math.cos(angle), math.sin(angle)
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return Polygon(
        [(x + a * length / 2 * c - b * width / 2 * s, y + a * length / 2 * s + b * width / 2 * c) for a, b in corners]
    )


def _roof(rng: np.random.Generator, southern: bool) -> str:
    return str(
        rng.choice(["roof_tile", "roof_dark", "roof_metal"], p=[0.3, 0.4, 0.3] if southern else [0.72, 0.24, 0.04])
    )


def buildings_along(
    village: Village, lines: list[Feature], taken: Taken, southern: bool, rng: np.random.Generator
) -> list[Feature]:
    """Houses on both sides of the streets of a village, denser and larger towards its middle."""
    out: list[Feature] = []
    disc = village.outline(1.08)
    for line in lines:
        path = line.geometry.intersection(disc)
        if path.geom_type != "LineString":
            continue
        position = float(rng.uniform(8, 18))
        while position < path.length:
            here, behind = path.interpolate(position), path.interpolate(position - 4)
            angle = math.atan2(here.y - behind.y, here.x - behind.x)
            central = village.centrality(here.x, here.y)
            for side in (-1, 1):
                if rng.random() > 0.55 + 0.45 * central**0.5:
                    continue
                length = float(rng.uniform(10, 15) + 7 * central * rng.random())
                width = float(rng.uniform(8.5, 11))
                back = line.width_m / 2 + width / 2 + 4.2 + float(rng.uniform(0, 8)) * (1.15 - central)
                x = here.x - side * back * math.sin(angle)
                y = here.y + side * back * math.cos(angle)
                turned = angle + (math.pi / 2 if rng.random() < 0.35 else 0.0)
                shape = _box(x, y, length, width, turned)
                if taken.meets(shape.buffer(1.2, join_style="mitre")):
                    continue
                taken.add(shape)
                out.append(
                    Feature(
                        "building",
                        shape,
                        _roof(rng, southern),
                        0.0,
                        {"building": "house" if rng.random() < 0.5 else "yes"},
                    )
                )
            position += float(rng.uniform(17, 27) - 5 * central)
    return out


def works_beside(village: Village, roads: list[Feature], taken: Taken, rng: np.random.Generator) -> list[Feature]:
    """Halls with their yard on the edge of a larger village, along one of its roads."""
    if village.radius_m < 320:
        return []
    near = [r for r in roads if r.geometry.distance(Point(village.x, village.y)) < 60]
    if not near:
        return []
    path = near[int(rng.integers(len(near)))].geometry
    start = path.project(Point(village.x, village.y))
    along = (
        start + village.radius_m * 1.15
        if start + village.radius_m * 1.6 < path.length
        else start - village.radius_m * 1.15
    )
    out: list[Feature] = []
    for row in range(3):
        for hall in range(int(rng.integers(2, 4))):
            here, ahead = path.interpolate(along + hall * 105), path.interpolate(along + hall * 105 + 5)
            angle = math.atan2(ahead.y - here.y, ahead.x - here.x)
            back = 55.0 + row * 78.0
            x, y = here.x - back * math.sin(angle), here.y + back * math.cos(angle)
            plot = _box(x, y, 104, 80, angle)
            if taken.meets(plot):
                continue
            taken.add(plot)
            out.append(Feature("yard", plot, "yard", 0.0, {"landuse": "industrial"}))
            roof = str(rng.choice(["roof_metal", "roof_dark"], p=[0.6, 0.4]))
            hall_shape = _box(x, y, float(rng.uniform(46, 86)), float(rng.uniform(28, 56)), angle)
            out.append(Feature("building", hall_shape, roof, 0.0, {"building": "industrial"}))
    return out


def farmsteads(
    bounds: Bounds, roads: list[Feature], taken: Taken, southern: bool, rng: np.random.Generator
) -> list[Feature]:
    """Lonely farms: a house, two barns and a yard, a short lane from the road."""
    out: list[Feature] = []
    area_km2 = (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]) / 1e6
    for _ in range(int(area_km2 * 0.75)):
        road = roads[int(rng.integers(len(roads)))].geometry
        here = road.interpolate(float(rng.uniform(0, road.length)))
        angle = float(rng.uniform(0, 2 * math.pi))
        x, y = here.x + 130 * math.cos(angle), here.y + 130 * math.sin(angle)
        if not (bounds[0] < x < bounds[2] and bounds[1] < y < bounds[3]) or taken.meets(Point(x, y).buffer(70)):
            continue
        out.append(Feature("track", LineString([(here.x, here.y), (x, y)]), "track", 4.0, {"highway": "service"}))
        taken.add(_box(x, y, 90, 70, angle))
        out.append(Feature("yard", _box(x, y, 62, 46, angle), "yard", 0.0, {"landuse": "farmyard"}))
        for dx, dy, long, wide, kind in ((-22, 14, 16, 11, "farm"), (18, 12, 34, 15, "barn"), (2, -18, 44, 14, "barn")):
            bx = x + dx * math.cos(angle) - dy * math.sin(angle)
            by = y + dx * math.sin(angle) + dy * math.cos(angle)
            out.append(
                Feature("building", _box(bx, by, long, wide, angle), _roof(rng, southern), 0.0, {"building": kind})
            )
    return out
