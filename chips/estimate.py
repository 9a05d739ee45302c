"""What a plan will cost before anything is spent: bytes to read, requests, bytes on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from chips.convert import stored_form
from chips.plan import LayerPlan, layer_georef
from schemas.chip import ChipSpec, Tile
from schemas.recipe import Recipe

BLOCK_BYTES = 512 * 512 * 2
"""A usual COG block: 512 x 512 pixels of two bytes; merged requests fetch at least one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Upper bounds: dates that clouds rule out are not read."""

    chips: int
    """Chips planned."""
    tiles: int
    """Units of work."""
    items: int
    """Distinct items over the chips."""
    read_bytes: int
    """Raw bytes of the windows to read, before compression."""
    requests: int
    """Ranges to ask for: blocks that the windows touch, and one header per asset."""
    disk_bytes: int
    """Raw bytes of the shards, both kinds together."""


def estimate(recipe: Recipe, layers: Sequence[LayerPlan], tiles: Sequence[Tile]) -> Estimate:
    """Bytes, requests and disk of a plan."""
    read = requests = disk = chips = 0
    items: set[tuple[str, str]] = set()
    label_bytes = _label_bytes(recipe)
    for tile in tiles:
        chips += len(tile.chips)
        disk += label_bytes * len(tile.chips)
        for layer in layers:
            modality = recipe.modalities[layer.modality]
            offered = tile.items.get(layer.modality, ())
            items |= {(layer.modality, item.item_id) for item in offered}
            pixels = [_pixels(chip, layer, recipe) for chip in tile.chips]
            depth = len(layer.bands) * np.dtype(layer.dtype).itemsize
            for item in offered:
                touched = _touched(tile.chips, item.footprint_wkb)
                amount = sum(pixels[index] for index in touched) * depth
                read += amount
                requests += len({ref.href for ref in item.refs if ref.band in layer.bands}) * (
                    1 + -(-amount // (BLOCK_BYTES * len(layer.bands)))
                )
            stored = (
                np.dtype(stored_form(layer.dtype, layer.nodata, layer.unit, modality)[0]).itemsize * len(layer.bands)
                + 1
            )
            dates = min(modality.select.max_dates, len(offered))
            disk += sum(pixels) * stored * dates
    return Estimate(chips, len(tiles), len(items), read, requests, disk * len(recipe.write.kinds))


def _pixels(chip: ChipSpec, layer: LayerPlan, recipe: Recipe) -> int:
    shape = layer_georef(chip, layer, recipe.modalities[layer.modality], ()).shape_yx
    return shape[0] * shape[1]


def _touched(chips: Sequence[ChipSpec], footprint_wkb: bytes) -> list[int]:
    footprint = shapely.from_wkb(footprint_wkb)
    return [i for i, chip in enumerate(chips) if shapely.from_wkb(chip.footprint_wkb).intersects(footprint)]


def _label_bytes(recipe: Recipe) -> int:
    if recipe.labels is None or not recipe.grid.chip_m:
        return 0
    pixels = round(recipe.grid.chip_m / recipe.grid.gsd_m) ** 2
    return pixels * (len(recipe.labels.sources) + (2 if recipe.labels.fuse else 0))
