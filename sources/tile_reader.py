"""Hop 3: a tile's pixels. Masks first, then only the dates that a chip keeps; every asset once per tile.

For every modality the masks of all candidate items are looked at over the whole tile; each chip chooses its dates from
its own clear and missing fractions, those of all modalities together; then each item is read once for all the chips
that chose it. Items are read by several threads where the engine likes that: one waits while another decodes.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from chips.plan import LayerPlan
from chips.select import select_jointly
from schemas.chip import Chip, ChipSpec, Outcome, Tile
from schemas.recipe import Recipe
from schemas.scene import Opener
from sources.modality_reader import ModalityReader, ReadNeeds, Stopped, failed

__all__ = ["Stopped", "TileRead", "TileReader", "failed"]


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

        Raises:
            Stopped: the reader was told to stop.
        """
        needs = ReadNeeds(self.opener, self.sleep, self.is_stopped)
        readers = {
            name: ModalityReader(self.recipe, name, groups, tile.chips, tile.items.get(name, ()), needs)
            for name, groups in self.layers.items()
        }
        for reader in readers.values():
            reader.judge()
        _choose(readers, tile.chips)
        ended: dict[str, Outcome] = {}
        for chip in tile.chips:
            ends = [end for reader in readers.values() if (end := reader.outcome(chip)) is not None]
            if ends:
                ended[chip.chip_id] = ends[0]
        layers: dict[str, dict[str, xr.Dataset]] = {chip.chip_id: {} for chip in tile.chips}
        for reader in readers.values():
            for chip, found in reader.layers([chip for chip in tile.chips if chip.chip_id not in ended]):
                if isinstance(found, Outcome):
                    ended[chip.chip_id] = found
                else:
                    layers[chip.chip_id] |= found
        result = TileRead(steps=[step for reader in readers.values() for step in reader.steps()])
        for chip in tile.chips:
            if chip.chip_id in ended:
                result.outcomes.append(ended[chip.chip_id])
                continue
            provenance = {name: tuple(reader.sources[chip.chip_id]) for name, reader in readers.items()}
            result.chips.append(Chip(chip, layers[chip.chip_id], provenance))
        return result


def _choose(readers: Mapping[str, ModalityReader], chips: Sequence[ChipSpec]) -> None:
    """Let every chip choose its dates, again until all that it keeps has been looked at closely.

    Each round looks closely at one item more at least, so it ends.
    """
    open_chips = list(chips)
    while open_chips:
        for chip in open_chips:
            candidates = {name: reader.candidates(chip) for name, reader in readers.items()}
            kept = select_jointly(candidates, {name: reader.wishes[chip.chip_id] for name, reader in readers.items()})
            for name, reader in readers.items():
                reader.keep(chip, kept[name])
        again = {chip.chip_id for reader in readers.values() for chip in reader.see(open_chips)}
        open_chips = [chip for chip in open_chips if chip.chip_id in again]
