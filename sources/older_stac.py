"""Items of older STAC versions (0.6 to 1.0.0-rc) in today's terms: `modernise`.

Before 1.0 the ``eo`` extension held platform, instrument and sun angles, bands stood once with the item and assets
named them by place, and thermal bands had other common names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "eo:platform": "platform",
    "eo:constellation": "constellation",
    "eo:gsd": "gsd",
    "eo:epsg": "proj:epsg",
    "eo:sun_azimuth": "view:sun_azimuth",
    "eo:sun_elevation": "view:sun_elevation",
    "eo:off_nadir": "view:off_nadir",
    "eo:azimuth": "view:azimuth",
    "sar:platform": "platform",
    "sar:instrument": "eo:instrument",
    "sar:polarization": "sar:polarizations",
    "sar:pass_direction": "sat:orbit_state",
    "sar:relative_orbit": "sat:relative_orbit",
    "sar:absolute_orbit": "sat:absolute_orbit",
    "sar:type": "sar:product_type",
}
"""Property of old -> property of today."""
COMMON_NAMES = {"tir11": "lwir11", "tir12": "lwir12"}
"""Common band name of old -> of today."""


def modernise(item: dict[str, Any]) -> None:
    """Bring an item's fields to today's names and places, in the item itself; what it already says today stays."""
    properties = item["properties"]
    for old, new in RENAMED.items():
        if properties.get(old) is not None and properties.get(new) is None:
            properties[new] = properties[old]
    instrument = properties.get("eo:instrument")
    if instrument and not properties.get("instruments"):
        properties["instruments"] = [part.lower() for part in str(instrument).split("_")]
    listed = properties.get("eo:bands")
    for asset in item["assets"].values():
        _bands_in_place(asset, listed if isinstance(listed, list) else [])


def _bands_in_place(asset: dict[str, Any], listed: list[Any]) -> None:
    places = asset.get("eo:bands")
    if not isinstance(places, list):
        return
    bands = [_band_at(place, listed) for place in places]
    asset["eo:bands"] = [
        {**band, "common_name": COMMON_NAMES.get(str(band["common_name"]), band["common_name"])}
        if isinstance(band, Mapping) and band.get("common_name")
        else band
        for band in bands
    ]


def _band_at(place: Any, listed: list[Any]) -> Any:
    """The item's band that a number means; anything else is a band already."""
    if isinstance(place, int) and not isinstance(place, bool):
        return listed[place] if 0 <= place < len(listed) else {}
    return place
