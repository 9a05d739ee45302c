"""Footprints over the antimeridian, as parts within [-180, 180], however a catalog draws them: `unfolded`.

RFC 7946 has such polygons cut in two and such boxes written with west > east. Real catalogs also draw one ring from
179 to -179, which as plane geometry is the other side of the Earth, or count on beyond 180.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from chips.cell_table import split_at_antimeridian
from sources.lattice import TURN

SCENE_DEGREES = 90.0
"""A ring with an edge of more than half a turn is a scene over the antimeridian if it is smaller than this both ways,
taken so; a product of the whole Earth is not."""


def box_parts(west: float, south: float, east: float, north: float) -> Any:
    """A box, in two where it crosses the antimeridian (west > east).

    Example:
        >>> sorted(part.bounds for part in box_parts(179.0, -17.0, -179.5, -15.0).geoms)
        [(-180.0, -17.0, -179.5, -15.0), (179.0, -17.0, 180.0, -15.0)]
    """
    return unfolded(shapely.box(west, south, east + (TURN if west > east else 0.0), north))


def unfolded(footprint: Any) -> Any:
    """The footprint within [-180, 180]: rings over the antimeridian are cut there.

    Args:
        footprint: EPSG:4326.
    """
    west, _, east, _ = footprint.bounds
    if east - west <= TURN / 2 and west >= -TURN / 2 and east <= TURN / 2:
        return footprint
    parts = shapely.get_parts(footprint)
    cut = [piece for part in parts for piece in shapely.get_parts(_unfolded_part(part))]
    return cut[0] if len(cut) == 1 else shapely.union_all(cut)


def all_unfolded(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """The places of a table `unfolded`, of whatever kind.

    Chips lie within [-180, 180]. What is no degrees stays as it is, and touches no chip.
    """
    found = geometry.copy()
    west, _, east, _ = shapely.bounds(geometry).T  # NaN where there is none
    over = (west < -TURN / 2) | (east > TURN / 2) | (east - west > TURN / 2)
    for row in np.flatnonzero(over & (west >= -TURN) & (east <= 1.5 * TURN)):
        found[row] = unfolded(found[row])
    return found


def _unfolded_part(part: Any) -> Any:
    """One polygon, line or point of a footprint."""
    if part.geom_type != "Polygon":
        return _turned_back(part)
    ring = shapely.get_coordinates(part.exterior)
    if np.abs(np.diff(ring[:, 0])).max() > TURN / 2:
        whole = shapely.transform(part, lambda xy: np.column_stack([xy[:, 0] + TURN * (xy[:, 0] < 0), xy[:, 1]]))
        west, south, east, north = whole.bounds
        if 0.0 < east - west < SCENE_DEGREES and north - south < SCENE_DEGREES:
            part = whole if whole.is_valid else shapely.make_valid(whole)
    west, _, east, _ = part.bounds
    if west < -TURN / 2:
        part = shapely.transform(part, lambda xy: xy + np.array([TURN, 0.0]))
    elif east <= TURN / 2:
        return part
    return split_at_antimeridian(part)


def _turned_back(part: Any) -> Any:
    """A line or a point within [-180, 180], in pieces where it runs past them."""
    pieces = []
    for turns in (-1, 0, 1):
        middle = turns * TURN
        inside = shapely.intersection(part, shapely.box(middle - TURN / 2, -90.0, middle + TURN / 2, 90.0))
        pieces.append(shapely.transform(inside, lambda xy, by=middle: xy - np.array([by, 0.0])))
    return shapely.union_all(pieces)
