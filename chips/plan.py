"""The plan of a run: chips with splits, layers with grids, tiles with items. No pixel is read here."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from chips.cell_table import CellTable
from chips.chip_size import check_chip_size
from chips.grid import cells_of
from chips.grid_lattice import lattice_of
from chips.splits import split_cells
from chips.windows import dates_at
from schemas.chip import ChipSpec, Tile
from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.recipe import Modality, Recipe
from schemas.scene import SceneItem, SceneRef
from schemas.sensor import load_sensor


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One modality group of the dataset."""

    group: str
    """``s2_10m``, or the modality's name where it has one GSD."""
    modality: str
    """Name in the recipe."""
    sensor: str
    """Sensor profile."""
    gsd_m: float
    """Pixel size as stored."""
    bands: tuple[str, ...]
    """Band names in stored order."""
    dtype: str
    """Stored type as read."""
    nodata: float | None
    """Stored no-data value as read."""
    unit: str
    """Unit of the physical value as read."""


def plan_chips(
    recipe: Recipe,
    regions: Mapping[str, BaseGeometry],
    with_columns: Callable[[CellTable], CellTable] = lambda cells: cells,
    cells: CellTable | None = None,
) -> list[ChipSpec]:
    """All chips of a recipe with their splits, ordered by id.

    Args:
        recipe: the recipe.
        regions: name -> EPSG:4326 geometry; not used with an explicit list of cells.
        with_columns: adds what tables say of the cells (`sources.date_tables.with_dates`).
        cells: what sampling left; all cells of the grid where None.

    Raises:
        RecipeError: no chip fits, or too many would.
    """
    cells = CellTable.concat(cells_of(recipe.grid, regions)) if cells is None else cells
    if not len(cells):
        raise RecipeError(
            "no chip fits into the regions",
            where="grid.chip_m",
            mend="take a smaller chip or a larger region",
        )
    return _with_splits(recipe, with_columns(cells.take(np.argsort(cells.chip_id))))


def _with_splits(recipe: Recipe, cells: CellTable) -> list[ChipSpec]:
    start, end, reference = recipe.time.window_utc()
    splits, blocks, dropped = split_cells(cells, recipe.split, recipe.seed)
    footprints = shapely.to_wkb(cells.footprints())
    bounds = [(left, bottom, right, top) for left, bottom, right, top in cells.bounds.tolist()]
    return [
        ChipSpec(
            chip_id=str(cells.chip_id[i]),
            epsg=int(cells.epsg[i]),
            bounds_xyxy=bounds[i],
            region=str(cells.region[i]),
            split=str(splits[i]),
            block_id=str(blocks[i]),
            start_utc=start,
            end_utc=end,
            reference_utc=reference,
            footprint_wkb=footprints[i],
            majortom_cell=str(cells.majortom[i]),
            dates=dates_at(cells.columns, int(i)),
        )
        for i in np.flatnonzero(~dropped)
    ]


def plan_layers(recipe: Recipe, items: Mapping[str, Sequence[SceneItem]]) -> list[LayerPlan]:
    """The modality groups that the items of each modality make up, in the recipe's order.

    A modality whose bands come at several pixel sizes has one group for each; every item must offer the same.

    Raises:
        RecipeError: a modality has no item at all, or the recipe's chip does not fit the GSDs.
    """
    layers: list[LayerPlan] = []
    for name, modality in recipe.modalities.items():
        offered = items.get(name, ())
        if not offered:
            if modality.optional:
                continue
            raise RecipeError(
                f"no item of {modality.collection!r} lies in the region and the time window",
                where=f"modalities.{name}",
                mend="check collection, where, time and region",
            )
        layers += _layers_of(recipe, name, modality, offered[0])
    on_edges = [layer.gsd_m for layer in layers if _shares_edges(recipe.modalities[layer.modality], layer)]
    if recipe.grid.chip_m is not None:
        check_chip_size(recipe.grid.chip_m, [*on_edges, recipe.grid.gsd_m], lattice_of(recipe.grid))
    return layers


def _shares_edges(modality: Modality, layer: LayerPlan) -> bool:
    return modality.grid != "native" or load_sensor(layer.sensor).lattice_phase_m == 0.0


