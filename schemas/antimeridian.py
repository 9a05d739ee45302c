"""Footprints that the antimeridian cuts into parts on both of its sides: in one piece, and where their middle is."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely


def join_at_antimeridian(footprint: Any) -> Any:
    """Parts on both sides as one footprint whose longitudes run past 180. Inverse:
    `chips.cell_table.split_at_antimeridian`.
    """
    parts = [
        shapely.transform(part, lambda xy: xy + np.array([360.0, 0.0])) if part.bounds[0] < 0.0 else part
        for part in shapely.get_parts(footprint)
    ]
    return shapely.union_all(parts)


def centre(footprint: Any) -> Any:
    """The centroid, of parts on both sides of the antimeridian too.

    Args:
        footprint: within [-180, 180].
    """
    west, _, east, _ = footprint.bounds
    if east - west <= 180.0 or footprint.geom_type == "Polygon":
        return footprint.centroid
    middle = join_at_antimeridian(footprint).centroid
    return shapely.Point((middle.x + 180.0) % 360.0 - 180.0, middle.y)
