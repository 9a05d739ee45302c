"""What a plan tells a person before anything is read."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from chips.cell_table import CellTable
from chips.chip_size import check_chip_size
from chips.grid import cells_of
from chips.grid_lattice import lattice_of
from chips.plan import PlannedCells, plan_cells
from chips.search_boxes import search_boxes
from flows.catalogs import Catalogs
from flows.plan_checks import check_names
from flows.planning import make_plan
from labelers.voters import fusion_notes
from schemas.errors import RecipeError
from schemas.recipe import Labels, Modality, Recipe
from schemas.recipe_file import load_recipe
from schemas.sensor import load_sensor
from tests.unit.flows.catalog_made_up import class_item, recipe_data, sentinel2_item, write_catalog

RECIPE: dict[str, Any] = {
    "format": 1,
    "name": "x",
    "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
    "regions": [{"name": "north", "bbox": [11.95, 47.80, 12.05, 47.85]}],
    "grid": {"chip_m": 960, "tile_chips": 3},
    "time": {"start": "2021-01-01", "end": "2021-12-31"},
    "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s"}},
}
NORTH = shapely.box(11.95, 47.80, 12.05, 47.85)


def _recipe(**changes: object) -> Recipe:
    return Recipe.model_validate({**RECIPE, **changes})


def _planned(recipe: Recipe, **regions: shapely.Geometry) -> PlannedCells:
    return plan_cells(recipe, CellTable.concat(cells_of(recipe.grid, {"north": NORTH, **regions})))


def test_search_boxes_hold_every_chip_and_part_far_places() -> None:
    far = shapely.box(100.0, 10.0, 100.05, 10.05)
    cells = _planned(_recipe(), far=far).cells
    boxes = shapely.box(*np.array(search_boxes(cells)).T)
    assert len(boxes) == 2
    assert all(area < 1 for area in shapely.area(boxes))
    assert shapely.covers(boxes[:, None], cells.footprints()[None, :]).any(axis=0).all()


def test_a_large_region_is_searched_in_few_boxes() -> None:
    recipe = _recipe(grid={"chip_m": 19_200, "tile_chips": 3})
    wide = shapely.union(shapely.box(0.0, 40.0, 20.0, 44.0), shapely.box(0.0, 40.0, 4.0, 55.0))
    cells = _planned(recipe, wide=wide).cells
    boxes = shapely.box(*np.array(search_boxes(cells)).T)
    assert 1 < len(boxes) <= 6
    assert shapely.covers(boxes[:, None], cells.footprints()[None, :]).any(axis=0).all()


def _gsds_on_edges(modality: Modality, common_m: float) -> list[float]:
    """Pixel sizes of a modality's layers that share edges with the chip, by the table of its sensor."""
    profile = load_sensor(modality.sensor)
    if modality.grid == "common":
        return [common_m]
    if modality.grid == "native" and profile.lattice_phase_m != 0.0:
        return []
    wanted = modality.bands or [band.name for band in profile.bands if band.unasked]
    return [profile.band(name).gsd_m for name in wanted]


