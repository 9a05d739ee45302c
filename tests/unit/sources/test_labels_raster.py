"""Class rasters: which items, and every pixel checked against an independent computation of its centre."""

from __future__ import annotations

import itertools
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.transform import from_origin

from chips.cell_table import CellTable
from schemas.errors import AssetMissingError, DecodeError, RecipeError, SourceError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import LabelSource
from schemas.scene import SceneItem
from schemas.sensor import load_sensor
from sources.centres import source_pixels
from sources.items import normalise_item
from sources.label_licences import attribution_of_item
from sources.labels_raster import choose_of, read_label_raster, to_label_item, to_label_item_of_file
from sources.openers import PlainOpener
from sources.overviews import read_overview
from sources.scenes import licence_of

OPENER = PlainOpener(allow_local=True)


def source_of(kind: str, **more: Any) -> LabelSource:
    return LabelSource.model_validate({"kind": kind, "catalog": "c", "collection": "x"} | more)


def write_raster(
    path: Path, codes: NDArray[Any], epsg: int, x0: float, y0: float, size: float, nodata: Any = None
) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=codes.shape[1], height=codes.shape[0], count=1, dtype=codes.dtype,
        crs=f"EPSG:{epsg}", transform=from_origin(x0, y0, size, size), nodata=nodata,
    ) as raster:  # fmt: skip
        raster.write(codes, 1)
    return path


def item_of(path: Path, kind: str = "raster", **more: Any) -> SceneItem:
    source = LabelSource.model_validate({"kind": kind, "href": str(path), "legend": "worldcover"} | more)
    return to_label_item_of_file(str(path), "labels", source, OPENER)


def assert_codes_under_centres(codes: NDArray[Any], path: Path, target: GeoRef, nodata: int) -> None:
    """Independent reading: rasterio samples the file at the projected centres of 5000 of the target's pixels."""
    picked = np.random.default_rng(5).choice(codes.size, min(5000, codes.size), replace=False)
    with rasterio.open(path) as raster:
        to_source = pyproj.Transformer.from_crs(target.epsg, raster.crs.to_epsg(), always_xy=True)
        x, y = np.meshgrid(target.x_centres(), target.y_centres())
        places = np.column_stack(to_source.transform(x.ravel()[picked], y.ravel()[picked]))
        found = np.array([value[0] for value in raster.sample(places)], dtype=np.int64)
        left, bottom, right, top = raster.bounds
        missing = found == raster.nodata
    inside = (places[:, 0] >= left) & (places[:, 0] < right) & (places[:, 1] > bottom) & (places[:, 1] <= top)
    np.testing.assert_array_equal(codes.ravel()[picked], np.where(inside & ~missing, found, nodata))


WORLDCOVER = "worldcover/ESA_WorldCover_10m_{}_Map_SaoTome.tif"


@pytest.mark.realdata
@pytest.mark.parametrize("version", ["2020_v100_N00E006", "2021_v200_N00E006"])
@pytest.mark.parametrize(
    "target",
    [
        GeoRef(32632, 245_000.0, 38_600.0, 10.0, (150, 220)),
        GeoRef(32732, 245_503.7, 10_038_001.3, 20.0, (90, 71)),
    ],
    ids=["utm-north", "utm-south-off-lattice"],
)
def test_worldcover_pixels_are_those_under_the_centres(realdata: Path, version: str, target: GeoRef) -> None:
    path = realdata / WORLDCOVER.format(version)
    layer = read_label_raster([item_of(path)], target, OPENER, legend="worldcover")
    assert layer is not None
    assert layer.codes.dtype == np.uint8
    assert len(np.unique(layer.codes)) > 3
    assert_codes_under_centres(layer.codes, path, target, 0)


@pytest.mark.realdata
def test_corine_in_epsg_3042_is_not_transposed(realdata: Path) -> None:
    path = realdata / "corine" / "clc.tif"
    target = GeoRef(32630, 459_000.0, 4_094_000.0, 10.0, (310, 470))
    layer = read_label_raster(
        [item_of(path, "corine", legend="corine-44", year=2018)], target, OPENER, legend="corine-44"
    )
    assert layer is not None
    assert layer.codes.dtype == np.uint16
    assert layer.nodata == 999
    assert_codes_under_centres(layer.codes, path, target, 999)
    assert len(np.unique(layer.codes)) >= 10


