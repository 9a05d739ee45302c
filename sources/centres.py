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
from sources.lattice import nearest_turn

NODES = 6
"""Nodes along each side through which a projection is drawn."""

NEAR_BORDER = 1e-4
"""Parts of a source pixel: so near a border a centre is projected itself. The polynomials must fit ten times better."""


ROWS = 32
"""Rows of the target that are worked on together: what they need fits into a processor's cache."""

Floats = NDArray[np.float64]


@lru_cache(maxsize=2)
def source_pixels(target: GeoRef, wkt: str, transform: Affine, shape_yx: tuple[int, int]) -> NDArray[np.intp]:
    """(H, W) the source pixel in which each centre of the target lies, counted row by row; -1 beyond the source.

    The projection is computed at some nodes and drawn through them by polynomials, which is a hundred times as fast;
    centres that come so near a border that the polynomial might be on its other side are projected themselves. Where
    the polynomials do not fit (a grid over a pole), all are. The last answers are kept: editions of one product lie on
    one lattice.

    Args:
        target: whose centres.
        wkt: coordinate system of the source.
        transform: of the source.
        shape_yx: rows and columns of the source.

    Returns:
        Not to be written to.
    """
    to_source = projection(target.epsg, wkt)
    edges = transform.c, transform.c + shape_yx[1] * transform.a
    is_degrees = to_source.target_crs is not None and to_source.target_crs.is_geographic
    x, y = target.x_centres(), target.y_centres()

    def exactly(x: Floats, y: Floats) -> Floats:
        found_x, found_y = to_source.transform(x, y)
        if is_degrees:
            found_x = nearest_turn(found_x, min(edges), max(edges))
        return np.stack([(found_y - transform.f) / transform.e, (found_x - transform.c) / transform.a])

    fitted = _fitted(x, y, exactly)
    found, near = np.empty(target.shape_yx, dtype=np.intp), []
    for start in range(0, y.size, ROWS):
        part = slice(start, min(start + ROWS, y.size))
        if fitted is None:
            places = exactly(*np.meshgrid(x, y[part]))
        else:
            places = fitted(part)
            from_border = np.rint(places)
            np.abs(np.subtract(places, from_border, out=from_border), out=from_border)
            near.append(start * x.size + np.flatnonzero(from_border.min(axis=0) < NEAR_BORDER))
        found[part] = _counted(places, shape_yx)
    if near:
        at = np.concatenate(near)
        found.ravel()[at] = _counted(exactly(x[at % x.size], y[at // x.size]), shape_yx)
    found.setflags(write=False)
    return found


def _counted(places: Floats, shape_yx: tuple[int, int]) -> Floats:
    """Pixels counted row by row, -1 beyond the source, of (2, ...) rows and columns, which are used up."""
    rows, columns = np.floor(places, out=places)
    beyond = (rows < 0) | (rows >= shape_yx[0]) | (columns < 0) | (columns >= shape_yx[1])
    rows *= shape_yx[1]
    rows += columns
    rows[beyond] = -1
    return np.asarray(rows)


def _fitted(x: Floats, y: Floats, exactly: Callable[..., Floats]) -> Callable[[slice], Floats] | None:
    """What gives (2, rows, W) places of some rows by polynomials through nodes; None where they miss places
    between the nodes.
    """
    if min(x.size, y.size) < 2 * NODES:
        return None
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    between = np.linspace(-1, 1, 2 * NODES + 1)

    def scaled(values: Floats, unit: Floats) -> Floats:
        middle, half = (values[0] + values[-1]) / 2, (values[-1] - values[0]) / 2
        return np.asarray(middle + half * unit)

    solve = np.linalg.inv(chebyshev.chebvander(nodes, NODES - 1))
    at_nodes = exactly(*np.meshgrid(scaled(x, nodes), scaled(y, nodes)))
    coefficients = solve @ at_nodes @ solve.T
    test = chebyshev.chebvander(between, NODES - 1)
    missed = np.abs(test @ coefficients @ test.T - exactly(*np.meshgrid(scaled(x, between), scaled(y, between))))
    if not missed.max() < NEAR_BORDER / 10:
        return None
    down, across = (chebyshev.chebvander(np.linspace(-1, 1, values.size), NODES - 1) for values in (y, x))
    along = coefficients @ across.T
    return lambda rows: np.asarray(down[rows] @ along)


@lru_cache(maxsize=64)
def projection(epsg: int, wkt: str) -> pyproj.Transformer:
    """x before y, whatever heights the system counts; making one costs more than projecting a chip."""
    return pyproj.Transformer.from_crs(epsg, pyproj.CRS(wkt).to_2d(), always_xy=True)
