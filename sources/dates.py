"""One date of one layer: what of an item belongs to it, what its pixels are worth, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.convert import Stored, is_missing, stored_form, to_stored
from chips.plan import LayerPlan
from schemas.chip import Valid, check_layer
from schemas.errors import AssetMissingError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import Modality
from schemas.scene import SceneItem, SceneRef
from schemas.sensor import Band, load_sensor
from sources.lattice import coverage_anywhere
from sources.masks import pixel_codes, worst_of

Date = tuple[Stored, NDArray[np.uint8]]
"""Pixels as stored and their validity."""


def refs_of(item: SceneItem, layer: LayerPlan) -> list[SceneRef]:
    """The item's bands of a group, in stored order.

    Raises:
        AssetMissingError: the item has not all the bands that the first item of its modality has.
        UnsupportedItemError: its numbers are of another type or unit, and would be changed by storing them beside
            the others.
    """
    by_name = {ref.band: ref for ref in item.refs}
    missing = [name for name in layer.bands if name not in by_name]
    if missing:
        raise AssetMissingError(f"item {item.item_id}: no band {', '.join(missing)}, which the other items have")
    refs = [by_name[name] for name in layer.bands]
    for ref in refs:
        if np.dtype(ref.dtype) != np.dtype(layer.dtype) or ref.unit != layer.unit:
            raise UnsupportedItemError(
                f"item {item.item_id}: band {ref.band} is {ref.dtype} {ref.unit}, "
                f"the layer {layer.group} is {layer.dtype} {layer.unit}"
            )
    return refs


def mask_plan(layer: LayerPlan, ref: SceneRef) -> LayerPlan:
    """A mask as if it were a group of its own, for its grid."""
    return LayerPlan(
        layer.group, layer.modality, layer.sensor, ref.georef.pixel_size, (ref.band,), ref.dtype, ref.nodata, ""
    )


def validity(
    pixels: NDArray[Any],
    mask: NDArray[np.uint8] | None,
    refs: Sequence[SceneRef],
    georef: GeoRef,
    layer: LayerPlan,
) -> NDArray[np.uint8]:
    """Validity of one date: what the mask says and what the numbers say, the worse of both.

    A product without a no-data value is missing where its raster does not reach.

    Args:
        pixels: (band, y, x) on ``georef``, as `in_terms_of` gives them.
        mask: codes on ``georef``, None where the item has no mask.
        refs: the bands.
        georef: where the pixels lie.
        layer: the group.
    """
    profile = load_sensor(layer.sensor)
    nodata = layer.nodata if layer.nodata is not None else refs[0].nodata
    codes = pixel_codes(pixels, nodata, profile.nodata_rule, profile.valid_range)
    if refs[0].nodata is None:
        codes[~coverage_anywhere(refs[0].georef, georef)] = Valid.NODATA
    return codes if mask is None else worst_of(mask, codes)


def in_terms_of(layer: LayerPlan, pixels: NDArray[Any], refs: Sequence[SceneRef]) -> NDArray[Any]:
    """The pixels with the layer's no-data value where the item has one of its own; changed in place."""
    if layer.nodata is not None:
        for band, ref in zip(pixels, refs, strict=True):
            if ref.nodata is not None and ref.nodata != layer.nodata:
                band[band == np.asarray(ref.nodata).astype(band.dtype)] = layer.nodata
    return pixels


def to_date(
    pixels: NDArray[Any], seen: NDArray[np.uint8], refs: Sequence[SceneRef], layer: LayerPlan, modality: Modality
) -> Date:
    """One item's pixels as the recipe wants them stored, and their validity.

    A pixel that has no value in that form (the decibel of no power) is no data from here on.

    Args:
        pixels: (band, y, x) as `in_terms_of` gives them.
        seen: see `validity`.
        refs: the bands.
        layer: the group.
        modality: the recipe's wishes.
    """
    nodata = layer.nodata if layer.nodata is not None else refs[0].nodata
    missing = is_missing(pixels, nodata) | (seen == Valid.NODATA)[np.newaxis]
    given = Stored(pixels, refs[0].scale, refs[0].offset, layer.nodata, refs[0].unit)
    stored = to_stored(given, missing, modality)
    lost = is_missing(stored.data, stored.nodata) & ~missing
    return stored, np.where(lost.any(axis=0), np.uint8(Valid.NODATA), seen)


def fill_holes(date: Date | None, part: Date) -> Date:
    """A date with its missing pixels taken from a further part of the same picture.

    Parts of another scale or offset are left aside: one date has one.
    """
    if date is None:
        return part
    (stored, valid), (further, seen) = date, part
    if (further.scale, further.offset) == (stored.scale, stored.offset):
        hole = (valid == Valid.NODATA) & (seen != Valid.NODATA)
        stored.data[:, hole] = further.data[:, hole]
        valid[hole] = seen[hole]
    return stored, valid


def to_layer(
    layer: LayerPlan,
    modality: Modality,
    georef: GeoRef,
    times: Sequence[datetime],
    dates: Sequence[Date],
    bands: Sequence[Band],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The dates of one layer as the dataset that `check_layer` describes; without dates, arrays of length 0."""
    dtype, nodata, unit = stored_form(layer.dtype, layer.nodata, layer.unit, modality)
    data = np.zeros((len(dates), len(layer.bands), *georef.shape_yx), dtype)
    valid = np.zeros((len(dates), *georef.shape_yx), np.uint8)
    for index, (stored, seen) in enumerate(dates):
        data[index], valid[index] = stored.data, seen
    return check_layer(
        xr.Dataset(
            {
                "data": (("time", "band", "y", "x"), data),
                "valid": (("time", "y", "x"), valid),
                "scale": (("time",), np.array([stored.scale for stored, _ in dates], dtype=np.float64)),
                "offset": (("time",), np.array([stored.offset for stored, _ in dates], dtype=np.float64)),
            },
            coords={
                "time": np.array([moment.replace(tzinfo=None) for moment in times], dtype="datetime64[ns]"),
                "band": np.array(layer.bands, dtype=np.str_),
                "common_name": ("band", np.array([band.common_name for band in bands], dtype=np.str_)),
                "wavelength_nm": ("band", np.array([band.centre_nm or np.nan for band in bands], dtype=np.float64)),
                "y": georef.y_centres(),
                "x": georef.x_centres(),
            },
            attrs={**attrs, "georef": georef, "nodata": nodata, "unit": unit},
        )
    )
