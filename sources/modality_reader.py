"""One modality over one tile: judge its items over each chip, then read what was chosen and make the layers.

The order of calls is `judge`, then `candidates` and `keep` with `see` until nothing that was kept is `unseen`, then
`layers`. Composites are made a few chips and one window at a time, so that memory is bounded by `HELD_BYTES`.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.plan import LayerPlan
from chips.register import APPROXIMATE
from chips.screen import SNOW_IS_CLEAR
from chips.select import DateCandidate, Kept, Wish, screen_dates
from chips.windows import spans_of
from schemas.chip import ChipSpec, DateSource, Outcome
from schemas.errors import SourceError
from schemas.recipe import Recipe
from schemas.recipe_windows import Pair
from schemas.scene import Opener, SceneItem
from schemas.sensor import Band, load_sensor
from sources.block_store import gather
from sources.choose import Chooser, Parts, View, covering, is_wanted
from sources.compose import Picture, composed, form_of
from sources.dates import Date, empty_date, fill_holes, refs_of, to_date, to_layer, validity
from sources.item_reader import ItemReader, Mask
from sources.layer_bands import layer_bands
from sources.masks import resample_valid
from sources.openers import public_name
from sources.retry import call_with_retries, is_garbled

log = logging.getLogger(__name__)

HELD_BYTES = 256 * 1024 * 1024
"""Pixels of candidates and of composites' dates that a modality holds at once."""


class Stopped(Exception):
    """Nobody wants the tile any more."""


@dataclass(frozen=True)
class ReadNeeds:
    """What reading takes beside the recipe."""

    opener: Opener
    """How hrefs are opened."""
    sleep: Callable[[float], object]
    """How to wait between tries."""
    is_stopped: Callable[[], bool]
    """Asked before each item."""


