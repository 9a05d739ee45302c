"""The recipe about windows: into which stretches of time a chip's dates fall, several per chip."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.recipe_base import Day, Model, Name

SEASON_NAMES: dict[str, tuple[str, ...]] = {
    "months": tuple(f"m{month:02}" for month in range(1, 13)),
    "quarters": ("q1", "q2", "q3", "q4"),
    "meteorological": ("winter", "spring", "summer", "autumn"),
    "phenology": ("season", "green_up", "senescence"),
}
"""What ``only`` may name in each calendar."""
MOST_DAYS = 110_000
"""A window around an event is no longer than all the days that a recipe may name, 1900 to 2199: from none of them it
leaves the calendar."""


class Seasons(Model):
    """Every season between the recipe's first and last day."""

    kind: Literal["seasons"]
    """Which of the kinds this is."""
    calendar: Literal["months", "quarters", "meteorological", "phenology"] = "meteorological"
    """``months``, ``quarters``: of the calendar; ``meteorological``: three whole months, named by the chip's
    hemisphere; ``phenology``: start, peak and end of season out of `table`."""
    only: tuple[str, ...] = ()
    """Some of the seasons (``[spring, summer]``); all where empty, for phenology the whole ``season``."""
    table: str | None = None
    """``phenology``: CSV beside the recipe with ``chip_id`` or ``region``, ``start``, ``peak``, ``end`` and, where
    these are days of a year, ``year`` (a row without one holds for every year)."""

    @model_validator(mode="after")
    def _fits_calendar(self) -> Seasons:
        known = SEASON_NAMES[self.calendar]
        unknown = [name for name in self.only if name not in known]
        if unknown:
            raise ValueError(f"only names {unknown[0]!r}; {self.calendar} has {', '.join(known)}")
        if (self.calendar == "phenology") != (self.table is not None):
            raise ValueError("calendar phenology and table go together")
        if "season" in self.only and len(self.only) > 1:
            raise ValueError("season overlaps green_up and senescence: name it alone, or those two")
        return self


class Every(Model):
    """Steps of equal length from the recipe's first day on; the last one may be shorter."""

    kind: Literal["every"]
    """Which of the kinds this is."""
    days: int = Field(ge=1)
    """Length of a step."""


class Window(Model):
    """One stretch of time."""

    id: Name
    """Stands beside every date that was taken from it."""
    start: Day
    """First day."""
    end: Day
    """Last day, included."""
    reference: Day | None = None
    """Day from which ``closest`` and ``max_gap_days`` count; the middle where absent."""

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.end < self.start:
            raise ValueError(f"window {self.id}: end lies before start")
        return self


class Listed(Model):
    """Windows one by one."""

    kind: Literal["list"]
    """Which of the kinds this is."""
    windows: tuple[Window, ...] = Field(min_length=1)
    """In time order, none over another."""

    @model_validator(mode="after")
    def _apart(self) -> Listed:
        for before, after in zip(self.windows, self.windows[1:], strict=False):
            if after.start <= before.end:
                raise ValueError(f"window {after.id} begins before {before.id} has ended: order them, without overlap")
        ids = [window.id for window in self.windows]
        if len(set(ids)) < len(ids):
            raise ValueError("two windows have the same id")
        return self


class _OfDays(Model):
    event: Day | None = None
    """The day, where all chips have the same."""
    table: str | None = None
    """CSV, Parquet or GeoJSON beside the recipe with the day per chip: rows are found by ``chip_id``, by ``region``, or
    by the point (``lon`` and ``lat``, or a geometry) that lies in the chip."""
    column: str | None = None
    """Column that holds the day: of `table` (``event`` where absent), or, without one, of the grid's own table."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.event is None) == (self.table is None and self.column is None):
            raise ValueError("give either event, or the column of a table that holds it")
        return self

    @property
    def key(self) -> str:
        """Name of the day in `schemas.chip.ChipSpec.dates`."""
        return date_key(self.table or "", self.column or "event")


class Pair(_OfDays):
    """Before and after an event: windows ``pre`` and ``post``."""

    kind: Literal["pair"]
    """Which of the kinds this is."""
    before_days: int = Field(default=30, ge=1, le=MOST_DAYS)
    """How far ``pre`` reaches back from the event."""
    after_days: int = Field(default=30, ge=1, le=MOST_DAYS)
    """How far ``post`` reaches on from it."""
    exclude_days: int = Field(default=0, ge=0)
    """Days on either side of the event that belong to neither; the event's own day never does."""

    @model_validator(mode="after")
    def _leaves_days(self) -> Pair:
        if self.exclude_days >= min(self.before_days, self.after_days):
            raise ValueError("exclude_days leaves nothing of a window")
        return self

    @property
    def excluded(self) -> timedelta:
        """How far the last day of no window lies from the event."""
        return timedelta(days=self.exclude_days)


class Around(_OfDays):
    """Days around one that was observed, which belongs to them: window ``day``, and steps back from it (``day-30``)."""

    kind: Literal["around"]
    """Which of the kinds this is."""
    days: int = Field(default=2, ge=0, le=MOST_DAYS)
    """How far each window reaches to both sides of its own day."""
    steps: int = Field(default=1, ge=1, le=1000)
    """Windows in all: that of the day, and so many before it."""
    step_days: int = Field(default=30, ge=1, le=MOST_DAYS)
    """From one window's day to that of the next."""

    @model_validator(mode="after")
    def _apart(self) -> Around:
        if self.steps > 1 and self.step_days <= 2 * self.days:
            raise ValueError(f"steps of {self.step_days} days overlap: windows are {2 * self.days + 1} days long")
        if self.steps * self.step_days > MOST_DAYS:
            raise ValueError(f"{self.steps} steps of {self.step_days} days leave the calendar")
        return self


def date_key(table: str, column: str) -> str:
    """Name in `schemas.chip.ChipSpec.dates` of a day that a table gives."""
    return f"{table}:{column}"


Windows = Annotated[Seasons | Every | Listed | Pair | Around, Field(discriminator="kind")]
