"""Defects of a picture that its mask does not tell: stripes, dropped or repeated lines, dates delivered twice.

All measures are of one date of one layer, of stored values where there is data, and free of units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.chip import Valid

CLIP = 3.0
"""Differences count up to so many times the typical one: an edge of a field is not a stripe."""
_NODATA = int(Valid.NODATA)
"""A plain number: NumPy compares an enum's member as 64 bits, ten times as slowly."""
MIN_LINE = 16
"""Shorter lines say nothing."""
SAME_LINE = 0.98
"""A line repeats its neighbour where this share of its pixels holds the same values."""


def striping(data: NDArray[np.generic], valid: NDArray[np.uint8]) -> float:
    """Strength of stripes along rows or columns in the worst band, in typical differences of a pixel to its neighbours.

    A line of ground is on average what lies on both sides of it; a line of another detector is not. Each pixel's
    difference to the mean of its two neighbours across the line is clipped (an edge of a field is not a stripe) and
    averaged along the whole line; the answer is the median over all lines of its absolute value. Real pictures of 224
    pixels give 0.05 to 0.2, stripes half as strong as the texture about 0.4, as strong as the texture above 0.5.
    Short lines scatter more (64 pixels: up to 0.5), so a limit for small chips must be higher. Stripes oblique to the
    grid are not seen.

    Args:
        data: (band, y, x) as stored.
        valid: (y, x) validity mask; pixels without data are left out.

    Returns:
        0 for pictures smaller than 16 pixels and for constant bands.
    """
    known = valid != _NODATA
    if min(known.shape) < MIN_LINE:
        return 0.0
    bands = (band.astype(np.float64) for band in data)
    return max((max(_steps(band, known), _steps(band.T, known.T)) for band in bands), default=0.0)


def repeated_line_fraction(data: NDArray[np.generic], valid: NDArray[np.uint8]) -> float:
    """Share of rows or of columns (whichever is worse) that repeat their neighbour or hold one single value.

    What a dropped line is filled with by a processor: the line before, or a constant. A line counts where it does so in
    any band while the picture as a whole does not.

    Args:
        data: (band, y, x) as stored. A product resampled by nearest neighbour to a finer grid repeats its lines too.
        valid: (y, x) validity mask.
    """
    known = valid != _NODATA
    worst = 0.0
    for across in (False, True):
        seen = known.T if across else known
        broken = np.zeros(seen.shape[0], np.bool_)
        for band in data:
            pixels = band.T if across else band
            if _is_constant(pixels[seen]):
                continue
            broken |= _repeats(pixels, seen) | _constant_lines(pixels, seen)
        worst = max(worst, float(broken.mean()) if broken.size else 0.0)
    return worst


def constant_band_fraction(data: NDArray[np.generic], valid: NDArray[np.uint8]) -> float:
    """Share of bands (0..1) that hold one single value wherever there is data; 0 where fewer than two pixels do."""
    known = valid != _NODATA
    count = int(np.count_nonzero(known))
    if count < 2 or data.shape[0] == 0:
        return 0.0
    flat = data.reshape(data.shape[0], -1)
    places = None if count == known.size else np.flatnonzero(known)
    step = max(1, count // 64)
    few = flat[:, ::step] if places is None else flat[:, places[::step]]
    suspects = np.flatnonzero(np.all(few == few[:, :1], axis=1))  # a band that varies here need not be looked through
    seen = (flat[band] if places is None else flat[band, places] for band in suspects)
    constant = [bool(np.all(values == values[0])) for values in seen]
    return sum(constant) / int(data.shape[0])


def is_constant(data: NDArray[np.generic], valid: NDArray[np.uint8]) -> bool:
    """Whether a date shows one single value per band over every pixel that holds data.

    A detector that stands still, a tile filled by a default: nothing can be learnt from it. One band that is
    constant among others that are not is left alone (hyperspectral bands over deep water are all zero).

    Args:
        data: (band, y, x) as stored.
        valid: (y, x) validity mask.

    Returns:
        False where fewer than two pixels hold data: that is the business of the no-data rule.
    """
    return constant_band_fraction(data, valid) == 1.0


def equal_fraction(
    one: NDArray[np.generic], other: NDArray[np.generic], one_valid: NDArray[np.uint8], other_valid: NDArray[np.uint8]
) -> float:
    """Share of pixels (0..1) that two dates have in common bit for bit in every band, of those that both know.

    Bands that are constant on a date are left out: missing bands and dark water are alike on every date.

    Args:
        one: (band, y, x) as stored.
        other: same shape.
        one_valid: (y, x) validity mask.
        other_valid: (y, x) validity mask.
    """
    known = (one_valid != _NODATA) & (other_valid != _NODATA)
    if not known.any():
        return 0.0
    ours, theirs = one[:, known], other[:, known]
    telling = ~(np.all(ours == ours[:, :1], axis=1) | np.all(theirs == theirs[:, :1], axis=1))
    if not telling.any():
        return 0.0
    return float(np.mean(np.all(ours[telling] == theirs[telling], axis=0)))


def _steps(pixels: NDArray[np.float64], known: NDArray[np.bool_]) -> float:
    """Median absolute offset of a row from its neighbours, in typical offsets of a pixel."""
    offset = pixels[1:-1] - (pixels[2:] + pixels[:-2]) / 2
    seen = known[2:] & known[1:-1] & known[:-2] & np.isfinite(offset)  # a band may be missing alone
    offset = np.where(seen, offset, 0.0)
    size = np.abs(offset[seen])
    if not size.any():
        return 0.0
    typical = float(np.median(size)) or float(size.mean())
    length = seen.sum(axis=1)
    long = length >= max(MIN_LINE, 0.5 * pixels.shape[1])
    if long.sum() < MIN_LINE // 2:
        return 0.0
    means = np.clip(offset, -CLIP * typical, CLIP * typical)[long].sum(axis=1) / length[long]
    return float(np.median(np.abs(means))) / typical


def _repeats(pixels: NDArray[np.generic], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    both = known[1:] & known[:-1]
    same = (pixels[1:] == pixels[:-1]) & both
    count = both.sum(axis=1)
    found = np.zeros(known.shape[0], np.bool_)
    found[1:] = (count >= MIN_LINE) & (same.sum(axis=1) >= SAME_LINE * count)
    return found


def _constant_lines(pixels: NDArray[np.generic], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.array(
        [
            np.count_nonzero(seen) >= MIN_LINE and _is_constant(line[seen])
            for line, seen in zip(pixels, known, strict=True)
        ],
        np.bool_,
    )


def _is_constant(values: NDArray[np.generic]) -> bool:
    return bool(values.size == 0 or np.all(values == values.flat[0]))
