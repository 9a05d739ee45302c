"""EnMAP L2A: one file of 224 bands whose centres, widths and gains each item brings itself.

VNIR and SWIR overlap near 900-1000 nm, so the sequence of centres goes backwards there. The file's order is kept, or
the bands are sorted by wavelength, as the recipe says;
bands are asked for by place (``band_047``), by wavelength (``655nm``) or by the published selection of 202.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

from schemas.errors import AssetMissingError, RecipeError, UnsupportedItemError
from schemas.recipe import Modality
from schemas.scene import SceneItem
from schemas.sensor import SensorProfile, load_sensor
from sources.assets import BandInfo, find_image, is_refused
from sources.items import Item, item_times
from sources.radiometry import Radiometry, from_item_or_document
from sources.scenes import EXTRA_BANDS, Product, make_scene, mask_kind

PUBLISHED_202 = "published-202"
"""Band name that stands for the 202 bands of a published recipe (schemas/enmap_bands_202.csv)."""
RANGE_NM = (400.0, 2500.0)
"""The instrument measures 418-2445 nm; a centre outside means that the unit was misread."""
NEAREST_NM = 7.0
"""Half of the widest distance between neighbouring centres: a wavelength further away was not measured."""


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item as a `SceneItem` whose refs are bands of one file, in the file's order or the recipe's.

    `sources.scenes.scene_bands` gives their wavelengths; ``extra`` lists the bands that the product calls bad
    (no data for the whole scene), which stay in the layer.

    Raises:
        UnsupportedItemError: no image, no wavelengths, gains that differ between bands, or no lattice.
        RecipeError: a band name that is none.
    """
    profile = load_sensor(modality.sensor)
    infos = _image_bands(item)
    chosen = _chosen(infos, modality)
    _, gsd = _grid(item, infos)
    names = [f"band_{info.index:03d}" for info in chosen]
    table = [
        {"name": name, "centre_nm": info.centre_nm, "fwhm_nm": info.fwhm_nm, "gsd_m": gsd}
        for name, info in zip(names, chosen, strict=True)
    ]
    bad = [name for name, info in zip(names, chosen, strict=True) if not info.is_good]
    return make_scene(
        item,
        modality_name,
        modality,
        catalog_name,
        Product(
            bands=tuple(zip(names, chosen, strict=True)),
            radiometry=radiometry_of(item, chosen, profile),
            dtype="int16",
            baseline=_version(item),
            datatake=_datatake(item, profile),
            mask_kind=mask_kind(item, profile),
            extra=(("bad_bands", " ".join(bad)), (EXTRA_BANDS, json.dumps(table, separators=(",", ":")))),
        ),
    )


def radiometry_of(item: Item, infos: Sequence[BandInfo], profile: SensorProfile) -> Radiometry:
    """Gain and offset of the bands as the product's metadata state them, else the product specification's."""
    return from_item_or_document(item["id"], infos, profile, profile.unit)


def _image_bands(item: Item) -> list[BandInfo]:
    infos = find_image(item)
    if not infos:
        raise AssetMissingError(
            f"item {item['id']}: no spectral image; it has {', '.join(sorted(item['assets'])) or 'none'}"
        )
    key = infos[0].asset_key
    if reason := is_refused(item["assets"][key]):
        raise UnsupportedItemError(f"item {item['id']}: asset {key} refused: {reason}")
    outside = [i for i in infos if i.centre_nm is None or not RANGE_NM[0] <= i.centre_nm <= RANGE_NM[1]]
    if outside:
        raise UnsupportedItemError(
            f"item {item['id']}: band {outside[0].index} of {len(infos)} has centre {outside[0].centre_nm} nm,"
            f" wanted {RANGE_NM[0]:g} to {RANGE_NM[1]:g}"
        )
    return infos


def _chosen(infos: list[BandInfo], modality: Modality) -> list[BandInfo]:
    chosen = infos
    if modality.bands:
        chosen = list(dict.fromkeys(info for name in modality.bands for info in _named(infos, name)))
    if modality.bands_order == "wavelength":
        return sorted(chosen, key=lambda info: (info.centre_nm or 0.0, info.index))
    return chosen


def _named(infos: list[BandInfo], name: str) -> list[BandInfo]:
    if name == PUBLISHED_202:
        return [_nearest(infos, centre) for centre in _published_centres()]
    if place := re.fullmatch(r"band_(\d{3})", name):
        found = [info for info in infos if info.index == int(place[1])]
        if found:
            return found
    elif wavelength := re.fullmatch(r"(\d+(?:\.\d+)?) ?nm", name):
        return [_nearest(infos, float(wavelength[1]))]
    raise RecipeError(
        f"enmap-l2a has no band {name!r}",
        mend=f"band_001 to band_{len(infos):03d}, 655nm, or {PUBLISHED_202}",
    )


def _nearest(infos: list[BandInfo], centre_nm: float) -> BandInfo:
    """The band of the nearest centre; of two as near (the detectors' overlap) the first of the file."""
    best = min(infos, key=lambda info: (abs((info.centre_nm or 0.0) - centre_nm), info.index))
    if abs((best.centre_nm or 0.0) - centre_nm) > NEAREST_NM:
        raise RecipeError(f"enmap-l2a measures nothing at {centre_nm:g} nm", mend=f"nearest is {best.centre_nm:g} nm")
    return best


@cache
def _published_centres() -> tuple[float, ...]:
    text = (resources.files("schemas") / "enmap_bands_202.csv").read_text(encoding="utf-8")
    return tuple(float(row["center_nm"]) for row in csv.DictReader(text.splitlines()))


def _grid(item: Item, infos: list[BandInfo]) -> tuple[str, float]:
    asset = item["assets"][infos[0].asset_key]
    transform = asset.get("proj:transform")
    return infos[0].asset_key, float(transform[0]) if transform else 30.0


def _version(item: Item) -> str:
    properties = item["properties"]
    return str(properties.get("enmap:processor_version") or properties.get("version") or "")


def _datatake(item: Item, profile: SensorProfile) -> str:
    """Key of the strip: tiles of one datatake share it; processings of one datatake do too."""
    properties = item["properties"]
    stated = properties.get("enmap:datatakeID") or properties.get("enmap:datatake")
    digits = re.sub(r"\D", "", str(stated or "")).lstrip("0")
    return f"enmap_{digits}" if digits else f"{profile.sensor}_{item_times(item)[0]:%Y%m%dT%H%M}"
