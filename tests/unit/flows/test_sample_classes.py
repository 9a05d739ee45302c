"""Balance over the classes of a catalog's land-cover product, found, read as overviews, and frozen with the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest

from flows.planning import make_plan
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from tests.unit.flows.catalog_made_up import (
    BOTTOM,
    COLUMNS,
    EDGE_M,
    LEFT,
    ROWS,
    class_item,
    recipe_data,
    sentinel2_item,
    write_catalog,
)

CODES = np.full((ROWS, COLUMNS), 10, np.uint8)
CODES[:, 3:8], CODES[1, 2], CODES[2, 9:11] = 40, 80, 80
CODES[3, 5] = 0
"""Rows from the north; in one chip the newer product has no data, and the older one counts."""
OLD = np.full((ROWS, COLUMNS), 50, np.uint8)
STEP = {"kind": "classes", "catalog": "c", "collection": "esa-worldcover", "per_class": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalog")
    items = [class_item(folder, "new_west", CODES[:, :6], 0), class_item(folder, "new_east", CODES[:, 6:], 6)]
    items += [class_item(folder, "old", OLD, 0, year=2020), sentinel2_item("whole", 0, COLUMNS, "2021-06-01")]
    write_catalog(folder, items)
    return folder


def _chips(folder: Path, out: Path, recipe: Recipe) -> geopandas.GeoDataFrame:
    make_plan(recipe, folder, {"TERRAWEFT_CATALOG": str(folder)}, out)
    return geopandas.read_parquet(out / "chips.parquet").sort_values("chip_id")


def _recipe(**step: Any) -> Recipe:
    return Recipe.model_validate(recipe_data(sample=[{**STEP, **step}]))


def _codes_under(chips: geopandas.GeoDataFrame) -> list[int]:
    corners = np.array(chips["bounds_xyxy"].tolist())[:, :2]
    columns, rows = ((corners - (LEFT, BOTTOM)) // EDGE_M).astype(int).T
    newest = CODES[ROWS - 1 - rows, columns]
    return np.where(newest > 0, newest, OLD[0, 0]).tolist()


def test_each_chip_counts_to_the_class_that_lies_under_it(folder: Path, tmp_path: Path) -> None:
    chips = _chips(folder, tmp_path, _recipe(per_class=100))
    assert len(chips) == COLUMNS * ROWS
    assert chips["place.class"].astype(int).tolist() == _codes_under(chips)
    few = _chips(folder, tmp_path / "few", _recipe())
    assert few["place.class"].value_counts().to_dict() == {"10": 2, "40": 2, "50": 1, "80": 2}


def test_the_year_chooses_the_items(folder: Path, tmp_path: Path) -> None:
    assert set(_chips(folder, tmp_path, _recipe(year=2020))["place.class"]) == {"50"}
    with pytest.raises(RecipeError, match=r"sample\.0: no item of esa-worldcover of 1999 lies here"):
        _chips(folder, tmp_path, _recipe(year=1999))
    with pytest.raises(RecipeError, match=r"sample\.0: .*no asset 'scl'"):
        _chips(folder, tmp_path, _recipe(asset="scl"))


def test_the_plans_index_samples_the_same_chips_without_the_catalog(folder: Path, tmp_path: Path) -> None:
    first = _chips(folder, tmp_path / "first", _recipe())
    frozen = recipe_data(sample=[STEP])
    items = tmp_path / "first" / "items.parquet"
    assert len(geopandas.read_parquet(items)) == 4
    frozen["catalogs"] = {"c": {"kind": "stac-geoparquet", "href": str(items), "frozen": "c", "allow_local": True}}
    again = _chips(folder, tmp_path / "again", Recipe.model_validate(frozen))
    columns = ["chip_id", "split", "block_id", "place.class"]
    assert first[columns].values.tolist() == again[columns].values.tolist()


def test_a_recipe_names_files_or_a_catalog() -> None:
    for change, words in (
        ({"files": ["x.tif"]}, "needs files, or a catalog and its collection"),
        ({"collection": None}, "needs files, or a catalog and its collection"),
        ({"catalog": "d"}, r"sample.0.catalog is 'd', but catalogs has \['c'\]"),
        ({"catalog": None, "collection": None, "files": ["x"], "year": 2021}, "asset and year are for a catalog's"),
    ):
        with pytest.raises(ValueError, match=words):
            _recipe(**change)
