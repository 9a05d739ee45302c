"""Which dates a chip keeps: `select_dates` in one window of one modality, `select_jointly` in all of all.

Fractions are of the chip, not of the scene (`chips.screen`). No answer depends on the order of the candidates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chips.windows import Span, span_at
from schemas.chip import Outcome
from schemas.recipe import Near, Select

DAY_S = 86_400.0


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
    orbit_state: str = ""
    """ascending, descending or empty."""
    slack: float = 0.0
    """How far the fractions may be off (a mask that was only glanced at): limits are wider by it."""


@dataclass(frozen=True)
class Wish:
    """What a recipe wants of one modality of one chip."""

    select: Select
    """Limits and order."""
    spans: tuple[Span, ...]
    """Windows, in time order."""
    is_composite: bool = False
    """Whether the dates of a window become one."""
    needs_clear: bool = False
    """Whether a date without any clear ground is of no use: a composite would hold nothing of it but its time."""
    is_one_pass: bool = False
    """Whether ascending and descending may not mix."""
    is_optional: bool = False
    """Whether the chip can do without."""
    is_pair: bool = False
    """Whether the windows lie before and after an event: what is near a date on one side lies on that side too."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One date of a chip's layer."""

    span: Span
    """Its window."""
    members: tuple[int, ...]
    """Indices of the candidates behind it in time order: one, several in a composite, none in an empty step."""


def select_dates(candidates: Sequence[DateCandidate], select: Select, reference_utc: datetime) -> list[int]:
    """Indices of the dates to keep in one window, in time order.

    First the limits (clear and missing ground, gap to the reference), then at most ``select.max_dates``:
    ``closest`` to the reference, ``least_cloudy``, ``newest``, or for ``all`` a series thinned evenly,
    so that its first and last date stay. Ties fall to the earlier time, then to the smaller id.
    """
    usable = [i for i, candidate in enumerate(candidates) if _is_within(candidate, select, reference_utc)]
    return _preferred(candidates, usable, select, _gap_to(reference_utc))


def select_jointly(
    candidates: Mapping[str, Sequence[DateCandidate]], wishes: Mapping[str, Wish]
) -> dict[str, list[Kept]]:
    """The dates that a chip keeps of every modality, chosen together where `Near` binds them.

    A modality that is near another keeps for each kept date of the other the one that is best by its own order among
    those within the gap (as a composite: all of them, up to ``max_dates``); where it is not optional, the other keeps
    only dates that have such a companion. So of a cloudy pair and a clear one, both with companions, the clear one
    stays, and a clear date without a companion does not.

    Args:
        candidates: modality -> its dates.
        wishes: modality -> what is wanted, for the same modalities.
    """
    usable = {name: _usable(candidates[name], wish) for name, wish in wishes.items()}
    dates = {name: [_moment(candidate, wish) for candidate in candidates[name]] for name, wish in wishes.items()}
    order = _followers_first(wishes)
    for name in order:
        near = _near(name, wishes)
        if near is not None:
            usable[name] = _with_companion(name, near.modality, near.max_gap_days, dates, usable)
        if wishes[name].is_one_pass:
            usable[name] = _of_one_pass(candidates[name], usable[name], wishes[name])
        if near is not None and not wishes[name].is_optional:
            usable[near.modality] = _with_companion(near.modality, name, near.max_gap_days, dates, usable)
    kept: dict[str, list[Kept]] = {}
    for name in reversed(order):
        near = _near(name, wishes)
        others = None
        if near is not None:
            others = [dates[near.modality][i] for date in kept[near.modality] for i in date.members]
        kept[name] = _in_windows(candidates[name], usable[name], wishes[name], others)
    return {name: kept[name] for name in wishes}