class ModalityReader:
    """Reads one modality of a recipe for the chips of a tile.

    Args:
        recipe: the recipe.
        name: the modality.
        groups: its layers.
        chips: chips of one zone.
        items: candidates over the tile.
        needs: how to open, wait and stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        groups: Sequence[LayerPlan],
        chips: Sequence[ChipSpec],
        items: Sequence[SceneItem],
        needs: ReadNeeds,
    ) -> None:
        self.name, self.modality, self.groups, self.chips = name, recipe.modalities[name], tuple(groups), tuple(chips)
        items = [item for item in items if is_wanted(item, self.modality)]
        self.items = {item.item_id: item for item in items}
        self.profile = load_sensor(self.modality.sensor)
        self.unjudged: dict[str, SourceError] = {}
        """Items of which nobody knows whether they would have been chosen."""
        self.unread: dict[str, SourceError] = {}
        """Items that were chosen and whose pixels could not be read."""
        self.sources: dict[str, list[DateSource]] = {}
        """Chip id -> where its dates come from."""
        self._needs = needs
        self._reads = ItemReader(self.modality, self.groups, items, chips, needs.opener)
        self._read_of: dict[str, dict[str, Any]] = {}
        self._retries: Counter[str] = Counter()
        time = self.modality.time or recipe.time
        composite = self.modality.composite
        self.wishes = {
            chip.chip_id: Wish(
                select=self.modality.select,
                spans=spans_of(time, chip),
                is_composite=composite is not None,
                needs_clear=composite is not None and composite.min_count > 0,
                is_one_pass=self.profile.kind == "sar" and self.modality.orbit_state != "both",
                is_optional=self.modality.optional,
                is_pair=isinstance(time.windows, Pair),
            )
            for chip in chips
        }
        self._covering = covering(chips, items, {chip_id: wish.spans for chip_id, wish in self.wishes.items()})
        as_delivered = self.modality.offset == self.modality.store == "as_delivered"
        self._chooser = Chooser(
            items, self._covering, self._view, self.modality.select.snow_is_clear, is_harmonised=not as_delivered
        )
        self._views: dict[tuple[str, str], View] = {}
        self._masks: dict[tuple[str, str], Mask] = {}
        self._pixels: dict[tuple[str, str, str], NDArray[Any]] = {}
        self._held_bytes, self._lock = 0, Lock()
        self._behind: dict[str, list[Parts]] = {}
        self._kept: dict[str, list[Kept]] = {}

    def judge(self) -> None:
        """Look at every item over every chip that it may serve: at its mask, or its pixels where it has none.

        From afar first (`sources.glance`) where a chip has more dates than it can keep.
        """
        over = {
            item_id: [chip for chip in self.chips if item_id in self._covering[chip.chip_id]] for item_id in self.items
        }
        self._each(over, self._glance if self._has_many() else self._see, self.unjudged)

    def see(self, chips: Sequence[ChipSpec]) -> list[ChipSpec]:
        """Look closely at the items of kept dates that were only glanced at; the chips that must choose again."""
        unseen: dict[str, list[ChipSpec]] = defaultdict(list)
        for chip in chips:
            parts = [parts for source in self.sources[chip.chip_id] for parts in source.pictures]
            for item in dict.fromkeys(item for items in parts for item in self._chooser.unseen(chip, items)):
                if item.item_id not in self.unjudged:
                    unseen[item.item_id].append(chip)
        self._each(unseen, self._see, self.unjudged)
        again = {chip.chip_id for seen in unseen.values() for chip in seen}
        return [chip for chip in chips if chip.chip_id in again]

    def candidates(self, chip: ChipSpec) -> list[DateCandidate]:
        """The dates that a chip could keep, as far as is known."""
        found, self._behind[chip.chip_id] = self._chooser.candidates(chip)
        return found

    def keep(self, chip: ChipSpec, kept: list[Kept]) -> None:
        """Remember what was chosen out of the last `candidates` of the chip."""
        behind = self._behind[chip.chip_id]
        self._kept[chip.chip_id] = kept
        self.sources[chip.chip_id] = [
            DateSource(
                tuple(self._chooser.needed(chip, behind[index]) for index in date.members),
                date.span.window,
                date.span.reference_utc,
            )
            for date in kept
        ]

    def outcome(self, chip: ChipSpec) -> Outcome | None:
        """What ends a chip before its pixels are read: an item that nobody could judge, or too few dates."""
        for item_id in sorted(self._covering[chip.chip_id] & self.unjudged.keys()):
            return failed(chip, self.unjudged[item_id])
        if self.modality.optional:
            return None
        return screen_dates(chip.chip_id, self.name, self._kept[chip.chip_id], self.wishes[chip.chip_id])

    def layers(self, chips: Sequence[ChipSpec]) -> Iterator[tuple[ChipSpec, dict[str, xr.Dataset] | Outcome]]:
        """Each chip's layers of this modality by group, or the failure that ended it."""
        made: dict[tuple[str, int], dict[str, Date]] = {}
        broken: dict[str, Outcome] = {}
        for batch in self._batches(chips):
            self._read(batch)
            for chip, index in batch:
                if chip.chip_id in broken:
                    continue
                try:
                    self._raise_unread(chip, index)
                    made[chip.chip_id, index] = self._date(chip, self.sources[chip.chip_id][index])
                except SourceError as error:
                    broken[chip.chip_id] = failed(chip, error)
            self._pixels.clear()
            self._held_bytes = 0
        for chip in chips:
            dates = [made.pop((chip.chip_id, index), None) for index in range(len(self.sources[chip.chip_id]))]
            yield chip, broken.get(chip.chip_id) or self._layers_of(chip, dates)

    def steps(self) -> list[dict[str, Any]]:
        """Reads done, for the run table, in the items' order."""
        done = (item_id for item_id in self.items if item_id in self._read_of)
        return [self._read_of[item_id] | {"retries": self._retries[item_id]} for item_id in done]

    def _view(self, chip: ChipSpec, item: SceneItem) -> View | None:
        return self._views.get((item.item_id, chip.chip_id))

    def _each(
        self,
        wanted: Mapping[str, Sequence[ChipSpec]],
        step: Callable[[SceneItem, Sequence[ChipSpec]], None],
        failures: dict[str, SourceError],
    ) -> None:
        """Take the step for every item over its chips, several at a time; a failure ends no other item.

        Raises:
            Stopped: the reader was told to stop; what has not begun is not begun.
        """

        def guarded(item: SceneItem) -> None:
            if self._needs.is_stopped():
                raise Stopped

            def wait(seconds: float) -> None:
                self._retries[item.item_id] += 1
                self._needs.sleep(seconds)

            try:
                call_with_retries(
                    lambda: step(item, wanted[item.item_id]),
                    sleep=wait,
                    jitter=random.random,
                    once_if=is_garbled,
                    refresh=self._needs.opener.refresh,
                )
            except SourceError as error:
                log.warning("%s: %s", item.item_id, error)
                failures[item.item_id] = error

        items = [item for item_id, item in self.items.items() if wanted.get(item_id)]
        at_once = min(self._reads.engine.at_once, len(items))
        if at_once < 2:
            for item in items:
                guarded(item)
            return
        with ThreadPoolExecutor(at_once, thread_name_prefix="item") as pool:
            gather([pool.submit(guarded, item) for item in items])

    def _has_many(self) -> bool:
        """Whether some chip has more items than it can keep dates."""
        room = {chip_id: wish.select.max_dates * len(wish.spans) for chip_id, wish in self.wishes.items()}
        return any(len(items) > room[chip_id] for chip_id, items in self._covering.items())

    def _glance(self, item: SceneItem, chips: Sequence[ChipSpec]) -> None:
        found = self._reads.glances(item, chips)
        if found is None:
            self._see(item, chips)
            return
        for chip_id, valid in found.items():
            self._views[item.item_id, chip_id] = View(valid, is_glance=True)

    def _see(self, item: SceneItem, chips: Sequence[ChipSpec]) -> None:
        (self._see_mask if item.masks else self._see_pixels)(item, chips)

    def _see_mask(self, item: SceneItem, chips: Sequence[ChipSpec]) -> None:
        for chip_id, mask in self._reads.masks(item, chips).items():
            self._masks[item.item_id, chip_id] = mask
            self._views[item.item_id, chip_id] = View(mask.over_chip())

    def _see_pixels(self, item: SceneItem, chips: Sequence[ChipSpec]) -> None:
        """Judge an item without a mask by its pixels, which are kept while there is room."""
        self._read_pixels(item, chips)
        layer = self.groups[0]
        for chip in chips:
            pixels = self._pixels[item.item_id, chip.chip_id, layer.group]
            codes = validity(pixels, None, refs_of(item, layer), self._reads.georef(chip, layer), layer)
            self._views[item.item_id, chip.chip_id] = View(codes)
        keys = [(item.item_id, chip.chip_id, layer.group) for chip in chips for layer in self.groups]
        with self._lock:
            self._held_bytes += sum(self._pixels[key].nbytes for key in keys)
            is_full = self._held_bytes > HELD_BYTES
        for key in keys if is_full else ():
            del self._pixels[key]

    def _read_pixels(self, item: SceneItem, chips: Sequence[ChipSpec]) -> None:
        found, read_bytes = self._reads.pixels(item, chips)
        for (chip_id, group), pixels in found.items():
            self._pixels[item.item_id, chip_id, group] = pixels
        before = self._read_of.get(item.item_id, {"chips": [], "bytes": 0})
        self._read_of[item.item_id] = {
            "step": "read",
            "item_id": item.item_id,
            "urls": sorted({public_name(ref.href) for ref in item.refs}),
            "chips": sorted({*before["chips"], *(chip.chip_id for chip in chips)}),
            "bytes": before["bytes"] + read_bytes,
        }

    def _batches(self, chips: Sequence[ChipSpec]) -> Iterator[list[tuple[ChipSpec, int]]]:
        """Dates (chip and number of the date) that are read together: all, or for composites what fits into memory."""
        dates = [(chip, index) for chip in chips for index, date in enumerate(self.sources[chip.chip_id]) if date.items]
        if self.modality.composite is None:
            yield dates
            return
        dates.sort(key=lambda date: self.sources[date[0].chip_id][date[1]].window)  # stable: chips stay neighbours
        batch: list[tuple[ChipSpec, int]] = []
        held = 0
        for chip, index in dates:
            source = self.sources[chip.chip_id][index]
            size = len(source.items) * self._reads.bytes_of(chip)
            same = not batch or self.sources[batch[-1][0].chip_id][batch[-1][1]].window == source.window
            if batch and (held + size > HELD_BYTES or not same):
                yield batch
                batch, held = [], 0
            batch.append((chip, index))
            held += size
        yield batch

    def _read(self, batch: Sequence[tuple[ChipSpec, int]]) -> None:
        """Each item of the batch once, over all of its chips that need it and have it not."""
        wanted: dict[str, dict[str, ChipSpec]] = defaultdict(dict)
        for chip, index in batch:
            for item in self.sources[chip.chip_id][index].items:
                if (item.item_id, chip.chip_id, self.groups[0].group) not in self._pixels:
                    wanted[item.item_id][chip.chip_id] = chip
        self._each({i: list(chips.values()) for i, chips in wanted.items()}, self._read_pixels, self.unread)

    def _raise_unread(self, chip: ChipSpec, index: int) -> None:
        """Raise why an item of the date has no pixels here: what failed for an earlier batch may have come since."""
        for item in sorted(self.sources[chip.chip_id][index].items, key=lambda item: item.item_id):
            if (item.item_id, chip.chip_id, self.groups[0].group) not in self._pixels:
                raise self.unread[item.item_id]

    def _date(self, chip: ChipSpec, source: DateSource) -> dict[str, Date]:
        """One date of every layer."""
        pictures = []
        for parts in source.pictures:
            layers = {layer.group: self._picture(chip, layer, parts) for layer in self.groups}
            pictures.append(Picture(parts[0].datetime_utc, layers))
        if self.modality.composite is None:
            return dict(pictures[0].layers)
        grids = {layer.group: self._reads.georef(chip, layer) for layer in self.groups}
        common = {layer.group: [band.common_name for band in self._bands(layer)] for layer in self.groups}
        return composed(pictures, self.modality, grids, common, source.reference_utc)

    def _picture(self, chip: ChipSpec, layer: LayerPlan, parts: Parts) -> Date:
        """One acquisition in one layer: the first item, holes filled from further parts of the same picture."""
        date: Date | None = None
        for item in parts:
            pixels, refs = self._pixels[item.item_id, chip.chip_id, layer.group], refs_of(item, layer)
            seen = self._seen(item, chip, layer, pixels)
            date = fill_holes(date, to_date(pixels, seen, refs, layer, form_of(self.modality)))
        if date is None:
            raise ValueError(f"a date of {chip.chip_id} without items")
        return date

    def _seen(self, item: SceneItem, chip: ChipSpec, layer: LayerPlan, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """The validity of an item's pixels; of one without a mask it may be known from when it was judged."""
        view = self._views.get((item.item_id, chip.chip_id))
        if not item.masks and layer is self.groups[0] and view is not None and not view.is_glance:
            return view.valid.copy()
        georef, mask = self._reads.georef(chip, layer), self._masks.get((item.item_id, chip.chip_id))
        codes = resample_valid(mask.valid, mask.georef, georef) if mask else None
        return validity(pixels, codes, refs_of(item, layer), georef, layer)

    def _layers_of(self, chip: ChipSpec, dates: Sequence[Mapping[str, Date] | None]) -> dict[str, xr.Dataset]:
        sources = self.sources[chip.chip_id]
        known = next((date for date in dates if date is not None), None)
        found = {}
        for layer in self.groups:
            georef = self._reads.georef(chip, layer)
            like = known[layer.group] if known else None
            column = [
                empty_date(layer, self.modality, georef, like) if date is None else date[layer.group] for date in dates
            ]
            times = [source.time_utc for source in sources]
            attrs = {"modality": self.name, "group": layer.group, "gsd_m": layer.gsd_m, "kind": self.profile.kind}
            if any(dict(item.extra).get("geocoding") == APPROXIMATE for source in sources for item in source.items):
                attrs["geocoding"] = APPROXIMATE
            if self.modality.select.snow_is_clear:
                attrs[SNOW_IS_CLEAR] = True
            bands = self._bands(layer, next((s.lead for s in sources if s.lead is not None), None))
            found[layer.group] = to_layer(layer, self.modality, georef, times, column, bands, attrs)
        return found

    def _bands(self, layer: LayerPlan, scene: SceneItem | None = None) -> list[Band]:
        return layer_bands(layer, self.modality, tuple(self.items.values()), scene)


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
