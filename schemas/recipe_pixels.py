"""The recipe about pixels: time, sensors, selection, co-registration and screening."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from schemas.recipe_base import Day, Fraction, Model, Name
from schemas.recipe_catalogs import Fallback
from schemas.recipe_radar import GroundRange
from schemas.recipe_windows import Around, Listed, Pair, Windows


class Time(Model):
    """The time window of every chip."""

    start: Day
    """First day."""
    end: Day
    """Last day, included."""
    reference: Day | None = None
    """Day from which gaps are counted; the middle of the window where absent."""
    windows: Windows | None = None
    """Several windows per chip inside these days; one where absent."""

    @model_validator(mode="after")
    def _ordered(self) -> Time:
        if self.end < self.start:
            raise ValueError("time.end lies before time.start")
        for window in self.windows.windows if isinstance(self.windows, Listed) else ():
            if window.start < self.start or window.end > self.end:
                raise ValueError(f"window {window.id} reaches beyond time.start and time.end")
        event = self.windows.event if isinstance(self.windows, Pair | Around) else None
        if event is not None and not self.start <= event <= self.end:
            raise ValueError("time.windows.event lies outside time.start and time.end")
        away = self.windows.excluded if isinstance(self.windows, Pair) else None
        if event is not None and away is not None and not self.start < event - away <= event + away < self.end:
            raise ValueError(
                f"time.windows.event {event} leaves no day before or after it in time.start and time.end: "
                "give days on both sides of it"
            )
        return self

    def until(self, day: date) -> Time:
        """The same up to a day: windows that begin later are left out, one that holds the day ends with it.

        Raises:
            ValueError: nothing is left, or not both sides of the event that a pair lies around.
        """
        if day < self.start:
            raise ValueError(f"lies before the first day, {self.start}")
        windows, end = self.windows, min(self.end, day)
        if isinstance(windows, Pair) and windows.event is not None and windows.event + windows.excluded >= day:
            raise ValueError(f"lies before the first day after the event of {windows.event}")
        if isinstance(windows, Around) and windows.event is not None and windows.event > day:
            raise ValueError(f"lies before the event of {windows.event}")
        if isinstance(windows, Listed):
            left = [one.model_copy(update={"end": min(one.end, end)}) for one in windows.windows if one.start <= end]
            if not left:
                raise ValueError(f"lies before the first window, {windows.windows[0].id}")
            windows = windows.model_copy(update={"windows": tuple(left)})
        return self.model_copy(update={"end": end, "windows": windows})

    def window_utc(self) -> tuple[datetime, datetime, datetime]:
        """Start, end and reference as UTC times."""
        return days_utc(self.start, self.end, self.reference)


def days_utc(first: date, last: date, reference: date | None = None) -> tuple[datetime, datetime, datetime]:
    """Start, end and reference of a stretch of days as UTC times; the middle where no day is the reference."""
    start = datetime.combine(first, time.min, UTC)
    end = datetime.combine(last, time.max, UTC).replace(microsecond=0)
    if reference is not None:
        return start, end, datetime.combine(reference, time(12), UTC)
    return start, end, (start + (end - start) / 2).replace(microsecond=0)


class Near(Model):
    """Dates that another modality must have close by."""

    modality: Name
    """The other one."""
    max_gap_days: PositiveFloat
    """Largest time between a date of this modality and a kept date of the other."""


class Select(Model):
    """Which dates of a modality a chip keeps."""

    how: Literal["all", "closest", "least_cloudy", "newest"] = "all"
    """Order of preference; kept dates always stand in time order."""
    max_dates: PositiveInt = 4
    """At most so many, in each window."""
    min_dates: int = Field(default=1, ge=0)
    """Fewer, over all windows, reject the chip."""
    min_windows: int | None = Field(default=None, ge=0)
    """Fewer windows with a date reject the chip; both of a pair where absent, else any number."""
    keep_missing: bool = False
    """Whether a window in which a chip has fewer than ``max_dates`` (for composites: none) is filled up with empty
    dates, no data and no time, so that all chips have the same steps."""
    near: Near | None = None
    """Only dates close to those of another modality; the two are chosen together."""
    min_clear_fraction: Fraction = 0.0
    """A date with less clear ground over the chip is not kept."""
    max_clear_fraction: Fraction = 1.0
    """A date with more clear ground on what it shows of the chip is not kept: the cloudy pictures of a set of pairs."""
    max_nodata_fraction: Fraction = 0.5
    """A date with more missing pixels over the chip is not kept."""
    max_gap_days: PositiveFloat | None = None
    """A date further from the reference is not kept."""
    snow_is_clear: bool = False
    """Whether snow counts as clear."""

    @model_validator(mode="after")
    def _leaves_something(self) -> Select:
        if self.min_clear_fraction > self.max_clear_fraction:
            raise ValueError(
                f"min_clear_fraction {self.min_clear_fraction:g} is above max_clear_fraction "
                f"{self.max_clear_fraction:g}: no date would be kept"
            )
        return self


class Composite(Model):
    """One picture per window out of all dates that `Select` keeps in it."""

    how: Literal["median", "mean", "medoid", "best"]
    """``median``, ``mean``: band by band over clear pixels; ``medoid``: the clear date nearest to all others in all
    bands; ``best``: the date that is first by `best_by`. SAR in linear power."""
    best_by: Literal["clear", "ndvi", "closest", "newest"] = "clear"
    """``best``: the clearest by mask, then the closest; the greenest of the clear; the clear one closest to the
    window's reference; the newest clear one."""
    min_count: NonNegativeInt = 1
    """A pixel seen clearly on fewer dates is no data; 0, for ``best``: it is the least bad date's, with its code."""

    @model_validator(mode="after")
    def _says_what_it_does(self) -> Composite:
        if self.how != "best" and self.best_by != "clear":
            raise ValueError(f"best_by is for how: best, not {self.how}")
        if self.how != "best" and self.min_count == 0:
            raise ValueError(f"min_count: 0 is for how: best, not {self.how}, which needs a clear date")
        return self


