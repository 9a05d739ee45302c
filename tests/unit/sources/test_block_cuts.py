"""Pieces of blocks, against the raster cut by NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.georef import GeoRef
from sources.block_cuts import cut_of

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
BLOCKS = st.tuples(st.integers(1, 16), st.integers(1, 16))
PLACES = st.tuples(st.integers(-45, 45), st.integers(-45, 45))


@given(SIZES, BLOCKS, PLACES, SIZES)
def test_the_pieces_of_the_blocks_are_what_the_raster_holds_of_the_target(
    shape_yx: tuple[int, int], block_yx: tuple[int, int], place: tuple[int, int], target_yx: tuple[int, int]
) -> None:
    source = GeoRef(32632, 600_000.0, 5_300_000.0, 10.0, shape_yx)
    target = GeoRef(32632, 600_000.0 + 10 * place[1], 5_300_000.0 - 10 * place[0], 10.0, target_yx)
    raster = np.arange(1, shape_yx[0] * shape_yx[1] + 1).reshape(shape_yx)
    wanted = np.zeros(target_yx, int)
    for row in range(target_yx[0]):
        for column in range(target_yx[1]):
            y, x = row + place[0], column + place[1]
            if 0 <= y < shape_yx[0] and 0 <= x < shape_yx[1]:
                wanted[row, column] = raster[y, x]
    cut, found = cut_of(source, block_yx, target), np.zeros(target_yx, int)
    across = -(-shape_yx[1] // block_yx[1])
    padded = np.pad(raster, [(0, -size % block) for size, block in zip(shape_yx, block_yx, strict=True)])
    for piece in cut.pieces:
        top, left = piece.number // across * block_yx[0], piece.number % across * block_yx[1]
        block = padded[top : top + block_yx[0], left : left + block_yx[1]]
        found[piece.target_rows, piece.target_columns] = block[piece.source_rows, piece.source_columns]
    assert (found == wanted).all()
    assert cut.is_whole == bool(wanted.all())
    assert len({piece.number for piece in cut.pieces}) == len(cut.pieces)
