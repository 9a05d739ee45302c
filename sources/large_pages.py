"""Memory for pixels in the system's large pages: `empty_each`.

A first write to fresh memory costs a page fault per 4 KiB, which takes longer than the copy that caused it: 50 ms per
100 MB against 13 with pages of 2 MiB. NumPy asks for large pages from 4 MiB on, and gets them but for the ends.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE_BYTES = 2 << 20
"""A large page of x86-64 and of ARM with pages of 4 KiB."""


def empty_each(number: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[NDArray[Any]]:
    """Arrays that are not yet written, side by side in one piece of memory, which lives as long as any of them."""
    size = math.prod((number, *shape)) * dtype.itemsize
    if size < PAGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return list(np.empty((number, *shape), dtype))
    memory = mmap.mmap(-1, -(-size // PAGE_BYTES) * PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return list(np.ndarray((number, *shape), dtype, memory))
