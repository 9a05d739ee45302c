"""The main job as its methods take it: items for a STAC server, a recipe, and the same chips as a list for peers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.scenes import BANDS, EPSG, LEFT, TOP, SceneSet, footprint

CHIP, BLOCK, SIZE = 256, 512, 4352
"""Pixels along a chip, a block of a scene, a scene."""


def write_items(scenes: SceneSet, base: str, folder: Path) -> list[Path]:
    """The scenes as Sentinel-2 L2A items of four bands, and their collection, for a STAC server."""
    import shapely

    folder.mkdir(parents=True, exist_ok=True)
    features = []
    outline = shapely.from_wkb(footprint(scenes.georef))
    for number in range(scenes.scenes):
        item = scenes.item(number, base)
        assets = {
            ref.band: {
                "href": ref.href, "type": "image/tiff; application=geotiff", "roles": ["data"], "gsd": 10,
                "bands": [{"name": ref.band, "data_type": "uint16", "nodata": 0, "raster:scale": 1e-4,
                           "raster:offset": 0.0}],
            }
            for ref in item.refs
        }  # fmt: skip
        lattice = {
            "proj:code": f"EPSG:{EPSG}", "proj:epsg": EPSG, "proj:shape": list(scenes.georef.shape_yx),
            "proj:transform": [*scenes.georef.transform, 0, 0, 1],
        }  # fmt: skip
        properties = {
            "datetime": item.datetime_utc.strftime("%Y-%m-%dT%H:%M:%SZ"), "platform": "sentinel-2a",
            "s2:processing_baseline": "03.01", "license": "CC-BY-4.0", "eo:cloud_cover": 0.0, **lattice,
        }  # fmt: skip
        document = {
            "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "id": item.item_id,
            "collection": "sentinel-2-l2a", "geometry": json.loads(shapely.to_geojson(outline)),
            "bbox": list(outline.bounds), "links": [], "assets": assets, "properties": properties,
        }  # fmt: skip
        features.append(document)
    extent = {"spatial": {"bbox": [list(outline.bounds)]}, "temporal": {"interval": [[None, None]]}}
    collection = {
        "type": "Collection", "stac_version": "1.1.0", "id": "sentinel-2-l2a", "description": "-",
        "license": "CC-BY-4.0", "extent": extent, "links": [],
    }  # fmt: skip
    (folder / "collection.json").write_text(json.dumps(collection))
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return [folder / "collection.json", folder / "items.json"]


def write_recipe(path: Path, catalog: str, edge: int, scenes: SceneSet, kinds: list[str]) -> None:
    """An imagery-only recipe: ``edge`` x ``edge`` places, one chip per place and date.

    A chip's one day comes from a table beside the recipe (`schemas.recipe_windows.Seasons` with a table).
    """
    import yaml

    step, name = CHIP * 10, "days.csv"
    days = [scenes.item(number, "").datetime_utc.date().isoformat() for number in range(scenes.scenes)]
    chips = [(row, column, number) for row in range(edge) for column in range(edge) for number in range(len(days))]
    cells = [
        {"id": chip_name(row, column, number), "epsg": EPSG, "region": "r",
         "bounds": [LEFT + column * step, TOP - (row + 1) * step, LEFT + (column + 1) * step, TOP - row * step]}
        for row, column, number in chips
    ]  # fmt: skip
    lines = [f"{chip_name(*chip)},{days[chip[2]]},{days[chip[2]]},{days[chip[2]]}" for chip in chips]
    path.with_name(name).write_text("\n".join(["chip_id,start,peak,end", *lines]) + "\n")
    recipe: dict[str, Any] = {
        "format": 1,
        "name": "p0",
        "catalogs": {"c": {"kind": "stac-api", "href": catalog, "allow_local": True}},
        "grid": {"kind": "list", "gsd_m": 10, "cells": cells},
        "time": {"start": days[0], "end": days[-1],
                 "windows": {"kind": "seasons", "calendar": "phenology", "table": name}},
        "modalities": {
            "s2": {
                "sensor": "sentinel-2-l2a", "catalog": "c", "collection": "sentinel-2-l2a", "bands": list(BANDS),
                "select": {"how": "all", "max_dates": 1},
            }
        },
        "register": {"mode": "off"},
        "split": {"method": "none"},
        "write": {"kinds": kinds},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(recipe))


def chip_name(row: int, column: int, scene: int) -> str:
    """Id of the chip of a place and a date."""
    return f"p{row:02d}_{column:02d}_{scene}"


def write_job(path: Path, edge: int, scenes: SceneSet) -> None:
    """The same chips for the peers."""
    step = CHIP * 10
    windows = [
        [chip_name(row, column, number), LEFT + column * step, TOP - (row + 1) * step, LEFT + (column + 1) * step,
         TOP - row * step, scenes.item(number, "").datetime_utc.date().isoformat()]
        for row in range(edge) for column in range(edge) for number in range(scenes.scenes)
    ]  # fmt: skip
    path.write_text(json.dumps({"bands": list(BANDS), "epsg": EPSG, "windows": windows}))
