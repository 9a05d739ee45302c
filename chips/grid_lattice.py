"""Placed put near a place: the lattice that their edges keep to, and blocks of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.grid_majortom import majortom_names
from chips.zones import SOUTH_ANCHOR_M, to_lonlat
from schemas.recipe import Grid

SHARED_LATTICE_M = 60.0
"""Where edges of 10, 20, 30 and 60 m pixels meet."""
MAX_CHIPS = 5_000_000
"""A recipe that would plan more is refused with the estimate."""


def lattice_m(grid: Grid) -> float:
    """Distance of the lines that chip edges keep to.

    ``snap_m`` where the recipe says so; else 60 m for chips of whole 60 m, and the recipe's GSD for others.
    """
    chip_m = float(grid.chip_m or 0.0)
    if grid.snap_m is not None:
        return grid.snap_m
    return SHARED_LATTICE_M if chip_m % SHARED_LATTICE_M == 0.0 else grid.gsd_m


def lattice_of(grid: Grid) -> float | None:
    """`lattice_m` where chip edges are held to one; None where the chip's size says it, or where they lie anywhere."""
    if grid.kind in ("utm", "mgrs", "list") or (grid.kind == "majortom" and grid.anchor == "product"):
        return None
    return lattice_m(grid)


def anchors_y(epsg: NDArray[np.int32]) -> NDArray[np.float64]:
    """(N,) northing from which lines are counted in each zone."""
    return np.where((epsg >= 32700) & (epsg < 32800), float(SOUTH_ANCHOR_M), 0.0)


def centred(
    x: NDArray[np.float64], y: NDArray[np.float64], epsg: NDArray[np.int32], edge_m: float, lattice: float
) -> NDArray[np.float64]:
    """(N, 2) lower left corners, on the lattice, of squares centred on points as nearly as the lattice allows.

    A square of an odd number of lattice steps has the point in its middle step; one of an even number has its centre
    on the nearest crossing of lines.

    Example:
        >>> import numpy as np
        >>> centred(np.array([503.0]), np.array([1007.0]), np.array([32632], np.int32), 330.0, 10.0).tolist()
        [[340.0, 840.0]]
    """
    steps = edge_m / lattice
    low = []
    for value, anchor in ((x, np.zeros_like(x)), (y, anchors_y(epsg))):
        if round(steps) % 2:
            low.append(anchor + (np.floor((value - anchor) / lattice) - round(steps) // 2) * lattice)
        else:
            low.append(anchor + (np.rint((value - anchor) / lattice) - round(steps) // 2) * lattice)
    return np.column_stack(low)


@dataclass(frozen=True)
class Placed:
    """Placed before they are a table."""

    names: NDArray[np.str_]
    """(N,) ids."""
    epsg: NDArray[np.int32]
    """(N,) zones."""
    low: NDArray[np.float64]
    """(N, 2) lower left corners."""

    def table(self, edge_m: float, region: str) -> CellTable:
        """The cells."""
        bounds = np.column_stack([self.low, self.low + edge_m])
        lon, lat = to_lonlat(self.low[:, 0] + edge_m / 2, self.low[:, 1] + edge_m / 2, self.epsg)
        return CellTable(self.names, self.epsg, bounds, np.full(len(self.names), region), majortom_names(lon, lat))


def blocks(squares: Placed, across: int, down: int, edge_m: float) -> Placed:
    """``across`` x ``down`` squares from every one, named ``<name>_<column>_<row>`` from the upper left.

    Args:
        squares: lower left corners of the blocks.
        across: squares from west to east.
        down: squares from north to south.
        edge_m: edge of a square.
    """
    if across == down == 1:
        return squares
    column, row = (part.ravel() for part in np.indices((across, down)))
    names = [f"{name}_{c}_{r}" for name in squares.names.tolist() for c, r in zip(column, row, strict=True)]
    low = squares.low[:, None, :] + np.column_stack([column, down - 1 - row])[None] * edge_m
    return Placed(np.array(names, dtype=np.str_), np.repeat(squares.epsg, column.size), low.reshape(-1, 2))