class Modality(Model):
    """One sensor's share of the dataset."""

    sensor: str
    """Sensor profile."""
    catalog: Name
    """Catalog to search."""
    collection: str
    """STAC collection id."""
    bands: tuple[str, ...] = ()
    """Band names of the profile; all where empty."""
    bands_order: Literal["file", "wavelength"] = "file"
    """Bands that each item brings (EnMAP): as the file has them, or by rising centre wavelength."""
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Item properties that must be equal (``sat:orbit_state: ascending``)."""
    time: Time | None = None
    """Its own window instead of the recipe's."""
    select: Select = Select()
    """Which dates."""
    engine: Name = "direct"
    """How pixels are read: direct, stackstac or odc-stac, which all give the same bits, or an installed engine."""
    grid: Literal["native", "snapped", "common"] = "native"
    """``native``: the sensor's own lattice; ``snapped``: its own GSD on the chip's edges; ``common``: grid.gsd_m."""
    resampling: Literal["nearest", "bilinear", "cubic"] = "bilinear"
    """Kernel for measurements where resampling is due; classes and masks are always nearest."""
    offset: Literal["as_delivered", "pre04", "post04"] = "as_delivered"
    """Sentinel-2 digital numbers: as they came, or brought to one baseline. No other sensor has baselines."""
    store: Literal["as_delivered", "linear", "db"] = "as_delivered"
    """SAR: as it came, linear power, or decibel."""
    ground_range: GroundRange | None = None
    """Sentinel-1 GRD amplitude: how it becomes backscatter on the map; such items are refused where it is absent."""
    optional: bool = False
    """Whether a chip without it is kept."""
    fallbacks: tuple[Fallback, ...] = ()
    """Other providers of the same products, in order of preference, for when the catalog cannot be used."""
    composite: Composite | None = None
    """One picture per window instead of single dates."""
    orbit_state: Literal["ascending", "descending", "both"] | None = None
    """SAR pass; absent: each chip keeps the one that serves it best, and never both in one layer unless asked."""
    relative_orbits: tuple[PositiveInt, ...] = ()
    """Only these tracks."""
    platforms: tuple[str, ...] = ()
    """Only these satellites (``sentinel-2a``)."""
    min_sun_elevation_deg: float | None = Field(default=None, ge=-90.0, le=90.0)
    """Items with a lower sun, or of an unknown one, are left out."""
    incidence_deg: tuple[float, float] | None = None
    """Smallest and largest incidence or view angle; items of an unknown one are left out."""

    @model_validator(mode="after")
    def _fits_together(self) -> Modality:
        if twice := [band for band in self.bands if self.bands.count(band) > 1]:
            raise ValueError(f"bands: {twice[0]!r} stands twice; name each band once")
        if self.incidence_deg is not None and not 0.0 <= self.incidence_deg[0] <= self.incidence_deg[1] <= 90.0:
            raise ValueError("incidence_deg is smallest and largest angle, 0 to 90")
        if self.offset != "as_delivered" and not self.sensor.startswith("sentinel-2"):
            raise ValueError(f"offset: {self.offset} is for Sentinel-2, not {self.sensor}")
        return self