@pytest.mark.realdata
def test_corines_raster_lies_where_its_own_polygons_lie(realdata: Path) -> None:
    path = realdata / "corine" / "clc.tif"
    target = GeoRef(32630, 456_000.0, 4_096_000.0, 25.0, (300, 400))
    layer = read_label_raster([item_of(path, "corine", legend="corine-44")], target, OPENER, legend="corine-44")
    assert layer is not None
    polygons = geopandas.read_file(realdata / "corine" / "clc.gpkg", layer="clc").to_crs(32630)
    shapes = [(shape, int(code)) for shape, code in zip(polygons.geometry, polygons.CODE_18, strict=True)]
    agreement = {}
    for dx, dy in itertools.product((-25, 0, 25), (-25, 0, 25)):
        place = from_origin(target.x0 + dx, target.y0 + dy, 25, 25)
        codes = rasterize(shapes, target.shape_yx, transform=place, fill=999, dtype="uint16")
        both = (codes != 999) & (layer.codes != 999)
        agreement[dx, dy] = (codes == layer.codes)[both].mean()
    assert max(agreement, key=lambda shift: agreement[shift]) == (0, 0)
    assert agreement[0, 0] > 0.96


@pytest.mark.realdata
def test_labels_on_the_chips_own_lattice_are_the_stored_bits(realdata: Path) -> None:
    path = realdata / "catalog/lc-label/data/LABEL_wervik_2018/LC.tif"
    target = GeoRef(32631, 501_400.0, 5_629_600.0, 10.0, (20, 31))
    layer = read_label_raster([item_of(path)], target, OPENER, legend="lc-label")
    assert layer is not None
    with rasterio.open(path) as raster:
        np.testing.assert_array_equal(layer.codes, raster.read(1)[8:28, 4:35])


def test_corine_on_its_own_grid_in_3035_lands_under_the_centres(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = write_raster(
        tmp_path / "clc.tif", rng.integers(1, 45, (60, 83)).astype(np.int8), 3035, 4_321_000.0, 2_900_000.0, 100.0, -128
    )
    to_utm = pyproj.Transformer.from_crs(3035, 32632, always_xy=True)
    x, y = to_utm.transform(4_325_000.0, 2_897_000.0)
    target = GeoRef(32632, round(x, -1), round(y, -1), 10.0, (70, 111))
    layer = read_label_raster([item_of(path, "corine", legend="corine-44")], target, OPENER, legend="corine-44")
    assert layer is not None
    assert_codes_under_centres(layer.codes, path, target, 999)


@pytest.mark.parametrize(("dtype", "nodata"), [(np.int8, -128), (np.uint8, 255), (np.uint8, 128), (np.int16, -32_768)])
def test_no_data_of_corine_is_no_class_in_a_file_whose_type_is_too_small_for_the_legends_code(
    tmp_path: Path, dtype: Any, nodata: int
) -> None:
    codes = np.full((4, 6), 12, dtype)
    codes[:, 2:] = nodata
    path = write_raster(tmp_path / "clc.tif", codes, 32632, 500_000.0, 5_000_000.0, 10.0, nodata)
    item = item_of(path, "corine", legend="corine-44")
    layer = read_label_raster([item], GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (3, 4)), OPENER, legend="corine-44")
    assert layer is not None
    np.testing.assert_array_equal(layer.codes, np.tile(np.array([12, 12, 999, 999], np.uint16), (3, 1)))
    beyond = GeoRef(32632, 500_030.0, 5_000_000.0, 10.0, (3, 3))
    assert read_label_raster([item], beyond, OPENER, legend="corine-44") is None


@pytest.mark.parametrize("resampling", ["nearest", "mode"])
def test_a_code_beyond_the_legend_s_type_is_refused_and_not_cut_to_another(tmp_path: Path, resampling: Any) -> None:
    codes = np.full((6, 8), 266, np.uint16)  # 10 in 8 bits, tree cover
    path = write_raster(tmp_path / "a.tif", codes, 32632, 500_000.0, 5_000_000.0, 10.0)
    target = GeoRef(32632, 500_000.0, 5_000_000.0, 20.0, (3, 4))
    with pytest.raises(UnsupportedItemError, match="no code 266"):
        read_label_raster([item_of(path)], target, OPENER, legend="worldcover", resampling=resampling)


