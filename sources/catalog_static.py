"""A static catalog, a tree of JSON documents in a folder or behind HTTP: `StaticCatalog`."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from schemas.errors import CatalogError, SourceError
from schemas.recipe import Catalog, LonLatBox
from schemas.scene import Opener
from sources.items import Item, absolute_href
from sources.openers import on_disk, unsigned
from sources.retry import PATIENCE, Backoff, call_with_retries
from sources.web import WebSession, of_catalog
from sources.window import SearchWindow, Where, select_items

DEEPEST = 8
"""Levels of catalogs in catalogs that are followed."""
MOST_DOCUMENTS = 200_000
"""Catalogs, or items of a collection, that are read; a tree whose documents always name new ones ends here."""
READERS = 8
"""Documents that are fetched at once; a host's limit may allow fewer."""


class StaticCatalog:
    """A tree of JSON documents. Items are kept once read; pickles as its address and settings.

    Args:
        catalog: the recipe's settings.
        href: URL, ``file://`` or path of ``catalog.json``, or its folder.
        opener: secrets and limits by host.
        sleep: how to wait between tries.
        backoff: how often one document is tried, and how long is waited.
    """

    def __init__(
        self,
        catalog: Catalog,
        href: str,
        opener: Opener,
        sleep: Callable[[float], object] = time.sleep,
        backoff: Backoff = PATIENCE,
    ) -> None:
        self.catalog, self.opener, self.sleep, self.backoff = catalog, opener, sleep, backoff
        self.href = _document(href)
        self.is_local = not _is_http(self.href)
        self.allow_local = catalog.allow_local or self.is_local
        self.web = WebSession(opener, self.href, catalog.allow_local)
        self._items: dict[str, list[tuple[Item, str]]] = {}
        self._left_out: dict[str, dict[str, str]] = {}
        self._addresses: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any], str, Opener]]:
        return _reopen, (self.catalog.model_dump(exclude_defaults=True), self.href, self.opener)

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
            with ThreadPoolExecutor(1 if self.is_local else READERS) as pool:
                self._items[collection] = self._read_items(pool, collection)
        window = SearchWindow(bbox, start, end, where or {})
        left_out = self._left_out.setdefault(collection, {})
        return select_items(self._items[collection], window, self.allow_local, self.catalog.alternate, left_out)

    def left_out(self, collection: str) -> Mapping[str, str]:
        """See `sources.base.CatalogClient.left_out`."""
        return self._left_out.get(collection, {})

    def _read_items(self, pool: ThreadPoolExecutor, collection: str) -> list[tuple[Item, str]]:
        if not self._addresses:
            self._addresses = dict(self._collections(pool, [self.href]))
        if collection not in self._addresses:  # it may lie in another one: only then whole trees are looked through
            self._addresses = dict(self._collections(pool, [self.href], within=True)) | self._addresses
        address = self._addresses.get(collection)
        if address is None:
            have = ", ".join(sorted(self._addresses)) or "none"
            raise CatalogError(f"no collection {collection!r}; the catalog has {have}", unsigned(self.href))
        addresses = list(self._item_addresses(pool, [address]))
        documents = pool.map(self._read_item, addresses)
        found = [(item, href) for href, item in zip(addresses, documents, strict=True)]
        kept = [(item, href) for item, href in found if not isinstance(item, SourceError)]
        lost = {unsigned(href): item for item, href in found if isinstance(item, SourceError)}
        if lost and not kept:
            raise next(iter(lost.values()))
        self._left_out[collection] = {href: error.what for href, error in lost.items()}
        return kept

    def _read_item(self, href: str) -> Any:
        """An item's document; the error where it is for good none."""
        try:
            return self._read(href)
        except CatalogError as error:
            return error

    def _collections(
        self, pool: ThreadPoolExecutor, level: list[str], within: bool = False
    ) -> Iterator[tuple[str, str]]:
        """Id and address of each collection, also of those ``within`` others."""
        seen = set(level)
        for _ in range(DEEPEST):
            below: list[str] = []
            for href, document in zip(level, pool.map(self._read, level), strict=True):
                is_collection = document.get("type") == "Collection" or "extent" in document
                if is_collection:
                    yield str(document.get("id")), href
                if within or not is_collection:
                    below += _unseen(document, "child", href, seen)
            level = below

    def _item_addresses(self, pool: ThreadPoolExecutor, level: list[str]) -> Iterator[str]:
        seen, items = set(level), set[str]()
        for _ in range(DEEPEST):
            below: list[str] = []
            for href, document in zip(level, pool.map(self._read, level), strict=True):
                yield from _unseen(document, "item", href, items)
                below += _unseen(document, "child", href, seen)
            level = below

    def _read(self, href: str) -> dict[str, Any]:
        """A JSON document of a folder or a server.

        Raises:
            CatalogError: it is not there, or it is no JSON object.
            ThrottledError, TransientSourceError, AccessDeniedError: as the server said.
        """
        if not _is_http(href):
            document = self._read_file(href)
        else:
            try:
                document = call_with_retries(
                    lambda: self.web.json(href), sleep=self.sleep, backoff=self.backoff, jitter=random.random
                )
            except SourceError as error:
                raise of_catalog(error) from error
        if not isinstance(document, dict):
            raise CatalogError("is no STAC document", unsigned(href))
        return document

    def _read_file(self, href: str) -> Any:
        if not self.is_local:
            raise CatalogError("a remote catalog names a file of this machine", href)
        try:
            return json.loads(Path(unquote(urlsplit(href).path) if href.startswith("file:") else href).read_bytes())
        except OSError as error:
            raise CatalogError(f"cannot read the catalog: {error.strerror}", href) from error
        except (ValueError, RecursionError) as error:
            raise CatalogError("is no JSON", href) from error


def _document(href: str) -> str:
    """Address of the root document."""
    if _is_http(href):
        return href if href.endswith(".json") else href.rstrip("/") + "/catalog.json"
    path = Path(unquote(urlsplit(href).path) if href.startswith("file:") else href).absolute()
    return str(path / "catalog.json" if path.is_dir() else path)


def _is_http(href: str) -> bool:
    return urlsplit(href).scheme in ("http", "https")


def _unseen(document: Mapping[str, Any], rel: str, base_href: str, seen: set[str]) -> list[str]:
    """Addresses that a document links to and that were not met before, which they are from now on: links may go round
    in circles.

    Raises:
        CatalogError: there are more than `MOST_DOCUMENTS`.
    """
    links = document.get("links")
    named = [link for link in links if isinstance(link, Mapping)] if isinstance(links, list) else []
    hrefs = [str(link["href"]) for link in named if link.get("rel") == rel and link.get("href")]
    whole = dict.fromkeys(on_disk(absolute_href(href, base_href)) for href in hrefs)
    found = [href for href in whole if href not in seen]
    seen.update(found)
    if len(seen) > MOST_DOCUMENTS:
        said = f"the catalog has more than {MOST_DOCUMENTS:,} documents of a kind"
        raise CatalogError(f"{said}: name a part of it, or an API", unsigned(base_href))
    return found


def _reopen(settings: dict[str, Any], href: str, opener: Opener) -> StaticCatalog:
    return StaticCatalog(Catalog.model_validate(settings), href, opener)
