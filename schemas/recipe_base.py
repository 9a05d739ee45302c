"""What every section of the recipe is made of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("a name has 1-64 characters of a-z, 0-9, _ and -, and begins with a letter or digit")
    return value


Name = Annotated[str, AfterValidator(_check_name)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
LonLatBox = tuple[float, float, float, float]


class Model(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
