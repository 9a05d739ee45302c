"""`terraweft explain`: fetch one STAC item, and print what would be done with it and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from rich.console import Console
from rich.table import Table

from schemas.errors import SourceError, UserError
from terraweft.commands import needs_build
from terraweft.console import print_pairs

if TYPE_CHECKING:
    from sources.explain import AssetMeaning, Explanation

TIMEOUT_S = 30.0
MOST_BYTES = 50_000_000
"""A document larger than this is no item."""


def run_explain(item: str, catalog: str | None, collection: str | None, as_json: bool, out: Console) -> None:
    """`terraweft explain`."""
    with needs_build():
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


def read_item(item: str, catalog: str | None, collection: str | None) -> tuple[dict[str, Any], str]:
    """The document of an item, and its address.

    Args:
        item: a file, ``-`` for standard input, a URL, or an id where ``catalog`` is given.
        catalog: address of a STAC API or of a static catalog, or a file of items.
        collection: the item's collection; without it a STAC API is asked for the id alone.

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


def _from_local(item_id: str, path: Path, collection: str | None) -> tuple[dict[str, Any], str]:
    if path.is_file():
        document = _parse(_read(path), str(path))
        if document.get("type") == "FeatureCollection":
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
    if document.get("type") == "FeatureCollection":
        features = [found for found in document.get("features") or () if isinstance(found, dict)]
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
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError("is no JSON", where=where) from error
    if not isinstance(document, dict):
        raise UserError("is no STAC item: not a JSON object", where=where)
    return document


def _read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"is larger than {MOST_BYTES} bytes: no item", where=str(path))
    return path.read_bytes()


def _get(address: str) -> bytes:
    import httpx

    from sources.openers import unsigned

    try:
        with httpx.stream("GET", address, timeout=TIMEOUT_S, follow_redirects=True) as answer:
            if answer.status_code >= 400:
                raise UserError(f"the server answered {answer.status_code}", where=unsigned(address))
            content = bytearray()
            for part in answer.iter_bytes():
                content += part
                if len(content) > MOST_BYTES:
                    raise UserError(f"is larger than {MOST_BYTES} bytes: no item", where=unsigned(address))
            return bytes(content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UserError(f"no answer: {type(error).__name__}", where=unsigned(address)) from error


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
