"""A STAC API, read through pystac-client: `ApiCatalog`."""

from __future__ import annotations

import json
import logging
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from pystac.errors import STACError
from pystac_client import Client
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from schemas.errors import CatalogError, SourceError, TransientSourceError
from schemas.recipe import Catalog, LonLatBox
from schemas.scene import Opener
from sources.filters import probe
from sources.items import Item
from sources.openers import unsigned
from sources.paging import PageRequest, gather
from sources.retry import PATIENCE, Backoff, call_with_retries
from sources.web import WebSession, of_catalog
from sources.window import SearchWindow, Where, is_sound, select_items

log = logging.getLogger(__name__)

SAMPLE_ITEMS = 20
"""Items that show how a collection writes its properties."""

TOO_DEEP = "its JSON is nested too deeply"


class PoliteIO(StacApiIO):
    """pystac-client's requests, made by a `WebSession`: its limits, secrets and errors."""

    def __init__(self, web: WebSession) -> None:
        super().__init__(max_retries=0)
        self.web = web

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """The text of the answer.

        Raises:
            SourceError: as `WebSession.request`.
        """
        verb = (method or "GET").upper()
        url = (
            href if verb == "POST" or not parameters else f"{href}{'&' if '?' in href else '?'}{urlencode(parameters)}"
        )
        body = parameters if verb == "POST" else None
        try:
            text = self.web.request(url, verb, body, headers).content.decode()
        except UnicodeDecodeError as error:
            raise CatalogError("did not answer as a STAC API: no UTF-8", unsigned(href)) from error
        if text.startswith("{"):  # what begins as JSON and does not end so was cut off, and may be asked for again
            try:
                json.loads(text)
            except ValueError as error:
                raise TransientSourceError("the answer was cut off", unsigned(href)) from error
            except RecursionError as error:
                raise CatalogError(f"did not answer as a STAC API: {TOO_DEEP}", unsigned(href)) from error
        return text


