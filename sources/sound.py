"""Fields that are not of their kind: `make_sound` mends them or leaves them out, so that readers may trust kinds.

A catalog may send a word where a number should stand, a list where a table should, or half a transform. A field that
cannot be mended counts as not stated; what then becomes of the item is decided where the field would have been used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

BAND_LISTS = ("bands", "eo:bands", "raster:bands")
NUMBERS = {"proj:transform": (6, 9), "proj:bbox": (4, 6), "proj:shape": (2,)}
"""Field -> how many numbers it may hold."""
TEXTS = ("href", "type", "title", "proj:code", "proj:wkt2")
TIMES = (
    "datetime",
    "start_datetime",
    "end_datetime",
    "platform",
    "constellation",
    "title",
    "license",
    "attribution",
    "proj:code",
)


def make_sound(item: dict[str, Any]) -> None:
    """Mend or leave out what is not of its kind, in the item itself."""
    properties = item.get("properties")
    item["properties"] = dict(properties) if isinstance(properties, Mapping) else {}
    assets = item.get("assets")
    pairs = assets.items() if isinstance(assets, Mapping) else ()
    item["assets"] = {str(key): dict(asset) for key, asset in pairs if isinstance(asset, Mapping)}
    item["id"] = str(item.get("id"))
    for part in (item["properties"], *item["assets"].values()):
        _numbers(part)
    for name in TIMES:
        _only(item["properties"], name, str)
    _only(item["properties"], "providers", list)
    if isinstance(item["properties"].get("providers"), list):
        listed = item["properties"]["providers"]
        named = [p for p in listed if isinstance(p, Mapping) and isinstance(p.get("name"), str)]
        item["properties"]["providers"] = [{**p, "roles": _texts(p["roles"])} if "roles" in p else p for p in named]
    for asset in item["assets"].values():
        for name in TEXTS:
            _only(asset, name, str)
        for name in BAND_LISTS:
            _only(asset, name, list)
        if "roles" in asset:
            asset["roles"] = _texts(asset["roles"])


def as_number(value: Any) -> float | None:
    """A finite number, also of text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def is_stored_type(dtype: str) -> bool:
    """Whether a name is that of real numbers; STAC knows ``other`` and complex ones too."""
    try:
        return np.dtype(dtype).kind in "iuf"
    except TypeError:
        return False


def can_hold(dtype: str, value: float) -> bool:
    """Whether a stored type has a value; the types of whole numbers have no NaN and no fractions.

    >>> can_hold("uint16", -9999.0), can_hold("int16", -9999.0), can_hold("float32", float("nan"))
    (False, True, True)
    """
    if np.dtype(dtype).kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max) and float(value).is_integer()


def _numbers(part: dict[str, Any]) -> None:
    for name, counts in NUMBERS.items():
        if part.get(name) is None:
            continue
        listed = part[name] if isinstance(part[name], (list, tuple)) else ()
        numbers = [as_number(value) for value in listed]
        if len(numbers) not in counts or None in numbers or not _is_possible(name, numbers):
            del part[name]
        elif any(isinstance(value, str) for value in listed):
            part[name] = numbers


def _is_possible(name: str, numbers: list[float | None]) -> bool:
    """A shape is of whole pixels, at least one."""
    return name != "proj:shape" or all(n is not None and n >= 1 and n.is_integer() for n in numbers)


def _texts(value: Any) -> list[str]:
    """The texts of a list; of one that stands alone, too."""
    return [one for one in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(one, str)]


def _only(part: dict[str, Any], name: str, kind: type) -> None:
    if name in part and part[name] is not None and not isinstance(part[name], kind):
        del part[name]
