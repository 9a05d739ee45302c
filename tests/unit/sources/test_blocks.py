"""Our header parser and block decoding against GDAL: every layout, compression and type, bit for bit."""

from __future__ import annotations

import contextlib
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from schemas.errors import DecodeError, TransientSourceError
from schemas.georef import GeoRef
from schemas.scene import Opener, SceneRef
from sources import block_sums
from sources.block_store import IN_USE_BYTES, BlockStore, gather
from sources.blocks import decode_blocks
from sources.engine_direct import DirectEngine
from sources.fetch import Bytes, fetch_range
from sources.openers import PlainOpener
from sources.tiff_header import BrokenHeader, NotBlocked, TiffHeader, parse_header

OPENER = PlainOpener()
SHAPE = (150, 210)
GRID = GeoRef(32633, 399_960.0, 5_300_040.0, 10.0, SHAPE)


def write(path: Path, pixels: np.ndarray[Any, Any], **profile: Any) -> Path:
    cube = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 32, "crs": "EPSG:32633"} | profile
    transform = layout.pop("transform", Affine(*GRID.transform))
    with rasterio.open(
        path, "w", driver="GTiff", dtype=cube.dtype, count=len(cube), height=cube.shape[1], width=cube.shape[2],
        transform=transform, **layout,
    ) as file:  # fmt: skip
        file.write(cube)
    return path


def numbers(dtype: str, bands: int = 1) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(11)
    return (random.normal(100, 30, (bands, *SHAPE)).clip(0, 250)).astype(dtype)


def whole(path: Path, bands: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """All pixels of a file, through the store, put together block by block."""
    store = BlockStore()
    known = store.header(str(path), OPENER).result()
    header = known.header
    rows, columns = header.grid_yx
    height, width = header.block_yx
    answer = np.zeros((len(bands), rows * height, columns * width), header.dtype)
    for place, band in enumerate(bands):
        asked = (1,) if header.planar else bands
        cells = {header.block_of(r, c, band): (r, c) for r in range(rows) for c in range(columns)}
        for number, future in store.blocks(known, cells, asked, OPENER).items():
            r, c = cells[number]
            block = future.result()[0 if header.planar else place]
            answer[place, r * height : (r + 1) * height, c * width : (c + 1) * width] = block
    return answer[:, : SHAPE[0], : SHAPE[1]]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("interleave", ["band", "pixel"])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 1), ("int16", 2), ("uint16", 2), ("float32", 3)])
