"""Memory that no method is to pay for: see `taken`."""

from __future__ import annotations

import mmap
import subprocess
import sys


def taken(size: int) -> None:
    """Have the machine's memory at hand: so many bytes of it are touched once by a process that ends.

    A virtual machine's host takes pages back that lie idle for seconds, and a page of a new file costs ten times as
    much where it must be asked for again; how many are away depends on what ran before.
    """
    touch = f"import numpy as np; np.empty({size}, np.uint8)[::{mmap.PAGESIZE}] = 1"
    subprocess.run([sys.executable, "-c", touch], check=True)
