"""Encoded blocks -> pixels: `decode_blocks`, with GDAL as the decoder.

The blocks are put into a small TIFF in memory, one under the other, with the decoding tags of the file they came from,
and read back in one piece: every compression and predictor that GDAL knows, and its very pixels (docs/adr/0008).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from schemas.errors import DecodeError
from sources.block_sums import holds
from sources.tiff_header import (
    BITS,
    BLOCK_HEIGHT,
    BLOCK_WIDTH,
    COUNTS,
    EXTRA_SAMPLES,
    FORMAT,
    HEIGHT,
    OFFSETS,
    PIXEL_SCALE,
    PLANAR,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_HEIGHT,
    STRIP_OFFSETS,
    TIEPOINT,
    WIDTH,
    TiffHeader,
)

SHORT, LONG, DOUBLE = 3, 4, 12
_ONE_BAND = {BITS: 1, FORMAT: 1, EXTRA_SAMPLES: 0}
"""How many values of a tag a single plane keeps."""


def decode_blocks(
    header: TiffHeader,
    blocks: Sequence[bytes | memoryview],
    bands: Sequence[int],
    name: str,
    rows: int | None = None,
) -> list[NDArray[Any]]:
    """The pixels of some blocks.

    Args:
        header: of their file.
        blocks: as stored.
        bands: 1-based bands to return; of a planar file, whose blocks hold one band each, this is (1,).
        name: unsigned address, for the error.
        rows: that each block holds (`TiffHeader.rows_of`); those of a full one where absent.

    Returns:
        For each block (bands, rows, columns), of the full block's size but for a last strip.

    Raises:
        DecodeError: GDAL cannot decode one of them, or it is not what was stored (`sources.block_sums`).
    """
    rows, width = rows or header.block_yx[0], header.block_yx[1]
    try:
        with (
            rasterio.Env(GDAL_NUM_THREADS="1"),
            MemoryFile(_small_tiff(header, blocks, rows), ext=".tif") as memory,
            memory.open(driver="GTiff") as file,
        ):
            pixels = file.read(list(bands))
    except RasterioError as error:
        raise DecodeError(f"not readable as a raster: a block does not decode ({str(error)[:120]})", name) from error
    if pixels.dtype != np.dtype(header.dtype) or pixels.shape != (len(bands), rows * len(blocks), width):
        raise DecodeError(f"not readable as a raster: blocks of {pixels.dtype} {pixels.shape}", name)
    found = [pixels[:, row : row + rows] for row in range(0, rows * len(blocks), rows)]
    if not all(holds(header, block, part) for block, part in zip(blocks, found, strict=True)):
        raise DecodeError("not readable as a raster: a block is not what its checksum says", name)
    return found


def _small_tiff(header: TiffHeader, blocks: Sequence[bytes | memoryview], rows: int) -> bytes:
    """A TIFF of just these blocks, of so many rows each, in one column."""
    order, number = header.order, len(blocks)
    width = header.block_yx[1]
    offsets_tag, counts_tag = (STRIP_OFFSETS, STRIP_COUNTS) if header.in_strips else (OFFSETS, COUNTS)
    samples = 1 if header.planar else header.bands
    tags: dict[int, tuple[int, int, bytes]] = {}
    for tag, kind, count, raw in header.decoding:
        kept = min(count, _ONE_BAND.get(tag, count)) if header.planar else count
        if kept:
            tags[tag] = (kind, kept, raw[: len(raw) * kept // count])

    def put(tag: int, kind: int, *values: float) -> None:
        letter = {SHORT: "H", LONG: "I", DOUBLE: "d"}[kind]
        tags[tag] = (kind, len(values), struct.pack(f"{order}{len(values)}{letter}", *values))

    put(WIDTH, LONG, width)
    put(HEIGHT, LONG, rows * number)
    put(SAMPLES, SHORT, samples)
    put(PLANAR, SHORT, 1)
    if header.in_strips:
        put(STRIP_HEIGHT, LONG, rows)
    else:
        put(BLOCK_WIDTH, LONG, width)
        put(BLOCK_HEIGHT, LONG, rows)
    put(PIXEL_SCALE, DOUBLE, 2.0, 2.0, 0.0)  # any lattice: rasterio warns of a file without one
    put(TIEPOINT, DOUBLE, 0.0, 0.0, 0.0, 2.0, 2.0, 0.0)
    put(counts_tag, LONG, *(len(block) for block in blocks))
    put(offsets_tag, LONG, *([0] * number))
    start = 8 + 2 + 12 * len(tags) + 4
    data = start + sum(len(raw) + len(raw) % 2 for _, _, raw in tags.values() if len(raw) > 4)
    offsets = []
    for block in blocks:
        offsets.append(data)
        data += len(block)
    put(offsets_tag, LONG, *offsets)
    entries, values = [], []
    for tag, (kind, count, raw) in sorted(tags.items()):
        if len(raw) > 4:
            place = struct.pack(order + "I", start)
            raw += bytes(len(raw) % 2)
            values.append(raw)
            start += len(raw)
        else:
            place = raw.ljust(4, b"\0")
        entries.append(struct.pack(order + "HHI", tag, kind, count) + place)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = [mark, struct.pack(order + "IH", 8, len(tags)), *entries, bytes(4), *values]
    return b"".join([*head, *blocks])
