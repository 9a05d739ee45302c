"""Windows of open files: the very pixels that rasterio reads, and no damaged block among them, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import RasterioIOError
from rasterio.transform import Affine
from rasterio.windows import Window

from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.recipe import LabelSource
from schemas.scene import Opener, SceneRef
from sources import block_window
from sources.block_store import BlockStore
from sources.block_window import read_window
from sources.engine_direct import DirectEngine
from sources.fetch import Bytes, fetch_range
from sources.heights import ELLIPSOID, read_heights
from sources.labels_raster import read_label_raster, to_label_item_of_file
from sources.openers import PlainOpener
from sources.tiff_header import parse_header

OPENER = PlainOpener()
SHAPE = (150, 210)
GRID = GeoRef(32633, 399_960.0, 5_300_040.0, 10.0, SHAPE)
TILES: dict[str, Any] = {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "deflate"}
STRIPS: dict[str, Any] = {"blockysize": 32, "compress": "deflate"}
"""The last of them has 22 rows."""
SHOWN = np.full(SHAPE, 255, np.uint8)
ALBERS = "+proj=aea +lat_0=23 +lon_0=15 +lat_1=29.5 +lat_2=45.5 +datum=WGS84 +units=m"
LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": TILES | {"interleave": "pixel"},
    "tiles by band": TILES | {"interleave": "band"},
    "strips": STRIPS | {"interleave": "pixel", "predictor": 2},
    "strips by band": STRIPS | {"interleave": "band", "endianness": "big", "bigtiff": "yes"},
    "strips of one row": STRIPS | {"blockysize": 1},
    "one strip": STRIPS | {"blockysize": 150},
    "south up": TILES | {"transform": Affine(10, 0, 399_960, 0, 10, 5_298_540)},
    "no EPSG code": TILES | {"crs": ALBERS},
    "holes": STRIPS | {"sparse_ok": True, "nodata": 7},
    "strips of LZW": STRIPS | {"compress": "lzw"},
    "four bits": TILES | {"nbits": 4},
}


def classes(bands: int = 1) -> np.ndarray[Any, Any]:
    codes = np.random.default_rng(7).choice(np.array([1, 3, 4, 7], np.uint8), (bands, *SHAPE), p=(0.5, 0.2, 0.2, 0.1))
    codes[:, 30:100] = 7
    return codes


def write(path: Path, pixels: np.ndarray[Any, Any], **profile: Any) -> Path:
    layout = {"crs": "EPSG:32633", "transform": Affine(*GRID.transform)} | profile
    with rasterio.open(
        path, "w", driver="GTiff", dtype=pixels.dtype, count=len(pixels), height=SHAPE[0], width=SHAPE[1], **layout
    ) as file:
        file.write(pixels)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("layouts")
    return {
        name: write(folder / f"{place}.tif", classes(3), **layout)
        for place, (name, layout) in enumerate(LAYOUTS.items())
    }


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    rows=st.tuples(st.integers(0, 149), st.integers(1, 150)),
    columns=st.tuples(st.integers(0, 209), st.integers(1, 210)),
    bands=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_any_window_is_what_rasterio_reads(
    files: dict[str, Path], layout: str, rows: tuple[int, int], columns: tuple[int, int], bands: list[int]
) -> None:
    window = Window(columns[0], rows[0], min(columns[1], 210 - columns[0]), min(rows[1], 150 - rows[0]))
    with rasterio.open(files[layout]) as file:
        found = read_window(file, str(files[layout]), bands, window, OPENER)
        np.testing.assert_array_equal(found, file.read(bands, window=window))


def test_windows_that_share_blocks_ask_for_them_once(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def fetch(href: str, opener: Opener, offset: int, length: int) -> Bytes:
        asked.append((offset, length))
        return fetch_range(href, opener, offset, length)

    path = write(tmp_path / "a.tif", np.random.default_rng(1).integers(0, 255, (1, *SHAPE), np.uint8), **TILES)
    store = BlockStore(fetch=fetch)
    with rasterio.open(path) as file:
        read_window(file, str(path), [1], Window(0, 0, 100, 100), OPENER, store)
        once = len(asked)
        read_window(file, str(path), [1], Window(10, 20, 110, 100), OPENER, store)
    assert once == len(asked) == 2, "the header, and the blocks of the first window in one range"


def test_a_file_of_very_many_blocks_is_left_to_gdal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_window, "MOST_BLOCKS", 19)
    path = write(tmp_path / "a.tif", classes(), **TILES)
    store = BlockStore()
    with rasterio.open(path) as file:
        read_window(file, str(path), [1], Window(0, 0, 9, 9), OPENER, store)
    assert store.counters.requests == 0


def below_a_mask(folder: Path, layout: dict[str, Any] = TILES, shown: Any = SHOWN) -> Path:
    """A file that the direct engine leaves to GDAL, but for its blocks."""
    path = write(folder / "masked.tif", classes(), **layout)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(shown)
    return path


def damaged(path: Path, count: int) -> Iterator[None]:
    """The file with two bytes of its first block changed, in several ways one after the other."""
    good = path.read_bytes()
    with rasterio.open(path) as file:
        first, length = (int(file.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    random = np.random.default_rng(5)
    for _ in range(count):
        data = bytearray(good)
        for place in random.integers(2, length, 2):
            data[first + place] ^= 0x5A
        path.write_bytes(data)
        yield
    path.write_bytes(good)


def read_label(path: Path) -> np.ndarray[Any, Any]:
    source = LabelSource.model_validate({"kind": "raster", "href": str(path), "legend": "worldcover"})
    item = to_label_item_of_file(str(path), "labels", source, OPENER)
    layer = read_label_raster([item], GeoRef(32633, GRID.x0, GRID.y0, 10.0, (20, 30)), OPENER, legend="worldcover")
    assert layer is not None
    return layer.codes


def read_band(path: Path) -> np.ndarray[Any, Any]:
    ref = SceneRef("item", "a", str(path), "a", 1, GRID, "uint8", None)
    return DirectEngine().read([ref], GeoRef(32633, GRID.x0, GRID.y0, 10.0, (20, 30)), "nearest", OPENER, 0.0)[0]


def read_dem(path: Path) -> np.ndarray[Any, Any]:
    return read_heights([str(path)], GeoRef(32633, GRID.x0 + 3, GRID.y0 - 4, 10.0, (20, 30)), OPENER, ELLIPSOID)


@pytest.mark.parametrize("layout", ["tiles", "strips", "tiles below a mask", "four bits"])
@pytest.mark.parametrize("read", [read_label, read_band, read_dem])
def test_a_damaged_block_is_no_label_no_band_and_no_height(
    tmp_path: Path, layout: str, read: Callable[[Path], np.ndarray[Any, Any]]
) -> None:
    """GDAL alone takes many of them and says nothing."""
    path = below_a_mask(tmp_path) if "mask" in layout else write(tmp_path / "a.tif", classes(), **LAYOUTS[layout])
    whole = read(path)
    for _ in damaged(path, 9):
        with pytest.raises(DecodeError):
            read(path)
    np.testing.assert_array_equal(read(path), whole)


@pytest.mark.parametrize("layout", [TILES, TILES | {"compress": "lzw"}, STRIPS], ids=["tiles", "LZW below", "strips"])
@pytest.mark.parametrize("read", [read_label, read_band])
def test_a_damaged_mask_hides_nothing(
    tmp_path: Path, layout: dict[str, Any], read: Callable[[Path], np.ndarray[Any, Any]]
) -> None:
    """One that GDAL alone takes, and says nothing."""
    path = below_a_mask(tmp_path, layout, np.where(np.random.default_rng(3).random(SHAPE) < 0.1, 0, 255))
    with rasterio.open(path) as file:
        shown = file.read_masks(1, window=Window(0, 0, 30, 20)) > 0
    whole = read(path)
    np.testing.assert_array_equal(whole[shown], classes()[0, :20, :30][shown])
    good = path.read_bytes()
    mask = parse_header(good, lambda at, length: good[at : at + length]).mask
    assert mask is not None
    for place in range(2, int(mask.counts[0])):
        data = bytearray(good)
        data[int(mask.offsets[0]) + place] ^= 0x5A
        path.write_bytes(data)
        with suppress(RasterioIOError), rasterio.open(path) as file:
            if ((file.read_masks(1, window=Window(0, 0, 30, 20)) > 0) != shown).any():
                break
    with pytest.raises(DecodeError, match="checksum"):
        read(path)


def test_heights_in_a_system_that_counts_heights_too_are_read(tmp_path: Path) -> None:
    """PROJ draws no box around such a system."""
    degrees: dict[str, Any] = TILES | {"transform": Affine(1e-4, 0, 13.66, 0, -1e-4, 47.85)}
    plain, both = (
        read_dem(write(tmp_path / f"{crs[-4:]}.tif", classes(), crs=crs, **degrees))
        for crs in ("EPSG:4326", "EPSG:4326+5773")
    )
    assert np.isfinite(plain).all()
    np.testing.assert_array_equal(plain, both)


class OneAtATime(PlainOpener):
    """A host that is asked once at a time; whoever holds its slot and wants another waits for nobody."""

    lock = threading.Lock()

    @contextmanager
    def slot(self, href: str) -> Iterator[None]:  # type: ignore[override]
        if not self.lock.acquire(timeout=5):
            raise AssertionError("nobody gives the slot back")
        try:
            yield
        finally:
            self.lock.release()


def test_a_host_that_is_asked_once_at_a_time_is_not_waited_for_in_vain(tmp_path: Path, loopback: Any) -> None:
    path = below_a_mask(tmp_path)
    ref = SceneRef("item", "a", f"{loopback.url}/{path.name}", "a", 1, GRID, "uint8", None)
    found = DirectEngine(BlockStore()).read([ref], GRID, "nearest", OneAtATime(), 0.0)
    np.testing.assert_array_equal(found, classes())
