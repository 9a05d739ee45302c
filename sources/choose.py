"""Which items stand behind each date of a chip: parts of one picture, their order, and the dates that are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from chips.screen import clear_fraction, nodata_fraction
from chips.select import DateCandidate, select_dates
from schemas.chip import ChipSpec, Valid
from schemas.georef import is_same_zone
from schemas.recipe import Select
from schemas.scene import SceneItem

Parts = tuple[SceneItem, ...]
"""The items behind one date, the first of which lies on top."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Items that are parts of one picture."""

    key: str
    """Datatake, or the item's own id."""
    items: tuple[SceneItem, ...]
    """Its parts."""


class Chooser:
    """Chooses the dates of chips from what is known of the items' validity.

    Args:
        items: candidates of one modality.
        covering: chip id -> ids of the items whose footprint touches it.
        valid_of: validity of an item over a chip, on one grid for all items of a zone; None where it is not known.
        select: the recipe's wishes.
    """

    def __init__(
        self,
        items: Sequence[SceneItem],
        covering: Mapping[str, frozenset[str]],
        valid_of: Callable[[ChipSpec, SceneItem], NDArray[np.uint8] | None],
        select: Select,
    ) -> None:
        self.covering, self.valid_of, self.select = covering, valid_of, select
        self.acquisitions = acquisitions(items)

    def choose(self, chip: ChipSpec) -> list[Parts]:
        """The items behind each date that the chip keeps, in time order."""
        candidates, behind = [], []
        for acquisition in self.acquisitions:
            items = self._ordered(chip, acquisition)
            valids = [v for item in items if (v := self.valid_of(chip, item)) is not None]
            if not valids:
                continue
            best = merged(valids)
            clear = clear_fraction(best, self.select.snow_is_clear)
            candidates.append(DateCandidate(acquisition.key, items[0].datetime_utc, clear, nodata_fraction(best)))
            behind.append(items)
        kept = select_dates(candidates, self.select, chip.reference_utc)
        return [self._needed(chip, behind[index]) for index in kept]

    def _needed(self, chip: ChipSpec, items: Parts) -> Parts:
        """Items of a kept date that the chip needs: one where its mask covers the chip, else all parts."""
        whole = self.valid_of(chip, items[0]) if items[0].masks else None
        return items[:1] if whole is not None and nodata_fraction(whole) == 0.0 else items

    def _ordered(self, chip: ChipSpec, acquisition: Acquisition) -> tuple[SceneItem, ...]:
        """Parts over the chip: of the chip's own zone first, then the fuller, then by id."""

        def rank(item: SceneItem) -> tuple[bool, float, str]:
            valid = self.valid_of(chip, item)
            return (
                not is_same_zone(item.refs[0].georef.epsg, chip.epsg),
                nodata_fraction(valid) if valid is not None else 1.0,
                item.item_id,
            )

        usable = [item for item in acquisition.items if item.item_id in self.covering[chip.chip_id]]
        return tuple(sorted(usable, key=rank))


def merged(valids: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Parts of one picture laid over each other: the first that holds data wins."""
    merged = valids[0].copy()
    for valid in valids[1:]:
        if valid.shape == merged.shape:
            hole = merged == Valid.NODATA
            merged[hole] = valid[hole]
    return merged


def acquisitions(items: Iterable[SceneItem]) -> list[Acquisition]:
    """Items grouped by the picture that they are parts of, in time order."""
    grouped: dict[str, list[SceneItem]] = defaultdict(list)
    for item in items:
        grouped[item.datatake or item.item_id].append(item)
    ordered = [
        Acquisition(key, tuple(sorted(parts, key=lambda i: (i.datetime_utc, i.item_id))))
        for key, parts in grouped.items()
    ]
    return sorted(ordered, key=lambda a: (a.items[0].datetime_utc, a.key))


def covering(chips: Sequence[ChipSpec], items: Sequence[SceneItem]) -> Mapping[str, frozenset[str]]:
    """Chip id -> ids of the items whose footprint touches it."""
    footprints = {item.item_id: shapely.from_wkb(item.footprint_wkb) for item in items}
    found = {}
    for chip in chips:
        here = shapely.from_wkb(chip.footprint_wkb)
        found[chip.chip_id] = frozenset(i for i, footprint in footprints.items() if footprint.intersects(here))
    return found
