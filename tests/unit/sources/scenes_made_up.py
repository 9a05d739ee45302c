"""Chips, items and recipes for tests of the tile reader, over rasters written on the spot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import shapely
from pyproj import Transformer

from chips.plan import LayerPlan, plan_layers
from schemas.chip import ChipSpec, Tile
from schemas.georef import GeoRef
from schemas.recipe import Recipe
from schemas.scene import MaskKind, Opener, SceneItem, SceneRef
from sources.openers import PlainOpener
from sources.tile_reader import TileRead, TileReader

WHEN = datetime(2022, 6, 20, 10, 10, 39, tzinfo=UTC)
LEFT, TOP = 600_000.0, 5_300_040.0


def footprint(georef: GeoRef) -> bytes:
    """The grid's outline in EPSG:4326."""
    to_lonlat = Transformer.from_crs(georef.epsg, 4326, always_xy=True).transform
    outline = shapely.box(*georef.bounds_xyxy).segmentize(200.0)
    return bytes(shapely.to_wkb(shapely.transform(outline, to_lonlat, interleaved=False)))


def chip(chip_id: str = "c", left: float = LEFT, top: float = TOP, size: float = 120.0, epsg: int = 32632) -> ChipSpec:
    """A chip of 12 by 12 pixels of 10 m."""
    bounds = (left, top - size, left + size, top)
    here = footprint(GeoRef(epsg, left, top, size, (1, 1)))
    return ChipSpec(chip_id, epsg, bounds, "r", "train", "b", WHEN, WHEN, WHEN, here)


def item(
    item_id: str,
    refs: list[SceneRef],
    masks: list[SceneRef] | None = None,
    kind: MaskKind = "none",
    sensor: str = "sentinel-2-l2a",
    datatake: str = "",
    when: datetime = WHEN,
    unit: str = "reflectance",
) -> SceneItem:
    """An item of the modality ``m`` whose footprint is its first raster's."""
    known = tuple(
        replace(ref, item_id=item_id, unit=unit, scale=1e-4 if unit == "reflectance" else 1.0) for ref in refs
    )
    return SceneItem(
        catalog="c",
        collection="k",
        item_id=item_id,
        modality="m",
        sensor=sensor,
        datetime_utc=when,
        end_utc=None,
        footprint_wkb=footprint(refs[0].georef),
        refs=known,
        mask_kind=kind,
        masks=tuple(masks or ()),
        datatake=datatake,
        content_hash=item_id,
    )


def recipe(sensor: str = "sentinel-2-l2a", register: dict[str, Any] | None = None, **modality: Any) -> Recipe:
    """One modality ``m`` on chips of 120 m."""
    return Recipe.model_validate(
        {
            "format": 1,
            "name": "t",
            "catalogs": {"c": {"kind": "static", "href": "x", "allow_local": True}},
            "regions": [{"name": "r", "bbox": [10, 47, 11, 48]}],
            "grid": {"kind": "utm", "chip_m": 120, "gsd_m": 10},
            "time": {"start": "2022-01-01", "end": "2022-12-31"},
            "modalities": {"m": {"sensor": sensor, "catalog": "c", "collection": "k", **modality}},
            "register": register or {"mode": "off"},
        }
    )


@dataclass
class Reading:
    """A recipe's items, ready to be read."""

    rules: Recipe
    items: list[SceneItem]
    layers: list[LayerPlan]

    def read(self, *chips: ChipSpec, opener: Opener | None = None) -> TileRead:
        """All chips as one tile."""
        tile = Tile("t", chips[0].epsg, chips, {"m": tuple(self.items)})
        return TileReader(self.rules, self.layers, opener or PlainOpener(), sleep=lambda _: None).read(tile)


def reading(rules: Recipe, *items: SceneItem) -> Reading:
    """Layers are planned from the items."""
    return Reading(rules, list(items), plan_layers(rules, {"m": items[0]}))
