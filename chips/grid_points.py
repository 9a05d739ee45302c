"""Chips around the places of a table, and cells as a table lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from chips.cell_table import CellTable
from chips.grid_lattice import MAX_CHIPS, Placed, anchors_y, blocks, centred, lattice_m
from chips.grid_majortom import majortom_names
from chips.grid_utm import cell_name, zone_prefix
from chips.places import Places
from chips.zones import POLAR_LIMITS, check_latitudes, to_lonlat, transformer, utm_epsg_of
from schemas.chip import PLACE_PREFIX
from schemas.errors import RecipeError
from schemas.recipe import Cell, Grid
from schemas.sample import CHIP_ID

ID_COLUMNS = ("chip_id", "id")
"""Columns that name a place where the recipe does not say which one does."""
PLACED = frozenset({"chip_id", "epsg", "bounds_xyxy", "left", "bottom", "right", "top", "region"})
"""Columns of a list that say where a cell lies."""
OF_A_DATASET = frozenset(
    {"majortom_cell", "bbox", "tile", "input_hash", "sample_sha256", "shard", "shard_index", "shard_offset",
     "shard_length", "zarr_index", "licences", "caption"}
)  # fmt: skip
"""Columns of a plan's or version's ``chips.parquet`` that say nothing of the place."""
SIDES = "a cell has left, bottom, right and top (or bounds_xyxy) in units of its epsg, a code such as 32632"
"""What a table of cells says of each."""
NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9_-]+")
BESIDE_DEG = (30.0, 10.0)
"""Degrees of longitude and latitude by which a listed cell's centre may lie beside its CRS's area of use: there a metre
of a UTM zone still is one to a fifth (1 / cos 33 degrees at the equator)."""
BEYOND_UTM_DEG = 1.0
"""For a UTM zone, degrees beyond the limits of UTM: chips of places at the limit reach over it."""


def point_cells(grid: Grid, places: Places, regions: Mapping[str, BaseGeometry]) -> CellTable:
    """One chip around every place, or as many as cover its footprint, with the table's columns.

    A chip of an odd number of pixels has the place in its middle pixel. Places outside of the regions are left out,
    where the recipe has regions.

    Raises:
        RecipeError: two places make one chip, a place has no degrees or lies beyond the limits of UTM, or far too many
            chips would cover the places.
    """
    if len(places) == 0:
        raise RecipeError("the table has no rows", where=places.source)
    lon, lat = places.centres_lonlat()
    strange = ~((np.abs(lon) <= 360.0) & np.isfinite(lat))
    if strange.any():
        row = int(np.flatnonzero(strange)[0])
        raise RecipeError(
            f"row {row + 1}: {lon[row]:g}, {lat[row]:g} are no degrees", where=places.source, mend="lon, lat"
        )
    check_latitudes(float(lat.min()), float(lat.max()), places.source)
    epsg = utm_epsg_of(lon, lat)
    chip_m = float(grid.chip_m or 0)
    placed, row_of = _placed(grid, places, lon, lat, epsg)
    table = placed.table(chip_m, "points")
    table = CellTable(
        table.chip_id, table.epsg, table.bounds, table.region, table.majortom,
        {name: values[row_of] for name, values in places.columns.items() if values.ndim == 1},
    )  # fmt: skip
    _check_unique(table.chip_id, row_of, places)
    _check_keys(table.chip_id, places.source)
    return _in_regions(table, regions)


def _placed(
    grid: Grid, places: Places, lon: NDArray[np.float64], lat: NDArray[np.float64], epsg: NDArray[np.int32]
) -> tuple[Placed, NDArray[np.intp]]:
    """Squares, and the row of the table that each comes from."""
    chip_m, lattice = float(grid.chip_m or 0), lattice_m(grid)
    low, parts, rows = np.empty((len(places), 2)), [], []
    across, grounds = np.ones((len(places), 2), dtype=np.int64), places.joined()
    for code in np.unique(epsg):
        here = np.flatnonzero(epsg == code)
        forward = transformer(4326, int(code))
        x, y = forward.transform(lon[here], lat[here])
        if grid.fit == "cover":
            flat = shapely.transform(grounds[here], lambda xy, f=forward: np.column_stack(f.transform(*xy.T)))
            box = shapely.bounds(flat)
            x, y = (box[:, 0] + box[:, 2]) / 2, (box[:, 1] + box[:, 3]) / 2
            spare = lattice  # the block's centre lies up to half a step beside the footprint's
            across[here] = np.maximum(np.ceil((box[:, 2:] - box[:, :2] + spare) / chip_m), 1).astype(np.int64)
            across[here[(box[:, 2:] == box[:, :2]).all(axis=1)]] = 1
        for wide in np.unique(across[here], axis=0):
            same = (across[here] == wide).all(axis=1)
            for axis in (0, 1):
                low[here[same], axis] = centred(x[same], y[same], epsg[here[same]], wide[axis] * chip_m, lattice)[
                    :, axis
                ]
    chips = int(across.prod(axis=1).sum())
    if chips > MAX_CHIPS:
        raise RecipeError(
            f"{chips:,} chips to cover the places are more than {MAX_CHIPS:,}", where=places.source, mend="split it"
        )
    names = _names(grid, places, low, epsg, lattice)
    for wide in np.unique(across, axis=0):
        same = np.flatnonzero((across == wide).all(axis=1))
        parts.append(blocks(Placed(names[same], epsg[same], low[same]), int(wide[0]), int(wide[1]), chip_m))
        rows.append(np.repeat(same, int(wide.prod())))
    order = np.argsort(np.concatenate(rows), kind="stable")
    return Placed(
        np.concatenate([part.names for part in parts])[order],
        np.concatenate([part.epsg for part in parts])[order],
        np.concatenate([part.low for part in parts])[order],
    ), np.concatenate(rows)[order]


def _names(
    grid: Grid, places: Places, low: NDArray[np.float64], epsg: NDArray[np.int32], lattice: float
) -> NDArray[np.str_]:
    given = places.column(grid.id_column) if grid.id_column else places.first_of(ID_COLUMNS)
    if given is not None:
        return np.array([NOT_IN_A_KEY.sub("-", name) for name in given.tolist()], dtype=np.str_)
    steps = np.rint((low - np.column_stack([np.zeros(len(low)), anchors_y(epsg)])) / lattice).astype(np.int64)
    names = [cell_name(zone_prefix(e), c, r) for e, (c, r) in zip(epsg.tolist(), steps.tolist(), strict=True)]
    return np.array(names, dtype=np.str_)


def _check_unique(names: NDArray[np.str_], row_of: NDArray[np.intp], places: Places) -> None:
    if "" in names:
        raise RecipeError(f"row {int(row_of[np.flatnonzero(names == '')[0]]) + 1} has no id", where=places.source)
    order = np.argsort(names, kind="stable")
    twice = np.flatnonzero(names[order][1:] == names[order][:-1])
    if twice.size:
        one, other = sorted(int(row_of[order[twice[0] + i]]) + 1 for i in (0, 1))
        raise RecipeError(
            f"rows {one} and {other} make the same chip {str(names[order[twice[0]]])!r}",
            where=places.source,
            mend="give every row an id of its own, named by grid.id_column",
        )


def _in_regions(table: CellTable, regions: Mapping[str, BaseGeometry]) -> CellTable:
    if not regions:
        return table
    outlines = table.footprints()
    region = np.full(len(table), "", dtype="U64")
    for name, area in regions.items():
        shapely.prepare(area)
        region[(region == "") & shapely.covers(area, outlines)] = name
    table = CellTable(table.chip_id, table.epsg, table.bounds, region, table.majortom, table.columns)
    return table.take(region != "")


def listed_cells(cells: tuple[Cell, ...]) -> CellTable:
    """The cells that stand in the recipe.

    Raises:
        RecipeError: a cell is no box, or no place of its CRS, or that is not one of metres.
    """
    return _table(
        np.array([cell.id for cell in cells], dtype=np.str_),
        np.array([cell.epsg for cell in cells], dtype=np.int32),
        np.array([cell.bounds for cell in cells], dtype=np.float64).reshape(-1, 4),
        np.array([cell.region for cell in cells], dtype=np.str_),
        {},
        "grid.cells",
    )


def cells_of_places(grid: Grid, places: Places) -> CellTable:
    """The cells of a table with columns ``chip_id``, ``epsg`` and ``bounds_xyxy`` (or left, bottom, right, top).

    A plan's ``chips.parquet`` is such a table, and so is a version's: the same chips come out of it again.

    Raises:
        RecipeError: a column is missing or holds no numbers, an id is none or two rows have it, or a cell is no box or
            no place of its CRS.
    """
    by_name = grid.id_column or next((name for name in ID_COLUMNS if name in places.columns), ID_COLUMNS[0])
    names = places.column(by_name)
    if "bounds_xyxy" in places.columns:
        bounds = np.asarray(places.columns["bounds_xyxy"])
        if bounds.shape != (len(places), 4) or bounds.dtype.kind not in "fiu":
            raise RecipeError("bounds_xyxy is no list of four numbers in every row", where=places.source, mend=SIDES)
    else:
        bounds = np.column_stack([_numbers(places, side) for side in ("left", "bottom", "right", "top")])
    epsg = _numbers(places, "epsg").astype(np.int32)
    region = places.first_of(("region",))
    _check_unique(names, np.arange(len(names)), places)
    region = np.full(len(names), "list") if region is None else region
    return _table(names, epsg, bounds.astype(np.float64), region, _further(places), places.source)


def _check_keys(names: NDArray[np.str_], where: str) -> None:
    """Refuse ids that no sample can have.

    Raises:
        RecipeError: naming the first.
    """
    bad = next((name for name in names.tolist() if CHIP_ID.fullmatch(name) is None), None)
    if bad is not None:
        mend = "1 to 60 letters, digits, _ and -"
        raise RecipeError(f"{bad!r} cannot be a chip's id", where=where, mend=mend)


def _numbers(places: Places, name: str) -> NDArray[np.float64]:
    """A column of numbers; of ``epsg`` whole ones, with or without ``EPSG:`` before them.

    Raises:
        RecipeError: a row holds none.
    """
    texts = places.column(name)
    if name == "epsg":
        texts = np.char.replace(np.char.upper(texts), "EPSG:", "")
    numbers = np.array([_number(text) for text in texts.tolist()], dtype=np.float64)
    good = np.isfinite(numbers)
    if name == "epsg":
        good &= (numbers == np.rint(numbers)) & (numbers >= 1) & (numbers < 2**31)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        said = f"row {row + 1}: {str(places.column(name)[row])!r} in column {name!r} is no number"
        raise RecipeError(said, where=places.source, mend=SIDES)
    return numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _further(places: Places) -> dict[str, NDArray[Any]]:
    """Columns that go with the cells: of a dataset's or plan's own table those of the places, not those of pixels."""
    flat = {name: values for name, values in places.columns.items() if values.ndim == 1}
    own = {name.removeprefix(PLACE_PREFIX): v for name, v in flat.items() if name.startswith(PLACE_PREFIX)}
    left_out = PLACED | OF_A_DATASET if "majortom_cell" in flat else PLACED
    further = {name: values for name, values in flat.items() if name not in left_out}
    if left_out is not PLACED:
        return own | {name: values for name, values in further.items() if "." not in name}
    return own | {name: values for name, values in further.items() if not name.startswith(PLACE_PREFIX)}


def _table(
    names: NDArray[np.str_],
    epsg: NDArray[np.int32],
    bounds: NDArray[np.float64],
    region: NDArray[np.str_],
    columns: Mapping[str, NDArray[Any]],
    where: str,
) -> CellTable:
    _check_keys(names, where)
    box = (bounds[:, 0] < bounds[:, 2]) & (bounds[:, 1] < bounds[:, 3])
    if not box.all():
        name = str(names[~box][0])
        raise RecipeError(f"cell {name!r} is no box", where=where, mend="bounds are left, bottom, right, top")
    centres = _centres(names, epsg, bounds, where)
    _check_poles(names, epsg, bounds, where)
    return CellTable(names, epsg, bounds, region, majortom_names(*centres), columns)


def _centres(
    names: NDArray[np.str_], epsg: NDArray[np.int32], bounds: NDArray[np.float64], where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) longitude and latitude of the centres.

    Raises:
        RecipeError: a cell's CRS is unknown or not projected, or its centre is no place of it: far beside the CRS's
            area of use, or where the projection does not lead back to the same metre.
    """
    systems = {int(code): _projected(int(code), str(names[epsg == code][0]), where) for code in np.unique(epsg)}
    with np.errstate(over="ignore", invalid="ignore"):
        x, y = bounds[:, :2].T / 2 + bounds[:, 2:].T / 2
        lon, lat = to_lonlat(x, y, epsg)
        good = np.isfinite(lon) & np.isfinite(lat)
        for code, crs in systems.items():
            here = np.flatnonzero((epsg == code) & good)
            flat = Transformer.from_crs(crs, crs.geodetic_crs or 4326, always_xy=True)  # no datum shift, which may vary
            back_x, back_y = flat.transform(*flat.transform(x[here], y[here]), direction="INVERSE")
            good[here] = (np.hypot(back_x - x[here], back_y - y[here]) <= 1.0) & _near(lon[here], lat[here], code, crs)
    if not good.all():
        bad = int(np.flatnonzero(~good)[0])
        raise RecipeError(
            f"the centre of cell {str(names[bad])!r}, {x[bad]:.0f}, {y[bad]:.0f}, is no place of EPSG:{epsg[bad]}",
            where=where,
            mend="bounds are left, bottom, right, top in the units of the cell's epsg: check both",
        )
    return lon, lat


