"""An index of items made for its own sake: of a recipe's catalogs over its regions, or of one catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from flows.planning import freeze_recipe
from schemas.errors import SourceError, UserError
from schemas.recipe import Catalog, LonLatBox, Recipe
from sources.catalog import open_catalog
from sources.items import frozen_item
from sources.openers import without_signature
from sources.search import left_out_notes, mend_of
from sources.stac_index import IndexCatalog
from sources.stac_index_write import IndexWriter

EARTH: LonLatBox = (-180.0, -90.0, 180.0, 90.0)


def index_recipe(recipe: Recipe, folder: Path, variables: Mapping[str, str], to: Path) -> tuple[int, list[str]]:
    """The items that a plan of the recipe would freeze, and notes; how many."""
    notes = freeze_recipe(recipe, folder, variables, to)
    return len(IndexCatalog(str(to))), notes


def index_catalog(href: str, to: Path, collections: Sequence[str], bbox: str | None) -> tuple[int, list[str]]:
    """The items of some collections of one catalog within a box; how many, and notes of what is left out.

    Args:
        href: root of a STAC API, ``catalog.json``, another index, or a folder of either.
        to: the file to write.
        collections: STAC collection ids.
        bbox: ``west,south,east,north`` in degrees; the Earth where absent.

    Raises:
        UserError: the catalog cannot be used, or the box is none.
    """
    if not collections:
        raise UserError("which collections?", where=href, mend="give --collection once or more")
    client = open_catalog(Catalog.model_validate({"kind": _kind(href), "href": href, "allow_local": True}), href)
    notes: list[str] = []
    with IndexWriter(to) as writer:
        for collection in collections:
            try:
                found = client.search(collection, _box(bbox))
            except SourceError as error:
                raise UserError(
                    error.what, where=error.url or href, mend=mend_of(error, "check the address")
                ) from error
            notes += left_out_notes(client.left_out(collection))
            writer.collections.add(collection)
            writer.add((frozen_item(item, without_signature) for item in found), collection=collection)
        return writer.close(), notes


def _kind(href: str) -> str:
    """Of a catalog: by its name, a folder by what lies in it."""
    folder = Path(href)
    if href.endswith(".parquet") or (
        folder.is_dir() and not (folder / "catalog.json").exists() and _has_tables(folder)
    ):
        return "stac-geoparquet"
    return "static" if _is_static(href) else "stac-api"


def _has_tables(folder: Path) -> bool:
    return next(folder.glob("*.parquet"), None) is not None


def _is_static(href: str) -> bool:
    return href.endswith(".json") or urlsplit(href).scheme not in ("http", "https")


def _box(text: str | None) -> LonLatBox:
    if text is None:
        return EARTH
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"{text!r} is no box", where="--bbox", mend="write west,south,east,north") from error
    return west, south, east, north
