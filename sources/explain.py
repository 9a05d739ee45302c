"""What would be done with a STAC item, and why: `explain_item`.

The same rules that a build follows (`to_scene_item`) are asked, for every asset and not only for those that a recipe
would read; nothing is opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.errors import LatticeUnknownError, SourceError, UnsupportedItemError
from schemas.recipe import Modality
from schemas.recipe_radar import GroundRange
from schemas.scene import MaskKind, SceneItem
from schemas.sensor import Band, SensorProfile, load_sensor
from sources.assets import (
    BandInfo,
    asset_bands,
    asset_georef,
    band_of,
    find_image,
    is_pixel_asset,
    named_pixel_m,
)
from sources.clues import Clues, clues_of
from sources.items import Item, item_times, normalise_item
from sources.openers import refusal
from sources.radiometry import Radiometry
from sources.recognise import Recognised, recognise
from sources.scenes import licence_of, mask_keys, mask_kind, profile_of
from sources.sensors import NONSENSE, radiometry_of, to_scene_item
from sources.sentinel1 import AMPLITUDE
from sources.sentinel2_baseline import baseline_of
from sources.sound import as_number
from sources.window import mark_refused

METRES_FROM = 0.1
"""A pixel edge below this is in degrees: no unit of length here is finer."""


@dataclass(frozen=True, slots=True)
class AssetMeaning:
    """What the stored numbers of one asset mean; lists where a file holds several bands, in its order."""

    common_name: str | list[str | None] | None
    """STAC common name."""
    center_wavelength_nm: float | list[float | None] | None
    """Centre wavelength, of the platform's own table where there is one."""
    gsd_m: float | None
    """Ground distance of the pixels as delivered."""
    scale: float | None
    """physical = stored * scale + offset; None where the evidence does not decide."""
    offset: float | None
    """See `scale`."""
    nodata: float | None
    """Stored no-data value."""
    unit: str | None
    """Unit of the physical value."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name; whole numbers without a point."""
        return {name: _plain(getattr(self, name)) for name in AssetMeaning.__slots__}


@dataclass(slots=True)
class Explanation:
    """What would be done with an item."""

    sensor: str | None = None
    """Sensor profile, None where none fits."""
    platform: str | None = None
    """sentinel-2a, landsat-8, ..."""
    datetime: str | None = None
    """Acquisition time, or the begin of its range, as RFC 3339 in UTC."""
    processing_baseline: str | None = None
    """Of Sentinel-2, ``NN.NN``."""
    epsg: int | None = None
    """Coordinate system of the pixels, mended where the item names a wrong one."""
    cloud_cover: float | None = None
    """Scene's percentage as stated."""
    assets: dict[str, AssetMeaning] = field(default_factory=dict)
    """Key -> meaning, of every asset that holds bands."""
    mask_asset: str | None = None
    """Key of the asset that says what is cloud."""
    mask_kind: MaskKind = "none"
    """How it is read."""
    licence: str | None = None
    """Licence id."""
    verdict: Literal["use", "refuse"] = "refuse"
    """Whether a build would read it."""
    why: list[str] = field(default_factory=list)
    """Evidence and decisions, one sentence each."""

    def to_json(self) -> dict[str, Any]:
        """The documented form."""
        return {
            "sensor": self.sensor,
            "platform": self.platform,
            "datetime": self.datetime,
            "processing_baseline": self.processing_baseline,
            "epsg": self.epsg,
            "cloud_cover": _plain(self.cloud_cover),
            "assets": {key: meaning.to_json() for key, meaning in self.assets.items()},
            "mask": {"asset": self.mask_asset, "kind": self.mask_kind},
            "licence": self.licence,
            "verdict": self.verdict,
            "why": self.why,
        }


