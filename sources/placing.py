"""Items that do not say where their pixels lie: `placed_scene` asks the headers of their files.

USGS before STAC 1.0 and NASA's CMR publish items without projection. One header is read for an item whose bands share a
GSD, one for each band otherwise; what the files say is checked again when their pixels are read.
"""

from __future__ import annotations

import copy
from typing import Any

import rasterio

from schemas.errors import LatticeUnknownError, UnsupportedItemError
from schemas.recipe import Modality
from schemas.scene import Opener, SceneItem
from schemas.sensor import load_sensor
from sources.assets import is_pixel_asset, is_refused
from sources.epsg import code_of_file
from sources.faults import READ_ERRORS, as_source_error
from sources.gdal_reads import gdal_reads
from sources.items import Item
from sources.openers import driver_of
from sources.sensors import to_scene_item


def placed_scene(item: Item, modality_name: str, modality: Modality, catalog_name: str, opener: Opener) -> SceneItem:
    """`to_scene_item`, with the lattice from the files where the item does not say it.

    Raises:
        UnsupportedItemError, AssetMissingError: as `to_scene_item`.
        SourceError: a header could not be read, as `sources.faults` decides.
    """
    for _ in item["assets"]:
        try:
            return to_scene_item(item, modality_name, modality, catalog_name)
        except LatticeUnknownError as error:
            if not error.asset_key:
                raise
            item = _with_header(item, error.asset_key, modality.sensor, opener)
    return to_scene_item(item, modality_name, modality, catalog_name)


def _with_header(item: Item, asset_key: str, sensor: str, opener: Opener) -> Item:
    """The item with the projection of one file in its asset, and in all that must share it."""
    placed = copy.deepcopy(item)
    projection = _projection(placed, asset_key, opener)
    gsds = {band.gsd_m for band in load_sensor(sensor).bands}
    for key, asset in placed["assets"].items():
        if key == asset_key or (len(gsds) == 1 and is_pixel_asset(key, asset) and not asset.get("proj:transform")):
            asset.update(projection)
    return placed


def _projection(item: Item, asset_key: str, opener: Opener) -> dict[str, Any]:
    """The projection fields that a file's header gives."""
    asset = item["assets"][asset_key]
    href = str(asset["href"])
    if reason := is_refused(asset):
        raise UnsupportedItemError(f"item {item['id']}: asset {asset_key} refused: {reason}")
    resolved = opener.resolve(href)
    try:
        with (
            opener.slot(href),
            gdal_reads(opener, [href]),
            rasterio.open(resolved, driver=driver_of(href)) as file,
        ):
            code = code_of_file(file)
            transform, shape = list(file.transform)[:6], [file.height, file.width]
    except READ_ERRORS as error:
        raise as_source_error(error, href, resolved) from error
    if code is None:
        raise UnsupportedItemError(f"item {item['id']}: the file of asset {asset_key} names no EPSG code")
    return {"proj:epsg": code, "proj:code": f"EPSG:{code}", "proj:transform": transform, "proj:shape": shape}
