"""Major TOM cells: names and corners are those of the published grid, and of published patches.

``majortom_published.csv`` was made by running the published algorithm (ESA Phi-lab, Major TOM, grid.py: get_rows,
subdivide_circumference, latlon2rowcol, get_bounded_footprint) on random points, seams, and corners of cells.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.grid_majortom import majortom_bounds, majortom_names, parse_name
from chips.zones import transformer
from schemas.errors import RecipeError
from schemas.recipe import Grid

PUBLISHED = list(csv.DictReader(Path(__file__).with_name("majortom_published.csv").read_text().splitlines()))


def test_names_are_those_of_the_published_algorithm() -> None:
    for spacing in {row["spacing_km"] for row in PUBLISHED}:
        rows = [row for row in PUBLISHED if row["spacing_km"] == spacing]
        lon, lat = ([float(row[key]) for row in rows] for key in ("lon", "lat"))
        assert majortom_names(lon, lat, float(spacing)).tolist() == [row["name"] for row in rows]


def test_corners_are_those_of_the_published_algorithm_to_the_last_bit() -> None:
    for row in PUBLISHED:
        west, south, east, north = majortom_bounds(row["name"], float(row["spacing_km"]))
        assert (west, south, north) == tuple(float(row[key]) for key in ("west", "south", "north"))
        assert east == pytest.approx(float(row["east"]), abs=1e-12)  # beyond the last column it adds a width


LATITUDES = st.floats(-88.5, 90)  # the published grid may begin half a row above the south pole
SPACINGS = st.sampled_from([2.0, 10.0, 23.0, 100.0])


@given(st.floats(-180, 180), LATITUDES, SPACINGS)
@example(180.0, 28.0, 2.0)  # the last column's width, added to its western edge, ends a bit short of 180
@example(-180.0, 28.0, 2.0)
def test_cell_of_a_point_holds_it(lon: float, lat: float, spacing: float) -> None:
    west, south, east, north = majortom_bounds(str(majortom_names(lon, lat, spacing)[0]), spacing)
    assert south < lat <= north
    assert west < lon <= east or west < lon + 360 <= east


@given(st.floats(-180, 180), LATITUDES, SPACINGS)
@example(180.0, 28.0, 2.0)
@example(180.0, 0.0, 10.0)
def test_an_edge_is_owned_by_the_cell_west_or_south_of_it(lon: float, lat: float, spacing: float) -> None:
    name = str(majortom_names(lon, lat, spacing)[0])
    west, south, east, north = majortom_bounds(name, spacing)

    def turned(x: float) -> float:
        return x - 360 if x > 180 else x

    assert majortom_names(turned(east), north, spacing).tolist() == [name]
    assert majortom_names(turned(east), lat, spacing).tolist() == [name]
    assert majortom_names(west, lat, spacing).tolist() != [name] or east - west == 360
    assert majortom_names(lon, south, spacing).tolist() != [name]


@given(st.floats(-179.999, 179.999), st.floats(-79.9, 83.9), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_every_point_of_a_cell_has_its_name(lon: float, lat: float, across: float, up: float) -> None:
    name = str(majortom_names(lon, lat)[0])
    west, south, east, north = majortom_bounds(name)
    x = (west + across * (east - west) + 180) % 360 - 180
    assert majortom_names(x, south + up * (north - south)).tolist() == [name]


@pytest.mark.parametrize(
    ("name", "left", "top"),
    [
        ("637U_59R_1_3", 549892.6970314482, 6344077.6142594535),
        ("433D_629L_3_1", 717729.8352053782, 5700093.330553154),
        ("282D_485L_3_3", 790236.0403820039, 7198039.252334285),
    ],
)
def test_product_patches_lie_where_published_ones_do(name: str, left: float, top: float) -> None:
    # upper left corners in three files of TerraMesh, whose patches are counted within a Major TOM product
    grid = Grid(kind="majortom", chip_m=2640, per_cell=4, anchor="product", names=(name,))
    (table,) = cells_of(grid, {})
    assert table.chip_id.tolist() == [name]
    assert table.bounds[0, [0, 3]] == pytest.approx([left, top], abs=1e-6)


def test_centred_chips_lie_in_their_cell_on_the_lattice() -> None:
    region = shapely.box(10.0, -1.0, 11.0, 1.0)
    table = CellTable.concat(cells_of(Grid(kind="majortom", chip_m=3000, per_cell=3), {"a": region}))
    assert (table.bounds[:, 0] % 60 == 0).all()
    assert ((table.bounds[:, 1] - np.where(table.epsg >= 32700, 10_000_000, 0)) % 60 == 0).all()
    for chip, outline in zip(table.chip_id[::50], table.footprints()[::50], strict=True):
        cell = shapely.box(*majortom_bounds(str(chip).rsplit("_", 2)[0]))
        assert outline.intersection(cell).area > 0.97 * outline.area


def test_a_region_at_the_antimeridian_has_every_cell_within_it() -> None:
    west, east = shapely.box(179.5, -17.4, 180.0, -16.6), shapely.box(-180.0, -17.4, -179.5, -16.6)
    region = shapely.multipolygons([west, east])
    table = CellTable.concat(cells_of(Grid(kind="majortom", chip_m=2520, per_cell=2), {"fiji": region}))
    lon, lat = (part.ravel() for part in np.meshgrid(np.arange(-0.45, 0.46, 0.02), np.arange(-17.3, -16.7, 0.02)))
    inner = set(majortom_names((lon + 360.0) % 360.0 - 180.0, lat).tolist())
    assert len({name[-1] for name in inner}) == 2  # cells right and left of Greenwich meet here
    assert inner <= {str(name).rsplit("_", 2)[0] for name in table.chip_id}
    alone = CellTable.concat(cells_of(Grid(kind="majortom", chip_m=2520, per_cell=2), {"a": east}))
    assert set(alone.chip_id) == set(table.take(shapely.covers(east, table.footprints())).chip_id)


def test_corner_chips_begin_at_the_corner() -> None:
    (table,) = cells_of(Grid(kind="majortom", chip_m=2520, anchor="corner", names=("637U_59R",)), {})
    west, south, _, _ = majortom_bounds("637U_59R")
    x, y = transformer(4326, 32632).transform(west, south)
    assert abs(table.bounds[0, 0] - x) <= 30
    assert abs(table.bounds[0, 1] - y) <= 30


@pytest.mark.parametrize("name", ["637X_59R", "0D_1R", "1U_0L", "9999U_0R", "637U_99999R"])
def test_what_is_no_cell_is_one_line(name: str) -> None:
    with pytest.raises(RecipeError, match=r"no Major TOM cell|has no row|columns"):
        majortom_bounds(name)


def test_names_go_there_and_back() -> None:
    assert parse_name("433D_629L_3_1") == (-433, -629, (3, 1))
    assert parse_name("0U_0R") == (0, 0, None)


def test_too_many_chips_for_a_product_is_one_line() -> None:
    with pytest.raises(RecipeError, match="more than a product's 10680 m"):
        list(cells_of(Grid(kind="majortom", chip_m=2640, per_cell=5, anchor="product", names=("1U_1R",)), {}))
