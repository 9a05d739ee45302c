"""A raster of classes, coarse, as an array: what land cover cells hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from chips.cell_table import CellTable

POINTS_PER_EDGE = 5
"""A cell is looked at on 5 x 5 places."""
CELLS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Overview:
    """Class codes on a lattice along the axes."""

    codes: NDArray[np.integer]
    """(rows, columns) codes."""
    crs: str
    """Coordinate system, as an authority code or WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients (a, b, c, d, e, f) as in rasterio."""
    nodata: int | None = None
    """Code that stands for no data here; in another overview it may be a class."""


def class_shares(cells: CellTable, overviews: Sequence[Overview]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which classes there are, and what share of each cell they fill.

    Args:
        cells: N cells.
        overviews: the first that has data at a place counts.

    Returns:
        (K,) codes, rising, and (N, K) shares of the places looked at; a row sums to less than 1 where data are missing.
    """
    held = [np.unique(view.codes).astype(np.int64) for view in overviews]
    codes = np.unique(np.concatenate([c[c != view.nodata] for c, view in zip(held, overviews, strict=True)]))
    shares = np.zeros((len(cells), len(codes)))
    per_cell = POINTS_PER_EDGE**2
    for start in range(0, len(cells), CELLS_AT_ONCE):
        part = cells.take(np.arange(start, min(start + CELLS_AT_ONCE, len(cells))))
        found = _codes_in(part, overviews)  # (M, 25), -1 where there are no data
        kind = np.searchsorted(codes, found)
        known = found >= 0
        flat = (np.arange(len(part))[:, None] * len(codes) + kind)[known]
        counts = np.bincount(flat, minlength=len(part) * len(codes))
        shares[start : start + len(part)] = counts.reshape(len(part), len(codes)) / per_cell
    return codes, shares


def _codes_in(cells: CellTable, overviews: Sequence[Overview]) -> NDArray[np.int64]:
    """(N, 25) code at the places of every cell; -1 where no raster has data."""
    along = (np.arange(POINTS_PER_EDGE) + 0.5) / POINTS_PER_EDGE
    across, up = (part.ravel() for part in np.meshgrid(along, along))
    wide = cells.bounds[:, 2:] - cells.bounds[:, :2]
    xs = cells.bounds[:, :1] + across * wide[:, :1]
    ys = cells.bounds[:, 1:2] + up * wide[:, 1:]
    found = np.full(xs.shape, -1, dtype=np.int64)
    for view in overviews:
        for code in np.unique(cells.epsg):
            here = cells.epsg == code
            to_raster = Transformer.from_crs(int(code), view.crs, always_xy=True)
            seen = _look_up(view, *to_raster.transform(xs[here], ys[here]))
            found[here] = np.where(found[here] < 0, seen, found[here])
    return found


def _look_up(view: Overview, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    a, _, c, _, e, f = view.transform
    if CRS.from_user_input(view.crs).is_geographic:
        x = c + np.mod(x - c, 360.0)  # longitudes repeat after a turn
    with np.errstate(invalid="ignore"):
        column = np.where(np.isfinite(x), np.floor((x - c) / a), -1).astype(np.int64)
        row = np.where(np.isfinite(y), np.floor((y - f) / e), -1).astype(np.int64)
    rows, columns = view.codes.shape
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    seen = np.full(x.shape, -1, dtype=np.int64)
    seen[inside] = view.codes[row[inside], column[inside]]
    if view.nodata is not None:
        seen[seen == view.nodata] = -1
    return seen
