"""Where a band lies in an item: `find_band` (which asset, which band of the file) and `asset_georef` (which lattice).

Bands are found by name, common name and centre wavelength, never by position in a list of assets.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from schemas.antimeridian import centre
from schemas.errors import AssetMissingError, LatticeUnknownError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.sensor import Band
from sources.items import item_geometry
from sources.sound import as_number

log = logging.getLogger(__name__)

CENTRE_TOLERANCE_NM = 25.0
"""Catalogs round centre wavelengths (842 for 832.8 nm); neighbouring bands lie further apart than this."""
DEGREES_BELOW = 0.01
"""A pixel edge below this is in degrees: no raster in metres has one."""
REFUSED_KEY = "terraweft:refused"
"""Set on an asset whose address must not be opened; holds the reason."""
_NOT_DATA_ROLES = frozenset({"thumbnail", "overview", "visual", "metadata", "index", "tiles", "browse"})
_NOT_DATA_KEYS = frozenset(
    {"thumbnail", "overview", "visual", "metadata", "index", "preview", "browse", "tci", "pvi", "rendered_preview"}
)
_RASTER_ENDINGS = (".tif", ".tiff", ".jp2", ".cog", ".gtiff")
_DECORATION = re.compile(r"([-_.]jp2|\.tiff?|_\d{2}m)$")
_NAMED_PIXEL = re.compile(r"_(?:B\d[0-9A]|SCL|AOT|WVP)_([126]0)m(?:\.jp2|\.tiff?)?(?:\)/\$value)?$")
_MICROMETRE_LIMIT = 30.0
_OF_ASSET = ("raster:scale", "raster:offset")
_OF_BAND = ("eo:common_name", "eo:center_wavelength", "eo:full_width_half_max")


@dataclass(frozen=True, slots=True)
class BandInfo:
    """What an item says about one band of one asset."""

    asset_key: str
    """Key of the asset."""
    index: int
    """1-based band of the file."""
    count: int
    """Bands that the item lists for the asset."""
    name: str
    """Name in the item, empty where it has none."""
    common_name: str = ""
    """STAC common name."""
    centre_nm: float | None = None
    """Centre wavelength in nm."""
    fwhm_nm: float | None = None
    """Full width at half maximum in nm."""
    dtype: str = ""
    """NumPy name, empty where the item is silent."""
    nodata: float | None = None
    """Stored no-data value."""
    scale: float | None = None
    """Stated scale."""
    offset: float | None = None
    """Stated offset."""
    unit: str = ""
    """Stated unit."""
    is_good: bool = True
    """False where the product lists the band as bad (``bbl`` 0)."""


def asset_bands(asset_key: str, asset: Mapping[str, Any]) -> list[BandInfo]:
    """The bands of an asset, from ``bands`` (STAC 1.1), ``eo:bands`` and ``raster:bands`` merged by position.

    An asset that lists none has one band without a name. Wavelengths are given in nm: the micrometres of the
    standard and the nanometres of some catalogs are told apart by magnitude (nothing here measures 30 nm or 30 um).
    """
    lists = [asset.get(name) for name in ("bands", "eo:bands", "raster:bands")]
    tables = [[_as_row(row) for row in rows] for rows in lists if isinstance(rows, list)]
    count = max((len(table) for table in tables), default=0) or 1
    return [_band_info(asset_key, position, count, tables, asset) for position in range(count)]


def find_band(item: Mapping[str, Any], band: Band) -> BandInfo:
    """The asset and band of the file that hold a band of the sensor profile.

    First an asset whose key is the band's name, an alias or its common name; then a band listed inside a data asset
    under one of these names. A centre wavelength that contradicts the profile is no match.

    Raises:
        AssetMissingError: nothing fits; names what the item has.
        UnsupportedItemError: the asset is there, but its address must not be opened.
    """
    names = _names(band)
    for key in names:
        asset = item["assets"].get(key)
        if asset is None:
            continue
        infos = asset_bands(key, asset)
        for info in infos:
            fits = len(infos) == 1 or info.name in names or info.common_name in names
            if fits and _centre_agrees(info, band):
                return _allowed(item, info)
    for info in _listed(item):
        is_named = info.name in names or (info.common_name and info.common_name == band.common_name)
        if is_named and _centre_agrees(info, band):
            return _allowed(item, info)
    for key in _pixel_keys(item):
        infos = asset_bands(key, item["assets"][key])
        is_named = len(infos) == 1 and plain_key(key) in {plain_key(name) for name in names}
        if is_named and _centre_agrees(infos[0], band):
            return _allowed(item, infos[0])
    have = ", ".join(sorted(item["assets"])) or "none"
    raise AssetMissingError(f"item {item['id']}: no asset for band {band.name}; it has {have}")


def band_of(bands: Sequence[Band], info: BandInfo) -> Band | None:
    """Which of a profile's bands a band of an asset is: `find_band` turned round; None where it is none of them.

    By the asset's key or the band's name first; then by common name, of several that share one (``rededge``) the one
    whose centre wavelength is nearest. A centre that contradicts the profile is no match.
    """
    said = {plain_key(info.name)} if info.name else set()
    if info.count == 1:
        said.add(plain_key(info.asset_key))
    fitting = [band for band in bands if _centre_agrees(info, band)]
    named = [band for band in fitting if said & {plain_key(name) for name in _names(band)}]
    if not named and info.common_name:
        alike = [b for b in fitting if b.common_name == info.common_name]
        if not alike and info.centre_nm is not None:
            alike = [b for b in fitting if b.common_name.startswith(info.common_name)]
        named = alike
    if len(named) > 1 and info.centre_nm is not None:
        centre = info.centre_nm
        named.sort(key=lambda band: abs((band.centre_nm or 0.0) - centre))
    return named[0] if named else None


def find_image(item: Mapping[str, Any]) -> list[BandInfo]:
    """The bands of the one asset that holds a spectrum: the raster with most bands that have wavelengths."""
    found: list[BandInfo] = []
    for key in _pixel_keys(item):
        infos = asset_bands(key, item["assets"][key])
        if sum(info.centre_nm is not None for info in infos) > max(len(found), 3):
            found = infos
    return found


def is_pixel_asset(key: str, asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a raster of measurements, as GeoTIFF or JPEG 2000: no preview, no metadata, no archive."""
    if set(asset.get("roles") or ()) & _NOT_DATA_ROLES or plain_key(key) in _NOT_DATA_KEYS:
        return False
    kind, href = str(asset.get("type") or "").lower(), urlsplit(str(asset.get("href") or "")).path.lower()
    if not kind:
        is_bare = "." not in href.rsplit("/", 1)[-1]
        return href.endswith(_RASTER_ENDINGS) or (is_bare and "data" in (asset.get("roles") or ()))
    return "tif" in kind or "jp2" in kind or (kind == "application/octet-stream" and href.endswith(_RASTER_ENDINGS))


