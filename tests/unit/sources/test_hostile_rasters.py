"""Files and servers that mean harm: bombs, virtual formats, redirects, endless bodies, documents that expand."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from schemas.errors import DecodeError, SourceError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import LabelSource
from schemas.scene import SceneRef
from sources.documents import parse_xml, read_document
from sources.engine import ENGINES, open_engine
from sources.fetch import fetch_range
from sources.heights import read_heights
from sources.labels_raster import to_label_item_of_file
from sources.openers import PlainOpener
from sources.raster_limits import check_layout

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
GRID = GeoRef(32633, 400_000.0, 5_300_000.0, 10.0, (30, 40))
OPENER = PlainOpener(allow_local=True)
CLOSED = PlainOpener(allow_local=False)
VRT = (
    '<VRTDataset rasterXSize="40" rasterYSize="30"><SRS>EPSG:32633</SRS>'
    "<GeoTransform>400000,10,0,5300000,0,-10</GeoTransform>"
    '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{}</SourceFilename>'
    "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
)


def ref_of(path: Path | str, dtype: str = "uint16") -> SceneRef:
    return SceneRef("item", "a", str(path), "a", 1, GRID, dtype, 0.0)


def tiff(path: Path, **options: Any) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=1, width=40, height=30, crs="EPSG:32633",
        transform=rasterio.Affine(*GRID.transform), **options,
    ) as file:  # fmt: skip
        file.write(np.full((30, 40), 7, np.uint16), 1)
    return path


def with_tag(path: Path, tag: int, value: int) -> None:
    """Overwrite the value of a directory entry that holds a single number."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, place)[0] == tag:
            struct.pack_into("<HI", data, place + 2, 4, 1)
            struct.pack_into("<I", data, place + 8, value)
    path.write_bytes(data)


BLOCKS = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (struct.pack("<d", 10.0), struct.pack("<d", 1e-300)),
        (struct.pack("<d", 400_000.0), struct.pack("<d", 1e300)),
        (struct.pack("<d", 400_000.0), struct.pack("<d", np.nan)),
        (struct.pack("<H", 32_633), struct.pack("<H", 32_592)),
        (b"WGS 84 / UTM", b"WGS 84 \x89 UTM"),
    ],
    ids=["tiny pixels", "far away", "nowhere", "no such code", "no text"],
)
def test_a_place_that_was_changed_on_its_way_is_a_failure_of_the_source(
    tmp_path: Path, good: bytes, bad: bytes
) -> None:
    for name, options in (("blocks", BLOCKS), ("strips", {})):
        path = tiff(tmp_path / f"{name}.tif", **options)
        data = path.read_bytes()
        assert good in data
        path.write_bytes(data.replace(good, bad))
        try:
            found = open_engine("direct").read([ref_of(path)], GRID, "nearest", OPENER)
        except SourceError:
            continue
        assert (found == 7).all(), "the citation is not needed for blocks, nor the code where the catalog says it"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("place", [{}, {"crs": "EPSG:32633"}, {"transform": rasterio.Affine(*GRID.transform)}])
def test_heights_that_lie_nowhere_are_a_failure_of_the_source(tmp_path: Path, place: dict[str, Any]) -> None:
    path = tmp_path / "dem.tif"
    with rasterio.open(path, "w", driver="GTiff", dtype="float32", count=1, width=40, height=30, **place) as file:
        file.write(np.ones((1, 30, 40), np.float32))
    with pytest.raises(DecodeError, match=r"not readable as a raster|coordinate system"):
        read_heights([str(path)], GRID, OPENER, "ellipsoid")


def test_whatever_byte_of_a_header_is_changed_the_source_fails_or_is_read(tmp_path: Path) -> None:
    path, rng = tiff(tmp_path / "a.tif", compress="deflate", **BLOCKS), np.random.default_rng(5)
    whole = path.read_bytes()
    failed = 0
    for number in range(60):
        spoilt = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            spoilt[place] = rng.integers(0, 256)
        path = tmp_path / f"{number}.tif"
        path.write_bytes(spoilt)
        try:
            open_engine("direct").read([ref_of(path)], GRID, "nearest", OPENER)
        except SourceError:
            failed += 1
    assert failed > 10


