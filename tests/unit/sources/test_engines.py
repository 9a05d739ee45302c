"""The three engines against rasterio, against each other, and against the kernels' own formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from schemas.errors import AssetMissingError, DecodeError, RecipeError, SourceError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources import warp
from sources.block_store import BlockStore
from sources.engine import ENGINES, open_engine
from sources.engine_direct import DirectEngine
from sources.lattice import coverage
from sources.openers import PlainOpener

MakeRaster = Callable[..., SceneRef]

# odc-geo calls shapely.ops.transform and Affine.__mul__, both deprecated in the versions that are pinned.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
SOURCE = GeoRef(32633, 400_000.0, 5_300_000.0, 10.0, (90, 70))
OPENER = PlainOpener()
ALIGNED = {
    "inside": GeoRef(32633, 400_130.0, 5_299_880.0, 10.0, (23, 31)),
    "overhanging": GeoRef(32633, 399_930.0, 5_300_050.0, 10.0, (40, 30)),
    "around": GeoRef(32633, 399_950.0, 5_300_040.0, 10.0, (100, 90)),
    "beside": GeoRef(32633, 410_000.0, 5_299_880.0, 10.0, (5, 7)),
    "southern numbers": GeoRef(32733, 400_130.0, 15_299_880.0, 10.0, (23, 31)),
}


def numbers(shape: tuple[int, ...] = SOURCE.shape_yx, seed: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(1, 10_000, shape, dtype=np.uint16)


def expected_copy(pixels: np.ndarray[Any, Any], target: GeoRef, fill: float) -> np.ndarray[Any, Any]:
    """What a copy must be, pixel by pixel, without any code under test."""
    answer = np.full(target.shape_yx, fill, pixels.dtype)
    shift = 10_000_000 if target.epsg == 32733 else 0
    for row in range(target.shape_yx[0]):
        for column in range(target.shape_yx[1]):
            source_row = round((SOURCE.y0 - (target.y0 - shift - row * 10)) / 10)
            source_column = round((target.x0 + column * 10 - SOURCE.x0) / 10)
            if 0 <= source_row < SOURCE.shape_yx[0] and 0 <= source_column < SOURCE.shape_yx[1]:
                answer[row, column] = pixels[source_row, source_column]
    return answer


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", ALIGNED)
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_aligned_reads_are_copies_bit_for_bit(
    make_raster: MakeRaster, engine: str, place: str, resampling: str
) -> None:
    pixels = numbers()
    pixels[20:30, 10:60] = 0
    refs = [make_raster(pixels, SOURCE, tag=0, nodata=0.0), make_raster(pixels + 7, SOURCE, name="b", nodata=0.0)]
    target = ALIGNED[place]
    answer = open_engine(engine).read(refs, target, resampling, OPENER)
    assert answer.dtype == np.uint16
    np.testing.assert_array_equal(answer[0], expected_copy(pixels, target, 0))
    np.testing.assert_array_equal(answer[1], expected_copy(pixels + 7, target, 0))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_stored_type_comes_back_as_it_is(make_raster: MakeRaster, engine: str, dtype: str) -> None:
    pixels = np.random.default_rng(5).normal(0, 60, SOURCE.shape_yx).astype(dtype)
    ref = make_raster(pixels, SOURCE)
    answer = open_engine(engine).read([ref], ALIGNED["overhanging"], "nearest", OPENER)
    outside = np.nan if np.dtype(dtype).kind == "f" else 0
    np.testing.assert_array_equal(answer[0], expected_copy(pixels, ALIGNED["overhanging"], outside))
    assert answer.dtype == np.dtype(dtype)


@pytest.mark.parametrize("engine", ENGINES)
def test_outside_the_raster_stands_the_fill_and_coverage_tells_it(make_raster: MakeRaster, engine: str) -> None:
    ref = make_raster(numbers(), SOURCE)
    target = ALIGNED["overhanging"]
    answer = open_engine(engine).read([ref], target, "nearest", OPENER, 65_535.0)[0]
    inside = coverage(SOURCE, target)
    assert inside is not None
    np.testing.assert_array_equal(answer != 65_535, inside)


@pytest.mark.parametrize("engine", ENGINES)
def test_nearest_between_zones_takes_the_pixel_under_the_centre(make_raster: MakeRaster, engine: str) -> None:
    pixels = numbers()
    ref = make_raster(pixels, SOURCE, tag=0, nodata=0.0)
    x, y = Transformer.from_crs(32633, 32632, always_xy=True).transform(400_350.0, 5_299_550.0)
    target = GeoRef(32632, round(x, -1) - 200, round(y, -1) + 260, 10.0, (57, 43))
    answer = open_engine(engine).read([ref], target, "nearest", OPENER)[0]
    back = Transformer.from_crs(32632, 32633, always_xy=True)
    px, py = back.transform(*np.meshgrid(target.x_centres(), target.y_centres()))
    rows, columns = np.floor((SOURCE.y0 - py) / 10).astype(int), np.floor((px - SOURCE.x0) / 10).astype(int)
    inside = (rows >= 0) & (rows < 90) & (columns >= 0) & (columns < 70)
    wanted = np.where(inside, pixels[rows.clip(0, 89), columns.clip(0, 69)], 0)
    assert inside.mean() > 0.8
    np.testing.assert_array_equal(answer, wanted)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(row=st.integers(-40, 110), column=st.integers(-40, 110), height=st.integers(1, 60), width=st.integers(1, 60))
def test_any_aligned_window_equals_rasterio(
    make_raster: MakeRaster, row: int, column: int, height: int, width: int
) -> None:
    ref = make_raster(numbers(), SOURCE, nodata=0.0)
    target = GeoRef(32633, SOURCE.x0 + 10 * column, SOURCE.y0 - 10 * row, 10.0, (height, width))
    answer = open_engine("direct").read([ref], target, "bilinear", OPENER)[0]
    with rasterio.open(ref.href) as file:
        window = rasterio.windows.Window(column, row, width, height)
        wanted = file.read(1, window=window, boundless=True, fill_value=0)
    np.testing.assert_array_equal(answer, wanted)


@pytest.mark.parametrize("nodata", [None, 0.0])
def test_half_shifted_kernels_equal_their_formulas(make_raster: MakeRaster, nodata: float | None) -> None:
    pixels = np.random.default_rng(1).uniform(1, 9_000, (60, 50)).astype(np.float32)
    source = GeoRef(32633, 400_000.0, 5_300_000.0, 10.0, (60, 50))
    ref = make_raster(pixels, source, tag=nodata, nodata=nodata)
    target = GeoRef(32633, 400_105.0, 5_299_895.0, 10.0, (30, 20))
    cubic = np.array([-1.0, 9.0, 9.0, -1.0]) / 16
    linear = np.array([0.0, 0.5, 0.5, 0.0])
    for name, weights in (("bilinear", linear), ("cubic", cubic)):
        wanted = sum(
            weights[i] * weights[j] * pixels[9 + i : 39 + i, 9 + j : 29 + j].astype(np.float64)
            for i in range(4)
            for j in range(4)
        )
        answer = open_engine("direct").read([ref], target, name, OPENER)[0]
        np.testing.assert_allclose(answer, wanted, rtol=1e-6)


def test_no_data_never_bleeds_even_where_only_the_catalog_names_it(make_raster: MakeRaster) -> None:
    pixels = np.full(SOURCE.shape_yx, 500, np.uint16)
    pixels[:, 30:40] = 0
    ref = make_raster(pixels, SOURCE, nodata=0.0)
    target = GeoRef(32633, 400_105.0, 5_299_895.0, 10.0, (40, 55))
    for name in ("bilinear", "cubic"):
        answer = open_engine("direct").read([ref], target, name, OPENER)[0]
        assert set(np.unique(answer)) <= {0, 500}
        assert 0.1 < (answer == 0).mean() < 0.2


def test_bands_of_one_file_come_from_one_open(make_raster: MakeRaster) -> None:
    cube = np.random.default_rng(2).integers(0, 3_000, (5, *SOURCE.shape_yx)).astype(np.int16)
    first = make_raster(cube, SOURCE, nodata=-32768.0)
    refs = [SceneRef("item", "a", first.href, f"b{i}", i, SOURCE, "int16", -32768.0) for i in (5, 2, 3)]
    store = BlockStore()
    answer = DirectEngine(store).read(refs, ALIGNED["inside"], "nearest", OPENER)
    assert store.counters.headers == 1
    for layer, band in zip(answer, (5, 2, 3), strict=True):
        np.testing.assert_array_equal(layer, expected_copy(cube[band - 1], ALIGNED["inside"], -32768))


@pytest.mark.parametrize("engine", ["stackstac", "odc-stac"])
def test_stackers_hand_bands_of_one_file_to_the_direct_engine(make_raster: MakeRaster, engine: str) -> None:
    cube = numbers((3, *SOURCE.shape_yx))
    first = make_raster(cube, SOURCE, name="cube")
    refs = [
        make_raster(cube[0] + 1, SOURCE, name="alone"),
        SceneRef("item", "cube", first.href, "b2", 2, SOURCE, "uint16", None),
        SceneRef("item", "cube", first.href, "b3", 3, SOURCE, "uint16", None),
    ]
    answer = open_engine(engine).read(refs, ALIGNED["inside"], "nearest", OPENER)
    wanted = open_engine("direct").read(refs, ALIGNED["inside"], "nearest", OPENER)
    np.testing.assert_array_equal(answer, wanted)


ELSEWHERE = {
    "half shifted": GeoRef(32633, 400_105.0, 5_299_895.0, 10.0, (40, 30)),
    "twice as coarse": GeoRef(32633, 400_100.0, 5_299_900.0, 20.0, (20, 15)),
    "twice as fine": GeoRef(32633, 400_100.0, 5_299_900.0, 5.0, (40, 30)),
    "another zone": GeoRef(32632, 848_923.0, 5_309_604.0, 10.0, (40, 30)),
    "another zone, coarse": GeoRef(32632, 848_900.0, 5_309_600.0, 20.0, (20, 15)),
}


@pytest.mark.parametrize("engine", ["stackstac", "odc-stac"])
@pytest.mark.parametrize("place", ELSEWHERE)
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("tag", [None, 0.0])
def test_all_engines_resample_alike(
    make_raster: MakeRaster, engine: str, place: str, resampling: str, tag: float | None
) -> None:
    pixels = numbers()
    pixels[20:30, 10:60] = 0
    ref, target = make_raster(pixels, SOURCE, tag=tag, nodata=0.0), ELSEWHERE[place]
    wanted = open_engine("direct").read([ref], target, resampling, OPENER)
    assert wanted.any()
    np.testing.assert_array_equal(open_engine(engine).read([ref], target, resampling, OPENER), wanted)


def test_warped_bands_keep_their_own_holes(make_raster: MakeRaster) -> None:
    cube = np.full((2, *SOURCE.shape_yx), 100, np.int16)
    cube[0, :, :20] = -32768
    cube[1, :, 40:] = -32768
    first = make_raster(cube, SOURCE)
    refs = [SceneRef("item", "a", first.href, f"b{i}", i, SOURCE, "int16", -32768.0) for i in (1, 2)]
    target = GeoRef(32633, 400_005.0, 5_299_995.0, 10.0, (20, 69))
    answer = open_engine("direct").read(refs, target, "bilinear", OPENER)
    assert set(np.unique(answer)) == {-32768, 100}
    assert (answer[0, :, :18] == -32768).all()
    assert (answer[0, :, 41:] == 100).all()
    assert (answer[1, :, 42:] == -32768).all()
    assert (answer[1, :, :38] == 100).all()


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1.0), ("int16", 0.01)])
def test_decibel_are_averaged_as_power(make_raster: MakeRaster, dtype: str, scale: float) -> None:
    decibel = np.where(np.arange(70) % 2, 0.0, -20.0) * np.ones((90, 1))
    decibel[40:] = -9999 * scale
    ref = make_raster((decibel / scale).astype(dtype), SOURCE, nodata=-9999.0)
    ref = replace(ref, unit="dB", scale=scale)
    for target, resampling in (
        (GeoRef(32633, 400_105.0, 5_300_000.0, 10.0, (50, 30)), "bilinear"),
        (GeoRef(32633, 400_100.0, 5_300_000.0, 20.0, (25, 15)), "average"),
    ):
        found = open_engine("direct").read([ref], target, resampling, OPENER)[0]
        seen = round(400 / target.pixel_size)
        np.testing.assert_allclose(found[:seen] * scale, 10 * np.log10((0.01 + 1) / 2), atol=6e-3)
        assert set(found[seen:].ravel().tolist()) == {-9999}
    nearest = open_engine("direct").read([ref], GeoRef(32633, 400_103.0, 5_300_000.0, 10.0, (9, 9)), "nearest", OPENER)
    assert set((nearest * scale).ravel().tolist()) == {0.0, -20.0}


def test_only_the_needed_window_is_read(make_raster: MakeRaster, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = make_raster(numbers(), SOURCE, nodata=0.0)
    read: list[tuple[int, ...]] = []
    real_warp = warp.reproject

    def watching_warp(source: Any, *args: Any, **options: Any) -> Any:
        read.append(source.shape)
        return real_warp(source, *args, **options)

    monkeypatch.setattr(warp, "reproject", watching_warp)
    target = GeoRef(32633, 400_305.0, 5_299_595.0, 10.0, (8, 6))
    open_engine("direct").read([ref], target, "bilinear", OPENER)
    assert read == [(1, 8 + 1 + 8, 6 + 1 + 8)]


def test_the_file_is_believed_before_the_catalog(make_raster: MakeRaster, caplog: pytest.LogCaptureFixture) -> None:
    pixels = numbers()
    ref = make_raster(pixels, SOURCE)
    stale = GeoRef(32633, 400_020.0, 5_300_000.0, 10.0, SOURCE.shape_yx)
    moved = SceneRef("item", "a", ref.href, "a", 1, stale, "uint16", None)
    answer = open_engine("direct").read([moved], ALIGNED["inside"], "nearest", OPENER)[0]
    np.testing.assert_array_equal(answer, expected_copy(pixels, ALIGNED["inside"], 0))
    assert "not at" in caplog.text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("dtype", "said", "filled"), [("float32", None, np.nan), ("float32", -9999.0, -9999), ("int16", 0.0, 0)]
)
def test_what_the_file_marks_as_no_data_is_no_data_whatever_the_item_says(
    make_raster: MakeRaster, engine: str, dtype: str, said: float | None, filled: float
) -> None:
    """NASADEM's items state neither type nor no-data value."""
    pixels = numbers().astype(np.int16)
    pixels[20:30, 10:60] = -32_768
    path = make_raster(pixels, SOURCE, tag=-32_768).href
    silent = SceneRef("item", "a", path, "elevation", 1, SOURCE, dtype, said)
    answer = open_engine(engine).read([silent], ALIGNED["overhanging"], "nearest", OPENER)[0]
    expected = expected_copy(pixels, ALIGNED["overhanging"], filled if said is not None else 0).astype(dtype)
    expected[(expected == -32_768) | ~coverage(SOURCE, ALIGNED["overhanging"])] = filled
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 16, "blockysize": 16}, {}], ids=["blocks", "GDAL"])
def test_no_data_of_the_file_alone_does_not_bleed(tmp_path: Path, layout: dict[str, Any]) -> None:
    path, transform = tmp_path / "holes.tif", rasterio.Affine(*SOURCE.transform)
    heights = np.full(SOURCE.shape_yx, 100, np.int16)
    options = {"count": 1, "dtype": "int16", "nodata": -32_768, "crs": "EPSG:32633", "transform": transform, **layout}
    with rasterio.open(path, "w", height=90, width=70, sparse_ok=True, **options) as file:
        file.write(heights[:32], 1, window=rasterio.windows.Window(0, 0, 70, 32))
    ref = SceneRef("item", "a", str(path), "elevation", 1, SOURCE, "float32", None)
    for target in (
        GeoRef(32633, 400_005.0, 5_299_995.0, 10.0, (50, 40)),
        GeoRef(32633, 400_000.0, 5_300_000.0, 30.0, (20, 20)),
    ):
        found = open_engine("direct").read([ref], target, "bilinear", OPENER)[0]
        assert set(found[np.isfinite(found)].tolist()) == {100.0}
        assert np.isnan(found[-1]).all()


