"""Class polygons as a raster: CORINE's vector against CORINE's own raster, and what is refused."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rasterio.features import rasterize
from rasterio.transform import from_origin

from labelers.base import make_labeler
from schemas.errors import DecodeError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import LabelSource
from schemas.recipe_file import parse_recipe
from sources.labels_vector import read_label_vector
from tests.loopback import serving

GRID = GeoRef(32631, 500_000.0, 5_000_000.0, 10.0, (30, 40))


def source(**more: object) -> LabelSource:
    return LabelSource.model_validate({"kind": "corine", "href": "x", "column": "CODE_18", "year": 2018, **more})


def write(path: Path, rows: list[tuple[object, shapely.Geometry]], epsg: int = 32631, column: str = "CODE_18") -> Path:
    frame = geopandas.GeoDataFrame({column: [r[0] for r in rows]}, geometry=[r[1] for r in rows], crs=epsg)
    frame.to_file(path)
    return path


@pytest.mark.realdata
def test_corines_vector_agrees_with_its_raster(realdata: Path) -> None:
    with rasterio.open(realdata / "corine" / "clc.tif") as file:
        codes, transform, nodata = file.read(1), file.transform, file.nodata
    middle = pyproj.Transformer.from_crs(25830, 32630, always_xy=True).transform(
        transform.c + codes.shape[1] / 2 * transform.a, transform.f + codes.shape[0] / 2 * transform.e
    )
    grid = GeoRef(32630, round(middle[0] - 2000, -1), round(middle[1] + 1750, -1), 25.0, (140, 160))
    layer = read_label_vector(realdata / "corine" / "clc.gpkg", grid, "corine", source(layer="clc"))
    assert layer is not None
    x, y = pyproj.Transformer.from_crs(32630, 25830, always_xy=True).transform(
        *np.meshgrid(grid.x_centres(), grid.y_centres())
    )
    columns = np.floor((x - transform.c) / transform.a).astype(int)
    rows = np.floor((y - transform.f) / transform.e).astype(int)
    theirs = codes[rows, columns]
    both = (theirs != nodata) & (layer.codes != layer.nodata)
    assert both.mean() > 0.9
    assert np.unique(layer.codes[both]).size > 5
    # the raster's pixels are 25 m: along borders either side is right
    assert (layer.codes == theirs)[both].mean() > 0.97
    assert (layer.licence, layer.vintage, layer.legend) == ("Copernicus-CLC", "2018", "corine-44")


def test_a_pixel_takes_the_code_under_its_centre_in_any_zone(tmp_path: Path) -> None:
    left, bottom, right, top = GRID.bounds_xyxy
    rows: list[tuple[object, shapely.Geometry]] = [
        ("111", shapely.box(left, bottom, left + 154, top)),
        ("311", shapely.box(left + 154, bottom, right - 100, top)),
    ]
    near = write(tmp_path / "near.gpkg", rows)
    layer = read_label_vector(near, GRID, "c", source())
    assert layer is not None
    assert (layer.codes[:, :15] == 111).all()
    assert (layer.codes[:, 15:30] == 311).all()
    assert (layer.codes[:, 30:] == layer.nodata).all()
    far = tmp_path / "far.gpkg"
    geopandas.read_file(near).to_crs(3035).to_file(far)
    again = read_label_vector(far, GRID, "c", source())
    assert again is not None
    np.testing.assert_array_equal(again.codes, layer.codes)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(-30, 430), st.floats(-330, 30)), min_size=3, max_size=6), min_size=1, max_size=5
    )
)
def test_polygons_slivers_and_overlaps_fall_as_gdal_rasterises_them(
    tmp_path_factory: pytest.TempPathFactory, rings: list[list[tuple[float, float]]]
) -> None:
    left, _, _, top = GRID.bounds_xyxy
    hulls = [shapely.convex_hull(shapely.MultiPoint([(left + x, top + y) for x, y in ring])) for ring in rings]
    rows = [(100 + i, hull) for i, hull in enumerate(hulls) if hull.geom_type == "Polygon"]
    if not rows:
        return
    path = write(tmp_path_factory.mktemp("v") / "a.gpkg", [(code, hull) for code, hull in rows])
    layer = read_label_vector(path, GRID, "c", source())
    burned = rasterize(
        [(hull, code) for code, hull in reversed(rows)], GRID.shape_yx, fill=999,
        transform=from_origin(GRID.x0, GRID.y0, 10, 10), dtype="uint16",
    )  # fmt: skip
    codes = np.full(GRID.shape_yx, 999) if layer is None else layer.codes
    x, y = np.meshgrid(GRID.x_centres(), GRID.y_centres())
    borders = shapely.union_all([hull.exterior for _, hull in rows])
    away = shapely.distance(shapely.points(x, y), borders) > 1e-3
    np.testing.assert_array_equal(codes[away], burned[away])


@pytest.mark.parametrize("window", [1, 3, 5])
def test_points_name_their_pixel_and_the_window_around_it(tmp_path: Path, window: int) -> None:
    left, _, right, top = GRID.bounds_xyxy
    places = [(left + 105.0, top - 52.0), (right - 1.0, top - 1.0), (right + 12.0, top - 155.0), (left - 900.0, top)]
    path = write(tmp_path / "p.gpkg", [(211 + i, shapely.Point(*place)) for i, place in enumerate(places)])
    layer = read_label_vector(path, GRID, "c", source(window_px=window))
    assert layer is not None
    want = np.full(GRID.shape_yx, 999)
    for code, row, column in ((213, 15, 41), (212, 0, 39), (211, 5, 10)):
        reach = window // 2
        want[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = code
    np.testing.assert_array_equal(layer.codes, want)


def test_where_windows_overlap_the_files_first_point_stands(tmp_path: Path) -> None:
    left, _, _, top = GRID.bounds_xyxy
    rows = [(311, shapely.Point(left + 105, top - 55)), (111, shapely.Point(left + 115, top - 55))]
    layer = read_label_vector(write(tmp_path / "p.gpkg", rows), GRID, "c", source(window_px=3))
    assert layer is not None
    assert layer.codes[5, 8:13].tolist() == [999, 311, 311, 311, 111]


def test_a_window_is_odd_and_for_points(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="odd"):
        source(window_px=4)
    path = write(tmp_path / "a.gpkg", [(111, shapely.box(*GRID.bounds_xyxy))])
    with pytest.raises(DecodeError, match="no points: window_px is for points"):
        read_label_vector(path, GRID, "c", source(window_px=3))


def test_points_without_a_window_are_told_and_not_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "p.gpkg", [(111, shapely.Point(GRID.x0 + 105, GRID.y0 - 55))])
    with pytest.raises(DecodeError, match="no areas: points are read with window_px"):
        read_label_vector(path, GRID, "c", source())


def test_a_multipoint_is_as_good_as_its_points(tmp_path: Path) -> None:
    places = [(GRID.x0 + 105, GRID.y0 - 55), (GRID.x0 + 305, GRID.y0 - 205)]
    path = write(tmp_path / "p.gpkg", [(111, shapely.MultiPoint(places))])
    layer = read_label_vector(path, GRID, "c", source(window_px=1))
    assert layer is not None
    assert np.argwhere(layer.codes == 111).tolist() == [[5, 10], [20, 30]]


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb", "shp", "parquet"])
def test_every_format_that_is_named_is_read(tmp_path: Path, ending: str) -> None:
    left, _, _, top = GRID.bounds_xyxy
    frame = geopandas.GeoDataFrame(
        {"CODE_18": ["311", "111"]},
        geometry=[shapely.box(left, top - 100, left + 100, top), shapely.box(left, top - 200, left + 100, top)],
        crs=32631,
        index=[7, 3],
    )
    path = tmp_path / f"a.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_file(path)
    layer = read_label_vector(path, GRID, "c", source())
    assert layer is not None
    assert layer.codes[5:15:9, 0].tolist() == [311, 111]


def test_a_shapefile_without_its_other_parts_says_which(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"CODE_18": [311]}, geometry=[shapely.box(*GRID.bounds_xyxy)], crs=32631)
    frame.to_file(tmp_path / "a.shp")
    (tmp_path / "a.shx").rename(tmp_path / "a.SHX")
    (tmp_path / "a.dbf").unlink()
    with pytest.raises(DecodeError, match=r"needs its \.dbf beside it"):
        read_label_vector(tmp_path / "a.shp", GRID, "c", source())


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    for code in (111, 311):
        write(path, [(code, shapely.box(*GRID.bounds_xyxy))])
        layer = read_label_vector(path, GRID, "c", source())
        assert layer is not None
        assert (layer.codes == code).all()


def test_away_from_all_polygons_there_is_no_layer(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [(111, shapely.box(0, 0, 10, 10))])
    assert read_label_vector(path, GRID, "c", source()) is None


@pytest.mark.parametrize("code", ["forest", 1.5, -4, 70_000])
def test_codes_that_are_none_are_refused(tmp_path: Path, code: object) -> None:
    path = write(tmp_path / "a.gpkg", [(code, shapely.box(*GRID.bounds_xyxy))])
    with pytest.raises(DecodeError, match="code"):
        read_label_vector(path, GRID, "c", source())


def test_a_missing_column_lists_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [(111, shapely.box(*GRID.bounds_xyxy))], column="CODE_06")
    with pytest.raises(DecodeError, match="CODE_06"):
        read_label_vector(path, GRID, "c", source())


def test_a_virtual_vector_file_under_another_name_is_not_opened(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.gpkg", [(111, shapely.box(*GRID.bounds_xyxy))])
    path = tmp_path / "a.geojson"
    path.write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(DecodeError, match=r"no \.geojson"):
        read_label_vector(path, GRID, "c", source())
    path.rename(tmp_path / "a.vrt")
    with pytest.raises(DecodeError, match="not read"):
        read_label_vector(tmp_path / "a.vrt", GRID, "c", source())


@pytest.mark.parametrize("ending", ["geojson", "json"])
def test_a_file_of_json_names_no_other_file(tmp_path: Path, ending: str) -> None:
    secret = write(tmp_path / "secret.gpkg", [(111, shapely.box(*GRID.bounds_xyxy))])
    path = tmp_path / f"a.{ending}"
    steps = f"gdal vector pipeline ! read {secret}"
    path.write_text(json.dumps({"type": "gdal_streamed_alg", "command_line": steps}))
    with pytest.raises(DecodeError, match="not read as a vector file"):
        read_label_vector(path, GRID, "c", source())


@pytest.mark.parametrize(
    "member",
    [
        '"crs": {"type": "link", "properties": {"href": "URL"}}',
        '"crs": {"type": "name", "type": "url", "properties": {"url": "URL"}}',
        r'"C\u0072s" : {"TYPE": "Link", "properties": {"href": "URL"}}',
        '"crs": /* x */ {"type": "link", "properties": {"href": "URL"}}',
        "'crs': {'type': 'link', 'properties': {'href': 'URL'}}",
    ],
)
def test_a_coordinate_system_that_is_a_link_is_not_asked_for(tmp_path: Path, member: str) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    path = write(tmp_path / "a.geojson", [(111, shapely.box(3, 45, 4, 46))], epsg=4326)
    with serving(Handler) as url:
        path.write_text(path.read_text().replace("{", f"{{{member.replace('URL', url)}, ", 1))
        with pytest.raises(DecodeError, match="crs"):
            read_label_vector(path, GRID, "c", source())
    assert not asked


def test_a_coordinate_system_by_name_and_a_column_crs_are_read(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"CODE_18": [111], "crs": ["crs"]}, geometry=[shapely.box(*GRID.bounds_xyxy)], crs=GRID.epsg
    )
    frame.to_file(tmp_path / "a b#1.geojson")
    layer = read_label_vector(tmp_path / "a b#1.geojson", GRID, "c", source())
    assert layer is not None
    assert (layer.codes == 111).all()


def test_a_table_whose_coordinate_system_is_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [(111, shapely.box(*GRID.bounds_xyxy))])
    geopandas.read_file(path).to_parquet(tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    geo = json.loads(table.schema.metadata[b"geo"])
    geo["columns"]["geometry"]["crs"] = "nowhere"
    spoilt = table.replace_schema_metadata({b"geo": json.dumps(geo).encode()})
    pyarrow.parquet.write_table(spoilt, tmp_path / "a.parquet")
    with pytest.raises(DecodeError, match="not read as a vector file"):
        read_label_vector(tmp_path / "a.parquet", GRID, "c", source())


def test_the_recipe_says_under_which_licence_a_file_stands(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [(111, shapely.box(*GRID.bounds_xyxy))])
    layer = read_label_vector(path, GRID, "c", source(licence="CC-BY-SA-4.0", attribution="Survey of Erewhon"))
    assert layer is not None
    assert (layer.licence, layer.attribution) == ("CC-BY-SA-4.0", "Survey of Erewhon")


def test_a_recipes_own_legend_names_the_codes_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "parcels.yaml").write_text(
        "name: own-parcels\ntitle: parcels\nversion: '1'\nsource: survey\nnodata: [9]\n"
        "classes: [{code: 1, name: beet, colour: '#ff0000'}, {code: 2, name: maize, colour: '#00ff00'}]\n"
    )
    text = """
