"""Hashes of the files that label sources name: a new extract or edition under the same name is noticed by its bytes.

A file that was hashed once is known again by size and time. What lies behind a web address has no hash here: `redo` it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from schemas.recipe import Recipe, fill
from shards.layout import sha256_of

KNOWN = "label_files.json"
"""Name of the file that remembers hashes, below ``work/``."""


def label_files(recipe: Recipe, variables: Mapping[str, str], work: Path) -> dict[str, str]:
    """Label source -> sha256 of its file on this machine; sources of catalogs and web addresses are left out."""
    found: dict[str, str] = {}
    known = _read(work / KNOWN)
    now: dict[str, str] = {}
    for name, source in (recipe.labels.sources if recipe.labels else {}).items():
        path = local_path(fill(source.href, variables, f"labels.sources.{name}.href")) if source.href else None
        if path is not None and path.is_file():
            status = path.stat()
            key = f"{path} {status.st_size} {status.st_mtime_ns}"
            now[key] = known.get(key) or sha256_of(path)
            found[name] = now[key]
    if now != known and now:
        work.mkdir(parents=True, exist_ok=True)
        temporary = work / f".{KNOWN}.{os.getpid()}"
        temporary.write_text(json.dumps(now), encoding="utf-8")
        os.replace(temporary, work / KNOWN)
    return found


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
    return Path(href) if "://" not in href and not href.startswith("/vsi") else None
