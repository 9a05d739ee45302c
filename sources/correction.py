"""Mode ``correct``: dates that lie reliably beside the reference are read once more, on the grid moved back.

The stored pixels have then been resampled once, not twice; the layer keeps its own georeference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import shapely
import xarray as xr
from numpy.typing import NDArray

from chips.decide import shifted_georef
from chips.plan import LayerPlan, layer_georef
from schemas.chip import Chip, Shift, Valid
from schemas.georef import GeoRef, is_same_zone
from schemas.recipe import Modality, Recipe
from schemas.scene import Opener, SceneItem
from sources.dates import Date, fill_holes, in_terms_of, mask_plan, refs_of, to_date, validity
from sources.engine import engine_for, open_engine
from sources.masks import resample_valid, to_valid


def corrected(
    chip: Chip,
    recipe: Recipe,
    plans: Sequence[LayerPlan],
    opener: Opener,
    items: Mapping[str, Sequence[SceneItem]],
) -> Chip:
    """The chip with every date that `chips.decide.decide` moves read again; their shifts say ``corrected``.

    Args:
        chip: with shifts.
        recipe: the recipe.
        plans: the modality groups.
        opener: how hrefs are opened.
        items: modality -> items of the tile, among them further parts of a date's picture.

    Raises:
        SourceError: a second read failed.
    """
    layers: dict[str, xr.Dataset] = dict(chip.layers)
    shifts: dict[str, tuple[Shift, ...]] = dict(chip.shifts)
    for modality, measured in chip.shifts.items():
        wanted = [index for index, shift in enumerate(measured) if shift.applied_by and shift.status != "corrected"]
        if not wanted:
            continue
        parts = {index: _parts(chip, chip.provenance[modality][index], items.get(modality, ())) for index in wanted}
        for plan in (plan for plan in plans if plan.modality == modality):
            layer = chip.layers[plan.group].copy(deep=True)
            for index in wanted:
                again = _date(chip, plan, recipe.modalities[modality], parts[index], measured[index], opener)
                layer["data"].values[index], layer["valid"].values[index] = again[0].data, again[1]
            layers[plan.group] = layer
        shifts[modality] = tuple(
            replace(shift, status="corrected") if index in wanted else shift for index, shift in enumerate(measured)
        )
    return replace(chip, layers=layers, shifts=shifts)


def _parts(chip: Chip, first: SceneItem, items: Sequence[SceneItem]) -> list[SceneItem]:
    """The item behind a date, then the other parts of its picture over the chip, those of the chip's zone first."""
    here = shapely.from_wkb(chip.spec.footprint_wkb)
    others = [
        item
        for item in items
        if first.datatake
        and item.datatake == first.datatake
        and item.item_id != first.item_id
        and shapely.from_wkb(item.footprint_wkb).intersects(here)
    ]
    others.sort(key=lambda item: (not is_same_zone(item.refs[0].georef.epsg, chip.spec.epsg), item.item_id))
    return [first, *others]


def _date(
    chip: Chip, plan: LayerPlan, modality: Modality, parts: Sequence[SceneItem], shift: Shift, opener: Opener
) -> Date:
    """One date on its moved grid; a further part is read only while pixels are missing."""
    georef: GeoRef = chip.layers[plan.group].attrs["georef"]
    moved = shifted_georef(georef, shift)
    date: Date | None = None
    for item in parts:
        refs = refs_of(item, plan)
        pixels = engine_for([item], "direct").read(refs, moved, modality.resampling, opener, plan.nodata)
        pixels = in_terms_of(plan, pixels, refs)
        mask = _mask(chip, plan, modality, item, shift, georef, opener) if item.masks else None
        part = to_date(pixels, validity(pixels, mask, refs, moved, plan), refs, plan, modality)
        date = fill_holes(date, part)
        if not (date[1] == Valid.NODATA).any():
            break
    if date is None:
        raise ValueError(f"a date of {chip.spec.chip_id} without items")
    return date


def _mask(
    chip: Chip, plan: LayerPlan, modality: Modality, item: SceneItem, shift: Shift, georef: GeoRef, opener: Opener
) -> NDArray[np.uint8]:
    native = modality.model_copy(update={"grid": "native"})
    lattices = [ref.georef for ref in item.masks]
    grid = layer_georef(chip.spec, mask_plan(plan, item.masks[0]), native, lattices)
    arrays: Mapping[str, NDArray[np.generic]] = {
        ref.band: open_engine("direct").read([ref], shifted_georef(grid, shift), "nearest", opener, ref.nodata)[0]
        for ref in item.masks
    }
    return resample_valid(to_valid(item.mask_kind, arrays), grid, georef)