class ApiCatalog:
    """A STAC API. Pickles as its address and settings.

    Args:
        catalog: the recipe's settings.
        href: its address.
        opener: secrets and limits by host.
        sleep: how to wait between tries.
        backoff: how often one page is tried, and how long is waited.
    """

    def __init__(
        self,
        catalog: Catalog,
        href: str,
        opener: Opener,
        sleep: Callable[[float], object] = time.sleep,
        backoff: Backoff = PATIENCE,
    ) -> None:
        self.catalog, self.href, self.opener, self.sleep, self.backoff = catalog, href, opener, sleep, backoff
        self.web = WebSession(opener, href, catalog.allow_local)
        self._client: Any = None
        self._known: set[str] = set()
        self._left_out: dict[str, dict[str, str]] = {}
        self._filters: dict[tuple[str, str], dict[str, Any]] = {}

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
        window = SearchWindow(bbox, start, end, where or {})
        try:
            self._need_collection(collection)
            items = [item for part in window.boxes() for item in self._search_box(collection, part, window)]
        except ClientTypeError as error:
            kind = str(error).rpartition("type=")[2]  # Collection, FeatureCollection; None of a list of collections
            what = f"this is no root of a STAC API (its type is {kind}): leave out /collections or /search and after"
            raise CatalogError(what, unsigned(self.href)) from error
        except APIError as error:
            raise CatalogError(f"did not answer as a STAC API: {str(error)[:200]}", unsigned(self.href)) from error
        except SourceError as error:
            raise of_catalog(error) from error
        except RecursionError as error:
            raise CatalogError(f"did not answer as a STAC API: {TOO_DEEP}", unsigned(self.href)) from error
        except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError, STACError) as error:
            raise CatalogError(f"did not answer as a STAC API: {str(error)[:200]}", unsigned(self.href)) from error
        based = ((item, self.href) for item in items)
        return select_items(
            based, window, self.catalog.allow_local, self.catalog.alternate, self._left_out.setdefault(collection, {})
        )

    def left_out(self, collection: str) -> Mapping[str, str]:
        """See `sources.base.CatalogClient.left_out`."""
        return self._left_out.get(collection, {})

    def _search_box(self, collection: str, bbox: LonLatBox, window: SearchWindow) -> list[Item]:
        """All items of one box; an empty answer to a filter is not believed."""
        asked = {"collections": [collection], "bbox": list(bbox), "datetime": window.interval()}
        extra = self._filter(collection, asked, window.where)
        items = gather(self._read, lambda limit: self._first({**asked, **extra, "limit": limit}))
        if items or not extra:
            return items
        return gather(self._read, lambda limit: self._first({**asked, "limit": limit}))

    def _filter(self, collection: str, asked: dict[str, Any], where: Where) -> dict[str, Any]:
        """Parameters of a filter that the server was seen to understand for this collection and these properties."""
        if not where or self.catalog.filters == "client":
            return {}
        key = (collection, json.dumps(dict(where), sort_keys=True))
        if key not in self._filters:
            page = self._page({**asked, "limit": SAMPLE_ITEMS})
            sample = [item for item in page if is_sound(item)]
            if not sample:
                return {}

            def search(more: dict[str, Any]) -> Sequence[Item]:
                try:
                    return self._page({"collections": [collection], "limit": SAMPLE_ITEMS, **more})
                except SourceError as error:
                    log.info("%s: a filter was answered with %s: filtered here", unsigned(self.href), error.what)
                    return []

            self._filters[key] = probe(search, self._open().get_conforms_to(), where, sample)
        return self._filters[key]

    def _page(self, parameters: dict[str, Any]) -> list[Item]:
        return list(self._read(self._first(parameters)).get("features") or ())

    def _first(self, parameters: dict[str, Any]) -> PageRequest:
        """The first page's request as pystac-client words it, by POST where the server says that it takes one."""
        client = self._open()
        links = [link for link in client.links if link.rel == "search"]
        methods = {str(link.extra_fields.get("method") or "GET") for link in links}
        sent = dict(parameters)
        lang = sent.pop("filter-lang", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = client.search(method="POST" if "POST" in methods else "GET", filter_lang=lang, **sent)
        return PageRequest(search.url, search.method, search.get_parameters())

    def _read(self, request: PageRequest) -> Any:
        def ask() -> Any:
            io = self._open()._stac_io
            text = io.request(request.url, request.method, dict(request.headers), dict(request.body))
            try:
                page = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise CatalogError("did not answer as a STAC API: no JSON", unsigned(request.url)) from error
            return page if isinstance(page, dict) else {}

        return self._patiently(ask)

    def _patiently(self, call: Callable[[], Any]) -> Any:
        return call_with_retries(call, sleep=self.sleep, backoff=self.backoff, jitter=random.random)

    def _open(self) -> Any:
        if self._client is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                client = self._patiently(lambda: Client.open(self.href, stac_io=PoliteIO(self.web)))
                links = {link.rel for link in client.links}
                if not links & {"search", "data"} and not client.has_conforms_to():
                    raise CatalogError("this is a static catalog, no STAC API: say kind: static", unsigned(self.href))
                if "search" in links:
                    client.add_conforms_to("ITEM_SEARCH")  # some servers forget to say so
                client.set_root(client)  # else the first look at a link asks the server again, past our retries
            self._client = client
        return self._client

    def _need_collection(self, collection: str) -> None:
        """A server answers an unknown collection with no items: that is an error of the recipe, not an empty place."""
        if collection in self._known:
            return
        io, listing = self._open()._stac_io, self._open()._collections_href()
        try:
            url = f"{listing.rstrip('/')}/{quote(collection, safe='')}"
            document = self._patiently(lambda: io.read_json(url))
            if isinstance(document, dict) and document.get("id") == collection:
                self._known.add(collection)
                return
        except (SourceError, ValueError) as error:
            if isinstance(error, SourceError) and not error.permanent:
                raise
        pages = self._patiently(lambda: list(io.get_pages(listing)))
        names = {str(found.get("id")) for page in pages for found in page.get("collections") or ()}
        if collection not in names:
            have = ", ".join(sorted(names)) or "none"
            raise CatalogError(f"no collection {collection!r}; the catalog has {have}", unsigned(self.href))
        self._known.add(collection)


def _reopen(settings: dict[str, Any], href: str, opener: Opener) -> ApiCatalog:
    return ApiCatalog(Catalog.model_validate(settings), href, opener)