def test_a_damaged_block_never_comes_back_as_pixels(
    dtype: str, predictor: int, interleave: str, order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL alone gives wrong pixels for many of them, and no error."""
    more = {"compress": "deflate", "predictor": predictor, "interleave": interleave, "endianness": order}
    data = write(tmp_path / "a.tif", numbers(dtype, 3), **more).read_bytes()
    header = parse_header(data, lambda at, length: data[at : at + length])
    block = data[int(header.offsets[0]) :][: int(header.counts[0])]
    bands = (1,) if header.planar else (1, 2, 3)
    random = np.random.default_rng(3)
    for _ in range(20):
        damaged = np.frombuffer(block, np.uint8).copy()
        damaged[random.integers(2, len(block), 2)] ^= 0x5A
        with pytest.raises(DecodeError):
            decode_blocks(header, [block, damaged.tobytes()], bands, "a.tif")
        if interleave == "pixel":
            with pytest.raises(DecodeError):
                decode_blocks(header, [damaged.tobytes()], (2,), "a.tif")
    monkeypatch.setattr(block_sums, "inflates", lambda *_: False)  # twice the time: for what is damaged alone
    assert len(decode_blocks(header, [block, block], bands, "a.tif")) == 2


def test_a_block_that_holds_more_than_it_should_is_read_as_gdal_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers("uint16"), compress="deflate", predictor=2)
    data = path.read_bytes()
    header = parse_header(data, lambda at, length: data[at : at + length])
    block = data[int(header.offsets[0]) :][: int(header.counts[0])]
    longer = zlib.compress(zlib.decompress(block) + bytes(64))
    (pixels,) = decode_blocks(header, [longer], (1,), "a.tif")
    assert (pixels == decode_blocks(header, [block], (1,), "a.tif")[0]).all()
    with pytest.raises(DecodeError, match="checksum"):
        decode_blocks(header, [longer[:-4]], (1,), "a.tif")


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"compress": "deflate", "predictor": 2},
        {"compress": "lzw", "predictor": 2},
        {"compress": "lzw"},
        {"compress": "zstd", "predictor": 2},
        {"compress": "packbits"},
        {"compress": "lerc_deflate"},
        {"compress": "deflate", "bigtiff": "yes"},
        {"compress": "deflate", "endianness": "big", "predictor": 2},
        {"endianness": "big", "bigtiff": "yes"},
        {"interleave": "band", "compress": "deflate"},
        {"interleave": "pixel", "compress": "deflate", "predictor": 2},
    ],
    ids=lambda profile: "-".join(str(value) for value in profile.values()) or "plain",
)
@pytest.mark.parametrize(("dtype", "bands"), [("uint16", (1,)), ("int16", (3, 1)), ("uint8", (2,))])
def test_blocks_are_what_gdal_reads(
    tmp_path: Path, profile: dict[str, Any], dtype: str, bands: tuple[int, ...]
) -> None:
    path = write(tmp_path / "a.tif", numbers(dtype, max(bands)), **profile)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(whole(path, bands), file.read(list(bands)))


@pytest.mark.parametrize("profile", [{"compress": "deflate", "predictor": 3}, {"compress": "zstd", "predictor": 2}])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_with_predictors(tmp_path: Path, profile: dict[str, Any], dtype: str) -> None:
    path = write(tmp_path / "a.tif", numbers(dtype) / 7, **profile)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(whole(path, (1,)), file.read())


@pytest.mark.parametrize(("bands", "photometric"), [(1, "minisblack"), (3, "ycbcr"), (3, "rgb")])
def test_jpeg_blocks_have_their_tables(tmp_path: Path, bands: int, photometric: str) -> None:
    path = write(
        tmp_path / "a.tif", numbers("uint8", bands), compress="jpeg", photometric=photometric, interleave="pixel",
        blockysize=64,
    )  # fmt: skip
    wanted = tuple(range(1, bands + 1))
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(whole(path, wanted), file.read())


@pytest.mark.parametrize("nodata", [None, 7])
def test_a_block_that_is_not_stored_is_no_data(tmp_path: Path, nodata: int | None) -> None:
    pixels = np.zeros((1, *SHAPE), np.uint16) if nodata is None else np.full((1, *SHAPE), nodata, np.uint16)
    pixels[:, 40:60, 70:100] = 9
    path = write(tmp_path / "a.tif", pixels, sparse_ok=True, nodata=nodata, compress="deflate")
    header = parse(path)
    assert (header.counts == 0).any()
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(whole(path, (1,)), file.read())


def parse(path: Path) -> TiffHeader:
    data = path.read_bytes()
    return parse_header(data[:200], lambda offset, length: data[offset : offset + length])


@pytest.mark.parametrize("written", ["-10000", "-10 -7", "-10,-7", "-1.2e3"])
def test_no_data_is_the_number_that_its_tag_begins_with(tmp_path: Path, written: str) -> None:
    """Some writers name a value for each band."""
    path = write(tmp_path / "a.tif", numbers("int16"), nodata=-10000)
    path.write_bytes(path.read_bytes().replace(b"-10000\0", written.encode() + b"\0"))
    with rasterio.open(path) as file:
        assert parse(path).nodata == file.nodata


@pytest.mark.parametrize("kind", ["Area", "Point"])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:32718"])
def test_the_lattice_is_gdals(tmp_path: Path, kind: str, crs: str) -> None:
    size = 0.001 if crs == "EPSG:4326" else 30.0
    path = write(tmp_path / "a.tif", numbers("int16"), crs=crs, transform=Affine(size, 0, 12.5, 0, -size, 48.25))
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT=kind)
    copy = tmp_path / "copy.tif"
    rasterio.shutil.copy(path, copy, driver="COG", blocksize=128, overviews="none")
    for name in (path, copy):
        header = parse(name)
        with rasterio.open(name) as file:
            assert header.georef.epsg == file.crs.to_epsg()
            np.testing.assert_allclose(header.georef.transform, file.transform[:6], rtol=1e-12)
            assert (*header.georef.shape_yx, *header.block_yx) == (*file.shape, *file.block_shapes[0])
            assert header.dtype == file.dtypes[0]


@pytest.mark.parametrize(
    "profile",
    [
        {"tiled": False, "blockxsize": None, "blockysize": None},
        {"transform": Affine(10, 2, 0, 2, -10, 0)},
        {"transform": Affine(10, 0, 0, 0, -20, 0)},
        {"crs": None},
    ],
)
def test_what_gdal_must_read_says_so(tmp_path: Path, profile: dict[str, Any]) -> None:
    kept = {key: value for key, value in profile.items() if value is not None or key == "crs"}
    if profile.get("tiled") is False:
        kept |= {"blockysize": 8}
    path = write(tmp_path / "a.tif", numbers("uint16"), **kept)
    with pytest.raises(NotBlocked):
        parse(path).placed()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_torn_or_scribbled_header_is_an_error_of_ours(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = Path(tmp_path_factory.getbasetemp()) / "fuzz.tif"
    if not path.exists():
        write(path, numbers("uint16"), compress="deflate")
    content = bytearray(path.read_bytes()[:4096])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 500))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(NotBlocked, BrokenHeader):
        parse_header(bytes(content[:cut]), lambda offset, length: bytes(content[offset : offset + min(length, 5000)]))


def test_a_raster_of_absurd_size_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers("uint16"), compress="deflate")
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    for entry in range(struct.unpack_from("<H", content, start)[0]):
        place = start + 2 + 12 * entry
        if struct.unpack_from("<H", content, place)[0] in (256, 257):
            struct.pack_into("<HHII", content, place, struct.unpack_from("<H", content, place)[0], 4, 1, 2**31)
    path.write_bytes(content)
    with pytest.raises(BrokenHeader, match="blocks are more than"):
        parse(path)


def test_a_flipped_bit_is_a_decode_error_with_the_address(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers("uint16"), compress="deflate")
    header = parse(path)
    content = bytearray(path.read_bytes())
    content[int(header.offsets[3]) + int(header.counts[3]) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DecodeError) as caught:
        whole(path, (1,))
    assert caught.value.url == str(path)


class Counting:
    """A disk that counts what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, href: str, opener: Opener, offset: int, length: int) -> Bytes:
        self.asked.append((offset, length))
        return fetch_range(href, opener, offset, length)


