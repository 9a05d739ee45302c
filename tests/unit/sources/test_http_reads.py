"""Reads over HTTP: ranges, and what every failure of a server means."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import rasterio

from schemas.errors import (
    AccessDeniedError,
    AssetMissingError,
    DecodeError,
    SourceError,
    ThrottledError,
    TransientSourceError,
    UnsupportedItemError,
)
from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources import fetch
from sources.documents import read_document
from sources.engine import ENGINES, open_engine
from sources.faults import as_source_error, error_of_status
from sources.fetch import fetch_range
from sources.openers import PlainOpener, gdal_settings
from sources.retry import Backoff, call_with_retries, is_garbled
from sources.tiff_header import parse_header
from sources.web import WebSession
from tests.loopback import serving

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
MakeRaster = Callable[..., SceneRef]
SOURCE = GeoRef(32633, 400_000.0, 5_300_000.0, 10.0, (512, 480))
TARGET = GeoRef(32633, 400_500.0, 5_299_000.0, 10.0, (30, 40))
OPENER = PlainOpener(allow_local=True)


@pytest.fixture
def remote(make_raster: MakeRaster, loopback: Any) -> SceneRef:
    pixels = np.random.default_rng(4).integers(1, 60_000, SOURCE.shape_yx, dtype=np.uint16)
    make_raster(pixels, SOURCE, name="scene")
    return SceneRef("item", "scene", f"{loopback.url}/scene.tif", "scene", 1, SOURCE, "uint16", 0.0)


def read(ref: SceneRef, engine: str = "direct") -> Any:
    return open_engine(engine).read([ref], TARGET, "nearest", OPENER)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_jpeg_2000_is_read_as_a_node_of_its_product(tmp_path: Path, loopback: Any, engine: str) -> None:
    """As CDSE's ``alternate: https`` addresses it."""
    node = tmp_path / "Nodes(T33UUU_B02_10m.jp2)"
    node.mkdir()
    pixels = np.random.default_rng(4).integers(1, 4_000, (1, *SOURCE.shape_yx), dtype=np.uint16)
    transform, options = rasterio.Affine(*SOURCE.transform), {"quality": 100, "reversible": "yes", "nbits": 15}
    shape = {"height": SOURCE.shape_yx[0], "width": SOURCE.shape_yx[1], "count": 1, "dtype": "uint16"}
    with rasterio.open(
        node / "b.jp2", "w", driver="JP2OpenJPEG", crs="EPSG:32633", transform=transform, **shape, **options
    ) as file:
        file.write(pixels)
    (node / "b.jp2").rename(node / "$value")
    ref = SceneRef("item", "b", f"{loopback.url}/{node.name}/$value", "b", 1, SOURCE, "uint16", 0.0)
    np.testing.assert_array_equal(read(ref, engine)[0], pixels[0, 100:130, 50:90])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_window_over_http_is_that_of_the_file_and_not_the_whole_file(
    remote: SceneRef, loopback: Any, engine: str
) -> None:
    pixels = read(remote, engine)
    local = SceneRef("item", "scene", str(loopback.root / "scene.tif"), "scene", 1, SOURCE, "uint16", 0.0)
    np.testing.assert_array_equal(pixels, read(local))
    assert {path for _, path, _ in loopback.seen} == {"/scene.tif"}, "no sidecar file is asked for"
    assert all(wanted for method, _, wanted in loopback.seen if method == "GET"), "every request is a range"


def test_a_second_read_of_a_file_asks_for_its_blocks_alone(remote: SceneRef, loopback: Any) -> None:
    read(remote)
    first = len(loopback.seen)
    open_engine("direct").read([remote], replace(TARGET, x0=403_000.0), "nearest", OPENER)
    assert first <= 2
    assert [method for method, _, _ in loopback.seen[first:]] == ["GET"], "one range: the blocks lie close together"


