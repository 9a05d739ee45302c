"""Any sensor that is one table and no code: bands by name and wavelength, scale and offset as item or table say."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.recipe import Modality
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo
from sources.clues import platform_of, product_names
from sources.items import Item, item_times
from sources.radiometry import Radiometry, from_item_or_document
from sources.scenes import Product, found_bands, make_scene, mask_kind, wanted_bands


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem`, by its sensor's table alone.

    Raises:
        UnsupportedItemError: no scale is stated and the table has none, or no lattice.
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
            dtype=profile.dtype,
            datatake=_datatake(item, profile),
            mask_kind=mask_kind(item, profile),
        ),
    )


def radiometry_of(item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
    """Scale and offset as the item states them, else the table's; class codes are never scaled."""
    if profile.kind == "classes":
        return Radiometry(1.0, 0.0, profile.unit, "class codes as stored")
    return from_item_or_document(item["id"], infos, profile, profile.unit)


def _datatake(item: Item, profile: SensorProfile) -> str:
    """Items of one platform in one minute are parts of one picture.

    Tiles of HLS bear the time of the first of Landsat's scenes in them, 24 seconds apart, so that neighbours lie in
    different minutes: of these, half an hour. No satellite sees a place twice in that, and two that share an orbit pass
    50 minutes apart (items need not say which it was).
    """
    names, moment = product_names(item), item_times(item)[0]
    platform = platform_of(item, names) or profile.sensor
    if not profile.sensor.startswith("hls"):
        return f"{platform}_{moment:%Y%m%dT%H%M}"
    product = profile.variant("", names)
    return f"{platform}_{product.name if product else ''}_{moment:%Y%m%dT%H}{moment.minute // 30 * 30:02d}"
