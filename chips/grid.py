"""Where chips lie: `cells_of` turns the recipe's grid into tables of cells, whatever its kind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from shapely.geometry.base import BaseGeometry

from chips.cell_table import CellTable
from chips.grid_majortom import majortom_names
from chips.grid_utm import utm_cells
from chips.zones import check_latitudes, to_lonlat
from schemas.errors import RecipeError
from schemas.recipe import Cell, Grid

BATCH = 50_000
"""Most cells in one table."""
MAX_CHIPS = 5_000_000
"""A recipe that would plan more is refused with the estimate."""


def cells_of(grid: Grid, regions: Mapping[str, BaseGeometry]) -> Iterator[CellTable]:
    """The cells of a recipe in batches of at most `BATCH`, in an order that is always the same, none twice.

    Args:
        grid: the recipe's grid.
        regions: name -> EPSG:4326 geometry; not used with an explicit list of cells.

    Raises:
        RecipeError: a region beyond the limits of UTM, or far too many cells.
    """
    yield from _in_batches(_tables(grid, regions))


def _tables(grid: Grid, regions: Mapping[str, BaseGeometry]) -> Iterator[CellTable]:
    if grid.kind == "list":
        yield listed_cells(grid.cells)
        return
    size = float(grid.chip_m or 0)
    check_area(regions, size)
    earlier: list[BaseGeometry] = []
    for name, region in regions.items():
        for table in utm_cells(region, size, name):
            yield without_those_within(table, earlier)
        earlier.append(region)


def without_those_within(table: CellTable, earlier: list[BaseGeometry]) -> CellTable:
    """The cells that no earlier region holds: where regions overlap, the first one counts."""
    for region in earlier:
        table = table.take(np.array([not region.covers(outline) for outline in table.footprints()], dtype=bool))
    return table


def listed_cells(cells: tuple[Cell, ...]) -> CellTable:
    """The cells that stand in the recipe."""
    bounds = np.array([cell.bounds for cell in cells], dtype=np.float64).reshape(-1, 4)
    epsg = np.array([cell.epsg for cell in cells], dtype=np.int32)
    lon, lat = to_lonlat((bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2, epsg)
    return CellTable(
        np.array([cell.id for cell in cells], dtype=np.str_),
        epsg,
        bounds,
        np.array([cell.region for cell in cells], dtype=np.str_),
        majortom_names(lon, lat),
    )


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


def check_area(regions: Mapping[str, BaseGeometry], size_m: float) -> None:
    """Refuse what would be far too many chips, or lies where UTM ends.

    Raises:
        RecipeError: with the estimate.
    """
    estimate = 0.0
    for name, region in regions.items():
        _, south, _, north = map(float, region.bounds)
        check_latitudes(south, north, f"regions.{name}")
        middle = math.cos(math.radians((south + north) / 2))
        estimate += region.area * 111_195.0**2 * middle / size_m**2
    if estimate > MAX_CHIPS:
        raise RecipeError(
            f"about {estimate:,.0f} chips are more than {MAX_CHIPS:,}", where="regions", mend="split the region"
        )