def _layers_of(recipe: Recipe, name: str, modality: Modality, example: SceneItem) -> list[LayerPlan]:
    groups: dict[float, list[SceneRef]] = defaultdict(list)
    for ref in example.refs:
        groups[recipe.grid.gsd_m if modality.grid == "common" else _gsd_of(ref, modality)].append(ref)
    layers = []
    for gsd in sorted(groups):
        first = groups[gsd][0]
        layers.append(
            LayerPlan(
                group=name if len(groups) == 1 else f"{name}_{gsd:g}m".replace(".", "p"),
                modality=name,
                sensor=modality.sensor,
                gsd_m=gsd,
                bands=tuple(ref.band for ref in groups[gsd]),
                dtype=first.dtype,
                nodata=first.nodata,
                unit=first.unit,
            )
        )
    return layers


def _gsd_of(ref: SceneRef, modality: Modality) -> float:
    """GSD of a band in m: the stored pixels, or the sensor's own where these are in degrees."""
    if ref.georef.is_in_metres:
        return ref.georef.pixel_size
    return next((band.gsd_m for band in load_sensor(modality.sensor).bands if band.name == ref.band), 30.0)


def layer_georef(spec: ChipSpec, layer: LayerPlan, modality: Modality, lattices: Sequence[GeoRef]) -> GeoRef:
    """The grid on which a chip's layer is stored.

    ``native`` keeps the sensor's own lattice: the chip's bounds where they share edges, else the smallest grid of
    the lattice that covers the chip (one pixel more, overhanging on both sides). ``snapped`` and ``common`` lie on
    the chip's edges.

    Args:
        spec: the chip.
        layer: the group.
        modality: its recipe.
        lattices: georeferences of the stored rasters, in order of preference.
    """
    if modality.grid != "native":
        return spec.georef(layer.gsd_m)
    gsd = layer.gsd_m
    anchor_x, anchor_y = _phase(spec, layer, lattices)
    left, bottom, right, top = spec.bounds_xyxy
    first_column = _floor((left - anchor_x) / gsd)
    last_column = _ceil((right - anchor_x) / gsd)
    first_row = _floor((bottom - anchor_y) / gsd)
    last_row = _ceil((top - anchor_y) / gsd)
    shape_yx = (last_row - first_row, last_column - first_column)
    return GeoRef(spec.epsg, anchor_x + first_column * gsd, anchor_y + last_row * gsd, gsd, shape_yx)


def _phase(spec: ChipSpec, layer: LayerPlan, lattices: Sequence[GeoRef]) -> tuple[float, float]:
    for lattice in lattices:
        here = lattice.in_zone(spec.epsg)
        if here is not None and abs(here.pixel_size - layer.gsd_m) < 1e-6:
            return here.x0, here.y0
    phase = load_sensor(layer.sensor).lattice_phase_m
    anchor = 10_000_000.0 if spec.epsg >= 32700 and phase == 0.0 else 0.0
    return phase, anchor + phase


def _floor(value: float) -> int:
    return math.floor(value + 1e-6)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)


def plan_tiles(recipe: Recipe, chips: Sequence[ChipSpec], items: Mapping[str, Sequence[SceneItem]]) -> list[Tile]:
    """Blocks of neighbouring chips with the items that touch them, ordered by name."""
    edge = recipe.grid.tile_chips
    size = float(recipe.grid.chip_m or 0) or max(chip.bounds_xyxy[2] - chip.bounds_xyxy[0] for chip in chips)
    grouped: dict[str, list[ChipSpec]] = defaultdict(list)
    for chip in chips:
        column = math.floor(chip.bounds_xyxy[0] / (size * edge) + 1e-9)
        row = math.floor(chip.bounds_xyxy[1] / (size * edge) + 1e-9)
        grouped[f"{chip.epsg}_{column}_{row}"].append(chip)
    trees = {
        name: shapely.STRtree([shapely.from_wkb(item.footprint_wkb) for item in found]) for name, found in items.items()
    }
    tiles = []
    for name in sorted(grouped):
        members = tuple(sorted(grouped[name], key=lambda chip: chip.chip_id))
        hull = shapely.union_all([shapely.from_wkb(chip.footprint_wkb) for chip in members])
        touching = {
            source: tuple(items[source][i] for i in np.sort(tree.query(hull, predicate="intersects")))
            for source, tree in trees.items()
        }
        tiles.append(Tile(tile_id=name, epsg=members[0].epsg, chips=members, items=touching))
    return tiles
