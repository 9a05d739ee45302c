"""Tables of places as arrays: `Places` is what a file of points or polygons becomes before chips are cut from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

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

    def centres_lonlat(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) longitude and latitude of the points, or of the middle of the polygons' boxes."""
        west, south, east, north = shapely.bounds(self.geometries()).T
        return (west + east) / 2, (south + north) / 2
