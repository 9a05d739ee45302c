"""OSM features of a chip as GeoJSON in the chip's pixel coordinates."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from schemas.georef import GeoRef
from schemas.labels import FeatureTable

DECIMALS = 2
"""Digits kept of a pixel coordinate: a hundredth of a pixel."""


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
    clipped = [g if inside else _clipped(g, frame) for g, inside in zip(geometries[met], covered, strict=True)]
    there = np.array([part is not None for part in clipped], dtype=bool)
    parts = np.array([part for part in clipped if part is not None], dtype=object)
    pixels = _rounded(shapely.transform(parts, _to_pixels(georef)))
    shown = shapely.to_geojson(shapely.transform(pixels, lambda xy: np.round(xy, DECIMALS) + 0.0))
    empty = shapely.is_empty(pixels)
    features = [
        {
            "type": "Feature",
            "id": table.features[position].feature_id,
            "geometry": json.loads(text),
            "properties": {
                "tags": dict(sorted(table.features[position].tags.items())),
                "timestamp": table.features[position].timestamp,
                "clipped": not inside,
            },
        }
        for position, inside, text, is_nothing in zip(
            met[there].tolist(), covered[there].tolist(), shown.tolist(), empty.tolist(), strict=True
        )
        if not is_nothing
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
    rounded[~broken] = shapely.remove_repeated_points(rounded[~broken])
    rounded[broken] = shapely.set_precision(geometries[broken], 10.0**-DECIMALS)
    return np.asarray(rounded, dtype=object)


def _clipped(geometry: BaseGeometry, frame: BaseGeometry) -> BaseGeometry | None:
    """The part inside the frame, of the same dimension as the geometry; None where only the border is
    touched.
    """
    part = shapely.intersection(geometry, frame)
    dimension = shapely.get_dimensions(geometry)
    pieces = [p for p in shapely.get_parts(part, return_index=False) if shapely.get_dimensions(p) == dimension]
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else _collected(pieces)


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
