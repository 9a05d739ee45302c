"""The sensors that are known, and `to_scene_item`, which hands an item to its sensor's module.

A new sensor is one table (``schemas/sensor_<name>.yaml``, or a file that the recipe names) and no code: `table_sensor`
reads it. A sensor whose items need more has a function `sources.base.ToSceneItem`; other packages add theirs by the
entry-point group ``terraweft.sensors``.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from pyproj.exceptions import CRSError
from shapely.errors import GEOSException

from schemas.errors import UnsupportedItemError
from schemas.recipe import Modality
from schemas.scene import SceneItem, SceneRef
from schemas.sensor import load_sensor
from sources.base import RadiometryOf, ToSceneItem, load_target
from sources.items import Item
from sources.openers import unsigned
from sources.raster_limits import MAX_SIDE_PX
from sources.sound import can_hold, is_stored_type

SENSORS: dict[str, str] = {
    "sentinel-2-l2a": "sources.sentinel2:to_scene_item",
    "sentinel-2-l1c": "sources.sentinel2:to_scene_item",
    "sentinel-1-rtc": "sources.sentinel1:to_scene_item",
    "sentinel-1-grd": "sources.sentinel1:to_scene_item",
    "landsat-c2-l2-sr": "sources.landsat:to_scene_item",
    "landsat-c2-l2-st": "sources.landsat:to_scene_item",
    "landsat-c1": "sources.landsat:to_scene_item",
    "landsat-c1-bt": "sources.landsat:to_scene_item",
    "enmap-l2a": "sources.enmap:to_scene_item",
    "dem": "sources.dem:to_scene_item",
    "landcover": "sources.dem:to_scene_item",
}
"""Sensor profile -> the function that turns an item into a `SceneItem`, where the table alone is not enough."""
BY_TABLE = "sources.table_sensor:to_scene_item"
ENTRY_POINTS = "terraweft.sensors"
NONSENSE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, CRSError, GEOSException)
"""What reading a document raises that is not what it should be: translated here, once for all sensors."""


def to_scene_item(item: Item, modality_name: str, modality: Modality, catalog_name: str) -> SceneItem:
    """The item of any known sensor as a `SceneItem`; see `ToSceneItem`.

    Raises:
        RecipeError: unknown sensor; lists the known ones.
        UnsupportedItemError, AssetMissingError: as `ToSceneItem`; the former too where the item makes no sense
            anywhere (a list where a number belongs, a raster without rows, a scale that is not finite).
    """
    read = sensor_reader(modality.sensor)
    try:
        scene = read(item, modality_name, modality, catalog_name)
    except NONSENSE as error:
        what = f"item {item['id']}: cannot be understood: {type(error).__name__} {str(error)[:120]}"
        raise UnsupportedItemError(what) from error
    for ref in (*scene.refs, *scene.masks):
        _check_ref(ref)
    return scene


def _check_ref(ref: SceneRef) -> None:
    """Refuse a band whose numbers can mean nothing.

    Raises:
        UnsupportedItemError: naming item, asset and numbers.
    """
    whose = f"item {ref.item_id}: asset {ref.asset_key}"
    if not is_stored_type(ref.dtype):
        raise UnsupportedItemError(f"{whose} is of type {ref.dtype!r}, which is not read", unsigned(ref.href))
    if ref.nodata is not None and not can_hold(ref.dtype, ref.nodata):
        what = f"{whose} is of type {ref.dtype}, which has no {ref.nodata:g} for no data"
        raise UnsupportedItemError(what, unsigned(ref.href))
    grid = ref.georef
    numbers = (ref.scale, ref.offset, grid.x0, grid.y0, grid.pixel_size)
    is_sane = all(math.isfinite(number) for number in numbers) and ref.scale != 0 and grid.pixel_size > 0
    if not is_sane or not 0 < min(grid.shape_yx) <= max(grid.shape_yx) <= MAX_SIDE_PX or ref.band_index < 1:
        raise UnsupportedItemError(f"{whose} has scale {ref.scale}, offset {ref.offset} on {grid}", unsigned(ref.href))


@cache
def sensor_reader(sensor: str) -> ToSceneItem:
    """The function of a sensor.

    Raises:
        RecipeError: unknown name; lists the known ones.
    """
    targets = SENSORS | {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    if sensor not in targets:
        load_sensor(sensor)
    return cast(ToSceneItem, load_target(targets.get(sensor, BY_TABLE)))


def radiometry_of(sensor: str) -> RadiometryOf:
    """The function by which a sensor's module decides what stored numbers mean."""
    return cast(RadiometryOf, load_target(SENSORS.get(sensor, BY_TABLE).partition(":")[0] + ":radiometry_of"))
