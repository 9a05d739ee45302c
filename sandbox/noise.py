"""Seeded random fields on a plane that are the same whatever the block in which they are asked for.

Values hang on lattice nodes by a hash of (node, seed), so a field needs no array of the whole world and two
neighbouring blocks agree on their common edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse, special

Array = npt.NDArray[np.float32]

SPLINE_GAIN = 315.0 / 151.0
"""1 over the mean of the summed squares of cubic B-spline weights: over two axes, 1 over one sigma."""


def hash_uniform(seed: int, *keys: npt.ArrayLike) -> Array:
    """Uniform numbers in [0, 1) that depend on ``seed`` and integer ``keys`` alone.

    Args:
        seed: any integer.
        keys: integer arrays that broadcast together.

    Returns:
        float32 array of the keys' common shape.

    Source: SplitMix64 finaliser (Steele, Lea and Flood 2014).
    """
    with np.errstate(over="ignore"):
        state = np.uint64((seed * 0x9E3779B97F4A7C15 + 0x1234567) & 0xFFFFFFFFFFFFFFFF)
        value = np.asarray(state)
        for key in keys:
            value = value ^ np.asarray(key, dtype=np.int64).astype(np.uint64)
            value = value * np.uint64(0xBF58476D1CE4E5B9)
            value = value ^ (value >> np.uint64(29))
            value = value * np.uint64(0x94D049BB133111EB)
            value = value ^ (value >> np.uint64(32))
    return ((value >> np.uint64(40)).astype(np.float32)) * np.float32(2.0**-24)


def _spline_matrix(coords: npt.NDArray[np.float64], first: int, count: int) -> sparse.csr_matrix:
    """(n, count) cubic B-spline weights of node numbers ``first`` .. at ``coords`` in node units."""
    base = np.floor(coords).astype(np.int64)
    t = coords - base
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6.0
    columns = base[:, None] + np.arange(-1, 3)[None, :] - first
    rows = np.repeat(np.arange(len(coords)), 4)
    shape = (len(coords), count)
    matrix = sparse.csr_matrix((weights.ravel().astype(np.float32), (rows, columns.ravel())), shape=shape)
    return matrix


def plane(xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64], wavelength_m: float, seed: int) -> Array:
    """A smooth field with zero mean and unit variance on an axis-parallel grid.

    Args:
        xs: (W,) x of the columns in metres.
        ys: (H,) y of the rows in metres, any order.
        wavelength_m: distance of the lattice nodes.
        seed: which field.

    Returns:
        (H, W) float32.
    """
    cols, rows = xs / wavelength_m, ys / wavelength_m
    c0, c1 = int(np.floor(cols.min())) - 1, int(np.floor(cols.max())) + 2
    r0, r1 = int(np.floor(rows.min())) - 1, int(np.floor(rows.max())) + 2
    uniform = hash_uniform(seed, np.arange(r0, r1 + 1)[:, None], np.arange(c0, c1 + 1)[None, :])
    nodes = special.ndtri(np.clip(uniform, 1e-4, 1 - 1e-4)).astype(np.float32)
    along_y = _spline_matrix(rows, r0, r1 - r0 + 1)
    along_x = _spline_matrix(cols, c0, c1 - c0 + 1)
    half = along_y @ nodes  # (H, nodes in x)
    field: Array = np.asarray((along_x @ np.ascontiguousarray(half.T)).T, dtype=np.float32)
    return field * np.float32(SPLINE_GAIN)


def fractal(
    xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64], wavelength_m: float, seed: int, octaves: int = 4
) -> Array:
    """Sum of ``octaves`` planes, each with half the wavelength and 0.55 of the amplitude; unit variance."""
    total = np.zeros((len(ys), len(xs)), dtype=np.float32)
    norm = 0.0
    for octave in range(octaves):
        amplitude = 0.55**octave
        total += np.float32(amplitude) * plane(xs, ys, wavelength_m / 2**octave, seed * 31 + octave)
        norm += amplitude**2
    return total / np.float32(norm**0.5)


def scattered(x: npt.ArrayLike, y: npt.ArrayLike, wavelength_m: float, seed: int, octaves: int = 3) -> Array:
    """The field of :func:`fractal` at free points, to linear interpolation on a grid of 1/16 wavelength.

    Args:
        x: x in metres, any shape.
        y: y in metres, same shape.
        wavelength_m: of the first octave.
        seed: which field.
        octaves: how many.

    Returns:
        float32 of the shape of ``x``.
    """
    px, py = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    step = wavelength_m / 16.0
    c0, r0 = np.floor(px.min() / step) - 1, np.floor(py.min() / step) - 1
    width, height = int(px.max() / step - c0) + 3, int(py.max() / step - r0) + 3
    grid = fractal((c0 + np.arange(width)) * step, (r0 + np.arange(height)) * step, wavelength_m, seed, octaves)
    where = np.stack([py.ravel() / step - r0, px.ravel() / step - c0])
    out: Array = ndimage.map_coordinates(grid, where, order=1, mode="nearest").reshape(px.shape)
    return out


def to_uniform(field: Array) -> Array:
    """Numbers in 0..1 of a field with unit variance (its normal distribution function)."""
    out: Array = special.ndtr(field).astype(np.float32)
    return out
