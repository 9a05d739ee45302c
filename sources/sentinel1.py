"""Sentinel-1 backscatter: radiometrically terrain-corrected (RTC), or calibrated and projected by its publisher.

A GRD product itself is amplitude in ground range, neither calibrated nor map-projected: see `sources.sentinel1_grd`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from chips.register import APPROXIMATE
from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality
from schemas.recipe_radar import GroundRange
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo
from sources.clues import platform_name, product_names
from sources.items import Item, item_times
from sources.radiometry import Radiometry, stated
from sources.scenes import Product, found_bands, make_scene, wanted_bands
from sources.sentinel1_grd import amplitude_refusal, ground_range_refs, radiometry_words
from sources.sound import as_number

_UNITS = {"db": "dB", "decibel": "dB", "1": "linear", "linear": "linear", "power": "linear"}
_DATATAKE = re.compile(r"S1[A-Z]_\w{2}_\w{4}_\w{4}(?:_\d{8}T\d{6}){2}_\d{6}_([0-9A-F]{6})(?![0-9A-Z])")
"""In a product's name. Source: ESA, Sentinel-1 technical guide, level-1 product formatting."""
AMPLITUDE = "amplitude"
"""Unit of digital numbers that the annotation alone calibrates."""


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem`; backscatter has no cloud mask.

    Raises:
        UnsupportedItemError: amplitude and a recipe without ``ground_range``, an unknown unit, or no lattice.
        AssetMissingError: a polarisation that the recipe asks for is not there.
    """
    profile = load_sensor(modality.sensor)
    bands = found_bands(item, wanted_bands(item, modality))
    radiometry = radiometry_of(item, [info for _, info in bands], profile)
    if radiometry.unit == AMPLITUDE:
        if modality.ground_range is None:
            raise amplitude_refusal(item, modality)
        return _ground_range(item, modality_name, modality, catalog_name, bands)
    return make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=bands,
            radiometry=radiometry,
            dtype="float32",
            datatake=datatake(item),
        ),
    )


def _ground_range(
    item: Item,
    modality_name: str,
    modality: Modality,
    catalog_name: str,
    bands: tuple[tuple[str, BandInfo], ...],
) -> SceneItem:
    """Amplitude as `sources.engine_ground_range` will calibrate and geocode it."""
    settings = modality.ground_range or GroundRange()
    refs = ground_range_refs(item, bands, settings)
    product = Product(
        bands=bands,
        radiometry=Radiometry(1.0, 0.0, "linear", radiometry_words(settings)),
        dtype="float32",
        datatake=datatake(item),
        extra=(("geocoding", APPROXIMATE),),
    )
    return make_scene(item, modality_name, modality, catalog_name, product, refs)


def radiometry_of(item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
    """Decibel or linear power as the item states its unit, else as the product's document does.

    Raises:
        UnsupportedItemError: an unknown unit, or none of whole numbers (the product has floats; decibel times 10 or 100
            and amplitudes are in circulation).
    """
    said = stated(item["id"], infos, "unit")
    unit = _UNITS.get(str(said).lower()) if said else None
    if said and unit is None:
        raise UnsupportedItemError(f"item {item['id']}: backscatter in {said!r}; known: dB, linear power")
    if unit is None and profile.sensor == "sentinel-1-grd":
        why = (
            "amplitude in ground range: backscatter is (amplitude^2 - noise) / A^2, with noise and A of the annotation"
        )
        return Radiometry(1.0, 0.0, AMPLITUDE, why)
    if unit is None and any(info.dtype.startswith(("int", "uint")) for info in infos):
        raise UnsupportedItemError(
            f"item {item['id']}: backscatter in whole numbers of which the item states no unit; known: dB, linear power"
        )
    why = f"{unit} as raster:bands states" if unit else "linear gamma0: the product's document, the item states no unit"
    scale, offset = stated(item["id"], infos, "scale"), stated(item["id"], infos, "offset")
    if (scale or 1.0, offset or 0.0) != (1.0, 0.0):
        why += "; scale and offset as the item states them"
    return Radiometry(1.0 if scale is None else scale, offset or 0.0, unit or profile.unit, why)


def datatake(item: Item) -> str:
    """Key of the pass: slices of one pass share it.

    It is the data take's number, as the item or the product's name states it. The absolute orbit is that of a slice's
    own start, and it changes where an ascending pass crosses the equator: it serves where no data take is stated.
    """
    properties = item["properties"]
    platform = platform_name(properties.get("platform")) or "sentinel-1"
    stated = as_number(properties.get("s1:datatake_id"))
    if stated:
        return f"{platform}_{int(stated):06X}"
    for name in product_names(item):
        if found := _DATATAKE.search(name.upper()):
            return f"{platform}_{found[1]}"
    orbit = properties.get("sat:absolute_orbit")
    if orbit:
        return f"{platform}_{orbit}"
    return f"{platform}_{properties.get('sat:relative_orbit', '')}_{item_times(item)[0]:%Y%m%d}"
