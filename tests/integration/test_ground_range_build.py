"""Radar in ground range, from recipe to file: point targets lie at their pixels, what is approximate says so.

The product is drawn around the annotation of a real one (`tests.unit.sources.grd_made_up`): where its targets lie on
the ground is known by a second solver.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from shards.check import check_dataset
from shards.reader import open_dataset
from tests.integration.support import Terraweft
from tests.unit.sources.grd_made_up import BACKGROUND, PRODUCT, Product, make_product

RECIPE = """
format: 1
name: ground-range
sensors:
  photo:
    sensor: photo
    title: a photograph for the radar to be compared with
    kind: optical
    unit: reflectance
    scale: 0.004
    offset: 0.0
    nodata: 0
    dtype: uint8
    bands: [{name: red, common_name: red, centre_nm: 660, fwhm_nm: 60, gsd_m: 10}]
    licence: CC0-1.0
    attribution: nobody
    source: none
catalogs: {mine: {kind: static, href: "${TERRAWEFT_GRD}", allow_local: true}}
grid:
  kind: list
  gsd_m: 10
  cells:
    - {id: plain, epsg: 32633, bounds: [330000, 4648720, 331280, 4650000], region: apennines}
    - {id: hill, epsg: 32633, bounds: [331280, 4647720, 332560, 4649000], region: apennines}
time: {start: 2021-12-01, end: 2021-12-31}
modalities:
  terrain:
    sensor: sentinel-1-grd
    catalog: mine
    collection: grd
    bands: [vv]
    resampling: nearest
    ground_range: {terrain: {href: "${TERRAWEFT_HEIGHTS}", geoid: ellipsoid}}
  flat: {sensor: sentinel-1-grd, catalog: mine, collection: grd, bands: [vv], resampling: nearest, ground_range: {}}
  photo: {sensor: photo, catalog: mine, collection: photo}
register: {mode: measure, reference: photo}
split: {method: none}
"""
TARGETS = {"plain": [(27, 34)], "hill": [(57, 56), (47, 51)]}
"""Rows and columns of the bright points, of the product's places in the cells above."""


def write_photograph(folder: Path) -> dict[str, Any]:
    """An item of fields over both cells."""
    fields = np.random.default_rng(5).integers(40, 200, (24, 26)).astype(np.uint8)
    pixels = np.repeat(np.repeat(fields, 10, 0), 10, 1)
    place = from_origin(330_000.0, 4_650_000.0, 10.0, 10.0)
    shape = {"height": pixels.shape[0], "width": pixels.shape[1], "tiled": True, "blockxsize": 128, "blockysize": 128}
    with rasterio.open(
        folder / "photo.tif", "w", driver="GTiff", dtype="uint8", count=1, crs="EPSG:32633", transform=place, **shape
    ) as file:
        file.write(pixels, 1)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "photo",
        "collection": "photo",
        "bbox": [12.948, 41.962, 12.98, 41.985],
        "geometry": None,
        "properties": {"datetime": "2021-12-24T10:00:00Z", "proj:epsg": 32633, "gsd": 10.0},
        "assets": {
            "image": {
                "href": str(folder / "photo.tif"),
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "eo:bands": [{"name": "red", "common_name": "red"}],
                "proj:transform": list(place)[:6],
                "proj:shape": list(pixels.shape),
            }
        },
        "links": [],
    }


def write_catalog(product: Product, folder: Path) -> Path:
    """A static catalog of a photograph and of the product, with assets as Earth Search names them."""
    document = {"type": "application/xml", "roles": ["metadata"]}
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": PRODUCT.removesuffix(".SAFE"),
        "collection": "grd",
        "bbox": [11.9, 40.9, 15.3, 42.8],
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[15.3, 42.4], [14.9, 40.9], [11.9, 41.3], [12.2, 42.8], [15.3, 42.4]]],
        },
        "properties": {
            "datetime": "2021-12-23T05:11:34Z",
            "platform": "sentinel-1b",
            "sar:instrument_mode": "IW",
            "sar:product_type": "GRD",
            "sar:polarizations": ["VV", "VH"],
            "sat:orbit_state": "descending",
        },
        "assets": {
            "vv": {
                "href": str(product.image),
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "raster:bands": [{"data_type": "uint16"}],
            },
            "schema-product-vv": {"href": str(product.annotation), **document},
            "schema-calibration-vv": {"href": str(product.calibration), **document},
            "schema-noise-vv": {"href": str(product.noise), **document},
        },
        "links": [],
    }
    for name, one in (("grd", item), ("photo", write_photograph(folder))):
        (folder / f"{name}.json").write_text(json.dumps(one))
        collection = {"type": "Collection", "id": name, "links": [{"rel": "item", "href": f"./{name}.json"}]}
        (folder / f"collection_{name}.json").write_text(json.dumps(collection))
    links = [{"rel": "child", "href": f"./collection_{name}.json"} for name in ("grd", "photo")]
    (folder / "catalog.json").write_text(json.dumps({"type": "Catalog", "id": "root", "links": links}))
    return folder / "catalog.json"


@pytest.mark.realdata
def test_chips_of_ground_range_radar(on_cluster: Terraweft, realdata: Path, tmp_path: Path) -> None:
    product = make_product(realdata / "s1-safe-metadata" / PRODUCT, tmp_path)
    catalog = write_catalog(product, tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    root = tmp_path / "dataset"
    done = on_cluster(
        "build", tmp_path / "recipe.yaml", "--out", root,
        TERRAWEFT_GRD=str(catalog), TERRAWEFT_HEIGHTS=str(product.heights),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert check_dataset(root).problems == []
    dataset = open_dataset(root)
    assert set(dataset.chip_ids()) == set(TARGETS)
    rows = dataset.chips.set_index("chip_id")
    for name, places in TARGETS.items():
        sample = dataset.sample(name)
        power = sample.layers["terrain"].data[0, 0].astype(np.float64)
        bright = np.argwhere(power > 50 * BACKGROUND)
        for place in places:
            assert np.abs(bright - place).max(axis=1).min() <= 1, (name, place)
        ground = power[(power > 0) & (power < 10 * BACKGROUND)]
        assert ground.size > 0.98 * power.size
        assert ground.mean() == pytest.approx(BACKGROUND, rel=0.02)
        row = rows.loc[name]
        assert list(row["photo.registered"]) == ["measured"]
        assert next(iter(row["terrain.registered"])) in ("measured", "unreliable")
        assert list(row["flat.registered"]) == ["not_applicable"], "tie points alone: a shift would mean nothing"
        assert "range-Doppler" in row["terrain.radiometry"][0]
        assert "approximate" in row["flat.radiometry"][0]
