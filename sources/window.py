"""What a search asks for and what truly answers it: `SearchWindow` and `select_items`.

Servers are not believed: box, time and properties are checked again here, and the order is ours: by time, ties by id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely.geometry import box

from schemas.errors import CatalogError, UnsupportedItemError
from schemas.recipe import LonLatBox
from sources.assets import REFUSED_KEY
from sources.items import DELIVERED_KEY, Item, item_geometry, item_times, matches, normalise_item
from sources.openers import refusal, unsigned

log = logging.getLogger(__name__)

Where = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class SearchWindow:
    """Where, when and which."""

    bbox: LonLatBox
    """West, south, east, north; west lies east of east where the box crosses the antimeridian."""
    start: datetime | None = None
    """Begin, included; None is open."""
    end: datetime | None = None
    """End, included; None is open."""
    where: Where = field(default_factory=dict)
    """Item properties that must be equal."""

    def boxes(self) -> list[LonLatBox]:
        """The box, in two where it crosses the antimeridian.

        >>> SearchWindow((170.0, -20.0, -175.0, -10.0)).boxes()
        [(170.0, -20.0, 180.0, -10.0), (-180.0, -20.0, -175.0, -10.0)]
        """
        west, south, east, north = self.bbox
        if west <= east:
            return [self.bbox]
        return [(west, south, 180.0, north), (-180.0, south, east, north)]

    def interval(self) -> str | None:
        """The time window as STAC writes it; None where it is open on both sides."""
        return f"{_stamp(self.start)}/{_stamp(self.end)}" if self.start or self.end else None


def select_items(
    items: Iterable[Item], window: SearchWindow, base_href: str, allow_local: bool, alternate: str | None = None
) -> list[Item]:
    """The items that truly touch the window, once each, in time order, with forbidden addresses marked.

    Args:
        items: as the catalog gave them; normalised already where ``base_href`` is empty.
        window: what was asked for.
        base_href: address against which relative ones are resolved.
        allow_local: whether assets may lie on this machine or a private network.
        alternate: name of the alternate address to read assets at.

    Raises:
        CatalogError: an item is none.
    """
    ground = shapely.union_all([box(*part) for part in window.boxes()])
    kept: dict[tuple[str, str], tuple[datetime, Item]] = {}
    for raw in items:
        try:
            item = {**normalise_item(raw, base_href), DELIVERED_KEY: raw} if base_href else raw
            moment, last = item_times(item)
            touches = item_geometry(item).intersects(ground)
            mark_refused(item, allow_local, alternate)
        except (UnsupportedItemError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise CatalogError(f"item {raw.get('id')!r} is no STAC item: {error}", unsigned(base_href)) from error
        is_before_end = window.end is None or moment <= window.end
        is_after_start = window.start is None or (last or moment) >= window.start
        if touches and is_before_end and is_after_start and matches(item, window.where):
            kept[(str(item.get("collection")), item["id"])] = (moment, item)
    return [item for _, item in sorted(kept.values(), key=lambda pair: (pair[0], pair[1]["id"]))]


def mark_refused(item: Item, allow_local: bool, alternate: str | None = None) -> None:
    """Mark the assets of a normalised item that must not be opened, and take signatures off the others; in place.

    Args:
        item: normalised.
        allow_local: whether assets may lie on this machine or a private network.
        alternate: name of the alternate address to read assets at, where they have one.
    """
    for key, asset in item["assets"].items():
        asset["href"] = _alternate(asset, alternate)
        reason = refusal(asset["href"], allow_local)
        if reason:
            log.debug("item %s: asset %s: %s", item["id"], key, reason)
            asset[REFUSED_KEY] = reason
        else:
            asset["href"] = unsigned(asset["href"])


def _alternate(asset: Mapping[str, Any], name: str | None) -> str:
    others = asset.get("alternate")
    other = others.get(name) if name and isinstance(others, Mapping) else None
    href = other.get("href") if isinstance(other, Mapping) else None
    return str(href or asset["href"])


def _stamp(moment: datetime | None) -> str:
    if moment is None:
        return ".."
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
