"""Landsat 4-9, Collection 1 and 2: surface reflectance, surface temperature, brightness temperature.

Band numbers shift between Landsat 4-7 and 8-9, so bands are found by common name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality
from schemas.scene import MaskKind, SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo
from sources.clues import platform_name, product_names
from sources.items import Item, item_times
from sources.radiometry import Radiometry, from_item_or_document
from sources.scenes import Product, found_bands, make_scene, mask_kind, wanted_bands
from sources.sound import as_number

PATHS = 233
"""Paths of the Worldwide Reference System 2, numbered westward."""
PATH_1_LON = -64.6
"""Longitude at which path 1 crosses the equator by day. Source: Worldwide Reference System 2."""


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem`; its quality band is read by the rules of its collection.

    Raises:
        UnsupportedItemError: not of the collection that the sensor names (quality bits differ), or no lattice.
        AssetMissingError: a band that the recipe asks for is not there.
    """
    profile = load_sensor(modality.sensor)
    wanted = "01" if "-c1" in modality.sensor else "02"
    number = collection_number(item)
    if number != wanted:
        raise UnsupportedItemError(
            f"item {item['id']}: Landsat collection {number or 'not stated'},"
            f" {modality.sensor} is of collection {wanted}"
        )
    bands = found_bands(item, wanted_bands(item, modality))
    scene = make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=bands,
            radiometry=radiometry_of(item, [info for _, info in bands], profile),
            dtype="uint16",
            baseline=f"C{int(number)}",
            datatake=datatake(item),
            mask_kind=mask_kind(item, profile),
            extra=tuple(
                (key.removeprefix("landsat:"), str(item["properties"][key]))
                for key in ("landsat:wrs_path", "landsat:wrs_row", "landsat:correction")
                if item["properties"].get(key) is not None
            ),
        ),
    )
    return replace(scene, mask_kind=_mask_of_instrument(scene.mask_kind, item, profile))


def _mask_of_instrument(kind: MaskKind, item: Item, profile: SensorProfile) -> MaskKind:
    """Under reflectance, bits of saturation mean other bands of TM and ETM+ than of OLI."""
    if kind != "qa_pixel_c2" or profile.unit != "reflectance":
        return kind
    variant = profile.variant(platform_name(item["properties"].get("platform")), product_names(item))
    return "qa_pixel_c2_tm" if variant is not None and variant.name in ("TM", "ETM+") else kind


def radiometry_of(item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
    """Scale and offset as the item states them, else as the product guide of its collection does."""
    return from_item_or_document(item["id"], infos, profile, profile.unit)


def collection_number(item: Item) -> str:
    """``01`` or ``02``, from the property or the product's name; empty where neither says."""
    stated = str(item["properties"].get("landsat:collection_number") or "")
    if stated.isdigit():
        return f"{int(stated):02d}"
    for name in product_names(item):
        if found := re.search(r"L[COTEM]0\d_.*_(0[12])_(?:T1|T2|RT|A1|A2)(?![0-9A-Z])", name.upper()):
            return found[1]
    return ""


def datatake(item: Item) -> str:
    """Key of the pass: neighbouring rows of one path on one day are one picture."""
    properties = item["properties"]
    platform = platform_name(properties.get("platform")) or "landsat"
    path = properties.get("landsat:wrs_path", "")
    return f"{platform}_{path}_{_day_of_pass(item_times(item)[0], path):%Y%m%d}"


def _day_of_pass(moment: datetime, path: Any) -> datetime:
    """A moment on the day of the pass, in solar time where its path crosses the equator.

    There it is about 10 in the morning, and within 75 minutes of that for every row of the path by day and by night:
    the date changes on no row, as it does in UTC near 150 E, and rows on both sides of the date line share it. In UTC
    where the path is not stated, or only a date is.
    """
    number = as_number(path)
    if number is None or not 1 <= number <= PATHS or moment.time() == time():
        return moment
    longitude = (PATH_1_LON - (number - 1) * 360 / PATHS + 180) % 360 - 180
    return moment + timedelta(hours=longitude / 15)
