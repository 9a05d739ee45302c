"""Chips over the antimeridian and at the ends of the UTM zones: planned, and read from a scene of the next zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from pyproj import Transformer

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.plan import chip_specs, plan_cells
from schemas.chip import Valid
from schemas.georef import GeoRef
from schemas.recipe import Recipe
from schemas.scene import SceneRef
from tests.unit.sources.scenes_made_up import item, reading, recipe

SIZE_PX = 24


@pytest.mark.parametrize(
    ("chip_epsg", "scene_epsg", "longitude", "latitude"),
    [
        (32760, 32701, 180.0, -17.0),
        (32701, 32760, -179.9995, -17.0),
        (32660, 32601, 180.0, 66.5),
        (32633, 32634, 18.0, 83.95),
        (32760, 32701, 180.0, -79.9),
    ],
)
def test_a_chip_at_the_edge_of_the_lattice_holds_the_scenes_pixels(
    make_raster: Callable[..., SceneRef], chip_epsg: int, scene_epsg: int, longitude: float, latitude: float
) -> None:
    middle = Transformer.from_crs(4326, chip_epsg, always_xy=True).transform(longitude, latitude)
    left, top = (round(value / 10) * 10.0 for value in (middle[0] - 120, middle[1] + 120))
    bounds = [left, top - 10 * SIZE_PX, left + 10 * SIZE_PX, top]
    rules = recipe(bands=["B02"], resampling="nearest").model_dump(mode="json", by_alias=True)
    rules["grid"] = {"kind": "list", "gsd_m": 10, "cells": [{"id": "c", "epsg": chip_epsg, "bounds": bounds}]}
    checked = Recipe.model_validate(rules)
    planned = plan_cells(checked, CellTable.concat(cells_of(checked.grid, {})))
    (spec,) = chip_specs(checked, planned, shapely.to_wkb(planned.cells.footprints()))

    there = Transformer.from_crs(4326, scene_epsg, always_xy=True).transform(longitude, latitude)
    x0, y0 = (round(value / 10) * 10.0 for value in (there[0] - 600, there[1] + 700))
    scene = GeoRef(scene_epsg, x0, y0, 10.0, (140, 120))
    pixels = np.random.default_rng(4).integers(1000, 9000, scene.shape_yx).astype(np.uint16)
    ref = make_raster(pixels, scene, name="b", tag=0, nodata=0.0, band="B02")
    mask = make_raster(np.full(scene.shape_yx, 4, np.uint8), scene, name="scl", tag=0, nodata=0.0, band="scl")
    whole = replace(item("i", [ref], [mask], "scl"), footprint_wkb=shapely.to_wkb(two_parts(scene)))
    read: Any = reading(checked, whole).read(spec)
    (chip,) = read.chips
    layer = chip.layers["m"]

    grid = spec.georef(10.0)
    x, y = np.meshgrid(grid.x_centres(), grid.y_centres())
    x, y = Transformer.from_crs(chip_epsg, scene_epsg, always_xy=True).transform(x, y)
    want = pixels[np.floor((y0 - y) / 10).astype(int), np.floor((x - x0) / 10).astype(int)]
    np.testing.assert_array_equal(layer["data"].values[0, 0], want)
    assert (layer["valid"].values == Valid.CLEAR).all()


def two_parts(scene: GeoRef) -> shapely.Geometry:
    """The scene's footprint, cut at the antimeridian as STAC wants it."""
    outline = shapely.box(*scene.bounds_xyxy).segmentize(200.0)
    points = shapely.get_coordinates(outline)
    longitude, latitude = Transformer.from_crs(scene.epsg, 4326, always_xy=True).transform(*points.T)
    turned = shapely.Polygon(np.stack([np.asarray(longitude) % 360, latitude], axis=1))
    east = shapely.intersection(turned, shapely.box(0, -90, 180, 90))
    west = shapely.intersection(turned, shapely.box(180, -90, 360, 90))
    return shapely.union_all([east, shapely.transform(west, lambda p: p - [360, 0])])
