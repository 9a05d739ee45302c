"""Which chip sizes fit which pixel sizes."""

from __future__ import annotations

import math

from schemas.errors import RecipeError


def check_chip_size(chip_m: float, gsds_m: list[float]) -> None:
    """Refuse a chip that some GSD does not divide, naming the nearest sizes that fit.

    Raises:
        RecipeError: with the nearest fitting sizes.
    """
    common = math.lcm(*[round(gsd * 100) for gsd in [*gsds_m, 60.0]]) / 100
    if abs(chip_m / common - round(chip_m / common)) < 1e-9:
        return
    below = math.floor(chip_m / common) * common
    near = [f"{size:g} m ({size / min(gsds_m):g} px)" for size in (below, below + common) if size > 0]
    gsds = ", ".join(f"{gsd:g}" for gsd in sorted(set(gsds_m)))
    raise RecipeError(
        f"a chip of {chip_m:g} m is no whole number of pixels of {gsds} m on the 60 m lattice",
        where="grid.chip_m",
        mend=f"use {' or '.join(near)}",
    )
