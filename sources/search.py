"""One modality, several providers: `search_in_order` asks them in order of preference, and says which one answered.

One provider answers for all boxes of a modality, so that a dataset never mixes two deliveries of the same acquisition.
An empty answer is an answer; a catalog that cannot be used, or that rests after many failures, is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise, product
from typing import Protocol

from schemas.errors import SourceError, UserError
from schemas.recipe import LonLatBox, Modality
from sources.base import CatalogClient
from sources.breaker import Breaker
from sources.items import Item
from sources.window import Where

log = logging.getLogger(__name__)

MOST_NAMED = 20
"""So many items that make no sense are named; of more the number is told."""
MOST_YEARS = 100
"""A longer window means all there is: label products are searched so, and have few items."""


@dataclass(frozen=True)
class Provider:
    """A catalog's collection."""

    catalog: str
    """Name of the catalog in the recipe."""
    collection: str
    """Its name of the collection."""
    where: Where = field(default_factory=dict)
    """Property filters."""


@dataclass(frozen=True)
class Found:
    """What a search in order gave."""

    provider: Provider
    """Who answered."""
    items: dict[str, Item]
    """By id."""
    notes: tuple[str, ...] = ()
    """Who did not, and why."""


class Sink(Protocol):
    """Takes items as they come."""

    def take(self, provider: Provider, items: Sequence[Item]) -> None:
        """Some items; an item may come more than once."""
        ...

    def forget(self) -> None:
        """All that was taken since the search began is void: its provider cannot be used."""
        ...


def years_of(window: tuple[datetime | None, datetime | None]) -> list[tuple[datetime | None, datetime | None]]:
    """A time window year by year, ends shared, so that an answer is no larger than a year's; open ones stay whole.

    >>> [(a.year, b.year) for a, b in years_of((datetime(2020, 5, 1), datetime(2022, 3, 1)))]
    [(2020, 2021), (2021, 2022), (2022, 2022)]
    """
    start, end = window
    if start is None or end is None or not 0 < end.year - start.year <= MOST_YEARS:
        return [window]
    turns = [datetime(year, 1, 1, tzinfo=start.tzinfo) for year in range(start.year + 1, end.year + 1)]
    return list(pairwise([start, *turns, end]))


def providers_of(modality: Modality) -> list[Provider]:
    """The modality's catalogs in order of preference."""
    first = Provider(modality.catalog, modality.collection, modality.where)
    further = [
        Provider(other.catalog, other.collection, modality.where if other.where is None else other.where)
        for other in modality.fallbacks
    ]
    return [first, *further]


def search_in_order(
    providers: Sequence[Provider],
    open_client: Callable[[str], CatalogClient],
    boxes: Sequence[LonLatBox],
    window: tuple[datetime | None, datetime | None],
    breaker: Breaker,
    sink: Sink | None = None,
) -> Found:
    """Items of all boxes from the first provider that answers for all of them.

    Args:
        providers: in order of preference.
        open_client: gives the client of a catalog by its name; its requests are tried again by itself.
        boxes: where.
        window: when.
        breaker: shared by the searches of a run.
        sink: takes the items as they come, a box and a year at a time, so that no more are in memory; all are in the
            answer where absent.

    Raises:
        UserError: none of them can be used; one line for a person, about the last, naming the others.
    """
    notes: list[str] = []
    last: SourceError | None = None
    for provider in providers:
        try:
            items: dict[str, Item] = {}
            for box, part in product(boxes, [window] if sink is None else years_of(window)):
                found = _search(provider, open_client, box, part, breaker)
                if sink is None:
                    items |= {item["id"]: item for item in found}
                else:
                    sink.take(provider, found)
            if notes:
                notes.append(f"items come from {provider.catalog} ({provider.collection})")
            notes += left_out_notes(open_client(provider.catalog).left_out(provider.collection))
            return Found(provider, items, tuple(notes))
        except SourceError as error:
            if provider is not providers[-1]:  # of the last one the error below tells the same
                log.warning("catalog %s: %s", provider.catalog, error)
            if sink is not None:
                sink.forget()
            notes.append(f"catalog {provider.catalog} cannot be used: {error.what}")
            last = error
    what = last.what if last else "no catalog is named"
    others = f"; before it {len(notes) - 1} other(s) failed: {'; '.join(notes[:-1])}" if len(notes) > 1 else ""
    raise UserError(
        f"{what}{others}",
        where=(last.url if last else "") or providers[-1].collection,
        mend=mend_of(last),
    ) from last


def mend_of(error: SourceError | None, otherwise: str = "check the catalog in the recipe") -> str:
    """What to do about a catalog that cannot be used.

    >>> mend_of(SourceError("HTTP 410")), mend_of(None)
    ('check the catalog in the recipe', 'check the catalog in the recipe')

    Args:
        error: why; None where no catalog is named.
        otherwise: what to do where waiting does not help.
    """
    is_final = error is None or error.permanent
    return otherwise if is_final else f"run it again later; if that does not help, {otherwise}"


def left_out_notes(found: Mapping[str, str]) -> list[str]:
    """One line for each of the first of what makes no sense, and the number of the others."""
    lines = [f"item {name} is left out: it {why}" for name, why in sorted(found.items())[:MOST_NAMED]]
    return lines + ([f"{len(found) - MOST_NAMED} more items are left out"] if len(found) > MOST_NAMED else [])


def _search(
    provider: Provider,
    open_client: Callable[[str], CatalogClient],
    box: LonLatBox,
    window: tuple[datetime | None, datetime | None],
    breaker: Breaker,
) -> list[Item]:
    client = open_client(provider.catalog)
    return breaker.call(
        provider.catalog, lambda: client.search(provider.collection, box, window[0], window[1], provider.where)
    )
