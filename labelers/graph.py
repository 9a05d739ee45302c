"""A network of OpenStreetMap as a graph in a chip's pixel coordinates: nodes where ways meet or end, edges between."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import shapely

from labelers.densities import is_road
from labelers.osm import is_hidden
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable

Network = Literal["roads", "railways", "waterways"]

DECIMALS = 2
"""Digits kept of a pixel coordinate."""

KEY = {"roads": "highway", "railways": "railway", "waterways": "waterway"}


def network(table: FeatureTable, georef: GeoRef, of: Network = "roads") -> dict[str, Any]:
    """Nodes and edges of a chip's network.

    Ways meet where they share a vertex, as OpenStreetMap has it: a bridge over a road shares none. A way is cut at
    every such vertex and at the chip's edge.

    Returns:
        ``nodes``: [x, y, degree] in pixels (x right, y down, origin at the upper left pixel's outer corner) and
        ``at_edge`` (positions of nodes that the chip's edge made); ``edges``: from, to, feature id, value of the key,
        layer, bridge, length in metres and the points between, in pixels.
    """
    lines = [
        (feature, line)
        for feature in table.features
        if _belongs(feature, of) and not is_hidden(feature.tags, table.extract_date[:10])
        for line in _lines(feature)
    ]
    met = Counter(vertex for _, line in lines for vertex in set(line))
    ends = {vertex for _, line in lines for vertex in (line[0], line[-1])}
    frame = shapely.box(*georef.bounds_xyxy)
    nodes: dict[tuple[float, float], int] = {}
    edge_made: set[int] = set()
    edges: list[dict[str, Any]] = []
    for feature, line in lines:
        for piece in _cut(line, lambda vertex: met[vertex] > 1 or vertex in ends):
            for part in _clipped(piece, frame):
                first, last = (_node(nodes, end, georef) for end in (part[0], part[-1]))
                edge_made |= {
                    number for number, end in ((first, part[0]), (last, part[-1])) if end not in (piece[0], piece[-1])
                }
                edges.append(_edge(feature, part, first, last, of, georef))
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


def _belongs(feature: Feature, of: Network) -> bool:
    if shapely.get_dimensions(feature.geometry) != 1:
        return False
    return is_road(feature) if of == "roads" else feature.tags.get(KEY[of], "no") != "no"


def _lines(feature: Feature) -> Iterable[list[tuple[float, float]]]:
    for part in shapely.get_parts(feature.geometry):
        yield [(x, y) for x, y in shapely.get_coordinates(part).tolist()]


def _cut(line: list[tuple[float, float]], is_node: Any) -> Iterable[list[tuple[float, float]]]:
    """The pieces between nodes."""
    start = 0
    for position in range(1, len(line)):
        if position == len(line) - 1 or is_node(line[position]):
            yield line[start : position + 1]
            start = position


def _clipped(piece: list[tuple[float, float]], frame: shapely.Geometry) -> Iterable[list[tuple[float, float]]]:
    """What of a piece lies in the chip, its own ends kept to the bit."""
    left, bottom, right, top = frame.bounds
    xs, ys = zip(*piece, strict=True)
    if min(xs) > right or max(xs) < left or min(ys) > top or max(ys) < bottom or _length(piece) == 0:
        return
    if min(xs) >= left and max(xs) <= right and min(ys) >= bottom and max(ys) <= top:
        yield piece
        return
    shape = shapely.LineString(piece)
    for part in shapely.get_parts(shapely.intersection(shape, frame)):
        if part.geom_type == "LineString" and part.length > 0:
            yield [(float(x), float(y)) for x, y in shapely.get_coordinates(part)]


def _length(line: list[tuple[float, float]]) -> float:
    return sum(math.dist(one, other) for one, other in pairwise(line))


def _node(nodes: dict[tuple[float, float], int], vertex: tuple[float, float], georef: GeoRef) -> int:
    return nodes.setdefault(_pixel([vertex], georef)[0], len(nodes))


def _pixel(places: Sequence[tuple[float, float]], georef: GeoRef) -> list[tuple[float, float]]:
    """Pixel coordinates, never a negative zero. Few at a time: arrays would cost more."""
    x0, y0, side = georef.x0, georef.y0, georef.pixel_size
    return [(round((x - x0) / side, DECIMALS) + 0.0, round((y0 - y) / side, DECIMALS) + 0.0) for x, y in places]


def _edge(
    feature: Feature, part: list[tuple[float, float]], first: int, last: int, of: Network, georef: GeoRef
) -> dict[str, Any]:
    tags = feature.tags
    return {
        "from": first,
        "to": last,
        "feature": feature.feature_id,
        "value": tags.get(KEY[of], ""),
        "layer": tags.get("layer", "0"),
        "bridge": tags.get("bridge", "no") != "no",
        "length_m": round(_length(part), 2),
        "points": [list(place) for place in _pixel(part, georef)],
    }
