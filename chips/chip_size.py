"""Which chip sizes fit which pixel sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from schemas.errors import RecipeError

HALVINGS = 8
"""Networks halve a picture at least three times: sizes of whole 8 pixels are told beside the nearest."""


def check_chip_size(chip_m: float, gsds_m: Sequence[float], lattice_m: float | None = None) -> None:
    """Refuse a chip that some GSD does not divide, naming the nearest sizes that fit.

    Args:
        chip_m: edge of the chip.
        gsds_m: pixel sizes of all layers that share edges with the chip.
        lattice_m: distance of the lines on which chip edges lie, where it is not the chip's own size.

    Raises:
        RecipeError: with the nearest fitting sizes, in metres and in pixels of the finest GSD.

    Example:
        >>> check_chip_size(2640.0, [10.0, 20.0, 60.0])
        >>> check_chip_size(2560.0, [10.0, 20.0])
    """
    common = common_multiple_m(gsds_m)
    gsds = ", ".join(f"{gsd:g}" for gsd in sorted(set(gsds_m)))
    if not _divides(common, chip_m):
        finest = min(gsds_m)
        near = _around(chip_m, common)
        rounder = [size for size in _around(chip_m, common_multiple_m([common, HALVINGS * finest])) if size not in near]
        mend = f"use {_sizes(near, finest)}"
        if rounder:
            mend += f"; of whole 8 pixels, which networks can halve: {_sizes(rounder, finest)}"
        raise RecipeError(
            f"a chip of {chip_m:g} m ({chip_m / finest:g} px) is no whole number of pixels of {gsds} m together",
            where="grid.chip_m",
            mend=f"{mend}; or put every modality on one grid with grid: common",
        )
    if lattice_m is not None and not _divides(common, lattice_m):
        raise RecipeError(
            f"chip edges on multiples of {lattice_m:g} m are no pixel edges of {gsds} m",
            where="grid.snap_m",
            mend=f"use {common:g}",
        )


def common_multiple_m(sizes_m: Sequence[float]) -> float:
    """Smallest length that every size divides, to a tenth of a millimetre."""
    return math.lcm(*[round(size * 10_000) for size in sizes_m]) / 10_000


def _divides(part: float, whole: float) -> bool:
    return abs(whole / part - round(whole / part)) < 1e-9


def _around(size: float, step: float) -> list[float]:
    """The nearest whole numbers of steps below and above, above zero."""
    below = math.floor(size / step) * step
    return [near for near in (below, below + step) if near > 0]


def _sizes(sizes: Sequence[float], gsd: float) -> str:
    return " or ".join(f"{size:g} m ({size / gsd:g} px)" for size in sizes)
