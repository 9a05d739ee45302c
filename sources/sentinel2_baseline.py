"""Processing baseline of a Sentinel-2 item, wherever its catalog writes it: `baseline_of`, `sides_of_04`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from sources.sound import as_number

NEW_FROM = "04.00"
"""From this baseline on the digital numbers carry an offset."""
OWN_PROCESSING = "99.99"
"""What Sen2Cor writes where a user runs it: it says nothing about the offset."""
MOST_ADDRESSES = 20
"""Assets whose addresses are looked at; they name one product."""

_PROPERTIES = ("s2:processing_baseline", "sentinel:processing_baseline", "sentinel2:processing_baseline")
_SPARE_PROPERTY = "processing:version"
_PRODUCT_NAMES = ("s2:product_uri", "sentinel:product_id", "title")
_PART_NAMES = ("s2:granule_id", "s2:datastrip_id", "eopf:datastrip_id", "s2:datatake_id", "eopf:datatake_id")
_IN_PRODUCT = re.compile(r"MSIL[12][AC]_\d{8}T\d{6}_N(\d\d)(\d\d)_")
_IN_PART = re.compile(r"_N(\d\d)\.(\d\d)(?!\d)")


def baseline_of(item: Mapping[str, Any]) -> str:
    """Processing baseline as ``NN.NN``: as a property states it, else as a product's name does; empty where none is.

    >>> baseline_of({"id": "x", "properties": {"s2:processing_baseline": 5.1}, "assets": {}})
    '05.10'
    """
    return next(_stated(item), "")


def sides_of_04(item: Mapping[str, Any]) -> tuple[str, str]:
    """The first stated baseline before 04.00 and the first from it on; empty where there is none.

    Two that are not empty contradict each other. A user's own processing is on neither side.
    """
    found = [baseline for baseline in _stated(item) if baseline != OWN_PROCESSING]
    before = next((baseline for baseline in found if baseline < NEW_FROM), "")
    after = next((baseline for baseline in found if baseline >= NEW_FROM), "")
    return before, after


def _stated(item: Mapping[str, Any]) -> Iterator[str]:
    """Every baseline that the item states of its product, in properties and names; where it states none, the first
    that its files' folders or its parts (whose level 1 may be older) do.
    """
    properties = item["properties"]
    found = [read for key in _PROPERTIES if (read := _read(properties.get(key)))]
    names = (*(properties.get(key) for key in _PRODUCT_NAMES), item["id"])
    found += _in_names(_IN_PRODUCT, names)
    yield from found
    if not found:
        spare = re.fullmatch(r"N?(\d{2})\.?(\d{2})", str(properties.get(_SPARE_PROPERTY) or ""))
        parts = (properties.get(key) for key in _PART_NAMES)
        rest = [f"{spare[1]}.{spare[2]}"] if spare else []
        rest += _in_names(_IN_PRODUCT, _folders(item)) + _in_names(_IN_PART, parts)
        yield from rest[:1]


def _in_names(pattern: re.Pattern[str], names: Iterable[Any]) -> list[str]:
    return [f"{said[1]}.{said[2]}" for name in names if (said := pattern.search(str(name or "")))]


def _read(value: Any) -> str:
    """``05.11`` of 05.11, 5.11, N0511, 511 and the number 5.1, whose zero is lost; empty for anything else."""
    text = str(value).strip().upper().lstrip("NV") if isinstance(value, (str, int, float)) else ""
    if found := re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text):
        return f"{int(found[1]):02d}.{found[2]:0<2}"
    if found := re.fullmatch(r"(\d{1,2})(\d{2})", text):
        return f"{int(found[1]):02d}.{found[2]}"
    number = as_number(text)
    return f"{int(number):02d}.00" if number is not None and 0 < number < 10 and number.is_integer() else ""


def _folders(item: Mapping[str, Any]) -> Iterator[str]:
    """Folders of the assets' addresses that name a product (``S2B_MSIL2A_..._N0510_...SAFE``)."""
    for asset in list(item["assets"].values())[:MOST_ADDRESSES]:
        path = unquote(urlsplit(str(asset.get("href") or "")).path)
        yield from (part for part in path.split("/") if "_MSIL" in part)
