"""Cells that keep a distance from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from chips.cell_table import CellTable
from chips.sampling import SampleData, priorities
from chips.zones import to_geocentric
from schemas.recipe_samples import SampleSpacing

FIRST_BATCH = 1024
"""Candidates looked at before the taken ones thin out the rest."""


def spaced_cells(cells: CellTable, step: SampleSpacing, data: SampleData, seed: int) -> CellTable:
    """Cells taken in random order, each only if no taken one's centre is nearer than ``min_distance_m``.

    No further cell of the candidates could be added. Distances are chords of the ellipsoid: no seam of zones counts.
    """
    order = np.argsort(priorities(cells.chip_id, seed), kind="stable")
    return cells.take(np.sort(spaced(to_geocentric(*cells.centres_lonlat()), order, step.min_distance_m)))


def spaced(centres: NDArray[np.float64], order: NDArray[np.intp], distance_m: float) -> NDArray[np.intp]:
    """Indices of the points that a greedy walk in ``order`` takes; what it would give one by one, by batches.

    Args:
        centres: (N, 3) metres.
        order: (N,) indices, the most wanted first.
        distance_m: taken points are at least this far apart.
    """
    taken = np.empty(0, dtype=np.intp)
    start, size = 0, FIRST_BATCH
    while start < len(order):
        batch = order[start : start + size]
        if taken.size:
            nearest, _ = cKDTree(centres[taken]).query(centres[batch], distance_upper_bound=distance_m)
            batch = batch[nearest >= distance_m]
        taken = np.concatenate([taken, batch[_greedy(centres[batch], distance_m)]])
        start += size
        size *= 2
    return taken


def _greedy(points: NDArray[np.float64], distance_m: float) -> NDArray[np.intp]:
    """Indices of points, in order, that are no nearer than ``distance_m`` to an earlier one that was taken."""
    if len(points) < 2:
        return np.arange(len(points))
    pairs = cKDTree(points).query_pairs(distance_m, output_type="ndarray")
    near = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) < distance_m
    first, second = np.sort(pairs[near], axis=1).T
    order = np.argsort(first, kind="stable")
    first, second = first[order], second[order]
    begin = np.searchsorted(first, np.arange(len(points) + 1))
    free = np.ones(len(points), dtype=np.bool_)
    for index in np.unique(first):
        if free[index]:
            free[second[begin[index] : begin[index + 1]]] = False
    return np.flatnonzero(free)
