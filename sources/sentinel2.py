"""Sentinel-2 L1C and L2A items of any catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chips.convert import baseline_refusal
from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo
from sources.clues import platform_name
from sources.items import Item, item_times
from sources.radiometry import Radiometry, decide_sentinel2
from sources.scenes import Product, found_bands, make_scene, mask_kind, wanted_bands
from sources.sentinel2_baseline import baseline_of

DTYPE = "uint16"
"""Type of the numbers where the item does not say."""
_PRODUCT_NAMES = ("s2:product_uri", "sentinel:product_id", "title")


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem`; the scene classification is its mask where it has one.

    Raises:
        UnsupportedItemError: the radiometric offset cannot be decided, the numbers cannot be brought to the baseline
            that the recipe wants, or the lattice is missing.
        AssetMissingError: a band that the recipe asks for is not there.
    """
    profile = load_sensor(modality.sensor)
    bands = found_bands(item, wanted_bands(item, modality))
    infos = [info for _, info in bands]
    radiometry = radiometry_of(item, infos, profile)
    for dtype in dict.fromkeys(info.dtype or DTYPE for info in infos):
        if reason := baseline_refusal(dtype, radiometry.scale, radiometry.offset, modality.offset):
            raise UnsupportedItemError(f"item {item['id']}: {reason}")
    return make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=bands,
            radiometry=radiometry,
            dtype=DTYPE,
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

    The datatake id less its processing baseline; where the item has none, the datatake's start as the product's name
    says it, else the tile's own moment.
    """
    properties = item["properties"]
    stated = str(properties.get("s2:datatake_id") or properties.get("eopf:datatake_id") or "")
    if stated:
        return re.sub(r"_N\d{2}\.\d{2}$", "", stated)
    names = (*(properties.get(key) for key in _PRODUCT_NAMES), item["id"])
    said = (re.search(r"MSIL[12][AC]_(\d{8}T\d{6})_", str(name or "")) for name in names)
    start = next((product[1] for product in said if product), "") or f"{item_times(item)[0]:%Y%m%dT%H%M%S}"
    return f"{platform_name(properties.get('platform')) or 'sentinel-2'}_{start}"


def _facts(item: Item) -> tuple[tuple[str, str], ...]:
    properties = item["properties"]
    made = properties.get("s2:generation_time") or ""
    sequence = properties.get("s2:sequence") or properties.get("sentinel:sequence") or ""
    facts = (("generation_time", str(made)), ("sequence", str(sequence)), ("tile", _tile(properties)))
    return tuple((key, value) for key, value in facts if value)


def _tile(properties: Mapping[str, Any]) -> str:
    """MGRS tile (``32UNU``), also of the three parts that Earth Search v0 names; empty where nothing does."""
    whole = properties.get("s2:mgrs_tile") or str(properties.get("grid:code") or "").removeprefix("MGRS-")
    parts = [str(properties.get(f"sentinel:{part}") or "") for part in ("utm_zone", "latitude_band", "grid_square")]
    return str(whole or ("".join(parts).zfill(5) if all(parts) else ""))
