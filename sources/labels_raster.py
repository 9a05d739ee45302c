"""Class rasters from a catalog or a file: which items, and their codes on a chip's or tile's grid."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from schemas.errors import AssetMissingError, DecodeError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.labels import RasterLayer
from schemas.legend import Legend, load_legend
from schemas.recipe import LabelSource
from schemas.scene import Opener, SceneItem, SceneRef
from sources.assets import is_refused
from sources.centres import projection, source_pixels
from sources.faults import as_source_error
from sources.footprint import box_parts
from sources.items import content_hash, item_geometry, item_times
from sources.label_licences import attribution_of_file, attribution_of_item, licence_of_file, licence_of_item
from sources.lattice import turned
from sources.openers import driver_of, gdal_reads
from sources.raster_limits import check_open_file

log = logging.getLogger(__name__)

USUAL_ASSET = {"worldcover": "map", "corine": "clc", "osm": "pbf"}
"""Asset key by kind where the recipe names none."""

NATIVE_GSD_M = {"worldcover": 10.0, "corine": 100.0}
"""GSD of the products themselves."""

MARGIN_PIXELS = 2
"""Source pixels read beyond the target's edge, so that the nearest one is always there."""


def choose_of(found: Sequence[SceneItem], source: LabelSource) -> list[SceneItem]:
    """The items of one label source that are to be read, the preferred first (see `in_order`).

    Items of another year than the recipe's are left out; the year decides between WorldCover 2020 and 2021.

    Args:
        found: what `to_label_item` made of them.
        source: the recipe's entry.
    """
    return in_order([i for i in found if source.year is None or dict(i.extra)["year"] == str(source.year)])


def to_label_item(item: dict[str, Any], name: str, source: LabelSource, catalog: str) -> SceneItem:
    """What a STAC item of a label product offers, as one `SceneItem` with one ref.

    `SceneItem.extra` holds ``year``, ``version``, ``gsd_m`` and ``checksum`` (of the asset, if stated).

    Raises:
        AssetMissingError: the item has no such asset.
        UnsupportedItemError: the item has no time or is of another year than the recipe's, or the asset's
        address
            must not be opened.
    """
    properties = item.get("properties", {})
    start, end = item_times(item)
    key = _asset_key(item, source)
    asset = item["assets"][key]
    if is_refused(asset):
        raise UnsupportedItemError(f"item {item['id']}: asset {key} refused: {is_refused(asset)}")
    year = str(_reference_year(start, end))
    ref = SceneRef(
        item_id=item["id"],
        asset_key=key,
        href=asset["href"],
        band=key,
        band_index=1,
        georef=_stated_georef(item, asset),
        dtype=str(_first_band(asset).get("data_type", "")),
        nodata=_number(_first_band(asset).get("nodata")),
    )
    return SceneItem(
        catalog=catalog,
        collection=str(item.get("collection", source.collection or "")),
        item_id=item["id"],
        modality=name,
        sensor=source.kind,
        datetime_utc=start,
        end_utc=end,
        footprint_wkb=item_geometry(item).wkb,
        refs=(ref,),
        licence=licence_of_item(item, source),
        attribution=attribution_of_item(item, source, year),
        content_hash=content_hash(item),
        extra=(
            ("year", year),
            ("version", _version(item)),
            ("gsd_m", str(NATIVE_GSD_M.get(source.kind, properties.get("gsd", 0.0)))),
            ("checksum", str(asset.get("file:checksum", ""))),
        ),
    )