def test_header_and_blocks_are_fetched_once_and_within_the_limit(tmp_path: Path) -> None:
    big = np.random.default_rng(3).integers(0, 9_000, (1, 600, 500), np.uint16)
    path, disk = write(tmp_path / "a.tif", big), Counting()
    block_bytes = 32 * 64 * 2
    store = BlockStore(blocks_bytes=10 * block_bytes, fetch=disk)
    known = gather([store.header(str(path), OPENER) for _ in range(5)])[0]
    once = len(disk.asked)
    gather(store.blocks(known, range(8), (1,), OPENER).values())
    gather(store.blocks(known, range(8), (1,), OPENER).values())
    assert (store.counters.headers, len(disk.asked) - once, store.counters.reused) == (1, 1, 8)
    gather(store.blocks(known, range(8, 20), (1,), OPENER).values())
    assert store._held <= 10 * block_bytes
    gather(store.blocks(known, [0], (1,), OPENER).values())
    assert store.counters.decoded == 21


def test_a_file_that_changes_is_not_mixed_with_what_it_was(tmp_path: Path) -> None:
    big = np.random.default_rng(3).integers(0, 9_000, (1, 600, 500), np.uint16)
    path, store = write(tmp_path / "a.tif", big), BlockStore()
    known = store.header(str(path), OPENER).result()
    write(path, big[:, :, ::-1], compress="deflate")
    with pytest.raises(TransientSourceError, match="changed while it was read"):
        gather(store.blocks(known, [0], (1,), OPENER).values())
    again = store.header(str(path), OPENER).result()
    np.testing.assert_array_equal(store.blocks(again, [0], (1,), OPENER)[0].result()[0], big[0, :32, ::-1][:, :64])