def _projected(code: int, name: str, where: str) -> CRS:
    try:
        crs = CRS.from_epsg(code)
    except CRSError as error:
        raise RecipeError(f"EPSG:{code} of cell {name!r} is unknown", where=where, mend="give a UTM zone") from error
    if not crs.is_projected:
        raise RecipeError(f"EPSG:{code} of cell {name!r} is not projected", where=where, mend="give a UTM zone")
    unit = crs.axis_info[0]
    if unit.unit_conversion_factor != 1.0:  # pixel sizes, distances and areas are all counted in metres
        raise RecipeError(
            f"EPSG:{code} of cell {name!r} is measured in {unit.unit_name}", where=where, mend="give a UTM zone"
        )
    return crs


def _check_poles(names: NDArray[np.str_], epsg: NDArray[np.int32], bounds: NDArray[np.float64], where: str) -> None:
    """Refuse cells that hold a pole or lie beside it: they have no outline in degrees.

    Raises:
        RecipeError: naming the cell.
    """
    for code in np.unique(epsg):
        here = np.flatnonzero(epsg == code)
        box, edges = bounds[here], bounds[here, 2:] - bounds[here, :2]
        for latitude in (-90.0, 90.0):
            pole = np.column_stack(transformer(4326, int(code)).transform([0.0, 90.0], [latitude, latitude]))
            if not np.isfinite(pole).all() or np.ptp(pole, axis=0).max() > 1.0:
                continue  # where the pole is a line or lies at infinity, degrees have no seam around it
            near = ((box[:, :2] - edges <= pole[0]) & (pole[0] <= box[:, 2:] + edges)).all(axis=1)
            if near.any():
                name = str(names[here[near]][0])
                raise RecipeError(f"cell {name!r} lies at the pole", where=where, mend="leave it out")


def _near(lon: NDArray[np.float64], lat: NDArray[np.float64], code: int, crs: CRS) -> NDArray[np.bool_]:
    """Where a CRS is used, or little beside: a UTM zone in both hemispheres, others around their area of use."""
    area = crs.area_of_use
    west, south, east, north = area.bounds if area else (-180.0, -90.0, 180.0, 90.0)
    beside, beyond = BESIDE_DEG
    if code // 100 in (326, 327) and 1 <= code % 100 <= 60:
        (south, north), beyond = POLAR_LIMITS, BEYOND_UTM_DEG
    wide = east - west if east > west else east - west + 360.0  # over the antimeridian
    across = (lon - west + beside) % 360.0 <= wide + 2 * beside
    return np.asarray(across & (lat >= south - beyond) & (lat <= north + beyond), dtype=np.bool_)
