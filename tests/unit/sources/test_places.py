"""Files of places: every format gives the same table, broken ones one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely

from chips.cell_table import CellTable
from chips.grid_utm import to_table
from chips.overview import class_shares
from schemas.errors import RecipeError
from sources.date_tables import _read as read_dates
from sources.openers import PlainOpener
from sources.overviews import read_overview
from sources.places import read_places
from sources.regions import box_of, read_regions
from tests.unit.sources.damage import spoil

POINTS = [shapely.Point(3.02, 50.81), shapely.Point(-71.5, -33.25)]


def _table() -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame({"id": ["a", "b"], "year": [2019, 2020]}, geometry=POINTS, crs=4326)


@pytest.mark.parametrize("name", ["p.geojson", "p.parquet", "p.gpkg", "p.csv"])
def test_every_format_gives_the_same_places(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        _table().to_parquet(path)
    elif name.endswith("csv"):
        path.write_text("\ufeffid,Lon,Lat,year\na,3.02,50.81,2019\nb,-71.5,-33.25,2020\n", encoding="utf-8")
    else:
        _table().to_file(path)
    places = read_places(path, "grid.file")
    assert shapely.equals(places.geometry, POINTS).all()
    assert places.column("id").tolist() == ["a", "b"]
    assert places.column("year").tolist() == ["2019", "2020"]


def test_other_coordinate_systems_become_degrees(tmp_path: Path) -> None:
    _table()[:1].to_crs(32631).to_file(tmp_path / "p.gpkg")
    (point,) = read_places(tmp_path / "p.gpkg", "grid.file").geometry
    assert point.distance(POINTS[0]) < 1e-9


@pytest.mark.parametrize(("west", "east"), [(179.5, 180.5), (-180.5, -179.5), (179.5, -179.5)])
def test_a_footprint_over_the_antimeridian_lies_on_both_sides_however_it_is_drawn(
    tmp_path: Path, west: float, east: float
) -> None:
    """Sampling by areas saw the chips of one side alone, or of the rest of the parallel."""
    area = shapely.Polygon([(west, -17.2), (east, -17.2), (east, -16.8), (west, -16.8)])
    path = tmp_path / "areas.geojson"
    geopandas.GeoDataFrame({"k": ["a"]}, geometry=[area], crs=4326).to_file(path)
    found = read_places(path, "sample.0")
    seen = shapely.intersects(found.geometry[0], shapely.points([179.8, -179.8, 179.2, 0.0, -179.2], -17.0))
    assert seen.tolist() == [True, True, False, False, False]
    assert found.centres_lonlat()[0] == pytest.approx([180.0])


def test_lines_and_points_past_180_lie_where_chips_lie(tmp_path: Path) -> None:
    path = tmp_path / "ways.geojson"
    geometry = [shapely.LineString([(179.5, 0.0), (180.5, 1.0)]), shapely.Point(290.0, 3.0), shapely.Point(7.0, 3.0)]
    geopandas.GeoDataFrame({"k": ["a", "b", "c"]}, geometry=geometry, crs=4326).to_file(path)
    line, point, other = read_places(path, "sample.0").geometry
    assert sorted(part.bounds for part in line.geoms) == [(-180.0, 0.5, -179.5, 1.0), (179.5, 0.0, 180.0, 0.5)]
    assert (point.coords[0], other.coords[0]) == ((-70.0, 3.0), (7.0, 3.0))


def test_well_known_text_in_a_csv_is_a_footprint(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('id,wkt\na,"POLYGON ((0 0, 1 0, 1 1, 0 0))"\n')
    (area,) = read_places(tmp_path / "p.csv", "grid.file").geometry
    assert area.area == 0.5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "id,lon,lat\na,north,3\n", "line 2: 'north', '3' are no degrees"),
        ("p.csv", "id,lon,lat\na,3,95\n", "are no degrees"),
        ("p.geojson", "{not json", "cannot be read as a table"),
        ("p.parquet", "PAR?", "cannot be read as a table"),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RecipeError, match=message) as caught:
        read_places(tmp_path / name, "grid.file")
    assert "\n" not in caught.value.line()


def _region(path: Path) -> Any:
    region = SimpleNamespace(name="r", bbox=None, geojson=path.name, feature=None)
    return read_regions(SimpleNamespace(regions=[region]), path.parent)["r"]  # type: ignore[arg-type]


def _places(path: Path) -> Any:
    return read_places(path, "grid.file")


def _dates(path: Path) -> Any:
    return read_dates(path, "time.windows")


READS = [_region, _places, _dates]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    "content",
    [
        '<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>SECRET</SrcDataSource></OGRVRTLayer>'
        "</OGRVRTDataSource>",
        '{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline ! read SECRET"}',
        '{"type": "FeatureCollection", "crs": {"type": "link", "properties": {"href": "http://127.0.0.1:9/"}}, '
        '"features": [{"type": "Feature", "properties": {}, '
        '"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}]}',
    ],
    ids=["vrt", "gdalg", "crs"],
)
def test_a_file_of_a_recipe_names_no_other_file_and_no_address(
    tmp_path: Path, read: Callable[[Path], Any], content: str
) -> None:
    secret, path = tmp_path / "secret.geojson", tmp_path / "a.geojson"
    geopandas.GeoDataFrame(geometry=[shapely.box(3, 50, 4, 51)], crs=4326).to_file(secret)
    path.write_text(content.replace("SECRET", str(secret)))
    with pytest.raises(RecipeError, match=r"a\.geojson"):
        read(path)


@pytest.mark.parametrize("read", READS)
def test_a_file_of_another_ending_names_those_that_are_read(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "a.kml").write_text("<kml/>")
    with pytest.raises(RecipeError, match=r"a\.kml: vector files of \.kml are not read: \.gpkg, \.geojson"):
        read(tmp_path / "a.kml")


RING = [[3, 51], [3.2, 51.2], [3.2, 51], [3, 51.1], [3, 51]]


@pytest.mark.parametrize("wrong", ["[500000, 51]", "[1e999, 51]", "[3, 120]"])
def test_a_region_that_is_not_in_degrees_is_one_line(tmp_path: Path, wrong: str) -> None:
    ring = json.dumps(RING).replace("[3.2, 51]", wrong)
    (tmp_path / "a.geojson").write_text(f'{{"type": "Polygon", "coordinates": [{ring}]}}')
    with pytest.raises(RecipeError, match="are no degrees"):
        _region(tmp_path / "a.geojson")


def test_a_region_is_its_areas_however_they_are_drawn(tmp_path: Path) -> None:
    shapes = [{"type": "Polygon", "coordinates": [RING]}, {"type": "Point", "coordinates": [1, 1]}]
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "GeometryCollection", "geometries": shapes}},
        {"type": "Feature", "properties": {}, "geometry": None},
    ]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    area = _region(tmp_path / "a.geojson")
    assert area.is_valid
    assert area.bounds == (3.0, 51.0, 3.2, 51.2)
    assert area.area == pytest.approx(
        0.1 * 1 / 15 / 2 + 0.2 * 2 / 15 / 2
    )  # both sides of where the outline crosses itself


def test_absent_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no file p\.csv"):
        read_places(tmp_path / "p.csv", "grid.file")


def test_overview_is_the_part_of_the_raster_under_the_cells(tmp_path: Path) -> None:
    cells = to_table(np.array([600, 601, 602]), np.array([5500, 5500, 5500]), 32632, 960.0, "r")
    codes = np.arange(30 * 50, dtype=np.uint8).reshape(30, 50) % 5
    left, top = cells.bounds[0, 0] - 4000, cells.bounds[0, 3] + 3000
    profile = {"driver": "GTiff", "width": 50, "height": 30, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(tmp_path / "c.tif", "w", transform=rasterio.Affine(240, 0, left, 0, -240, top), **profile) as to:
        to.write(codes, 1)
    view = read_overview(str(tmp_path / "c.tif"), cells, "sample.0.files", PlainOpener())
    assert view.codes.size < codes.size
    kinds, shares = class_shares(cells, [view])
    with rasterio.open(tmp_path / "c.tif") as raster:
        for cell, share in zip(cells.bounds, shares, strict=True):
            spots = [(cell[0] + 192 * (i + 0.5), cell[1] + 192 * (j + 0.5)) for i in range(5) for j in range(5)]
            seen = np.array([value[0] for value in raster.sample(spots)])
            assert share.tolist() == pytest.approx([(seen == kind).mean() for kind in kinds])


def test_a_raster_whose_rows_run_from_south_to_north_is_seen_and_a_rotated_one_refused(tmp_path: Path) -> None:
    """As netCDF is often made into GeoTIFF: no class was seen anywhere."""
    cells = to_table(np.array([600, 601]), np.array([5500, 5500]), 32632, 960.0, "r")
    left, _, _, top = cells.bounds[0]
    profile = {"driver": "GTiff", "width": 20, "height": 9, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    places = {
        "up": rasterio.Affine(120, 0, left, 0, -120, top + 60),
        "down": rasterio.Affine(120, 0, left, 0, 120, top + 60 - 9 * 120),
        "turned": rasterio.Affine(120, 9, left, 9, -120, top + 60),
    }
    codes = (np.arange(180, dtype=np.uint8) % 7).reshape(9, 20)
    for name, place in places.items():
        with rasterio.open(tmp_path / f"{name}.tif", "w", transform=place, **profile) as to:
            to.write(codes[::-1] if name == "down" else codes, 1)
    up, down = (read_overview(str(tmp_path / f"{name}.tif"), cells, "x", PlainOpener()) for name in ("up", "down"))
    (kinds, shares), (others, same) = class_shares(cells, [up]), class_shares(cells, [down])
    assert kinds.tolist() == others.tolist() == list(range(7))
    np.testing.assert_array_equal(same, shares)
    with pytest.raises(RecipeError, match="rotated"):
        read_overview(str(tmp_path / "turned.tif"), cells, "x", PlainOpener())


@pytest.mark.parametrize("west", [0.0, -180.0])
def test_longitudes_may_run_from_0_to_360(tmp_path: Path, west: float) -> None:
    """Of a raster from 0 no class was seen west of Greenwich."""
    bounds = np.array([[600_000.0, 5_500_000, 600_960, 5_500_960]])
    cell = to_table(np.array([600]), np.array([5500]), 32632, 960.0, "r")
    zones = [np.array([code], np.int32) for code in (32622, 32632)]
    cells = CellTable.concat([replace(cell, epsg=zone, bounds=bounds) for zone in zones])
    codes = np.broadcast_to((np.arange(360) + west).astype(int) % 360 // 2, (180, 360)).astype(np.uint8)
    profile = {"driver": "GTiff", "width": 360, "height": 180, "count": 1, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(tmp_path / "c.tif", "w", transform=rasterio.Affine(1, 0, west, 0, -1, 90), **profile) as to:
        to.write(codes, 1)
    for some in (cells, cells.take(np.array([0]))):
        kinds, shares = class_shares(some, [read_overview(str(tmp_path / "c.tif"), some, "x", PlainOpener())])
        assert [int(kinds[share.argmax()]) for share in shares] == [155, 5][: len(some)]  # 49.6 W and 10.4 E
        assert shares.sum(axis=1).tolist() == [1.0] * len(some)


def test_what_is_no_raster_is_one_line(tmp_path: Path) -> None:
    cells = to_table(np.array([600]), np.array([5500]), 32632, 960.0, "r")
    (tmp_path / "c.tif").write_text("no raster")
    with pytest.raises(RecipeError, match="cannot be read as a raster"):
        read_overview(str(tmp_path / "c.tif"), cells, "sample.0.files", PlainOpener())


def test_box_over_the_antimeridian_has_two_parts() -> None:
    area = box_of((179.0, -18.0, -179.5, -16.0))
    assert area.area == pytest.approx((1.0 + 0.5) * 2.0)
    assert area.covers(shapely.Point(-179.9, -17))
    assert not area.covers(shapely.Point(0, -17))


@pytest.mark.parametrize("how", ["mode", "average"])
def test_large_rasters_are_read_by_their_overviews_if_these_hold_codes(tmp_path: Path, how: str) -> None:
    path = tmp_path / "large.tif"
    transform = rasterio.Affine(10, 0, 600000, 0, -10, 5340000)
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 1, "tiled": True, "compress": "deflate"}
    with rasterio.open(
        tmp_path / "plain.tif", "w", width=4096, height=3072, crs=32632, transform=transform, **profile
    ) as file:
        codes = np.full((3072, 4096), 10, np.uint8)
        codes[::2, ::2], codes[:, :96] = 30, 80
        file.write(codes, 1)
    rasterio.shutil.copy(tmp_path / "plain.tif", path, driver="COG", compress="deflate", overview_resampling=how)
    cells = to_table(np.array([625, 660]), np.array([5540, 5560]), 32632, 960.0, "r")
    cells = replace(cells, bounds=np.array([[600000.0, 5310000, 600960, 5310960], [640000, 5339000, 640960, 5339960]]))
    if how == "average":
        with pytest.raises(RecipeError, match=r"overviews of large.tif hold code 15, .* they are averages"):
            read_overview(str(path), cells, "sample.0", PlainOpener())
        return
    view = read_overview(str(path), cells, "sample.0", PlainOpener())
    assert view.codes.size <= 1 << 20
    found, shares = class_shares(cells, [view])
    assert found.tolist() == [10, 80]  # every fourth pixel is 30, in no overview the most frequent
    assert shares.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    spoil(path, OVERVIEW_LEVEL=1)
    with pytest.raises(RecipeError, match=r"large.tif is damaged: .* checksum"):
        read_overview(str(path), cells, "sample.0", PlainOpener())
