"""Words for geometry: position, size, shape, orientation, course, sinuosity. Each word has a stated bound.

All measures are taken in the chip's own UTM zone, in pixels of equal size or in metres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from shapely import convex_hull, line_merge, multipoints
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

from schemas.georef import Bounds

POSITIONS = (
    ("north-west", "north", "north-east"),
    ("west", "centre", "east"),
    ("south-west", "south", "south-east"),
)

SIZE_WORDS = ((0.01, "tiny"), (0.05, "small"), (0.2, "medium-sized"), (0.5, "large"), (1.01, "vast"))
"""Part of the chip's area below which a patch has the word."""

EDGE_NAMES = {"n": "northern", "e": "eastern", "s": "southern", "w": "western"}


def position_word(x: float, y: float) -> str:
    """The ninth of the chip in which a point lies: ``north-west`` ... ``centre`` ... ``south-east``.

    Args:
        x: 0 at the western edge, 1 at the eastern.
        y: 0 at the northern edge, 1 at the southern.
    """
    return POSITIONS[min(2, max(0, int(y * 3)))][min(2, max(0, int(x * 3)))]


def size_word(fraction: float) -> str:
    """Word for the part 0..1 of the chip's area that a patch covers (`SIZE_WORDS`)."""
    return next(word for limit, word in SIZE_WORDS if fraction < limit)


def orientation_word(degrees: float) -> str:
    """Word for an axis, by its angle clockwise from north in degrees; 180 degrees apart is the same axis."""
    names = ("north to south", "north-east to south-west", "east to west", "north-west to south-east")
    return names[round(degrees / 45.0) % 4]


def elongation(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """(ratio of the main axes >= 1, angle of the long axis in degrees clockwise from north, 0 <= a < 180).

    From the second moments of the pixels; each pixel adds its own extent (1/12), so that one row has a width.
    """
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return 1.0, 0.0
    x, y = columns - columns.mean(), -(rows - rows.mean())  # y up
    covariance = np.array([[np.mean(x * x), np.mean(x * y)], [np.mean(x * y), np.mean(y * y)]])
    values, vectors = np.linalg.eigh(covariance + np.eye(2) / 12.0)
    east, north = vectors[:, 1]
    return float(np.sqrt(values[1] / values[0])), float(np.degrees(np.arctan2(east, north)) % 180.0)


def shape_word(mask: NDArray[np.bool_]) -> str:
    """``ring-shaped``, ``elongated``, ``compact``, ``irregular`` or empty where no word fits.

    Ring: what it encloses is at least a quarter of its own area. Elongated: axes 3:1 or more. Compact: fills
    at least 0.85 of its convex hull. Irregular: fills at most 0.6 of it.

    Args:
        mask: (H, W) one patch.
    """
    from scipy.ndimage import binary_fill_holes

    area = int(mask.sum())
    if area == 0:
        return ""
    if int(binary_fill_holes(mask).sum()) - area >= 0.25 * area:
        return "ring-shaped"
    if elongation(mask)[0] >= 3.0:
        return "elongated"
    solidity = area / hull_area(mask)
    return "compact" if solidity >= 0.85 else "irregular" if solidity <= 0.6 else ""


def hull_area(mask: NDArray[np.bool_]) -> float:
    """Area in pixels of the convex hull around the pixels' corners."""
    rows = np.nonzero(mask.any(axis=1))[0]
    if rows.size == 0:
        return 0.0
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)  # one past the last pixel of the row
    x = np.concatenate([first, first, last, last])
    y = np.concatenate([rows, rows + 1, rows, rows + 1])
    return float(convex_hull(multipoints(np.stack([x, y], axis=1).astype(np.float64))).area)


def edges_touched(geometry: BaseGeometry, bounds_xyxy: Bounds, tolerance_m: float = 0.01) -> str:
    """Edges of the chip that a geometry, already clipped to it, reaches: letters of ``nesw`` in that order."""
    if geometry.is_empty:
        return ""
    left, bottom, right, top = bounds_xyxy
    x0, y0, x1, y1 = geometry.bounds
    reached = {
        "n": top - y1 <= tolerance_m,
        "e": right - x1 <= tolerance_m,
        "s": y0 - bottom <= tolerance_m,
        "w": x0 - left <= tolerance_m,
    }
    return "".join(letter for letter, there in reached.items() if there)


def mask_edges(mask: NDArray[np.bool_]) -> str:
    """Edges of the chip that a patch reaches: letters of ``nesw`` in that order."""
    reached = {"n": mask[0].any(), "e": mask[:, -1].any(), "s": mask[-1].any(), "w": mask[:, 0].any()}
    return "".join(letter for letter, there in reached.items() if there)


def longest_line(lines: BaseGeometry) -> LineString | None:
    """The longest unbroken line of a (multi)line, pieces that meet end to end joined first; None if there is none."""
    merged = line_merge(lines) if lines.geom_type == "MultiLineString" else lines
    parts = [part for part in getattr(merged, "geoms", [merged]) if part.geom_type == "LineString" and part.length > 0]
    return max(parts, key=lambda part: (part.length, part.wkb_hex)) if parts else None


def course(line: LineString, bounds_xyxy: Bounds) -> str:
    """The two edges between which a line runs (``w-e``), or empty if an end lies inside or both on one edge.

    A corner counts as the edge that is nearer by name order n, e, s, w.
    """
    ends = [edges_touched(LineString([point, point]), bounds_xyxy, 0.5) for point in (line.coords[0], line.coords[-1])]
    if not all(ends) or ends[0][0] == ends[1][0]:
        return ""
    order = "wnse"  # sentences say west before east and north before south
    first, second = sorted((ends[0][0], ends[1][0]), key=order.index)
    return f"{first}-{second}"


def sinuosity(line: LineString) -> float:
    """Length over the straight distance between the ends, >= 1; infinity for a closed line."""
    start, end = np.array(line.coords[0][:2]), np.array(line.coords[-1][:2])
    distance = float(np.hypot(*(end - start)))
    return float(line.length) / distance if distance > 0 else float("inf")


def sinuosity_word(value: float) -> str:
    """``straight`` up to 1.05, ``winding`` from 1.3, else empty."""
    return "straight" if value <= 1.05 else "winding" if value >= 1.3 else ""
