"""The windows of a chip: `spans_of` turns the recipe's wishes, the chip's hemisphere and its own dates into times.

Windows of one chip never overlap and stand in time order, so that the dates taken from them rise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import shapely
from numpy.typing import NDArray

from schemas.chip import ChipSpec
from schemas.recipe import Time
from schemas.recipe_pixels import days_utc
from schemas.recipe_windows import SEASON_NAMES, Around, Every, Listed, Pair, Seasons, date_key

NORTH = ("winter", "spring", "summer", "autumn")
SOUTH = ("summer", "autumn", "winter", "spring")
"""Meteorological seasons from December, March, June and September on."""


@dataclass(frozen=True, slots=True)
class Span:
    """One window of one chip."""

    window: str
    """Its id, unique in the chip; empty where the recipe names no windows."""
    start_utc: datetime
    """Begin."""
    end_utc: datetime
    """End, included."""
    reference_utc: datetime
    """What ``closest`` and ``max_gap_days`` count from."""

    def holds(self, moment: datetime) -> bool:
        """Whether a time lies in it, to the end of its last second; without windows the catalog has decided that."""
        return not self.window or self.start_utc <= moment.replace(microsecond=0) <= self.end_utc


def span_at(spans: Sequence[Span], moment: datetime) -> int | None:
    """Place of the window that holds a time, of two neighbours that overlap the first; None where none does.

    Found by halves: a series may have thousands.

    Args:
        spans: `spans_of` a chip.
        moment: the time.
    """
    place = max(bisect_right(spans, moment, key=lambda span: span.start_utc) - 1, 0)
    while place > 0 and spans[place - 1].holds(moment):
        place -= 1
    return place if spans and spans[place].holds(moment) else None


Days = tuple[str, date, date, date | None]
"""Window id, first and last day, reference."""
COLUMN_PREFIX = "date "
"""Begins the columns of a `chips.cell_table.CellTable` that hold days for `ChipSpec.dates`, in ISO form or empty."""


def dates_at(columns: Mapping[str, NDArray[Any]], index: int) -> tuple[tuple[str, date], ...]:
    """`ChipSpec.dates` of one row of a table of cells."""
    prefixed = [name for name in sorted(columns) if name.startswith(COLUMN_PREFIX)]
    found = ((name.removeprefix(COLUMN_PREFIX), str(columns[name][index])) for name in prefixed)
    return tuple((key, date.fromisoformat(day)) for key, day in found if day)


def spans_of(wish: Time, chip: ChipSpec) -> tuple[Span, ...]:
    """The windows of a chip, cut to ``time.start`` and ``time.end``; those that lie wholly outside are left out.

    Args:
        wish: the recipe's or a modality's ``time``.
        chip: whose hemisphere decides the names of seasons, and whose ``dates`` hold what tables say of it.

    Example:
        >>> from schemas.recipe import Time
        >>> wish = Time(start="2021-01-01", end="2021-01-20", windows={"kind": "every", "days": 10})
        >>> here = shapely.to_wkb(shapely.Point(9, 48))
        >>> chip = ChipSpec("c", 32632, (0, 0, 1, 1), "r", "train", "b", *wish.window_utc(), here)
        >>> [(span.window, span.end_utc.day) for span in spans_of(wish, chip)]
        [('2021-01-01', 10), ('2021-01-11', 20)]
    """
    if wish.windows is None:
        return (Span("", *wish.window_utc()),)
    return _steps(wish) if isinstance(wish.windows, Every) else _cut(wish, _days(wish, chip))


@lru_cache(maxsize=8)
def _steps(wish: Time) -> tuple[Span, ...]:
    """Steps of equal length: the same for all chips, and perhaps thousands."""
    return _cut(wish, _every(wish, wish.windows.days if isinstance(wish.windows, Every) else 1))


def _cut(wish: Time, found: Iterator[Days]) -> tuple[Span, ...]:
    """Windows in time order, cut to ``time.start`` and ``time.end``."""
    spans = []
    for window, first, last, middle in sorted(found, key=lambda days: days[1:3]):
        first, last = max(first, wish.start), min(last, wish.end)
        if first <= last:
            spans.append(Span(window, *days_utc(first, last, middle)))
    return tuple(spans)


def _days(wish: Time, chip: ChipSpec) -> Iterator[Days]:
    windows = wish.windows
    if isinstance(windows, Listed):
        yield from ((window.id, window.start, window.end, window.reference) for window in windows.windows)
    elif isinstance(windows, Pair):
        yield from _pair(windows, chip)
    elif isinstance(windows, Around):
        yield from _around(windows, chip)
    elif isinstance(windows, Seasons) and windows.table is not None:
        yield from _phenology(windows, windows.table, chip)
    elif isinstance(windows, Seasons):
        yield from _seasons(wish, windows, chip)


def _every(wish: Time, days: int) -> Iterator[Days]:
    for first in range(wish.start.toordinal(), wish.end.toordinal() + 1, days):
        begin, last = date.fromordinal(first), date.fromordinal(min(first + days - 1, wish.end.toordinal()))
        yield begin.isoformat(), begin, last, None


def _pair(pair: Pair, chip: ChipSpec) -> Iterator[Days]:
    event = pair.event or dict(chip.dates).get(pair.key)
    if event is None:
        return
    away = timedelta(days=pair.exclude_days + 1)
    yield "pre", event - timedelta(days=pair.before_days), event - away, event
    yield "post", event + away, event + timedelta(days=pair.after_days), event


def _around(around: Around, chip: ChipSpec) -> Iterator[Days]:
    day, reach = around.event or dict(chip.dates).get(around.key), timedelta(days=around.days)
    if day is None:
        return
    for back in range(0, around.steps * around.step_days, around.step_days):
        middle = day - timedelta(days=back)
        yield f"day-{back}" if back else "day", middle - reach, middle + reach, middle


def _seasons(wish: Time, seasons: Seasons, chip: ChipSpec) -> Iterator[Days]:
    """Months, or seasons of three, named by the year of their last month."""
    is_south = shapely.from_wkb(chip.footprint_wkb).centroid.y < 0
    names, offset = SEASON_NAMES[seasons.calendar], 0
    if seasons.calendar == "meteorological":
        names, offset = SOUTH if is_south else NORTH, -1
    length = 12 // len(names)
    for year in range(wish.start.year, wish.end.year + 2):
        for place, name in enumerate(names):
            if not seasons.only or name in seasons.only:
                month = 12 * year + length * place + offset
                yield f"{year}-{name}", _first_of(month), _first_of(month + length) - timedelta(days=1), None


def _first_of(month: int) -> date:
    """First day of a month counted from January of year 0."""
    return date(month // 12, month % 12 + 1, 1)


def _phenology(seasons: Seasons, table: str, chip: ChipSpec) -> Iterator[Days]:
    """Seasons of growth: whole, or from the start to the peak and from the day after it to the end."""
    days: Mapping[str, date] = dict(chip.dates)
    prefix = date_key(table, "")
    years = {key.removeprefix(prefix).split(".")[0] for key in days if key.startswith(prefix)}
    for year in sorted(years):
        start, peak, end = (days[f"{prefix}{year}.{column}"] for column in ("start", "peak", "end"))
        wanted = seasons.only or ("season",)
        if "season" in wanted:
            yield f"{year}-season", start, end, peak
        if "green_up" in wanted:
            yield f"{year}-green_up", start, peak, None
        if "senescence" in wanted and peak < end:
            yield f"{year}-senescence", peak + timedelta(days=1), end, None
