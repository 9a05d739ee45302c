"""A composite of all layers of a modality: one date of least cost per pixel in all of them, or medians band by band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from chips.composite import (
    Composed,
    Stack,
    blended,
    chosen,
    index_on,
    medoid_costs,
    ndvi_costs,
    red_and_nir,
    taken,
    time_costs,
)
from chips.convert import is_missing, to_stored
from schemas.chip import Valid
from schemas.errors import UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import Composite, Modality
from sources.dates import Date


@dataclass(frozen=True)
class Picture:
    """One acquisition over a chip."""

    time_utc: datetime
    """When."""
    layers: Mapping[str, Date]
    """Group -> its pixels, as `form_of` wants them."""


def form_of(modality: Modality) -> Modality:
    """What single dates are stored as on the way to a composite: SAR is brought to decibel only after averaging."""
    if modality.composite is None or modality.store != "db":
        return modality
    return modality.model_copy(update={"store": "as_delivered"})


def composed(
    pictures: Sequence[Picture],
    modality: Modality,
    grids: Mapping[str, GeoRef],
    common_names: Mapping[str, Sequence[str]],
    reference_utc: datetime | None,
) -> dict[str, Date]:
    """Group -> the composite of the pictures.

    Where one date is taken per pixel (medoid, best), it is found in the finest layer that tells, and coarser layers
    take the same one (the most frequent inside their pixel) where it is as clear there as any.

    Args:
        pictures: in time order.
        modality: with a composite.
        grids: group -> where its pixels lie.
        common_names: group -> common names of its bands.
        reference_utc: what ``closest`` counts from.

    Raises:
        UnsupportedItemError: NDVI of a modality without red and near infrared in one layer.
    """
    wish = modality.composite
    if wish is None:
        raise ValueError("the modality asks for no composite")
    stacks = {
        group: Stack(
            [picture.layers[group].stored for picture in pictures],
            [picture.layers[group].valid for picture in pictures],
            modality.select.snow_is_clear,
        )
        for group in grids
    }
    if wish.how in ("median", "mean"):
        made = {group: blended(stack, wish.how, wish.min_count) for group, stack in stacks.items()}
    else:
        made = _of_one_date_each(stacks, wish, grids, common_names, _gaps(pictures, wish, reference_utc))
    return {group: _finished(result, modality) for group, result in made.items()}


def _gaps(pictures: Sequence[Picture], wish: Composite, reference_utc: datetime | None) -> list[float]:
    """Cost of each date by its time: days from the reference, or from the newest."""
    anchor = reference_utc if reference_utc is not None and wish.best_by != "newest" else pictures[-1].time_utc
    return [abs((picture.time_utc - anchor).total_seconds()) / 86_400.0 for picture in pictures]


def _of_one_date_each(
    stacks: Mapping[str, Stack],
    wish: Composite,
    grids: Mapping[str, GeoRef],
    common_names: Mapping[str, Sequence[str]],
    gaps: Sequence[float],
) -> dict[str, Composed]:
    groups = list(stacks)
    lead, costs = groups[0], time_costs(gaps)
    if wish.how == "medoid":
        costs = medoid_costs(stacks[lead])
    elif wish.best_by == "ndvi":
        lead, red, nir = _red_and_nir(common_names)
        costs = ndvi_costs(stacks[lead], red, nir)
    index = chosen(stacks[lead], costs, wish.min_count)
    made = {}
    for group in groups:
        here = index
        if group != lead:
            wanted = index_on(index, grids[lead], grids[group])
            here = chosen(stacks[group], time_costs(gaps), wish.min_count, wanted)
        made[group] = taken(stacks[group], here)
    return made


def _red_and_nir(common_names: Mapping[str, Sequence[str]]) -> tuple[str, int, int]:
    """The finest layer that has red and near infrared, and where they stand in it."""
    for group, names in common_names.items():
        if (found := red_and_nir(names)) is not None:
            return group, *found
    raise UnsupportedItemError("a composite by NDVI needs the bands red and nir in one layer")


def _finished(result: Composed, modality: Modality) -> Date:
    """A composite as the recipe wants it stored; what has no value in that form is no data."""
    stored, valid = result.stored, result.valid
    if modality.store == "db" and stored.unit == "linear":
        missing = is_missing(stored.data, stored.nodata) | (valid == Valid.NODATA)[np.newaxis]
        stored = to_stored(stored, missing, modality)
        lost = is_missing(stored.data, stored.nodata) & ~missing
        valid = np.where(lost.any(axis=0), np.uint8(Valid.NODATA), valid)
    return Date(stored, valid, result.count)
