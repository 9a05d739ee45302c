"""Class maps in squares of pixels: how often each class occurs in each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 255
"""Of masks and class indices."""


def square_counts(classes: NDArray[np.uint8], count: int, cell_px: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(classes, rows, columns) known pixels of each class in squares, and (H, W) number of each pixel's square.

    Args:
        classes: (H, W) class index, 255 unknown. Squares at the lower and right edge are cut off where they do not fit.
        count: classes of the legend.
        cell_px: side of a square in pixels.

    >>> square_counts(np.array([[0, 1, 1], [0, 255, 0]], np.uint8), 2, 2)[0].tolist()
    [[[2, 1]], [[1, 1]]]
    """
    rows, columns = -(-classes.shape[0] // cell_px), -(-classes.shape[1] // cell_px)
    across = np.arange(classes.shape[1]) // cell_px
    square = (np.arange(classes.shape[0]) // cell_px)[:, None] * columns + across
    told = square * (count + 1) + np.minimum(classes, count)  # the last of a square's counts is of the unknown
    counts = np.bincount(told.ravel(), minlength=rows * columns * (count + 1)).reshape(rows, columns, count + 1)
    return counts[:, :, :count].transpose(2, 0, 1), square
