"""A map made worse on purpose, as old or careless maps are: classes and objects missing, shifted, blurred."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labelers.raster import codes_in
from labelers.squares import UNKNOWN, square_counts
from schemas.recipe_targets import DegradedTarget

REACH = 16
"""Pixels around one that is gone in which what stays is looked for one by one."""


def degraded(
    classes: NDArray[np.uint8], target: DegradedTarget, dropped: Sequence[int], pixel_m: float, seed: str
) -> NDArray[np.uint8]:
    """(H, W) class index of the worse map, 255 unknown.

    Args:
        classes: (H, W) class index, 255 unknown.
        target: what is done, in its order.
        dropped: positions of the classes that the map does not know.
        pixel_m: GSD in metres.
        seed: decides what is random: the same text, the same map.
    """
    rng = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
    out = classes.copy()
    if dropped:
        out = _filled(out, _is_one_of(dropped).take(out))
    if target.drop_objects:
        out = _filled(out, _some_patches(out, target.drop_objects, rng))
    if target.shift_m:
        out = _moved(out, target.shift_m / pixel_m, rng.uniform(0, 2 * np.pi))
    if target.blur_m:
        out = _squares(out, max(round(target.blur_m / pixel_m), 1))
    return out


def _is_one_of(classes: Sequence[int]) -> NDArray[np.bool_]:
    """(256,) whether a class index is one of these."""
    table = np.zeros(UNKNOWN + 1, dtype=bool)
    table[list(classes)] = True
    return table


def _filled(classes: NDArray[np.uint8], gone: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What is gone takes the class of the nearest pixel that is known and stays; unknown where there is none.

    Of pixels equally near the leftmost one counts, of these the upper one: so scipy's transform has it. Mostly little
    is gone and what stays is near, so that looking around is several times as fast as transforming the whole chip.
    """
    if not gone.any():
        return classes
    staying = np.where(gone, np.uint8(UNKNOWN), classes)
    rows, columns = np.nonzero(gone)
    wide = np.pad(staying, REACH, constant_values=UNKNOWN)
    at, around = (rows + REACH) * wide.shape[1] + columns + REACH, _around(wide.shape[1])
    waiting, first, many = np.arange(len(at)), 0, 4
    taken = np.full(len(at), UNKNOWN, dtype=np.uint8)
    while waiting.size and first < len(around) and waiting.size * many <= classes.size:
        seen = wide.take(at[waiting][:, None] + around[first : first + many])
        taken[waiting] = seen[np.arange(len(seen)), (seen != UNKNOWN).argmax(axis=1)]
        waiting, first, many = waiting[taken[waiting] == UNKNOWN], first + many, 2 * many
    if waiting.size and (staying != UNKNOWN).any():
        of_rows, of_columns = ndimage.distance_transform_edt(
            staying == UNKNOWN, return_distances=False, return_indices=True
        )
        taken[waiting] = staying[of_rows, of_columns][rows[waiting], columns[waiting]]
    staying[rows, columns] = taken
    return staying


@lru_cache(maxsize=4)
def _around(width: int) -> NDArray[np.int64]:
    """Steps to the pixels up to `REACH` away in an array of so many columns, the nearest first."""
    dy, dx = (steps.ravel() - REACH for steps in np.indices((2 * REACH + 1, 2 * REACH + 1)))
    order = np.lexsort((dy, dx, dy**2 + dx**2))
    near = order[(dy**2 + dx**2 <= REACH**2)[order]][1:]
    steps: NDArray[np.int64] = dy[near] * width + dx[near]
    steps.setflags(write=False)
    return steps


def _some_patches(classes: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whole patches of one class, so many of a hundred; never the largest of the chip."""
    patches, count = np.zeros(classes.shape, dtype=np.int32), 0
    for code in codes_in(classes):
        if code == UNKNOWN:
            continue
        is_code = classes == code
        found, several = ndimage.label(is_code)
        patches += found
        patches += is_code * np.int32(count)
        count += several
    lost = np.concatenate([[False], rng.random(count) < share])
    sizes = np.bincount(patches.ravel(), minlength=count + 1)
    sizes[0] = 0
    lost[sizes.argmax()] = False
    return lost.take(patches)


def _moved(classes: NDArray[np.uint8], pixels: float, angle: float) -> NDArray[np.uint8]:
    """The map moved by whole pixels; what comes in from beyond the chip is unknown."""
    dy, dx = round(pixels * np.sin(angle)), round(pixels * np.cos(angle))
    rows, columns = classes.shape
    out = np.full(classes.shape, UNKNOWN, dtype=np.uint8)
    if abs(dy) >= rows or abs(dx) >= columns:
        return out
    to = (slice(max(dy, 0), rows + min(dy, 0)), slice(max(dx, 0), columns + min(dx, 0)))
    of = (slice(max(-dy, 0), rows + min(-dy, 0)), slice(max(-dx, 0), columns + min(-dx, 0)))
    out[to] = classes[of]
    return out


def _squares(classes: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The commonest known class of squares, the smaller index of two equal ones; unknown where none is known."""
    counts, square = square_counts(classes, int(classes[classes != UNKNOWN].max(initial=0)) + 1, side)
    commonest = np.where(counts.any(axis=0), counts.argmax(axis=0), UNKNOWN).astype(np.uint8).ravel()
    return commonest.take(square)