def explain_item(raw: Mapping[str, Any], base_href: str = "") -> Explanation:
    """What would be done with an item, by what it says itself.

    Args:
        raw: the item as its catalog or file gives it, of any STAC version.
        base_href: address of its document, against which relative addresses are resolved. An item from a public host
            may name no file of this machine and no private network, as in a build.

    Raises:
        UnsupportedItemError: no time is stated, or the document is no item at all.
    """
    item = normalise_item(raw, base_href)
    mark_refused(item, allow_local=refusal(base_href, allow_local=False) != "")
    clues = clues_of(item)
    known = recognise(clues)
    told = Explanation(sensor=known.sensor or None, platform=clues.platform or None, why=[known.why])
    start, _ = item_times(item)
    told.datetime = start.isoformat().replace("+00:00", "Z")
    told.cloud_cover = _cloud_cover(item)
    if known.sensor.startswith("sentinel-2"):
        told.processing_baseline = baseline_of(item) or None
    if known.sensor:
        told.licence = licence_of(item, load_sensor(known.sensor), start.year)[0]
    if not known.is_refused:
        _judge(item, known, clues, told)
    is_unprojected = bool(told.assets) and all(meaning.unit == AMPLITUDE for meaning in told.assets.values())
    if told.epsg is None and not is_unprojected:
        told.epsg = _stated_epsg(item)
    return told


def _judge(item: Item, known: Recognised, clues: Clues, told: Explanation) -> None:
    """Assets, mask, lattice and verdict of an item whose sensor is known."""
    profile = profile_of(item, known.sensor)
    held = _held_bands(item, profile)
    own = [band.name for _, band, sensor in held if sensor is profile and band is not None]
    told.assets = _meanings(item, held, told.why)
    kind = mask_kind(item, profile)
    if kind != "none":
        told.mask_kind, told.mask_asset = kind, next(iter(mask_keys(item, profile, kind).values()))
        told.why.append(f"mask: {told.mask_asset}, read as {kind}")
    else:
        told.why.append("no mask: every pixel that is no no-data counts as clear")
    if not held:
        told.why.append(_nothing_held(item, profile))
        return
    absent = [band.name for band in profile.bands if band.unasked and band.name not in own]
    if absent and profile.kind == "optical" and not profile.bands_from_item:
        told.why.append(f"not offered: {', '.join(absent)}")
    if all(meaning.unit == AMPLITUDE for meaning in told.assets.values()):
        told.why.append("no map projection: a build places the pixels by the product's geometry")
    else:
        try:
            told.epsg = asset_georef(item, held[0][0].asset_key).epsg
        except SourceError as error:
            told.why.append(_short(item, error))
    try:
        scene = _as_build(item, known.sensor, tuple(dict.fromkeys(own)))
    except LatticeUnknownError:
        told.verdict = "use"
        told.why.append("where the pixels lie is read from the header of the file")
    except SourceError as error:
        if _short(item, error) not in told.why:
            told.why.append(_short(item, error))
    else:
        told.verdict = "use"
        if scene.radiometry not in told.why:
            told.why.append(scene.radiometry)
    if told.verdict == "use" and clues.platform == "landsat-7" and (told.datetime or "") > "2003-05-31":
        told.why.append("Landsat 7 after 2003-05-31: the gaps of the scan-line corrector are no data")


def _as_build(item: Item, sensor: str, bands: tuple[str, ...]) -> SceneItem:
    """The scene that a build would make of the item, asked for the bands that it has."""
    modality = Modality(
        sensor=sensor,
        catalog="explain",
        collection=str(item.get("collection") or "-"),
        bands=bands,
        ground_range=GroundRange() if sensor == "sentinel-1-grd" else None,
    )
    return to_scene_item(item, "explain", modality, "explain")


Held = list[tuple[BandInfo, Band | None, SensorProfile]]


def _held_bands(item: Item, profile: SensorProfile) -> Held:
    """Every band of every asset that the sensor, or a companion of it, measures."""
    if profile.bands_from_item:
        return [(info, None, profile) for info in find_image(item)]
    held: Held = []
    profiles = (profile, *(profile_of(item, name) for name in profile.companions))
    for key, asset in item["assets"].items():
        if not is_pixel_asset(key, asset):
            continue
        for info in asset_bands(key, asset):
            for sensor in profiles:
                if band := band_of(sensor.bands, info):
                    held.append((info, band, sensor))
                    break
    if not held and len(profile.bands) == 1:
        rasters = [key for key, asset in item["assets"].items() if is_pixel_asset(key, asset)]
        if len(rasters) == 1:
            held = [(asset_bands(rasters[0], item["assets"][rasters[0]])[0], profile.bands[0], profile)]
    return held


