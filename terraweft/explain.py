"""`terraweft explain`: fetch one STAC item, and print what would be done with it and why."""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from rich.console import Console
from rich.table import Table

from schemas.errors import SourceError, UserError
from terraweft.console import print_pairs
from terraweft.extras import needs

if TYPE_CHECKING:
    from sources.explain import AssetMeaning, Explanation

MOST_BYTES = 50_000_000
"""A document larger than this, once unpacked, is no item."""
PUBLIC_CATALOGS = (
    "https://earth-search.aws.element84.com/v1",
    "https://planetarycomputer.microsoft.com/api/stac/v1",
    "https://stac.dataspace.copernicus.eu/v1",
    "https://landsatlook.usgs.gov/stac-server",
    "https://geoservice.dlr.de/eoc/ogc/stac/v1",
)
"""Asked in this order for an id that comes without a catalog."""


def run_explain(item: str, catalog: str | None, collection: str | None, as_json: bool, out: Console) -> None:
    """`terraweft explain`."""
    with needs("build"):
        from sources.explain import explain_item

    document, address = read_item(item, catalog, collection)
    try:
        told = explain_item(document, address)
    except SourceError as error:
        raise UserError(error.what, where=address) from error
    if as_json:
        sys.stdout.write(json.dumps(told.to_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        show_explanation(str(document.get("id")), told, out)


def show_explanation(item_id: str, told: Explanation, out: Console) -> None:
    """The explanation as tables for people."""
    facts = {
        "sensor": told.sensor or "none fits",
        "platform": told.platform or "not stated",
        "time": told.datetime or "not stated",
        "baseline": told.processing_baseline or "",
        "CRS": f"EPSG:{told.epsg}" if told.epsg else "not known",
        "clouds": "not stated" if told.cloud_cover is None else f"{told.cloud_cover:g} % of the scene",
        "mask": f"{told.mask_asset}, read as {told.mask_kind}" if told.mask_asset else "none",
        "licence": told.licence or "not known",
        "verdict": told.verdict,
    }
    print_pairs(out, item_id, {name: value for name, value in facts.items() if value})
    if told.assets:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("asset", "band", "centre nm", "GSD m", "scale", "offset", "unit", "no data"):
            table.add_column(name, overflow="fold")
        for key, meaning in told.assets.items():
            table.add_row(key, *_cells(meaning))
        out.print(table)
    for line in told.why:
        out.print(f"- {line}", markup=False, soft_wrap=True)


def read_item(
    item: str, catalog: str | None, collection: str | None, known: Sequence[str] = PUBLIC_CATALOGS
) -> tuple[dict[str, Any], str]:
    """The document of an item, and its address.

    Args:
        item: a file, ``-`` for standard input, a URL, or an id.
        catalog: address of a STAC API or of a static catalog, or a file of items; `PUBLIC_CATALOGS` without it.
        collection: the item's collection; without it a STAC API is asked for the id alone.
        known: asked in turn for an id without a catalog.

    Raises:
        UserError: there is no such item, or it is no STAC item.
    """
    if catalog is not None:
        return _from_catalog(item, catalog, collection)
    if item == "-":
        return _as_item(_parse(sys.stdin.buffer.read(MOST_BYTES), "standard input"), "standard input", None), ""
    if urlsplit(item).scheme in ("http", "https"):
        return _as_item(_parse(_get(item), item), item, None), item
    path = Path(item)
    if not path.is_file():
        if _may_be_id(item):
            return _from_any(item, collection, known)
        mend = "give a file, a URL, or an id with --catalog and --collection"
        raise UserError(f"{item!r} is no file and no http(s) address", where="explain", mend=mend)
    return _as_item(_parse(_read(path), item), item, None), str(path.absolute())


def _from_catalog(item_id: str, catalog: str, collection: str | None) -> tuple[dict[str, Any], str]:
    if urlsplit(catalog).scheme not in ("http", "https"):
        return _from_local(item_id, Path(catalog), collection)
    root = catalog.rstrip("/")
    if root.endswith(".json"):
        return _from_static(item_id, root, collection)
    if collection is None:
        address = f"{root}/search?ids={quote(item_id, safe='')}&limit=1"
    else:
        address = f"{root}/collections/{quote(collection, safe='')}/items/{quote(item_id, safe='')}"
    return _as_item(_parse(_get(address), address), address, item_id), address


def _may_be_id(text: str) -> bool:
    """Whether a word may be an id: no path, no name of a JSON file."""
    return bool(text.strip()) and not set("/\\") & set(text) and not text.endswith((".json", ".geojson", ".gz"))


def _from_any(item_id: str, collection: str | None, known: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The item of the first catalog that has it."""
    failures, passing = [], None
    for root in known:
        try:
            return _from_catalog(item_id, root, collection)
        except UserError as error:
            failures.append(f"{urlsplit(root).hostname}: {error.what}")
            passing = error.__cause__ if error.may_pass else passing  # that catalog may have it
    mend = "give the file, its URL, or its catalog with --catalog and --collection"
    what = f"{item_id!r} is no file, and no public catalog gave it ({'; '.join(failures)})"
    raise UserError(what, "explain", mend) from passing


def _from_local(item_id: str, path: Path, collection: str | None) -> tuple[dict[str, Any], str]:
    if path.is_file():
        document = _parse(_read(path), str(path))
        if "features" in document:
            return _as_item(document, str(path), item_id), str(path.absolute())
    return _from_static(item_id, str(path), collection)


def _from_static(item_id: str, href: str, collection: str | None) -> tuple[dict[str, Any], str]:
    from schemas.recipe import Catalog
    from sources.catalog import open_catalog

    if collection is None:
        raise UserError("a static catalog is searched by collection", where=href, mend="give --collection")
    client = open_catalog(Catalog(kind="static", href=href), href)
    for found in client.search(collection, (-180.0, -90.0, 180.0, 90.0)):
        if found["id"] == item_id:
            return found, ""
    raise UserError(f"no item {item_id!r} in collection {collection!r}", where=href)


def _as_item(document: Mapping[str, Any], where: str, item_id: str | None) -> dict[str, Any]:
    """The one item that a document is or holds.

    Raises:
        UserError: it holds none, or several of which none is named.
    """
    if "features" in document:
        listed = document["features"]
        features = [found for found in listed if isinstance(found, dict)] if isinstance(listed, list) else []
        named = [found for found in features if item_id is None or found.get("id") == item_id]
        if len(named) != 1:
            said = f"holds {len(features)} items" if item_id is None else f"holds no item {item_id!r}"
            raise UserError(said, where=where, mend="name one: terraweft explain ID --catalog FILE")
        document = named[0]
    if document.get("type") in ("Collection", "Catalog"):
        raise UserError(f"is a STAC {document['type']}, not an item", where=where)
    wrong = [
        name
        for name, kinds in (("id", str), ("properties", dict), ("assets", (dict, type(None))))
        if not isinstance(document.get(name), kinds)
    ]
    if wrong:
        raise UserError(f"is no STAC item: no {' and no '.join(wrong)}", where=where)
    return dict(document)


def _parse(content: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(_unpacked(content, where))
    except (ValueError, RecursionError) as error:
        raise UserError("is no JSON", where=where) from error
    if isinstance(document, list) and document and all(isinstance(found, dict) for found in document):
        document = {"features": document}
    if not isinstance(document, dict):
        raise UserError("is no STAC item: not a JSON object", where=where)
    return document


def _unpacked(content: bytes, where: str) -> bytes:
    """The document itself where it comes packed by gzip; no more of it than may be read."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    reader = zlib.decompressobj(wbits=31)
    try:
        plain = reader.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise UserError("is packed by gzip and cannot be unpacked", where=where) from error
    if reader.unconsumed_tail:
        raise UserError(f"is larger than {MOST_BYTES} bytes: no item", where=where)
    return plain


def _read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"is larger than {MOST_BYTES} bytes: no item", where=str(path))
    return path.read_bytes()


def _get(address: str) -> bytes:
    """The document at an address that the user named; a public host may not lead on to a private one."""
    from sources.openers import PlainOpener, refusal
    from sources.retry import Backoff, call_with_retries
    from sources.web import WebSession

    is_private = refusal(address, allow_local=False) != ""
    session = WebSession(PlainOpener(), address, allow_local=is_private)
    try:
        return call_with_retries(lambda: session.request(address).content, sleep=time.sleep, backoff=Backoff(3))
    except SourceError as error:
        raise UserError(error.what, where=error.url or address) from error


def _cells(meaning: AssetMeaning) -> tuple[str, ...]:
    return (
        _one_or_span(meaning.common_name),
        _one_or_span(meaning.center_wavelength_nm),
        _number(meaning.gsd_m),
        "?" if meaning.scale is None else _number(meaning.scale),
        "?" if meaning.offset is None else _number(meaning.offset),
        meaning.unit or "?",
        _number(meaning.nodata),
    )


def _one_or_span(value: Any) -> str:
    """One value, or of many the first, the last and their number."""
    if isinstance(value, list):
        ends = [_number(part) for part in (value[0], value[-1])]
        return f"{ends[0]} ... {ends[1]} ({len(value)})" if any(ends) else f"({len(value)})"
    return _number(value)


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, (int, float)) else str(value)
