"""Hop 3: a tile's pixels. Masks first, then only the dates that a chip keeps; every asset once per tile.

For each modality the masks of all candidate items are read over the whole tile; each chip chooses its dates from
its own clear and missing fractions; then each item is read once for all the chips that chose it. Items are read by
several threads where the engine likes that: one waits while another decodes.
"""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.plan import LayerPlan
from chips.register import APPROXIMATE
from chips.select import screen_dates
from schemas.chip import Chip, ChipSpec, Outcome, Tile
from schemas.errors import SourceError
from schemas.georef import GeoRef
from schemas.recipe import Modality, Recipe
from schemas.scene import Opener, SceneItem
from schemas.sensor import Band, load_sensor
from sources.block_store import gather
from sources.choose import Chooser, Parts, covering
from sources.dates import Date, fill_holes, refs_of, to_date, to_layer, validity
from sources.item_reader import ItemReader, Mask
from sources.masks import resample_valid
from sources.openers import public_name
from sources.retry import call_with_retries
from sources.scenes import scene_bands

log = logging.getLogger(__name__)


class Stopped(Exception):
    """Nobody wants the tile any more."""


@dataclass
class TileRead:
    """What became of a tile's chips in hop 3."""

    chips: list[Chip] = field(default_factory=list)
    """Chips with all the layers that the recipe demands."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Chips that are rejected or failed."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Reads done: item, bytes, for the run table."""


