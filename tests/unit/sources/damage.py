"""Damage that nobody tells of: `spoil`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioIOError


def spoil(path: Path, row: int = 0, column: int = 0, **options: Any) -> None:
    """Change a byte of a block so that GDAL gives other pixels for it, and no error."""
    good = path.read_bytes()
    with rasterio.open(path, **options) as file:
        what = [file.get_tag_item(f"BLOCK_{name}_{column}_{row}", "TIFF", bidx=1) for name in ("OFFSET", "SIZE")]
        window = file.block_window(1, row, column)
        whole = file.read(1, window=window)
    first, length = map(int, what)
    for place in np.random.default_rng(5).integers(2, length, 100):
        data = bytearray(good)
        data[first + place] ^= 0x5A
        path.write_bytes(data)
        with suppress(RasterioIOError), rasterio.open(path, **options) as file:
            if (file.read(1, window=window) != whole).any():
                return
    raise AssertionError("GDAL notices every change of this block")
