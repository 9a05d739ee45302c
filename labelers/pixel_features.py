"""OSM features of a chip as GeoJSON in the chip's pixel coordinates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from schemas.georef import GeoRef
from schemas.labels import FeatureTable

DECIMALS = 2
"""Digits kept of a pixel coordinate: a hundredth of a pixel."""

KINDS = {
    0: "Point", 1: "LineString", 2: "LineString", 3: "Polygon", 4: "MultiPoint", 5: "MultiLineString", 6: "MultiPolygon"
}  # fmt: skip
"""shapely's type -> GeoJSON's."""


def to_pixel_geojson(table: FeatureTable, georef: GeoRef) -> dict[str, Any]:
    """A FeatureCollection of what lies in the chip, clipped to it.

    Coordinates are pixels: x right, y down, (0, 0) the outer corner of the upper left pixel, so that the
    centre of that pixel is (0.5, 0.5) and the lower right corner is (columns, rows). Each feature has its
    OSM id and tags; tags are data as found. Order is that of the table.

    Args:
        table: features in the coordinate system of the grid.
        georef: the chip's grid.

    Returns:
        GeoJSON with the foreign members ``coordinates``, ``shape_yx``, ``gsd_m``, ``extract_date``,
        ``licence`` and ``attribution``.

    Raises:
        ValueError: another coordinate system.
    """
    if table.epsg != georef.epsg:
        raise ValueError(f"{table.source}: features in EPSG:{table.epsg}, chip in EPSG:{georef.epsg}")
    rows, columns = georef.shape_yx
    frame = shapely.box(*georef.bounds_xyxy)
    shapely.prepare(frame)
    geometries = np.array([feature.geometry for feature in table.features], dtype=object)
    met = np.flatnonzero(shapely.intersects(frame, geometries))
    covered = shapely.covers(frame, geometries[met])
    parts = geometries[met]
    parts[~covered] = _clipped(parts[~covered], frame)
    there = np.flatnonzero(~shapely.is_missing(parts))
    pixels = _rounded(shapely.transform(parts[there], _to_pixels(georef)))
    is_shown = ~shapely.is_empty(pixels)
    there = there[is_shown]
    features = [
        {
            "type": "Feature",
            "id": table.features[position].feature_id,
            "geometry": geometry,
            "properties": {
                "tags": dict(sorted(table.features[position].tags.items())),
                "timestamp": table.features[position].timestamp,
                "clipped": not inside,
            },
        }
        for position, inside, geometry in zip(
            met[there].tolist(), covered[there].tolist(), _mappings(pixels[is_shown]), strict=True
        )
    ]
    return {
        "type": "FeatureCollection",
        "coordinates": "pixels of the chip: x right, y down, origin at the upper left pixel's outer corner",
        "shape_yx": [rows, columns],
        "gsd_m": georef.pixel_size,
        "extract_date": table.extract_date,
        "licence": table.licence,
        "attribution": table.attribution,
        "features": features,
    }


def _rounded(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Geometries on the lattice of the digits that are kept, valid. Most stay what they are when their coordinates are
    rounded; GEOS, which takes the others apart and together again, costs several times as much.
    """
    rounded = shapely.transform(geometries, lambda xy: np.round(xy, DECIMALS))
    broken = ~shapely.is_valid(rounded) | (shapely.get_num_geometries(rounded) > 1)
    xy, whose = shapely.get_coordinates(rounded, return_index=True)
    again = np.zeros(len(rounded), dtype=bool)
    again[whose[1:][(xy[1:] == xy[:-1]).all(axis=1)]] = True
    again &= ~broken
    rounded[again] = shapely.remove_repeated_points(rounded[again])
    rounded[broken] = shapely.set_precision(geometries[broken], 10.0**-DECIMALS)
    return np.asarray(rounded, dtype=object)


def _clipped(geometries: NDArray[np.object_], frame: BaseGeometry) -> NDArray[np.object_]:
    """The part of each inside the frame, of the same dimension as the geometry; None where only the border is
    touched.
    """
    pieces, whose = shapely.get_parts(shapely.intersection(geometries, frame), return_index=True)
    is_whole = shapely.get_dimensions(pieces) == shapely.get_dimensions(geometries)[whose]
    pieces, whose = pieces[is_whole], whose[is_whole]
    clipped = np.full(len(geometries), None, dtype=object)
    clipped[whose] = pieces
    for several in np.flatnonzero(np.bincount(whose, minlength=len(geometries)) > 1):
        clipped[several] = _collected(pieces[whose == several].tolist())
    return clipped


def _collected(pieces: list[BaseGeometry]) -> BaseGeometry:
    kind = {
        "Point": shapely.multipoints,
        "LineString": shapely.multilinestrings,
        "Polygon": shapely.multipolygons,
    }
    collected: BaseGeometry = kind[pieces[0].geom_type](pieces)
    return collected


def _to_pixels(georef: GeoRef) -> Any:
    def to_pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x = (xy[:, 0] - georef.x0) / georef.pixel_size
        y = (georef.y0 - xy[:, 1]) / georef.pixel_size
        return np.column_stack([x, y])

    return to_pixels


def _mappings(geometries: NDArray[np.object_]) -> Iterator[dict[str, Any]]:
    """Geometries as GeoJSON, coordinates rounded. From the arrays: text that is written and parsed again takes several
    times as long.
    """
    kinds = shapely.get_type_id(geometries)
    if (kinds == shapely.GeometryType.GEOMETRYCOLLECTION).any():
        yield from map(json.loads, shapely.to_geojson(shapely.transform(geometries, _to_digits)))
        return
    places = iter(_to_digits(shapely.get_coordinates(geometries)).tolist())
    parts = shapely.get_parts(geometries)
    is_area = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    rings, whose = shapely.get_rings(parts[is_area], return_index=True)
    ring_counts = iter(np.bincount(whose).tolist())
    ring_lengths = iter(shapely.get_num_coordinates(rings).tolist())
    lengths = iter(shapely.get_num_coordinates(parts[~is_area]).tolist())

    def next_part(kind: str) -> list[Any]:
        if kind.endswith("Polygon"):
            return [list(islice(places, next(ring_lengths))) for _ in range(next(ring_counts))]
        course = list(islice(places, next(lengths)))
        return course[0] if kind.endswith("Point") else course

    for kind, count in zip(kinds.tolist(), shapely.get_num_geometries(geometries).tolist(), strict=True):
        name = KINDS[kind]
        found = [next_part(name) for _ in range(count)]
        yield {"type": name, "coordinates": found if name.startswith("Multi") else found[0]}


def _to_digits(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates with the digits that are kept, never a negative zero."""
    return np.round(xy, DECIMALS) + 0.0
