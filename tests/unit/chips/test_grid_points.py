"""Chips around places: the place is in the middle pixel, lists give back what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.places import Places
from chips.zones import transformer, utm_epsg
from schemas.errors import RecipeError
from schemas.recipe import Cell, Grid


def _places(*geometry: Any, **columns: Any) -> Places:
    return Places(np.array(geometry, dtype=object), {k: np.array(v) for k, v in columns.items()}, "places.csv")


def _cut(places: Places, regions: dict[str, Any] | None = None, **grid: Any) -> CellTable:
    return CellTable.concat(cells_of(Grid(kind="points", file="places.csv", **grid), regions or {}, places))


@settings(deadline=None, max_examples=50)
@given(st.floats(-179.9, 179.9), st.floats(-79, 83), st.sampled_from([(330.0, 10.0), (270.0, 30.0), (2560.0, 10.0)]))
def test_the_place_is_in_the_middle_pixel(lon: float, lat: float, size: tuple[float, float]) -> None:
    chip_m, gsd = size
    table = _cut(_places(shapely.Point(lon, lat)), chip_m=chip_m, gsd_m=gsd)
    x, y = transformer(4326, utm_epsg(lon, lat)).transform(lon, lat)
    middle = (table.bounds[0, :2] + table.bounds[0, 2:]) / 2
    assert table.epsg.tolist() == [utm_epsg(lon, lat)]
    assert np.abs(middle - [x, y]).max() <= gsd / 2 + 1e-6
    assert (
        table.bounds % gsd == (10_000_000 % gsd) * np.array([0, table.epsg[0] > 32700, 0, table.epsg[0] > 32700])
    ).all()


def test_names_come_from_the_table_or_the_place() -> None:
    points = shapely.Point(3.02, 50.81), shapely.Point(3.12, 50.81)
    assert _cut(_places(*points, id=["a b", "c/d"]), chip_m=330).chip_id.tolist() == ["a-b", "c-d"]
    assert _cut(_places(*points, plot=["p", "q"]), chip_m=330, id_column="plot").chip_id.tolist() == ["p", "q"]
    assert _cut(_places(*points), chip_m=330).chip_id.tolist() == ["31N_50124_562853", "31N_50829_562854"]


def test_an_id_that_no_sample_can_have_is_one_line() -> None:
    place = shapely.box(3.1, 50.10, 3.15, 50.12)
    assert len(_cut(_places(place, id=["f" * 60]), chip_m=960)) == 1
    with pytest.raises(RecipeError, match=r"^places.csv: 'f{61}' cannot be a chip's id"):
        _cut(_places(place, id=["f" * 61]), chip_m=960)
    with pytest.raises(RecipeError, match=r"'f{60}_0_0' cannot"):
        _cut(_places(place, id=["f" * 60]), chip_m=960, fit="cover")
    with pytest.raises(RecipeError, match=r"^grid.cells: 'f{61}' cannot"):
        _listed(("f" * 61, 32632, 600_000.0, 5_300_160.0))


def test_two_places_in_one_pixel_need_names() -> None:
    places = _places(shapely.Point(3.02, 50.81), shapely.Point(3.0200001, 50.81), year=[2019, 2020])
    with pytest.raises(RecipeError, match=r"rows 1 and 2 make the same chip .*grid.id_column"):
        _cut(places, chip_m=330)


def test_columns_and_regions_are_kept() -> None:
    places = _places(shapely.Point(3.02, 50.81), shapely.Point(13.02, 50.81), event=["x", "y"])
    table = _cut(places, {"west": shapely.box(2, 50, 4, 52)}, chip_m=960)
    assert table.columns["event"].tolist() == ["x"]
    assert table.region.tolist() == ["west"]


def test_chips_cover_a_footprint() -> None:
    footprint = shapely.box(3.1, 50.10, 3.15, 50.12)
    table = _cut(_places(footprint, id=["f"]), chip_m=960, fit="cover")
    assert shapely.union_all(shapely.buffer(table.footprints(), 1e-6)).covers(footprint)
    assert "f_0_0" in table.chip_id.tolist()
    assert len(_cut(_places(footprint, id=["f"]), chip_m=960)) == 1
    boxes = shapely.box(*table.bounds.T)
    assert shapely.union_all(boxes).area == pytest.approx(len(table) * 960**2)


@pytest.mark.parametrize("fit", ["centre", "cover"])
def test_a_footprint_that_the_antimeridian_cuts_is_one_place(fit: str) -> None:
    west, east = shapely.box(179.99, -17.01, 180.0, -17.0), shapely.box(-180.0, -17.01, -179.98, -17.0)
    table = _cut(_places(shapely.multipolygons([west, east]), id=["f"]), chip_m=960, fit=fit)
    lon, lat = table.centres_lonlat()
    assert set(table.epsg.tolist()) == {32701}
    assert np.abs((lon - 180.005 + 180.0) % 360.0 - 180.0).max() < 0.03
    assert np.abs(lat + 17.005).max() < 0.02
    if fit == "cover":
        chips = shapely.union_all(shapely.buffer(table.footprints(), 1e-6))
        assert chips.covers(west)
        assert chips.covers(east)


def test_a_footprint_around_the_earth_or_of_too_many_chips_is_one_line() -> None:
    cut = shapely.Polygon([(179.9, 1.0), (-179.9, 1.0), (-179.9, 1.1), (179.9, 1.1)])
    with pytest.raises(RecipeError, match=r"places.csv: row 2 is 359.8 degrees wide \(cut it into parts"):
        _cut(_places(shapely.Point(3, 50), cut), chip_m=960)
    with pytest.raises(RecipeError, match=r"chips to cover the places are more than 5,000,000"):
        _cut(_places(shapely.box(0, 0, 6, 6)), chip_m=200, fit="cover")


def test_places_without_a_place_are_one_line() -> None:
    with pytest.raises(RecipeError, match=r"places.csv: row 2 has no place"):
        _cut(_places(shapely.Point(3, 50), None), chip_m=960)
    with pytest.raises(RecipeError, match="beyond UTM"):
        _cut(_places(shapely.Point(3, 85)), chip_m=960)


def test_a_table_of_cells_gives_them_back() -> None:
    bounds = [[600000.0, 5300160.0, 600960.0, 5301120.0], [601000.0, 5300160.0, 601960.0, 5301120.0]]
    places = _places(None, None, chip_id=["a", "b"], epsg=[32632, 32632], bounds_xyxy=bounds, split=["val", "train"])
    table = CellTable.concat(cells_of(Grid(kind="list", file="chips.parquet"), {}, places))
    assert table.bounds.tolist() == bounds
    assert table.columns["split"].tolist() == ["val", "train"]
    given_in_recipe = tuple(
        Cell(id=n, epsg=32632, bounds=(b[0], b[1], b[2], b[3])) for n, b in zip("ab", bounds, strict=True)
    )
    (same,) = cells_of(Grid(kind="list", cells=given_in_recipe), {})
    assert same.bounds.tolist() == bounds
    assert same.majortom.tolist() == table.majortom.tolist()


def test_a_list_without_its_columns_names_them() -> None:
    with pytest.raises(RecipeError, match=r"no column 'epsg' .*known: bounds_xyxy, chip_id"):
        list(cells_of(Grid(kind="list", file="x"), {}, _places(None, chip_id=["a"], bounds_xyxy=[[0.0, 0, 1, 1]])))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"epsg": ["32632", ""]}, r"row 2: '' in column 'epsg' is no number"),
        ({"epsg": [32632, 99_999_999_999]}, "row 2: '99999999999' in column 'epsg'"),
        ({"epsg": [32632.5, 32632.0]}, "row 1: '32632.5' in column 'epsg'"),
        ({"left": ["x", "601000"]}, "row 1: 'x' in column 'left' is no number"),
        ({"bounds_xyxy": ["600000 5300160 600960 5301120"] * 2}, "bounds_xyxy is no list of four numbers"),
        ({"bounds_xyxy": [[1.0, 2.0, 3.0]] * 2}, "bounds_xyxy is no list of four numbers"),
        ({"chip_id": ["a", "b.c"]}, r"'b.c' cannot be a chip's id"),
    ],
)
def test_a_list_with_other_things_in_its_columns_is_one_line(columns: dict[str, Any], message: str) -> None:
    sides = {
        "left": [600000.0, 601000.0],
        "bottom": [5300160.0] * 2,
        "right": [600960.0, 601960.0],
        "top": [5301120.0] * 2,
    }
    good = {"chip_id": ["a", "b"], "epsg": [32632, 32632], **sides}
    with pytest.raises(RecipeError, match=rf"^places.csv: {message}"):
        list(cells_of(Grid(kind="list", file="x"), {}, _places(None, None, **(good | columns))))
    for written in (["EPSG:32632", "epsg:32632"], [32632.0, 32632.0]):
        (table,) = cells_of(Grid(kind="list", file="x"), {}, _places(None, None, **(good | {"epsg": written})))
        assert table.epsg.tolist() == [32632, 32632]


SIZE_M = 960.0


def _listed(*cells: tuple[str, int, float, float]) -> CellTable:
    """Cells by id, EPSG code and lower left corner, unchecked as those of a file are."""
    boxes = [(n, code, (x, y, x + SIZE_M, y + SIZE_M)) for n, code, x, y in cells]
    given = tuple(Cell.model_construct(id=n, epsg=code, bounds=box, region="list") for n, code, box in boxes)
    return CellTable.concat(cells_of(Grid(kind="list", cells=given), {}))


@pytest.mark.parametrize(
    ("epsg", "left", "bottom"),
    [
        (32632, 72_360_000.0, 5_300_100.0),  # projects to infinity
        (32632, 600_000.0, 53_001_000.0),  # projects to 63 N, 173 W, and not back
        (32632, 600_000.0, 13_000_000.0),  # over the pole, and back
        (32632, 6_000_000.0, 5_300_100.0),
        (32632, 600_000.0, 9_500_000.0),  # 85.5 N
        (32732, 600_000.0, 800_000.0),  # 82.8 S
        (32632, 5_300_100.0, 600_000.0),  # x and y swapped
        (25832, 600_000.0, 13_000_000.0),
        (2154, 650_000.0, 9_900_000.0),
        (3857, 90_000_000.0, 0.0),
        (3413, 0.0, 20_000_000.0),
        (32632, float("nan"), 5_300_100.0),
        (32632, 1e308, 1e308),
    ],
)
def test_a_cell_that_lies_nowhere_is_one_line(epsg: int, left: float, bottom: float) -> None:
    with pytest.raises(RecipeError, match=r"^grid.cells: .*cell 'far'") as caught:
        _listed(("good", 32632, 600_000.0, 5_300_160.0), ("far", epsg, left, bottom))
    assert caught.value.mend
    box = [[left, bottom, left + SIZE_M, bottom + SIZE_M]]
    places = _places(None, chip_id=["far"], epsg=[epsg], bounds_xyxy=box)
    with pytest.raises(RecipeError, match=r"^places.csv: .*cell 'far'"):
        list(cells_of(Grid(kind="list", file="places.csv"), {}, places))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (99_999, "EPSG:99999 of cell 'a' is unknown"),
        (4326, "EPSG:4326 of cell 'a' is not projected"),
        (2263, "EPSG:2263 of cell 'a' is measured in US survey foot"),
    ],
)
def test_a_cell_of_no_system_of_metres_is_one_line(code: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        _listed(("a", code, 10.0, 50.0))


@pytest.mark.parametrize(("epsg", "left", "bottom"), [(3413, -500.0, 100.0), (3031, 900.0, -400.0), (32661, 2e6, 2e6)])
def test_a_cell_at_the_pole_is_one_line(epsg: int, left: float, bottom: float) -> None:
    with pytest.raises(RecipeError, match=r"^grid.cells: cell 'far' lies at the pole"):
        _listed(("good", 32632, 600_000.0, 5_300_160.0), ("far", epsg, left, bottom))


def test_a_cell_whose_sides_are_swapped_is_one_line() -> None:
    with pytest.raises(RecipeError, match="cell 'a' is no box"):
        list(cells_of(Grid(kind="list", cells=(Cell(id="a", epsg=32632, bounds=(960.0, 0.0, 0.0, 960.0)),)), {}))


@pytest.mark.parametrize(
    ("epsg", "lon", "lat"),
    [
        (32632, 4.0, 60.0),  # Norway
        (32631, 0.1, 78.0),  # Svalbard
        (32637, 41.9, 83.99),
        (32633, 18.0, 83.95),
        (32633, 6.0, 48.0),  # Germany's west in the zone of its east
        (32614, -67.0, 45.0),  # a continent in one zone
        (32632, 9.0, -33.0),  # southern places in northern numbers, as Landsat has them
        (32732, 9.0, 12.0),
        (32701, 179.9, -17.0),
        (32760, -179.9, -79.99),
        (25832, 24.0, 35.2),
        (3035, -25.0, 38.0),
        (3857, 179.9, -60.0),
        (3338, 179.0, 52.0),
        (2193, -176.5, -44.0),
        (27572, 2.3, 48.8),
        (6933, -100.0, 84.0),
        (32661, 100.0, 89.0),
        (3031, -100.0, -75.0),
    ],
)
def test_a_cell_beside_its_zone_is_kept(epsg: int, lon: float, lat: float) -> None:
    x, y = transformer(4326, epsg).transform(lon, lat)
    table = _listed(("a", epsg, x - SIZE_M / 2, y - SIZE_M / 2))
    assert [float(value[0]) for value in table.centres_lonlat()] == pytest.approx(
        [lon, lat], abs=1e-4
    )  # some datum shifts differ by a metre there and back


@settings(deadline=None, max_examples=50)
@given(st.floats(-180, 180), st.floats(-80, 84))
def test_every_place_of_utm_may_be_listed_in_its_zone(lon: float, lat: float) -> None:
    epsg = utm_epsg(lon, lat)
    x, y = transformer(4326, epsg).transform(lon, lat)
    assert len(_listed(("a", epsg, x - SIZE_M / 2, y - SIZE_M / 2))) == 1


@pytest.mark.parametrize("point", [(1e9, 50.0), (float("inf"), 50.0), (3.0, float("inf"))])
def test_a_place_that_is_no_degrees_is_one_line(point: tuple[float, float]) -> None:
    with pytest.raises(RecipeError, match=r"places.csv: row 2: .* are no degrees"):
        _cut(_places(shapely.Point(3, 50), shapely.Point(*point)), chip_m=960)
