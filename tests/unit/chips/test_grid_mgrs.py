"""MGRS squares: names are those of the NGA's library, patches lie where Sentinel-2's do.

``mgrs_published.csv`` was made by the package ``mgrs`` 1.6.0 (NGA GEOTRANS): ``MGRS().toMGRS(lat, lon, precision 0)``.
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
from chips.grid_mgrs import BANDS, index_of_square, mgrs_tiles, square_name
from chips.grid_named import tile_corner
from chips.zones import transformer, utm_epsg
from schemas.errors import RecipeError
from schemas.recipe import Grid

PUBLISHED = list(csv.DictReader(Path(__file__).with_name("mgrs_published.csv").read_text().splitlines()))


def test_squares_of_points_are_those_of_geotrans() -> None:
    other_band = 0
    for row in PUBLISHED:
        lon, lat = float(row["lon"]), float(row["lat"])
        epsg = utm_epsg(lon, lat)
        x, y = transformer(4326, epsg).transform(lon, lat)
        (tile,) = mgrs_tiles(np.array([x]), np.array([y]), epsg).tolist()
        wanted = row["square"].rjust(5, "0")
        assert tile[:2] + tile[3:] == wanted[:2] + wanted[3:], row
        if tile != wanted:  # the square lies across the edge of two bands: it bears the letter of its centre
            other_band += 1
            assert abs(BANDS.index(tile[2]) - BANDS.index(wanted[2])) == 1
            edge = -80 + 8 * max(BANDS.index(tile[2]), BANDS.index(wanted[2]))
            assert abs(lat - edge) < 0.6
    assert other_band < 0.06 * len(PUBLISHED)


@given(st.integers(1, 60), st.booleans(), st.integers(2, 7), st.integers(0, 88))
@example(1, True, 2, 88)
@example(1, False, 2, 0)
def test_square_of_a_name_is_the_square(zone: int, south: bool, column: int, row: int) -> None:
    epsg, row = (32700 + zone, row + 11) if south else (32600 + zone, row)
    assert index_of_square(square_name(column, row, epsg)) == (epsg, column, row)


@given(st.integers(1, 60), st.integers(2, 7))
def test_squares_on_the_equator_belong_to_the_north(zone: int, column: int) -> None:
    # the south counts its northings up to 10,000 km: its square there is the north's first
    assert index_of_square(square_name(column, 100, 32700 + zone)) == (32600 + zone, column, 0)


@pytest.mark.parametrize(
    ("tile", "corner"),
    [
        ("35XQA", (699960.0, 8100000.0)),  # proj:transform of real items of three public catalogs
        ("32UNU", (499980.0, 5400000.0)),
        ("24MXV", (600000.0, 9500020.0)),
        ("20HNJ", (499980.0, 6400000.0)),
        ("12SYJ", (699960.0, 4400040.0)),
        ("35UPU", (600000.0, 5900040.0)),
    ],
)
def test_tiles_begin_where_real_ones_do(tile: str, corner: tuple[float, float]) -> None:
    assert tile_corner(*index_of_square(tile)) == corner


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("33UUP_87_48", [404400, 5341200, 405600, 5342400]),  # places of three BigEarthNet patches
        ("35VPK_69_24", [682800, 6970020, 684000, 6971220]),
        ("29SND_56_35", [567180, 4356840, 568380, 4358040]),
    ],
)
def test_patches_lie_where_bigearthnet_has_them(name: str, bounds: list[float]) -> None:
    grid = Grid(kind="mgrs", chip_m=1200, extent="tile", names=(name[:5],))
    table = CellTable.concat(cells_of(grid, {}))
    assert table.bounds[table.chip_id == name].tolist() == [bounds]


def test_chips_of_neighbouring_squares_never_overlap() -> None:
    region = shapely.box(8.9, 47.6, 9.6, 48.0)  # four squares meet here
    table = CellTable.concat(cells_of(Grid(kind="mgrs", chip_m=2640), {"a": region}))
    assert len({name[:5] for name in table.chip_id.tolist()}) >= 2
    boxes = shapely.box(*table.bounds.T)
    one, other = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    assert shapely.area(shapely.intersection(boxes[one[one < other]], boxes[other[one < other]])).max() == 0


def test_what_is_no_square_is_one_line() -> None:
    for name in ("33UUI", "61UUP", "31UAE", "hello"):
        with pytest.raises(RecipeError, match="no MGRS square"):
            index_of_square(name)


@pytest.mark.parametrize("box", [(11.9, 47.8, 12.0, 47.9), (12.0, 47.8, 12.1, 47.9), (12.0, -0.1, 12.1, 0.0)])
def test_a_region_that_ends_where_a_zone_does_has_the_squares_of_its_own_zone(box: tuple[float, ...]) -> None:
    region = shapely.box(*box)
    table = CellTable.concat(cells_of(Grid(kind="mgrs", chip_m=1200), {"a": region}))
    assert len(set(table.epsg.tolist())) == 1
    assert shapely.area(shapely.union_all(table.footprints())) > 0.6 * region.area
