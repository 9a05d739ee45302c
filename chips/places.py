"""Tables of places as arrays: `Places` is what a file of points or polygons becomes before chips are cut from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.antimeridian import join_at_antimeridian
from schemas.errors import RecipeError


@dataclass(frozen=True)
class Places:
    """N places of EPSG:4326 with what is known of each."""

    geometry: NDArray[np.object_]
    """(N,) points or polygons; None where the table has columns alone."""
    columns: Mapping[str, NDArray[Any]]
    """Name -> (N,) values, or (N, 4) for bounds."""
    source: str = ""
    """Name of the file, for messages."""

    def __len__(self) -> int:
        return len(self.geometry)

    def column(self, name: str) -> NDArray[np.str_]:
        """One column as text.

        Raises:
            RecipeError: the table has no such column; lists the known ones.
        """
        if name not in self.columns:
            known = ", ".join(sorted(self.columns)) or "none"
            raise RecipeError(f"there is no column {name!r}", where=self.source, mend=f"known: {known}")
        return np.asarray(self.columns[name]).astype(np.str_)

    def first_of(self, names: Sequence[str]) -> NDArray[np.str_] | None:
        """The first of some columns that the table has, as text."""
        return next((self.column(name) for name in names if name in self.columns), None)

    def geometries(self) -> NDArray[np.object_]:
        """The geometries.

        Raises:
            RecipeError: some row has none.
        """
        bad = shapely.is_missing(self.geometry) | shapely.is_empty(self.geometry)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise RecipeError(
                f"row {row + 1} has no place", where=self.source, mend="give columns lon and lat, or a geometry"
            )
        return self.geometry

    def joined(self) -> NDArray[np.object_]:
        """The geometries; longitudes of those with parts on both sides of the antimeridian run past 180.

        Raises:
            RecipeError: some row has none, or one that goes around more than half of the Earth in one piece.
        """
        found = self.geometries().copy()
        for index in np.flatnonzero(_wide_deg(found) > 180.0):
            found[index] = join_at_antimeridian(found[index])
        too_wide = np.flatnonzero(_wide_deg(found) > 180.0)
        if too_wide.size:
            row = int(too_wide[0])
            raise RecipeError(
                f"row {row + 1} is {_wide_deg(found)[row]:g} degrees wide",
                where=self.source,
                mend="cut it into parts at the antimeridian, or let its longitudes run past 180",
            )
        return found

    def centres_lonlat(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) longitude and latitude of the points, or of the middle of the polygons' boxes."""
        west, south, east, north = shapely.bounds(self.joined()).T
        return (west + east) / 2, (south + north) / 2


def _wide_deg(geometries: NDArray[np.object_]) -> NDArray[np.float64]:
    west, _, east, _ = shapely.bounds(geometries).T
    with np.errstate(invalid="ignore"):  # what lies at infinity is refused by who looks for degrees
        return np.asarray(east - west)
