"""What a recipe does about measured shifts: which dates move and by how much, and which chips are rejected.

shifts = decide(shifts, recipe.register_shifts)                    # each date's own estimate
shifts = decide(shifts, recipe.register_shifts, scenes)            # the acquisition's, where its chips agree
georef = shifted_georef(layer.georef, shifts["s2"][1])             # where to read the moved date
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from chips.scene_shift import REFERENCE, SceneShift
from schemas.chip import Outcome, Shift
from schemas.georef import GeoRef
from schemas.recipe import Register


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate that counts for a date."""

    dx_m: float
    """East."""
    dy_m: float
    """North."""
    by: Literal["chip", "scene"]
    """Whose it is."""

    @property
    def size_m(self) -> float:
        """Length."""
        return float(np.hypot(self.dx_m, self.dy_m))


def best_estimate(shift: Shift, scene: SceneShift | None, register: Register) -> Estimate | None:
    """The estimate that a recipe goes by for one date; None where there is none to trust, and for the reference.

    With ``correct_by: scene`` it is the acquisition's where its chips agree, even for a date that the chip itself could
    not measure (clouds, water); else the chip's own.
    """
    if shift.method == REFERENCE:
        return None
    if register.correct_by == "scene" and scene is not None and scene.agrees:
        return Estimate(scene.dx_m, scene.dy_m, "scene")
    if shift.status == "measured" and shift.reliability >= register.min_reliability:
        return Estimate(shift.dx_m, shift.dy_m, "chip")
    return None


def decide(
    shifts: Mapping[str, Sequence[Shift]],
    register: Register,
    scenes: Mapping[str, Sequence[SceneShift | None]] | None = None,
) -> dict[str, tuple[Shift, ...]]:
    """The shifts with ``applied_*`` filled in for every date that mode ``correct`` moves.

    Args:
        shifts: modality -> one shift per date.
        register: the recipe's wishes.
        scenes: modality -> the acquisition's shift per date.
    """
    return {
        modality: tuple(
            _applied(shift, None if scenes is None else scenes[modality][index], register)
            for index, shift in enumerate(dates)
        )
        for modality, dates in shifts.items()
    }


def shifted_georef(georef: GeoRef, shift: Shift) -> GeoRef:
    """Where to read so that the pixels, laid on ``georef``, lie where the reference has them.

    One resampling in all: read this grid with the modality's kernel, then keep ``georef`` as the layer's own.

    Example:
        >>> moved = Shift(4.1, -2.8, 1.0, "measured", applied_dx_m=4.0, applied_dy_m=-3.0, applied_by="scene")
        >>> shifted_georef(GeoRef(32632, 500.0, 900.0, 10.0, (3, 4)), moved).bounds_xyxy
        (496.0, 873.0, 536.0, 903.0)
    """
    return replace(georef, x0=georef.x0 - shift.applied_dx_m, y0=georef.y0 - shift.applied_dy_m)


def screen_shifts(
    chip_id: str,
    shifts: Mapping[str, Sequence[Shift]],
    register: Register,
    scenes: Mapping[str, Sequence[SceneShift | None]] | None = None,
) -> Outcome | None:
    """The rejection, in mode ``reject``, of a chip with a trusted shift beyond the limit, or None."""
    if register.mode != "reject":
        return None
    sizes = []
    for modality in sorted(shifts):
        for index, shift in enumerate(shifts[modality]):
            found = best_estimate(shift, None if scenes is None else scenes[modality][index], register)
            if found is not None:
                sizes.append((found.size_m, modality))
    worst, modality = max(sizes, key=lambda pair: pair[0], default=(0.0, ""))
    if worst <= register.max_shift_m:
        return None
    return Outcome(chip_id, "rejected", f"{modality}.max_shift_m", worst, register.max_shift_m)


def _applied(shift: Shift, scene: SceneShift | None, register: Register) -> Shift:
    found = best_estimate(shift, scene, register)
    if register.mode != "correct" or found is None or shift.status == "corrected":
        return shift
    if not register.correct_above_m < found.size_m <= register.max_shift_m:
        return shift
    return replace(shift, applied_dx_m=found.dx_m, applied_dy_m=found.dy_m, applied_by=found.by)
