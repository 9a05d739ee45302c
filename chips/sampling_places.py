"""Cells chosen by tables of places: features, cities, areas, points, lists."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from chips.cell_table import CellTable
from chips.places import Places
from chips.sampling import SampleData, capped, lowest, priorities
from chips.zones import to_geocentric
from schemas.errors import RecipeError
from schemas.recipe_samples import SampleCities, SampleEcoregions, SampleFeatures, SampleList, SamplePoints

LIST_COLUMNS = ("chip_id", "majortom_cell", "grid_cell", "name", "id")
"""Columns of a list that name cells, in order of preference."""


def cells_by_feature(cells: CellTable, step: SampleFeatures, data: SampleData, seed: int) -> CellTable:
    """Cells that touch features, at most ``cap`` of each category; cells without any are left out.

    A cell counts to one category alone: of those that it touches, the one that the fewest cells touch.
    """
    places = _table(data)
    names, category_of = np.unique(places.column(step.column), return_inverse=True)
    cell, feature = _touching(cells, places)
    pairs = np.unique(np.column_stack([cell, category_of[feature]]), axis=0)
    if not len(pairs):
        return cells.take(np.empty(0, dtype=np.intp))
    rarity = np.bincount(pairs[:, 1], minlength=len(names))
    order = np.lexsort((pairs[:, 1], rarity[pairs[:, 1]], pairs[:, 0]))
    first = np.unique(pairs[order, 0], return_index=True)[1]
    held, category = pairs[order][first].T
    chosen = cells.take(held)
    kept = capped(category, priorities(chosen.chip_id, seed), np.full(len(names), step.cap))
    return chosen.take(kept).with_column(step.column, names[category[kept]])


def cells_by_city(cells: CellTable, step: SampleCities, data: SampleData, seed: int) -> CellTable:
    """Cells whose centre lies between ``min_km`` and ``max_km`` of the nearest city; ``n`` of them where it is given.

    With ``sigma_km`` a cell's weight is exp(-d^2 / 2 sigma^2), and the draw is one without replacement.
    """
    tree = cKDTree(to_geocentric(*_table(data).centres_lonlat()))
    distance_km = np.asarray(tree.query(to_geocentric(*cells.centres_lonlat()))[0]) / 1000
    near = (distance_km >= step.min_km) & (distance_km <= (step.max_km or np.inf))
    chosen = cells.take(near).with_column("city_km", distance_km[near].round(3))
    if step.n is None:
        return chosen
    order = priorities(chosen.chip_id, seed)
    if step.sigma_km is not None:
        # Efraimidis and Spirakis 2006: the n smallest of -log(u) / w; its logarithm, for weights that underflow
        with np.errstate(divide="ignore"):
            order = np.log(-np.log(order)) + distance_km[near] ** 2 / (2 * step.sigma_km**2)
    return chosen.take(lowest(order, step.n))


def cells_by_area(cells: CellTable, step: SampleEcoregions, data: SampleData, seed: int) -> CellTable:
    """At most a quota of cells of each class of areas, by their centres; those in no area are left out."""
    places = _table(data)
    lon, lat = cells.centres_lonlat()
    point, area = shapely.STRtree(places.geometries()).query(shapely.points(lon, lat), predicate="intersects")
    order = np.lexsort((area, point))
    held, first = np.unique(point[order], return_index=True)
    chosen = cells.take(held)
    names, class_of = np.unique(places.column(step.column)[area[order][first]], return_inverse=True)
    quota = step.quota
    caps = np.array([quota.get(str(name), 0) if isinstance(quota, dict) else quota for name in names], dtype=np.intp)
    kept = capped(class_of, priorities(chosen.chip_id, seed), caps)
    return chosen.take(kept).with_column(step.column, names[class_of[kept]])


def cells_at_points(cells: CellTable, step: SamplePoints, data: SampleData, seed: int) -> CellTable:
    """Cells that touch a place, with the columns of the first one that they touch."""
    places = _table(data)
    cell, row = _touching(cells, places)
    order = np.lexsort((row, cell))
    held, first = np.unique(cell[order], return_index=True)
    chosen = cells.take(held)
    for name, values in places.columns.items():
        if values.ndim == 1:
            chosen = chosen.with_column(name, values[row[order][first]])
    return chosen


def cells_listed(cells: CellTable, step: SampleList, data: SampleData, seed: int) -> CellTable:
    """The cells that the list names, by chip id or by Major TOM cell.

    Raises:
        RecipeError: a name that no cell bears.
    """
    names = np.array(step.names, dtype=np.str_)
    if data.places is not None:
        column = step.column or next((name for name in LIST_COLUMNS if name in data.places.columns), LIST_COLUMNS[0])
        names = data.places.column(column)
    strange = names[~np.isin(names, cells.chip_id) & ~np.isin(names, cells.majortom)]
    if strange.size:
        raise RecipeError(
            f"{strange.size} of {names.size} names, the first {str(strange[0])!r}, are no cells of this grid",
            where="sample",
            mend="check the grid, or leave them out",
        )
    return cells.take(np.isin(cells.chip_id, names) | np.isin(cells.majortom, names))


def _touching(cells: CellTable, places: Places) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs (cell, place) that touch."""
    place, cell = shapely.STRtree(cells.footprints()).query(places.geometries(), predicate="intersects")
    return cell, place


def _table(data: SampleData) -> Places:
    if data.places is None or not len(data.places):
        raise RecipeError("the table has no rows", where="sample", mend="name a file with places")
    return data.places
