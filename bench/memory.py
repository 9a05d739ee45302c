"""Memory that no method is to pay for: see `taken`."""

from __future__ import annotations

import mmap
import time

import numpy as np

MAIN_JOB_BYTES = 5 << 30
"""Twice what a method of P0 writes and holds."""


def taken(size: int) -> float:
    """Have the machine's memory at hand: so many bytes of it are touched once, and given back; the seconds it took.

    A virtual machine's host takes pages back that lie idle for seconds. To get one again takes longer than to read
    into it, and a page of a new file then costs ten times as much; how many are away depends on what ran before
    and how long ago: call it right before the clock starts.
    """
    began = time.monotonic()
    np.empty(size, np.uint8)[:: mmap.PAGESIZE] = 1
    return time.monotonic() - began
