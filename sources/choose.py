"""Which items could stand behind each date of a chip: parts of one picture, their order, and what is seen of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from chips.screen import clear_fraction, nodata_fraction
from chips.select import DateCandidate
from chips.windows import Span, span_at
from schemas.chip import ChipSpec, Valid
from schemas.georef import is_same_zone
from schemas.recipe import Modality
from schemas.scene import SceneItem

Parts = tuple[SceneItem, ...]
"""The items behind one date, the first of which lies on top."""
GLANCE_SLACK = 0.05
"""How far fractions of a mask at overview resolution may be from those of the whole mask."""

SHOWN = 5
"""So many of the values that items bring are named where none of them is asked for."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Items that are parts of one picture."""

    key: str
    """Datatake, or the item's own id."""
    items: tuple[SceneItem, ...]
    """Its parts."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known of an item's validity over a chip."""

    valid: NDArray[np.uint8]
    """(y, x) on one grid for all items of a zone."""
    is_glance: bool = False
    """Whether it was only looked at from afar (an overview of the mask)."""


class Chooser:
    """Candidates of one modality for the chips of a tile.

    Args:
        items: the modality's items over the tile.
        covering: chip id -> ids of the items that may serve it.
        view_of: what is known of an item over a chip; None where nothing is.
        snow_is_clear: whether snow counts as clear.
        is_harmonised: whether the recipe brings all numbers to one scale and offset. Else parts of a picture that have
            another than its first one fill no hole (`sources.dates.fill_holes`), and are left out.
    """

    def __init__(
        self,
        items: Sequence[SceneItem],
        covering: Mapping[str, frozenset[str]],
        view_of: Callable[[ChipSpec, SceneItem], View | None],
        snow_is_clear: bool,
        is_harmonised: bool = False,
    ) -> None:
        self.covering, self.view_of, self.snow_is_clear = covering, view_of, snow_is_clear
        self.is_harmonised = is_harmonised
        self.acquisitions = acquisitions(items)

    def candidates(self, chip: ChipSpec) -> tuple[list[DateCandidate], list[Parts]]:
        """The dates over a chip, and the items behind each."""
        found, behind = [], []
        for acquisition in self.acquisitions:
            items = self._ordered(chip, acquisition)
            views = [view for item in items if (view := self.view_of(chip, item)) is not None]
            if not views:
                continue
            best = merged([view.valid for view in views])
            found.append(
                DateCandidate(
                    acquisition.key,
                    items[0].datetime_utc,
                    clear_fraction(best, self.snow_is_clear),
                    nodata_fraction(best),
                    items[0].orbit_state,
                    GLANCE_SLACK if any(view.is_glance for view in views) else 0.0,
                )
            )
            behind.append(items)
        return found, behind

    def needed(self, chip: ChipSpec, items: Parts) -> Parts:
        """Items of a date that the chip needs: the first ones whose masks together cover it, else all parts.

        Masks of one zone lie on one grid; what those of another would add is not known before they are warped.
        """
        seen: list[NDArray[np.uint8]] = []
        for item in items:
            view = self.view_of(chip, item) if item.masks else None
            if view is None or not is_same_zone(item.refs[0].georef.epsg, items[0].refs[0].georef.epsg):
                break
            seen.append(view.valid)
            if nodata_fraction(merged(seen)) == 0.0:
                return items[: len(seen)]
        return items

    def unseen(self, chip: ChipSpec, items: Parts) -> Parts:
        """Needed items of a date that were only glanced at."""
        views = [(item, self.view_of(chip, item)) for item in self.needed(chip, items)]
        return tuple(item for item, view in views if view is not None and view.is_glance)

    def _ordered(self, chip: ChipSpec, acquisition: Acquisition) -> tuple[SceneItem, ...]:
        """Parts over the chip: of the chip's own zone first, then the fuller, then by id."""

        def rank(item: SceneItem) -> tuple[bool, float, str]:
            view = self.view_of(chip, item)
            return (
                not is_same_zone(item.refs[0].georef.epsg, chip.epsg),
                nodata_fraction(view.valid) if view is not None else 1.0,
                item.item_id,
            )

        usable = [item for item in acquisition.items if item.item_id in self.covering[chip.chip_id]]
        ordered = sorted(usable, key=rank) if len(usable) > 1 else usable
        if self.is_harmonised:
            return tuple(ordered)
        forms = [(item.refs[0].scale, item.refs[0].offset) for item in ordered]
        return tuple(item for item, form in zip(ordered, forms, strict=True) if form == forms[0])


def is_wanted(item: SceneItem, modality: Modality) -> bool:
    """Whether an item passes what the recipe says of platform, pass, track, sun and incidence."""
    return unmet_wish(item, modality) is None


def unmet_wish(item: SceneItem, modality: Modality) -> tuple[str, str | float | None] | None:
    """The first key of the recipe that an item does not pass, and what it says there; None where it passes all."""
    if modality.orbit_state in ("ascending", "descending") and item.orbit_state != modality.orbit_state:
        return "orbit_state", item.orbit_state
    if modality.relative_orbits and item.relative_orbit not in modality.relative_orbits:
        return "relative_orbits", item.relative_orbit
    if modality.platforms and item.platform not in {platform.lower() for platform in modality.platforms}:
        return "platforms", item.platform
    sun, angle = item.sun_elevation_deg, item.incidence_deg
    if modality.min_sun_elevation_deg is not None and (sun is None or sun < modality.min_sun_elevation_deg):
        return "min_sun_elevation_deg", sun
    limits = modality.incidence_deg
    if limits is not None and (angle is None or not limits[0] <= angle <= limits[1]):
        return "incidence_deg", angle
    return None


def why_none_is_wanted(items: Sequence[SceneItem], modality: Modality) -> tuple[str, str] | None:
    """The key of the recipe that most of some items do not pass, and what is wrong; None where one passes all keys."""
    unmet = [wish for item in items if (wish := unmet_wish(item, modality)) is not None]
    if not unmet or len(unmet) < len(items):
        return None
    key = Counter(key for key, _ in unmet).most_common(1)[0][0]
    said = sorted({"nothing" if value in ("", None) else str(value) for other, value in unmet if other == key})
    shown = ", ".join(said[:SHOWN] + ["..."] * (len(said) > SHOWN))
    return key, f"none of {len(items)} items is as asked for: of {key} they say {shown}"


def merged(valids: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Parts of one picture laid over each other: the first that holds data wins."""
    best = valids[0].copy()
    for valid in valids[1:]:
        if valid.shape == best.shape:
            hole = best == Valid.NODATA
            best[hole] = valid[hole]
    return best


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


def covering(
    chips: Sequence[ChipSpec], items: Sequence[SceneItem], spans: Mapping[str, Sequence[Span]]
) -> Mapping[str, frozenset[str]]:
    """Chip id -> ids of the items whose footprint touches it and whose time lies in one of its windows.

    Args:
        chips: the chips.
        items: the items.
        spans: chip id -> its windows.
    """
    footprints = shapely.from_wkb([item.footprint_wkb for item in items])
    found = {}
    for chip in chips:
        touches = shapely.intersects(footprints, shapely.from_wkb(chip.footprint_wkb))
        found[chip.chip_id] = frozenset(
            item.item_id
            for item, is_over in zip(items, touches, strict=True)
            if is_over and span_at(spans[chip.chip_id], item.datetime_utc) is not None
        )
    return found
