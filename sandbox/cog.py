"""Cloud-optimised GeoTIFFs, written block by block, and their STAC asset fields."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.transform import Affine
from rasterio.windows import Window

from .place import Grid

COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"

IN_MEMORY_BYTES = 96_000_000
"""Rasters up to this size are gathered in memory, larger ones in a file beside the target."""


OVERVIEW_PX = 512
"""Rasters up to this side have no overviews, as providers' COGs of 512-pixel blocks have none."""


class CogWriter:
    """One raster that becomes a COG when it is closed.

    Args:
        path: the file to make.
        grid: its georeference.
        dtype: of its pixels.
        count: bands.
        nodata: tag, or None.
        categorical: whether overviews take the nearest value instead of the mean.
        tags: GDAL metadata of the dataset.
        band_tags: GDAL metadata per band.
        colours: palette, value -> (r, g, b, a).
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        dtype: str,
        *,
        count: int = 1,
        nodata: float | None = None,
        categorical: bool = False,
        tags: Mapping[str, str] | None = None,
        band_tags: list[dict[str, str]] | None = None,
        colours: Mapping[int, tuple[int, int, int, int]] | None = None,
    ) -> None:
        self.path, self.grid, self.dtype, self.categorical = path, grid, dtype, categorical
        size = grid.width * grid.height * count * np.dtype(dtype).itemsize
        path.parent.mkdir(parents=True, exist_ok=True)
        self._scratch = f"/vsimem/{uuid.uuid4().hex}.tif" if size <= IN_MEMORY_BYTES else str(path) + ".part.tif"
        layout: dict[str, Any] = {
            "tiled": True,
            "blockxsize": 256,
            "blockysize": 256,
            "interleave": "pixel" if count > 1 else "band",
        }
        self._data = rasterio.open(
            self._scratch,
            "w",
            driver="GTiff",
            width=grid.width,
            height=grid.height,
            count=count,
            dtype=dtype,
            crs=f"EPSG:{grid.epsg}",
            transform=Affine(*grid.transform),
            nodata=nodata,
            bigtiff="if_safer",
            **layout,
        )
        self._data.update_tags(AREA_OR_POINT="Area", **(tags or {}))
        for i, extra in enumerate(band_tags or []):
            self._data.update_tags(i + 1, **extra)
        if colours:
            self._data.write_colormap(1, dict(colours))
        self._block = 128 if count > 8 else 256 if max(grid.width, grid.height) < 4000 else 512

    def write(self, values: npt.NDArray[Any], row: int = 0, col: int = 0) -> None:
        """Writes (H, W) or (B, H, W) values at a pixel position."""
        cube = values[None] if values.ndim == 2 else values
        self._data.write(cube.astype(self.dtype, copy=False), window=Window(col, row, cube.shape[2], cube.shape[1]))

    def close(self) -> dict[str, Any]:
        """Makes the COG; its href relative to nothing yet, size and checksum as STAC asset fields."""
        self._data.close()
        resampling = "NEAREST" if self.categorical else "AVERAGE"
        predictor = "FLOATING_POINT" if self.dtype.startswith("float") else "STANDARD"
        rasterio.shutil.copy(
            self._scratch,
            str(self.path),
            driver="COG",
            BLOCKSIZE=str(self._block),
            COMPRESS="DEFLATE",
            LEVEL="1",
            PREDICTOR="NO" if self.dtype == "uint8" else predictor,
            OVERVIEW_RESAMPLING=resampling,
            OVERVIEWS="AUTO" if max(self.grid.width, self.grid.height) > OVERVIEW_PX else "NONE",
            NUM_THREADS="1",
        )
        rasterio.shutil.delete(self._scratch)
        return file_fields(self.path)


def file_fields(path: Path) -> dict[str, Any]:
    """``file:size`` and ``file:checksum`` (SHA-256 multihash) of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return {"file:size": path.stat().st_size, "file:checksum": "1220" + digest.hexdigest()}
