"""What a plan tells a person before anything is read."""

from __future__ import annotations

from contextlib import nullcontext
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
from flows.planning import _split_notes, check_names, make_plan
from labelers.voters import fusion_notes
from schemas.errors import RecipeError
from schemas.legend import Legend, LegendClass, use_legends
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


def test_splits_far_from_what_was_asked_are_told() -> None:
    one_block = _recipe(split={"block_m": 100_000})
    (note,) = _split_notes(one_block, _planned(one_block).split)
    assert "instead of 15%" in note
    assert "smaller split.block_m" in note
    none = _recipe(split={"method": "none"})
    assert _split_notes(none, _planned(none).split) == []


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


def test_legend_without_a_crosswalk_is_told_before_anything_is_read() -> None:
    labels = {
        "sources": {"osm": {"kind": "raster", "href": "x.tif", "legend": "worldcover"}},
        "fuse": {"method": "vote", "legend": "osm"},
    }
    with pytest.raises(RecipeError, match="unknown crosswalk"):
        check_names(_recipe(labels=labels))


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


def test_a_buffer_that_takes_the_chips_is_named_as_the_cause() -> None:
    wide = shapely.box(11.5, 47.6, 12.2, 47.95)
    recipe = _recipe(split={"block_m": 1920, "buffer_m": 100_000})
    cells = CellTable.concat(cells_of(recipe.grid, {"wide": wide}))
    planned = plan_cells(recipe, cells)
    (note,) = _split_notes(recipe, planned.split, len(cells) - len(planned))
    assert "train 0% instead of 70%" in note
    assert f"take a smaller split.buffer_m, which left out {len(cells) - len(planned)} of {len(cells)}" in note
    assert "block_m" not in note


def test_a_buffer_and_one_block_are_both_named() -> None:
    recipe = _recipe()
    (note,) = _split_notes(recipe, np.array(["val"] * 6 + ["train"]), dropped=3)
    assert "smaller split.buffer_m, which left out 3 of 10, and take a smaller split.block_m" in note


def test_a_rule_is_judged_by_what_it_can_make_of_the_chips() -> None:
    """Half of a checkerboard is train, whatever the fractions say, and no smaller block would change that."""
    halves = np.array(["train"] * 50 + ["val"] * 25 + ["test"] * 25)
    assert _split_notes(_recipe(split={"method": "checkerboard"}), halves) == []
    assert (
        "val 25% instead of 0%"
        in _split_notes(_recipe(split={"method": "checkerboard", "fractions": [0.5, 0.0, 0.5]}), halves)[0]
    )
    thirds = np.array(["train", "val", "test"] * 20)
    assert _split_notes(_recipe(split={"method": "kfold", "folds": 3}), thirds) == []
    assert _split_notes(_recipe(split={"method": "listed"}), np.array(["train"] * 9)) == []
    named = {"method": "groups", "by": "region", "held_out": {"test": ["north"]}, "assign": "rest_is_train"}
    assert _split_notes(_recipe(split=named), thirds) == []
    (note,) = _split_notes(_recipe(split=named), np.array(["test"] * 9), dropped=4)
    assert note == "split.buffer_m left out all 4 chips of train: take a smaller one"


def test_groups_far_from_the_fractions_are_mended_by_balance_not_by_blocks() -> None:
    grouped = {"method": "groups", "by": "region"}
    (note,) = _split_notes(_recipe(split=grouped), np.array(["train"] * 9))
    assert note.endswith("take split.assign: balanced, more groups or another seed")


def test_a_label_file_that_is_not_there_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    labels = {"sources": {"wc": {"kind": "worldcover", "href": "${TERRAWEFT_MAPS}/wc.tif"}}}
    with pytest.raises(
        RecipeError, match=r"^labels\.sources\.wc\.href: there is no file wc\.tif \(give its whole path"
    ):
        make_plan(_recipe(labels=labels), tmp_path, {"TERRAWEFT_MAPS": str(tmp_path)}, tmp_path / "plan")
    assert not (tmp_path / "plan").exists()


WORLDCOVER = {"wc": {"kind": "worldcover", "href": "a.tif", "year": 2021}}
UNKNOWN = {
    "sensor": ({"sensor": "sentinel-9"}, r"^modalities\.s2\.sensor: unknown sensor 'sentinel-9' \(known: "),
    "engine": ({"engine": "gdalwarp"}, r"^modalities\.s2\.engine: unknown engine 'gdalwarp' \(known: "),
    "store": ({"store": "db"}, r"^modalities\.s2\.store: sentinel-2-l2a has nothing that this could change \(leave it"),
    "ground range": ({"ground_range": {}}, r"^modalities\.s2\.ground_range: sentinel-2-l2a has nothing that this"),
    "ground range of what is corrected": (
        {"sensor": "sentinel-1-rtc", "ground_range": {}},
        r"^modalities\.s2\.ground_range: sentinel-1-rtc has nothing that this",
    ),
    "order of bands": ({"bands_order": "wavelength"}, r"^modalities\.s2\.bands_order: sentinel-2-l2a has nothing"),
    "mean of codes": (
        {"sensor": "landcover", "bands": [], "composite": {"how": "median"}},
        r"^modalities\.s2\.composite\.how: a median of class codes is no class \(take best, or no composite\)",
    ),
    "band": ({"bands": ["B04", "B4"]}, r"^modalities\.s2\.bands: sentinel-2-l2a has no band 'B4' \(known: B01, "),
}


