"""The shift of a whole acquisition against another, combined from those of its chips where they agree.

A chip of 256 pixels gives a shift with some error of its own, more of it under clouds or over water. An acquisition
that lies beside another one lies so everywhere: hundreds of chips measure the same two numbers. They are combined by an
M-estimator (Tukey's biweight from a start at the weighted median), so that chips which locked on to a cloud or a
wave are left out and not averaged in. Where the chips do not agree (relief under a radar's slant view, a bent
scene), there is no one shift, and the answer says so.

    scenes = combine_scene_shifts(observations, min_chips=5)
    scenes[("s2", "S2A_...", "s2", "S2B_...")].agrees
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.chip import Shift

FLOOR_PIXELS = 0.03
"""No chip's estimate counts as better than this, in pixels of the coarser picture: what the matching itself leaves on
clean texture (bench/p10_coregistration.py)."""
TUNING = 4.685
"""Cut of Tukey's biweight in standard deviations: 95 % of least squares' efficiency under Gaussian noise (Huber and
Ronchetti, Robust Statistics, 2nd edition, 2009)."""
NORMAL_MAD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""
AGREE_PIXELS = 0.5
"""Chips whose robust scatter along an axis is larger than this, in pixels of the coarser picture, do not agree."""
AGREE_SHARE = 0.6
"""Least share of the chips that must lie inside the cut."""
ROUNDS = 30
"""Rounds of reweighting: a handful is the rule."""


class Acquisitions(NamedTuple):
    """Which picture was measured against which."""

    modality: str
    """Modality of the moving acquisition."""
    acquisition: str
    """Its datatake, or the item's id where it has none."""
    reference_modality: str
    """Modality of the reference."""
    reference: str
    """The reference's acquisition."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One chip's reliable estimate for a pair of acquisitions."""

    pair: Acquisitions
    """The pair."""
    chip_id: str
    """Where."""
    dx_m: float
    """East."""
    dy_m: float
    """North."""
    sigma_m: float
    """Standard deviation that the chip's estimate expects of itself."""
    pixel_m: float
    """Pixel of the coarser picture."""


@dataclass(frozen=True, slots=True)
class SceneShift:
    """What the chips of an acquisition say together."""

    dx_m: float
    """The content must move this far east to match the reference."""
    dy_m: float
    """And this far north."""
    sigma_m: float
    """Standard error of dx_m and dy_m, from the scatter of the chips."""
    spread_m: float | None
    """Robust standard deviation of a single chip around it, along its worse axis; None of a single chip."""
    pixel_m: float
    """Pixel of the coarser picture."""
    chips: int
    """Chips with a reliable estimate."""
    inliers: int
    """Those inside the cut."""
    agrees: bool
    """Whether there are chips enough and one shift describes them."""


def observe(
    chip_id: str, shifts: Mapping[str, Sequence[Shift]], acquisitions: Mapping[str, Sequence[str]]
) -> list[Observation]:
    """What a chip contributes: its reliable estimates against its reference date.

    Args:
        chip_id: the chip.
        shifts: modality -> one shift per date (`chips.register.measure_layers`).
        acquisitions: modality -> key of the acquisition behind each date.
    """
    found = [
        (modality, acquisitions[modality][i])
        for modality, dates in shifts.items()
        for i, shift in enumerate(dates)
        if shift.method == REFERENCE
    ]
    if not found:
        return []
    return [
        Observation(
            Acquisitions(modality, acquisitions[modality][i], *found[0]),
            chip_id,
            shift.dx_m,
            shift.dy_m,
            shift.sigma_m,
            shift.pixel_m,
        )
        for modality, dates in shifts.items()
        for i, shift in enumerate(dates)
        if shift.status == "measured" and shift.method != REFERENCE and shift.sigma_m is not None
    ]


REFERENCE = "reference"
"""Method of the date that the others were measured against."""


