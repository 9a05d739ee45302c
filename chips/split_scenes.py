"""Which scene a cell counts to, so that no scene stands on both sides of a split."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from chips.cell_table import CellTable


def scene_groups(cells: CellTable, footprints: NDArray[np.object_], names: NDArray[np.str_]) -> NDArray[np.str_]:
    """(N,) group of every cell: scenes that share a cell are one group, named after the first of them.

    Groups by one scene alone would put a scene on both sides of a split wherever two overlap. Where all scenes hang
    together there is one group, and nothing to split by scene.

    Args:
        cells: N cells.
        footprints: (S,) EPSG:4326 outlines of the scenes.
        names: (S,) their ids; the same id may come more than once.

    Returns:
        Names of groups; "" for cells that no scene touches.
    """
    known, scene_of = np.unique(names, return_inverse=True)
    scene, cell = shapely.STRtree(cells.footprints()).query(footprints, predicate="intersects")
    count = len(known)
    links = coo_array((np.ones(len(cell), np.int8), (scene_of[scene], count + cell)), shape=(count + len(cells),) * 2)
    _, group = connected_components(links, directed=False)
    first = np.full(int(group.max(initial=0)) + 1, "", dtype=known.dtype if count else "U1")
    for index in range(count - 1, -1, -1):
        first[group[index]] = known[index]
    return np.asarray(first[group[count:]])
