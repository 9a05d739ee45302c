"""Oriented gradients of a picture: what `chips.correlation` matches.

A gradient g enters as the complex number g**2 / |g|, softened: doubling the angle makes an edge from dark to bright
equal to one from bright to dark (fields before and after harvest, optical against radar), and the softening keeps a few
roofs from outvoting the fields.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Edges:
    """Oriented gradients of a picture.

    Transforms are asked for by ``step``: 1, or n where this picture has n samples for each one of the picture it is
    matched with. It then is n x n pictures of the other's spacing, and each of them is transformed by itself.
    """

    values: NDArray[np.complex64]
    """(channel, y, x); 0 where ``weight`` is."""
    weight: Flags
    """(y, x) where the gradient is known."""
    kept: dict[Hashable, NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)
    """Transforms and sums that were asked for: a reference is matched with many dates."""

    @cached_property
    def extent(self) -> tuple[Flags, Flags] | None:
        """Rows and columns with weight, if all their crossings have it; else None."""
        rows = np.asarray(self.weight.any(axis=1), np.bool_)
        columns = np.asarray(self.weight.any(axis=0), np.bool_)
        return (rows, columns) if bool((self.weight == np.logical_and.outer(rows, columns)).all()) else None

    def covers(self, step: int, reach: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Two of (step, 2 * reach + 1, n): rows and columns of `extent`, moved by -reach to reach samples."""
        assert self.extent is not None
        for axis, flags in zip("yx", self.extent, strict=True):
            if (axis, step, reach) not in self.kept:
                size = flags.size // step
                wide = np.zeros((step, size + 2 * reach), np.float32)
                wide[:, reach : reach + size] = flags.reshape(size, step).T
                self.kept[axis, step, reach] = wide[:, np.arange(2 * reach + 1)[:, None] + np.arange(size)]
        return self.kept["y", step, reach], self.kept["x", step, reach]

    def spectrum(self, step: int, shape: tuple[int, int]) -> NDArray[np.complex64]:
        """(step, step, channel, *shape) transform of the values."""
        if ("values", step, shape) not in self.kept:
            self.kept["values", step, shape] = fft.fft2(interlaced(self.values, step), shape)
        return self.kept["values", step, shape]

    def energies(self, step: int) -> NDArray[np.float32]:
        """(step, step, y, x) sums of squares."""
        if ("energy", step) not in self.kept:
            self.kept["energy", step] = interlaced(self.energy[None], step)[:, :, 0]
        return self.kept["energy", step]

    def mask_spectrum(self, step: int, shape: tuple[int, int]) -> NDArray[np.complex64]:
        """(step, step, 2, ...) real transforms of the mask and of the energy under it."""
        if ("mask", step, shape) not in self.kept:
            planes = np.stack([self.weight.astype(np.float32), self.energy])
            self.kept["mask", step, shape] = fft.rfft2(interlaced(planes, step), shape)
        return self.kept["mask", step, shape]

    @cached_property
    def energy(self) -> NDArray[np.float32]:
        """(y, x) sum of squares over the channels."""
        flat = self.values.view(np.float32)
        squares = flat[0] * flat[0]
        for channel in flat[1:]:
            squares += channel * channel
        return np.asarray(squares[:, ::2] + squares[:, 1::2])


