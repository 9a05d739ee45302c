"""Cells as columns: `CellTable` holds where chips may lie, a million of them without an object for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from chips.zones import WGS84_A_M, to_lonlat

CHORD_ERROR_M = 0.5
"""An edge of a footprint is given more vertices where a straight line in degrees would miss it by more."""


@dataclass(frozen=True)
class CellTable:
    """N cells."""

    chip_id: NDArray[np.str_]
    """(N,) names: letters, digits, ``_`` and ``-``."""
    epsg: NDArray[np.int32]
    """(N,) CRS of the bounds."""
    bounds: NDArray[np.float64]
    """(N, 4) left, bottom, right, top in units of the CRS."""
    region: NDArray[np.str_]
    """(N,) name of the recipe's region."""
    majortom: NDArray[np.str_]
    """(N,) 10 km Major TOM cell of the centre."""
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What else is known of each cell: columns of a points table, classes that a sampler found."""

    def __len__(self) -> int:
        return len(self.chip_id)

    def take(self, index: NDArray[Any]) -> CellTable:
        """The cells at some places (integers), or where a mask holds (booleans)."""
        return CellTable(
            self.chip_id[index],
            self.epsg[index],
            self.bounds[index],
            self.region[index],
            self.majortom[index],
            {name: column[index] for name, column in self.columns.items()},
        )

    def with_column(self, name: str, values: NDArray[Any]) -> CellTable:
        """The same cells with one more column."""
        return replace(self, columns={**self.columns, name: values})

    def centres_lonlat(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) longitude and latitude of the centres."""
        return to_lonlat(
            (self.bounds[:, 0] + self.bounds[:, 2]) / 2, (self.bounds[:, 1] + self.bounds[:, 3]) / 2, self.epsg
        )

    def footprints(self) -> NDArray[np.object_]:
        """(N,) polygons of EPSG:4326, true to half a metre; two parts where the antimeridian cuts one."""
        polygons = np.empty(len(self), dtype=object)
        for code in np.unique(self.epsg):
            here = np.flatnonzero(self.epsg == code)
            polygons[here] = footprints_lonlat(self.bounds[here], int(code))
        return polygons

    @staticmethod
    def concat(tables: Iterable[CellTable]) -> CellTable:
        """All cells in one table, in order; columns that one of them lacks are left out."""
        parts = [table for table in tables if len(table)]
        if not parts:
            return EMPTY
        shared = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
        return CellTable(
            np.concatenate([part.chip_id for part in parts]),
            np.concatenate([part.epsg for part in parts]),
            np.concatenate([part.bounds for part in parts]),
            np.concatenate([part.region for part in parts]),
            np.concatenate([part.majortom for part in parts]),
            {name: np.concatenate([part.columns[name] for part in parts]) for name in shared},
        )


EMPTY = CellTable(
    np.empty(0, dtype="U1"),
    np.empty(0, dtype=np.int32),
    np.empty((0, 4)),
    np.empty(0, dtype="U1"),
    np.empty(0, dtype="U1"),
)
"""No cells."""


def footprints_lonlat(bounds: NDArray[np.float64], epsg: int) -> NDArray[np.object_]:
    """(N,) EPSG:4326 polygons of squares of one projected CRS; see `CellTable.footprints`.

    Args:
        bounds: (N, 4) left, bottom, right, top in metres.
        epsg: their CRS.
    """
    if len(bounds) == 0:
        return np.empty(0, dtype=object)
    xs, ys = _rings(bounds, _segments(bounds, epsg))
    lon, lat = to_lonlat(xs, ys, np.full(len(bounds), epsg, dtype=np.int32))
    across = np.ptp(lon, axis=1) > 180.0
    lon = np.where(across[:, None] & (lon < 0), lon + 360.0, lon)
    rings = np.stack([lon, lat], axis=2)  # (N, K, 2)
    polygons: NDArray[np.object_] = shapely.polygons(rings)
    for index in np.flatnonzero(across):
        polygons[index] = split_at_antimeridian(polygons[index])
    return polygons


def split_at_antimeridian(polygon: Any) -> Any:
    """A polygon whose longitudes run past 180 as parts within [-180, 180]."""
    west = shapely.intersection(polygon, shapely.box(-180.0, -90.0, 180.0, 90.0))
    east = shapely.intersection(polygon, shapely.box(180.0, -90.0, 540.0, 90.0))
    east = shapely.transform(east, lambda xy: xy - np.array([360.0, 0.0]))
    pieces = [part for side in (west, east) for part in shapely.get_parts(side) if part.area > 0.0]
    return pieces[0] if len(pieces) == 1 else shapely.multipolygons(pieces)


def _segments(bounds: NDArray[np.float64], epsg: int) -> int:
    """Pieces per edge that keep a footprint true: the sagitta of a parallel's arc, L^2 tan(lat) / 8R, over n^2."""
    edge = float(np.max(bounds[:, 2:] - bounds[:, :2]))
    if epsg // 100 in (326, 327) and 1 <= epsg % 100 <= 60:
        from_equator = np.abs(bounds[:, 1::2] - (10_000_000.0 if epsg >= 32700 else 0.0))
        latitude = min(math.degrees(float(from_equator.max()) / WGS84_A_M), 85.0)
    else:
        _, lat = to_lonlat(bounds[:, [0, 2, 2, 0]], bounds[:, [1, 1, 3, 3]], np.full(len(bounds), epsg, dtype=np.int32))
        latitude = min(float(np.abs(lat).max()), 89.99)
    sagitta = edge**2 * max(math.tan(math.radians(latitude)), 0.2) / (8 * WGS84_A_M)
    return max(math.ceil(math.sqrt(sagitta / CHORD_ERROR_M)), 1)


def _rings(bounds: NDArray[np.float64], segments: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 4 * segments) x and y around each square, from the lower left corner, counter-clockwise."""
    left, bottom, right, top = (bounds[:, i : i + 1] for i in range(4))
    along = np.linspace(0.0, 1.0, segments + 1)[None, :-1]
    still = np.zeros_like(along)
    xs = [left + along * (right - left), right + still, right - along * (right - left), left + still]
    ys = [bottom + still, bottom + along * (top - bottom), top + still, top - along * (top - bottom)]
    return np.concatenate(xs, axis=1), np.concatenate(ys, axis=1)