@pytest.mark.parametrize("engine", ["stackstac", "odc-stac"])
def test_what_format_a_file_has_is_asked_once(remote: SceneRef, loopback: Any, engine: str) -> None:
    """Once a window it was most of an engine's requests, and buckets bill each."""
    for _ in range(3):
        read(remote, engine)
    assert [wanted for _, _, wanted in loopback.seen].count("bytes=0-15") == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, AssetMissingError),
        (403, AccessDeniedError),
        (401, AccessDeniedError),
        (429, ThrottledError),
        (503, ThrottledError),
        (500, TransientSourceError),
    ],
)
def test_a_status_has_its_error(
    remote: SceneRef, loopback: Any, engine: str, status: int, kind: type[SourceError]
) -> None:
    loopback.faults["/scene.tif"] = [(status, {})] * 30
    with pytest.raises(SourceError) as caught:
        read(remote, engine)
    assert type(caught.value) is kind
    assert caught.value.url == remote.href


def test_the_servers_retry_after_is_known(remote: SceneRef, loopback: Any) -> None:
    loopback.faults["/scene.tif"] = [(503, {"Retry-After": "7"})] * 30
    with pytest.raises(ThrottledError) as caught:
        read(remote)
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_attempt_asks_the_server_again(remote: SceneRef, loopback: Any, engine: str) -> None:
    loopback.faults["/scene.tif"] = [(503, {"Retry-After": "3"})] * 30
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        loopback.faults.clear()

    pixels = call_with_retries(lambda: read(remote, engine), sleep=sleep, backoff=Backoff(first_s=0.1))
    assert slept == [3.0]
    assert pixels.any()


def test_bytes_that_are_no_raster_are_a_decode_error(remote: SceneRef, loopback: Any) -> None:
    (loopback.root / "scene.tif").write_bytes(b"<html>sign in first</html>" * 400)
    with pytest.raises(DecodeError, match="not readable as a raster"):
        read(remote)


def test_a_torn_file_is_a_decode_error(remote: SceneRef, loopback: Any) -> None:
    path = loopback.root / "scene.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 5])
    with pytest.raises(DecodeError):
        open_engine("direct").read([remote], SOURCE, "nearest", OPENER)


def _with_blocks_elsewhere(whole: bytes) -> bytearray:
    """The file with a header that reads well and places every block beside where it lies."""
    changed = bytearray(whole)
    for offset in parse_header(whole, lambda at, length: whole[at : at + length]).offsets:
        at = whole.index(struct.pack("<I", int(offset)))
        changed[at] ^= 0x40
    return changed


def test_a_header_that_was_changed_on_its_way_is_read_anew(remote: SceneRef, loopback: Any) -> None:
    path = loopback.root / "scene.tif"
    whole, stamp = path.read_bytes(), path.stat()
    path.write_bytes(_with_blocks_elsewhere(whole))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    pixels = call_with_retries(lambda: read(remote), sleep=lambda _: path.write_bytes(whole), once_if=is_garbled)
    local = loopback.root / "local.tif"
    local.write_bytes(whole)
    np.testing.assert_array_equal(pixels, read(replace(remote, href=str(local))))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("places", [range(8), range(10_000, 1_000_000, 997)], ids=["header", "blocks"])
def test_bytes_that_were_changed_on_their_way_are_read_by_a_second_try(
    remote: SceneRef, loopback: Any, engine: str, places: range
) -> None:
    path = loopback.root / "scene.tif"
    whole = path.read_bytes()
    changed = bytearray(whole)
    for at in filter(lambda at: at < len(whole), places):
        changed[at] ^= 0x5A
    path.write_bytes(changed)
    stamp = path.stat()
    local = loopback.root / "local.tif"
    local.write_bytes(whole)
    tries = []

    def mend(_: float) -> None:
        path.write_bytes(whole)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # nobody can tell but by the pixels

    def attempt() -> Any:
        tries.append(1)
        return read(remote, engine)

    pixels = call_with_retries(attempt, sleep=mend, once_if=is_garbled)
    assert len(tries) == 2
    np.testing.assert_array_equal(pixels, read(replace(remote, href=str(local)), engine))


