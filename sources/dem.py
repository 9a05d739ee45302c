"""Rasters of one band that no satellite date belongs to: elevation, and class codes of a land-cover product."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.recipe import Modality
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo, asset_bands, is_pixel_asset, is_refused
from sources.items import Item, item_times
from sources.radiometry import Radiometry, from_item_or_document
from sources.scenes import Product, found_bands, make_scene, wanted_bands


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem` without a mask; class codes are never scaled. Tiles of one edition are one picture.

    Raises:
        UnsupportedItemError: no north-up lattice.
        AssetMissingError: no asset that holds the band.
    """
    profile = load_sensor(modality.sensor)
    bands = _only_raster(item, profile) or found_bands(item, wanted_bands(item, modality))
    version = item["properties"].get("version") or item["properties"].get("esa_worldcover:product_version") or ""
    return make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=bands,
            radiometry=radiometry_of(item, [info for _, info in bands], profile),
            dtype=profile.dtype,
            baseline=str(version),
            datatake=f"{item.get('collection') or profile.sensor}_{version}_{item_times(item)[0]:%Y%m%d}",
        ),
    )


def _only_raster(item: Item, profile: SensorProfile) -> tuple[tuple[str, BandInfo], ...]:
    """The one raster of an item that has no other, whatever its key is; empty where there are several."""
    keys = [key for key, asset in item["assets"].items() if is_pixel_asset(key, asset) and not is_refused(asset)]
    if len(keys) != 1:
        return ()
    infos = asset_bands(keys[0], item["assets"][keys[0]])
    return ((profile.bands[0].name, infos[0]),) if len(infos) == 1 else ()


def radiometry_of(item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
    """Metres as the item or the product's document says; class codes are never scaled."""
    if profile.kind == "classes":
        return Radiometry(1.0, 0.0, profile.unit, "class codes as stored")
    return from_item_or_document(item["id"], infos, profile, profile.unit)
