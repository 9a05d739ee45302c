"""Where chips lie: `cells_of` turns the recipe's grid into tables of cells, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from chips.cell_table import CellTable
from chips.grid_lattice import MAX_CHIPS
from chips.grid_named import degree_cells, majortom_cells, mgrs_cells
from chips.grid_points import cells_of_places, listed_cells, point_cells
from chips.grid_utm import utm_cells
from chips.places import Places
from chips.zones import check_latitudes
from schemas.errors import RecipeError
from schemas.recipe import Grid

BATCH = 50_000
"""Most cells in one table."""
DEGREE_M = 111_195.0
"""A degree of a great circle."""
NAME_COLUMNS = ("name", "grid_cell", "majortom_cell", "mgrs_tile", "tile", "chip_id", "id")
"""Columns of a table that name the cells of a grid, in order of preference."""


def cells_of(grid: Grid, regions: Mapping[str, BaseGeometry], places: Places | None = None) -> Iterator[CellTable]:
    """The cells of a recipe in batches of at most `BATCH`, in an order that is always the same, none twice.

    Args:
        grid: the recipe's grid.
        regions: name -> EPSG:4326 geometry.
        places: what ``grid.file`` holds, where the recipe names one.

    Raises:
        RecipeError: a region beyond the limits of UTM, far too many cells, or a table that does not fit the grid.
    """
    yield from _in_batches(_tables(grid, regions, places))


def _tables(grid: Grid, regions: Mapping[str, BaseGeometry], places: Places | None) -> Iterator[CellTable]:
    if grid.kind == "list":
        yield listed_cells(grid.cells) if places is None else cells_of_places(grid, places)
        return
    if grid.kind == "points":
        if places is not None:
            yield point_cells(grid, places, regions)
        return
    names = _names(grid, places)
    check_area(grid, regions, bounded=bool(names))
    earlier: list[BaseGeometry] = []
    for name, region in regions.items() if regions else [(grid.kind, None)]:
        for table in _cut(grid, region, names, name):
            yield without_those_within(table, earlier)
        if region is not None:
            earlier.append(region)


def _cut(grid: Grid, region: BaseGeometry | None, names: Sequence[str], label: str) -> Iterator[CellTable]:
    if grid.kind == "majortom":
        return majortom_cells(grid, region, names, label)
    if grid.kind == "mgrs":
        return mgrs_cells(grid, region, names, label)
    if grid.kind == "degrees":
        return degree_cells(grid, region, names, label)
    return utm_cells(region, float(grid.chip_m or 0), label)


def _names(grid: Grid, places: Places | None) -> Sequence[str]:
    """Cells that the recipe or its file names, each once."""
    listed: list[str] = list(grid.names)
    if places is not None:
        by_name = grid.id_column or next((name for name in NAME_COLUMNS if name in places.columns), NAME_COLUMNS[0])
        listed += places.column(by_name).tolist()
    return list(dict.fromkeys(listed))


def _expected(grid: Grid, region: BaseGeometry) -> float:
    """About how many chips a region takes."""
    if grid.kind == "degrees":
        return float(region.area) / float(grid.step_deg or 1) ** 2
    edge_m = grid.spacing_km * 1000 / grid.per_cell if grid.kind == "majortom" else float(grid.chip_m or 0)
    # Lambert's cylindrical projection: degrees of longitude times the sine of the latitude keep areas
    flat = shapely.transform(region, lambda xy: np.column_stack([xy[:, 0], np.degrees(np.sin(np.radians(xy[:, 1])))]))
    return float(flat.area) * DEGREE_M**2 / edge_m**2


def without_those_within(table: CellTable, earlier: list[BaseGeometry]) -> CellTable:
    """The cells that no earlier region holds: where regions overlap, the first one counts."""
    for region in earlier:
        table = table.take(~shapely.covers(region, table.footprints()))
    return table


def _in_batches(tables: Iterator[CellTable]) -> Iterator[CellTable]:
    waiting: list[CellTable] = []
    for table in tables:
        waiting.append(table)
        if sum(len(part) for part in waiting) < BATCH:
            continue
        whole = CellTable.concat(waiting)
        full = len(whole) - len(whole) % BATCH
        for start in range(0, full, BATCH):
            yield whole.take(np.arange(start, start + BATCH))
        waiting = [whole.take(np.arange(full, len(whole)))]
    rest = CellTable.concat(waiting)
    if len(rest):
        yield rest


def check_area(grid: Grid, regions: Mapping[str, BaseGeometry], bounded: bool = False) -> None:
    """Refuse what would be far too many chips, or lies where UTM ends.

    Args:
        grid: the recipe's grid.
        regions: name -> EPSG:4326 geometry.
        bounded: whether names say how many there are.

    Raises:
        RecipeError: with the estimate.
    """
    estimate = 0.0
    for name, region in regions.items():
        _, south, _, north = map(float, region.bounds)
        check_latitudes(south, north, f"regions.{name}")
        estimate += _expected(grid, region)
    if estimate > MAX_CHIPS and not bounded:
        raise RecipeError(
            f"about {estimate:,.0f} chips are more than {MAX_CHIPS:,}", where="regions", mend="split the region"
        )
