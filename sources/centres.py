"""In which pixel of a raster each centre of another grid lies: exact, and much faster than projecting every centre."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyproj
from affine import Affine
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from schemas.georef import GeoRef

NODES = 6
"""Nodes along each side through which a projection is drawn."""

NEAR_BORDER = 1e-4
"""Parts of a source pixel: so near a border a centre is projected itself. The polynomials must fit ten times better."""


@lru_cache(maxsize=2)
def source_pixels(target: GeoRef, wkt: str, transform: Affine) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(H, W) row and column of the source pixel in which each centre of the target lies; not to be written to.

    The projection is computed at some nodes and drawn through them by polynomials, which is a hundred times as fast;
    centres that come so near a border that the polynomial might be on its other side are projected themselves. Where
    the polynomials do not fit (a grid over a pole), all are. The last answers are kept: editions of one product lie on
    one lattice.
    """
    to_source = projection(target.epsg, wkt)
    x, y = target.x_centres(), target.y_centres()

    def exactly(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        found_x, found_y = to_source.transform(x, y)
        return np.stack([(found_y - transform.f) / transform.e, (found_x - transform.c) / transform.a])

    fitted = _fitted(x, y, exactly)
    if fitted is None:
        across, down = np.meshgrid(x, y)
        places = exactly(across, down)
    else:
        places = fitted
        near = np.flatnonzero((np.abs(places - np.rint(places)) < NEAR_BORDER).any(axis=0).ravel())
        flat = places.reshape(2, -1)
        flat[:, near] = exactly(x[near % x.size], y[near // x.size])
    rows, columns = np.floor(places, out=places).astype(np.int64)
    rows.setflags(write=False)
    columns.setflags(write=False)
    return rows, columns


def _fitted(
    x: NDArray[np.float64], y: NDArray[np.float64], exactly: Callable[..., NDArray[np.float64]]
) -> NDArray[np.float64] | None:
    """(2, H, W) places by polynomials through nodes, or None where they miss places between the nodes."""
    if min(x.size, y.size) < 2 * NODES:
        return None
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    between = np.linspace(-1, 1, 2 * NODES + 1)

    def scaled(values: NDArray[np.float64], unit: NDArray[np.float64]) -> NDArray[np.float64]:
        middle, half = (values[0] + values[-1]) / 2, (values[-1] - values[0]) / 2
        return np.asarray(middle + half * unit)

    solve = np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    at_nodes = exactly(*np.meshgrid(scaled(x, nodes), scaled(y, nodes)))
    coefficients = solve @ at_nodes @ solve.T
    test = chebyshev.chebvander(between, NODES - 1)
    missed = np.abs(test @ coefficients @ test.T - exactly(*np.meshgrid(scaled(x, between), scaled(y, between))))
    if not missed.max() < NEAR_BORDER / 10:
        return None
    along = [chebyshev.chebvander(np.linspace(-1, 1, values.size), NODES - 1) for values in (y, x)]
    return np.asarray(along[0] @ coefficients @ along[1].T)


@lru_cache(maxsize=64)
def projection(epsg: int, wkt: str) -> pyproj.Transformer:
    """x before y; making one costs more than projecting a chip."""
    return pyproj.Transformer.from_crs(epsg, wkt, always_xy=True)