@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 16, "blockysize": 16}, {}], ids=["blocks", "GDAL"])
@pytest.mark.parametrize("overviews", [[], [2, 4]], ids=["", "with overviews"])
@pytest.mark.parametrize("engine", ["direct", "stackstac"])
def test_what_a_mask_in_the_file_hides_is_no_data(
    tmp_path: Path, engine: str, overviews: list[int], layout: dict[str, Any]
) -> None:
    """Aerial pictures as JPEG hold a black collar that is not quite 0, below a mask; it may come after overviews."""
    path, pixels = tmp_path / "masked.tif", numbers()
    options = {"count": 1, "dtype": "uint16", "crs": "EPSG:32633", "transform": rasterio.Affine(*SOURCE.transform)}
    with rasterio.open(path, "w", height=90, width=70, **options, **layout) as file:
        file.write(pixels, 1)
    with rasterio.open(path, "r+") as file:
        file.build_overviews(overviews)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(90)[:, np.newaxis] < np.full(70, 40))
    ref = SceneRef("item", "a", str(path), "red", 1, SOURCE, "uint16", 0.0)
    pixels[40:] = 0
    answer = open_engine(engine).read([ref], ALIGNED["around"], "nearest", OPENER)[0]
    np.testing.assert_array_equal(answer, expected_copy(pixels, ALIGNED["around"], 0))


