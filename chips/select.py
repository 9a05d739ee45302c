"""Which dates a chip keeps: `select_dates` over the candidates of one modality, and what too few of them mean.

Fractions are of the chip, not of the scene (`chips.screen`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from schemas.chip import Outcome
from schemas.recipe import Select


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