def test_a_virtual_raster_is_not_opened(remote: SceneRef, loopback: Any) -> None:
    (loopback.root / "scene.tif").write_text(
        '<VRTDataset rasterXSize="480" rasterYSize="512"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        "<SourceFilename>/etc/hostname</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(DecodeError):
        read(remote)


def test_nobody_there_is_transient(remote: SceneRef) -> None:
    silent = SceneRef("item", "a", "http://127.0.0.1:9/a.tif", "a", 1, SOURCE, "uint16", 0.0)
    with pytest.raises(TransientSourceError):
        read(silent)


def test_errors_never_carry_a_signature(remote: SceneRef, loopback: Any) -> None:
    loopback.faults["/scene.tif"] = [(403, {})] * 30
    signed = SceneRef("item", "a", f"{remote.href}?sig=secret&v=1", "a", 1, SOURCE, "uint16", 0.0)
    with pytest.raises(AccessDeniedError) as caught:
        read(signed)
    assert "secret" not in str(caught.value)
    assert caught.value.url.endswith("/scene.tif?v=1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(410, AssetMissingError), (407, AccessDeniedError), (502, TransientSourceError), (408, TransientSourceError)],
)
def test_other_statuses(status: int, kind: type[SourceError]) -> None:
    assert type(error_of_status(status, "u")) is kind
    assert type(error_of_status(418, "u")) is SourceError


def test_another_range_than_was_asked_for_is_tried_again(remote: SceneRef, loopback: Any) -> None:
    loopback.faults["/scene.tif"] = [(206, {"Content-Range": "bytes 5-9/1000"})] * 2
    with pytest.raises(TransientSourceError, match="another range"):
        read(remote)
    loopback.faults.clear()
    assert read(remote).any()


class RenewingOpener(PlainOpener):
    """Signs with a token that is old until it is refreshed."""

    refreshed: ClassVar[list[str]] = []

    def headers(self, href: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {len(self.refreshed)}"}

    def refresh(self, href: str) -> None:
        self.refreshed.append(href)


def test_a_refused_signature_is_renewed_once(remote: SceneRef, loopback: Any) -> None:
    opener = RenewingOpener()
    opener.refreshed.clear()
    loopback.faults["/scene.tif"] = [(403, {}), (500, {})]
    with pytest.raises(TransientSourceError):
        open_engine("direct").read([remote], TARGET, "nearest", opener)
    assert opener.refreshed == [remote.href]
    loopback.faults["/scene.tif"] = [(403, {})]
    with pytest.raises(AccessDeniedError):
        open_engine("direct").read([remote], TARGET, "nearest", opener)
    assert opener.refreshed == [remote.href] * 2
    assert [method for method, _, _ in loopback.seen] == ["GET"] * 4


def test_a_redirect_is_followed_but_not_to_an_address_that_is_refused(remote: SceneRef, loopback: Any) -> None:
    loopback.faults["/moved.tif"] = [(302, {"Location": "/scene.tif"})]
    moved = replace(remote, href=f"{loopback.url}/moved.tif")
    np.testing.assert_array_equal(read(moved), read(remote))
    loopback.faults["/elsewhere.tif"] = [(302, {"Location": "file:///etc/hostname"})]
    with pytest.raises(SourceError, match="not HTTP"):
        read(replace(remote, href=f"{loopback.url}/elsewhere.tif"))


def test_a_redirect_into_a_private_network_is_refused(loopback: Any) -> None:
    class Strict(PlainOpener):
        """Lets the test's own server through, and nothing else that is private."""

        def resolve(self, href: str) -> str:
            return href if href.startswith(loopback.url) else super().resolve(href)

    loopback.faults["/a.tif"] = [(302, {"Location": "http://169.254.169.254/latest/meta-data"})]
    with pytest.raises(UnsupportedItemError):
        fetch_range(f"{loopback.url}/a.tif", Strict(allow_local=False), 0, 100)


def test_a_body_that_breaks_off_is_tried_again(loopback: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(
                    b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100\r\nContent-Range: bytes 0-99/500\r\n\r\nhalf"
                )

        server = threading.Thread(target=answer)
        server.start()
        with pytest.raises(TransientSourceError, match="connection broke"):
            fetch_range(f"http://127.0.0.1:{listener.getsockname()[1]}/a.tif", OPENER, 0, 100)
        server.join()


def test_a_proxy_is_asked_for_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096).split(b"\r\n")[0])
                connection.sendall(
                    b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/9\r\n\r\nIIab"
                )

        server = threading.Thread(target=answer)
        server.start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        fetch._proxy_for.cache_clear()
        try:
            assert fetch_range("http://files.example.org/a%20b.tif?v=1", OPENER, 0, 4).data == b"IIab"
        finally:
            fetch._proxy_for.cache_clear()
            _forget_connections()
        server.join()
    assert asked == [b"GET http://files.example.org/a%20b.tif?v=1 HTTP/1.1"]


def test_a_server_that_stalls_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SILENT_SECONDS", 0.2)
    _forget_connections()
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,  # takes the request and says nothing
            pytest.raises(TransientSourceError, match="stalled"),
        ):
            fetch_range(f"http://127.0.0.1:{silent.getsockname()[1]}/a.tif", OPENER, 0, 10)
    finally:
        _forget_connections()


