"""From an item and a sensor's decisions to a `SceneItem`: what all sensor modules share."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import shapely

from schemas.errors import AssetMissingError, RecipeError
from schemas.georef import GeoRef
from schemas.recipe import Modality
from schemas.scene import MaskKind, SceneItem, SceneRef
from schemas.sensor import Band, SensorProfile, load_sensor
from sources.assets import BandInfo, asset_bands, asset_georef, find_band, is_refused
from sources.clues import file_name, platform_of, product_names
from sources.items import Item, begin_of, content_hash, item_geometry, item_times
from sources.masks import MASK_LAYERS, layer_of_key
from sources.radiometry import Radiometry
from sources.sound import can_hold, is_stored_type

_UNSAID_LICENCES = frozenset({"", "other", "proprietary", "various", "copernicus-sentinel"})
EXTRA_BANDS = "bands"
"""Key in `SceneItem.extra` of the band table of a sensor whose items bring their own."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a sensor module found out about an item."""

    bands: tuple[tuple[str, BandInfo], ...]
    """Band name of the profile and where it lies, in the order of the recipe."""
    radiometry: Radiometry
    """Meaning of the numbers."""
    dtype: str
    """Stored type where the item is silent."""
    baseline: str = ""
    """Processing baseline or collection number."""
    datatake: str = ""
    """Items that share it are parts of one picture."""
    mask_kind: MaskKind = "none"
    """How the masks are to be read."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further facts."""


def profile_of(item: Item, sensor: str) -> SensorProfile:
    """The profile of a sensor as it holds for an item: with the bands of its platform or product line."""
    profile = load_sensor(sensor)
    if not profile.variants:
        return profile
    names = product_names(item)
    return profile.as_variant(profile.variant(platform_of(item, names), names))


def wanted_bands(item: Item, modality: Modality) -> tuple[Band, ...]:
    """The bands that the recipe asks for, in its order and as the item's platform has them.

    Where the recipe names none: those that the profile gives unasked.

    Raises:
        RecipeError: a name that no variant of the sensor has.
        AssetMissingError: a band that this platform or product line does not measure.
    """
    usual = load_sensor(modality.sensor)
    names = modality.bands or tuple(band.name for band in usual.bands if band.unasked)
    every = usual.band_names()
    unknown = [name for name in names if name not in every]
    if unknown:
        raise RecipeError(f"{usual.sensor} has no band {unknown[0]!r}", mend=f"known: {', '.join(every)}")
    known = {band.name: band for band in profile_of(item, modality.sensor).bands}
    absent = [name for name in names if name not in known]
    if absent:
        raise AssetMissingError(
            f"item {item['id']}: its product has no band {', '.join(absent)}; it has {', '.join(known)}"
        )
    return tuple(known[name] for name in names)


def found_bands(item: Item, bands: Sequence[Band]) -> tuple[tuple[str, BandInfo], ...]:
    """Where each band lies.

    Raises:
        AssetMissingError: names every band that is missing, not only the first.
    """
    found, missing = [], []
    for band in bands:
        try:
            found.append((band.name, find_band(item, band)))
        except AssetMissingError:
            missing.append(band.name)
    if missing:
        have = ", ".join(sorted(item["assets"])) or "none"
        raise AssetMissingError(f"item {item['id']}: no asset for {', '.join(missing)}; it has {have}")
    return tuple(found)


DEPRECATED = "deprecated"
"""Key of `SceneItem.extra` where the catalog says that an item is to be used no more (STAC's extension version)."""


def make_scene(
    item: Item,
    modality_name: str,
    modality: Modality,
    catalog_name: str,
    product: Product,
    refs: tuple[SceneRef, ...] | None = None,
) -> SceneItem:
    """The `SceneItem` of an item once its sensor's module has decided about it.

    Args:
        item: normalised.
        modality_name: name in the recipe.
        modality: the recipe's entry.
        catalog_name: name in the recipe.
        product: what the sensor's module found out.
        refs: where the module made them itself, because the rasters lie on no lattice.

    Raises:
        UnsupportedItemError: a raster without a lattice that can be read, or a footprint that cannot.
    """
    profile = load_sensor(modality.sensor)
    properties = item["properties"]
    start, end = item_times(item)
    licence, attribution = licence_of(item, profile, start.year)
    if refs is None:
        lattices = {key: asset_georef(item, key) for key in {info.asset_key for _, info in product.bands}}
        refs = tuple(_ref(item, band, lattices[band[1].asset_key], profile.nodata, product) for band in product.bands)
    return SceneItem(
        catalog=catalog_name,
        collection=str(item.get("collection") or modality.collection),
        item_id=item["id"],
        modality=modality_name,
        sensor=modality.sensor,
        datetime_utc=start,
        end_utc=end,
        footprint_wkb=shapely.to_wkb(item_geometry(item), byte_order=1),
        refs=refs,
        mask_kind=product.mask_kind,
        masks=_masks(item, profile, product.mask_kind),
        platform=platform_of(item, product_names(item)),
        baseline=product.baseline,
        radiometry=product.radiometry.why,
        licence=licence,
        attribution=attribution,
        orbit_state=_orbit_state(properties),
        relative_orbit=_whole(properties.get("sat:relative_orbit")),
        sun_azimuth_deg=_sun_azimuth(properties),
        sun_elevation_deg=_sun_elevation(properties),
        incidence_deg=_incidence(properties),
        cloud_cover=_real(properties.get("eo:cloud_cover")),
        datatake=product.datatake,
        content_hash=content_hash(item),
        start_utc=begin_of(item),
        extra=(*product.extra, *(((DEPRECATED, "true"),) if properties.get("deprecated") is True else ())),
    )