def test_one_broken_block_of_several_decoded_together_fails_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 9_000, (1, 600, 500), np.uint16)
    good, bad = (write(tmp_path / name, pixels, compress="deflate") for name in ("a.tif", "b.tif"))
    header = parse(bad)
    content = bytearray(bad.read_bytes())
    content[int(header.offsets[3]) + int(header.counts[3]) // 2] ^= 0x10
    bad.write_bytes(content)
    store, gate = BlockStore(decoders=1), Event()
    store._decoders.submit(gate.wait)  # all are fetched before the first is decoded
    files = {path: store.header(str(path), OPENER).result() for path in (good, bad)}
    coming = {path: store.blocks(file, range(6), (1,), OPENER) for path, file in files.items()}
    store._fetchers.shutdown()
    gate.set()
    failed = [(path.name, number) for path, blocks in coming.items() for number, block in blocks.items()
              if block.exception() is not None]  # fmt: skip
    assert failed == [("b.tif", 3)]
    with pytest.raises(DecodeError) as caught:
        coming[bad][3].result()
    assert caught.value.url == str(bad)
    np.testing.assert_array_equal(coming[bad][5].result(), coming[good][5].result())


def test_blocks_are_fetched_before_headers_that_waited_longer(tmp_path: Path) -> None:
    known, begun, waits = (write(tmp_path / f"{name}.tif", numbers("uint16")) for name in ("known", "begun", "waits"))
    held, gate, asked = Event(), Event(), list[str]()

    def fetch(href: str, opener: Opener, offset: int, length: int) -> Bytes:
        asked.append(f"{Path(href).stem} {'block' if offset else 'header'}")
        if Path(href).stem == "begun":
            held.set()
            gate.wait()
        return fetch_range(href, opener, offset, length)

    store = BlockStore(fetch=fetch, fetchers=1)
    file = replace(store.header(str(known), OPENER).result(), head=b"")
    headers = [store.header(str(begun), OPENER)]
    held.wait()
    headers.append(store.header(str(waits), OPENER))
    blocks = store.blocks(file, [5], (1,), OPENER)
    gate.set()
    gather([*headers, *blocks.values()])
    assert asked == ["known header", "begun header", "known block", "waits header"]


def test_runs_that_wait_side_by_side_are_fetched_together(tmp_path: Path) -> None:
    known, begun = (write(tmp_path / f"{name}.tif", numbers("uint16")) for name in ("known", "begun"))
    held, gate, asked = Event(), Event(), list[tuple[str, int]]()

    def fetch(href: str, opener: Opener, offset: int, length: int) -> Bytes:
        asked.append((Path(href).stem, length))
        if Path(href).stem == "begun":
            held.set()
            gate.wait()
        return fetch_range(href, opener, offset, length)

    store = BlockStore(fetch=fetch, fetchers=1)
    file = replace(store.header(str(known), OPENER).result(), head=b"")
    header = store.header(str(begun), OPENER)
    held.wait()
    coming = [store.blocks(file, [number], (1,), OPENER) for number in (5, 6, 6, 7)]
    gate.set()
    blocks = gather([header, *(block for one in coming for block in one.values())])[1:]
    assert [length for name, length in asked if name == "known"][1:] == [3 * 32 * 64 * 2, 32 * 64 * 2]
    for number, block in zip((5, 6, 6, 7), blocks, strict=True):
        np.testing.assert_array_equal(block, store.blocks(file, [number], (1,), OPENER)[number].result())
    with rasterio.open(known) as opened:
        row, column = divmod(6, file.header.grid_yx[1])
        np.testing.assert_array_equal(blocks[1][0], opened.read(1)[32 * row : 32 * row + 32, 64 * column :][:, :64])


def test_readers_wait_for_room_but_one_alone_takes_what_it_needs() -> None:
    store, order = BlockStore(), list[str]()

    def second() -> None:
        with store.room(1):
            order.append("second begins")

    thread = Thread(target=second)
    with store.room(2 * IN_USE_BYTES):
        thread.start()
        while thread.is_alive() and not store._freed._waiters:  # type: ignore[attr-defined]
            pass
        order.append("first ends")
    thread.join()
    assert order == ["first ends", "second begins"]
    with store.room(IN_USE_BYTES - 1), store.room(1):
        assert store._in_use == IN_USE_BYTES
    assert store._in_use == 0


def _read_tile(path: str, decoders: int) -> list[np.ndarray[Any, Any]]:
    """Twelve neighbouring chips of a file, some over its edge, in whatever process this is."""
    ref = SceneRef("item", "a", path, "a", 1, GRID, "uint16", 0.0)
    targets = [GeoRef(32633, GRID.x0 - 100 + 500 * j, GRID.y0 + 200 - 400 * i, 10.0, (40, 50))
               for i in range(3) for j in range(4)]  # fmt: skip
    return DirectEngine(BlockStore(decoders=decoders)).read_each([ref], targets, "nearest", OPENER)


def test_threads_and_processes_read_the_same(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.tif", numbers("uint16"), compress="deflate", predictor=2))
    alone = _read_tile(path, 1)
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(_read_tile, [path] * 8, [4] * 8):
            np.testing.assert_array_equal(found, alone)
    jobs = [dask.delayed(_read_tile)(path, 2) for _ in range(2)]
    for found in dask.compute(*jobs, scheduler="processes", num_workers=2):
        np.testing.assert_array_equal(found, alone)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(alone[5][0], file.read(1)[20:60, 40:90])
