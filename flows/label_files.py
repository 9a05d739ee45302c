"""Hashes of the files that label sources name: a new extract or edition under the same name is noticed by its bytes.

A file that was hashed once is known again by size and time. What lies behind a web address has no hash here: `redo` it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from schemas.recipe import Recipe, fill
from shards.layout import sha256_of
from sources.openers import on_disk

KNOWN = "label_files.json"
"""Name of the file that remembers hashes, below ``work/``."""
BESIDE_SHP = (".dbf", ".DBF", ".prj", ".PRJ", ".cpg", ".CPG")
"""Endings of a shapefile's other parts that say what its areas are, and where."""


def label_files(recipe: Recipe, variables: Mapping[str, str], work: Path) -> dict[str, str]:
    """Label source -> sha256 of its file on this machine; sources of catalogs and web addresses are left out."""
    found: dict[str, str] = {}
    known = _read(work / KNOWN)
    now: dict[str, str] = {}
    for name, source in (recipe.labels.sources if recipe.labels else {}).items():
        path = local_path(fill(source.href, variables, f"labels.sources.{name}.href")) if source.href else None
        if path is not None and path.is_file():
            hashes = []
            for part in parts_of(path):
                status = part.stat()
                key = f"{part} {status.st_size} {status.st_mtime_ns}"
                now[key] = known.get(key) or sha256_of(part)
                hashes.append(now[key])
            found[name] = hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    if now != known and now:
        work.mkdir(parents=True, exist_ok=True)
        temporary = work / f".{KNOWN}.{os.getpid()}"
        temporary.write_text(json.dumps(now), encoding="utf-8")
        os.replace(temporary, work / KNOWN)
    return found


def parts_of(path: Path) -> list[Path]:
    """The file itself, and of a shapefile those beside it: the codes of its areas stand in none but the ``.dbf``."""
    if path.suffix.lower() != ".shp":
        return [path]
    beside = (path.with_suffix(ending) for ending in BESIDE_SHP)
    return [path, *(part for part in beside if part.is_file())]


def _read(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def local_path(href: str) -> Path | None:
    """The file of this machine that an address names, if it names one."""
    parts = urlsplit(href)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(on_disk(href)) if "://" not in href and not href.startswith("/vsi") else None