def test_what_a_mask_in_the_file_hides_is_no_data(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((5, 7), 10, np.uint8), 32632, 500_000.0, 5_000_000.0, 10.0)
    shown = np.full((5, 7), 255, np.uint8)
    shown[:, 2:] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
        raster.write_mask(shown)
    layer = read_label_raster(
        [item_of(path)], GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (3, 4)), OPENER, legend="worldcover"
    )
    assert layer is not None
    np.testing.assert_array_equal(layer.codes, np.tile(np.array([10, 10, 0, 0], np.uint8), (3, 1)))


def test_a_rotated_raster_is_refused_and_not_read_as_if_it_were_not(tmp_path: Path) -> None:
    path = tmp_path / "turned.tif"
    turned = Affine.translation(500_000, 5_000_000) * Affine.rotation(20) * Affine.scale(10, -10)
    with rasterio.open(
        path, "w", driver="GTiff", width=7, height=5, count=1, dtype="uint8", crs="EPSG:32632", transform=turned
    ) as raster:
        raster.write(np.full((5, 7), 10, np.uint8), 1)
    with pytest.raises(DecodeError, match="rotated"):
        item_of(path)


def test_a_raster_in_a_grid_without_epsg_code_lands_under_the_centres(tmp_path: Path) -> None:
    """NLCD's Albers grid has no EPSG code: neither the lattice nor the pixels hang on one."""
    albers = rasterio.CRS.from_string("+proj=aea +lat_0=23 +lon_0=9 +lat_1=29.5 +lat_2=45.5 +datum=WGS84 +units=m")
    assert albers.to_epsg() is None
    target = GeoRef(32632, 500_003.0, 5_200_007.0, 10.0, (40, 70))
    x0, y0 = pyproj.Transformer.from_crs(32632, albers.to_wkt(), always_xy=True).transform(500_000, 5_200_000)
    path = tmp_path / "albers.tif"
    stored = np.random.default_rng(3).choice([10, 30, 50], (60, 80)).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=80, height=60, count=1, dtype=np.uint8, crs=albers, nodata=0,
        transform=from_origin(x0 - 100, y0 + 500, 30, 30),
    ) as raster:  # fmt: skip
        raster.write(stored, 1)
    layer = read_label_raster([item_of(path)], target, OPENER, legend="worldcover")
    assert layer is not None
    x, y = np.meshgrid(target.x_centres(), target.y_centres())
    along, up = pyproj.Transformer.from_crs(32632, albers.to_wkt(), always_xy=True).transform(x, y)
    rows, columns = np.floor((y0 + 500 - up) / 30).astype(int), np.floor((along - x0 + 100) / 30).astype(int)
    np.testing.assert_array_equal(layer.codes, stored[rows, columns])


def test_a_file_has_the_licence_and_the_year_that_the_recipe_says_and_no_other(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((5, 7), 10, np.uint8), 32632, 500_000.0, 5_000_000.0, 10.0, 0)
    target = GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (3, 4))

    def cited(kind: str, **more: Any) -> tuple[str, str, str]:
        layer = read_label_raster([item_of(path, kind, **more)], target, OPENER, legend="worldcover")
        assert layer is not None
        return layer.vintage, layer.licence, layer.attribution

    assert cited("raster", year=2019, licence="CC-BY-SA-4.0", attribution="Survey") == (
        "2019", "CC-BY-SA-4.0", "Survey",
    )  # fmt: skip
    assert cited("raster") == ("", "", "")
    vintage, licence, attribution = cited("worldcover")
    assert (vintage, licence) == ("", "CC-BY-4.0")
    assert attribution.startswith("(c) ESA WorldCover project / Contains modified Copernicus Sentinel data processed")
    item = worldcover_item(2021, "v200")
    assert to_label_item(item, "wc", source_of("worldcover", licence="CC0-1.0"), "pc").licence == "CC0-1.0"


def test_nothing_covers_the_chip(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.full((5, 7), 10, np.uint8), 32632, 500_000.0, 5_000_000.0, 10.0, 0)
    far = GeoRef(32632, 600_000.0, 5_000_000.0, 10.0, (3, 4))
    assert read_label_raster([item_of(path)], far, OPENER, legend="worldcover") is None
    assert read_label_raster([], far, OPENER, legend="worldcover") is None


def test_a_raster_without_data_on_the_chip_covers_nothing(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", np.zeros((5, 7), np.uint8), 32632, 500_000.0, 5_000_000.0, 10.0)
    target = GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (3, 4))
    assert read_label_raster([item_of(path)], target, OPENER, legend="worldcover") is None


