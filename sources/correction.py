"""Mode ``correct``: dates that lie reliably beside the reference are read once more, on the grid moved back.

The stored pixels have then been resampled once, not twice; the layer keeps its own georeference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
import xarray as xr
from numpy.typing import NDArray

from chips.decide import shifted_georef
from chips.plan import LayerPlan
from schemas.chip import Chip, DateSource, Shift, Valid
from schemas.georef import GeoRef, is_same_zone
from schemas.recipe import Modality, Recipe
from schemas.scene import Opener, SceneItem
from sources.compose import Picture, composed, form_of
from sources.dates import Date, fill_holes, in_terms_of, kernel_of, refs_of, to_date, validity
from sources.engine import engine_for, open_engine
from sources.item_reader import mask_grids
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
        again = _Again(chip, recipe.modalities[modality], [plan for plan in plans if plan.modality == modality], opener)
        layers |= {plan.group: chip.layers[plan.group].copy(deep=True) for plan in again.plans}
        for index in wanted:
            dates = again.dates(chip.provenance[modality][index], measured[index], items.get(modality, ()))
            for group, date in dates.items():
                layers[group]["data"].values[index] = date.stored.data
                layers[group]["valid"].values[index] = date.valid
                if date.count is not None:
                    layers[group]["count"].values[index] = date.count
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


@dataclass(frozen=True)
class _Again:
    """Reads dates of one modality of a chip on grids that are moved."""

    chip: Chip
    modality: Modality
    plans: Sequence[LayerPlan]
    opener: Opener

    def dates(self, source: DateSource, shift: Shift, items: Sequence[SceneItem]) -> dict[str, Date]:
        """Group -> the date again: each of its pictures with all parts, a composite made anew of them."""
        pictures = []
        for picture in source.pictures:
            parts = _parts(self.chip, picture[0], items)
            layers = {plan.group: self._picture(plan, parts, shift) for plan in self.plans}
            pictures.append(Picture(picture[0].datetime_utc, layers))
        if self.modality.composite is None:
            return dict(pictures[0].layers)
        known = {plan.group: self.chip.layers[plan.group] for plan in self.plans}
        common = {group: [str(name) for name in layer["common_name"].values] for group, layer in known.items()}
        grids = {group: layer.attrs["georef"] for group, layer in known.items()}
        return composed(pictures, self.modality, grids, common, source.reference_utc)

    def _picture(self, plan: LayerPlan, parts: Sequence[SceneItem], shift: Shift) -> Date:
        """One acquisition on its moved grid; a further part is read only while pixels are missing."""
        georef: GeoRef = self.chip.layers[plan.group].attrs["georef"]
        moved = shifted_georef(georef, shift)
        date: Date | None = None
        for item in parts:
            refs = refs_of(item, plan)
            pixels = engine_for([item], "direct").read(refs, moved, kernel_of(self.modality), self.opener, plan.nodata)
            pixels = in_terms_of(plan, pixels, refs)
            mask = _mask(self.chip, plan, item, shift, georef, self.opener) if item.masks else None
            part = to_date(pixels, validity(pixels, mask, refs, moved, plan), refs, plan, form_of(self.modality))
            date = fill_holes(date, part)
            if not (date.valid == Valid.NODATA).any():
                break
        if date is None:
            raise ValueError(f"a date of {self.chip.spec.chip_id} without items")
        return date


def _mask(
    chip: Chip, plan: LayerPlan, item: SceneItem, shift: Shift, georef: GeoRef, opener: Opener
) -> NDArray[np.uint8]:
    grid, _ = mask_grids(chip.spec, item, plan, [georef])
    arrays: Mapping[str, NDArray[np.generic]] = {
        ref.band: open_engine("direct").read([ref], shifted_georef(grid, shift), "nearest", opener, ref.nodata)[0]
        for ref in item.masks
    }
    return resample_valid(to_valid(item.mask_kind, arrays), grid, georef)