def plain_key(key: str) -> str:
    """A key or band name less what catalogs hang on to it.

    >>> plain_key("B02_10m"), plain_key("blue-jp2"), plain_key("SR_B4.TIF")
    ('b02', 'blue', 'sr_b4')
    """
    plain = key.lower()
    while (shorter := _DECORATION.sub("", plain)) != plain:
        plain = shorter
    return plain


def asset_georef(item: Mapping[str, Any], asset_key: str) -> GeoRef:
    """Lattice of a stored raster, from the asset's own projection fields (or the item's).

    A CRS is believed only if the footprint falls on the raster: real items name zone 1 ``EPSG:3271``, and
    Landsat south of the equator lies in 326zz with negative northings. Where an UTM zone read from such a code fits
    the footprint it is taken and logged, else the item is refused. A CRS that is not stated is the UTM zone in which
    the raster lies on the footprint; a transform that is not stated follows from ``proj:bbox`` and ``proj:shape``.

    Raises:
        LatticeUnknownError: the item does not say, and it does not follow.
        UnsupportedItemError: rotated, of pixels that are not square in metres, or not where the footprint is.
    """
    asset = item["assets"][asset_key]
    epsg, shape_yx = asset.get("proj:epsg"), asset.get("proj:shape")
    transform = asset.get("proj:transform") or _transform_of_box(
        asset.get("proj:bbox") or item["properties"].get("proj:bbox"), shape_yx
    )
    missing = [n for n, v in (("proj:transform", transform), ("proj:shape", shape_yx)) if not v]
    if transform is None or not shape_yx:
        raise _unplaced(item, asset_key, missing)
    a, b, x0, d, e, y0 = (float(value) for value in transform[:6])
    if b or d:
        raise UnsupportedItemError(f"item {item['id']}: asset {asset_key} is rotated, only north-up grids are read")
    if (named := named_pixel_m(asset_key, asset)) and named != a == -e:
        # Real items of CDSE give B07_60m the transform of B07_20m beside the shape of the file itself.
        log.debug("item %s: asset %s: pixels of %g m stated, its name says %g m", item["id"], asset_key, a, named)
        a, e = named, -named
    height = None if abs(a + e) <= 1e-6 * a else -e
    if a <= 0 or e >= 0 or (height is not None and a >= DEGREES_BELOW):
        raise UnsupportedItemError(
            f"item {item['id']}: asset {asset_key} has pixels of {a} x {-e}, not square north-up"
        )
    georef = GeoRef(int(epsg or 0), x0, y0, a, (int(shape_yx[0]), int(shape_yx[1])), height)
    footprint = item_geometry(item)
    for candidate in (georef.epsg, *_meant(georef.epsg)) if epsg else _zones_near(footprint, a):
        if _lies_on(candidate, georef, footprint):
            if candidate != georef.epsg:
                _say_once(item["id"], georef.epsg, candidate)
            return replace(georef, epsg=candidate)
    if not epsg:
        raise _unplaced(item, asset_key, ["proj:code"])
    raise UnsupportedItemError(f"item {item['id']}: EPSG:{epsg} puts asset {asset_key} away from the footprint")