def test_items_are_mosaicked_and_the_rest_is_no_data(tmp_path: Path) -> None:
    left = write_raster(tmp_path / "l.tif", np.full((4, 3), 10, np.uint8), 32632, 500_000.0, 5_000_000.0, 10.0, 0)
    right = write_raster(tmp_path / "r.tif", np.full((4, 3), 80, np.uint8), 32632, 500_030.0, 5_000_000.0, 10.0, 0)
    target = GeoRef(32632, 500_010.0, 5_000_000.0, 10.0, (3, 7))
    layer = read_label_raster([item_of(left), item_of(right)], target, OPENER, legend="worldcover")
    assert layer is not None
    np.testing.assert_array_equal(layer.codes, np.tile([10, 10, 80, 80, 80, 0, 0], (3, 1)).astype(np.uint8))


def test_mode_takes_the_most_frequent_code_under_a_coarse_pixel(tmp_path: Path) -> None:
    codes = np.full((6, 9), 30, np.uint8)
    codes[:3, :3] = 10
    codes[1, 1] = 50
    path = write_raster(tmp_path / "a.tif", codes, 32632, 500_000.0, 5_000_000.0, 10.0, 0)
    target = GeoRef(32632, 500_000.0, 5_000_000.0, 30.0, (2, 3))
    nearest = read_label_raster([item_of(path)], target, OPENER, legend="worldcover")
    mode = read_label_raster([item_of(path)], target, OPENER, legend="worldcover", resampling="mode")
    assert nearest is not None
    assert mode is not None
    assert nearest.codes[0, 0] == 50
    assert mode.codes[0, 0] == 10


@pytest.mark.parametrize("turned", [False, True])
def test_mode_counts_all_of_a_pixel_on_the_border_of_two_tiles(tmp_path: Path, turned: bool) -> None:
    """The border lies 3 m from the left of the second pixel of 10 m."""
    first, second = np.full((10, 13), 10, np.uint8), np.full((10, 27), 20, np.uint8)
    paths = [
        write_raster(tmp_path / "a.tif", first, 32632, 500_000.0, 5_000_000.0, 1.0, 0),
        write_raster(tmp_path / "b.tif", second, 32632, 500_013.0, 5_000_000.0, 1.0, 0),
    ]
    target = GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (1, 5))
    items = [item_of(path) for path in (reversed(paths) if turned else paths)]
    layer = read_label_raster(items, target, OPENER, legend="worldcover", resampling="mode")
    assert layer is not None
    assert layer.codes.tolist() == [[10, 20, 20, 20, 0]]


def test_a_raster_that_runs_from_east_to_west_is_read_as_it_lies(tmp_path: Path) -> None:
    codes = np.arange(12, dtype=np.uint8).reshape(1, 12).repeat(3, axis=0) % 3 * 10 + 10
    path = tmp_path / "mirrored.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=12, height=3, count=1, dtype="uint8", crs="EPSG:4326",
        transform=Affine(-1e-3, 0, 9.006, 0, -1e-3, 45.15),
    ) as file:  # fmt: skip
        file.write(codes, 1)
    target = GeoRef(32632, 499_800.0, 4_999_600.0, 30.0, (3, 14))
    layer = read_label_raster([item_of(path)], target, OPENER, legend="worldcover")
    assert layer is not None
    x, y = np.meshgrid(target.x_centres(), target.y_centres())
    lon, _ = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    column = np.floor((9.006 - lon) / 1e-3).astype(np.intp)
    np.testing.assert_array_equal(layer.codes, np.where((column >= 0) & (column < 12), codes[0].take(column % 12), 0))


