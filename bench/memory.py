"""Memory that no method is to pay for: see `taken`."""

from __future__ import annotations

import mmap

import numpy as np


def taken(size: int) -> None:
    """Have the machine's memory at hand: so many bytes of it are touched once, and given back.

    A virtual machine's host takes pages back that lie idle for seconds. To get one again takes longer than to read
    into it, and a page of a new file then costs ten times as much; how many are away depends on what ran before.
    """
    np.empty(size, np.uint8)[:: mmap.PAGESIZE] = 1
