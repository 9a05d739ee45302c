"""Catalogs: `open_catalog` gives a client whose `search` returns plain, uniform STAC items.

Only box, time and collection are sent to a server: filters and sorting are answered wrongly, and silently, by some
(STATUS 200 and nothing in it). Everything is checked again here, and the order is ours: by time, ties by id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from shapely.geometry import box

from schemas.errors import CatalogError, SourceError, TransientSourceError, UnsupportedItemError
from schemas.recipe import Catalog, LonLatBox
from sources.assets import REFUSED_KEY
from sources.base import CatalogClient
from sources.faults import error_of_status
from sources.items import DELIVERED_KEY, Item, absolute_href, item_geometry, item_times, matches, normalise_item
from sources.openers import refusal, unsigned

log = logging.getLogger(__name__)

PAGE_SIZE = 250
TIMEOUT_S = 60.0
Where = Mapping[str, str | int | float | bool]
Window = tuple[LonLatBox, datetime | None, datetime | None, Where]


def open_catalog(catalog: Catalog, href: str) -> CatalogClient:
    """A client of the catalog; nothing is read before the first search.

    Args:
        catalog: kind and permissions, from the recipe.
        href: its address with all variables filled in: URL, ``file://`` or path of ``catalog.json`` (or its folder).
    """
    if catalog.kind == "stac-api":
        return ApiCatalog(href, catalog.allow_local)
    if catalog.kind == "stac-geoparquet":
        from sources.stac_index import IndexCatalog

        return IndexCatalog(href, catalog.allow_local, catalog.frozen or "")
    return StaticCatalog(href, catalog.allow_local)


class ApiCatalog:
    """A STAC API, read through pystac-client. Pickles as its address."""

    def __init__(self, href: str, allow_local: bool = False) -> None:
        self.href, self.allow_local = href, allow_local
        self._client: Any = None
        self._known: set[str] = set()

    def __reduce__(self) -> tuple[type[ApiCatalog], tuple[str, bool]]:
        return type(self), (self.href, self.allow_local)

    def search(
        self,
        collection: str,
        bbox: LonLatBox,
        start: datetime | None = None,
        end: datetime | None = None,
        where: Where | None = None,
    ) -> list[Item]:
        """See `sources.base.CatalogClient.search`."""
        from pystac_client.exceptions import APIError

        try:
            self._need_collection(collection)
            window = f"{_stamp(start)}/{_stamp(end)}" if start or end else None
            found = self._open().search(collections=[collection], bbox=list(bbox), datetime=window, limit=PAGE_SIZE)
            items = list(found.items_as_dicts())
        except APIError as error:
            raise _api_error(error, self.href) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _connection_error(error, self.href) from error
        return _select(items, self.href, self.allow_local, (bbox, start, end, where or {}))

    def _open(self) -> Any:
        if self._client is None:
            from pystac_client import Client
            from pystac_client.stac_api_io import StacApiIO

            self._client = Client.open(self.href, stac_io=StacApiIO(max_retries=0, timeout=TIMEOUT_S))
        return self._client

    def _need_collection(self, collection: str) -> None:
        """A server answers an unknown collection with no items: that is an error of the recipe, not an empty place."""
        if collection in self._known:
            return
        self._known = {str(found.id) for found in self._open().get_collections()}
        if collection not in self._known:
            raise CatalogError(
                f"no collection {collection!r}; the catalog has {', '.join(sorted(self._known))}",
                unsigned(self.href),
            )


class StaticCatalog:
    """A tree of JSON documents, in a folder or behind HTTP. Items are kept once read; pickles as its address."""

    def __init__(self, href: str, allow_local: bool = False) -> None:
        self.href = _document(href)
        self.is_local = urlsplit(self.href).scheme not in ("http", "https")
        self.allow_local = allow_local or self.is_local
        self._items: dict[str, list[Item]] = {}
        self._addresses: dict[str, str] = {}

    def __reduce__(self) -> tuple[type[StaticCatalog], tuple[str, bool]]:
        return type(self), (self.href, self.allow_local)

    def search(
        self,
        collection: str,
        bbox: LonLatBox,
        start: datetime | None = None,
        end: datetime | None = None,
        where: Where | None = None,
    ) -> list[Item]:
        """See `sources.base.CatalogClient.search`."""
        if collection not in self._items:
            self._items[collection] = list(self._read_items(collection))
        return _select(self._items[collection], "", self.allow_local, (bbox, start, end, where or {}))

    def _read_items(self, collection: str) -> Iterator[Item]:
        with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as client:
            yield from self._read_items_with(client, collection)

    def _read_items_with(self, client: httpx.Client, collection: str) -> Iterator[Item]:
        if not self._addresses:
            self._addresses = dict(self._collections(client, self.href, depth=4))
        address = self._addresses.get(collection)
        if address is None:
            have = ", ".join(sorted(self._addresses)) or "none"
            raise CatalogError(f"no collection {collection!r}; the catalog has {have}", unsigned(self.href))
        for href, item in self._items_below(client, address, depth=6):
            yield {**normalise_item(item, href), DELIVERED_KEY: item}

    def _collections(self, client: httpx.Client, href: str, depth: int) -> Iterator[tuple[str, str]]:
        document = _read_json(client, href)
        if document.get("type") == "Collection":
            yield str(document.get("id")), href
        elif depth > 0:
            for child in _links(document, "child"):
                yield from self._collections(client, absolute_href(child, href), depth - 1)

    def _items_below(self, client: httpx.Client, href: str, depth: int) -> Iterator[tuple[str, Item]]:
        document = _read_json(client, href)
        for link in _links(document, "item"):
            address = absolute_href(link, href)
            yield address, _read_json(client, address)
        if depth > 0:
            for child in _links(document, "child"):
                yield from self._items_below(client, absolute_href(child, href), depth - 1)


def _select(
    items: Iterable[Item],
    base_href: str,
    allow_local: bool,
    window: Window,
) -> list[Item]:
    """The items that truly touch the window, once each, in time order, with forbidden addresses marked."""
    bbox, start, end, where = window
    ground = box(*bbox)
    kept: dict[tuple[str, str], tuple[datetime, Item]] = {}
    for raw in items:
        try:
            item = {**normalise_item(raw, base_href), DELIVERED_KEY: raw} if base_href else raw
            moment, last = item_times(item)
            touches = item_geometry(item).intersects(ground)
        except (UnsupportedItemError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CatalogError(f"item {raw.get('id')!r} is no STAC item: {error}", unsigned(base_href)) from error
        in_time = (end is None or moment <= end) and (start is None or (last or moment) >= start)
        if touches and in_time and matches(item, where):
            mark_refused(item, allow_local)
            kept[(str(item.get("collection")), item["id"])] = (moment, item)
    return [item for _, item in sorted(kept.values(), key=lambda pair: (pair[0], pair[1]["id"]))]


def mark_refused(item: Item, allow_local: bool) -> None:
    """Mark the assets of a normalised item that must not be opened, and take signatures off the others; in place."""
    for key, asset in item["assets"].items():
        reason = refusal(asset["href"], allow_local)
        if reason:
            log.debug("item %s: asset %s: %s", item["id"], key, reason)
            asset[REFUSED_KEY] = reason
        else:
            asset["href"] = unsigned(asset["href"])


def _document(href: str) -> str:
    """Address of the root document."""
    if urlsplit(href).scheme in ("http", "https"):
        return href if href.endswith(".json") else href.rstrip("/") + "/catalog.json"
    path = Path(unquote(urlsplit(href).path) if href.startswith("file:") else href).absolute()
    return str(path / "catalog.json" if path.is_dir() else path)


def _read_json(client: httpx.Client, href: str) -> dict[str, Any]:
    """A JSON document of a folder or a server.

    Raises:
        CatalogError: it is not there, or it is no JSON object.
        ThrottledError, TransientSourceError, AccessDeniedError: as the server said.
    """
    try:
        document = json.loads(
            _fetch(client, href) if urlsplit(href).scheme in ("http", "https") else Path(href).read_bytes()
        )
    except OSError as error:
        raise CatalogError(f"cannot read the catalog: {error.strerror}", unsigned(href)) from error
    except ValueError as error:
        raise CatalogError("is no JSON", unsigned(href)) from error
    if not isinstance(document, dict):
        raise CatalogError("is no STAC document", unsigned(href))
    return document


def _fetch(client: httpx.Client, href: str) -> bytes:
    try:
        answer = client.get(href)
    except httpx.HTTPError as error:
        raise TransientSourceError(f"no answer from the catalog: {type(error).__name__}", unsigned(href)) from error
    if answer.status_code >= 400:
        raise _of_catalog(error_of_status(answer.status_code, unsigned(href), answer.headers))
    return answer.content


def _links(document: Mapping[str, Any], rel: str) -> list[str]:
    return [str(link["href"]) for link in document.get("links") or () if link.get("rel") == rel and link.get("href")]


def _api_error(error: Exception, href: str) -> SourceError:
    status = getattr(error, "status_code", None)
    if status is None:
        return _connection_error(error, href)
    return _of_catalog(error_of_status(int(status), unsigned(href)))


def _connection_error(error: Exception, href: str) -> SourceError:
    import requests

    if isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return TransientSourceError(f"no answer from the catalog: {type(error).__name__}", unsigned(href))
    text = str(error)
    if any(word in text for word in ("Connection refused", "Max retries exceeded", "timed out", "Connection aborted")):
        return TransientSourceError("no answer from the catalog", unsigned(href))
    return CatalogError(f"did not answer as a STAC API: {text[:200]}", unsigned(href))


def _of_catalog(error: SourceError) -> SourceError:
    """A 404 or an unknown status of a catalog is a `CatalogError`; the rest stays what it is."""
    is_plain = not error.permanent or type(error).__name__ == "AccessDeniedError"
    return error if is_plain else CatalogError(error.what, error.url)


def _stamp(moment: datetime | None) -> str:
    if moment is None:
        return ".."
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
