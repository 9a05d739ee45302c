"""A small static catalog in a folder: Sentinel-2 items whose files nobody reads, and class rasters that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import Affine

EPSG = 32632


def recipe_data(**changes: Any) -> dict[str, Any]:
    """A recipe over 12 by 4 chips of 960 m, with the catalog beside it."""
    return {
        "format": 1,
        "name": "x",
        "catalogs": {"c": {"kind": "static", "href": "${TERRAWEFT_CATALOG}/catalog.json", "allow_local": True}},
        "regions": [{"name": "north", "geojson": "region.geojson"}],
        "grid": {"chip_m": 960, "tile_chips": 3},
        "time": {"start": "2021-01-01", "end": "2021-12-31"},
        "modalities": {
            "s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "sentinel-2-l2a", "bands": ["B04"]}
        },
        **changes,
    }


COLUMNS, ROWS, EDGE_M = 12, 4, 960.0
LEFT, BOTTOM = 600 * EDGE_M, 5500 * EDGE_M


def lonlat_box(left: float, bottom: float, right: float, top: float) -> Any:
    """The EPSG:4326 outline of a square of the zone."""
    back = Transformer.from_crs(EPSG, 4326, always_xy=True)
    square = shapely.segmentize(shapely.box(left, bottom, right, top), 1000.0)
    return shapely.transform(square, lambda xy: np.column_stack(back.transform(*xy.T)))


def sentinel2_item(name: str, first: int, stop: int, day: str) -> dict[str, Any]:
    """An item over the columns of chips from ``first`` to before ``stop``, and a bit less."""
    left, right = LEFT + first * EDGE_M + 120, LEFT + stop * EDGE_M - 120
    top = BOTTOM + ROWS * EDGE_M
    place = {
        "proj:transform": [10.0, 0.0, left, 0.0, -10.0, top],
        "proj:shape": [int(ROWS * EDGE_M / 10), int((right - left) / 10)],
    }
    bands = [{"name": "B04", "common_name": "red", "center_wavelength": 0.665}]
    return _item(
        name, "sentinel-2-l2a", lonlat_box(left, BOTTOM, right, top),
        {
            "datetime": f"{day}T10:15:00Z", "platform": "Sentinel-2A", "s2:mgrs_tile": "32UNU",
            "s2:processing_baseline": "05.00", "s2:datatake_id": f"GS2A_{day}_{first:06d}_N05.00",
        },
        {"B04": {"href": f"./{name}.tif", "roles": ["data"], "gsd": 10.0, "eo:bands": bands, **place}},
    )  # fmt: skip


def class_item(folder: Path, name: str, codes: NDArray[np.uint8], first: int, year: int = 2021) -> dict[str, Any]:
    """A raster of one code per chip from column ``first`` on, 8 pixels to a chip, written with its overviews."""
    left, top = LEFT + first * EDGE_M, BOTTOM + ROWS * EDGE_M
    fine = np.kron(codes, np.ones((8, 8), np.uint8))
    transform = Affine(EDGE_M / 8, 0.0, left, 0.0, -EDGE_M / 8, top)
    rows, columns = fine.shape
    with rasterio.open(
        folder / f"{name}.tif", "w", driver="GTiff", width=columns, height=rows, count=1, dtype="uint8", nodata=0,
        crs=EPSG, transform=transform,
    ) as file:  # fmt: skip
        file.write(fine, 1)
    with rasterio.open(folder / f"{name}.tif", "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.mode)
    box = lonlat_box(left, top - codes.shape[0] * EDGE_M, left + codes.shape[1] * EDGE_M, top)
    times = {"datetime": None, "start_datetime": f"{year}-01-01T00:00:00Z", "end_datetime": f"{year}-12-31T23:59:59Z"}
    return _item(
        name, "esa-worldcover", box, {**times, "license": "CC-BY-4.0"},
        {"map": {"href": f"./{name}.tif", "roles": ["data"]}},
    )  # fmt: skip


def _item(name: str, collection: str, box: Any, properties: Mapping[str, Any], assets: Mapping[str, Any]) -> Any:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": json.loads(shapely.to_geojson(box)),
        "bbox": list(box.bounds),
        "properties": {"proj:code": f"EPSG:{EPSG}", **properties},
        "links": [],
        "assets": dict(assets),
    }


def write_catalog(folder: Path, items: Sequence[dict[str, Any]]) -> None:
    """The catalog's documents and the recipe's region."""
    collections = sorted({item["collection"] for item in items})
    root = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "c"}
    children = [{"rel": "child", "href": f"./{name}.json"} for name in collections]
    (folder / "catalog.json").write_text(json.dumps({**root, "links": children}))
    for name in collections:
        inside = [item for item in items if item["collection"] == name]
        links = [{"rel": "item", "href": f"./{item['id']}.json"} for item in inside]
        extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
        document = {**root, "type": "Collection", "id": name, "license": "other", "extent": extent, "links": links}
        (folder / f"{name}.json").write_text(json.dumps(document))
        for item in inside:
            (folder / f"{item['id']}.json").write_text(json.dumps(item))
    region = lonlat_box(LEFT - 5, BOTTOM - 5, LEFT + COLUMNS * EDGE_M + 5, BOTTOM + ROWS * EDGE_M + 5)
    (folder / "region.geojson").write_text(shapely.to_geojson(region))
