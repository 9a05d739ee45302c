"""The recipe about pixels: time, sensors, selection, co-registration and screening."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from schemas.recipe_base import Fraction, Model, Name
from schemas.recipe_catalogs import Fallback


class Time(Model):
    """The time window of every chip."""

    start: date
    """First day."""
    end: date
    """Last day, included."""
    reference: date | None = None
    """Day from which gaps are counted; the middle of the window where absent."""

    @model_validator(mode="after")
    def _ordered(self) -> Time:
        if self.end < self.start:
            raise ValueError("time.end lies before time.start")
        return self

    def window_utc(self) -> tuple[datetime, datetime, datetime]:
        """Start, end and reference as UTC times."""
        start = datetime.combine(self.start, time.min, UTC)
        end = datetime.combine(self.end, time.max, UTC).replace(microsecond=0)
        if self.reference is not None:
            return start, end, datetime.combine(self.reference, time(12), UTC)
        return start, end, (start + (end - start) / 2).replace(microsecond=0)


class Select(Model):
    """Which dates of a modality a chip keeps."""

    how: Literal["all", "closest", "least_cloudy", "newest"] = "all"
    """Order of preference; kept dates always stand in time order."""
    max_dates: PositiveInt = 4
    """At most so many."""
    min_dates: int = Field(default=1, ge=0)
    """Fewer reject the chip."""
    min_clear_fraction: Fraction = 0.0
    """A date with less clear ground over the chip is not kept."""
    max_nodata_fraction: Fraction = 0.5
    """A date with more missing pixels over the chip is not kept."""
    max_gap_days: PositiveFloat | None = None
    """A date further from the reference is not kept."""
    snow_is_clear: bool = False
    """Whether snow counts as clear."""


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
    where: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Item properties that must be equal (``sat:orbit_state: ascending``)."""
    time: Time | None = None
    """Its own window instead of the recipe's."""
    select: Select = Select()
    """Which dates."""
    engine: Literal["direct", "stackstac", "odc-stac"] = "direct"
    """How pixels are read; all three give the same bits."""
    grid: Literal["native", "snapped", "common"] = "native"
    """``native``: the sensor's own lattice; ``snapped``: its own GSD on the chip's edges; ``common``: grid.gsd_m."""
    resampling: Literal["nearest", "bilinear", "cubic"] = "bilinear"
    """Kernel for measurements where resampling is due; classes and masks are always nearest."""
    offset: Literal["as_delivered", "pre04", "post04"] = "as_delivered"
    """Sentinel-2 digital numbers: as they came, or brought to one baseline."""
    store: Literal["as_delivered", "linear", "db"] = "as_delivered"
    """SAR: as it came, linear power, or decibel."""
    optional: bool = False
    """Whether a chip without it is kept."""
    fallbacks: tuple[Fallback, ...] = ()
    """Other providers of the same products, in order of preference, for when the catalog cannot be used."""


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


class Screen(Model):
    """What rejects a chip."""

    max_nodata_fraction: Fraction = 0.3
    """Largest share of missing pixels in a kept date of any modality, after selection."""
    max_saturated_fraction: Fraction = 0.2
    """Largest share of saturated or defective pixels."""
    reject_constant: bool = True
    """A date with a single value over the whole chip is defective."""
