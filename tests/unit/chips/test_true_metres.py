"""Cells whose metres or north are not the ground's are told of where texts or map features rest on them."""

from __future__ import annotations

import pytest

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.true_metres import check_true_metres
from chips.zones import transformer
from schemas.errors import RecipeError
from schemas.recipe import Cell, Grid


def cells(*places: tuple[int, float, float]) -> CellTable:
    """Cells of 960 m by EPSG code, longitude and latitude of their centre."""
    made = []
    for number, (epsg, lon, lat) in enumerate(places):
        x, y = transformer(4326, epsg).transform(lon, lat)
        made.append(Cell(id=f"c{number}", epsg=epsg, bounds=(x - 480, y - 480, x + 480, y + 480)))
    return CellTable.concat(cells_of(Grid(kind="list", cells=tuple(made)), {}))


@pytest.mark.parametrize(
    ("epsg", "lon", "lat", "said"),
    [
        (3857, 25.0, 60.2, r"a metre of EPSG:3857 at cell 'c1' is 0\.50 m on the ground"),
        (3413, 120.0, 70.0, r"north lies 165 degrees beside up in EPSG:3413 at cell 'c1'"),
        (3031, 45.0, -75.0, r"north lies 45 degrees beside up in EPSG:3031"),
    ],
)
def test_texts_of_other_metres_or_another_north_are_refused(epsg: int, lon: float, lat: float, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        check_true_metres(cells((32635, 25.0, 60.2), (epsg, lon, lat)), texts=True, where="grid.cells")


def test_map_features_need_metres_and_no_north() -> None:
    check_true_metres(cells((3413, 120.0, 70.0)), texts=False, where="grid.cells")
    with pytest.raises(RecipeError, match=r"0\.50 m on the ground, where map features"):
        check_true_metres(cells((3857, 25.0, 60.2)), texts=False, where="grid.cells")


def test_systems_that_are_used_as_utm_is_pass() -> None:
    """UTM beside its zone, Europe's equal-area grid, national grids, Web Mercator at the equator."""
    near = (32635, 33.0, 60.2), (3035, 25.0, 60.2), (3035, -9.0, 39.0), (25832, 9.0, 51.0), (2154, 3.0, 46.0)
    check_true_metres(cells(*near, (27700, -2.0, 54.0), (3857, 25.0, 1.0)), texts=True, where="grid.cells")
