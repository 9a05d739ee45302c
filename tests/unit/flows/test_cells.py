"""From recipe and files to cells: a frozen list read back gives the same chips and the same splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest

from chips.splits import split_cells
from flows.cells import planned_cells
from schemas.errors import RecipeError
from schemas.recipe import Recipe

BASE: dict[str, Any] = {
    "format": 1,
    "name": "x",
    "catalogs": {"c": {"kind": "static", "href": "catalog.json"}},
    "regions": [{"name": "north", "bbox": [11.90, 47.80, 12.05, 47.87]}],
    "grid": {"chip_m": 960},
    "time": {"start": "2021-01-01", "end": "2021-12-31"},
    "modalities": {"s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s"}},
}


def _recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate({**BASE, **changes})


@pytest.mark.parametrize("name", ["list.parquet", "list.csv", "list.geojson"])
def test_a_frozen_list_gives_the_same_chips_and_splits(tmp_path: Path, name: str) -> None:
    recipe = _recipe(sample=[{"kind": "random", "n": 20}], split={"block_m": 960})
    cells = planned_cells(recipe, tmp_path, {}).cells
    splits, units, _ = split_cells(cells, recipe.split, recipe.seed)
    table = geopandas.GeoDataFrame(
        {
            "chip_id": cells.chip_id,
            "epsg": cells.epsg,
            **{side: cells.bounds[:, i] for i, side in enumerate(("left", "bottom", "right", "top"))},
            "region": cells.region,
            "split": splits,
            "block_id": units,
        },
        geometry=cells.footprints(),
        crs=4326,
    )
    if name.endswith("csv"):
        table.drop(columns="geometry").to_csv(tmp_path / name, index=False)
    elif name.endswith("parquet"):
        table.to_parquet(tmp_path / name)
    else:
        table.to_file(tmp_path / name)
    frozen = _recipe(grid={"kind": "list", "file": name}, split={"method": "listed"}, regions=[])
    again = planned_cells(frozen, tmp_path, {}).cells
    assert again.chip_id.tolist() == cells.chip_id.tolist()
    assert np.array_equal(again.bounds, cells.bounds)
    assert again.region.tolist() == cells.region.tolist()
    assert split_cells(again, frozen.split, frozen.seed)[0].tolist() == splits.tolist()


def test_files_are_found_beside_the_recipe_and_by_variables(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "p.csv").write_text("id,lon,lat,event\na,3.02,50.81,flood\nb,3.12,50.81,fire\n")
    grid = {"kind": "points", "chip_m": 330, "file": "${TERRAWEFT_DATA}/p.csv"}
    cells = planned_cells(_recipe(grid=grid, regions=[]), Path("/"), {"TERRAWEFT_DATA": str(tmp_path / "data")}).cells
    assert cells.columns["event"].tolist() == ["flood", "fire"]
    beside = _recipe(grid=grid | {"file": "data/p.csv"}, regions=[])
    assert planned_cells(beside, tmp_path, {}).cells.chip_id.tolist() == ["a", "b"]


def test_names_of_cells_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("grid_cell,note\n637U_59R,x\n433D_629L,y\n")
    grid = {"kind": "majortom", "chip_m": 2520, "per_cell": 2, "file": "names.csv"}
    cells = planned_cells(_recipe(grid=grid, regions=[]), tmp_path, {}).cells
    assert {name.rsplit("_", 2)[0] for name in cells.chip_id.tolist()} == {"637U_59R", "433D_629L"}
    assert len(cells) == 8


def test_steps_follow_each_other(tmp_path: Path) -> None:
    steps = [{"kind": "spacing", "min_distance_m": 1800}, {"kind": "random", "n": 3}]
    assert len(planned_cells(_recipe(sample=steps), tmp_path, {}).cells) == 3
    with pytest.raises(RecipeError, match=r"sample.1.file: there is no file q.csv"):
        planned_cells(_recipe(sample=[steps[0], {"kind": "points", "file": "q.csv"}]), tmp_path, {})
