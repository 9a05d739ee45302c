"""What a search asks for and what truly answers it: `SearchWindow` and `select_items`.

Servers are not believed: box, time and properties are checked again here, and the order is ours: by time, ties by id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import shapely
from shapely.geometry import box

from schemas.errors import CatalogError, UnsupportedItemError
from schemas.recipe import LonLatBox
from sources.assets import REFUSED_KEY
from sources.items import DELIVERED_KEY, Item, item_geometry, item_times, matches, normalise_item
from sources.openers import refusal, unsigned, without_signature

log = logging.getLogger(__name__)

Where = Mapping[str, str | int | float | bool]
NONSENSE = (UnsupportedItemError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What comes of looking at something that is no item."""


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
        """The time window as STAC writes it, in whole seconds that hold it; None where it is open on both sides."""
        end = self.end if self.end is None or not self.end.microsecond else self.end + timedelta(seconds=1)
        return f"{_stamp(self.start)}/{_stamp(end)}" if self.start or self.end else None


def select_items(
    items: Iterable[tuple[Any, str]],
    window: SearchWindow,
    allow_local: bool,
    alternate: str | None,
    left_out: MutableMapping[str, str],
) -> list[Item]:
    """The items that truly touch the window, once each, in time order, with forbidden addresses marked.

    Args:
        items: as the catalog gave them, each with the address against which its relative ones are resolved.
        window: what was asked for.
        allow_local: whether assets may lie on this machine or a private network.
        alternate: name of the alternate address to read assets at.
        left_out: takes id and reason of what is no item: it is told of, and does not end the search.

    Raises:
        CatalogError: there are items, and none of them is one.
    """
    ground = shapely.union_all([box(*part) for part in window.boxes()])
    kept: dict[tuple[str, str], tuple[datetime, Item]] = {}
    nonsense: CatalogError | None = None
    sound = 0
    for raw, base_href in items:
        try:
            item = found_item(raw, base_href, allow_local, alternate)
            moment, last = item_times(item)
            touches = item_geometry(item).intersects(ground)
        except NONSENSE as error:
            name = name_of(raw)
            left_out[name] = f"is no STAC item: {str(error)[:200]}"
            log.warning("%s: item %s is left out: %s", unsigned(base_href), name, left_out[name])
            nonsense = nonsense or CatalogError(f"item {name} {left_out[name]}", unsigned(base_href))
            continue
        sound += 1
        is_before_end = window.end is None or moment <= window.end
        is_after_start = window.start is None or (last or moment) >= window.start
        if touches and is_before_end and is_after_start and matches(item, window.where):
            kept[(str(item.get("collection")), item["id"])] = (moment, item)
    if nonsense is not None and not sound:
        raise nonsense
    return [item for _, item in sorted(kept.values(), key=lambda pair: (pair[0], pair[1]["id"]))]


def found_item(raw: Any, base_href: str, allow_local: bool, alternate: str | None) -> Item:
    """An item in the form in which a search gives it: normalised, forbidden addresses marked, the delivered one in it.

    Raises:
        NONSENSE: it is no item.
    """
    if not isinstance(raw, Mapping):
        raise TypeError(f"{type(raw).__name__} in place of an object")
    if raw.get("id") in (None, ""):
        raise ValueError("it has no id")
    item = {**normalise_item(raw, base_href), DELIVERED_KEY: raw}
    item["id"].encode()  # half a surrogate pair is no text, and fits no table
    mark_refused(item, allow_local, alternate)
    return item


def is_sound(raw: Any) -> bool:
    """Whether something has an id and properties, as an item must."""
    is_item = isinstance(raw, Mapping) and isinstance(raw.get("properties"), Mapping)
    return is_item and raw.get("id") not in (None, "")


def name_of(raw: Any) -> str:
    """What a note calls something that may be no item."""
    found = raw.get("id") if isinstance(raw, Mapping) else raw
    return ascii(found)[:80]


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
            asset["href"] = without_signature(asset["href"])


def _alternate(asset: Mapping[str, Any], name: str | None) -> str:
    others = asset.get("alternate")
    other = others.get(name) if name and isinstance(others, Mapping) else None
    href = other.get("href") if isinstance(other, Mapping) else None
    return str(href or asset["href"])


def _stamp(moment: datetime | None) -> str:
    if moment is None:
        return ".."
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