RECIPES = sorted(entry.name for entry in resources.files("recipes").iterdir() if entry.name.endswith(".yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_the_chip_of_a_shipped_recipe_fits_its_bands(name: str) -> None:
    recipe = load_recipe(Path(str(resources.files("recipes") / name)))
    check_names(recipe)
    if recipe.grid.chip_m is None:
        return
    gsds = [gsd for modality in recipe.modalities.values() for gsd in _gsds_on_edges(modality, recipe.grid.gsd_m)]
    check_chip_size(recipe.grid.chip_m, [*gsds, recipe.grid.gsd_m], lattice_of(recipe.grid))


@pytest.mark.parametrize("value", ["/data/stac", "htp://stac.example.org", "stac.example.org"])
def test_an_address_that_is_none_names_catalog_key_and_mend(value: str) -> None:
    recipe = _recipe(catalogs={"c": {"kind": "stac-api", "href": "${TERRAWEFT_A}"}})
    with pytest.raises(RecipeError) as caught:
        Catalogs(recipe, {"TERRAWEFT_A": value})["c"]
    said = f"catalogs.c.href: {value!r} is no address of a STAC API (export TERRAWEFT_A=https://...)"
    assert caught.value.line() == said


@pytest.mark.parametrize(("asked", "said"), [({"year": 2021}, " of 2021"), ({}, "")])
def test_a_label_product_that_is_not_here_is_noted_with_the_year_that_was_asked(
    tmp_path: Path, asked: dict[str, int], said: str
) -> None:
    here = class_item(tmp_path, "old", np.full((4, 12), 40, np.uint8), 0, year=2020)
    far = {**here, "bbox": [0.0, 0.0, 1.0, 1.0], "geometry": shapely.geometry.mapping(shapely.box(0, 0, 1, 1))}
    write_catalog(tmp_path, [sentinel2_item("a", 0, 12, "2021-06-01"), here if asked else far])
    source = {"kind": "worldcover", "catalog": "c", "collection": "esa-worldcover", **asked}
    recipe = Recipe.model_validate(recipe_data(labels={"sources": {"wc": source}}))
    plan = make_plan(recipe, tmp_path, {"TERRAWEFT_CATALOG": str(tmp_path)}, tmp_path / "plan")
    assert f"wc: no item of esa-worldcover{said} lies here; the layer will hold no data" in plan.notes


WORLDCOVER = {"wc": {"kind": "worldcover", "href": "a.tif", "year": 2021}}


def test_a_fusion_without_a_land_cover_map_is_told(tmp_path: Path) -> None:
    write_catalog(tmp_path, [sentinel2_item("a", 0, 12, "2021-06-01")])
    (tmp_path / "map.osm").write_text("<osm version='0.6'/>")
    here = {"TERRAWEFT_CATALOG": str(tmp_path)}
    sources = {"osm": {"kind": "osm", "href": "${TERRAWEFT_CATALOG}/map.osm"}}
    recipe = Recipe.model_validate(recipe_data(labels={"sources": sources, "fuse": {}}))
    notes = make_plan(recipe, tmp_path, here, tmp_path / "plan").notes
    assert [note for note in notes if "no land cover map beside osm" in note and "(osm 0.94; " in note]
    beside = {"sources": {**sources, **WORLDCOVER}, "fuse": {}}
    for labels in ({"sources": sources, "fuse": {"method": "vote"}}, beside):
        assert fusion_notes(Labels.model_validate(labels)) == []


UNMET = {
    "platforms": (["S2A"], "sentinel-2a"),
    "orbit_state": ("ascending", "nothing"),
    "relative_orbits": ([22], "nothing"),
    "min_sun_elevation_deg": (20, "nothing"),
    "incidence_deg": ([30, 40], "nothing"),
}


@pytest.mark.parametrize("key", UNMET)
def test_a_wish_that_no_item_meets_is_refused_with_what_they_say(tmp_path: Path, key: str) -> None:
    """Else a build would read the labels of every chip, and keep none."""
    asked, said = UNMET[key]
    write_catalog(tmp_path, [sentinel2_item(name, 0, 12, f"2021-06-0{day}") for day, name in enumerate("ab", 1)])
    recipe, wish = recipe_data(), f"none of 2 items is as asked for: of {key} they say {said}"
    recipe["modalities"]["s2"][key] = asked
    with pytest.raises(RecipeError) as caught:
        make_plan(Recipe.model_validate(recipe), tmp_path, {"TERRAWEFT_CATALOG": str(tmp_path)}, tmp_path / "plan")
    assert caught.value.line() == f"modalities.s2.{key}: {wish} (ask for what they have, or leave it out)"
    recipe["modalities"]["s2"]["optional"] = True
    plan = make_plan(Recipe.model_validate(recipe), tmp_path, {"TERRAWEFT_CATALOG": str(tmp_path)}, tmp_path / "plan")
    assert f"s2: {wish}" in plan.notes


def test_the_bands_of_a_file_that_nobody_asked_for_are_read_all_the_same(tmp_path: Path) -> None:
    read = []
    for name, more in (("one", 0), ("many", 3)):
        item = sentinel2_item("a", 0, 12, "2021-06-01")
        item["assets"]["B04"]["eo:bands"] += [{"name": f"x{number}"} for number in range(more)]
        (tmp_path / name).mkdir()
        write_catalog(tmp_path / name, [item])
        here = {"TERRAWEFT_CATALOG": str(tmp_path / name)}
        plan = make_plan(Recipe.model_validate(recipe_data()), tmp_path / name, here, tmp_path / name / "plan")
        read.append(plan.estimate.read_bytes)
    assert read[1] == 4 * read[0] > 0


def test_files_that_their_reader_pays_for_are_told_with_the_credential(tmp_path: Path) -> None:
    """Plans said what texts cost, and nothing of a bucket that bills each request."""
    item = sentinel2_item("a", 0, 12, "2021-06-01")
    for key, asset in item["assets"].items():
        asset["href"] = f"s3://paid-scenes/{key}.tif"
    write_catalog(tmp_path, [item])
    recipe = recipe_data()
    name = next(iter(recipe["catalogs"]))
    keys = {"kind": "s3", "env": ["PAID_KEY", "PAID_SECRET"], "hosts": "paid-scenes"}
    for requester_pays in (True, False):
        recipe["credentials"] = {"bucket": keys | {"requester_pays": requester_pays}}
        recipe["catalogs"][name]["credentials"] = "bucket"
        here = {"TERRAWEFT_CATALOG": str(tmp_path)}
        notes = make_plan(Recipe.model_validate(recipe), tmp_path, here, tmp_path / "plan").notes
        told = [note for note in notes if note.startswith("s2: who reads its files pays for them (credentials.bucket")]
        assert len(told) == requester_pays


def test_texts_on_a_grid_whose_metres_are_others_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    cell = {"id": "a", "epsg": 3857, "bounds": [2_782_000, 8_437_000, 2_782_960, 8_437_960]}
    labels = {"sources": {"wc": {"kind": "worldcover", "catalog": "c", "collection": "w"}}}
    grid = {"kind": "list", "cells": [cell]}
    recipe = _recipe(grid=grid, regions=[], labels=labels, captions={"backend": "template"})
    with pytest.raises(RecipeError, match=r"^grid\.cells: a metre of EPSG:3857 at cell 'a' is 0\.50 m on the ground"):
        make_plan(recipe, tmp_path, {}, tmp_path / "plan")