def to_label_item_of_file(href: str, name: str, source: LabelSource, opener: Opener) -> SceneItem:
    """A raster that the recipe names by its address instead of a catalog, as a `SceneItem`.

    Only the header is read. The vintage is the recipe's ``year``, or untold where it says none.

    Raises:
        SourceError: the file cannot be opened.
    """
    with _opened(href, opener) as file:
        raster = cast(xr.DataArray, rioxarray.open_rasterio(file, cache=False))
        epsg = raster.rio.crs.to_epsg()
        if epsg is None:
            raise UnsupportedItemError("the raster's coordinate system has no EPSG code", href)
        bounds, transform = raster.rio.transform_bounds("EPSG:4326"), raster.rio.transform()
        georef = GeoRef(epsg, transform.c, transform.f, transform.a, (raster.rio.height, raster.rio.width))
        ref = SceneRef(name, "file", href, "file", 1, georef, str(raster.dtype), _number(raster.rio.nodata))
    return SceneItem(
        catalog="",
        collection="",
        item_id=name,
        modality=name,
        sensor=source.kind,
        datetime_utc=datetime(source.year or 1970, 1, 1, tzinfo=UTC),
        end_utc=None,
        footprint_wkb=box_parts(*bounds).wkb,
        refs=(ref,),
        licence=licence_of_file(source),
        attribution=attribution_of_file(source),
        extra=(
            ("year", str(source.year or "")),
            ("version", ""),
            ("gsd_m", str(NATIVE_GSD_M.get(source.kind, 0.0))),
            ("checksum", ""),
        ),
    )


def read_label_raster(
    items: Sequence[SceneItem],
    target: GeoRef,
    opener: Opener,
    *,
    legend: str,
    resampling: Literal["nearest", "mode"] = "nearest",
) -> RasterLayer | None:
    """Codes of a class raster on the target grid.

    Each target pixel takes the code of the source pixel in which its centre lies (``nearest``), or, for a
    product much finer than the grid, the most frequent code under it (``mode``). Only the window that the
    target needs is read. Several items are mosaicked: the first of `in_order` that has data at a pixel
    gives it.

    Args:
        items: of one label source.
        target: grid to fill; any projected coordinate system.
        opener: how addresses are opened.
        legend: names the codes; its first no-data code stands wherever no item has data.
        resampling: see above.

    Returns:
        The layer, uint8 or uint16 (H, W), or None where no item has data on the target.

    Raises:
        AssetMissingError, AccessDeniedError, ThrottledError, TransientSourceError: by the answer of the
        server.
        DecodeError: no raster, or values beyond 16 bits.
    """
    if not items:
        return None
    table = load_legend(legend)
    nodata = table.nodata[0]
    codes = np.full(target.shape_yx, nodata, dtype=_dtype_of(table))
    used = []
    for item in in_order(items):
        part = _read_one(item, target, opener, nodata, codes.dtype, resampling)
        if part is None:
            continue
        fresh = (codes == nodata) & (part != nodata)
        if fresh.any():
            codes[fresh] = part[fresh]
            used.append(item)
        if not (codes == nodata).any():
            break
    if not used:
        return None
    extra = dict(used[0].extra)
    return RasterLayer(
        source=used[0].modality,
        codes=codes,
        georef=target,
        nodata=nodata,
        legend=legend,
        vintage=" ".join(part for part in (extra.get("year", ""), extra.get("version", "")) if part),
        licence=used[0].licence,
        attribution=used[0].attribution,
        native_gsd_m=float(extra.get("gsd_m") or 0.0),
        item_ids=tuple(item.item_id for item in used),
    )


def in_order(items: Sequence[SceneItem]) -> list[SceneItem]:
    """The items to read, the preferred first: the newest year, in it the newest version, then by id.

    WorldCover and CORINE of two years never stand in one layer (their changes are partly the algorithm's),
    so only the newest year is left of them.
    """
    newest = max((dict(item.extra)["year"] for item in items), default="")
    kept = [i for i in items if dict(i.extra)["year"] == newest or i.sensor not in ("worldcover", "corine")]
    kept.sort(key=lambda item: item.item_id)
    return sorted(kept, key=lambda item: (dict(item.extra)["year"], _version_key(item)), reverse=True)


@dataclass(frozen=True, eq=False)
class _Part:
    """What was read of a raster."""

    codes: NDArray[np.uint16]
    """(H, W), the file's no-data value replaced by the legend's."""
    transform: Affine
    """Of the window."""
    wkt: str
    """Coordinate system."""


def _read_one(
    item: SceneItem, target: GeoRef, opener: Opener, nodata: int, dtype: np.dtype[Any], resampling: str
) -> NDArray[Any] | None:
    """(H, W) codes of one item on the target, or None where they do not meet."""
    found: NDArray[Any] | None = None
    for part in _parts(item, target, opener, nodata):
        codes = _on_target(part, target, nodata, dtype, resampling)
        found = codes if found is None else np.where(found == nodata, codes, found)
    return found