def scene_bands(scene: SceneItem) -> tuple[Band, ...]:
    """Name, centre, width and GSD of the scene's bands in the order of its refs.

    From the sensor's table, or from the item where the sensor's items bring their own (EnMAP).
    """
    table = dict(scene.extra).get(EXTRA_BANDS)
    if table is not None:
        return tuple(Band.model_validate(row) for row in json.loads(table))
    profile = load_sensor(scene.sensor)
    if profile.variants:
        names = (scene.item_id, scene.collection, *(file_name(ref.href) for ref in scene.refs))
        profile = profile.as_variant(profile.variant(scene.platform, names))
    return tuple(profile.band(ref.band) for ref in scene.refs)


def _ref(item: Item, band: tuple[str, BandInfo], georef: GeoRef, nodata: float | None, product: Product) -> SceneRef:
    name, info = band
    dtype = info.dtype or product.dtype
    if info.nodata is not None and is_stored_type(dtype) and can_hold(dtype, info.nodata):
        nodata = info.nodata
    return SceneRef(
        item_id=item["id"],
        asset_key=info.asset_key,
        href=item["assets"][info.asset_key]["href"],
        band=name,
        band_index=info.index,
        georef=georef,
        dtype=dtype,
        nodata=nodata,
        scale=product.radiometry.scale,
        offset=product.radiometry.offset,
        unit=product.radiometry.unit,
    )


def mask_keys(item: Item, profile: SensorProfile, kind: MaskKind) -> dict[str, str]:
    """Mask layer -> key of its asset, in the order of `MASK_LAYERS`; empty where the layer without which this kind of
    mask cannot be read is missing.

    The profile's keys are preferred, then any asset whose key means the layer, GeoTIFF before JPEG 2000.
    """
    if kind not in profile.masks:
        return {}
    others = sorted(item["assets"], key=lambda key: ("jp2" in str(item["assets"][key].get("type", "")), key))
    found: dict[str, str] = {}
    for key in (*profile.masks[kind], *others):
        layer = layer_of_key(key)
        asset = item["assets"].get(key)
        if asset is not None and layer in MASK_LAYERS[kind] and layer not in found and not is_refused(asset):
            found[layer] = key
    ordered = {layer: found[layer] for layer in MASK_LAYERS[kind] if layer in found}
    return ordered if next(iter(MASK_LAYERS[kind]), None) in ordered else {}


def _masks(item: Item, profile: SensorProfile, kind: MaskKind) -> tuple[SceneRef, ...]:
    """One ref per mask layer that the item has."""
    refs = []
    for layer, key in mask_keys(item, profile, kind).items():
        asset = item["assets"][key]
        info = asset_bands(key, asset)[0]
        refs.append(
            SceneRef(
                item_id=item["id"],
                asset_key=key,
                href=asset["href"],
                band=layer,
                band_index=1,
                georef=asset_georef(item, key),
                dtype=info.dtype or MASK_LAYERS[kind][layer][0],
                nodata=MASK_LAYERS[kind][layer][1],
            )
        )
    return tuple(refs)


def mask_kind(item: Item, profile: SensorProfile) -> MaskKind:
    """The kind of mask that the item has, by its sensor's table; ``none`` where it has none of them."""
    return next((kind for kind in profile.masks if mask_keys(item, profile, kind)), "none")


def licence_of(item: Item, profile: SensorProfile, year: int) -> tuple[str, str]:
    """Licence and attribution: a licence that the item itself names wins over the sensor's."""
    named = str(item["properties"].get("license") or "")
    licence, text = profile.licence, profile.attribution
    if profile.terms:
        names = product_names(item)
        fitting = [t for t in profile.terms if any(re.search(t.products, name, re.IGNORECASE) for name in names)]
        if fitting:
            licence, text = fitting[0].licence, fitting[0].attribution
    attribution = text.format(year=year)
    if named.lower() in _UNSAID_LICENCES:
        return licence, attribution
    if stated := item["properties"].get("attribution"):
        return named, str(stated)
    owners = [
        str(provider["name"])
        for provider in item["properties"].get("providers") or ()
        if {"licensor", "processor"} & set(provider.get("roles") or ())
    ]
    return named, "; ".join(dict.fromkeys(part for part in (*owners, attribution) if part))


def _orbit_state(properties: dict[str, Any]) -> str:
    state = str(properties.get("sat:orbit_state") or "").lower()
    return state if state in ("ascending", "descending") else ""


def _sun_azimuth(properties: dict[str, Any]) -> float | None:
    # EnMAP items south of the equator state view:sun_azimuth turned by 180 degrees; the product's own angle does not.
    for key in ("enmap:sunAzimuthAngle", "view:sun_azimuth", "s2:mean_solar_azimuth"):
        if (value := _real(properties.get(key))) is not None:
            return value
    return None


def _sun_elevation(properties: dict[str, Any]) -> float | None:
    elevation = _real(properties.get("view:sun_elevation"))
    zenith = _real(properties.get("s2:mean_solar_zenith"))
    return elevation if elevation is not None or zenith is None else 90.0 - zenith


def _incidence(properties: dict[str, Any]) -> float | None:
    for key in ("view:incidence_angle", "view:off_nadir", "enmap:acrossOffNadirAngle"):
        if (value := _real(properties.get(key))) is not None:
            return abs(value)
    return None


def _real(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    number = _real(value)
    return None if number is None else int(number)