def combine_scene_shifts(observations: Iterable[Observation], min_chips: int) -> dict[Acquisitions, SceneShift]:
    """One shift per pair of acquisitions, whatever the order of the observations.

    Args:
        observations: of all chips.
        min_chips: pairs with fewer chips do not agree.
    """
    grouped: dict[Acquisitions, list[Observation]] = defaultdict(list)
    for observation in observations:
        grouped[observation.pair].append(observation)
    return {
        pair: combine(sorted(grouped[pair], key=lambda o: o.chip_id), min_chips=min_chips) for pair in sorted(grouped)
    }


def combine(observations: Sequence[Observation], *, min_chips: int) -> SceneShift:
    """M-estimate of the shift that all chips share.

    Args:
        observations: of one pair, at least one, in an order that does not vary.
        min_chips: fewer do not agree.

    Returns:
        Metres rounded to the centimetre: below it machines differ.
    """
    places = np.array([(o.dx_m, o.dy_m) for o in observations])  # (chip, 2)
    pixel = max(o.pixel_m for o in observations)
    own = np.maximum(np.array([o.sigma_m for o in observations]), FLOOR_PIXELS * pixel)
    weights = 1.0 / own**2
    centre = np.array([_weighted_median(places[:, axis], weights) for axis in (0, 1)])
    scale = _scale(places - centre, own)
    kept = np.ones(len(places))
    for _ in range(ROUNDS):
        distance = np.hypot(*(places - centre).T) / (np.sqrt(2.0) * scale * own)
        kept = np.where(distance < TUNING, (1.0 - np.minimum(distance / TUNING, 1.0) ** 2) ** 2, 0.0)
        if not kept.any():
            kept = np.ones(len(places))
            break
        moved = (weights * kept) @ places / (weights * kept).sum() - centre
        centre = centre + moved
        if np.abs(moved).max() < 1e-4:
            break
    inside = kept > 0
    spread = _mad(places[inside] - centre) if inside.sum() > 1 else float("inf")
    share = weights * kept / (weights * kept).sum()
    expected = np.maximum(own * scale, spread if np.isfinite(spread) else 0.0)
    sigma = float(np.sqrt((share**2 * expected**2).sum()))
    agrees = len(places) >= min_chips and inside.sum() >= AGREE_SHARE * len(places) and spread <= AGREE_PIXELS * pixel
    return SceneShift(
        dx_m=round(float(centre[0]), 2) + 0.0,
        dy_m=round(float(centre[1]), 2) + 0.0,
        sigma_m=round(sigma, 2),
        spread_m=round(spread, 2) if np.isfinite(spread) else None,
        pixel_m=pixel,
        chips=len(places),
        inliers=int(inside.sum()),
        agrees=bool(agrees),
    )


def to_rows(scenes: Mapping[Acquisitions, SceneShift]) -> list[dict[str, Any]]:
    """The table as JSON, one row per pair. Inverse: `from_rows`."""
    return [{**pair._asdict(), **asdict(shift)} for pair, shift in scenes.items()]


def from_rows(rows: Iterable[Mapping[str, Any]]) -> dict[Acquisitions, SceneShift]:
    """The shifts that `to_rows` wrote."""
    names = Acquisitions._fields
    return {
        Acquisitions(*(row[name] for name in names)): SceneShift(**{k: v for k, v in row.items() if k not in names})
        for row in rows
    }


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The value below and above which lies half of the weight; between two where it falls on a border."""
    order = np.argsort(values, kind="stable")
    ranked, total = values[order], np.cumsum(weights[order])
    half = total[-1] / 2
    upper = int(np.searchsorted(total, half, side="right"))
    lower = int(np.searchsorted(total, half, side="left"))
    return float((ranked[lower] + ranked[min(upper, len(ranked) - 1)]) / 2)


def _scale(residuals: NDArray[np.float64], own: NDArray[np.float64]) -> float:
    """How many times their own standard deviation the chips scatter; at least once."""
    return max(1.0, _mad(residuals / own[:, None])) if len(residuals) > 1 else 1.0


def _mad(residuals: NDArray[np.float64]) -> float:
    """Robust standard deviation along the worse axis: relief moves a radar picture in one direction alone, and in the
    median over both axes the quiet one hides that.
    """
    return NORMAL_MAD * float(np.median(np.abs(residuals), axis=0).max())