def interlaced(planes: NDArray[Any], step: int) -> NDArray[Any]:
    """(n, y, x) -> (step, step, n, y / step, x / step): every step-th row and column, by where the first one is."""
    count, rows, columns = planes.shape
    parts = planes.reshape(count, rows // step, step, columns // step, step)
    return np.ascontiguousarray(parts.transpose(2, 4, 0, 1, 3))


def find_edges(pixels: NDArray[np.float32], valid: Flags, *, step: int = 1, blur: float = 1.0) -> Edges:
    """Oriented gradients of a picture.

    Args:
        pixels: (channel, y, x) in any linear unit; what lies under an invalid pixel is never looked at.
        valid: (y, x).
        step: samples per pixel of the coarser picture: the taps of the kernel stand that far apart, so that a
            picture sampled more densely gives the same gradients.
        blur: standard deviation of the Gaussian, in pixels of the coarser picture.

    Returns:
        Gradients up to the outer border; those next to an invalid pixel have no weight.
    """
    weight = valid if valid.all() else ndimage.binary_erosion(valid, iterations=step, border_value=1)
    if not weight.any():
        return Edges(np.zeros(pixels.shape, np.complex64), weight)
    values = np.empty(pixels.shape, np.complex64)
    smooth, slope = _kernels(blur)
    margin = smooth.size // 2 * step
    rows, columns = valid.shape
    inner = slice(margin, margin + rows), slice(margin, margin + columns)
    wide = np.empty((rows + 2 * margin, columns + 2 * margin), np.float32)
    for channel, plane in enumerate(_filled(pixels, valid, step)):
        wide[inner] = plane
        wide[:margin, inner[1]], wide[margin + rows :, inner[1]] = plane[0], plane[-1]
        wide[:, :margin], wide[:, margin + columns :] = wide[:, margin, None], wide[:, margin + columns - 1, None]
        right = _filtered(_filtered(wide, smooth, 0, step), slope, 1, step)
        down = _filtered(_filtered(wide, smooth, 1, step), slope, 0, step)
        _soften(right, down, weight, values[channel])
    return Edges(values, weight)


def _kernels(blur: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Gaussian of unit sum, and its derivative that finds slope 1 in a ramp of slope 1."""
    reach = int(np.ceil(2.5 * blur))
    taps = np.arange(-reach, reach + 1)
    smooth = np.exp(-0.5 * (taps / blur) ** 2)
    slope = taps * smooth
    return (smooth / smooth.sum()).astype(np.float32), (slope / (slope * taps).sum()).astype(np.float32)


def _filtered(wide: NDArray[np.float32], kernel: NDArray[np.float32], axis: int, step: int) -> NDArray[np.float32]:
    """Correlation along one axis, which gets shorter, with taps ``step`` samples apart.

    The kernel is even or odd, so taps are taken in pairs. Slices beat `scipy.ndimage` here, the more with step 3.
    """
    reach = kernel.size // 2
    size = wide.shape[axis] - 2 * reach * step

    def part(tap: int) -> NDArray[np.float32]:
        kept = slice((reach + tap) * step, (reach + tap) * step + size)
        return wide[kept] if axis == 0 else wide[:, kept]

    is_even = bool(kernel[reach])
    result = part(0) * kernel[reach] if is_even else np.zeros_like(part(0))
    pair = np.empty_like(result)
    for tap in range(1, reach + 1):
        (np.add if is_even else np.subtract)(part(tap), part(-tap), out=pair)
        pair *= kernel[reach + tap]
        result += pair
    return np.asarray(result)


def _filled(pixels: NDArray[np.float32], valid: NDArray[np.bool_], step: int) -> NDArray[np.float32]:
    """Pixels with the mean of their valid surroundings where they are invalid, less the overall mean."""
    if valid.all():
        return np.asarray(pixels - pixels.mean(axis=(1, 2), keepdims=True), np.float32)
    weight = valid.astype(np.float32)
    kept = np.where(valid, pixels, np.float32(0))
    means = kept.sum(axis=(1, 2), keepdims=True) / weight.sum()
    kept = np.where(valid, kept - means, np.float32(0)).astype(np.float32)
    size = 6 * step + 1
    near = np.maximum(ndimage.uniform_filter(weight, size), np.float32(1e-3))
    around = ndimage.uniform_filter(kept, (0, size, size)) / near
    return np.asarray(np.where(valid, kept, around), np.float32)


def _soften(right: NDArray[np.float32], down: NDArray[np.float32], weight: Flags, out: NDArray[np.complex64]) -> None:
    """g**2 / |g| for weak gradients, of unit length for strong ones; 0 without weight or any gradient."""
    real, down_squared = right * right, down * down
    squared = real + down_squared
    whole = bool(weight.all())
    typical = float(squared.mean() if whole else squared[weight].mean())
    if typical <= 0.0:
        out[:] = 0
        return
    real -= down_squared
    right *= down
    right *= 2
    scale = np.add(squared, np.float32(typical), out=down_squared)
    scale *= squared
    np.sqrt(scale, out=scale)
    scale += np.float32(1e-12 * typical)
    np.divide(real, scale, out=out.real)
    np.divide(right, scale, out=out.imag)
    if not whole:
        out *= weight
