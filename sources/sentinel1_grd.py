"""Sentinel-1 GRD items whose pixels are amplitude in ground range: what belongs to each polarisation, and where.

Such an image lies on no map: the item's ref has a lattice of the footprint's UTM zone in its stead (10 m, edges on
multiples of 10 m), and names what `sources.engine_ground_range` needs to bring the image there.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pyproj
import shapely

from chips.register import APPROXIMATE
from schemas.antimeridian import centre
from schemas.errors import AssetMissingError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import Modality
from schemas.recipe_radar import GroundRange
from schemas.scene import SceneItem, SceneRef
from sources.assets import BandInfo, is_refused
from sources.items import Item, item_geometry

GSD_M = 10.0
NODATA = -32768.0
"""As in RTC products; NaN stands nowhere in a dataset."""


def is_amplitude(item: Item, bands: Sequence[tuple[str, BandInfo]]) -> bool:
    """Whether the bands are digital numbers of a SAFE product: 16 bit, or files in its ``measurement`` folder."""
    return any(
        info.dtype == "uint16" or "/measurement/" in str(item["assets"][info.asset_key]["href"]) for _, info in bands
    )


def ground_range_refs(
    item: Item, bands: Sequence[tuple[str, BandInfo]], ground_range: GroundRange
) -> tuple[SceneRef, ...]:
    """A ref for each polarisation, without heights; see `with_heights`.

    Raises:
        AssetMissingError: annotation or calibration of a polarisation is not there.
        UnsupportedItemError: one of the addresses must not be opened, or no footprint.
    """
    lattice = footprint_lattice(item)
    refs = []
    for name, info in bands:
        asset = item["assets"][info.asset_key]
        needs = {"quantity": ground_range.quantity, "denoise": "yes" if ground_range.denoise else "no"}
        refs.append(
            SceneRef(
                item_id=item["id"],
                asset_key=info.asset_key,
                href=asset["href"],
                band=name,
                band_index=1,
                georef=lattice,
                dtype="float32",
                nodata=NODATA,
                unit="linear",
                needs=tuple((_documents(item, info.asset_key) | needs).items()),
            )
        )
    return tuple(refs)


def footprint_lattice(item: Item) -> GeoRef:
    """The lattice of 10 m in the UTM zone of the footprint's middle that holds the footprint."""
    footprint = item_geometry(item)
    middle = centre(footprint)
    if abs(middle.y) > 84:
        raise UnsupportedItemError(f"item {item['id']}: at latitude {middle.y:.1f}, beyond the UTM zones")
    zone = int((middle.x + 180) // 6) % 60 + 1
    epsg = (32600 if middle.y >= 0 else 32700) + zone
    to_zone = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
    outline = shapely.segmentize(footprint, 0.1)
    left, bottom, right, top = shapely.transform(outline, to_zone.transform, interleaved=False).bounds
    if not all(math.isfinite(value) for value in (left, bottom, right, top)):
        raise UnsupportedItemError(f"item {item['id']}: the footprint does not fit into UTM zone {zone}")
    x0, y0 = math.floor(left / GSD_M) * GSD_M, math.ceil(top / GSD_M) * GSD_M
    return GeoRef(epsg, x0, y0, GSD_M, (math.ceil((y0 - bottom) / GSD_M), math.ceil((right - x0) / GSD_M)))


def with_heights(scene: SceneItem, terrain: Mapping[str, str], heights: Sequence[tuple[str, str]]) -> SceneItem:
    """The scene with range-Doppler terrain correction.

    Args:
        scene: of ground-range refs.
        terrain: settings: ``geoid``, ``missing_heights``.
        heights: address and content hash of each elevation raster, in order of preference.
    """
    added = (*terrain.items(), *(("heights", href) for href, _ in heights))
    digest = hashlib.sha256("".join([scene.content_hash, *(hashed for _, hashed in heights)]).encode())
    return replace(
        scene,
        refs=tuple(replace(ref, needs=(*ref.needs, *added)) for ref in scene.refs),
        radiometry=scene.radiometry.replace(_TIE_POINTS, "range-Doppler terrain correction"),
        content_hash=digest.hexdigest(),
        extra=tuple(pair for pair in scene.extra if pair != ("geocoding", APPROXIMATE)),
    )


_TIE_POINTS = "approximate geocoding by tie points"


def radiometry_words(ground_range: GroundRange) -> str:
    """What a dataset says of the numbers."""
    noise = "thermal noise removed" if ground_range.denoise else "thermal noise left in"
    return f"linear {ground_range.quantity} from amplitude by the product's calibration, {noise}; {_TIE_POINTS}"


def amplitude_refusal(item: Item, modality: Modality) -> UnsupportedItemError:
    """The error for an item of amplitude in a recipe that does not say how to treat it."""
    return UnsupportedItemError(
        f"item {item['id']}: {modality.sensor} without a stated backscatter unit is amplitude in ground range,"
        " neither calibrated nor map-projected: give the modality a section ground_range"
    )


def _documents(item: Item, polarisation_key: str) -> dict[str, str]:
    """Addresses of annotation, calibration and noise of a polarisation.

    Catalogs call them ``schema-product-vv``, ``schema-calibration-vv`` and ``schema-noise-vv``; several of them
    (Earth Search, stactools) put the address of the RFI annotation into ``schema-product-vv``. The annotation lies
    in the product where the image's name says: ``measurement/X.tiff`` and ``annotation/X.xml``.
    """
    assets: Mapping[str, dict[str, object]] = item["assets"]
    key = polarisation_key.lower()
    image = str(assets[polarisation_key]["href"])
    found = {}
    for role, name, folder in (
        ("annotation", "product", "annotation/"),
        ("calibration", "calibration", "annotation/calibration/calibration-"),
        ("noise", "noise", "annotation/calibration/noise-"),
    ):
        asset = assets.get(f"schema-{name}-{key}", {})
        if asset and is_refused(asset):
            raise UnsupportedItemError(f"item {item['id']}: {role} of {key} refused: {is_refused(asset)}")
        href = str(asset.get("href", ""))
        if not href or "/rfi/" in href:
            href = _beside(image, folder)
        if href:
            found[role] = href
        elif role != "noise":
            raise AssetMissingError(
                f"item {item['id']}: no asset schema-{name}-{key}, the {role} of {polarisation_key}"
            )
    return found


def _beside(image: str, folder: str) -> str:
    """Address of a document of the product from that of its image; empty where the image lies in no SAFE folder."""
    parts = urlsplit(image)
    path = re.sub(r"/measurement/([^/]+)\.tiff?$", lambda m: f"/{folder}{m[1]}.xml", parts.path, flags=re.I)
    return "" if path == parts.path else urlunsplit(parts._replace(path=path))