def _forget_connections() -> None:
    fetch._route.cache_clear()
    fetch._pool.cache_clear()


def test_a_file_that_comes_late_is_read_by_the_next_build_in_the_same_process(remote: SceneRef, loopback: Any) -> None:
    """A worker of a standing cluster outlives builds, and so does what GDAL remembers of addresses that failed."""

    def width() -> int:
        try:
            with rasterio.Env(**gdal_settings(OPENER, [remote.href])), rasterio.open(remote.href) as file:
                return int(file.width)
        except rasterio.errors.RasterioError as error:
            raise as_source_error(error, remote.href, remote.href) from error

    path = loopback.root / "scene.tif"
    away = path.rename(path.with_suffix(".away"))
    with pytest.raises(AssetMissingError):
        width()
    away.rename(path)
    assert width() == SOURCE.shape_yx[1]


@pytest.mark.parametrize("there", ["http://[bad/x", "//[::g]/", "http://a..b/x", f"https://{'a' * 70}.org/x"])
def test_a_redirect_to_no_address_is_a_failure_of_the_source(loopback: Any, there: str) -> None:
    loopback.faults["/a"] = [(302, {"Location": there})]
    for ask in (
        lambda: fetch_range(f"{loopback.url}/a", OPENER, 0, 10),
        lambda: read_document(f"{loopback.url}/a", OPENER),
        lambda: WebSession(OPENER, loopback.url, allow_local=True).json(f"{loopback.url}/a"),
    ):
        with pytest.raises(SourceError):
            ask()


class Rotating:
    """Signs with a session token that it looks up anew when it is refused."""

    allow_local = True

    def __init__(self) -> None:
        self.token = "old"

    def resolve(self, href: str) -> str:
        return f"{href}?token={self.token}"

    def headers(self, href: str) -> Mapping[str, str]:
        return {}

    def refresh(self, href: str) -> None:
        self.token = "new"

    def slot(self, href: str) -> AbstractContextManager[None]:
        return nullcontext()

    def gdal_options(self) -> dict[str, str]:
        return {}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>", None),
        (b"<Error><Code>InvalidArgument</Code></Error>", "HTTP 400"),
    ],
)
def test_a_session_token_that_ran_out_is_looked_up_again(body: bytes, outcome: str | None) -> None:
    class Store(BaseHTTPRequestHandler):
        """Answers as S3 does."""

        def do_GET(self) -> None:
            is_good = self.path.endswith("token=new")
            data = b"0123456789" if is_good else body
            self.send_response(206 if is_good else 400)
            self.send_header("Content-Length", str(len(data)))
            if is_good:
                self.send_header("Content-Range", "bytes 0-9/10")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            return

    with serving(Store) as url:
        if outcome is None:
            assert fetch_range(f"{url}/a.tif", Rotating(), 0, 10).data == b"0123456789"
            return
        with pytest.raises(SourceError, match=outcome) as caught:
            fetch_range(f"{url}/a.tif", Rotating(), 0, 10)
        assert not isinstance(caught.value, AccessDeniedError)