def named_pixel_m(asset_key: str, asset: Mapping[str, Any]) -> float | None:
    """The pixel edge that a Sentinel-2 file's name states (``T35UPU_..._B07_60m.jp2``); None where it states none.

    Key and file name must agree: a key alone may be what a catalog calls a file that it resampled.
    """
    names = (f"_{asset_key}", urlsplit(str(asset.get("href") or "")).path)
    found = [match[1] for name in names if (match := _NAMED_PIXEL.search(name))]
    return float(found[0]) if len(found) == 2 and found[0] == found[1] else None


def is_refused(asset: Mapping[str, Any]) -> str:
    """Why the asset's address must not be opened; empty where it may be."""
    return str(asset.get(REFUSED_KEY, ""))


def _allowed(item: Mapping[str, Any], info: BandInfo) -> BandInfo:
    reason = is_refused(item["assets"][info.asset_key])
    if reason:
        raise UnsupportedItemError(f"item {item['id']}: asset {info.asset_key} refused: {reason}")
    return info


def _names(band: Band) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in (band.name, *band.aliases, band.common_name) if name))


def _listed(item: Mapping[str, Any]) -> Iterator[BandInfo]:
    """Named bands of the assets that hold pixels."""
    for key in _pixel_keys(item):
        yield from (info for info in asset_bands(key, item["assets"][key]) if info.name or info.common_name)


def _pixel_keys(item: Mapping[str, Any]) -> list[str]:
    """Keys of the assets that hold pixels; JPEG 2000 twins of a GeoTIFF come last."""
    assets = item["assets"]
    keys = sorted(assets, key=lambda key: ("jp2" in str(assets[key].get("type", "")), key))
    return [key for key in keys if is_pixel_asset(key, assets[key])]


def _centre_agrees(info: BandInfo, band: Band) -> bool:
    if info.centre_nm is None or band.centre_nm is None:
        return True
    return abs(info.centre_nm - band.centre_nm) <= max(CENTRE_TOLERANCE_NM, 0.06 * band.centre_nm)


def _as_row(row: Any) -> Mapping[str, Any]:
    """A band as a table: of a bare name (``["B04"]``) too; what is neither keeps its place."""
    return row if isinstance(row, Mapping) else {"name": row} if isinstance(row, str) else {}


