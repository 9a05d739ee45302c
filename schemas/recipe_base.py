"""What every section of the recipe is made of."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from schemas.sample import CHIP_ID

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

FIRST_YEAR, LAST_YEAR = 1900, 2199
"""Years of a day: of the time of pictures from above, and of what nanoseconds in 64 bits can count."""


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("a name has 1-64 characters of a-z, 0-9, _ and -, and begins with a letter or digit")
    return value


def _check_chip_id(value: str) -> str:
    if not CHIP_ID.fullmatch(value):
        raise ValueError("a chip's id has 1-60 letters, digits, _ and -")
    return value


def _check_writing(value: object) -> object:
    """Pydantic would take a number for seconds since 1970."""
    has_clock = isinstance(value, datetime) and (value.hour, value.minute, value.second) != (0, 0, 0)
    if isinstance(value, int | float) or has_clock:
        raise ValueError("write a day of the calendar, as 2021-06-30")
    return value


def _check_day(value: date) -> date:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"a day lies between {FIRST_YEAR} and {LAST_YEAR}")
    return value


Name = Annotated[str, AfterValidator(_check_name)]
ChipId = Annotated[str, AfterValidator(_check_chip_id)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Day = Annotated[date, BeforeValidator(_check_writing), AfterValidator(_check_day)]
LonLatBox = tuple[float, float, float, float]


class Model(BaseModel):
    """Frozen; unknown keys are errors, and so are numbers without an end."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
