"""What options say, looked at before anything is done: folders of this machine, boxes, shares."""

from __future__ import annotations

import math
import re
from pathlib import Path

from schemas.errors import UserError

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How an address with a scheme begins; `Path` makes one slash of two."""
HALF_WAY_DEG = 180.0
"""No box over the antimeridian is wider: one that is has its sides the wrong way round."""

Box = tuple[float, float, float, float]


def require_local(to: Path | None, option: str = "--out") -> None:
    """See that a path lies on this machine.

    Raises:
        UserError: it is an address, or begins with a ``~`` that no shell filled in (``--out=~/x``).
    """
    if to is not None and to.parts[:1] == ("~",):
        raise UserError(f"the shell left ~ in {to} as it is", where=option, mend=f"write {option} {to}, without =")
    if to is not None and (found := SCHEME.match(str(to))):
        what = f"{found.group()}/ is an address, and this is written to a path on this machine"
        raise UserError(what, where=option, mend="give a path; what lies there can be copied on")


def box_of(text: str, option: str = "--bbox") -> Box:
    """``west,south,east,north`` in degrees; west > east where a box lies over the antimeridian.

    >>> box_of("179,-20,-179,-18")
    (179.0, -20.0, -179.0, -18.0)

    Raises:
        UserError: it is no box of the Earth.
    """
    mend = "west,south,east,north in degrees"
    try:
        west, south, east, north = (float(side) for side in text.split(","))
    except ValueError as error:
        raise UserError(f"{text!r} is no box", where=option, mend=mend) from error
    if not (all(-180.0 <= side <= 180.0 for side in (west, east)) and all(-90.0 <= s <= 90.0 for s in (south, north))):
        raise UserError(f"{text!r} does not lie on the Earth", where=option, mend=mend)
    if south > north:
        raise UserError(f"its south, {south:g}, lies north of its north, {north:g}", where=option, mend=mend)
    if west > east and 360.0 - west + east > HALF_WAY_DEG:
        raise UserError(f"its west, {west:g}, lies east of its east, {east:g}", where=option, mend=mend)
    return west, south, east, north


def place_of(text: str, option: str = "--at") -> tuple[float, float]:
    """``lon,lat`` in degrees.

    >>> place_of("36.8,-1.3")
    (36.8, -1.3)

    Raises:
        UserError: it is none.
    """
    try:
        lon, lat = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"{text!r} is no place", where=option, mend="lon,lat in degrees, such as 36.8,-1.3") from error
    return lon, lat


def require_share(value: float | None, option: str) -> None:
    """See that a share lies between 0 and 1.

    Raises:
        UserError: it does not.
    """
    if value is not None and not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise UserError(f"{value:g} is no share", where=option, mend="0 to 1, for example 0.8")