def screen_dates(chip_id: str, modality: str, kept: Sequence[Kept], wish: Wish) -> Outcome | None:
    """The rejection of a chip with too few dates or windows of a modality, or None."""
    filled = [date for date in kept if date.members]
    windows = len({date.span.window for date in filled})
    least = wish.select.min_windows if wish.select.min_windows is not None else (2 if wish.is_pair else 0)
    if len(filled) < wish.select.min_dates:
        return Outcome(chip_id, "rejected", f"{modality}.min_dates", float(len(filled)), float(wish.select.min_dates))
    if windows < least:
        return Outcome(chip_id, "rejected", f"{modality}.min_windows", float(windows), float(least))
    return None


def _near(name: str, wishes: Mapping[str, Wish]) -> Near | None:
    """The modality's companion, where the chip's wishes hold it."""
    near = wishes[name].select.near
    return near if near is not None and near.modality in wishes else None


def _followers_first(wishes: Mapping[str, Wish]) -> list[str]:
    """Modalities, each before the one that it is near to."""

    def depth(name: str) -> int:
        near = _near(name, wishes)
        return 0 if near is None else 1 + depth(near.modality)

    return sorted(wishes, key=lambda name: (-depth(name), name))


def _usable(candidates: Sequence[DateCandidate], wish: Wish) -> list[int]:
    """Dates inside a window and its limits, in time order."""
    found = [
        index
        for index, candidate in enumerate(candidates)
        if (span := _span_of(candidate, wish)) is not None
        and _is_within(candidate, wish.select, span.reference_utc)
        and (not wish.needs_clear or candidate.clear_fraction + candidate.slack > 0.0)
    ]
    return sorted(found, key=lambda i: _by_time(candidates[i]))


def _span_of(candidate: DateCandidate, wish: Wish) -> Span | None:
    place = span_at(wish.spans, candidate.datetime_utc)
    return None if place is None else wish.spans[place]


Moment = tuple[datetime, str]
"""When, and on which side of a pair's event; empty where there is none."""


def _moment(candidate: DateCandidate, wish: Wish) -> Moment:
    span = _span_of(candidate, wish) if wish.is_pair else None
    return candidate.datetime_utc, span.window if span is not None else ""


def _is_near(one: Moment, other: Moment, max_gap_days: float) -> bool:
    """Whether two dates are companions: within the gap, and no event between them."""
    gap_s = abs((one[0] - other[0]).total_seconds())
    return gap_s <= max_gap_days * DAY_S and (one[1] == other[1] or not (one[1] and other[1]))


def _with_companion(
    name: str,
    other: str,
    max_gap_days: float,
    dates: Mapping[str, Sequence[Moment]],
    usable: Mapping[str, Sequence[int]],
) -> list[int]:
    """The usable dates of a modality that have a usable one of the other beside them."""
    others = [dates[other][i] for i in usable[other]]
    return [i for i in usable[name] if any(_is_near(dates[name][i], date, max_gap_days) for date in others)]


def _of_one_pass(candidates: Sequence[DateCandidate], usable: Sequence[int], wish: Wish) -> list[int]:
    """The dates of that pass which fills most windows, then has most dates, then rises; all where passes are unsaid."""
    by_state: dict[str, list[int]] = defaultdict(list)
    for index in usable:
        by_state[candidates[index].orbit_state].append(index)

    def rank(state: str) -> tuple[int, int, str]:
        spans = {span.window for i in by_state[state] if (span := _span_of(candidates[i], wish)) is not None}
        return -len(spans), -len(by_state[state]), state

    return by_state[min(by_state, key=rank)] if by_state else []


def _in_windows(
    candidates: Sequence[DateCandidate], usable: Sequence[int], wish: Wish, others: Sequence[Moment] | None
) -> list[Kept]:
    """The dates of each window, beside the kept ``others`` of the near modality where there is one."""
    by_place: dict[int | None, list[int]] = defaultdict(list)
    for index in usable:
        by_place[span_at(wish.spans, candidates[index].datetime_utc)].append(index)
    kept: list[Kept] = []
    for place, span in enumerate(wish.spans):
        here = by_place.get(place, [])
        if wish.select.near is not None and others is not None:
            found = _companions(candidates, here, wish, span, others)
        else:
            found = _preferred(candidates, here, wish.select, _gap_to(span.reference_utc))
        if wish.is_composite:
            kept += [Kept(span, tuple(found))] if found or wish.select.keep_missing else []
        else:
            missing = wish.select.max_dates - len(found) if wish.select.keep_missing else 0
            kept += [Kept(span, (i,)) for i in found] + [Kept(span, ())] * missing
    return kept


