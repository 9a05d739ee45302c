"""Class rasters from a catalog or a file: which items, and their codes on a chip's or tile's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from schemas.errors import AssetMissingError, DecodeError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.labels import RasterLayer
from schemas.legend import Legend, load_legend
from schemas.recipe import LabelSource
from schemas.scene import Opener, SceneItem, SceneRef
from sources.assets import is_refused
from sources.footprint import box_parts
from sources.items import content_hash, item_geometry, item_times
from sources.label_licences import attribution_of_file, attribution_of_item, licence_of_file, licence_of_item
from sources.label_pixels import opened, read_codes, read_commonest
from sources.openers import unsigned

if TYPE_CHECKING:
    import xarray as xr

USUAL_ASSET = {"worldcover": "map", "corine": "clc", "osm": "pbf"}
"""Asset key by kind where the recipe names none."""

WGS84 = "EPSG:4326"

NATIVE_GSD_M = {"worldcover": 10.0, "corine": 100.0}
"""GSD of the products themselves."""


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

    `SceneItem.extra` holds ``year``, ``version``, ``gsd_m``, ``checksum`` and ``size`` (of the asset, if stated).

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
        georef=stated_georef(item, asset),
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
            ("size", str(asset.get("file:size", ""))),
        ),
    )


def to_label_item_of_file(href: str, name: str, source: LabelSource, opener: Opener) -> SceneItem:
    """A raster that the recipe names by its address instead of a catalog, as a `SceneItem`.

    Only the header is read. The vintage is the recipe's ``year``, or untold where it says none. A coordinate system
    without EPSG code (national grids, as NLCD has one) leaves the lattice untold: pixels are found by the file's own.

    Raises:
        SourceError: the file cannot be opened.
    """
    import rioxarray  # and all of dask with it, which whoever plans without such rasters need not wait for

    with opened(href, opener) as file:
        raster = cast("xr.DataArray", rioxarray.open_rasterio(file, cache=False))
        epsg, bounds, transform = raster.rio.crs.to_epsg(), raster.rio.transform_bounds(WGS84), raster.rio.transform()
        if not np.isfinite(bounds).all():
            raise DecodeError("the raster lies where its coordinate system has no place", unsigned(href))
        georef = _untold(box_parts(*bounds))
        if epsg is not None:
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
    if resampling == "mode":
        codes, used = read_commonest(in_order(items), target, opener, nodata, _dtype_of(table))
    else:
        codes, used = _under_centres(in_order(items), target, opener, nodata, _dtype_of(table))
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


def _under_centres(
    items: Sequence[SceneItem], target: GeoRef, opener: Opener, nodata: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], list[SceneItem]]:
    """(H, W) codes under the centres, and the items that gave some."""
    codes, used = np.full(target.shape_yx, nodata, dtype=dtype), []
    for item in items:
        part = read_codes(item, target, opener, nodata, dtype)
        if part is None:
            continue
        fresh = (codes == nodata) & (part != nodata)
        if fresh.any():
            codes[fresh] = part[fresh]
            used.append(item)
        if not (codes == nodata).any():
            break
    return codes, used


def in_order(items: Sequence[SceneItem]) -> list[SceneItem]:
    """The items to read, the preferred first: the newest year, in it the newest version, then by id.

    WorldCover and CORINE of two years never stand in one layer (their changes are partly the algorithm's),
    so only the newest year is left of them.
    """
    newest = max((dict(item.extra)["year"] for item in items), default="")
    kept = [i for i in items if dict(i.extra)["year"] == newest or i.sensor not in ("worldcover", "corine")]
    kept.sort(key=lambda item: item.item_id)
    return sorted(kept, key=lambda item: (dict(item.extra)["year"], _version_key(item)), reverse=True)


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
        first = (asset.get(key) or [{}])[0]
        merged |= first if isinstance(first, Mapping) else {}  # a bare name (``["map"]``) states nothing more
    return merged


def _number(value: Any) -> float | None:
    """A no-data value, NaN too; what is no number counts as not stated."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def stated_georef(item: dict[str, Any], asset: Mapping[str, Any]) -> GeoRef:
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
    return _untold(item_geometry(item))


def _untold(footprint: BaseGeometry) -> GeoRef:
    """What stands for a lattice that is not stated: of shape (0, 0)."""
    west, _, _, north = footprint.bounds
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
