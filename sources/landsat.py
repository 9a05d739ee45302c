"""Landsat 4-9, Collection 1 and 2: surface reflectance, surface temperature, brightness temperature.

Band numbers shift between Landsat 4-7 and 8-9, so bands are found by common name.
"""

from __future__ import annotations

import re

from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality
from schemas.scene import MaskKind, SceneItem
from schemas.sensor import load_sensor
from sources.items import Item, item_times
from sources.radiometry import from_item_or_document
from sources.scenes import Product, found_bands, has_masks, make_scene, platform_name, wanted_bands


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
    bands = found_bands(item, wanted_bands(profile, modality))
    infos = [info for _, info in bands]
    kind: MaskKind = "pixel_qa_c1" if wanted == "01" else "qa_pixel_c2"
    return make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=bands,
            radiometry=from_item_or_document(item["id"], infos, profile, profile.unit),
            dtype="uint16",
            baseline=f"C{int(number)}",
            datatake=datatake(item),
            mask_kind=kind if has_masks(item, profile, kind) else "none",
            extra=tuple(
                (key.removeprefix("landsat:"), str(item["properties"][key]))
                for key in ("landsat:wrs_path", "landsat:wrs_row", "landsat:correction")
                if item["properties"].get(key) is not None
            ),
        ),
    )


def collection_number(item: Item) -> str:
    """``01`` or ``02``, from the property or the product's name; empty where neither says."""
    stated = item["properties"].get("landsat:collection_number")
    if stated is not None:
        return f"{int(stated):02d}"
    named = re.search(r"_(0[12])_(?:T1|T2|RT|A1|A2)", item["id"])
    return named[1] if named else ""


def datatake(item: Item) -> str:
    """Key of the pass: neighbouring rows of one path on one day are one picture."""
    properties = item["properties"]
    platform = platform_name(properties.get("platform")) or "landsat"
    return f"{platform}_{properties.get('landsat:wrs_path', '')}_{item_times(item)[0]:%Y%m%d}"
