"""Catalogs: `open_catalog` gives a client whose `search` returns plain, uniform STAC items, whatever stands behind it.

Box, time and collection are sent to a server; property filters only where it shows that it understands them (some
answer status 200 and nothing in it); sorting never. Everything is checked again here, and the order is ours: by time,
ties by id.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.recipe import Catalog
from schemas.scene import Opener
from sources.base import CatalogClient, load_target
from sources.openers import PlainOpener
from sources.retry import PATIENCE, Backoff

CLIENTS: dict[str, str] = {
    "stac-api": "sources.catalog_api:ApiCatalog",
    "static": "sources.catalog_static:StaticCatalog",
}
"""Kind of a catalog -> its client."""


def open_catalog(
    catalog: Catalog,
    href: str,
    opener: Opener | None = None,
    sleep: Callable[[float], object] = time.sleep,
    backoff: Backoff = PATIENCE,
) -> CatalogClient:
    """A client of the catalog; nothing is read before the first search.

    Args:
        catalog: kind, permissions and settings, from the recipe.
        href: its address with all variables filled in: URL, ``file://`` or path of ``catalog.json`` (or its folder).
        opener: secrets and limits by host; none of either where absent.
        sleep: how to wait between tries.
        backoff: how often one request is tried, and how long is waited.
    """
    if catalog.kind == "stac-geoparquet":
        from sources.stac_index import IndexCatalog

        return IndexCatalog(href, catalog.allow_local, catalog.frozen or "", None, catalog.alternate, opener)
    client: CatalogClient = load_target(CLIENTS[catalog.kind])(
        catalog, href, opener or PlainOpener(catalog.allow_local), sleep, backoff
    )
    return client