def _companions(
    candidates: Sequence[DateCandidate], here: Sequence[int], wish: Wish, span: Span, others: Sequence[Moment]
) -> list[int]:
    limit = wish.select.near.max_gap_days if wish.select.near is not None else 0.0
    dates = {i: _moment(candidates[i], wish) for i in here}
    found: set[int] = set()
    for other in others:
        close = [i for i in here if _is_near(dates[i], other, limit)]
        prefer = _preference(wish.select, _gap_to(other[0]))
        if wish.is_composite:
            found.update(close)
        elif close:
            found.add(min(close, key=lambda i: (prefer(candidates[i]), *_by_time(candidates[i]))))
    return _preferred(candidates, sorted(found), wish.select, lambda c: min(_gap_s(c, moment) for moment, _ in others))


def _preferred(
    candidates: Sequence[DateCandidate],
    usable: Sequence[int],
    select: Select,
    gap: Callable[[DateCandidate], float],
) -> list[int]:
    """At most ``max_dates`` of the usable dates by the recipe's order, in time order."""
    usable = sorted(usable, key=lambda i: _by_time(candidates[i]))
    if len(usable) <= select.max_dates:
        return usable
    if select.how == "all":
        return _thinned(usable, select.max_dates)
    prefer = _preference(select, gap)
    best = sorted(usable, key=lambda i: (prefer(candidates[i]), *_by_time(candidates[i])))[: select.max_dates]
    return sorted(best, key=lambda i: _by_time(candidates[i]))


def _by_time(candidate: DateCandidate) -> tuple[datetime, str]:
    return candidate.datetime_utc, candidate.item_id


def _gap_s(candidate: DateCandidate, moment: datetime) -> float:
    return abs((candidate.datetime_utc - moment).total_seconds())


def _gap_to(moment: datetime) -> Callable[[DateCandidate], float]:
    return lambda candidate: _gap_s(candidate, moment)


def _is_within(candidate: DateCandidate, select: Select, reference_utc: datetime) -> bool:
    """Whether a date passes the limits of the recipe."""
    if candidate.clear_fraction < select.min_clear_fraction - candidate.slack:
        return False
    if select.max_clear_fraction < 1.0:  # of what is seen: missing ground is no cloud
        most = select.max_clear_fraction * (1.0 - candidate.nodata_fraction)
        if candidate.clear_fraction > most + candidate.slack:
            return False
    if candidate.nodata_fraction > select.max_nodata_fraction + candidate.slack or candidate.nodata_fraction >= 1.0:
        return False
    limit = select.max_gap_days
    return limit is None or _gap_s(candidate, reference_utc) <= limit * DAY_S


def _preference(select: Select, gap: Callable[[DateCandidate], float]) -> Callable[[DateCandidate], float]:
    """Sort key of the recipe's order of preference, smallest first; ``all`` beside another modality: the closest."""
    if select.how == "least_cloudy":
        return lambda candidate: -candidate.clear_fraction
    if select.how == "newest":
        return lambda candidate: -candidate.datetime_utc.timestamp()
    return gap


def _thinned(series: list[int], keep: int) -> list[int]:
    """``keep`` entries of a longer list, evenly spread; the middle one where only one is kept."""
    if keep == 1:
        return [series[len(series) // 2]]
    last = len(series) - 1
    return [series[(2 * k * last + keep - 1) // (2 * (keep - 1))] for k in range(keep)]
