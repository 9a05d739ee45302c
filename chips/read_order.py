"""In which order tiles are read: neighbours one after the other, so that they find each other's blocks in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from schemas.chip import Tile


def in_read_order(tiles: Sequence[Tile]) -> list[Tile]:
    """The tiles by zone, in rows from north to south, each row from west to east.

    A source block that two tiles share is then wanted again at once, or after one row of tiles.
    """
    height = max((_top(tile) - _bottom(tile) for tile in tiles), default=1.0)

    def place(tile: Tile) -> tuple[int, int, float, str]:
        row = math.floor(_bottom(tile) / height + 1e-9)
        return tile.epsg, -row, min(chip.bounds_xyxy[0] for chip in tile.chips), tile.tile_id

    return sorted(tiles, key=place)


def _top(tile: Tile) -> float:
    return max(chip.bounds_xyxy[3] for chip in tile.chips)


def _bottom(tile: Tile) -> float:
    return min(chip.bounds_xyxy[1] for chip in tile.chips)
