"""Rasters written on the spot, refs to them, and a loopback server that ranges, throttles and fails on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine

from schemas.georef import GeoRef
from schemas.scene import SceneRef
from tests.loopback import serving

MakeRaster = Callable[..., SceneRef]


@pytest.fixture
def make_raster(tmp_path: Path) -> MakeRaster:
    """Write a tiled GeoTIFF and return the ref of one of its bands."""

    def make(
        pixels: NDArray[Any],
        georef: GeoRef,
        *,
        name: str = "a",
        tag: float | None = None,
        nodata: float | None = None,
        band_index: int = 1,
        band: str = "",
    ) -> SceneRef:
        cube = pixels if pixels.ndim == 3 else pixels[np.newaxis]
        path = tmp_path / f"{name}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype=cube.dtype,
            count=cube.shape[0],
            height=georef.shape_yx[0],
            width=georef.shape_yx[1],
            crs=f"EPSG:{georef.epsg}",
            transform=Affine(*georef.transform),
            nodata=tag,
            tiled=True,
            blockxsize=32,
            blockysize=16,
            compress="deflate",
        ) as file:
            file.write(cube)
        return SceneRef("item", name, str(path), band or name, band_index, georef, str(cube.dtype), nodata)

    return make


@dataclass
class Loopback:
    """What the server does and what it saw."""

    root: Path
    url: str = ""
    faults: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    """Path -> statuses and headers to answer with before the file is served; the last one for ever if it is 4xx."""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and range of each request."""


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Loopback]:
    """A server of the test's folder with byte ranges."""
    state = Loopback(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.split("?")[0]
            state.seen.append((self.command, path, self.headers.get("Range", "")))
            queue = state.faults.get(path, [])
            if queue:
                status, headers = queue[0] if queue[0][0] < 429 and len(queue) == 1 else queue.pop(0)
                self.respond(status, b"fault", headers, with_body)
                return
            file = state.root / path.lstrip("/")
            if not file.is_file():
                self.respond(404, b"none", {}, with_body)
                return
            data = file.read_bytes()
            wanted = self.headers.get("Range", "")
            if wanted.startswith("bytes="):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                begin, end = int(first), min(int(last) if last else len(data) - 1, len(data) - 1)
                headers = {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}
                self.respond(206, data[begin : end + 1], headers, with_body)
                return
            self.respond(200, data, {"Accept-Ranges": "bytes"}, with_body)

        def respond(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with serving(Handler) as state.url:
        yield state
