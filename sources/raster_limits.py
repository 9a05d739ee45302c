"""How large a raster may say that it is: `check_layout` refuses what would fill the memory before it is read; and where
on the Earth: `check_place`.

A file of some kilobytes can declare a block of many gigabytes that decompresses to zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import DecodeError
from schemas.scene import Opener
from sources.fetch import fetch_range, is_fetchable, is_on_disk
from sources.openers import Remembered, has_failed, unsigned

MAX_SIDE_PX = 4_000_000
"""The whole Earth at 10 m has four million columns."""
MAX_BLOCK_BYTES = 256 << 20
"""A block, or a strip, decodes to no more; EnMAP's 224 interleaved bands in blocks of 512 pixels take 117 MB."""

FARTHEST = 1e9
"""No edge of a raster has larger coordinates: in metres that is 25 times around the Earth."""
SMALLEST = 1e-9
"""No pixel is smaller: in degrees that is a tenth of a millimetre."""
BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
"""TIFF and BigTIFF in both byte orders; JPEG 2000 in its box and bare."""

_in_order = Remembered()
"""Addresses of other machines whose beginning is that of a raster."""


def check_format(href: str, opener: Opener) -> None:
    """Refuse a file that is no TIFF and no JPEG 2000, for libraries that open whatever GDAL recognises.

    A virtual format names other files, of this machine too. Files of object stores (``s3://``) are not looked into, and
    an address that was in order is not asked again until a read of it fails: every chip's window of it comes here.

    Raises:
        DecodeError: another format.
        SourceError: the file cannot be read.
    """
    if not is_fetchable(opener.resolve(href)) or (href in _in_order and not has_failed(href)):
        return
    if not fetch_range(href, opener, 0, 16).data.startswith(BEGINNINGS):
        raise DecodeError("not readable as a raster: neither TIFF nor JPEG 2000", unsigned(href))
    if not is_on_disk(opener.resolve(href)):
        _in_order.add(href)


def check_mask_inside(resolved: str, url: str) -> None:
    """Refuse a local raster with a mask in a file beside it, as GDAL writes one unless it is told otherwise: nobody
    looks for such files here, and what the mask hides would be data. Of one on a server nothing is known.

    Args:
        resolved: as an opener resolved it.
        url: for the error.

    Raises:
        DecodeError: there is one.
    """
    if is_on_disk(resolved) and Path(f"{resolved}.msk").is_file():
        mend = "put it inside: gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES"
        what = f"its mask lies in a file beside it ({Path(resolved).name}.msk), which is not read"
        raise DecodeError(f"{what}; {mend}", url)


def check_layout(shape_yx: tuple[int, int], block_yx: tuple[int, int], bands: int, dtype: str, url: str) -> None:
    """Refuse a raster whose header asks for too much.

    Args:
        shape_yx: rows and columns.
        block_yx: rows and columns of what is decoded in one piece.
        bands: samples of a pixel that are decoded together.
        dtype: NumPy name of the stored type.
        url: for the error.

    Raises:
        DecodeError: names what is too large, and the limit.
    """
    if max(shape_yx) > MAX_SIDE_PX:
        raise DecodeError(f"a raster of {shape_yx} pixels; no side may exceed {MAX_SIDE_PX}", unsigned(url))
    size = math.prod(block_yx) * bands * np.dtype(dtype).itemsize
    if size > MAX_BLOCK_BYTES:
        raise DecodeError(
            f"blocks of {block_yx} pixels and {bands} band(s) decode to {size >> 20} MiB,"
            f" more than {MAX_BLOCK_BYTES >> 20} MiB",
            unsigned(url),
        )


def check_place(bounds_xyxy: Sequence[float], sides: Sequence[float], url: str) -> None:
    """Refuse a raster whose edges or pixel sides are numbers that no raster on the Earth has.

    Raises:
        DecodeError: they are not.
    """
    if not (all(abs(edge) < FARTHEST for edge in bounds_xyxy) and all(side > SMALLEST for side in sides)):
        raise DecodeError(f"the file lies nowhere on the Earth: {tuple(bounds_xyxy)}", unsigned(url))


def check_open_file(file: Any, url: str) -> None:
    """`check_layout` of a file that rasterio has open.

    Raises:
        DecodeError: see `check_layout`.
    """
    together = file.count if file.interleaving is not None and file.interleaving.value == "PIXEL" else 1
    for block_yx, dtype in set(zip(file.block_shapes, file.dtypes, strict=True)):
        check_layout(file.shape, block_yx, together, dtype, url)
