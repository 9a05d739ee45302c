"""Which dates a chip keeps and which chips are rejected: `select_dates`, `screen`, and fractions of a mask.

All fractions are of the chip, not of the scene: pixels outside the acquisition count in the denominator.
The reason of a rejection is ``<modality>.<key of the recipe>``, for example ``s2.max_nodata_fraction``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from schemas.chip import Outcome, Valid
from schemas.recipe import Screen, Select

ELEVATION_UNIT = "m"


@dataclass(frozen=True, slots=True)
class DateCandidate:
    """One date of a modality as it lies over a chip, before it is chosen."""

    item_id: str
    """STAC item id; breaks ties between equal times."""
    datetime_utc: datetime
    """Acquisition time."""
    clear_fraction: float
    """0..1 of the chip."""
    nodata_fraction: float
    """0..1 of the chip."""


def is_clear(valid: NDArray[np.uint8], snow_is_clear: bool = False) -> NDArray[np.bool_]:
    """Where the ground is seen, same shape as ``valid``: clear land, clear water and, if asked, snow."""
    codes = (Valid.CLEAR, Valid.WATER, Valid.SNOW) if snow_is_clear else (Valid.CLEAR, Valid.WATER)
    return np.isin(valid, codes)


def clear_fraction(valid: NDArray[np.uint8], snow_is_clear: bool = False) -> float:
    """Share of pixels (0..1) that show clear ground; 0 for an empty mask."""
    return _share(is_clear(valid, snow_is_clear))


def nodata_fraction(valid: NDArray[np.uint8]) -> float:
    """Share of pixels (0..1) that hold no data; 0 for an empty mask."""
    return _share(valid == Valid.NODATA)


def saturated_fraction(valid: NDArray[np.uint8]) -> float:
    """Share of pixels (0..1) that are saturated or defective; 0 for an empty mask."""
    return _share(valid == Valid.DEFECTIVE)


def is_constant(data: NDArray[np.generic], valid: NDArray[np.uint8]) -> bool:
    """Whether a date shows one single value per band over every pixel that holds data.

    A detector that stands still, a tile filled by a default: nothing can be learnt from it. One band that is
    constant among others that are not is left alone (hyperspectral bands over deep water are all zero).

    Args:
        data: (band, y, x) as stored.
        valid: (y, x) validity mask.

    Returns:
        False where fewer than two pixels hold data: that is the business of the no-data rule.
    """
    seen = data[:, valid != Valid.NODATA]
    if seen.shape[1] < 2 or seen.shape[0] == 0:
        return False
    return bool(np.all(seen == seen[:, :1]))


def select_dates(candidates: Sequence[DateCandidate], select: Select, reference_utc: datetime) -> list[int]:
    """Indices of the dates to keep, in time order.

    First the limits (clear and missing ground, gap to the reference), then at most ``select.max_dates``:
    ``closest`` to the reference, ``least_cloudy``, ``newest``, or for ``all`` a series thinned evenly,
    so that its first and last date stay. Ties fall to the earlier time, then to the smaller id, so the answer
    does not depend on the order of the candidates.
    """
    usable = [i for i, candidate in enumerate(candidates) if _is_within(candidate, select, reference_utc)]
    usable.sort(key=lambda i: _by_time(candidates[i]))
    if len(usable) <= select.max_dates:
        return usable
    if select.how == "all":
        return _thinned(usable, select.max_dates)
    prefer = _preference(select, reference_utc)
    best = sorted(usable, key=lambda i: (prefer(candidates[i]), *_by_time(candidates[i])))[: select.max_dates]
    return sorted(best, key=lambda i: _by_time(candidates[i]))


def screen_dates(chip_id: str, modality: str, kept: int, select: Select) -> Outcome | None:
    """The rejection of a chip with too few dates of a modality, or None."""
    if kept >= select.min_dates:
        return None
    return Outcome(chip_id, "rejected", f"{modality}.min_dates", float(kept), float(select.min_dates))


def screen(chip_id: str, layers: Mapping[str, xr.Dataset], limits: Screen) -> Outcome | None:
    """The rejection of a chip whose kept dates break a rule of the recipe, or None.

    Args:
        chip_id: stands in the outcome.
        layers: group name -> layer (`schemas.chip.check_layer`).
        limits: the recipe's rules.

    Returns:
        The first broken rule, in the order missing, saturated, constant, at the layer and date where it is
        broken worst. Elevation may be constant: the sea is.
    """
    shares: tuple[tuple[str, Callable[[NDArray[np.uint8]], float], float], ...] = (
        ("max_nodata_fraction", nodata_fraction, limits.max_nodata_fraction),
        ("max_saturated_fraction", saturated_fraction, limits.max_saturated_fraction),
    )
    for rule, measure, limit in shares:
        found = [(measure(valid), modality) for modality, _, valid in _dates(layers)]
        worst, modality = max(found, key=lambda pair: pair[0], default=(0.0, ""))
        if worst > limit:
            return Outcome(chip_id, "rejected", f"{modality}.{rule}", worst, limit)
    if limits.reject_constant:
        for modality, data, valid in _dates(layers, skip_unit=ELEVATION_UNIT):
            if is_constant(data, valid):
                return Outcome(chip_id, "rejected", f"{modality}.reject_constant", 1.0, 0.0)
    return None


def _dates(
    layers: Mapping[str, xr.Dataset], skip_unit: str = ""
) -> Iterator[tuple[str, NDArray[np.generic], NDArray[np.uint8]]]:
    """Modality, (band, y, x) data and (y, x) mask of every date of every layer, by group name."""
    for group in sorted(layers):
        layer = layers[group]
        if skip_unit and layer.attrs["unit"] == skip_unit:
            continue
        data, valid = layer["data"].values, layer["valid"].values
        for index in range(valid.shape[0]):
            yield layer.attrs["modality"], data[index], valid[index]


def _share(mask: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(mask)) / mask.size if mask.size else 0.0


def _by_time(candidate: DateCandidate) -> tuple[datetime, str]:
    return candidate.datetime_utc, candidate.item_id


def _gap_seconds(candidate: DateCandidate, reference_utc: datetime) -> float:
    return abs((candidate.datetime_utc - reference_utc).total_seconds())


def _is_within(candidate: DateCandidate, select: Select, reference_utc: datetime) -> bool:
    """Whether a date passes the limits of the recipe."""
    if candidate.clear_fraction < select.min_clear_fraction:
        return False
    if candidate.nodata_fraction > select.max_nodata_fraction or candidate.nodata_fraction >= 1.0:
        return False
    limit = select.max_gap_days
    return limit is None or _gap_seconds(candidate, reference_utc) <= limit * 86_400.0


def _preference(select: Select, reference_utc: datetime) -> Callable[[DateCandidate], float]:
    """Sort key of the recipe's order of preference, smallest first."""
    if select.how == "closest":
        return lambda candidate: _gap_seconds(candidate, reference_utc)
    if select.how == "least_cloudy":
        return lambda candidate: -candidate.clear_fraction
    return lambda candidate: -candidate.datetime_utc.timestamp()


def _thinned(series: list[int], keep: int) -> list[int]:
    """``keep`` entries of a longer list, evenly spread; the middle one where only one is kept."""
    if keep == 1:
        return [series[len(series) // 2]]
    last = len(series) - 1
    return [series[(2 * k * last + keep - 1) // (2 * (keep - 1))] for k in range(keep)]
