"""How much of something OpenStreetMap holds in squares of a chip, measured on the vectors themselves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from labelers.osm import is_hidden
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable

LEAST_OVERLAP_M2 = 0.01
"""Buildings that share less are neighbours."""

NOT_ROADS = frozenset(
    {"footway", "path", "steps", "cycleway", "bridleway", "corridor", "elevator", "platform", "proposed"}
)
"""Values of ``highway`` that are no road for vehicles."""


def building_density(table: FeatureTable, georef: GeoRef, cell_px: int) -> NDArray[np.float32]:
    """(rows, columns) share of the area of squares that buildings cover, 0..1; overlaps count once."""
    areas = [
        feature.geometry
        for feature in _seen(table)
        if feature.tags.get("building", "no") != "no" and shapely.get_dimensions(feature.geometry) == 2
    ]
    squares = _squares(georef, cell_px)
    if not areas:
        return np.zeros(squares.shape, dtype=np.float32)
    covered = _measured(squares, _apart(areas), shapely.area)
    return np.asarray(covered / shapely.area(squares), dtype=np.float32)


def road_density(table: FeatureTable, georef: GeoRef, cell_px: int) -> NDArray[np.float32]:
    """(rows, columns) kilometres of road in a square kilometre; each carriageway counts."""
    lines = [feature.geometry for feature in _seen(table) if is_road(feature)]
    squares = _squares(georef, cell_px)
    return np.asarray(1000.0 * _measured(squares, lines, shapely.length) / shapely.area(squares), dtype=np.float32)


def is_road(feature: Feature) -> bool:
    """Whether a feature is the line of a road for vehicles."""
    value = feature.tags.get("highway")
    return value is not None and value not in NOT_ROADS and shapely.get_dimensions(feature.geometry) == 1


def _seen(table: FeatureTable) -> Iterable[Feature]:
    """What is seen from above; tunnels are not."""
    return (feature for feature in table.features if not is_hidden(feature.tags, table.extract_date[:10]))


def _apart(areas: list[BaseGeometry]) -> list[BaseGeometry]:
    """The areas with those that overlap others joined: most buildings stand alone or touch at a wall."""
    shapes = np.array(areas, dtype=object)
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    overlap = shapely.area(shapely.intersection(shapes[first], shapes[second])) > LEAST_OVERLAP_M2
    joined = np.zeros(len(shapes), dtype=bool)
    joined[first[overlap]] = joined[second[overlap]] = True
    if not joined.any():
        return areas
    return [*shapes[~joined], shapely.union_all(shapes[joined], grid_size=0.001)]


def _squares(georef: GeoRef, cell_px: int) -> NDArray[np.object_]:
    """(rows, columns) squares that cover the chip; those at the lower and right edge are cut off at it."""
    rows, columns = -(-georef.shape_yx[0] // cell_px), -(-georef.shape_yx[1] // cell_px)
    left, bottom, right, top = georef.bounds_xyxy
    side = cell_px * georef.pixel_size
    x = np.minimum(left + side * np.arange(columns + 1), right)
    y = np.maximum(top - side * np.arange(rows + 1), bottom)
    return np.asarray(shapely.box(x[None, :-1], y[1:, None], x[None, 1:], y[:-1, None]), dtype=object)


def _measured(squares: NDArray[np.object_], shapes: list[BaseGeometry], measure: np.ufunc) -> NDArray[np.float64]:
    """(rows, columns) sum over the shapes of what they measure in each square."""
    found = np.zeros(squares.size)
    flat = squares.ravel()
    tree = shapely.STRtree(flat)
    if shapes:
        which, where = tree.query(np.array(shapes, dtype=object), predicate="intersects")
        parts = shapely.intersection(np.array(shapes, dtype=object)[which], flat[where])
        np.add.at(found, where, measure(parts))
    return found.reshape(squares.shape)
