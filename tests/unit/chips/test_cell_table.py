"""Tables of cells: footprints are true, over the antimeridian too; the grids make each cell once."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform_geom
from shapely.geometry import mapping, shape

from chips.cell_table import CellTable, footprints_lonlat
from chips.grid import BATCH, cells_of, check_area
from chips.grid_utm import cell_at, utm_cells
from chips.zones import transformer, utm_epsg, utm_epsg_of, zone_area
from schemas.errors import RecipeError
from schemas.recipe import Grid
from sources.regions import box_of

PLACES = [
    (11.95, 47.80, 12.05, 47.85),  # seam of zones 32 and 33
    (2.9, 61.0, 3.15, 61.1),  # Norway: 32V begins at 3 E
    (8.8, 77.9, 9.3, 78.0),  # Svalbard: 31X to 33X
    (20.8, 77.9, 21.3, 78.0),
    (5.8, 71.95, 6.4, 72.05),  # where 31X and 33X take over from 31W and 32W
    (19.0, -34.0, 19.1, -33.9),
    (17.9, -0.1, 18.1, 0.1),  # equator and a seam
    (179.9, -17.0, -179.9, -16.9),
    (179.9, 51.0, -179.9, 51.1),
]


@pytest.mark.parametrize("box", PLACES)
def test_cells_fill_a_region_once_each_in_their_own_zone(box: tuple[float, float, float, float]) -> None:
    region = box_of(box)
    table = CellTable.concat(utm_cells(region, 300.0, "r"))
    outlines = table.footprints()
    assert len(np.unique(table.chip_id)) == len(table)
    assert (utm_epsg_of(*table.centres_lonlat()) == table.epsg).all()
    assert all(region.covers(outline) for outline in outlines)
    pairs = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    one, other = pairs[:, pairs[0] < pairs[1]]
    shared = shapely.area(shapely.intersection(outlines[one], outlines[other]))
    assert shared.max(initial=0.0) < 1e-6 * shapely.area(outlines).mean()
    covered = shapely.area(shapely.union_all(outlines)) / region.area
    assert covered > 0.75  # what is lost lies along the region's border and the seams


@pytest.mark.parametrize("box", PLACES)
def test_a_larger_region_takes_no_cell_away(box: tuple[float, float, float, float]) -> None:
    small = CellTable.concat(utm_cells(box_of(box), 1200.0, "r"))
    west, south, east, north = box
    large = CellTable.concat(utm_cells(box_of((west - 0.03, south - 0.03, east + 0.03, north + 0.03)), 1200.0, "r"))
    assert set(small.chip_id.tolist()) < set(large.chip_id.tolist())


@settings(deadline=None)
@given(st.floats(-180, 179.99), st.floats(-79.5, 83.5), st.sampled_from([960.0, 2560.0]))
def test_cell_of_a_point_holds_it_wherever_it_lies(lon: float, lat: float, size: float) -> None:
    epsg = utm_epsg(lon, lat)
    x, y = transformer(4326, epsg).transform(lon, lat)
    cell = cell_at(x, y, epsg, size)
    (outline,) = footprints_lonlat(np.array([cell.bounds_xyxy]), epsg)
    assert outline.buffer(1e-5).covers(shapely.Point(lon, lat))
    assert zone_area(epsg).buffer(1e-9).covers(shapely.Point(lon, lat))


def test_footprints_are_those_of_gdal() -> None:
    for epsg, bounds in (
        (32632, (600_000, 5_300_000, 610_000, 5_310_000)),
        (32733, (250_000, 2_000_000, 252_560, 2_002_560)),
    ):
        (ours,) = footprints_lonlat(np.array([bounds], dtype=float), epsg)
        theirs = shape(transform_geom(f"EPSG:{epsg}", "EPSG:4326", mapping(shapely.box(*bounds).segmentize(50.0))))
        assert shapely.hausdorff_distance(ours, theirs) * 111_195 < 1.0


@pytest.mark.parametrize(
    ("epsg", "left", "bottom"),
    [
        (32633, 600_000.0, 8_900_000.0),
        (3035, 6_500_000.0, 4_500_000.0),
        (3413, -1_000_000.0, -900_000.0),
        (3031, -200_000.0, 300_000.0),
        (3978, -1_000_000.0, 2_500_000.0),
    ],
)
def test_footprints_are_true_to_half_a_metre_in_every_projection(epsg: int, left: float, bottom: float) -> None:
    square = (left, bottom, left + 10_240.0, bottom + 10_240.0)
    (outline,) = footprints_lonlat(np.array([square]), epsg)
    points = shapely.get_coordinates(shapely.segmentize(outline.exterior, 1e-3))
    back = shapely.points(*transformer(4326, epsg).transform(*points.T))
    assert shapely.distance(back, shapely.box(*square).exterior).max() <= 0.5


def test_footprint_over_the_antimeridian_has_two_parts_of_its_area() -> None:
    table = CellTable.concat(utm_cells(box_of((179.9, -17.0, -179.9, -16.9)), 1200.0, "r"))
    outlines = table.footprints()
    cut = shapely.get_num_geometries(outlines) == 2
    assert cut.any()
    for outline in outlines[cut]:
        assert outline.bounds[0::2] == (-180, 180)
        assert outline.area == pytest.approx(np.median(shapely.area(outlines)), rel=0.01)


def test_batches_are_full_and_in_an_order_that_stays() -> None:
    grid = Grid(chip_m=1200)
    region = {"a": shapely.box(8.0, 46.0, 12.5, 48.5), "b": shapely.box(12.0, 48.0, 12.9, 48.9)}
    batches = list(cells_of(grid, region))
    assert [len(batch) for batch in batches[:-1]] == [BATCH] * (len(batches) - 1)
    whole = CellTable.concat(batches)
    assert len(np.unique(whole.chip_id)) == len(whole)
    assert set(whole.region) == {"a", "b"}
    assert (whole.chip_id == CellTable.concat(cells_of(grid, region)).chip_id).all()


def test_beyond_utm_is_one_line() -> None:
    with pytest.raises(RecipeError, match=r"regions.pole: .*beyond UTM, which ends at 80 S and 84 N"):
        list(cells_of(Grid(chip_m=1200), {"pole": shapely.box(10, 83, 11, 85)}))


def test_squares_of_degrees_are_found_by_their_points() -> None:
    table = CellTable.concat(
        cells_of(Grid(kind="degrees", chip_m=1200, step_deg=0.05), {"a": box_of((179.9, -1.0, -179.9, 0.5))})
    )
    lon, lat = table.centres_lonlat()
    for name, x, y in zip(table.chip_id.tolist(), lon, lat, strict=True):
        row, column = name.split("_")
        south = (int(row[:-1]) if row.endswith("N") else -int(row[:-1])) * 0.05
        west = (int(column[:-1]) if column.endswith("E") else -int(column[:-1])) * 0.05
        assert south + 0.024 < y < south + 0.026
        assert west + 0.024 < x < west + 0.026
    assert len(table) == 2 * 2 * 30


def test_how_many_chips_there_would_be_is_told_on_the_sphere_and_in_squares_of_degrees() -> None:
    world = {"world": shapely.box(-180, -60, 180, 84)}
    check_area(Grid(kind="majortom", chip_m=5040), world)  # 4.7 million cells of 10 km
    with pytest.raises(RecipeError, match="about 18,980,007 chips are more than 5,000,000"):
        check_area(Grid(kind="majortom", chip_m=5040, per_cell=2), world)
    north = {"north": shapely.box(-180, 60, 180, 84)}
    with pytest.raises(RecipeError, match="about 8,847,360 chips are more than 5,000,000"):
        check_area(Grid(kind="degrees", chip_m=960, step_deg=0.03125), north)
