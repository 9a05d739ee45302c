"""A map made worse on purpose, as old or careless maps are: classes and objects missing, shifted, blurred."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from labelers.squares import UNKNOWN, square_counts
from schemas.recipe_targets import DegradedTarget


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
        out = _filled(out, np.isin(out, dropped))
    if target.drop_objects:
        out = _filled(out, _some_patches(out, target.drop_objects, rng))
    if target.shift_m:
        out = _moved(out, target.shift_m / pixel_m, rng.uniform(0, 2 * np.pi))
    if target.blur_m:
        out = _squares(out, max(round(target.blur_m / pixel_m), 1))
    return out


def _filled(classes: NDArray[np.uint8], gone: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What is gone takes the class of the nearest pixel that is known and stays; unknown where there is none."""
    stays = ~gone & (classes != UNKNOWN)
    if not gone.any():
        return classes
    if not stays.any():
        return np.where(gone, np.uint8(UNKNOWN), classes)
    rows, columns = ndimage.distance_transform_edt(~stays, return_distances=False, return_indices=True)
    return np.where(gone, classes[rows, columns], classes)


def _some_patches(classes: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whole patches of one class, so many of a hundred; never the largest of the chip."""
    gone = np.zeros(classes.shape, dtype=bool)
    largest, where = 0, None
    for code in np.unique(classes[classes != UNKNOWN]):
        patches, count = ndimage.label(classes == code)
        lost = np.concatenate([[False], rng.random(count) < share])
        sizes = np.bincount(patches.ravel(), minlength=count + 1)
        sizes[0] = 0
        if sizes.max() > largest:
            largest, where = int(sizes.max()), patches == int(sizes.argmax())
        gone |= lost[patches]
    return gone if where is None else gone & ~where


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
    return np.asarray(commonest[square])
