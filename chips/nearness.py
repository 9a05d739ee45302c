"""How far chips lie from each other: gaps between their squares in metres, over seams of zones and the antimeridian.

Candidates come from a tree over the centres on the WGS 84 ellipsoid; what the centres leave open is measured on the
squares themselves: within a UTM zone in its own coordinates, else (across zones, and in projections whose metres need
not be the ground's) on the plane that touches the Earth between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from chips.cell_table import CellTable
from chips.zones import to_geocentric, to_lonlat

SLACK = 0.003
"""Share by which UTM metres and the ellipsoid's may differ (0.04 % in a zone, 0.2 % far outside of it), rounded up."""
CHUNK = 20_000
"""Cells whose neighbours are listed at a time."""


@dataclass(frozen=True)
class Squares:
    """Cells with what distances need."""

    cells: CellTable
    """The cells."""
    centres: NDArray[np.float64]
    """(N, 3) geocentric metres."""
    inner_m: NDArray[np.float64]
    """(N,) radius of the circle within."""
    outer_m: NDArray[np.float64]
    """(N,) radius of the circle around."""

    @classmethod
    def of(cls, cells: CellTable) -> Squares:
        """The squares of some cells."""
        edges = cells.bounds[:, 2:] - cells.bounds[:, :2]
        centres = to_geocentric(*cells.centres_lonlat())
        inner_m, outer_m = edges.min(axis=1, initial=np.inf) / 2, np.hypot(edges[:, 0], edges[:, 1]) / 2
        listed = np.flatnonzero(~_is_utm(cells.epsg))
        if listed.size:
            corners = _corners(cells, listed) - centres[listed, None]  # (L, 4, 3)
            sides = np.roll(corners, -1, axis=1) - corners
            heights = np.linalg.norm(np.cross(corners, sides), axis=2) / np.linalg.norm(sides, axis=2)
            inner_m[listed], outer_m[listed] = heights.min(axis=1), np.linalg.norm(corners, axis=2).max(axis=1)
        return cls(cells, centres, inner_m, outer_m)

    def gaps_m(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.float64]:
        """(P,) metres between the edges of pairs of squares; 0 where they touch or overlap."""
        a, b = self.cells.bounds[one], self.cells.bounds[other]
        aside = np.maximum(np.maximum(a[:, :2] - b[:, 2:], b[:, :2] - a[:, 2:]), 0.0)
        gaps = np.hypot(aside[:, 0], aside[:, 1])
        codes = self.cells.epsg[one]
        open_ones = (codes != self.cells.epsg[other]) | (~_is_utm(codes) & (gaps > 0.0))
        if open_ones.any():
            gaps[open_ones] = shapely.distance(*self._on_a_plane(one[open_ones], other[open_ones]))
        return np.asarray(gaps, dtype=np.float64)

    def shared_m2(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.float64]:
        """(P,) area that pairs of squares share, in their own system's square metres where they have one."""
        a, b = self.cells.bounds[one], self.cells.bounds[other]
        both = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0.0)
        areas: NDArray[np.float64] = both[:, 0] * both[:, 1]
        across = self.cells.epsg[one] != self.cells.epsg[other]
        if across.any():
            areas[across] = shapely.area(shapely.intersection(*self._on_a_plane(one[across], other[across])))
        return areas

    def within(self, some: NDArray[np.intp], others: NDArray[np.intp], distance_m: float) -> NDArray[np.bool_]:
        """(len(some),) whether a square has one of the others no farther than ``distance_m``."""
        if not some.size or not others.size:
            return np.zeros(some.size, dtype=np.bool_)
        tree = cKDTree(self.centres[others])
        reach = (distance_m + self.outer_m[some] + self.outer_m[others].max()) * (1 + SLACK)
        nearest, _ = tree.query(self.centres[some], distance_upper_bound=float(reach.max()))
        near: NDArray[np.bool_] = nearest <= (distance_m + self.inner_m[some] + self.inner_m[others].min()) * (
            1 - SLACK
        )
        for open_ones in _chunks(np.flatnonzero(~near & (nearest <= reach))):
            pair, other = _neighbours(tree, self.centres[some[open_ones]], reach[open_ones])
            hit = self.gaps_m(some[open_ones][pair], others[other]) <= distance_m
            near[open_ones[np.unique(pair[hit])]] = True
        return near

    def smallest_gap_m(self, some: NDArray[np.intp], others: NDArray[np.intp]) -> float | None:
        """Metres between the nearest two squares of two sets; None where one is empty."""
        if not some.size or not others.size:
            return None
        tree = cKDTree(self.centres[others])
        nearest, _ = tree.query(self.centres[some])
        widest = self.outer_m[others].max()
        bound = float(np.min(nearest - self.inner_m[some])) - float(self.inner_m[others].min())
        reach = (max(bound, 0.0) + self.outer_m[some] + widest) * (1 + SLACK)
        smallest = np.inf
        for open_ones in _chunks(np.flatnonzero(nearest <= reach)):
            pair, other = _neighbours(tree, self.centres[some[open_ones]], reach[open_ones])
            gaps = self.gaps_m(some[open_ones][pair], others[other])
            smallest = min(smallest, float(gaps.min(initial=np.inf)))
        return smallest

    def nearest_gaps_m(self, some: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.float64]:
        """(len(some),) metres from each square to the nearest of the others; infinite where there is none."""
        gaps = np.full(some.size, np.inf)
        if not some.size or not others.size:
            return gaps
        tree = cKDTree(self.centres[others])
        nearest, _ = tree.query(self.centres[some])
        bound = np.maximum(nearest - self.inner_m[some] - self.inner_m[others].min(), 0.0)
        reach = (bound + self.outer_m[some] + self.outer_m[others].max()) * (1 + SLACK)
        for part in _chunks(np.arange(some.size)):
            pair, other = _neighbours(tree, self.centres[some[part]], reach[part])
            np.minimum.at(gaps, part[pair], self.gaps_m(some[part][pair], others[other]))
        return gaps

    def overlaps(
        self, some: NDArray[np.intp], others: NDArray[np.intp], least_m2: float = 1.0
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Pairs (one of each set) that share ground, and how many square metres of it."""
        if not some.size or not others.size:
            return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)
        tree = cKDTree(self.centres[others])
        reach = (self.outer_m[some] + self.outer_m[others].max()) * (1 + SLACK)
        nearest, _ = tree.query(self.centres[some], distance_upper_bound=float(reach.max()) * (1 + SLACK))
        found = [(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))]
        for part in _chunks(np.flatnonzero(nearest <= reach)):
            pair, other = _neighbours(tree, self.centres[some[part]], reach[part])
            areas = self.shared_m2(some[part][pair], others[other])
            found.append((some[part][pair][areas > least_m2], others[other][areas > least_m2], areas[areas > least_m2]))
        return (
            np.concatenate([entry[0] for entry in found]),
            np.concatenate([entry[1] for entry in found]),
            np.concatenate([entry[2] for entry in found]),
        )

    def _on_a_plane(
        self, one: NDArray[np.intp], other: NDArray[np.intp]
    ) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
        """Both squares of each pair as polygons in metres on the plane through the ground between them."""
        middle = (self.centres[one] + self.centres[other]) / 2
        up = middle / np.linalg.norm(middle, axis=1, keepdims=True)
        east = np.cross([0.0, 0.0, 1.0], up)
        east /= np.linalg.norm(east, axis=1, keepdims=True)
        axes = np.stack([east, np.cross(up, east)], axis=1)  # (P, 2, 3)
        both = []
        for index in (one, other):
            corners = _corners(self.cells, index) - middle[:, None, :]  # (P, 4, 3)
            both.append(shapely.polygons(np.einsum("pij,pkj->pki", axes, corners)))
        return both[0], both[1]


def _is_utm(epsg: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.isin(epsg // 100, (326, 327))


def _corners(cells: CellTable, index: NDArray[np.intp]) -> NDArray[np.float64]:
    """(P, 4, 3) geocentric corners of squares, counter-clockwise from the lower left."""
    bounds = cells.bounds[index]
    return to_geocentric(*to_lonlat(bounds[:, [0, 2, 2, 0]], bounds[:, [1, 1, 3, 3]], cells.epsg[index]))


def _chunks(index: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [index[start : start + CHUNK] for start in range(0, index.size, CHUNK)]


def _neighbours(
    tree: cKDTree, centres: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (index of the centre, index in the tree) within each centre's reach."""
    lists = tree.query_ball_point(centres, reach)
    counts = np.array([len(entry) for entry in lists], dtype=np.intp)
    flat = np.fromiter(chain.from_iterable(lists), dtype=np.intp, count=int(counts.sum()))
    return np.repeat(np.arange(len(lists)), counts), flat
