"""The frozen items as a version publishes them: signatures are gone already, and no path of this machine is left.

A file on this machine is named by the variable under which the recipe found it (``${TERRAWEFT_REALDATA}/...``), or by
one made of its catalog's name (``${TERRAWEFT_CATALOG_<NAME>}/...``: the folder of that catalog): who rebuilds the
dataset sets the variable to where the files are.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow.parquet as pq

from flows.frozen_items import ITEMS, FrozenItems
from schemas.recipe import fill
from shards.guard import findings, redact
from shards.layout import version_path
from shards.pointer import read_pointer
from shards.storage import Storage
from shards.version_tables import told_of_damage
from sources.items import Item
from sources.stac_index import IndexCatalog
from sources.stac_index_write import IndexWriter
from sources.withdrawn import UsedItem, used_items

BATCH = 512
"""Items looked at together."""


def write_published_items(frozen: FrozenItems, target: Path) -> None:
    """Write the frozen items where a version publishes them."""
    index = IndexCatalog(str(frozen.path))
    if not any(findings(json.dumps(item)) for item in index.delivered(range(len(index)))):
        shutil.copyfile(frozen.path, target)
        return
    folders = _folders(frozen)
    writer = IndexWriter(target)
    writer.collections |= index.collections()
    asked = pq.read_table(frozen.path, columns=["collection"])["collection"].to_pylist()
    for start in range(0, len(index), BATCH):
        rows = np.arange(start, min(start + BATCH, len(index)))
        for row, item in zip(rows.tolist(), index.delivered(rows), strict=True):
            catalog = frozen.catalog_of(row)
            known = {**_variables(frozen.variables), **folders.get(catalog, {})}
            writer.add([_portable(item, known)], catalog, asked[row] or "")
    writer.close()


def items_of_current(storage: Storage) -> list[UsedItem]:
    """The frozen items of the version that is current; none where nothing was published, or none were frozen.

    Raises:
        DatasetError: they are damaged.
    """
    pointer = read_pointer(storage)
    if pointer is None:
        return []
    path = f"{version_path(pointer.current)}/{ITEMS}"
    if storage.size(path) is None:
        return []
    with told_of_damage(f"{storage.uri}/{path}"):
        return used_items(io.BytesIO(storage.read(path)))


def _variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Local folder -> the variable that names it."""
    return {value.rstrip("/"): f"${{{name}}}" for name, value in variables.items() if value.startswith("/")}


def _folders(frozen: FrozenItems) -> dict[str, dict[str, str]]:
    """Catalog -> its folder on this machine, and the variable that stands for it."""
    found = {}
    for name, catalog in frozen.recipe.catalogs.items():
        href = fill(catalog.href, frozen.variables)
        if urlsplit(href).scheme in ("", "file"):
            path = Path(unquote(urlsplit(href).path)).absolute()
            folder = path if path.is_dir() else path.parent
            variable = f"${{TERRAWEFT_CATALOG_{name.upper().replace('-', '_')}}}"
            found[name] = {str(folder): variable}
    return found


def _portable(item: Item, folders: Mapping[str, str]) -> Item:
    """The item with paths of this machine named by variables, and nothing else that must not be published."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(part) for key, part in value.items()}
        if isinstance(value, list):
            return [clean(part) for part in value]
        return _named(value, folders) if isinstance(value, str) and findings(value) else value

    cleaned: Item = clean(item)
    return cleaned


def _named(text: str, folders: Mapping[str, str]) -> str:
    path = unquote(urlsplit(text).path) if text.startswith("file:") else text
    for folder in sorted(folders, key=len, reverse=True):
        if path == folder or path.startswith(f"{folder}/"):
            return folders[folder] + path.removeprefix(folder)
    return redact(text)