@pytest.mark.parametrize("engine", ENGINES)
def test_a_virtual_raster_under_another_name_is_not_opened(tmp_path: Path, engine: str) -> None:
    secret = tiff(tmp_path / "secret.tif")
    (tmp_path / "a.tif").write_text(VRT.format(secret))
    with pytest.raises(DecodeError):
        open_engine(engine).read([ref_of(tmp_path / "a.tif")], GRID, "nearest", OPENER)


def test_a_virtual_label_raster_or_elevation_is_not_opened(tmp_path: Path) -> None:
    secret = tiff(tmp_path / "secret.tif")
    path = tmp_path / "a.tif"
    path.write_text(VRT.format(secret))
    source = LabelSource.model_validate({"kind": "worldcover", "href": str(path)})
    with pytest.raises(SourceError):
        to_label_item_of_file(str(path), "w", source, OPENER)
    with pytest.raises(SourceError):
        read_heights([str(path)], GRID, OPENER, "ellipsoid")


@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 64, "blockysize": 64}, {"blockysize": 30}])
@pytest.mark.parametrize(("tag", "value"), [(256, 3_000_000_000), (257, 2_000_000_000), (279, 4_000_000_000)])
def test_a_header_that_asks_for_too_much_is_refused_before_memory_is_taken(
    tmp_path: Path, layout: dict[str, Any], tag: int, value: int
) -> None:
    path = tiff(tmp_path / "a.tif", compress="deflate", **layout)
    with_tag(path, 325 if tag == 279 and "tiled" in layout else tag, value)
    with pytest.raises(SourceError):
        open_engine("direct").read([ref_of(path)], GRID, "nearest", OPENER)


@pytest.mark.parametrize(
    "layout", [{"tiled": True, "blockxsize": 16_384, "blockysize": 16_384}, {"blockysize": 16_384}]
)
def test_a_block_that_decodes_to_half_a_gigabyte_is_refused(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=1, width=16_384, height=16_384, crs="EPSG:32633",
        transform=rasterio.Affine(*GRID.transform), compress="zstd", sparse_ok=True, **layout,
    ):  # fmt: skip
        pass
    assert path.stat().st_size < 10_000
    with pytest.raises(DecodeError, match="MiB"):
        open_engine("direct").read([ref_of(path)], GRID, "nearest", OPENER)
    source = LabelSource.model_validate({"kind": "worldcover", "href": str(path)})
    with pytest.raises(DecodeError, match="MiB"):
        to_label_item_of_file(str(path), "w", source, OPENER)
    with pytest.raises(DecodeError, match="MiB"):
        read_heights([str(path)], GRID, OPENER, "ellipsoid")


def test_sides_and_blocks_of_real_products_pass() -> None:
    check_layout((10_980, 10_980), (1024, 1024), 1, "uint16", "")
    check_layout((1_200, 1_200), (512, 512), 224, "int16", "")
    check_layout((16_705, 26_102), (1, 26_102), 1, "uint16", "")
    with pytest.raises(DecodeError, match="no side"):
        check_layout((10, 5_000_000), (10, 10), 1, "uint8", "")