@pytest.mark.parametrize("ratio", [2, 3, 6])
def test_mode_is_gdals_own_where_pixels_nest(tmp_path: Path, ratio: int) -> None:
    rng = np.random.default_rng(ratio)
    codes = rng.choice(np.array([0, 10, 30, 40, 50], np.uint8), (20 * ratio, 23 * ratio))
    path = write_raster(tmp_path / "a.tif", codes, 32632, 500_000.0, 5_000_000.0, 10.0, 0)
    target = GeoRef(32632, 500_000.0, 5_000_000.0, 10.0 * ratio, (20, 23))
    layer = read_label_raster([item_of(path)], target, OPENER, legend="worldcover", resampling="mode")
    assert layer is not None
    with rasterio.open(path) as file:
        theirs = file.read(1, out_shape=target.shape_yx, resampling=Resampling.mode)
    blocks = codes.reshape(20, ratio, 23, ratio)
    counts = np.sort([(blocks == code).sum(axis=(1, 3)) for code in (10, 30, 40, 50)], axis=0)
    clear = counts[-1] > counts[-2]
    assert clear.mean() > 0.4
    np.testing.assert_array_equal(layer.codes[clear], theirs[clear])
    part = GeoRef(32632, target.x0 + 30 * ratio, target.y0 - 170 * ratio, 10.0 * ratio, (3, 4))
    alone = read_label_raster([item_of(path)], part, OPENER, legend="worldcover", resampling="mode")
    assert alone is not None
    np.testing.assert_array_equal(alone.codes, layer.codes[17:20, 3:7])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((4, 3), 70_000, np.uint32), "70000"),
        (np.full((4, 3), -1, np.int16), "got -1..-1: what stands for no data has to be marked so in the file"),
    ],
)
def test_values_beyond_16_bits_are_no_codes(tmp_path: Path, values: np.ndarray, words: str) -> None:
    path = write_raster(tmp_path / "a.tif", values, 32632, 500_000.0, 5_000_000.0, 10.0)
    with pytest.raises(DecodeError, match=words):
        read_label_raster(
            [item_of(path)], GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (3, 2)), OPENER, legend="worldcover"
        )


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (struct.pack("<d", 10.0), struct.pack("<d", 1e-300)),
        (struct.pack("<d", 400_000.0), struct.pack("<d", 1e300)),
        (struct.pack("<d", 400_000.0), struct.pack("<d", 9e8)),
        (struct.pack("<d", 5_000_000.0), struct.pack("<d", np.nan)),
        (struct.pack("<H", 32_633), struct.pack("<H", 32_592)),
        (b"WGS 84 / UTM", b"WGS 84 \x89 UTM"),
    ],
    ids=["tiny pixels", "far away", "beyond the projection", "nowhere", "no such code", "no text"],
)
def test_a_label_raster_that_was_changed_on_its_way_is_a_failure_of_its_source(
    tmp_path: Path, good: bytes, bad: bytes
) -> None:
    codes = np.full((30, 40), 7, np.uint8)
    path = write_raster(tmp_path / "a.tif", codes, 32633, 400_000, 5_000_000, 10)
    item = item_of(path)
    data = path.read_bytes()
    assert good in data
    path.write_bytes(data.replace(good, bad))
    target = GeoRef(32633, 400_000.0, 5_000_000.0, 10.0, (3, 4))
    with suppress(SourceError):
        layer = read_label_raster([item], target, OPENER, legend="worldcover")
        assert layer is None or (layer.codes == 7).all()
    with suppress(SourceError):
        item_of(path)
    cells = CellTable(
        np.array(["a"]), np.array([32633], np.int32), np.array([target.bounds_xyxy]), np.array(["r"]), np.array([""])
    )
    with suppress(RecipeError):
        read_overview(str(path), cells, "sample.0.files", OPENER)


def test_a_label_raster_of_a_plane_that_is_none_on_the_earth_is_a_failure_of_its_source(tmp_path: Path) -> None:
    path = tmp_path / "local.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=30, count=1, dtype="uint8",
        crs='ENGCRS["site",EDATUM["unknown"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
        transform=from_origin(400_000, 5_000_000, 10, 10),
    ) as raster:  # fmt: skip
        raster.write(np.full((30, 40), 7, np.uint8), 1)
    good = write_raster(tmp_path / "a.tif", np.full((30, 40), 7, np.uint8), 32633, 400_000, 5_000_000, 10)
    item = item_of(good)
    path.replace(good)
    with pytest.raises(DecodeError, match="not readable as a raster"):
        read_label_raster([item], GeoRef(32633, 400_000.0, 5_000_000.0, 10.0, (3, 4)), OPENER, legend="worldcover")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetMissingError):
        item_of(tmp_path / "gone.tif")


def test_a_file_that_is_no_raster_is_a_decode_error(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"not a raster at all")
    with pytest.raises(DecodeError):
        item_of(tmp_path / "a.tif")


