"""How often Python looks for cyclic garbage: a collector that is left alone takes a tenth of a command's start, walking
what was imported again and again.
"""

from __future__ import annotations

import gc

USUAL = gc.get_threshold()
"""What this interpreter began with."""
SELDOM_OBJECTS = 5000
"""Objects more than were freed, after which a command looks: seven times as many as usual."""


def collect_seldom() -> None:
    """For a command that imports and plans; full collections are rarer by as much."""
    gc.set_threshold(SELDOM_OBJECTS)


def collect_as_usual() -> None:
    """For a worker: the cycles in which a tile's readers hold masks must not pile up."""
    gc.set_threshold(*USUAL)