@pytest.mark.parametrize("place", [60, 200, 400, 700])
def test_flipped_bits_are_an_error_or_other_pixels_and_never_a_crash(tmp_path: Path, place: int) -> None:
    rng = np.random.default_rng(place)
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=1, width=40, height=30, crs="EPSG:32633", tiled=True,
        blockxsize=16, blockysize=16, transform=rasterio.Affine(*GRID.transform), compress="deflate",
    ) as file:  # fmt: skip
        file.write(rng.integers(1, 60_000, (30, 40), dtype=np.uint16), 1)
    whole = path.read_bytes()
    for offset in range(place, min(place + 40, len(whole)), 5):
        broken = tmp_path / f"b{offset}.tif"
        broken.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x55]) + whole[offset + 1 :])
        try:
            found = open_engine("direct").read([ref_of(broken)], GRID, "nearest", OPENER).shape == (1, 30, 40)
        except SourceError as error:
            found = str(broken) in error.url
        assert found, offset


class Rude:
    """A server that answers each connection by a function over the raw socket."""

    def __init__(self, answer: Callable[[socket.socket, bytes], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.answer, self.closing = answer, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        part = connection.recv(4096)
                        if not part:
                            break
                        head += part
                    if head:
                        self.answer(connection, head)
                except OSError:
                    continue

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def rude() -> Iterator[Callable[[Callable[[socket.socket, bytes], None]], Rude]]:
    servers: list[Rude] = []

    def serve(answer: Callable[[socket.socket, bytes], None]) -> Rude:
        servers.append(Rude(answer))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def test_a_body_without_end_is_cut_off(rude: Any) -> None:
    sent = []

    def answer(connection: socket.socket, head: bytes) -> None:
        connection.sendall(
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99/100000\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
        for _ in range(2000):
            connection.sendall(chunk)
            sent.append(len(chunk))

    server = rude(answer)
    with pytest.raises(SourceError):
        fetch_range(f"{server.url}/a.tif", OPENER, 0, 100)
    assert sum(sent) < 50 << 20


@pytest.mark.parametrize(
    "there",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/x.tif",
        "file:///etc/passwd",
        "//10.0.0.1/x",
    ],
)
def test_a_redirect_inwards_is_not_followed(rude: Any, there: str) -> None:
    def answer(connection: socket.socket, head: bytes) -> None:
        connection.sendall(
            f"HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )

    server = rude(answer)

    class FirstIsFine(PlainOpener):
        def resolve(self, href: str) -> str:
            return href if href.startswith(server.url) else super().resolve(href)

    opener = FirstIsFine(allow_local=False)
    with pytest.raises(SourceError) as caught:
        read_document(f"{server.url}/a.xml", opener)
    assert isinstance(caught.value, UnsupportedItemError)
    for engine in ENGINES:
        with pytest.raises(SourceError):
            open_engine(engine).read([ref_of(f"{server.url}/a.tif")], GRID, "nearest", opener)


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>'.encode("utf-16"),
        b"<a><b></a>",
        b"",
        b"\x00" * 40,
    ],
)
def test_xml_that_declares_anything_is_not_read(body: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_xml(body, "https://h/a.xml")


def test_a_document_that_is_too_long_is_not_read_on(tmp_path: Path) -> None:
    path = tmp_path / "long.xml"
    path.write_bytes(b"<a>" + b" " * 5_000)
    with pytest.raises(DecodeError, match="longer than 1000"):
        read_document(str(path), OPENER, limit=1000)


def test_documents_of_this_machine_need_leave(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<a/>")
    assert read_document(str(path), OPENER) == b"<a/>"
    assert read_document(path.as_uri(), OPENER) == b"<a/>"
    for href in (str(path), path.as_uri(), "http://localhost/a.xml", "http://0x7f000001/a.xml"):
        with pytest.raises(UnsupportedItemError):
            read_document(href, CLOSED)


def test_radar_in_ground_range_does_not_read_documents_of_this_machine(tmp_path: Path) -> None:
    from sources.engine_ground_range import GroundRangeEngine

    path = tmp_path / "a.xml"
    path.write_text("<a/>")
    ref = replace(ref_of("https://h.example.org/a.tiff", "float32"), needs=(("annotation", str(path)),))
    with pytest.raises(UnsupportedItemError):
        GroundRangeEngine().read([ref], GRID, "nearest", CLOSED)
