"""Rasters of one band that no satellite date belongs to: elevation, and class codes of a land-cover product."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.recipe import Modality
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo
from sources.items import Item
from sources.radiometry import Radiometry, from_item_or_document
from sources.scenes import Product, found_bands, make_scene, wanted_bands

_DTYPES = {"dem": "float32", "landcover": "uint8"}


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem` without a mask; class codes are never scaled.

    Raises:
        UnsupportedItemError: no lattice of square, north-up pixels (Copernicus DEM beyond 50 degrees has none).
        AssetMissingError: no asset that holds the band.
    """
    profile = load_sensor(modality.sensor)
    bands = found_bands(item, wanted_bands(item, modality))
    version = item["properties"].get("version") or item["properties"].get("esa_worldcover:product_version") or ""
    return make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=bands,
            radiometry=radiometry_of(item, [info for _, info in bands], profile),
            dtype=_DTYPES.get(modality.sensor, "float32"),
            baseline=str(version),
        ),
    )


def radiometry_of(item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
    """Metres as the item or the product's document says; class codes are never scaled."""
    if profile.kind == "classes":
        return Radiometry(1.0, 0.0, profile.unit, "class codes as stored")
    return from_item_or_document(item["id"], infos, profile, profile.unit)
