"""Threads that draw rasters."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from rasterio.errors import NotGeoreferencedWarning


@contextlib.contextmanager
def drawing_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool in which rasterio may draw arrays in memory.

    rasterize and sieve silence their own warning by a switch that all threads share, so that two at once let it
    escape; here it is silenced around all of them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with ThreadPoolExecutor(workers) as pool:
            yield pool