class TileReader:
    """Reads tiles for one recipe.

    Args:
        recipe: the recipe.
        layers: the modality groups.
        opener: how hrefs are opened.
        sleep: how to wait between tries.
        is_stopped: asked before each item; once it says yes, `read` raises `Stopped`.
    """

    def __init__(
        self,
        recipe: Recipe,
        layers: Sequence[LayerPlan],
        opener: Opener,
        sleep: Callable[[float], object] = time.sleep,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.recipe, self.opener, self.sleep, self.is_stopped = recipe, opener, sleep, is_stopped
        self.layers: dict[str, list[LayerPlan]] = defaultdict(list)
        for layer in layers:
            self.layers[layer.modality].append(layer)

    def read(self, tile: Tile) -> TileRead:
        """All chips of a tile.

        A failure of a source fails the chips that need it, and no other.
        """
        result = TileRead()
        layers: dict[str, dict[str, xr.Dataset]] = {chip.chip_id: {} for chip in tile.chips}
        provenance: dict[str, dict[str, tuple[SceneItem, ...]]] = {chip.chip_id: {} for chip in tile.chips}
        ended: dict[str, Outcome] = {}
        for name, groups in self.layers.items():
            modality = self.recipe.modalities[name]
            open_chips = [chip for chip in tile.chips if chip.chip_id not in ended]
            read = _ModalityRead(self, name, modality, groups, open_chips, tile.items.get(name, ()))
            for chip in open_chips:
                found = read.of_chip(chip)
                if isinstance(found, Outcome):
                    ended[chip.chip_id] = found
                    continue
                layers[chip.chip_id] |= found[0]
                provenance[chip.chip_id][name] = found[1]
            result.steps += read.steps
        for chip in tile.chips:
            if chip.chip_id in ended:
                result.outcomes.append(ended[chip.chip_id])
            else:
                result.chips.append(Chip(chip, layers[chip.chip_id], provenance[chip.chip_id]))
        return result


class _ModalityRead:
    """One modality over one tile."""

    def __init__(
        self,
        reader: TileReader,
        name: str,
        modality: Modality,
        groups: list[LayerPlan],
        chips: list[ChipSpec],
        items: Sequence[SceneItem],
    ) -> None:
        self.reader, self.name, self.modality, self.groups, self.chips = reader, name, modality, groups, chips
        self.items = tuple(items)
        self.reads = ItemReader(modality, groups, items, chips, reader.opener)
        self.profile = load_sensor(modality.sensor)
        self._read_of: dict[str, dict[str, Any]] = {}
        """Item -> its row of the run table."""
        self.unjudged: dict[str, SourceError] = {}
        """Items of which nobody knows whether they would have been chosen."""
        self.unread: dict[str, SourceError] = {}
        """Items that were chosen and whose pixels could not be read."""
        self.covering = covering(chips, items)
        self.masks: dict[tuple[str, str], Mask] = {}
        self.pixels: dict[tuple[str, str, str], NDArray[Any]] = {}
        self.parts: dict[str, list[Parts]] = {}
        self._each(items, lambda item: (self._read_mask if item.masks else self._read_pixels)(item), self.unjudged)
        chooser = Chooser(items, self.covering, self._valid_on_mask_grid, modality.select)
        self.parts = {chip.chip_id: chooser.choose(chip) for chip in chips}
        judged = [item for item in items if item.masks and item.item_id not in self.unjudged]
        self._each(judged, self._read_pixels, self.unread)
        self.steps = [self._read_of[item.item_id] for item in items if item.item_id in self._read_of]

    def _each(
        self, items: Sequence[SceneItem], step: Callable[[SceneItem], None], failures: dict[str, SourceError]
    ) -> None:
        """Take the step for every item, several at a time; a failure ends no other item.

        Raises:
            Stopped: the reader was told to stop; what has not begun is not begun.
        """

        def guarded(item: SceneItem) -> None:
            if self.reader.is_stopped():
                raise Stopped
            try:
                call_with_retries(lambda: step(item), sleep=self.reader.sleep, jitter=random.random)
            except SourceError as error:
                log.warning("%s: %s", item.item_id, error)
                failures[item.item_id] = error

        at_once = min(self.reads.engine.at_once, len(items))
        if at_once < 2:
            for item in items:
                guarded(item)
            return
        with ThreadPoolExecutor(at_once, thread_name_prefix="item") as pool:
            gather([pool.submit(guarded, item) for item in items])

    def _read_mask(self, item: SceneItem) -> None:
        chips = [chip for chip in self.chips if item.item_id in self.covering[chip.chip_id]]
        for chip_id, mask in self.reads.masks(item, chips).items():
            self.masks[item.item_id, chip_id] = mask

    def _read_pixels(self, item: SceneItem) -> None:
        chips = [chip for chip in self.chips if self._needs(chip, item)]
        if not chips:
            return
        found, read_bytes = self.reads.pixels(item, chips)
        for (chip_id, group), pixels in found.items():
            self.pixels[item.item_id, chip_id, group] = pixels
        self._read_of[item.item_id] = {
            "step": "read",
            "item_id": item.item_id,
            "urls": sorted({public_name(ref.href) for ref in item.refs}),
            "chips": [c.chip_id for c in chips],
            "bytes": read_bytes,
        }

    def _needs(self, chip: ChipSpec, item: SceneItem) -> bool:
        if not item.masks:
            return item.item_id in self.covering[chip.chip_id]
        return any(item in part for part in self.parts[chip.chip_id])

    def _valid_on_mask_grid(self, chip: ChipSpec, item: SceneItem) -> NDArray[np.uint8] | None:
        mask = self.masks.get((item.item_id, chip.chip_id))
        if mask is not None:
            return mask.valid
        layer = self.groups[0]
        pixels = self.pixels.get((item.item_id, chip.chip_id, layer.group))
        if pixels is None:
            return None
        return validity(pixels, None, refs_of(item, layer), self.reads.georef(chip, layer), layer)

    def of_chip(self, chip: ChipSpec) -> tuple[dict[str, xr.Dataset], tuple[SceneItem, ...]] | Outcome:
        """The chip's layers of this modality and the items behind its dates, or what ended it."""
        lost = self._lost(chip)
        if lost is not None:
            return lost
        parts = self.parts[chip.chip_id]
        rejected = screen_dates(chip.chip_id, self.name, len(parts), self.modality.select)
        if rejected is not None and not self.modality.optional:
            return rejected
        try:
            layers = {layer.group: self._assemble(chip, layer, parts) for layer in self.groups}
        except SourceError as error:
            return failed(chip, error)
        return layers, tuple(items[0] for items in parts)

    def _lost(self, chip: ChipSpec) -> Outcome | None:
        """A failure that ends the chip: of an item that might have been chosen, or of one that was."""
        for item_id in sorted(self.covering[chip.chip_id] & self.unjudged.keys()):
            return failed(chip, self.unjudged[item_id])
        for item_id in sorted({item.item_id for items in self.parts[chip.chip_id] for item in items}):
            if item_id in self.unread:
                return failed(chip, self.unread[item_id])
        return None

    def _assemble(self, chip: ChipSpec, layer: LayerPlan, parts: Sequence[tuple[SceneItem, ...]]) -> xr.Dataset:
        georef = self.reads.georef(chip, layer)
        dates = [self._date(chip, layer, georef, items) for items in parts]
        times = [items[0].datetime_utc for items in parts]
        attrs = {"modality": self.name, "group": layer.group, "gsd_m": layer.gsd_m, "kind": self.profile.kind}
        if any(dict(item.extra).get("geocoding") == APPROXIMATE for items in parts for item in items):
            attrs["geocoding"] = APPROXIMATE
        return to_layer(layer, self.modality, georef, times, dates, self._bands(parts, layer), attrs)

    def _bands(self, parts: Sequence[tuple[SceneItem, ...]], layer: LayerPlan) -> list[Band]:
        """Name and wavelengths of the layer's bands: the item's own where its sensor's items bring them."""
        scene = parts[0][0] if parts else next(iter(self.items), None)
        known = {band.name: band for band in (scene_bands(scene) if scene else self.profile.bands)}
        return [known.get(name) or Band(name=name, gsd_m=layer.gsd_m) for name in layer.bands]

    def _date(self, chip: ChipSpec, layer: LayerPlan, georef: GeoRef, items: Sequence[SceneItem]) -> Date:
        """One date of one layer: the first item, holes filled from further parts of the same picture."""
        date: Date | None = None
        for item in items:
            pixels, refs = self.pixels[item.item_id, chip.chip_id, layer.group], refs_of(item, layer)
            mask = self.masks.get((item.item_id, chip.chip_id))
            seen = validity(
                pixels, resample_valid(mask.valid, mask.georef, georef) if mask else None, refs, georef, layer
            )
            date = fill_holes(date, to_date(pixels, seen, refs, layer, self.modality))
        if date is None:
            raise ValueError(f"a date of {chip.chip_id} without items")
        return date


def failed(chip: ChipSpec, error: SourceError) -> Outcome:
    """The outcome of a chip that a source failed."""
    return Outcome(
        chip.chip_id,
        "failed",
        error.what,
        error_class=type(error).__name__,
        url=error.url,
        attempts=error.attempts,
    )