def test_a_mask_in_a_file_beside_it_is_a_failure_and_not_passed_over(make_raster: MakeRaster) -> None:
    ref = make_raster(numbers(), SOURCE, nodata=0.0)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(ref.href, "r+") as file:
        file.write_mask(np.arange(90)[:, np.newaxis] < np.full(70, 40))
    with pytest.raises(DecodeError, match=r"mask lies in a file beside it \(a\.tif\.msk\)"):
        open_engine("direct").read([ref], SOURCE, "nearest", OPENER)


def test_whole_numbers_without_any_value_for_no_data_are_told_of(
    make_raster: MakeRaster, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = numbers().astype(np.int16)
    pixels[2, 3] = -32_768
    ref = make_raster(pixels, SOURCE, tag=-32_768, name="told")
    np.testing.assert_array_equal(open_engine("direct").read([ref], SOURCE, "nearest", OPENER)[0], pixels)
    assert "the file of asset told marks -32768 as no data" in caplog.text


def test_backscatter_in_whole_numbers_is_no_linear_power(make_raster: MakeRaster) -> None:
    """The item says neither type nor unit: decibel times 100 would be stored as linear power."""
    ref = replace(make_raster(numbers().astype(np.int16), SOURCE), dtype="float32", unit="linear")
    with pytest.raises(DecodeError, match="backscatter in int16, of which the item states neither type nor unit"):
        open_engine("direct").read([ref], SOURCE, "nearest", OPENER)
    told: list[dict[str, Any]] = [{"unit": "dB"}, {"scale": 1e-4}, {"dtype": "int16"}]
    for more in told:
        open_engine("direct").read([replace(ref, **more)], SOURCE, "nearest", OPENER)


def test_a_file_of_another_type_than_the_item_says_is_an_error(make_raster: MakeRaster) -> None:
    ref = make_raster(numbers().astype(np.int32), SOURCE)
    wrong = SceneRef("item", "a", ref.href, "a", 1, SOURCE, "uint16", None)
    with pytest.raises(DecodeError, match="int32"):
        open_engine("direct").read([wrong], SOURCE, "nearest", OPENER)


def test_a_band_that_the_file_does_not_have_is_an_error(make_raster: MakeRaster) -> None:
    ref = make_raster(numbers(), SOURCE)
    beyond = SceneRef("item", "a", ref.href, "a", 4, SOURCE, "uint16", None)
    with pytest.raises(DecodeError, match="1 bands"):
        open_engine("direct").read([beyond], SOURCE, "nearest", OPENER)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_local_file_is_a_missing_asset(make_raster: MakeRaster, engine: str) -> None:
    ref = make_raster(numbers(), SOURCE)
    gone = SceneRef("item", "a", ref.href + ".gone.tif", "a", 1, SOURCE, "uint16", None)
    with pytest.raises(AssetMissingError, match="no such file"):
        open_engine(engine).read([gone], ALIGNED["inside"], "nearest", OPENER)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_opener_that_refuses_stops_every_engine(make_raster: MakeRaster, engine: str) -> None:
    ref = make_raster(numbers(), SOURCE)
    with pytest.raises(UnsupportedItemError, match="local file"):
        open_engine(engine).read([ref], ALIGNED["inside"], "nearest", PlainOpener(allow_local=False))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_read_that_fails_is_raised_and_not_logged_with_its_address(
    make_raster: MakeRaster, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A library writes the whole of it, with its signature, to a worker's standard error."""
    ref = make_raster(numbers(), SOURCE)
    file = Path(ref.href)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(SourceError):
        open_engine(engine).read([ref], SOURCE, "nearest", OPENER)
    assert file.name not in caplog.text


def test_unknown_engines_name_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="direct, odc-stac, stackstac"):
        open_engine("gdalwarp")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("resampling", ["bilinear", "cubic", "average"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_chip_is_resampled_alike_whichever_neighbours_are_read_with_it(
    make_raster: MakeRaster, engine: str, resampling: str
) -> None:
    values = np.random.default_rng(5).random(SOURCE.shape_yx, np.float32)  # floats tell the last digit
    ref = make_raster(values, SOURCE, nodata=float("nan"))
    chips = [GeoRef(32632, 848_923.0 + 169 * n, 5_309_604.0 - 130 * n, 13.0, (12, 15)) for n in range(4)]
    assert not any(SOURCE.is_aligned(chip) for chip in chips)
    together = open_engine(engine).read_each([ref], chips, resampling, OPENER)
    assert np.isfinite(together[0]).any()
    for chip, found in zip(chips, together, strict=True):
        np.testing.assert_array_equal(found, open_engine(engine).read([ref], chip, resampling, OPENER))
