"""Oriented gradients of a picture: what `chips.correlation` matches.

A gradient g enters as the complex number g**2 / |g|, softened: doubling the angle makes an edge from dark to bright
equal to one from bright to dark (fields before and after harvest, optical against radar), and the softening keeps a few
roofs from outvoting the fields.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Cover:
    """Which rows (or columns) of one picture lie under those of another that is moved."""

    at: NDArray[np.float32]
    """(step, 2 * reach + 1, n): 1 where they do, by the part of the other, the shift and the row; else 0."""

    @cached_property
    def bands(self) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
        """Rows that some shifts cover, (step, 1, 2 * reach + 1, k) for these alone, and (1, n) the rows that all do."""
        always = np.logical_and.reduce(self.at, axis=(0, 1))
        others = np.flatnonzero(~always)
        return others, self.at[:, None, :, others], always.astype(np.float32)[None]

    def sums(self, energies: NDArray[np.float32]) -> NDArray[np.float32]:
        """(parts, parts, n, x) -> the same with (step, ...) before and a sum for each shift instead of the rows.

        Either ``step`` or ``parts`` is 1. Rows that are covered at every shift are added once for all.
        """
        others, at_others, always = self.bands
        return np.asarray(at_others @ energies[:, :, others] + always @ energies)


@dataclass(frozen=True, eq=False)
class Edges:
    """Oriented gradients of a picture.

    Transforms are asked for by ``step``: 1, or n where this picture has n samples for each one of the picture it is
    matched with. It then is n x n pictures of the other's spacing, and each of them is transformed by itself.
    """

    values: NDArray[np.float32]
    """(plane, y, x); two planes per channel, real and imaginary part. 0 where ``weight`` is."""
    weight: Flags
    """(y, x) where the gradient is known."""
    kept: dict[Hashable, NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)
    """Transforms and sums that were asked for: a reference is matched with many dates."""

    @cached_property
    def extent(self) -> tuple[Flags, Flags] | None:
        """Rows and columns with weight, if all their crossings have it; else None."""
        known = np.count_nonzero(self.weight)
        if known == self.weight.size:
            return np.ones(self.weight.shape[0], np.bool_), np.ones(self.weight.shape[1], np.bool_)
        rows = np.asarray(self.weight.any(axis=1), np.bool_)
        columns = np.asarray(self.weight.any(axis=0), np.bool_)
        return (rows, columns) if known == np.count_nonzero(rows) * np.count_nonzero(columns) else None

    def covers(self, step: int, reach: int) -> tuple[Cover, Cover]:
        """Rows and columns of `extent`, moved by -reach to reach samples."""
        assert self.extent is not None
        rows, columns = (_moved(flags.tobytes(), step, reach) for flags in self.extent)
        return rows, columns

    def spectrum(self, step: int, shape: tuple[int, int], *, conjugate: bool = False) -> NDArray[np.complex64]:
        """(step, step, plane, ...) real transforms of the values, or what is conjugate to them."""
        if ("values", step, shape, conjugate) not in self.kept:
            found = _transformed(interlaced(self.values, step), shape)
            self.kept["values", step, shape, conjugate] = np.conjugate(found, out=found) if conjugate else found
        return self.kept["values", step, shape, conjugate]

    def energies(self, step: int) -> NDArray[np.float32]:
        """(step, step, y, x) sums of squares."""
        if ("energy", step) not in self.kept:
            self.kept["energy", step] = interlaced(self.energy[None], step)[:, :, 0]
        return self.kept["energy", step]

    def mask_spectrum(self, step: int, shape: tuple[int, int]) -> NDArray[np.complex64]:
        """(step, step, 2, ...) real transforms of the mask and of the energy under it."""
        if ("mask", step, shape) not in self.kept:
            planes = np.stack([self.weight.astype(np.float32), self.energy])
            self.kept["mask", step, shape] = _transformed(interlaced(planes, step), shape)
        return self.kept["mask", step, shape]

    @cached_property
    def energy(self) -> NDArray[np.float32]:
        """(y, x) sum of squares over the planes."""
        squares = self.values[0] * self.values[0]
        for plane in self.values[1:]:
            squares += plane * plane
        return np.asarray(squares)


@lru_cache(maxsize=64)
def _moved(flags: bytes, step: int, reach: int) -> Cover:
    """See `Edges.covers`; pictures of one size share it."""
    given = np.frombuffer(flags, np.bool_)
    size = given.size // step
    wide = np.zeros((step, size + 2 * reach), np.float32)
    wide[:, reach : reach + size] = given.reshape(size, step).T
    return Cover(wide[:, np.arange(2 * reach + 1)[:, None] + np.arange(size)])


def _transformed(planes: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Real transform over the last two axes, padded with zeros to a shape."""
    rows, columns = planes.shape[-2:]
    padded = np.empty((*planes.shape[:-2], *shape), np.float32)  # new memory of zeros costs as much as the transform
    padded[..., :rows, :columns] = planes
    padded[..., :rows, columns:] = 0
    padded[..., rows:, :] = 0
    return np.asarray(fft.rfft2(padded), np.complex64)


