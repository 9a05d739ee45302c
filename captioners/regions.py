"""Parts of a chip that sentences speak of: quadrants, halves, edge strips, the middle, a 3x3 grid.

Chips are north-up, so row 0 is the north. An odd middle row or column belongs to no half.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.georef import Bounds

Slices = tuple[slice, slice]

QUADRANT_NAMES = {"nw": "north-western", "ne": "north-eastern", "sw": "south-western", "se": "south-eastern"}
QUADRANTS = tuple(QUADRANT_NAMES)
HALVES = ("n-half", "s-half", "w-half", "e-half")
EDGES = ("n-edge", "s-edge", "w-edge", "e-edge")
GRID = tuple(f"r{row}c{column}" for row in (1, 2, 3) for column in (1, 2, 3))
CELLS = dict(zip(("nw", "n", "ne", "w", "middle", "e", "sw", "s", "se"), GRID, strict=True))
"""Side, corner or middle -> the cell of the 3x3 grid there."""
THIRDS = {f"{axis}{n}": tuple(cell for cell in GRID if f"{axis}{n}" in cell) for axis in "rc" for n in (1, 2, 3)}
"""Row or column of the 3x3 grid -> its cells."""
ALONG = {"n": "r1", "s": "r3", "w": "c1", "e": "c3"}
"""Edge -> the third beside it."""
SHARE_REGIONS = (*QUADRANTS, "middle", *GRID)
"""Regions for which class shares are facts; the chip itself comes first."""

EDGE_STRIP = 0.2
"""An edge strip is this part of the chip's height or width."""
MIN_ROWS = 6
"""Smaller chips have no parts."""

SPREAD = "spread"
"""Place of what lies in all four quadrants."""

PLACE_WORDS: Mapping[str, tuple[str, ...]] = {
    "nw": ("in the north-west", "in the north-western part"),
    "ne": ("in the north-east", "in the north-eastern part"),
    "sw": ("in the south-west", "in the south-western part"),
    "se": ("in the south-east", "in the south-eastern part"),
    "n-half": ("in the northern half", "in the north"),
    "s-half": ("in the southern half", "in the south"),
    "w-half": ("in the western half", "in the west"),
    "e-half": ("in the eastern half", "in the east"),
    "n-edge": ("along the northern edge",),
    "s-edge": ("along the southern edge",),
    "w-edge": ("along the western edge",),
    "e-edge": ("along the eastern edge",),
    "middle": ("in the middle", "around the centre"),
}
"""Place -> phrases that a sentence may use for it."""


def slices(region: str, shape_yx: tuple[int, int]) -> Slices:
    """Rows and columns of a region.

    ``middle`` is the central half of the height and width, that is a quarter of the area.

    Raises:
        KeyError: unknown region.
    """
    rows, columns = shape_yx
    if region == "chip":
        return slice(0, rows), slice(0, columns)
    if region == "middle":
        return slice(rows // 4, rows - rows // 4), slice(columns // 4, columns - columns // 4)
    if region in GRID:
        row, column = int(region[1]) - 1, int(region[3]) - 1
        return _third(row, rows), _third(column, columns)
    whole = slice(0, rows), slice(0, columns)
    if region in THIRDS:
        index, is_row = int(region[1]) - 1, region[0] == "r"
        return (_third(index, rows), whole[1]) if is_row else (whole[0], _third(index, columns))
    north, south = slice(0, rows // 2), slice(rows - rows // 2, rows)
    west, east = slice(0, columns // 2), slice(columns - columns // 2, columns)
    strip_y, strip_x = max(1, round(rows * EDGE_STRIP)), max(1, round(columns * EDGE_STRIP))
    return {
        "nw": (north, west),
        "ne": (north, east),
        "sw": (south, west),
        "se": (south, east),
        "n-half": (north, whole[1]),
        "s-half": (south, whole[1]),
        "w-half": (whole[0], west),
        "e-half": (whole[0], east),
        "n-edge": (slice(0, strip_y), whole[1]),
        "s-edge": (slice(rows - strip_y, rows), whole[1]),
        "w-edge": (whole[0], slice(0, strip_x)),
        "e-edge": (whole[0], slice(columns - strip_x, columns)),
    }[region]


def parts_of(region: str) -> tuple[tuple[str, ...], float]:
    """The regions with shares of which a region is made, and which part 0..1 of the chip each of them is.

    >>> parts_of("n"), parts_of("r1c2")
    ((('nw', 'ne'), 0.25), (('r1c2',), 0.1111111111111111))

    Args:
        region: n, s, w, e, a quadrant, the middle, a row, column or cell of the 3x3 grid.
    """
    if region in THIRDS:
        return THIRDS[region], 1 / 9
    if region in GRID:
        return (region,), 1 / 9
    return (tuple(q for q in QUADRANTS if region in q) if len(region) == 1 else (region,)), 0.25


def short_of(position: str) -> str:
    """A patch's position in letters, as `CELLS` names it.

    >>> short_of("north-west"), short_of("centre")
    ('nw', 'middle')
    """
    return "middle" if position == "centre" else "".join(part[0] for part in position.split("-"))


def _third(index: int, size: int) -> slice:
    return slice(round(index * size / 3), round((index + 1) * size / 3))


def region_bounds(region: str, bounds_xyxy: Bounds) -> Bounds:
    """(left, bottom, right, top) of a region of a chip with these bounds, in the same units."""
    left, bottom, right, top = bounds_xyxy
    rows, columns = slices(region, (1200, 1200))
    step_x, step_y = (right - left) / 1200, (top - bottom) / 1200
    return (
        left + columns.start * step_x,
        top - rows.stop * step_y,
        left + columns.stop * step_x,
        top - rows.start * step_y,
    )


def place_of(fractions: Mapping[str, float]) -> tuple[str, float] | None:
    """Where something lies, as (place, fraction of it that lies there), or None where no word fits.

    The most telling word wins: an edge strip (>= 0.65 of it), a quadrant (>= 0.65), the middle (>= 0.55), a
    half (>= 0.75), or all parts (each quadrant >= 0.12). "Mostly" is therefore always true: more than half of
    the thing lies in the part named.

    Args:
        fractions: region -> fraction 0..1 of the thing's pixels, length or area inside; quadrants, halves,
            edges and middle.
    """
    for names, least in ((EDGES, 0.65), (QUADRANTS, 0.65), (("middle",), 0.55), (HALVES, 0.75)):
        best = max(names, key=lambda name: (fractions[name], name))
        if fractions[best] >= least:
            return best, fractions[best]
    if min(fractions[name] for name in QUADRANTS) >= 0.12:
        return SPREAD, 1.0
    return None


PLACE_REGIONS = (*QUADRANTS, *HALVES, *EDGES, "middle")
"""What `place_of` needs."""
