"""Stored numbers as the recipe wants them: Sentinel-2 baselines brought together, SAR in linear power or decibel.

By default nothing is changed: numbers stay as delivered, with scale and offset beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality

PRE04_NODATA = -32768
"""No data of ``offset: pre04``: int16, so that negative reflectance lives and DN 0 is a value like any other."""
DN_SCALE = 1e-4
"""Reflectance of one digital number of Sentinel-2, in which its offset of 1000 is counted."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One date of one layer as it will be stored."""

    data: NDArray[Any]
    """(band, y, x)."""
    scale: float
    """physical = stored * scale + offset."""
    offset: float
    """See ``scale``."""
    nodata: float | None
    """Stored value of no data."""
    unit: str
    """Unit of the physical value."""


def is_kept_as_given(given: Stored, modality: Modality) -> bool:
    """Whether `to_stored` changes nothing: the recipe wants the date in the form in which it was delivered."""
    converted = (("db", "linear"), ("linear", "dB"))
    return modality.offset == "as_delivered" and (modality.store, given.unit) not in converted


def to_stored(given: Stored, missing: NDArray[np.bool_], modality: Modality) -> Stored:
    """The date as the recipe wants it stored.

    Args:
        given: as delivered.
        missing: (band, y, x) where ``given`` holds no data.
        modality: the recipe's ``offset`` and ``store``.

    Raises:
        UnsupportedItemError: the recipe asks for a form that this date cannot take.
    """
    if modality.offset != "as_delivered":
        return _to_baseline(given, missing, modality.offset)
    if modality.store == "db" and given.unit == "linear":
        return _to_db(given, missing)
    if modality.store == "linear" and given.unit == "dB":
        return _to_linear(given, missing)
    return given


def baseline_refusal(dtype: str, scale: float, offset: float, wanted: str) -> str:
    """Why numbers cannot be brought to the baseline that the recipe wants; empty where they can, or none is wanted.

    Reflectance in floating point, or of another scale, has no baseline in digital numbers.
    """
    if wanted == "as_delivered":
        return ""
    if np.dtype(dtype).kind not in "iu" or not math.isclose(scale, DN_SCALE, rel_tol=1e-6):
        return (
            f"offset: {wanted} shifts whole digital numbers of scale {DN_SCALE:g}, and these are"
            f" {dtype} of scale {scale:g}: set offset: as_delivered"
        )
    shift = offset / scale
    if abs(shift - round(shift)) > 1e-6:
        return f"an offset of {offset} is no whole number of digital numbers"
    return ""


def _to_baseline(given: Stored, missing: NDArray[np.bool_], wanted: str) -> Stored:
    """Digital numbers shifted by a whole number so that every date has offset 0 (pre04) or -0.1 (post04)."""
    if reason := baseline_refusal(given.data.dtype.name, given.scale, given.offset, wanted):
        raise UnsupportedItemError(reason)
    shift = given.offset / given.scale - (0.0 if wanted == "pre04" else -1000.0)
    shifted = given.data.astype(np.int32) + round(shift)
    if wanted == "pre04":
        data = np.clip(shifted, -32767, 32767).astype(np.int16)
        data[missing] = PRE04_NODATA
        return Stored(data, given.scale, 0.0, PRE04_NODATA, given.unit)
    stored = np.clip(shifted, 1, 65535).astype(np.uint16)
    stored[missing] = 0
    return Stored(stored, given.scale, -1000.0 * given.scale, 0, given.unit)


def _to_db(given: Stored, missing: NDArray[np.bool_]) -> Stored:
    """Decibel; power at or below zero has none and becomes no data."""
    power = given.data.astype(np.float64) * given.scale + given.offset
    with np.errstate(divide="ignore", invalid="ignore"):
        data = (10.0 * np.log10(power)).astype(np.float32)
    nodata = -32768.0 if given.nodata is None or np.isnan(given.nodata) else given.nodata
    data[missing | ~np.isfinite(data)] = nodata
    return Stored(data, 1.0, 0.0, nodata, "dB")


def _to_linear(given: Stored, missing: NDArray[np.bool_]) -> Stored:
    data = np.power(10.0, (given.data.astype(np.float64) * given.scale + given.offset) / 10.0).astype(np.float32)
    nodata = -32768.0 if given.nodata is None or np.isnan(given.nodata) else given.nodata
    data[missing | ~np.isfinite(data)] = nodata
    return Stored(data, 1.0, 0.0, nodata, "linear")


def holds(data: NDArray[Any], value: float) -> NDArray[np.bool_]:
    """Where stored numbers are a value; among whole numbers nowhere where their type cannot hold it.

    These are compared as such: beside a float NumPy converts the pixels first, which takes nine times as long.

    Example:
        >>> import numpy as np
        >>> holds(np.array([0, 7], np.uint16), 0.0).tolist(), holds(np.array([0, 7], np.uint16), -1.0).tolist()
        ([True, False], [False, False])
    """
    if data.dtype.kind not in "iu":
        return np.asarray(data == value)
    limits = np.iinfo(data.dtype)
    if not limits.min <= value <= limits.max or value != int(value):
        return np.zeros(data.shape, np.bool_)
    return np.asarray(data == data.dtype.type(int(value)))


def is_missing(data: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Where stored values hold no data: the no-data value, and anything that is not finite."""
    missing = np.zeros(data.shape, dtype=bool)
    if data.dtype.kind == "f":
        missing |= ~np.isfinite(data)
    if nodata is not None and not np.isnan(nodata):
        missing |= data == np.asarray(nodata).astype(data.dtype)
    return missing


def stored_form(dtype: str, nodata: float | None, unit: str, modality: Modality) -> tuple[str, float | None, str]:
    """Type, no-data value and unit that `to_stored` gives, without pixels: what a dataset documents.

    What is not finite is no data by itself and is not named: JSON has no word for it.
    """
    named = nodata if nodata is not None and np.isfinite(nodata) else None
    if modality.offset == "pre04":
        return "int16", PRE04_NODATA, unit
    if modality.offset == "post04":
        return "uint16", 0, unit
    if (modality.store, unit) in (("db", "linear"), ("linear", "dB")):
        return "float32", -32768.0 if named is None else named, "dB" if modality.store == "db" else "linear"
    return dtype, named, unit