def test_a_reference_that_shows_no_light_is_told_where_shifts_are_measured() -> None:
    radar = {"sensor": "sentinel-1-rtc", "catalog": "c", "collection": "s1"}
    layers = RECIPE["modalities"] | {"s1": radar}
    said = r"^register\.reference: nothing is measured against sentinel-1-rtc \(name an optical modality"
    with pytest.raises(RecipeError, match=said):
        check_names(_recipe(modalities=layers, register={"reference": "s1"}))
    check_names(_recipe(modalities=layers, register={"reference": "s1", "mode": "off"}))
    check_names(_recipe(modalities=layers, register={"reference": "s2"}))


def test_limits_between_which_no_shift_lies_are_told() -> None:
    limits = {"correct_above_m": 60.0, "max_shift_m": 60.0}
    with pytest.raises(RecipeError, match=r"^register\.correct_above_m: no shift is above 60 m and not above"):
        check_names(_recipe(register=limits | {"mode": "correct"}))
    check_names(_recipe(register=limits))
    check_names(_recipe(register={"mode": "correct", "correct_above_m": 59.0}))


@pytest.mark.parametrize("what", UNKNOWN)
def test_a_name_that_is_unknown_or_changes_nothing_is_told_with_its_place(what: str) -> None:
    change, said = UNKNOWN[what]
    with pytest.raises(RecipeError, match=said):
        check_names(_recipe(modalities={"s2": RECIPE["modalities"]["s2"] | change}))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"sources": {"mine": {"kind": "raster", "href": "a.tif", "legend": "no"}}},
            r"^labels\.sources\.mine\.legend: ",
        ),
        ({"sources": WORLDCOVER, "fuse": {"legend": "worldcover-12"}}, r"^labels\.fuse\.legend: unknown legend"),
        (
            {"sources": WORLDCOVER, "targets": {"x": {"kind": "mask", "of": "wc", "classes": ["Buildup"]}}},
            r"^labels\.targets\.x: legend worldcover has no class 'Buildup' \(it has Tree cover, ",
        ),
    ],
)
def test_a_label_that_is_unknown_is_told_before_anything_is_read(labels: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        check_names(_recipe(labels=labels))


MANY = {"kind": "raster", "href": "a.tif", "legend": "many"}
MAIN = {"x": {"kind": "dominant", "of": "mine"}}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"sources": {"mine": MANY}}, ""),
        ({"sources": {"mine": MANY}, "targets": MAIN}, r"^labels\.targets\.x: legend many has 300 classes"),
        (
            {"sources": {"mine": MANY}, "fuse": {"legend": "many"}},
            r"^labels\.fuse\.legend: legend many has 300 classes",
        ),
        ({"sources": {f"wc{i}": WORLDCOVER["wc"] for i in range(14)}, "fuse": {}}, "14 label sources"),
    ],
)
def test_more_than_labels_can_hold_is_told_before_anything_is_read(labels: dict[str, object], said: str) -> None:
    """Codes of a product may be many; an index of a fused label or a target is one byte."""
    classes = tuple(LegendClass(code=i + 1, name=f"c{i}", colour=f"#{i:06x}") for i in range(300))
    use_legends({"many": Legend(name="many", title="many", version="1", nodata=(0,), classes=classes, source="x")})
    with pytest.raises(RecipeError, match=said) if said else nullcontext():
        check_names(_recipe(labels=labels))


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


def test_a_composite_by_ndvi_of_bands_that_no_layer_has_is_refused(tmp_path: Path) -> None:
    """Else every chip would fail when it is read."""
    item = sentinel2_item("a", 0, 12, "2021-06-01")
    item["assets"]["B8A"] = item["assets"]["B04"] | {"eo:bands": [{"name": "B8A", "common_name": "nir08"}]}
    write_catalog(tmp_path, [item])
    recipe, here = recipe_data(), {"TERRAWEFT_CATALOG": str(tmp_path)}
    recipe["modalities"]["s2"]["composite"] = {"how": "best", "best_by": "ndvi"}
    with pytest.raises(RecipeError, match=r"^modalities\.s2\.composite\.best_by: no layer has red and near infrared"):
        make_plan(Recipe.model_validate(recipe), tmp_path, here, tmp_path / "plan")
    recipe["modalities"]["s2"]["bands"] = ["B04", "B8A"]
    assert len(make_plan(Recipe.model_validate(recipe), tmp_path, here, tmp_path / "other").layers) == 1


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
