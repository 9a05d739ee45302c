"""Writes a whole sandbox: files as the providers ship them, STAC items, and the truth beside them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from schemas.errors import UserError

from . import landcover, osm
from .clouds import CloudField, sun_at
from .cog import CogWriter
from .deliver_sentinel import deliver_sentinel1, deliver_sentinel2
from .deliver_spectral import deliver_enmap, deliver_landsat
from .delivery import Job, Made
from .items import Item, collection
from .place import Bounds, inner_bbox, regions_of
from .scenes import Scene, scenes_of
from .spectra import VARIANTS, class_names, worldcover_codes
from .threads import drawing_threads
from .world import Landscape, build_landscape

log = logging.getLogger(__name__)

MARKER = "sandbox.json"
"""Written last: a sandbox that has it is complete."""

TITLES = {
    "sentinel-2-l2a": "Sentinel-2 Level-2A",
    "sentinel-1-rtc": "Sentinel 1 Radiometrically Terrain Corrected (RTC)",
    "landsat-c2-l2": "Landsat Collection 2 Level-2",
    "enmap-l2a": "EnMAP HSI L2A",
    "esa-worldcover": "ESA WorldCover",
    "corine-clc2018": "CORINE Land Cover 2018",
    "osm-extract": "OpenStreetMap extract",
}


@dataclass(frozen=True)
class SandboxIndex:
    """What a sandbox holds."""

    root: Path
    """Its folder."""
    size: str
    """``tiny``, ``demo`` or ``WxH``."""
    seed: int
    """What it was drawn from."""
    regions: dict[str, Bounds]
    """Region -> longitudes and latitudes that its products cover wholly: west, south, east, north."""
    collections: tuple[str, ...]
    """STAC collections."""
    item_count: int
    """STAC items."""
    bytes: int
    """Size of all files."""


@lru_cache(maxsize=1)
def code_version() -> str:
    """Hash of everything in this room that can change a byte of a sandbox."""
    digest = hashlib.sha256()
    folder = resources.files(__package__)
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name.endswith((".py", ".yaml")) and entry.name != "serve.py":
            digest.update(entry.name.encode() + entry.read_bytes())
    return digest.hexdigest()[:16]


def read_index(root: Path) -> SandboxIndex | None:
    """The index of a complete sandbox under ``root``; None where there is none.

    Raises:
        UserError: the file is broken, or another program's.
    """
    found = _read_marker(root)
    return None if found is None else _index_of(root, found)


def _read_marker(root: Path) -> dict[str, Any] | None:
    """What stands in ``sandbox.json``; None where there is none."""
    try:
        found = json.loads((root / MARKER).read_text(encoding="utf-8"))
        _index_of(root, found)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            "this file is no index of a sandbox", where=str(root / MARKER), mend="remove it, or give another folder"
        ) from error
    return dict(found)


def _index_of(root: Path, found: Any) -> SandboxIndex:
    regions = {name: (b[0], b[1], b[2], b[3]) for name, b in found["regions"].items()}
    return SandboxIndex(
        root, found["size"], found["seed"], regions, tuple(found["collections"]), found["item_count"], found["bytes"]
    )


def write_sandbox(
    root: Path,
    *,
    size: str = "demo",
    seed: int = 7,
    workers: int = 2,
    errors_by_look: float = 0.0,
    at: tuple[float, float] | None = None,
) -> SandboxIndex:
    """Makes a sandbox, or finds the one that is already there.

    Args:
        root: folder; receives ``files/``, ``stac/``, ``truth/`` and, last, ``sandbox.json``.
        size: ``tiny``, ``demo``, or the northern region's ``WxH`` in kilometres.
        seed: of everything in it; the same seed gives the same bytes.
        workers: threads.
        errors_by_look: share of the variance of WorldCover's errors that follows from how the ground looks.
        at: longitude and latitude of one region elsewhere, in the place of the two.

    Returns:
        what is there.

    Raises:
        UserError: unknown size, a place where no world can lie, or a ``sandbox.json`` that is none of ours.
    """
    root = Path(root)
    regions = regions_of(size, at)
    wanted: dict[str, Any] = {
        "size": size,
        "seed": seed,
        "errors_by_look": errors_by_look,
        "code_version": code_version(),
    }
    wanted |= {} if at is None else {"at": list(at)}
    found = _read_marker(root)
    if found is not None and found.get("at") == wanted.get("at") and wanted.items() <= found.items():
        return _index_of(root, found)
    _clear(root)
    truth: dict[str, Any] = {
        **wanted,
        "conventions": CONVENTIONS,
        "subclasses": list(class_names()),
        "items": {},
        "labels": {},
        "osm": {},
    }
    made: list[Made] = []
    with drawing_threads(workers) as pool:
        drawn = list(pool.map(lambda region: build_landscape(region, seed, root / "truth", workers), regions))
    lands = {land.region.name: land for land in drawn}
    scenes = scenes_of(size, at)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), drawing_threads(workers) as pool:
        jobs = [
            pool.submit(_deliver, scene, lands[scene.region.name], seed, root / "files")
            for scene in sorted(scenes, key=_heaviest_first)
        ]
        for land in lands.values():
            jobs.append(pool.submit(landcover.write_land_cover, land, seed, root / "files", errors_by_look))
            jobs.append(pool.submit(osm.write_extract, land, seed, root / "files"))
            jobs.append(pool.submit(_write_truth_rasters, land, root / "truth"))
        for job in jobs:
            made += job.result()
    made.sort(key=lambda m: (m.item["collection"], m.item["id"]))
    for one in made:
        truth[one.chapter][one.item["id"]] = one.truth
    _write_json(root / "truth" / "truth.json", truth)
    _write_stac(root / "stac", [m.item for m in made])
    held = sum(
        path.stat().st_size
        for folder in ("files", "stac", "truth")
        for path in (root / folder).rglob("*")
        if path.is_file()
    )
    names = sorted({m.item["collection"] for m in made})
    boxes = {r.name: inner_bbox(r) for r in regions}
    _write_json(
        root / MARKER, {**wanted, "regions": boxes, "collections": names, "item_count": len(made), "bytes": held}
    )
    (root / UNFINISHED).unlink()
    log.info("sandbox %s in %s: %d items, %.1f MB", size, root, len(made), held / 1e6)
    return SandboxIndex(root, size, seed, boxes, tuple(names), len(made), held)


DELIVERIES: dict[str, Callable[[Job], list[Made]]] = {
    "sentinel-2": deliver_sentinel2,
    "landsat": deliver_landsat,
    "sentinel-1": deliver_sentinel1,
    "enmap": deliver_enmap,
}
"""Sensor -> what writes all products of one of its scenes under ``files/<collection>/<item id>/``."""

CACHE_BYTES = 256_000_000
"""Block cache of GDAL while writing; its default, a twentieth of the memory, would be most of what this takes."""

UNFINISHED = "sandbox.unfinished"
"""Stands in a folder while a sandbox is being written there."""

CONVENTIONS = {
    "shift_m": "[east, north] metres in the item's own CRS: the ground at p appears at p + shift_m",
    "truth_classes": "<region>_classes.tif: WorldCover code, 5 m; <region>_subclasses.tif: position in `subclasses`",
    "confusion": "rows: true code, columns: mapped code, in the order of `codes`; rows sum to 1",
}


def _clear(root: Path) -> None:
    """Removes an earlier sandbox, whole or broken off, and marks the folder as being written."""
    if (root / MARKER).exists() or (root / UNFINISHED).exists():
        (root / MARKER).unlink(missing_ok=True)
        for name in ("files", "stac", "truth"):
            shutil.rmtree(root / name, ignore_errors=True)
    _write_text(root / UNFINISHED, "")


def _heaviest_first(scene: Scene) -> tuple[float, str]:
    weight = {"enmap": 224 * 0.1, "sentinel-2": 8.0, "sentinel-1": 4.0, "landsat": 1.0}[scene.sensor]
    return (-weight * scene.grid.width * scene.grid.height, scene.key)


def _deliver(scene: Scene, land: Landscape, seed: int, files: Path) -> list[Made]:
    """Writes all products of a scene, under the clouds of its moment."""
    cover, cirrus = float(scene.row.get("cloud", 0.0)), float(scene.row.get("cirrus", 0.0))
    sun = sun_at(scene.time, *scene.region.centre_lonlat)
    sky = CloudField.over(land.grid, seed * 7919 + scene.sky_number, cover, cirrus, sun)
    return DELIVERIES[scene.sensor](Job(scene, land, sky, seed, files))


def _write_truth_rasters(land: Landscape, folder: Path) -> list[Made]:
    """WorldCover codes and sub-classes of the truth at 5 m, as COGs."""
    codes = worldcover_codes()
    for name, values in (("classes", lambda s: codes[s]), ("subclasses", lambda s: s // VARIANTS)):
        writer = CogWriter(folder / f"{land.region.name}_{name}.tif", land.grid, "uint8", categorical=True)
        for row in range(0, land.grid.height, 2048):
            writer.write(np.asarray(values(np.asarray(land.stratum[row : row + 2048]))), row=row)
        writer.close()
    return []


def _write_stac(folder: Path, items: list[Item]) -> None:
    """One NDJSON of items and one collection document per collection."""
    for name, group in _by_collection(items):
        (folder / "collections").mkdir(parents=True, exist_ok=True)
        _write_json(folder / "collections" / f"{name}.json", collection(name, TITLES[name], group))
        lines = "".join(json.dumps(one, separators=(",", ":"), ensure_ascii=False) + "\n" for one in group)
        _write_text(folder / f"{name}.ndjson", lines)


def _by_collection(items: list[Item]) -> Iterator[tuple[str, list[Item]]]:
    for name in sorted({one["collection"] for one in items}):
        yield name, [one for one in items if one["collection"] == name]


def _write_json(path: Path, content: Any) -> None:
    _write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Writes a file so that it is there wholly or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