def _meanings(item: Item, held: Held, why: list[str]) -> dict[str, AssetMeaning]:
    """The meaning of each asset; reasons are added once each."""
    by_asset: dict[str, Held] = {}
    for info, band, sensor in held:
        by_asset.setdefault(info.asset_key, []).append((info, band, sensor))
    meanings: dict[str, AssetMeaning] = {}
    reasons: dict[str, list[str]] = {}
    for key, rows in by_asset.items():
        sensor = rows[0][2]
        infos = [info for info, _, _ in rows]
        decided: Radiometry | None = None
        try:
            decided = radiometry_of(sensor.sensor)(item, infos, sensor)
            reasons.setdefault(decided.why, []).append(key)
        except UnsupportedItemError as error:
            reasons.setdefault(_short(item, error), []).append(key)
        except NONSENSE as error:
            reasons.setdefault(f"cannot be understood: {type(error).__name__}", []).append(key)
        meanings[key] = _meaning(item, rows, sensor, decided)
    several = len(reasons) > 1
    why += [f"{_few(keys)}: {reason}" if several else reason for reason, keys in reasons.items()]
    return meanings


def _meaning(item: Item, rows: Held, sensor: SensorProfile, decided: Radiometry | None) -> AssetMeaning:
    names = [band.common_name if band else info.common_name for info, band, _ in rows]
    centres = [_centre(info, band) for info, band, _ in rows]
    info, band, _ = rows[0]
    is_amplitude = decided is not None and decided.unit == AMPLITUDE
    return AssetMeaning(
        common_name=(names[0] or None) if len(rows) == 1 else [name or None for name in names],
        center_wavelength_nm=centres[0] if len(rows) == 1 else centres,
        gsd_m=(_spacing(item) if is_amplitude else None) or _gsd(item, info, band, sensor),
        scale=decided.scale if decided else None,
        offset=decided.offset if decided else None,
        nodata=info.nodata if info.nodata is not None else sensor.nodata,
        unit=decided.unit if decided else None,
    )


def _centre(info: BandInfo, band: Band | None) -> float | None:
    return info.centre_nm if band is None or band.centre_nm is None else band.centre_nm


def _spacing(item: Item) -> float | None:
    """Pixel spacing of an image in ground range; the coarser of both directions."""
    said = [as_number(item["properties"].get(f"sar:pixel_spacing_{way}")) for way in ("range", "azimuth")]
    return max((number for number in said if number is not None and number > 0), default=None)


def _gsd(item: Item, info: BandInfo, band: Band | None, sensor: SensorProfile) -> float | None:
    """Pixel edge as delivered, in metres: the lattice's, else as stated, else the sensor's own."""
    asset = item["assets"][info.asset_key]
    if named := named_pixel_m(info.asset_key, asset):
        return named
    transform = asset.get("proj:transform")
    if transform and abs(float(transform[0])) > METRES_FROM:
        return abs(float(transform[0]))
    listed = (asset.get("raster:bands") or asset.get("bands") or ())[info.index - 1 : info.index]
    row = listed[0] if listed and isinstance(listed[0], Mapping) else {}
    whole = item["properties"].get("gsd") if len(sensor.bands) == 1 else None
    for said in (row.get("spatial_resolution"), row.get("raster:spatial_resolution"), asset.get("gsd"), whole):
        if (number := as_number(said)) is not None and number > 0:
            return number
    return band.gsd_m if band else None


def _nothing_held(item: Item, profile: SensorProfile) -> str:
    rasters = [key for key, asset in item["assets"].items() if is_pixel_asset(key, asset)]
    if not item["assets"]:
        return "the item has no assets: there is nothing to read"
    if not rasters:
        return "none of its assets is a GeoTIFF or a JPEG 2000 file"
    return f"none of its rasters is a band of {profile.sensor}: {_few(rasters)}"


def _cloud_cover(item: Item) -> float | None:
    cover = as_number(item["properties"].get("eo:cloud_cover"))
    return cover if cover is None or cover >= 0 else None


def _stated_epsg(item: Item) -> int | None:
    """The one code that the assets state, for an item whose lattice is not resolved."""
    codes = {asset.get("proj:epsg") for key, asset in item["assets"].items() if is_pixel_asset(key, asset)} - {None}
    codes = codes or {item["properties"].get("proj:epsg")} - {None}
    code = codes.pop() if len(codes) == 1 else None
    return code if isinstance(code, int) else None


def _short(item: Item, error: SourceError) -> str:
    return error.what.removeprefix(f"item {item['id']}: ")


def _few(keys: Sequence[str]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _plain(value: Any) -> Any:
    """Whole numbers without a point; what JSON has no number for as STAC writes it (``"nan"``, ``"inf"``)."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() else value