def _on_target(part: _Part, target: GeoRef, nodata: int, dtype: np.dtype[Any], resampling: str) -> NDArray[Any]:
    """(H, W) codes of what was read, on the target."""
    if resampling == "nearest":
        return _at_centres(part, target, nodata, dtype)
    codes = xr.DataArray(part.codes, dims=("y", "x")).rio.write_crs(part.wkt).rio.write_nodata(nodata)
    warped = codes.rio.write_transform(part.transform).rio.reproject(
        f"EPSG:{target.epsg}",
        shape=target.shape_yx,
        transform=Affine(*target.transform),
        resampling=Resampling[resampling],
        nodata=nodata,
    )
    return np.asarray(warped.values, dtype)


def _parts(item: SceneItem, target: GeoRef, opener: Opener, nodata: int) -> list[_Part]:
    """The windows of the first band that the target needs; none where they do not meet."""
    ref = item.refs[0]
    with _opened(ref.href, opener) as raster:
        wkt = raster.crs.to_wkt()
        stored = ref.nodata if raster.nodata is None else float(raster.nodata)
        read = [(raster.read(1, window=w), raster.window_transform(w)) for w in _windows(raster, target)]
    return [_Part(_as_codes(values, stored, nodata, ref.href), transform, wkt) for values, transform in read]


@contextmanager
def _opened(href: str, opener: Opener) -> Iterator[Any]:
    """The open raster; what fails while it is open is one of our errors."""
    resolved = opener.resolve(href)
    try:
        with gdal_reads(opener, [href]), rasterio.open(resolved, driver=driver_of(href)) as raster:
            if raster.subdatasets:
                raise DecodeError("the raster has several subdatasets", href)
            if raster.crs is None:
                raise DecodeError("the raster has no coordinate system", href)
            if max(abs(raster.transform.b), abs(raster.transform.d)) > 1e-6 * abs(raster.transform.a):
                raise DecodeError("the raster is rotated, only grids along the axes are read", href)
            check_open_file(raster, href)
            yield raster
    except (RasterioError, OSError) as error:
        raise as_source_error(error, href, resolved) from error


