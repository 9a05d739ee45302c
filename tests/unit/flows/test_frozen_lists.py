"""`terraweft plan --out` writes a list that a recipe reads back: the same chips, splits, blocks and columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pytest
import yaml

from terraweft.cli import main
from tests.unit.flows.catalog_made_up import (
    BOTTOM,
    COLUMNS,
    EDGE_M,
    LEFT,
    ROWS,
    lonlat_box,
    recipe_data,
    sentinel2_item,
    write_catalog,
)

SAME = ["chip_id", "epsg", "bounds_xyxy", "region", "split", "block_id", "majortom_cell", "geometry"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalog")
    write_catalog(folder, [sentinel2_item("whole", 0, COLUMNS, "2021-06-01")])
    rows = []
    for number in range(0, COLUMNS * ROWS, 5):
        x, y = LEFT + (number % COLUMNS + 0.5) * EDGE_M, BOTTOM + (number // COLUMNS + 0.5) * EDGE_M
        place = lonlat_box(x - 1, y - 1, x + 1, y + 1).centroid
        rows.append({"id": f"p{number:03d}", "lon": place.x, "lat": place.y, "event": f"e{number % 4}", "year": 2021})
    pd.DataFrame(rows).to_csv(folder / "places.csv", index=False)
    return folder


def _plan(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> geopandas.GeoDataFrame:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe_data(**changes)))
    monkeypatch.setenv("TERRAWEFT_CATALOG", str(folder))
    with pytest.raises(SystemExit) as end:
        main(["plan", str(path), "--out", str(folder / name)])
    assert end.value.code == 0
    return geopandas.read_parquet(folder / name / "chips.parquet").sort_values("chip_id")


def _equal(one: geopandas.GeoDataFrame, other: geopandas.GeoDataFrame, columns: list[str]) -> None:
    assert len(one) == len(other) > 5
    for name in columns:
        assert [str(value) for value in one[name]] == [str(value) for value in other[name]], name


@pytest.mark.parametrize(
    "made",
    [
        {"sample": [{"kind": "random", "n": 20}], "split": {"block_m": 1920}},
        {"split": {"method": "kfold", "folds": 3, "block_m": 1920, "buffer_m": 300.0}},
        {
            "grid": {"kind": "points", "chip_m": 330, "snap_m": 10, "file": "places.csv"},
            "regions": [],
            "split": {"method": "groups", "by": "event", "assign": "balanced"},
        },
    ],
    ids=["sampled", "folds", "points"],
)
def test_a_plan_read_back_as_a_list_is_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    first = _plan(folder, f"{name}_first", monkeypatch, **made)
    frozen = {"grid": {"kind": "list", "file": f"{name}_first/chips.parquet"}, "split": {"method": "listed"}}
    again = _plan(folder, f"{name}_again", monkeypatch, **frozen, regions=[])
    further = [column for column in first.columns if str(column).startswith("place.")]
    assert further == (["place.id", "place.lon", "place.lat", "place.event", "place.year"] if name == "points" else [])
    _equal(first, again, SAME + further)
    assert sorted(first.columns) == sorted(again.columns)


def test_a_column_that_somebody_adds_to_the_list_is_carried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _plan(folder, "plain", monkeypatch)
    first.assign(fire=[f"f{n % 3}" for n in range(len(first))]).to_parquet(folder / "marked.parquet")
    by_fire = {"method": "groups", "by": "fire", "held_out": {"test": ["f2"]}, "assign": "rest_is_train"}
    grid = {"kind": "list", "file": "marked.parquet"}
    again = _plan(folder, "marked", monkeypatch, grid=grid, split=by_fire, regions=[])
    assert set(again.loc[again["place.fire"] == "f2", "split"]) == {"test"}
    assert set(again.loc[again["place.fire"] != "f2", "split"]) == {"train"}
    _equal(first, again, ["chip_id", "bounds_xyxy", "region"])
