"""From digital numbers of a Sentinel-1 GRD image to backscatter: noise off, calibrated, border masked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sources.sentinel1_grd_annotation import Noise, Vectors

BORDER_PX = 500
"""How far from the image's edge border noise is looked for (SNAP's operator has the same default)."""
BORDER_DN = 10
"""Digital numbers up to this are border noise even where the noise annotation is silent (products before 2015-07)."""


def to_backscatter(
    dn: NDArray[np.integer], rows: slice, columns: slice, table: Vectors, noise: Noise | None
) -> NDArray[np.float32]:
    """Linear power (DN squared - noise, at least 0) / A squared; NaN where DN is 0.

    Args:
        dn: (rows, columns) of the image, amplitude.
        rows: lines of the image that ``dn`` holds.
        columns: samples of the image.
        table: A of the wanted quantity.
        noise: None where it is to stay, or the processor took it away.

    Source: S-1 Radiometric Calibration of Products, ESA-EOPG-CSCOP-TN-0002; MPC-0392 for the noise.
    """
    power = dn.astype(np.float64) ** 2
    if noise is not None:
        np.maximum(power - noise.on(rows, columns), 0.0, out=power)
    power /= table.on(rows, columns) ** 2
    power[dn == 0] = np.nan
    return power.astype(np.float32)


def border_noise(
    dn: NDArray[np.integer], rows: slice, columns: slice, shape_yx: tuple[int, int], noise: Noise | None
) -> NDArray[np.bool_]:
    """(rows, columns) true on the artefacts between the image and its empty margins.

    From each edge of the image inwards, along lines and along columns, samples count as border up to the first whose
    power is above the thermal noise (and above `BORDER_DN`), at most `BORDER_PX` far. Only a window that begins at
    an edge can tell: see `with_edges`.

    Args:
        dn: (rows, columns) amplitude.
        rows: lines of the image that ``dn`` holds.
        columns: samples of the image.
        shape_yx: of the whole image.
        noise: thermal noise, None where the annotation has none.
    """
    limit = np.full(dn.shape, float(BORDER_DN) ** 2)
    if noise is not None:
        np.maximum(limit, noise.on(rows, columns), out=limit)
    dark = dn.astype(np.float64) ** 2 <= limit
    border = np.zeros(dn.shape, dtype=bool)
    for axis, span in ((0, rows), (1, columns)):
        if span.start == 0:
            border |= _run(dark, axis)
        if span.stop == shape_yx[axis]:
            border |= np.flip(_run(np.flip(dark, axis), axis), axis)
    return border


def with_edges(span: slice, length: int) -> slice:
    """The span, widened to the edge of the image where it comes near it, so that `border_noise` can tell.

    >>> with_edges(slice(300, 900), 20_000), with_edges(slice(600, 900), 20_000)
    (slice(0, 900, None), slice(600, 900, None))
    """
    start = 0 if span.start < BORDER_PX else span.start
    stop = length if span.stop > length - BORDER_PX else span.stop
    return slice(start, stop)


def _run(dark: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """True on the unbroken dark run from the beginning of each line of the axis."""
    run = np.logical_and.accumulate(dark, axis=axis)
    beyond = (slice(BORDER_PX, None), slice(None)) if axis == 0 else (slice(None), slice(BORDER_PX, None))
    run[beyond] = False
    return run
