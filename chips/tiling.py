"""Tiles as columns: which neighbouring chips are read together, in which order, and which items touch them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from chips.cell_table import CellTable

BATCH = 4096
"""Tiles looked at together: their chips' outlines are in memory at once, no more."""


@dataclass(frozen=True)
class TileTable:
    """T tiles of N cells, in the order in which they are to be read."""

    order: NDArray[np.int64]
    """(N,) the cells, tile by tile, by id within a tile."""
    first: NDArray[np.int64]
    """(T + 1,) where each tile begins in `order`."""
    tile_id: NDArray[np.str_]
    """(T,) stable names, from the chips' lattice."""
    epsg: NDArray[np.int32]
    """(T,) CRS of a tile's chips."""

    def __len__(self) -> int:
        return len(self.tile_id)

    def batches(self) -> Iterator[tuple[int, int]]:
        """Ranges of at most `BATCH` tiles."""
        for start in range(0, len(self), BATCH):
            yield start, min(start + BATCH, len(self))


def tile_cells(cells: CellTable, size_m: float, edge: int) -> TileTable:
    """Blocks of ``edge`` by ``edge`` chips by zone, in rows from north to south, each row from west to east.

    A source block that two tiles share is then wanted again at once, or after one row of tiles.

    Args:
        cells: N cells.
        size_m: edge of a chip.
        edge: chips along a tile's edge.
    """
    step = size_m * edge
    column = np.floor(cells.bounds[:, 0] / step + 1e-9).astype(np.int64)
    row = np.floor(cells.bounds[:, 1] / step + 1e-9).astype(np.int64)
    epsg = cells.epsg.astype(np.int64)
    half = 1 << 23
    keys = (epsg << 48) + ((row + half) << 24) + (column + half)
    _, rank, tile_of = np.unique(keys, return_index=True, return_inverse=True)
    by_place = np.lexsort([column[rank], -row[rank], epsg[rank]])
    position = np.empty_like(by_place)
    position[by_place] = np.arange(len(by_place))
    order = np.lexsort([cells.chip_id, position[tile_of]])
    counts = np.bincount(position[tile_of], minlength=len(by_place))
    tiles = rank[by_place]
    return TileTable(
        order=order,
        first=np.concatenate([[0], np.cumsum(counts)]),
        tile_id=np.array([f"{epsg[i]}_{column[i]}_{row[i]}" for i in tiles], dtype=np.str_),
        epsg=cells.epsg[tiles],
    )


def touches(
    outlines: NDArray[np.object_],
    tile_of: NDArray[np.int64],
    hulls: NDArray[np.object_],
    footprints: NDArray[np.object_],
    tree: shapely.STRtree,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Tiles and the items that touch at least one of their chips.

    Args:
        outlines: (N,) EPSG:4326 outlines of chips.
        tile_of: (N,) their tile, from 0, rising.
        hulls: (T,) `hulls_of` them.
        footprints: (M,) EPSG:4326 footprints of items.
        tree: of the footprints.

    Returns:
        (P,) tile, (P,) item, (P,) how many of the tile's chips it touches; by tile, then by item.
    """
    tiles, items = tree.query(hulls)  # by boxes; a prepared footprint then answers for many tiles
    near = footprints[np.unique(items)]
    shapely.prepare(near)
    whole = shapely.contains_properly(footprints[items], hulls[tiles])
    count = np.bincount(tile_of, minlength=len(hulls))
    touched = np.where(whole, count[tiles], 0)
    partly = np.flatnonzero(~whole)
    partly = partly[shapely.intersects(footprints[items[partly]], hulls[tiles[partly]])]
    first = np.concatenate([[0], np.cumsum(count)])
    repeats = count[tiles[partly]]
    pair = np.repeat(partly, repeats)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    hits = shapely.intersects(footprints[items[pair]], outlines[first[tiles[pair]] + within])
    shapely.destroy_prepared(near)
    touched += np.bincount(pair[hits], minlength=len(tiles)).astype(touched.dtype)
    kept = np.flatnonzero(touched > 0)
    kept = kept[np.lexsort([items[kept], tiles[kept]])]
    return tiles[kept], items[kept], touched[kept]


def hulls_of(outlines: NDArray[np.object_], tile_of: NDArray[np.int64]) -> NDArray[np.object_]:
    """(T,) convex outlines of tiles; the union of the chips where a tile lies on the antimeridian."""
    coordinates, index = shapely.get_coordinates(outlines, return_index=True)
    # a line through all corners has the hull of its corners, and is made without an object for each of them
    hulls: NDArray[np.object_] = shapely.convex_hull(shapely.linestrings(coordinates, indices=tile_of[index]))
    bounds = shapely.bounds(hulls)
    for tile in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180.0):
        hulls[tile] = shapely.union_all(outlines[tile_of == tile])
    return hulls
