"""Reading one item over the chips of a tile: its mask and its pixels, every asset once, for all its chips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.plan import LayerPlan, layer_georef, native_georef
from schemas.chip import ChipSpec
from schemas.georef import GeoRef, is_same_zone
from schemas.recipe import Modality
from schemas.scene import Opener, SceneItem
from schemas.sensor import load_sensor
from sources.dates import in_terms_of, kernel_of, mask_plan, refs_of
from sources.engine import Engine, engine_for
from sources.glance import glance
from sources.masks import pixel_codes, to_valid


@dataclass(frozen=True, slots=True)
class Mask:
    """An item's validity over a chip."""

    valid: NDArray[np.uint8]
    """(y, x), see `schemas.chip.Valid`."""
    georef: GeoRef
    """Where it lies: under all layers, which may overhang the chip."""
    chip: GeoRef
    """The part of it that the chip needs."""

    def over_chip(self) -> NDArray[np.uint8]:
        """The codes of that part."""
        row, column = self.georef.offset_yx(self.chip)
        rows, columns = self.chip.shape_yx
        return self.valid[row : row + rows, column : column + columns]


def mask_grids(chip: ChipSpec, item: SceneItem, plan: LayerPlan, layers: Sequence[GeoRef]) -> tuple[GeoRef, GeoRef]:
    """Where an item's mask is read over a chip: under all of its layers, and the part of it that the chip needs.

    Args:
        chip: the chip.
        item: the item, with a mask.
        plan: the modality's finest layer.
        layers: grids of the chip's layers.
    """
    own = native_georef(chip, mask_plan(plan, item.masks[0]), [ref.georef for ref in item.masks])
    whole = own
    for layer in layers:
        whole = whole.covering(layer.bounds_xyxy)
    return whole, own


class ItemReader:
    """Reads items of one modality.

    Args:
        modality: the recipe's wishes.
        groups: the modality's layers.
        items: all candidates, which decide the lattices.
        chips: chips of one zone.
        opener: how hrefs are opened.
    """

    def __init__(
        self,
        modality: Modality,
        groups: Sequence[LayerPlan],
        items: Sequence[SceneItem],
        chips: Sequence[ChipSpec],
        opener: Opener,
    ) -> None:
        self.modality, self.groups, self.opener = modality, groups, opener
        self.engine: Engine = engine_for(items, modality.engine)
        self.lattices = _lattices(items, chips)

    def georef(self, chip: ChipSpec, layer: LayerPlan) -> GeoRef:
        """The grid of a chip's layer."""
        near = [g for g in self.lattices if abs(g.pixel_size - layer.gsd_m) < 1e-6]
        return layer_georef(chip, layer, self.modality, near)

    def bytes_of(self, chip: ChipSpec) -> int:
        """Pixels of one item over a chip."""
        sizes = [math.prod(self.georef(chip, layer).shape_yx) * len(layer.bands) for layer in self.groups]
        return sum(sizes) * np.dtype(self.groups[0].dtype).itemsize

    def masks(self, item: SceneItem, chips: Sequence[ChipSpec]) -> dict[str, Mask]:
        """Chip id -> the item's mask over it, at the mask's own pixels.

        Raises:
            SourceError: a mask could not be read.
        """
        if not item.masks:
            return {}
        grids = {chip.chip_id: self._mask_grids(item, chip) for chip in chips}
        arrays: dict[str, dict[str, NDArray[Any]]] = {chip.chip_id: {} for chip in chips}
        for ref in item.masks:
            targets = [whole for whole, _ in grids.values()]
            blocks = self.engine.read_each([ref], targets, "nearest", self.opener, ref.nodata)
            for chip_id, block in zip(grids, blocks, strict=True):
                arrays[chip_id][ref.band] = block[0]
        return {
            chip_id: Mask(to_valid(item.mask_kind, arrays[chip_id]), *of_chip) for chip_id, of_chip in grids.items()
        }

    def _mask_grids(self, item: SceneItem, chip: ChipSpec) -> tuple[GeoRef, GeoRef]:
        layers = [self.georef(chip, layer) for layer in self.groups]
        return mask_grids(chip, item, self.groups[0], layers)

    def glances(self, item: SceneItem, chips: Sequence[ChipSpec]) -> dict[str, NDArray[np.uint8]] | None:
        """Chip id -> the item's validity as its overviews show it; None where they cannot.

        Raises:
            SourceError: a file could not be read.
        """
        refs = item.masks or item.refs[:1]
        if not refs or refs[0].needs:
            return None
        arrays: dict[str, dict[str, NDArray[Any]]] = {chip.chip_id: {} for chip in chips}
        for ref in refs:
            plan = mask_plan(self.groups[0], ref)
            grids = {chip.chip_id: native_georef(chip, plan, [ref.georef]) for chip in chips}
            thin = glance(ref, grids, self.opener, is_mask=bool(item.masks))
            if thin is None:
                return None
            for chip_id, pixels in thin.items():
                arrays[chip_id][ref.band] = pixels
        if item.masks:
            return {chip_id: to_valid(item.mask_kind, layers) for chip_id, layers in arrays.items()}
        profile = load_sensor(item.sensor)
        return {
            chip_id: pixel_codes(layers[refs[0].band][np.newaxis], refs[0].nodata, profile.nodata_rule)
            for chip_id, layers in arrays.items()
        }

    def pixels(self, item: SceneItem, chips: Sequence[ChipSpec]) -> tuple[dict[tuple[str, str], NDArray[Any]], int]:
        """(Chip id, group) -> (band, y, x) as stored with the layer's no-data value, and the bytes that were read.

        Raises:
            SourceError: an asset could not be read, or has not what the layer needs.
        """
        found: dict[tuple[str, str], NDArray[Any]] = {}
        read_bytes = 0
        for layer in self.groups:
            grids = {chip.chip_id: self.georef(chip, layer) for chip in chips}
            refs = refs_of(item, layer)
            targets = list(grids.values())
            blocks = self.engine.read_each(refs, targets, kernel_of(self.modality), self.opener, layer.nodata)
            for chip_id, block in zip(grids, blocks, strict=True):
                read_bytes += block.nbytes
                found[chip_id, layer.group] = in_terms_of(layer, block, refs)
        return found, read_bytes


def _lattices(items: Sequence[SceneItem], chips: Sequence[ChipSpec]) -> list[GeoRef]:
    """Lattices of the items, those of the chips' zone first."""
    zone = chips[0].epsg if chips else 0
    refs = [ref.georef for item in items for ref in item.refs]
    return sorted(dict.fromkeys(refs), key=lambda g: (not is_same_zone(g.epsg, zone), g.pixel_size, g.epsg, g.x0, g.y0))