def worldcover_item(year: int, version: str, tile: str = "N45E012", **properties: Any) -> dict[str, Any]:
    name = f"ESA_WorldCover_10m_{year}_{version}_{tile}"
    transform = [1 / 12_000, 0.0, 12.0, 0.0, -1 / 12_000, 48.0]
    return {
        "id": name, "collection": "esa-worldcover", "bbox": [12.0, 45.0, 15.0, 48.0],
        "geometry": {"type": "Polygon", "coordinates": [[[12, 45], [15, 45], [15, 48], [12, 48], [12, 45]]]},
        "properties": {
            "datetime": None, "start_datetime": f"{year}-01-01T00:00:00Z", "end_datetime": f"{year}-12-31T23:59:59Z"
        } | properties,
        "assets": {
            "map": {
                "href": f"https://host/{name}_Map.tif", "proj:epsg": 4326, "proj:transform": transform,
                "proj:shape": [36000, 36000], "roles": ["data"], "file:checksum": "1220ab",
                "raster:bands": [{"nodata": 0, "data_type": "uint8"}],
            },
            "input_quality": {"href": "https://host/q.tif", "roles": ["metadata"]},
        },
    }  # fmt: skip


def _chosen(items: list[dict[str, Any]], source: LabelSource) -> list[SceneItem]:
    return choose_of([to_label_item(item, "worldcover", source, "pc") for item in items], source)


def test_one_vintage_only_the_newest_or_the_recipes() -> None:
    items = [worldcover_item(2020, "v100"), worldcover_item(2021, "v200")]
    newest = _chosen(items, source_of("worldcover"))
    asked = _chosen(items, source_of("worldcover", year=2020))
    assert [item.item_id for item in newest] == ["ESA_WorldCover_10m_2021_v200_N45E012"]
    assert [item.item_id for item in asked] == ["ESA_WorldCover_10m_2020_v100_N45E012"]


def test_the_newest_version_of_a_year_comes_first() -> None:
    items = [worldcover_item(2021, v, esa_worldcover_version="x") for v in ("v200", "v1000", "v300")]
    found = _chosen(items, source_of("worldcover"))
    assert [dict(item.extra)["version"] for item in found] == ["v1000", "v300", "v200"]


def test_an_item_says_what_has_to_be_cited() -> None:
    item = to_label_item(worldcover_item(2021, "v200"), "wc", source_of("worldcover"), "pc")
    assert item.licence == "CC-BY-4.0"
    assert "2021" in item.attribution
    assert item.refs[0].asset_key == "map"
    assert item.refs[0].nodata == 0
    assert item.refs[0].georef.shape_yx == (36000, 36000)
    assert dict(item.extra) == {"year": "2021", "version": "v200", "gsd_m": "10.0", "checksum": "1220ab", "size": ""}


@pytest.mark.parametrize(
    ("start", "end", "year"),
    [
        ("2017-01-01T00:00:00Z", "2018-12-31T23:59:59Z", "2018"),
        ("2021-01-01T00:00:00Z", "2022-01-01T00:00:00Z", "2021"),
        ("2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "2021"),
    ],
)
def test_the_year_of_a_product_is_the_last_that_it_saw(start: str, end: str, year: str) -> None:
    item = worldcover_item(2021, "v200", start_datetime=start, end_datetime=end)
    found = to_label_item(item, "wc", source_of("worldcover"), "pc")
    assert dict(found.extra)["year"] == year


def test_an_item_without_the_asset_is_refused_by_name() -> None:
    with pytest.raises(AssetMissingError, match=r"'landcover'.*input_quality"):
        to_label_item(worldcover_item(2021, "v200"), "wc", source_of("worldcover", asset="landcover"), "pc")


@pytest.mark.parametrize(
    ("asset", "properties"),
    [
        ({"bands": ["map"]}, {}),
        ({"raster:bands": [None]}, {}),
        ({"raster:bands": [{"nodata": "none"}]}, {}),
        ({"raster:bands": [{"nodata": [0]}]}, {}),
        ({}, {"providers": [{"roles": ["licensor"]}, {"name": "a", "roles": None}, {"name": "b", "roles": [{}]}]}),
    ],
)
def test_what_an_item_says_wrongly_of_bands_and_providers_counts_as_not_said(
    asset: dict[str, Any], properties: dict[str, Any]
) -> None:
    item = {
        "id": "a", "bbox": [3, 50, 4, 51], "collection": "x",
        "properties": {"datetime": "2021-01-01T00:00:00Z", "license": "CC0-1.0", **properties},
        "assets": {"map": {"href": "https://a.example.org/x.tif", **asset}},
    }  # fmt: skip
    sound = normalise_item(item)
    assert to_label_item(sound, "w", source_of("worldcover"), "c").refs[0].nodata is None
    assert attribution_of_item(sound, source_of("raster", legend="worldcover"), "2021") in ("", "a; b")
    assert licence_of(sound, load_sensor("sentinel-2-l2a"), 2021)[0] == "CC0-1.0"


def test_an_item_without_time_is_refused() -> None:
    item = worldcover_item(2021, "v200")
    item["properties"] = {}
    with pytest.raises(UnsupportedItemError, match="N45E012"):
        to_label_item(item, "wc", source_of("worldcover"), "pc")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("collection", "asset", "legend", "count"),
    [
        ("lc-label", "LC", "lc-label", 2),
        ("terramesh-lulc", None, "terramesh-lulc", 3),
        ("enmap-landcover", None, "enmap-landcover", 1),
    ],
)
def test_real_label_items_are_read_whole(
    realdata: Path, collection: str, asset: str | None, legend: str, count: int
) -> None:
    paths = sorted((realdata / "catalog" / collection / "items").glob("*.json"))
    assert len(paths) == count
    for path in paths:
        item = json.loads(path.read_text())
        for stated in item["assets"].values():
            stated["href"] = str((path.parent / stated["href"]).resolve())
        scene = to_label_item(item, "labels", source_of("raster", asset=asset, legend=legend), "real")
        layer = read_label_raster([scene], scene.refs[0].georef, OPENER, legend=legend)
        assert layer is not None
        assert layer.attribution
        with rasterio.open(scene.refs[0].href) as raster:
            np.testing.assert_array_equal(layer.codes, raster.read(1))