def check_near(near: Mapping[str, Near | None]) -> None:
    """Raise ValueError where a modality's `Near` names none of the recipe, or the modalities go round in a circle.

    Args:
        near: modality -> its ``select.near``.
    """
    for name, wish in near.items():
        if wish is not None and wish.modality not in near:
            raise ValueError(f"modalities.{name}.select.near is {wish.modality!r}, but modalities has {sorted(near)}")
    for name in near:
        seen, wish = [name], near[name]
        while wish is not None:
            if wish.modality in seen:
                raise ValueError(f"select.near goes round in a circle: {' -> '.join([*seen, wish.modality])}")
            seen.append(wish.modality)
            wish = near[wish.modality]


def _off(value: object) -> object:
    return "off" if value is False else value


class Register(Model):
    """Measurement of residual shifts."""

    mode: Annotated[Literal["off", "measure", "correct", "reject"], BeforeValidator(_off)] = "measure"
    """What to do with them. YAML reads a bare ``off`` as false; both are taken."""
    reference: Name | None = None
    """Modality that the others are measured against; the first optical one where absent."""
    min_reliability: Fraction = 0.3
    """Below it the estimate is not used."""
    max_shift_m: PositiveFloat = 60.0
    """``reject``: a reliable larger shift rejects; ``correct``: only smaller ones are corrected."""
    correct_above_m: PositiveFloat = 5.0
    """``correct``: smaller shifts stay as they are."""
    correct_by: Literal["chip", "scene"] = "chip"
    """Whose estimate ``correct`` and ``reject`` go by: each chip's own, or that of the whole acquisition, combined
    from all chips that agree; where they do not agree, each chip's own."""
    min_scene_chips: int = Field(default=5, ge=2)
    """An acquisition's shift needs reliable estimates of so many chips."""


class Screen(Model):
    """What rejects a chip."""

    max_nodata_fraction: Fraction = 0.3
    """Largest share of missing pixels in a kept date of any modality, after selection."""
    max_saturated_fraction: Fraction = 0.2
    """Largest share of saturated or defective pixels."""
    reject_constant: bool = True
    """A date with a single value over the whole chip is defective."""
    min_clear_fraction: Fraction = 0.0
    """Least share of clear ground in a kept date of an optical or thermal modality, after selection."""
    max_constant_band_fraction: Fraction = 1.0
    """Largest share of a layer's bands with a single value over the whole chip."""
    max_striping: PositiveFloat | None = None
    """Largest offset of the lines from their neighbours, in typical ones of a pixel: ground lies below 0.3, stripes as
    strong as the texture above 0.5."""
    max_repeated_line_fraction: Fraction = 1.0
    """Largest share of rows or columns that repeat their neighbour or hold a single value (dropped lines)."""
    max_equal_fraction: Fraction = 1.0
    """Largest share of pixels that two dates of a modality have in common bit for bit (a date delivered twice)."""
    max_gap_days: PositiveFloat | None = None
    """Longest time between neighbouring dates of a modality."""
    near_duplicates: Literal["off", "report", "reject"] = "report"
    """Chips that show the same place twice: listed in ``dataset.json``, or the later id rejected."""
    max_similarity: float = Field(default=0.94, ge=0.9, lt=1.0)
    """Share of equal fingerprint bits above which two chips show the same place; two places share about 0.5."""
