"""The plan of a run: chips with splits, layers with grids, tiles with items. No pixel is read here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.chip_size import check_chip_size
from chips.grid_lattice import lattice_of
from chips.splits import split_cells
from chips.windows import COLUMN_PREFIX, dates_at
from schemas.chip import ChipSpec
from schemas.errors import RecipeError
from schemas.georef import GeoRef
from schemas.recipe import Modality, Recipe
from schemas.sample import why_no_group
from schemas.scene import SceneItem, SceneRef
from schemas.sensor import load_sensor

OF_SPLITS = ("split", "block_id")
"""Columns of a frozen list that decide splits."""


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


@dataclass(frozen=True)
class PlannedCells:
    """N chips, as columns."""

    cells: CellTable
    """Where they lie, by id."""
    split: NDArray[np.str_]
    """(N,) train, val or test."""
    block_id: NDArray[np.str_]
    """(N,) the unit that decided the split."""

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, index: NDArray[Any]) -> PlannedCells:
        """The chips at some places (integers), or where a mask holds (booleans)."""
        return PlannedCells(self.cells.take(index), self.split[index], self.block_id[index])


def plan_cells(recipe: Recipe, cells: CellTable, scenes: NDArray[np.str_] | None = None) -> PlannedCells:
    """The chips of a recipe with their splits, ordered by id; those that the buffer drops are left out.

    Args:
        recipe: the recipe.
        cells: where its chips lie.
        scenes: (N,) see `chips.splits.split_cells`; in the order of ``cells``.

    Raises:
        RecipeError: there is no cell.
    """
    if not len(cells):
        raise RecipeError(
            "no chip fits into the regions",
            where="grid.chip_m",
            mend="take a smaller chip or a larger region",
        )
    order = np.argsort(cells.chip_id, kind="stable")
    cells, scenes = cells.take(order), None if scenes is None else scenes[order]
    split, block_id, dropped = split_cells(cells, recipe.split, recipe.seed, scenes)
    return PlannedCells(cells, split, block_id).take(~dropped)


def chip_specs(recipe: Recipe, planned: PlannedCells, footprints: NDArray[np.object_]) -> list[ChipSpec]:
    """Chips as objects: of a tile that is about to be read, never of a whole run.

    Args:
        recipe: the recipe.
        planned: N chips.
        footprints: (N,) their EPSG:4326 outlines as WKB.
    """
    start, end, reference = recipe.time.window_utc()
    cells = planned.cells
    return [
        ChipSpec(
            chip_id=str(cells.chip_id[i]),
            epsg=int(cells.epsg[i]),
            bounds_xyxy=(left, bottom, right, top),
            region=str(cells.region[i]),
            split=str(planned.split[i]),
            block_id=str(planned.block_id[i]),
            start_utc=start,
            end_utc=end,
            reference_utc=reference,
            footprint_wkb=footprints[i],
            majortom_cell=str(cells.majortom[i]),
            columns=columns_at(cells.columns, i),
            dates=dates_at(cells.columns, i),
        )
        for i, (left, bottom, right, top) in enumerate(cells.bounds.tolist())
    ]


def columns_at(columns: Mapping[str, NDArray[Any]], index: int) -> tuple[tuple[str, Any], ...]:
    """`ChipSpec.columns` of one row of a table of cells: all but days and splits, which have columns of their own."""
    names = [name for name in sorted(columns) if not name.startswith(COLUMN_PREFIX) and name not in OF_SPLITS]
    values = [(name, columns[name][index]) for name in names]
    return tuple((name, value.item() if isinstance(value, np.generic) else value) for name, value in values)


def plan_layers(recipe: Recipe, examples: Mapping[str, SceneItem]) -> list[LayerPlan]:
    """The modality groups that an item of each modality makes up, in the recipe's order.

    A modality whose bands come at several pixel sizes has one group for each; every item must offer the same.

    Raises:
        RecipeError: a modality has no item at all, or the recipe's chip does not fit the GSDs.
    """
    layers: list[LayerPlan] = []
    for name, modality in recipe.modalities.items():
        example = examples.get(name)
        if example is None:
            if modality.optional:
                continue
            raise RecipeError(
                f"no item of {modality.collection!r} lies in the region and the time window",
                where=f"modalities.{name}",
                mend="check collection, where, time and region (longitude comes before latitude)",
            )
        layers += _layers_of(recipe, name, modality, example)
    _refuse_names(layers)
    on_edges = [layer.gsd_m for layer in layers if _shares_edges(recipe.modalities[layer.modality], layer)]
    if recipe.grid.chip_m is not None:
        check_chip_size(recipe.grid.chip_m, [*on_edges, recipe.grid.gsd_m], lattice_of(recipe.grid))
    return layers


def _refuse_names(layers: Sequence[LayerPlan]) -> None:
    counts = Counter(layer.group for layer in layers)
    for layer in layers:
        why = why_no_group(layer.group) or ("another modality has it" if counts[layer.group] > 1 else "")
        if why:
            what = f"its layer at {layer.gsd_m:g} m would be called {layer.group!r}: {why}"
            raise RecipeError(what, where=f"modalities.{layer.modality}", mend="give the modality another name")


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
    return native_georef(spec, layer, lattices) if modality.grid == "native" else spec.georef(layer.gsd_m)


def native_georef(spec: ChipSpec, layer: LayerPlan, lattices: Sequence[GeoRef]) -> GeoRef:
    """The grid of a chip's layer on the sensor's own lattice; see `layer_georef`."""
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
