"""Chips in cells of named grids: Major TOM, MGRS squares and squares of degrees."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from chips.cell_table import CellTable, split_at_antimeridian
from chips.grid_lattice import Placed, blocks, centred, lattice_m
from chips.grid_majortom import NAME, columns_between, majortom_bounds, majortom_index, majortom_name, parse_name
from chips.grid_mgrs import SQUARE_M, index_of_square, square_name
from chips.zones import POLAR_LIMITS, anchor_y, transformer, utm_epsg_of, zone_area, zones_of
from schemas.errors import RecipeError
from schemas.georef import Bounds
from schemas.recipe import Grid

OUTLINE_MARGIN_M = 340.0
"""How far the published Major TOM products reach beyond their cell's lower left corner, and twice that beyond its size.
Source: Major TOM ``grid.py``, generate_product_outlines (shift 340 m, 1,068 pixels of 10 m)."""
TILE_M = 109_800.0
"""Edge of a Sentinel-2 tile."""
EDGE_M = 60.0
"""Sentinel-2 tiles begin on multiples of this."""
CELLS_AT_ONCE = 20_000


def majortom_cells(grid: Grid, region: BaseGeometry | None, names: Sequence[str], label: str) -> Iterator[CellTable]:
    """Chips in Major TOM cells: of those named, or of all that a region touches.

    The zone is that of the cell's lower left corner, as the published products have it.
    """
    cells = names or _majortom_touching(region, grid.spacing_km)
    wanted = {name: parse_name(name)[2] for name in cells}
    plain = list(dict.fromkeys(_cell_of(name) for name in cells))
    patches = {name for name, patch in wanted.items() if patch is not None}
    for start in range(0, len(plain), CELLS_AT_ONCE):
        table = _majortom_chips(grid, plain[start : start + CELLS_AT_ONCE]).table(float(grid.chip_m or 0), label)
        if patches:
            table = table.take(np.array([chip in patches or _cell_of(chip) in wanted for chip in table.chip_id]))
        yield _inside(table, region)


def _cell_of(name: str) -> str:
    match = NAME.fullmatch(name)
    return "" if match is None else f"{match[1]}{match[2]}_{match[3]}{match[4]}"


def _majortom_touching(region: BaseGeometry | None, spacing_km: float) -> list[str]:
    """Names of the cells that a region touches, row by row."""
    found: dict[str, None] = {}
    for part in shapely.get_parts(region):
        west, south, east, north = part.bounds
        (low, high), _ = majortom_index([west, west], [max(south, -90 + 1e-9), north], spacing_km)
        for row in range(int(low), int(high) + 1):
            for column in columns_between(row, west, east, spacing_km):
                name = majortom_name(row, column)
                if name not in found and part.intersects(_ground(majortom_bounds(name, spacing_km))):
                    found[name] = None
    return list(found)


def _ground(bounds: Bounds) -> BaseGeometry:
    """A cell within [-180, 180]: in two parts where it ends beyond."""
    cell = shapely.box(*bounds)
    return split_at_antimeridian(cell) if bounds[2] > 180.0 else cell


def _majortom_chips(grid: Grid, cells: Sequence[str]) -> Placed:
    chip_m, count = float(grid.chip_m or 0), grid.per_cell
    west, south, east, north = np.array([majortom_bounds(name, grid.spacing_km) for name in cells]).reshape(-1, 4).T
    epsg = utm_epsg_of(west, south)
    if grid.anchor == "centre":
        x, y = _project((west + east) / 2, (south + north) / 2, epsg)
        low = centred(x, y, epsg, count * chip_m, lattice_m(grid))
    else:
        x, y = _project(west, south, epsg)
        low = centred(x, y, epsg, 0.0, lattice_m(grid))
        if grid.anchor == "product":
            outline = grid.spacing_km * 1000 + 2 * OUTLINE_MARGIN_M
            if count * chip_m > outline + 1e-6:
                raise RecipeError(
                    f"{count} x {chip_m:g} m is more than a product's {outline:g} m",
                    where="grid.per_cell",
                    mend=f"at most {outline // chip_m:g}",
                )
            low = np.column_stack([x, y]) - OUTLINE_MARGIN_M
            low[:, 1] += outline - count * chip_m  # published patches are counted from the upper left
    return blocks(Placed(np.array(cells, dtype=np.str_), epsg, low), count, count, chip_m)


def _project(
    lon: NDArray[np.float64], lat: NDArray[np.float64], epsg: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.empty_like(lon), np.empty_like(lat)
    for code in np.unique(epsg):
        here = epsg == code
        x[here], y[here] = transformer(4326, int(code)).transform(lon[here], lat[here])
    return x, y


def _inside(table: CellTable, region: BaseGeometry | None) -> CellTable:
    """The cells wholly within a region and within the limits of UTM."""
    outlines = table.footprints()
    limits = shapely.bounds(outlines)
    keep = (limits[:, 1] >= POLAR_LIMITS[0]) & (limits[:, 3] <= POLAR_LIMITS[1])
    if region is not None:
        shapely.prepare(region)
        keep &= shapely.covers(region, outlines)
    return table.take(keep)


def mgrs_cells(grid: Grid, region: BaseGeometry | None, names: Sequence[str], label: str) -> Iterator[CellTable]:
    """Chips in MGRS 100 km squares, counted as Sentinel-2 patches are: column and row from the upper left.

    ``square`` keeps to the square, so that neighbours in a zone never overlap (across the seam of two zones, whose
    lattices are turned against each other, a pair may); ``tile`` fills the 109.8 km of the tile.
    """
    squares = [index_of_square(name) for name in names] if names else _mgrs_touching(region)
    for epsg, column, row in squares:
        table = _mgrs_chips(grid, epsg, column, row).table(float(grid.chip_m or 0), label)
        if grid.extent == "square":
            table = table.take(utm_epsg_of(*table.centres_lonlat()) == epsg)
        yield _inside(table, region)


def _mgrs_touching(region: BaseGeometry | None) -> Iterator[tuple[int, int, int]]:
    for epsg in zones_of(region) if region is not None else ():
        here = shapely.intersection(region, zone_area(epsg))
        if here.area == 0.0:  # a region that ends at a border touches the zone beyond
            continue
        outline = shapely.get_coordinates(shapely.segmentize(shapely.box(*here.bounds), 0.05))
        xs, ys = transformer(4326, epsg).transform(outline[:, 0], outline[:, 1])
        ys = np.clip(ys, 0.0, 1e7 - 1e-6)
        for column in range(int(min(xs) // SQUARE_M), int(max(xs) // SQUARE_M) + 1):
            for row in range(int(min(ys) // SQUARE_M), int(max(ys) // SQUARE_M) + 1):
                yield epsg, column, row


def tile_corner(epsg: int, column: int, row: int) -> tuple[float, float]:
    """Upper left corner of the Sentinel-2 tile of a square.

    Example:
        >>> tile_corner(32632, 7, 49), tile_corner(32720, 5, 63)
        ((699960.0, 5000040.0), (499980.0, 6400000.0))
    """
    anchor = anchor_y(epsg)
    top = anchor + math.ceil(((row + 1) * SQUARE_M - anchor) / EDGE_M) * EDGE_M
    return math.floor(column * SQUARE_M / EDGE_M) * EDGE_M, top


def _mgrs_chips(grid: Grid, epsg: int, column: int, row: int) -> Placed:
    chip_m = float(grid.chip_m or 0)
    left, top = tile_corner(epsg, column, row)
    right, bottom = tile_corner(epsg, column + 1, row - 1) if grid.extent == "square" else (left + TILE_M, top - TILE_M)
    across, down = int((right - left + 1e-6) // chip_m), int((top - bottom + 1e-6) // chip_m)
    c, r = (part.ravel() for part in np.indices((across, down)))
    name = square_name(column, row, epsg)
    names = np.array([f"{name}_{i}_{j}" for i, j in zip(c.tolist(), r.tolist(), strict=True)] or [""], dtype=np.str_)
    low = np.column_stack([left + c * chip_m, top - (r + 1) * chip_m])
    return Placed(names[: c.size], np.full(c.size, epsg, dtype=np.int32), low)


def degree_cell(lon: float, lat: float, step_deg: float) -> str:
    """Name of the square of degrees that holds a point; south and west edges belong to it.

    Example:
        >>> degree_cell(11.97, 47.81, 0.25), degree_cell(-0.1, -0.1, 0.25)
        ('191N_47E', '1S_1W')
    """
    row, column = math.floor(lat / step_deg), math.floor(lon / step_deg)
    return (f"{row}N_" if row >= 0 else f"{-row}S_") + (f"{column}E" if column >= 0 else f"{-column}W")


def degree_bounds(name: str, step_deg: float) -> tuple[float, float, float, float]:
    """West, south, east and north of a square of degrees.

    Raises:
        RecipeError: no name of one.

    Example:
        >>> degree_bounds("1S_1W", 0.25)
        (-0.25, -0.25, 0.0, 0.0)
    """
    match = re.fullmatch(r"(\d+)([NS])_(\d+)([EW])", name)
    if match is None:
        raise RecipeError(f"{name!r} is no square of degrees", where="grid.names", mend="names look like 191N_47E")
    row = int(match[1]) if match[2] == "N" else -int(match[1])
    column = int(match[3]) if match[4] == "E" else -int(match[3])
    return (column * step_deg, row * step_deg, (column + 1) * step_deg, (row + 1) * step_deg)


def degree_cells(grid: Grid, region: BaseGeometry | None, names: Sequence[str], label: str) -> Iterator[CellTable]:
    """One UTM chip in the middle of every square of degrees, in the zone of the square's centre."""
    step = float(grid.step_deg or 0)
    cells = list(names) or _degrees_touching(region, step)
    for start in range(0, len(cells), CELLS_AT_ONCE):
        part = cells[start : start + CELLS_AT_ONCE]
        west, south, east, north = np.array([degree_bounds(name, step) for name in part]).reshape(-1, 4).T
        lon, lat = (west + east) / 2, (south + north) / 2
        epsg = utm_epsg_of(lon, lat)
        x, y = _project(lon, lat, epsg)
        chip_m = float(grid.chip_m or 0)
        low = centred(x, y, epsg, chip_m, lattice_m(grid))
        yield _inside(Placed(np.array(part, dtype=np.str_), epsg, low).table(chip_m, label), region)


def _degrees_touching(region: BaseGeometry | None, step: float) -> list[str]:
    found: dict[str, None] = {}
    for part in shapely.get_parts(region):
        west, south, east, north = part.bounds
        for row in range(math.floor(south / step), math.ceil(north / step)):
            for column in range(math.floor(west / step), math.ceil(east / step)):
                square = shapely.box(column * step, row * step, (column + 1) * step, (row + 1) * step)
                if part.intersects(square):
                    found[degree_cell((column + 0.5) * step, (row + 0.5) * step, step)] = None
    return list(found)