format: 1
name: own
catalogs: {main: {kind: stac-api, href: "https://stac.example.org"}}
regions: [{name: north, bbox: [11.9, 47.8, 12.1, 47.9]}]
grid: {chip_m: 960}
time: {start: 2021-01-01, end: 2022-12-31}
modalities: {s2: {sensor: sentinel-2-l2a, catalog: main, collection: sentinel-2-l2a}}
legends: {own-parcels: parcels.yaml}
labels: {sources: {crops: {kind: raster, href: parcels.gpkg, column: crop, legend: own-parcels}}}
"""
    recipe = parse_recipe(text.encode(), "own.yaml", tmp_path)
    assert recipe.labels is not None
    assert recipe.hashed()["legends"]["own-parcels"]["classes"][1]["code"] == 2
    entry = recipe.labels.sources["crops"]
    left, bottom, right, top = GRID.bounds_xyxy
    path = write(tmp_path / "parcels.gpkg", [(1, shapely.box(left, bottom, left + 150, top))], column="crop")
    layer = read_label_vector(path, GRID, "crops", entry)
    assert layer is not None
    found = make_labeler(entry).label(layer, GRID)
    assert (found.classes[:, :15] == 1).all()
    assert (found.classes[:, 15:] == 9).all()
    assert (found.legend, found.nodata) == ("own-parcels", 9)
    other = write(tmp_path / "other.gpkg", [(5, shapely.box(left, bottom, right, top))], column="crop")
    unknown = read_label_vector(other, GRID, "crops", entry)
    assert unknown is not None
    with pytest.raises(UnsupportedItemError, match="own-parcels has no code 5"):
        make_labeler(entry).label(unknown, GRID)
    wide = write(tmp_path / "wide.gpkg", [(257, shapely.box(left, bottom, right, top))], column="crop")
    with pytest.raises(DecodeError, match="code 257"):
        read_label_vector(wide, GRID, "crops", entry)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "osm", "href": "x", "column": "c"}, "vector file"),
        ({"kind": "corine", "href": "x", "layer": "clc"}, "column"),
        ({"kind": "corine", "catalog": "c", "collection": "k", "column": "c"}, "href"),
        ({"kind": "corine", "href": "x", "column": "c", "resampling": "mode"}, "rasters"),
        ({"kind": "osm", "href": "x", "licence": "CC0-1.0"}, "known"),
    ],
)
def test_nonsense_in_the_recipe_is_said(entry: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LabelSource.model_validate(entry)
