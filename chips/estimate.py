"""What a plan will cost before anything is spent: bytes to read, requests, bytes on disk, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chips.convert import stored_form
from chips.plan import LayerPlan, layer_georef
from schemas.chip import ChipSpec
from schemas.recipe import Recipe
from schemas.scene import SceneItem

BLOCK_BYTES = 512 * 512 * 2
"""A usual COG block: 512 x 512 pixels of two bytes; merged requests fetch at least one."""
READ_BYTES_PER_S = 40e6
"""Raw bytes that a worker reads, converts, checks and writes per second, about."""
REQUESTS_PER_S = 100.0
"""Requests that a worker has answered per second, several in flight, about."""


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

    def seconds(self, workers: int) -> float:
        """About how long it takes on some workers: reading and asking go on side by side."""
        return max(self.read_bytes / READ_BYTES_PER_S, self.requests / REQUESTS_PER_S) / max(1, workers)


@dataclass(frozen=True)
class Touched:
    """P pairs of a tile and an item of one modality or label source."""

    tile: NDArray[np.int64]
    """(P,) number of the tile."""
    chips: NDArray[np.int64]
    """(P,) how many of its chips the item touches."""
    items: int
    """Distinct items."""


def estimate(
    recipe: Recipe,
    layers: Sequence[LayerPlan],
    chips_per_tile: NDArray[np.int64],
    touched: Mapping[str, Touched],
    examples: Mapping[str, SceneItem],
    sample: Sequence[ChipSpec],
) -> Estimate:
    """Bytes, requests and disk of a plan.

    Args:
        recipe: the recipe.
        layers: the modality groups.
        chips_per_tile: (T,) chips of each tile.
        touched: modality -> its pairs.
        examples: modality -> one of its items.
        sample: some chips, for their size.
    """
    chips, tiles = int(chips_per_tile.sum()), len(chips_per_tile)
    read = requests = 0
    disk = _label_bytes(recipe) * chips
    for layer in layers:
        pairs, modality = touched[layer.modality], recipe.modalities[layer.modality]
        pixels = float(np.mean([_pixels(chip, layer, recipe) for chip in sample]))
        amount = pairs.chips * (pixels * len(layer.bands) * np.dtype(layer.dtype).itemsize)
        assets = len({ref.href for ref in examples[layer.modality].refs if ref.band in layer.bands})
        read += int(amount.sum())
        requests += assets * int((1 + np.ceil(amount / (BLOCK_BYTES * len(layer.bands)))).sum())
        stored = np.dtype(stored_form(layer.dtype, layer.nodata, layer.unit, modality)[0]).itemsize * len(layer.bands)
        offered = np.bincount(pairs.tile, minlength=tiles)
        dates = np.minimum(offered, modality.select.max_dates)
        disk += int((dates * chips_per_tile).sum() * pixels * (stored + 1))
    items = sum(touched[name].items for name in recipe.modalities if name in touched)
    return Estimate(chips, tiles, items, read, requests, disk * len(recipe.write.kinds))


def _pixels(chip: ChipSpec, layer: LayerPlan, recipe: Recipe) -> int:
    shape = layer_georef(chip, layer, recipe.modalities[layer.modality], ()).shape_yx
    return shape[0] * shape[1]


def _label_bytes(recipe: Recipe) -> int:
    if recipe.labels is None or not recipe.grid.chip_m:
        return 0
    pixels = round(recipe.grid.chip_m / recipe.grid.gsd_m) ** 2
    return pixels * (len(recipe.labels.sources) + (2 if recipe.labels.fuse else 0))
