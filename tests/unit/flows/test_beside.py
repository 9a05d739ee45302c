"""Labels in the figures of a plan: rasters by window, files whole, queries by tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from chips.estimate import BLOCK_PX, GDAL_OPENS, Beside
from flows.planning import make_plan
from schemas.recipe import Recipe
from tests.unit.flows.catalog_made_up import (
    BOTTOM,
    COLUMNS,
    EDGE_M,
    LEFT,
    ROWS,
    class_item,
    lonlat_box,
    recipe_data,
    sentinel2_item,
    write_catalog,
)

OSM = {"kind": "osm", "catalog": "c", "collection": "osm"}
PBF = "https://files.example.org/north.osm.pbf"


def _extract(name: str, first: int, stop: int, **stated: Any) -> dict[str, Any]:
    """An extract over columns of chips."""
    box = lonlat_box(LEFT + first * EDGE_M, BOTTOM, LEFT + stop * EDGE_M, BOTTOM + ROWS * EDGE_M)
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "osm", "links": [],
        "geometry": shapely.geometry.mapping(box), "bbox": list(box.bounds),
        "properties": {"datetime": "2021-07-01T00:00:00Z"},
        "assets": {"pbf": {"href": f"https://files.example.org/{name}.osm.pbf", "roles": ["data"], **stated}},
    }  # fmt: skip


def _beside(folder: Path, source: dict[str, Any], *items: dict[str, Any]) -> tuple[Beside, tuple[str, ...], int]:
    """Of a plan with one label source: its figures, its notes, its tiles."""
    write_catalog(folder, [sentinel2_item("s", 0, COLUMNS, "2021-06-01"), *items])
    recipe = Recipe.model_validate(recipe_data(labels={"sources": {"map": source}}))
    plan = make_plan(recipe, folder, {"TERRAWEFT_CATALOG": str(folder)}, folder / "plan")
    return plan.estimate.beside, plan.notes, plan.estimate.tiles


def test_a_raster_of_a_catalog_is_read_in_windows_as_its_item_or_its_product_says(tmp_path: Path) -> None:
    item = class_item(tmp_path, "w", np.full((ROWS, COLUMNS), 10, np.uint8), 0)
    item["assets"]["map"]["href"] = "https://files.example.org/w.tif"
    source = {"catalog": "c", "collection": item["collection"], "asset": "map", "legend": "worldcover"}
    found, notes, _ = _beside(tmp_path, {"kind": "raster", **source}, item)
    assert found == Beside(unknown=("map",))
    assert any(note.startswith("how much of map is read") for note in notes)
    product, _, tiles = _beside(tmp_path, {"kind": "worldcover", **source}, item)
    assert product.unknown == ()
    assert product.read_bytes >= tiles * BLOCK_PX**2, "nobody says where the file ends"
    lattice = {"proj:transform": [120.0, 0.0, LEFT, 0.0, -120.0, BOTTOM], "proj:shape": [ROWS * 8, COLUMNS * 8]}
    item["assets"]["map"] |= lattice
    stated, _, _ = _beside(tmp_path, {"kind": "raster", **source}, item)
    assert (stated.read_bytes, stated.unknown) == (ROWS * 8 * COLUMNS * 8, ())
    assert stated.requests > tiles


def test_a_raster_of_this_machine_says_its_own_lattice(tmp_path: Path) -> None:
    class_item(tmp_path, "w", np.full((ROWS, COLUMNS), 10, np.uint8), 0)
    found, _, tiles = _beside(tmp_path, {"kind": "raster", "href": str(tmp_path / "w.tif"), "legend": "worldcover"})
    assert found.read_bytes == ROWS * 8 * COLUMNS * 8
    assert found.requests > tiles
    assert found.unknown == ()


def test_extracts_are_whole_files_once_each_and_an_unknown_size_is_told(tmp_path: Path) -> None:
    known, unknown = (
        _extract("west", 0, 6, **{"file:size": 7_000}),
        _extract("east", 6, COLUMNS, **{"file:size": "big"}),
    )
    found, notes, _ = _beside(tmp_path, OSM, known, unknown)
    assert (found.files, found.file_bytes, found.unknown) == (2, 7_000, ("map",))
    assert any(note.startswith("how much of map is read") for note in notes)
    found, notes, _ = _beside(tmp_path, OSM, known)
    assert (found.files, found.file_bytes, found.unknown) == (1, 7_000, ())
    assert not any("nobody says" in note for note in notes)


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ({"kind": "osm", "href": PBF}, 1),
        ({"kind": "corine", "href": "https://files.example.org/clc.gpkg", "column": "CODE_18"}, 1),
        ({"kind": "osm", "href": "https://overpass.example.org/api", "by": "area"}, 0),
    ],
)
def test_files_by_address_are_fetched_whole_and_servers_asked_by_tile(
    tmp_path: Path, source: dict[str, Any], files: int
) -> None:
    found, _, tiles = _beside(tmp_path, source)
    assert found.files == files
    assert found.unknown == ("map",) * files
    assert found.queries == (0 if files else tiles)
    assert tiles > 1


def test_a_vector_file_of_this_machine_costs_no_fetching(tmp_path: Path) -> None:
    path = tmp_path / "clc.gpkg"
    geopandas.GeoDataFrame({"c": [111]}, geometry=[shapely.box(11, 49, 12, 50)], crs=4326).to_file(path)
    found, notes, _ = _beside(tmp_path, {"kind": "corine", "href": str(path), "column": "c"})
    assert found == Beside()
    assert not any("nobody says" in note for note in notes)


def _radar() -> dict[str, Any]:
    """A ground-range scene over all chips."""
    box = lonlat_box(LEFT - 5000, BOTTOM - 5000, LEFT + COLUMNS * EDGE_M + 5000, BOTTOM + ROWS * EDGE_M + 5000)
    root = "https://files.example.org/s1"
    documents = {f"schema-{kind}-vv": {"href": f"{root}/{kind}.xml"} for kind in ("product", "calibration", "noise")}
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": "S1A_IW_GRDH_1SDV_20210601T052614", "collection": "grd",
        "links": [], "geometry": shapely.geometry.mapping(box), "bbox": list(box.bounds),
        "properties": {
            "datetime": "2021-06-01T05:26:14Z", "platform": "sentinel-1a", "sat:orbit_state": "descending",
            "sat:relative_orbit": 168, "sar:instrument_mode": "IW", "sar:product_type": "GRD",
        },
        "assets": {"vv": {"href": f"{root}/measurement/vv.tiff", "roles": ["data"]}, **documents},
    }  # fmt: skip


def _elevation(**stated: Any) -> dict[str, Any]:
    """A tile of elevation over the western half."""
    item = _extract("west", 0, COLUMNS // 2)
    item["properties"] |= stated
    return item | {
        "collection": "dem",
        "assets": {"data": {"href": "https://files.example.org/d.tif", "roles": ["data"]}},
    }


def _of_radar(folder: Path, *items: dict[str, Any]) -> tuple[Beside, int]:
    """Of a plan of radar corrected by elevation: its figures, its tiles."""
    write_catalog(folder, [_radar(), *items])
    terrain = {"catalog": "c", "collection": "dem", "geoid": "ellipsoid", "missing": "sea_level"}
    radar = {"sensor": "sentinel-1-grd", "catalog": "c", "collection": "grd", "bands": ["vv"]}
    modalities = {"s1": {**radar, "ground_range": {"terrain": terrain}}}
    recipe = Recipe.model_validate(recipe_data(modalities=modalities))
    plan = make_plan(recipe, folder, {"TERRAWEFT_CATALOG": str(folder)}, folder / "plan")
    return plan.estimate.beside, plan.estimate.tiles


def test_elevation_is_read_where_it_lies_and_annotation_is_of_unknown_size(tmp_path: Path) -> None:
    found, tiles = _of_radar(tmp_path, _elevation(gsd=30))
    assert found.unknown == ("s1's annotation",)
    assert 4 * BLOCK_PX**2 <= found.read_bytes < tiles * 4 * 2 * BLOCK_PX**2
    assert found.requests < GDAL_OPENS + 2 * tiles, "half of the tiles lie beyond it"
    unsaid, _ = _of_radar(tmp_path, _elevation())
    assert unsaid == Beside(unknown=("s1.terrain", "s1's annotation"))
