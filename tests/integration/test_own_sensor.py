"""A sensor that is not shipped is a table beside the recipe, and no code: NAIP, built into chips and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from shards.check import check_dataset
from shards.reader import open_dataset
from tests.integration.support import Terraweft

TABLE = """
sensor: naip
title: National Agriculture Imagery Program, aerial photographs
kind: optical
unit: reflectance
scale: 0.00392156862745098
offset: 0.0
nodata: 0
nodata_rule: all
dtype: uint8
bands:
  - {name: red, common_name: red, centre_nm: 635, fwhm_nm: 60, gsd_m: 1}
  - {name: green, common_name: green, centre_nm: 555, fwhm_nm: 70, gsd_m: 1}
  - {name: blue, common_name: blue, centre_nm: 465, fwhm_nm: 70, gsd_m: 1}
  - {name: nir, common_name: nir, centre_nm: 845, fwhm_nm: 80, gsd_m: 1}
licence: usda-public-domain
attribution: "USDA Farm Production and Conservation Business Center [{year}]"
source: NAIP information sheet (USDA); four bands, eight bits; here as a share of full scale
"""

RECIPE = """
format: 1
name: naip
sensors: {naip: naip.yaml}
catalogs: {mine: {kind: static, href: "${TERRAWEFT_NAIP}", allow_local: true}}
grid:
  kind: list
  gsd_m: 1
  cells:
    - {id: west, epsg: 32615, bounds: [480000, 4650000, 480128, 4650128], region: iowa}
    - {id: east, epsg: 32615, bounds: [480128, 4650000, 480256, 4650128], region: iowa}
time: {start: 2023-06-01, end: 2023-08-31}
modalities:
  naip: {sensor: naip, catalog: mine, collection: naip, bands: [blue, nir]}
register: {mode: off}
split: {method: none}
"""


def write_catalog(folder: Path) -> np.ndarray:
    """A static catalog of one aerial photograph of four bands; its pixels."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(1, 256, (4, 150, 300), np.uint8)
    place = from_origin(479_990.0, 4_650_140.0, 1.0, 1.0)
    shape = {"height": 150, "width": 300, "count": 4, "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        folder / "m.tif", "w", driver="GTiff", dtype="uint8", crs="EPSG:32615", transform=place, **shape
    ) as file:
        file.write(pixels)
    names = ("red", "green", "blue", "nir")
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "ia_m_4209301_se_15_060_20230707",
        "collection": "naip",
        "bbox": [-93.2416, 42.0017, -93.238, 42.003],
        "geometry": None,
        "properties": {"datetime": "2023-07-07T16:00:00Z", "proj:epsg": 32615, "gsd": 1.0},
        "assets": {
            "image": {
                "href": "./m.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "eo:bands": [{"name": name, "common_name": name} for name in names],
                "proj:transform": list(place)[:6],
                "proj:shape": [150, 300],
            }
        },
        "links": [],
    }
    (folder / "item.json").write_text(json.dumps(item))
    collection = {"type": "Collection", "id": "naip", "links": [{"rel": "item", "href": "./item.json"}]}
    (folder / "collection.json").write_text(json.dumps(collection))
    root = {"type": "Catalog", "id": "root", "links": [{"rel": "child", "href": "./collection.json"}]}
    (folder / "catalog.json").write_text(json.dumps(root))
    return pixels


def test_a_table_alone_makes_a_sensor(on_cluster: Terraweft, tmp_path: Path) -> None:
    pixels = write_catalog(tmp_path)
    (tmp_path / "naip.yaml").write_text(TABLE)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    root = tmp_path / "dataset"
    catalog = str(tmp_path / "catalog.json")
    done = on_cluster("build", tmp_path / "recipe.yaml", "--out", root, TERRAWEFT_NAIP=catalog)
    assert done.returncode == 0, done.stderr
    assert check_dataset(root).problems == []
    dataset = open_dataset(root)
    table = dataset.document.modalities[0]
    assert (table.sensor, table.unit, table.gsd_m, table.nodata) == ("naip", "reflectance", 1.0, 0)
    assert [(band.name, band.centre_nm) for band in table.bands] == [("blue", 465.0), ("nir", 845.0)]
    layers = {name: dataset.sample(name).layers["naip"].data for name in dataset.chip_ids()}
    assert set(layers) == {"west", "east"}
    for name, left in (("west", 10), ("east", 138)):
        np.testing.assert_array_equal(layers[name][0], pixels[[2, 3], 12:140, left : left + 128])


def test_a_table_under_another_name_is_one_line(terraweft: Terraweft, tmp_path: Path) -> None:
    (tmp_path / "naip.yaml").write_text(TABLE.replace("sensor: naip", "sensor: other"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    done = terraweft("plan", tmp_path / "recipe.yaml", TERRAWEFT_NAIP="x")
    assert done.returncode == 2
    assert "sensors.naip is a table of 'other'" in done.stderr
    assert done.stderr.count("\n") == 1
