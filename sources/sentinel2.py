"""Sentinel-2 L1C and L2A items of any catalog."""

from __future__ import annotations

import re
from collections.abc import Sequence

from schemas.recipe import Modality
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo
from sources.clues import platform_name
from sources.items import Item, item_times
from sources.radiometry import Radiometry, decide_sentinel2
from sources.scenes import Product, found_bands, make_scene, mask_kind, wanted_bands
from sources.sentinel2_baseline import baseline_of


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem`; the scene classification is its mask where it has one.

    Raises:
        UnsupportedItemError: the radiometric offset cannot be decided, or the lattice is missing.
        AssetMissingError: a band that the recipe asks for is not there.
    """
    profile = load_sensor(modality.sensor)
    bands = found_bands(item, wanted_bands(item, modality))
    return make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=bands,
            radiometry=radiometry_of(item, [info for _, info in bands], profile),
            dtype="uint16",
            baseline=baseline_of(item),
            datatake=datatake(item),
            mask_kind=mask_kind(item, profile),
            extra=_facts(item),
        ),
    )


def radiometry_of(item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
    """See `decide_sentinel2`."""
    return decide_sentinel2(item, infos)


def datatake(item: Item) -> str:
    """Key of the acquisition, the same for all its tiles, parts and processings.

    The datatake id less its processing baseline; sensing start and relative orbit where the item has no id.
    """
    properties = item["properties"]
    stated = str(properties.get("s2:datatake_id") or properties.get("eopf:datatake_id") or "")
    if stated:
        return re.sub(r"_N\d{2}\.\d{2}$", "", stated)
    product = re.search(r"MSIL[12][AC]_(\d{8}T\d{6})_", str(properties.get("s2:product_uri") or item["id"]))
    start = product[1] if product else item_times(item)[0].strftime("%Y%m%dT%H%M%S")
    return f"{platform_name(properties.get('platform')) or 'sentinel-2'}_{start}"


def _facts(item: Item) -> tuple[tuple[str, str], ...]:
    properties = item["properties"]
    tile = properties.get("s2:mgrs_tile") or str(properties.get("grid:code", "")).removeprefix("MGRS-")
    made = properties.get("s2:generation_time") or ""
    sequence = properties.get("s2:sequence") or properties.get("sentinel:sequence") or ""
    facts = (("generation_time", str(made)), ("sequence", str(sequence)), ("tile", str(tile)))
    return tuple((key, value) for key, value in facts if value)