def _at_centres(part: _Part, target: GeoRef, nodata: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """(H, W) the code in whose pixel each centre of the target lies.

    Not by a warp: GDAL approximates the projection between the ends of a row, and rasterio lets nobody turn that
    off; measured on WorldCover, 1 label in 10,000 came from the neighbouring pixel.
    """
    codes = np.append(part.codes, part.codes.dtype.type(nodata)).astype(dtype)  # the last one lies beyond the raster
    return codes.take(source_pixels(target, part.wkt, part.transform, part.codes.shape))


def _windows(raster: Any, target: GeoRef) -> list[Window]:
    """The parts of an open raster that the target needs: two where it crosses the antimeridian and the raster goes
    around the Earth, none where they do not meet.

    The target's outline is densified; in ``always_xy`` order, because EPSG:3035 and EPSG:3042 name northing
    first while every raster's transform is easting first.
    """
    to_source, transform = projection(target.epsg, raster.crs.to_wkt()), raster.transform
    left, bottom, right, top = to_source.transform_bounds(*target.bounds_xyxy, densify_pts=21)
    if not np.isfinite([left, bottom, right, top]).all():
        return []
    stretches = [(left, right)]
    if raster.crs.is_geographic:
        stretches = turned(left, right, raster.bounds.left, raster.bounds.right)
    rows = [(y - transform.f) / transform.e for y in (bottom, top)]
    first_row = max(int(np.floor(min(rows))) - MARGIN_PIXELS, 0)
    last_row = min(int(np.ceil(max(rows))) + MARGIN_PIXELS, raster.height)
    windows = []
    for stretch in stretches:
        columns = [(x - transform.c) / transform.a for x in stretch]
        first_column = max(int(np.floor(min(columns))) - MARGIN_PIXELS, 0)
        last_column = min(int(np.ceil(max(columns))) + MARGIN_PIXELS, raster.width)
        if first_column < last_column and first_row < last_row:
            windows.append(Window(first_column, first_row, last_column - first_column, last_row - first_row))
    return windows


def _as_codes(values: NDArray[Any], stored: float | None, nodata: int, href: str) -> NDArray[np.uint16]:
    """Values as uint16 codes, the file's no-data value replaced by the legend's."""
    if values.dtype == np.uint8 and stored in (None, nodata):
        return values.astype(np.uint16)
    missing = np.zeros(values.shape, dtype=bool) if stored is None else values == stored
    if np.issubdtype(values.dtype, np.floating):
        missing |= np.isnan(values)
    whole = np.where(missing, values.dtype.type(0), values)
    if whole.size and (whole.min() < 0 or whole.max() > np.iinfo(np.uint16).max or (whole % 1 != 0).any()):
        raise DecodeError(f"class codes must be whole numbers of 0..65535, got {whole.min()}..{whole.max()}", href)
    codes = whole.astype(np.uint16)
    codes[missing] = nodata  # not before: the legend's code may be more than the file's type holds
    return codes


def _dtype_of(legend: Legend) -> np.dtype[Any]:
    highest = max([*legend.nodata, *(entry.code for entry in legend.classes)])
    return np.dtype(np.uint8 if highest < 256 else np.uint16)


def _reference_year(start: datetime, end: datetime | None) -> int:
    """Year that a product speaks of: the last one it saw (CLC2018 rests on images of 2017 and 2018)."""
    return start.year if end is None else max(start.year, (end - timedelta(seconds=1)).year)


def _asset_key(item: dict[str, Any], source: LabelSource) -> str:
    """The recipe's asset, the product's usual one, or the only one with the role ``data``."""
    assets: dict[str, Any] = item.get("assets", {})
    wanted = source.asset or USUAL_ASSET.get(source.kind)
    if wanted in assets:
        return str(wanted)
    data = [key for key, asset in assets.items() if "data" in asset.get("roles", [])]
    if source.asset is None and len(data) == 1:
        return data[0]
    raise AssetMissingError(f"item {item.get('id')} has no asset {wanted!r}; it has {sorted(assets)}")


def _first_band(asset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raster properties of the first band, whichever extension states them."""
    merged: dict[str, Any] = {}
    for key in ("bands", "raster:bands"):
        merged |= (asset.get(key) or [{}])[0]
    return merged


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _stated_georef(item: dict[str, Any], asset: Mapping[str, Any]) -> GeoRef:
    """Lattice that the item states; one of shape (0, 0) where it states none (the reader takes the file's
    own).
    """
    stated = item.get("properties", {}) | asset
    code = str(stated.get("proj:code") or "")
    epsg = stated.get("proj:epsg") or (code.removeprefix("EPSG:") if code.startswith("EPSG:") else None)
    transform, shape_yx = stated.get("proj:transform"), stated.get("proj:shape")
    if epsg and transform and shape_yx and abs(transform[0] + transform[4]) < 1e-6 * abs(transform[0]):
        rows, columns = shape_yx
        return GeoRef(int(epsg), transform[2], transform[5], transform[0], (int(rows), int(columns)))
    west, _, _, north = item_geometry(item).bounds
    return GeoRef(4326, west, north, 1.0, (0, 0))


def _version(item: dict[str, Any]) -> str:
    """Version of the product: from the properties, else from an id such as
    ``ESA_WorldCover_10m_2021_v200_N45E012``.
    """
    properties = item.get("properties", {})
    for key in ("esa_worldcover:product_version", "version", "processing:version"):
        if properties.get(key):
            return str(properties[key]).lower()
    parts = [part for part in str(item["id"]).split("_") if part[:1] in "vV" and part[1:2].isdigit()]
    return parts[0].lower() if parts else ""


def _version_key(item: SceneItem) -> tuple[int, ...]:
    """Numbers of the version, so that v200 comes after v100 and 2.10 after 2.9."""
    text = dict(item.extra)["version"]
    return tuple(int(part) for part in "".join(c if c.isdigit() else " " for c in text).split())
