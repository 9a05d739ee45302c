"""A search over many pages, whole in the end or failed by name: `gather`.

Servers lose tokens, shift items between pages while products are added, and cut answers short with status 200. Each
page is tried again by its own error; a pass over all pages that was cut, or that gave fewer items than the server
counts, is made again with pages of another size, and what the passes saw is put together.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from schemas.errors import AssetMissingError, CatalogError, SourceError
from sources.items import Item, parse_time
from sources.openers import unsigned

log = logging.getLogger(__name__)

PAGE_SIZES = (250, 97, 163, 61)
"""Items per page, one for each pass that is needed. Without common multiples below 9,900: two passes that are cut at
a border of their pages are not cut at the same item, and so do not seem to agree."""
MOST_PAGES = 20_000
ESTIMATED_FROM = 10_000
"""Servers estimate large counts; a smaller one is exact, and an answer that stays below it has lost a page."""
BARREN_PAGES = 3
"""So many pages in a row without an item not seen before are a circle."""


@dataclass(frozen=True)
class PageRequest:
    """What to ask for one page."""

    url: str
    """Address."""
    method: str = "GET"
    """GET or POST."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """JSON body of a POST; query of a GET, where the address does not hold it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers that a next link asks for."""


ReadPage = Callable[[PageRequest], Mapping[str, Any]]


class PageLostError(CatalogError):
    """The server no longer gives the page that it named."""


@dataclass
class _Pass:
    """What one pass over the pages saw."""

    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    given: int = 0
    """Items with those that came twice."""
    matched: int | None = None
    is_doubtful: bool = False
    """An item came twice, or without a count nothing tells whether the last page was the last."""
    lost: PageLostError | None = None


def gather(read: ReadPage, first: Callable[[int], PageRequest], most_passes: int = len(PAGE_SIZES)) -> list[Item]:
    """All items of a search, each id once in its newest form.

    Args:
        read: gives one page, tries again by itself, and raises `SourceError` in the end.
        first: the request of the first page for a page size.
        most_passes: how often all pages are asked for at most.

    Raises:
        PageLostError: a page was lost on every pass, or the passes never agreed.
        SourceError: as ``read`` raised it for the first page, or of a kind that may go better later.
    """
    found: dict[tuple[str, str], Item] = {}
    lost: PageLostError | None = None
    seen = _Pass()
    for number in range(most_passes):
        size = PAGE_SIZES[number % len(PAGE_SIZES)]
        seen = _one_pass(read, first(size), size)
        before = len(found)
        for key, item in seen.items.items():
            found[key] = newest(found[key], item) if key in found else item
        if seen.lost is None:
            is_counted = seen.matched is not None and number > 0
            is_whole = len(found) >= (seen.matched or 0) and (is_counted or not seen.is_doubtful)
            is_estimate = seen.matched is None or seen.matched >= ESTIMATED_FROM
            is_given = seen.given >= (seen.matched or 0)  # a catalog that holds an item twice counts it twice
            is_settled = number > 0 and (is_estimate or is_given) and len(found) == before == len(seen.items)
            if is_whole or is_settled:
                if not is_whole:
                    log.warning("the catalog counts %s items and gives %d, twice alike", seen.matched, len(found))
                return list(found.values())
        lost = seen.lost or lost
        log.info("pass %d over the pages gave %d items of %s: asked again", number + 1, len(seen.items), seen.matched)
    if lost is not None:
        raise lost
    what = f"{most_passes} passes over the pages gave {len(found)} items, the catalog counts {seen.matched}"
    raise PageLostError(what, unsigned(first(PAGE_SIZES[0]).url))


def newest(one: Item, other: Item) -> Item:
    """Of two states of one item the one updated last; the second where neither says."""
    return one if _updated(one) > _updated(other) else other


def _one_pass(read: ReadPage, first: PageRequest, size: int) -> _Pass:
    seen = _Pass()
    barren, lengths = 0, [size]
    try:
        for page in _pages(read, first):
            if seen.matched is None:
                seen.matched = _matched(page)
            before = len(seen.items)
            lengths.append(len(page["features"]))
            seen.given += lengths[-1]
            for item in page.get("features") or ():
                key = _key(item)
                seen.is_doubtful |= key in seen.items
                seen.items[key] = newest(seen.items[key], item) if key in seen.items else item
            barren = barren + 1 if len(seen.items) == before else 0
            if barren >= BARREN_PAGES:
                raise PageLostError(f"{barren} pages in a row bring nothing new", unsigned(first.url))
    except PageLostError as error:
        log.warning("%s", error)
        seen.lost = error
    if seen.matched is None:  # a full last page, or an empty one behind a link, may stand where more should be
        is_empty = 0 in lengths[2:]
        seen.is_doubtful |= is_empty or lengths[-1] == size or (len(lengths) > 2 and lengths[-1] == lengths[1])
    return seen


def _pages(read: ReadPage, first: PageRequest) -> Iterator[Mapping[str, Any]]:
    request: PageRequest | None = first
    asked: set[str] = set()
    for number in range(1, MOST_PAGES + 1):
        if request is None:
            return
        mark = repr((request.url, request.method, sorted(request.body.items(), key=str)))
        if mark in asked:
            raise PageLostError(f"page {number} is one that was there before", unsigned(request.url))
        asked.add(mark)
        try:
            page = read(request)
        except SourceError as error:
            is_gone = isinstance(error, (CatalogError, AssetMissingError)) or type(error) is SourceError
            if number == 1 or not is_gone:
                raise
            raise PageLostError(f"page {number} was lost: {error.what}", unsigned(request.url)) from error
        if not isinstance(page.get("features"), list):
            problem = f"page {number} is no page of items"
            if number == 1:
                raise CatalogError(f"did not answer as a STAC API: {problem}", unsigned(request.url))
            raise PageLostError(problem, unsigned(request.url))
        yield page
        request = _next(page, request)
    raise PageLostError(f"more than {MOST_PAGES} pages", unsigned(first.url))


def _next(page: Mapping[str, Any], request: PageRequest) -> PageRequest | None:
    for link in page.get("links") or ():
        if link.get("rel") != "next" or not link.get("href"):
            continue
        method = str(link.get("method") or "GET").upper()
        body = dict(link.get("body") or {}) if method == "POST" else {}
        if method == "POST" and link.get("merge"):
            body = {**request.body, **body}
        headers = {str(key): str(value) for key, value in (link.get("headers") or {}).items()}
        return PageRequest(urljoin(request.url, str(link["href"])), method, body, headers)
    return None


def _matched(page: Mapping[str, Any]) -> int | None:
    """The server's own count of all items, where it gives one."""
    context = page.get("context")
    found = page.get("numberMatched", context.get("matched") if isinstance(context, Mapping) else None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _key(item: Any) -> tuple[str, str]:
    """What two states of one item share; of what has no id, its text."""
    if isinstance(item, Mapping) and item.get("id") not in (None, ""):
        return str(item.get("collection")), str(item["id"])
    return "", json.dumps(item, sort_keys=True)


def _updated(item: Any) -> float:
    try:
        return parse_time(str(item["properties"]["updated"])).timestamp()
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return 0.0
