"""Mode ``correct``: dates that lie reliably beside the reference are read once more, on the grid moved back.

The stored pixels have then been resampled once, not twice; the layer keeps its own georeference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.convert import Stored, is_missing, to_stored
from chips.plan import LayerPlan, layer_georef
from chips.register import shifted_georef, to_correct
from schemas.chip import Chip, Shift, Valid
from schemas.georef import GeoRef
from schemas.recipe import Modality, Recipe
from schemas.scene import Opener, SceneItem
from schemas.sensor import load_sensor
from sources.engine import open_engine
from sources.masks import pixel_codes, resample_valid, to_valid, worst_of
from sources.tile_reader import mask_plan, refs_of


def corrected(chip: Chip, recipe: Recipe, plans: Sequence[LayerPlan], opener: Opener) -> Chip:
    """The chip with every date that `to_correct` names read again; their shifts say ``corrected``.

    Raises:
        SourceError: a second read failed.
    """
    layers: dict[str, xr.Dataset] = dict(chip.layers)
    shifts: dict[str, tuple[Shift, ...]] = dict(chip.shifts)
    for modality, measured in chip.shifts.items():
        wanted = [index for index, shift in enumerate(measured) if to_correct(shift, recipe.register_shifts)]
        if not wanted:
            continue
        for plan in (plan for plan in plans if plan.modality == modality):
            layers[plan.group] = _moved(chip, plan, recipe.modalities[modality], measured, wanted, opener)
        shifts[modality] = tuple(
            replace(shift, status="corrected") if index in wanted else shift for index, shift in enumerate(measured)
        )
    return replace(chip, layers=layers, shifts=shifts)


def _moved(
    chip: Chip, plan: LayerPlan, modality: Modality, shifts: Sequence[Shift], wanted: Sequence[int], opener: Opener
) -> xr.Dataset:
    """One layer with the wanted dates read on their moved grids."""
    layer = chip.layers[plan.group].copy(deep=True)
    for index in wanted:
        item = chip.provenance[plan.modality][index]
        stored, valid = _date(chip, plan, modality, item, shifts[index], opener)
        layer["data"].values[index] = stored.data
        layer["valid"].values[index] = valid
    return layer


def _date(
    chip: Chip, plan: LayerPlan, modality: Modality, item: SceneItem, shift: Shift, opener: Opener
) -> tuple[Stored, NDArray[np.uint8]]:
    georef: GeoRef = chip.layers[plan.group].attrs["georef"]
    profile, refs = load_sensor(plan.sensor), refs_of(item, plan)
    engine = open_engine("direct")
    pixels = engine.read(refs, shifted_georef(georef, shift), modality.resampling, opener, plan.nodata)
    valid = pixel_codes(pixels, plan.nodata, profile.nodata_rule, profile.valid_range)
    if item.masks:
        valid = worst_of(_mask(chip, plan, modality, item, shift, georef, opener), valid)
    missing = is_missing(pixels, plan.nodata) | (valid == Valid.NODATA)[np.newaxis]
    given = Stored(pixels, refs[0].scale, refs[0].offset, plan.nodata, refs[0].unit)
    return to_stored(given, missing, modality), valid


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