def test_a_missing_product_fails_the_chips_under_it_alone() -> None:
    from dataclasses import replace as changed

    from schemas.chip import Tile
    from schemas.scene import SceneRef
    from sources.label_reader import by_items, over
    from tests.unit.sources.scenes_made_up import chip, footprint, item

    west, east = chip("w"), chip("e", left=600_240.0)
    refs = [SceneRef("i", "map", "https://h/w.tif", "map", 1, west.georef(10.0), "uint8", 0.0)]
    only_west = item("west", refs)
    both = changed(item("both", refs), footprint_wkb=footprint(GeoRef(32632, 599_000.0, 5_301_000.0, 10.0, (400, 400))))
    tile = Tile("t", 32632, (west, east), {"w": (only_west, both)})
    source = LabelSource.model_validate({"kind": "worldcover", "catalog": "c", "collection": "k"})
    assert by_items({"w": source}, tile, [west, east]) == [[west], [east]]
    assert [one.item_id for one in over(tile.items["w"], [east])] == ["both"]
    assert len(by_items({"w": source}, changed(tile, items={"w": (both,)}), [west, east])) == 1


@pytest.mark.parametrize("epsg", [4326, 3035, 32632, 32633, 32732])
@pytest.mark.parametrize("shape", [(20, 31), (256, 300), (1024, 700)])
def test_source_pixels_are_those_of_every_centre_projected(epsg: int, shape: tuple[int, int]) -> None:
    target = GeoRef(32632, 583_013.7, 5_300_011.3, 10.0, shape)
    to_source = pyproj.Transformer.from_crs(32632, epsg, always_xy=True)
    x, y = to_source.transform(*np.meshgrid(target.x_centres(), target.y_centres()))
    size = 1 / 12_000 if epsg == 4326 else 10.0
    transform = from_origin(x.min() - 3 * size, y.max() + 3 * size, size, size)
    columns, rows = np.floor((x - transform.c) / transform.a), np.floor((y - transform.f) / transform.e)
    for height, width in ((5000, 5000), (40, 33)):
        inside = (rows < height) & (columns < width)
        found = source_pixels(target, pyproj.CRS(epsg).to_wkt(), transform, (height, width))
        np.testing.assert_array_equal(found, np.where(inside, rows * width + columns, -1))


def test_centres_on_the_very_border_fall_as_if_projected_themselves() -> None:
    target = GeoRef(32632, 500_000.0, 5_300_000.0, 10.0, (64, 80))
    transform = from_origin(499_995.0, 5_300_005.0, 10.0, 10.0)  # every centre on a corner of the source's pixels
    found = source_pixels(target, pyproj.CRS(32632).to_wkt(), transform, (65, 81))
    np.testing.assert_array_equal(found, 81 * np.arange(1, 65)[:, None] + np.arange(1, 81))