def _band_info(
    asset_key: str, position: int, count: int, tables: list[list[Mapping[str, Any]]], asset: Mapping[str, Any]
) -> BandInfo:
    # STAC 1.1: what holds for all bands stands with the asset, and all of an asset of one band
    whole = {key: asset[key] for key in _OF_ASSET + (_OF_BAND if count == 1 else ()) if asset.get(key) is not None}
    rows = [*(table[position] for table in tables if position < len(table)), whole]

    def first(*keys: str) -> Any:
        found = (row[key] for row in rows for key in keys if row.get(key) is not None)
        return next(found, None)

    def number(*keys: str) -> float | None:
        return as_number(first(*keys))

    centre, fwhm = (
        number("eo:center_wavelength", "center_wavelength"),
        number("eo:full_width_half_max", "full_width_half_max"),
    )
    factor = 1.0 if centre is not None and centre > _MICROMETRE_LIMIT else 1000.0
    name = first("name")
    good = number("enmap:bbl", "bbl")
    nodata = _nodata(first("nodata"))
    return BandInfo(
        asset_key=asset_key,
        index=position + 1,
        count=count,
        name="" if name is None else str(name),
        common_name=str(first("eo:common_name", "common_name") or ""),
        centre_nm=None if centre is None else round(centre * factor, 4),
        fwhm_nm=None if fwhm is None else round(fwhm * factor, 4),
        dtype=_dtype(first("data_type") or asset.get("data_type")),
        nodata=nodata if nodata is not None else _nodata(asset.get("nodata")),
        scale=number("raster:scale", "scale", "enmap:gain_of_band"),
        offset=number("raster:offset", "offset", "enmap:offset_of_band"),
        unit=str(first("unit") or asset.get("unit") or ""),
        is_good=good is None or good != 0,
    )


def _dtype(value: Any) -> str:
    """A stored type under NumPy's name, also of GDAL's (``UInt16``, ``Byte``)."""
    name = str(value or "").lower()
    return "uint8" if name == "byte" else name


def _nodata(value: Any) -> float | None:
    """A no-data value; ``"nan"`` and ``"inf"`` are texts in STAC."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _meant(epsg: int) -> tuple[int, ...]:
    """UTM codes that a zone written without its leading zero, or in the other hemisphere's numbering, may mean."""
    text = str(epsg)
    if len(text) == 4 and text[:3] in ("326", "327"):
        return tuple(int(f"{head}0{text[3]}") for head in ("326", "327"))
    if 32601 <= epsg <= 32660:
        return (epsg + 100,)
    if 32701 <= epsg <= 32760:
        return (epsg - 100,)
    return ()


def _unplaced(item: Mapping[str, Any], asset_key: str, missing: Sequence[str]) -> LatticeUnknownError:
    error = LatticeUnknownError(f"item {item['id']}: asset {asset_key} has no {' and no '.join(missing)}")
    error.asset_key = asset_key
    return error


def _zones_near(footprint: Any, pixel_size: float) -> tuple[int, ...]:
    """Codes that an unstated CRS may be: UTM zones around the footprint, in both numberings; lon/lat for degrees."""
    if pixel_size < DEGREES_BELOW:
        return (4326,)
    zone = int((centre(footprint).x + 180.0) // 6) + 1
    near = [(zone + step - 1) % 60 + 1 for step in (0, -1, 1)]
    return tuple(100 * head + number for number in near for head in (326, 327))


def _transform_of_box(bounds: Any, shape_yx: Any) -> list[float] | None:
    """The transform that ``proj:bbox`` and ``proj:shape`` leave no choice about."""
    if not bounds or len(bounds) != 4 or not shape_yx or not all(shape_yx):
        return None
    left, bottom, right, top = (float(value) for value in bounds)
    return [(right - left) / int(shape_yx[1]), 0.0, left, 0.0, (bottom - top) / int(shape_yx[0]), top]


def _lies_on(epsg: int, georef: GeoRef, footprint: Any) -> bool:
    """Whether a point of the footprint lies on the raster, give or take a twentieth of its extent.

    A footprint right around the Earth tells nothing and is believed.
    """
    largest = max(shapely.get_parts(footprint), key=lambda part: float(part.area))
    west, _, east, _ = largest.bounds
    if east - west > 180:
        return True
    point = largest.representative_point()
    try:
        x, y = _from_lonlat(epsg).transform(point.x, point.y)
    except CRSError:
        return False
    left, bottom, right, top = georef.bounds_xyxy
    pad = 0.05 * max(right - left, top - bottom) + 2 * georef.pixel_size
    return bool(left - pad <= x <= right + pad and bottom - pad <= y <= top + pad)


@lru_cache(maxsize=1024)
def _say_once(item_id: str, epsg: int, meant: int) -> None:
    said = f"EPSG:{epsg}" if epsg else "a lattice without a CRS"
    log.warning("item %s: %s read as EPSG:%d, which fits the footprint", item_id, said, meant)


@lru_cache(maxsize=256)
def _from_lonlat(epsg: int) -> Transformer:
    return Transformer.from_crs(CRS.from_epsg(4326), CRS.from_epsg(epsg), always_xy=True)