def interlaced(planes: NDArray[Any], step: int) -> NDArray[Any]:
    """(n, y, x) -> (step, step, n, y / step, x / step): every step-th row and column, by where the first one is."""
    if step == 1:
        return planes[None, None]
    count, rows, columns = planes.shape
    parts = planes.reshape(count, rows // step, step, columns // step, step)
    return np.ascontiguousarray(parts.transpose(2, 4, 0, 1, 3))


def find_edges(pixels: NDArray[np.float32], valid: Flags, *, step: int = 1, smoothing: int = 1) -> Edges:
    """Oriented gradients of a picture.

    Args:
        pixels: (channel, y, x) in any linear unit; what lies under an invalid pixel is never looked at.
        valid: (y, x).
        step: samples per pixel of the coarser picture: the taps of the kernel stand that far apart, so that a
            picture sampled more densely gives the same gradients.
        smoothing: how often the picture is smoothed along both axes before; every time adds 1/2 to the variance, in
            squared pixels of the coarser picture.

    Returns:
        Gradients up to the outer border; those next to an invalid pixel have no weight.
    """
    whole = bool(valid.all())
    weight = valid if whole else ndimage.binary_erosion(valid, iterations=step, border_value=1)
    values = np.empty((2 * pixels.shape[0], *valid.shape), np.float32)
    if not whole and not weight.any():
        values[:] = 0
        return Edges(values, weight)
    margin = (smoothing + 1) * step
    rows, columns = valid.shape
    inner = slice(margin, margin + rows), slice(margin, margin + columns)
    wide = np.empty((rows + 2 * margin, columns + 2 * margin), np.float32)
    for channel, plane in enumerate(pixels if whole else _filled(pixels, valid, step)):
        wide[inner] = plane
        wide[:margin, inner[1]], wide[margin + rows :, inner[1]] = plane[0], plane[-1]
        wide[:, :margin], wide[:, margin + columns :] = wide[:, margin, None], wide[:, margin + columns - 1, None]
        smooth = wide
        for _ in range(2 * smoothing):
            smooth = smooth[step:] + smooth[:-step]
        for _ in range(2 * smoothing):
            smooth = _with_right(smooth, step)
        smooth = smooth[:, : columns + 2 * step]
        right = smooth[step:-step, 2 * step :] - smooth[step:-step, : -2 * step]
        down = smooth[2 * step :, step:-step] - smooth[: -2 * step, step:-step]
        _soften(right, down, None if whole else weight, values[2 * channel : 2 * channel + 2])
    return Edges(values, weight)


def _with_right(plane: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Each sample and the one ``step`` to its right; the last ``step`` columns are of no use.

    All rows are added as one: one by one they take twice as long.
    """
    flat, added = plane.reshape(-1), np.empty_like(plane)
    np.add(flat[step:], flat[:-step], out=added.reshape(-1)[:-step])
    added.reshape(-1)[-step:] = 0
    return added


def _filled(pixels: NDArray[np.float32], valid: NDArray[np.bool_], step: int) -> NDArray[np.float32]:
    """Pixels with the mean of their valid surroundings where they are invalid, less the overall mean."""
    weight = valid.astype(np.float32)
    kept = np.where(valid, pixels, np.float32(0))
    means = kept.sum(axis=(1, 2), keepdims=True) / weight.sum()
    kept = np.where(valid, kept - means, np.float32(0)).astype(np.float32)
    size = 6 * step + 1
    near = np.maximum(ndimage.uniform_filter(weight, size), np.float32(1e-3))
    around = ndimage.uniform_filter(kept, (0, size, size)) / near
    return np.asarray(np.where(valid, kept, around), np.float32)


def _soften(
    right: NDArray[np.float32], down: NDArray[np.float32], weight: Flags | None, out: NDArray[np.float32]
) -> None:
    """g**2 / |g| for weak gradients, of unit length for strong ones; 0 without weight (None: all has it) or any."""
    real, imaginary = out
    np.multiply(right, right, out=imaginary)
    squared = down * down
    np.subtract(imaginary, squared, out=real)
    squared += imaginary
    typical = float(squared.sum()) / squared.size if weight is None else float(squared[weight].mean())
    if typical <= 0.0:
        out[:] = 0
        return
    np.multiply(right, down, out=imaginary)
    imaginary *= 2
    scale = np.add(squared, np.float32(typical), out=down)
    scale *= squared
    scale += np.float32(max(1e-12 * typical * typical, 1e-36))  # nothing is divided by 0
    np.sqrt(scale, out=scale)
    np.divide(np.float32(1), scale, out=scale)
    if weight is not None:
        scale *= weight
    out *= scale
