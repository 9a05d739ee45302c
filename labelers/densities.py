"""How much of something OpenStreetMap holds in squares of a chip, measured on the vectors themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from labelers.osm import load_rules
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.osm_seen import is_hidden

LEAST_OVERLAP_M2 = 0.01
"""Buildings that share less are neighbours."""

WAYS = frozenset({"footway", "path", "steps", "cycleway", "bridleway"})
"""Values of ``highway`` that are painted as roads, but are none for vehicles."""


def building_density(table: FeatureTable, georef: GeoRef, cell_px: int) -> NDArray[np.float32]:
    """(rows, columns) share of the area of squares that buildings cover, 0..1; overlaps count once."""
    buildings = seen(table, 2, lambda tags: tags.get("building", "no") != "no")
    x, y = _borders(georef, cell_px)
    covered = _measured(x, y, _apart([feature.geometry for feature in buildings]), shapely.area)
    return np.asarray(covered / _areas(x, y), dtype=np.float32)


def road_density(table: FeatureTable, georef: GeoRef, cell_px: int) -> NDArray[np.float32]:
    """(rows, columns) kilometres of road in a square kilometre; each carriageway counts."""
    x, y = _borders(georef, cell_px)
    metres = _measured(x, y, [feature.geometry for feature in seen(table, 1, is_road)], shapely.length)
    return np.asarray(1000.0 * metres / _areas(x, y), dtype=np.float32)


def is_road(tags: Mapping[str, str]) -> bool:
    """Whether a line with these tags is a road for vehicles."""
    return tags.get("highway") not in WAYS and load_rules().has_line("highway", tags)


def seen(table: FeatureTable, dimension: int, is_wanted: Callable[[Mapping[str, str]], bool]) -> list[Feature]:
    """Features of so many dimensions with wanted tags, as far as they are seen from above; tunnels are not."""
    wanted = [feature for feature in table.features if is_wanted(feature.tags)]
    dimensions = shapely.get_dimensions(np.array([feature.geometry for feature in wanted], dtype=object))
    return [
        feature
        for feature, found in zip(wanted, dimensions.tolist(), strict=True)
        if found == dimension and not is_hidden(feature.tags, table.extract_date[:10])
    ]


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


def _borders(georef: GeoRef, cell_px: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(columns + 1,) rising x and (rows + 1,) falling y of the sides of squares that cover the chip; those at the lower
    and right edge are cut off at it.
    """
    rows, columns = -(-georef.shape_yx[0] // cell_px), -(-georef.shape_yx[1] // cell_px)
    left, bottom, right, top = georef.bounds_xyxy
    side = cell_px * georef.pixel_size
    return np.minimum(left + side * np.arange(columns + 1), right), np.maximum(top - side * np.arange(rows + 1), bottom)


def _areas(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, columns) of squares."""
    return np.asarray(np.diff(x) * -np.diff(y)[:, None])


def _measured(
    x: NDArray[np.float64], y: NDArray[np.float64], shapes: Sequence[BaseGeometry], measure: np.ufunc
) -> NDArray[np.float64]:
    """(rows, columns) sum over the shapes of what they measure in each square.

    Args:
        x: of `_borders`.
        y: of `_borders`.
        shapes: in the order in which they are added.
        measure: area or length.
    """
    found = np.zeros((len(y) - 1, len(x) - 1))
    given = np.array(shapes, dtype=object)
    rows, columns = np.nonzero(_may_meet(x, y, shapely.bounds(given)))
    squares = shapely.box(x[columns], y[rows + 1], x[columns + 1], y[rows])
    which, where = shapely.STRtree(squares).query(given, predicate="intersects")
    parts = shapely.intersection(given[which], squares[where])
    np.add.at(found, (rows[where], columns[where]), measure(parts))
    return found


def _may_meet(x: NDArray[np.float64], y: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(rows, columns) whether a square meets one of (n, 4) boxes: squares cost more than most of what lies in them."""
    left, bottom, right, top = bounds.reshape(-1, 4).T
    first, last = np.searchsorted(x[1:], left), np.searchsorted(x[:-1], right, "right")
    upper, lower = np.searchsorted(-y[1:], -top), np.searchsorted(-y[:-1], -bottom, "right")
    changes = np.zeros((len(y), len(x)), dtype=np.int64)
    for rows, columns, sign in ((upper, first, 1), (upper, last, -1), (lower, first, -1), (lower, last, 1)):
        np.add.at(changes, (rows, columns), sign)
    return np.asarray(changes.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0)
