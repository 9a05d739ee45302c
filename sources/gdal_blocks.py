"""Blocks that GDAL decodes by itself, and whether they are what was stored: `stored_blocks` and `check_stored`.

For what is not read block by block here: overviews, samples of fewer than 8 bits. GDAL says where the blocks lie; they
are fetched once more, and only where Deflate ends them in a checksum (`sources.block_sums`). What was changed on the
way of GDAL's own request alone is not noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import Compression
from rasterio.windows import Window

from schemas.errors import DecodeError
from schemas.scene import Opener
from sources.block_sums import inflates
from sources.fetch import fetch_range, is_fetchable
from sources.openers import unsigned
from sources.ranges import merged_ranges


@dataclass(frozen=True, slots=True)
class Stored:
    """A block in its file."""

    offset: int
    """Its first byte."""
    length: int
    """Bytes as stored."""
    size: int
    """Bytes when it is decoded, or more."""


def stored_blocks(file: Any, bands: Sequence[int], window: Window) -> list[Stored]:
    """The blocks under a window that have a checksum; none where the file is coded in another way.

    Args:
        file: open in rasterio; with ``OVERVIEW_LEVEL`` one of its overviews.
        bands: 1-based.
        window: may reach beyond the raster.
    """
    if file.compression is not Compression.deflate:
        return []
    rows, columns = (
        slice(max(part.start, 0), min(part.stop, size))
        for part, size in zip(window.toslices(), file.shape, strict=True)
    )
    is_interleaved = file.interleaving is not None and file.interleaving.value == "PIXEL"
    found: dict[int, Stored] = {}
    for band in bands:
        height, width = file.block_shapes[band - 1]
        size = height * width * np.dtype(file.dtypes[band - 1]).itemsize * (file.count if is_interleaved else 1)
        for row in range(rows.start // height, -(-rows.stop // height)):
            for column in range(columns.start // width, -(-columns.stop // width)):
                place = f"{column}_{row}"
                offset = file.get_tag_item(f"BLOCK_OFFSET_{place}", "TIFF", bidx=band)
                if offset is not None:  # else it is not stored: all no data
                    length = file.get_tag_item(f"BLOCK_SIZE_{place}", "TIFF", bidx=band)
                    found[int(offset)] = Stored(int(offset), int(length), size)
    return list(found.values())


def check_stored(blocks: Sequence[Stored], href: str, opener: Opener) -> None:
    """Stop where a block is not what its checksum says. No slot of the opener may be held: each range takes one.

    Raises:
        DecodeError: one is not.
        SourceError: as `sources.fetch.fetch_range` says.
    """
    if not is_fetchable(opener.resolve(href)):
        return
    for run in merged_ranges(blocks, lambda block: (block.offset, block.length)):
        start = run[0].offset
        data = memoryview(fetch_range(href, opener, start, run[-1].offset + run[-1].length - start).data)
        if not all(inflates(data[block.offset - start :][: block.length], block.size) for block in run):
            raise DecodeError("not readable as a raster: a block is not what its checksum says", unsigned(href))
