"""A whole build over the antimeridian: elevation of two tiles in degrees and labels of one file across it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio
import yaml
from pyproj import Transformer
from rasterio.transform import from_origin

from flows.request import BuildRequest
from flows.stages import build_plainly
from schemas.recipe_file import load_recipe
from shards.check import check_dataset
from shards.reader import open_dataset
from shards.storage import FolderStorage

PIXEL = 1 / 600
HEIGHTS = {"E179": (179.0, 111.0), "W180": (-180.0, 222.0)}
"""Tile -> left edge and the metres that it holds throughout."""
CROP, WATER = 40, 80
RECIPE = {
    "format": 1,
    "name": "fiji",
    "catalogs": {"tiles": {"kind": "static", "href": "${TERRAWEFT_FIJI}/catalog.json", "allow_local": True}},
    "regions": [{"name": "taveuni", "bbox": [179.97, -16.9, -179.97, -16.84]}],
    "grid": {"kind": "utm", "chip_m": 960, "gsd_m": 30},
    "time": {"start": "2020-01-01", "end": "2022-12-31"},
    "modalities": {"dem": {"sensor": "dem", "catalog": "tiles", "collection": "dem", "resampling": "nearest"}},
    "labels": {
        "sources": {
            "cover": {"kind": "raster", "href": "${TERRAWEFT_FIJI}/cover.tif", "legend": "worldcover", "year": 2021}
        }
    },
    "register": {"mode": "off"},
    "split": {"method": "none"},
    "write": {"kinds": ["webdataset"]},
}


def write_raster(path: Path, left: float, values: np.ndarray) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, count=1, height=600, width=600, crs="EPSG:4326",
        transform=from_origin(left, -16.0, PIXEL, PIXEL), tiled=True, blockxsize=128, blockysize=128,
    ) as file:  # fmt: skip
        file.write(values, 1)


def write_catalog(folder: Path) -> None:
    """The tiles of elevation, one on each side, and a map that lies across."""
    links = []
    for name, (left, metres) in HEIGHTS.items():
        write_raster(folder / f"{name}.tif", left, np.full((600, 600), metres, np.float32))
        item = {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "dem", "geometry": None, "links": [],
            "bbox": [left, -17.0, left + 1.0, -16.0],
            "properties": {"datetime": "2021-04-22T00:00:00Z", "proj:epsg": 4326},
            "assets": {"data": {"href": f"./{name}.tif", "roles": ["data"], "proj:shape": [600, 600],
                                "proj:transform": [PIXEL, 0.0, left, 0.0, -PIXEL, -16.0]}},
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(item))
        links.append({"rel": "item", "href": f"./{name}.json"})
    (folder / "collection.json").write_text(json.dumps({"type": "Collection", "id": "dem", "links": links}))
    root = {"type": "Catalog", "id": "root", "links": [{"rel": "child", "href": "./collection.json"}]}
    (folder / "catalog.json").write_text(json.dumps(root))
    cover = np.full((600, 600), CROP, np.uint8)
    cover[:, 300:] = WATER  # the file begins at 179.5
    write_raster(folder / "cover.tif", 179.5, cover)


def test_chips_on_both_sides_and_across_hold_what_lies_there(tmp_path: Path) -> None:
    write_catalog(tmp_path)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    recipe = load_recipe(tmp_path / "recipe.yaml")
    root = tmp_path / "dataset"
    done = build_plainly(
        BuildRequest(recipe, tmp_path, FolderStorage(root), root / "work", variables={"TERRAWEFT_FIJI": str(tmp_path)})
    )
    dataset = open_dataset(str(root))
    assert done.counts["kept"] == done.counts["planned"] == len(dataset.chip_ids()) >= 8
    assert check_dataset(root).problems == []
    sides, zones = set(), set()
    for chip_id in dataset.chip_ids():
        sample = dataset.sample(chip_id)
        layer, zone = sample.layers["dem"], int(sample.row["epsg"])
        places = np.meshgrid(layer.georef.x_centres(), layer.georef.y_centres())
        longitude = Transformer.from_crs(zone, 4326, always_xy=True).transform(*places)[0]
        east = longitude > 0
        np.testing.assert_array_equal(layer.data[0, 0], np.where(east, 111.0, 222.0))
        np.testing.assert_array_equal(sample.labels["cover"], np.where(east, CROP, WATER))
        assert (layer.valid == 1).all()
        sides |= {"across" if 0 < east.mean() < 1 else "beside"}
        zones.add(zone)
    assert sides == {"across", "beside"}
    assert zones == {32660 + 100, 32601 + 100}
