"""A network of OpenStreetMap as a graph in a chip's pixel coordinates: nodes where ways meet or end, edges between."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from labelers.densities import is_road, seen
from labelers.osm import load_rules
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable

Network = Literal["roads", "railways", "waterways"]

DECIMALS = 2
"""Digits kept of a pixel coordinate."""

KEY = {"roads": "highway", "railways": "railway", "waterways": "waterway"}

Place = tuple[float, float]
"""x and y of a vertex."""

Piece = tuple[int, int]
"""Positions of its first and last vertex among those of all ways."""


def network(table: FeatureTable, georef: GeoRef, of: Network = "roads") -> dict[str, Any]:
    """Nodes and edges of a chip's network.

    Ways meet where they share a vertex, as OpenStreetMap has it: a bridge over a road shares none. A way is cut at
    every such vertex and at the chip's edge.

    Returns:
        ``nodes``: [x, y, degree] in pixels (x right, y down, origin at the upper left pixel's outer corner) and
        ``at_edge`` (positions of nodes that the chip's edge made); ``edges``: from, to, feature id, value of the key,
        layer, bridge, length in metres and the points between, in pixels.
    """
    nodes: dict[Place, int] = {}
    edge_made: set[int] = set()
    edges: list[dict[str, Any]] = []
    for part in _parts(table, georef, of):
        points = _pixels(part.course, georef)
        first, last = (nodes.setdefault(end, len(nodes)) for end in (points[0], points[-1]))
        edge_made |= {n for n, end in ((first, part.course[0]), (last, part.course[-1])) if end not in part.ends}
        edges.append(_edge(part, points, first, last, of))
    degree = Counter(end for edge in edges for end in (edge["from"], edge["to"]))
    return {
        "network": of,
        "nodes": [[x, y, degree[number]] for (x, y), number in nodes.items()],
        "at_edge": sorted(edge_made),
        "edges": edges,
        "licence": table.licence,
        "attribution": table.attribution,
        "extract_date": table.extract_date,
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """What of a way lies between two nodes and in the chip."""

    way: Feature
    """The way."""
    ends: tuple[Place, Place]
    """Of its piece between two nodes, which may lie beyond the chip."""
    course: Sequence[Place]
    """Vertices of what lies in the chip."""


def _parts(table: FeatureTable, georef: GeoRef, of: Network) -> Iterator[_Part]:
    """The edges to be, in the order of the table; vertices in the chip are kept to the bit."""
    ways = seen(table, 1, is_road if of == "roads" else partial(load_rules().has_line, KEY[of]))
    lines, whose = shapely.get_parts(np.array([way.geometry for way in ways], dtype=object), return_index=True)
    xy, line = shapely.get_coordinates(lines, return_index=True)
    places: list[Place] = [(x, y) for x, y in xy.tolist()]
    left, bottom, right, top = georef.bounds_xyxy
    inside = ((xy >= (left, bottom)) & (xy <= (right, top))).all(axis=1).tolist()
    pieces = [(a, b) for a, b in _pieces(places, line) if len(set(places[a : b + 1])) > 1]
    cut = _cut([(a, b) for a, b in pieces if not all(inside[a : b + 1])], xy, georef)
    for a, b in pieces:
        for course in cut[a] if a in cut else [places[a : b + 1]]:
            yield _Part(ways[whose[line[a]]], (places[a], places[b]), course)


def _pieces(places: Sequence[Place], line: NDArray[np.integer]) -> list[Piece]:
    """What lies between nodes: the vertices at which a line ends, which several lines share, or which one line comes
    back to.
    """
    borders = np.flatnonzero(np.diff(line, prepend=-1, append=-1)).tolist()
    lines = [places[start:stop] for start, stop in pairwise(borders)]
    met = Counter(place for course in lines for place, _ in groupby(course))
    ends = {course[end] for course in lines for end in (0, -1)}
    nodes = [at for at, place in enumerate(places) if met[place] > 1 or place in ends]
    starts = set(borders)
    return [(a, b) for a, b in pairwise(nodes) if b not in starts]


def _cut(pieces: Sequence[Piece], xy: NDArray[np.float64], georef: GeoRef) -> Mapping[int, list[list[Place]]]:
    """What of each piece lies in the chip, by its first position."""
    which = np.repeat(np.arange(len(pieces)), [b + 1 - a for a, b in pieces])
    at = np.concatenate([np.arange(a, b + 1) for a, b in pieces]) if pieces else which
    shapes = shapely.intersection(shapely.linestrings(xy[at], indices=which), shapely.box(*georef.bounds_xyxy))
    parts, whose = shapely.get_parts(shapes, return_index=True)
    found: dict[int, list[list[Place]]] = {a: [] for a, _ in pieces}
    for part, number in zip(parts, whose.tolist(), strict=True):
        if part.geom_type == "LineString" and part.length > 0:
            found[pieces[number][0]].append([(x, y) for x, y in shapely.get_coordinates(part).tolist()])
    return found


def _pixels(places: Sequence[Place], georef: GeoRef) -> list[Place]:
    """Pixel coordinates, never a negative zero. Few at a time: arrays would cost more."""
    x0, y0, side = georef.x0, georef.y0, georef.pixel_size
    return [(round((x - x0) / side, DECIMALS) + 0.0, round((y0 - y) / side, DECIMALS) + 0.0) for x, y in places]


def _edge(part: _Part, points: Sequence[Place], first: int, last: int, of: Network) -> dict[str, Any]:
    tags = part.way.tags
    return {
        "from": first,
        "to": last,
        "feature": part.way.feature_id,
        "value": tags.get(KEY[of], ""),
        "layer": tags.get("layer", "0"),
        "bridge": tags.get("bridge", "no") != "no",
        "length_m": round(sum(map(math.dist, part.course, part.course[1:])), 2),
        "points": [list(point) for point in points],
    }
