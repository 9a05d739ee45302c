"""Which parts of which blocks make up a target: worked out once for all files of one layout, dates and bands alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from schemas.georef import GeoRef
from sources.lattice import common_window


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a block, and where it comes to lie."""

    number: int
    """Of the block, in the plane of the first band (`sources.tiff_header.TiffHeader.block_of`)."""
    source_rows: slice
    """Rows of the block."""
    source_columns: slice
    """Columns of the block."""
    target_rows: slice
    """Rows of the target."""
    target_columns: slice
    """Columns of the target."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What a file holds of a target."""

    pieces: tuple[Piece, ...]
    """In file order."""
    is_whole: bool
    """Whether they cover all of it."""


@lru_cache(maxsize=4096)
def cut_of(source: GeoRef, block_yx: tuple[int, int], target: GeoRef) -> Cut:
    """The pieces of a raster's blocks that make up a target on its lattice.

    Args:
        source: the raster's lattice.
        block_yx: rows and columns of a block.
        target: aligned with it (`GeoRef.is_aligned`).
    """
    common = common_window(source, target)
    if common is None:
        return Cut((), is_whole=False)
    height, width = block_yx
    across = math.ceil(source.shape_yx[1] / width)
    rows, columns = common.source_rows, common.source_columns
    down, right = common.target_rows.start - rows.start, common.target_columns.start - columns.start
    pieces = []
    for row in range(rows.start // height, -(-rows.stop // height)):
        top, bottom = max(row * height, rows.start), min((row + 1) * height, rows.stop)
        for column in range(columns.start // width, -(-columns.stop // width)):
            left, end = max(column * width, columns.start), min((column + 1) * width, columns.stop)
            pieces.append(
                Piece(
                    row * across + column,
                    slice(top - row * height, bottom - row * height),
                    slice(left - column * width, end - column * width),
                    slice(top + down, bottom + down),
                    slice(left + right, end + right),
                )
            )
    size_yx = rows.stop - rows.start, columns.stop - columns.start
    return Cut(tuple(pieces), is_whole=size_yx == target.shape_yx)
