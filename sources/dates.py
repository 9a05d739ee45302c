"""One date of one layer: what of an item belongs to it, what its pixels are worth, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from chips.convert import Stored, is_kept_as_given, is_missing, stored_form, to_stored
from chips.plan import LayerPlan
from schemas.chip import Valid, check_layer
from schemas.errors import AssetMissingError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.recipe import Modality
from schemas.scene import SceneItem, SceneRef
from schemas.sensor import Band, SensorProfile, load_sensor
from sources.lattice import coverage_anywhere
from sources.masks import pixel_codes, worst_of


@dataclass(frozen=True)
class Date:
    """One date of one layer."""

    stored: Stored
    """Pixels (band, y, x) as stored."""
    valid: NDArray[np.uint8]
    """(y, x) their validity."""
    count: NDArray[np.uint8] | None = None
    """(y, x) clear dates behind each pixel of a composite."""


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


def kernel_of(modality: Modality) -> str:
    """How a modality's pixels are resampled where that is due: class codes by the nearest, whatever the recipe says."""
    return "nearest" if load_sensor(modality.sensor).kind == "classes" else modality.resampling


def mask_plan(layer: LayerPlan, ref: SceneRef) -> LayerPlan:
    """A mask as if it were a group of its own, for its grid: of its own pixels, or those of the layer where its own are
    degrees.
    """
    gsd_m = ref.georef.pixel_size if ref.georef.is_in_metres else layer.gsd_m
    return LayerPlan(layer.group, layer.modality, layer.sensor, gsd_m, (ref.band,), ref.dtype, ref.nodata, "")


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
    own = [ref.nodata for ref in refs]  # an item may state a value for some of its bands alone
    nodata = layer.nodata if layer.nodata is not None else own[0] if len(set(own)) == 1 else own
    codes = pixel_codes(pixels, nodata, profile.nodata_rule, _valid_range(profile, refs[0]))
    if None in own:
        codes[~coverage_anywhere(refs[0].georef, georef)] = Valid.NODATA
    return codes if mask is None else worst_of(mask, codes)


def _valid_range(profile: SensorProfile, ref: SceneRef) -> tuple[float, float] | None:
    """The profile's valid range in the item's own numbers, which need not be the product's (reflectance as floats)."""
    if profile.valid_range is None or profile.scale is None or profile.offset is None:
        return profile.valid_range
    if (ref.scale, ref.offset) == (profile.scale, profile.offset):
        return profile.valid_range
    low, high = profile.valid_range
    edges = [(n * profile.scale + profile.offset - ref.offset) / ref.scale for n in (low - 0.5, high + 0.5)]
    return min(edges), max(edges)  # half a number beyond: rounding to floats puts no edge outside


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
    given = Stored(pixels, refs[0].scale, refs[0].offset, layer.nodata, refs[0].unit)
    if is_kept_as_given(given, modality):
        return Date(given, seen)
    nodata = layer.nodata if layer.nodata is not None else refs[0].nodata
    missing = is_missing(pixels, nodata) | (seen == Valid.NODATA)[np.newaxis]
    stored = to_stored(given, missing, modality)
    lost = is_missing(stored.data, stored.nodata) & ~missing
    return Date(stored, np.where(lost.any(axis=0), np.uint8(Valid.NODATA), seen))


def fill_holes(date: Date | None, part: Date) -> Date:
    """A date with its missing pixels taken from a further part of the same picture.

    Parts of another scale or offset are left aside: one date has one.
    """
    if date is None:
        return part
    stored, further = date.stored, part.stored
    if (further.scale, further.offset) == (stored.scale, stored.offset):
        hole = (date.valid == Valid.NODATA) & (part.valid != Valid.NODATA)
        stored.data[:, hole] = further.data[:, hole]
        date.valid[hole] = part.valid[hole]
    return date


def empty_date(layer: LayerPlan, modality: Modality, georef: GeoRef, like: Date | None) -> Date:
    """A step of a series at which a chip has nothing: no data throughout, in the form of another date if any."""
    dtype, nodata, unit = stored_form(layer.dtype, layer.nodata, layer.unit, modality)
    shape = (len(layer.bands), *georef.shape_yx)
    scale, offset = (like.stored.scale, like.stored.offset) if like is not None else (1.0, 0.0)
    filled = Stored(np.full(shape, outside(dtype, nodata), dtype), scale, offset, nodata, unit)
    return Date(filled, np.zeros(georef.shape_yx, np.uint8))


def outside(dtype: str, nodata: float | None) -> float:
    """What stands for no data: the layer's value, else NaN for floats and 0 for integers."""
    if nodata is not None:
        return nodata
    return float("nan") if np.dtype(dtype).kind == "f" else 0.0


def to_layer(
    layer: LayerPlan,
    modality: Modality,
    georef: GeoRef,
    times: Sequence[datetime | None],
    dates: Sequence[Date],
    bands: Sequence[Band],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The dates of one layer as the dataset that `check_layer` describes; without dates, arrays of length 0.

    A time that is None is an empty step of a series (NaT).
    """
    dtype, nodata, unit = stored_form(layer.dtype, layer.nodata, layer.unit, modality)
    if len(dates) == 1 and dates[0].stored.data.dtype == np.dtype(dtype):  # the usual case: nothing to put together
        data, valid = dates[0].stored.data[np.newaxis], dates[0].valid[np.newaxis]
    else:
        data = np.zeros((len(dates), len(layer.bands), *georef.shape_yx), dtype)
        valid = np.zeros((len(dates), *georef.shape_yx), np.uint8)
        for index, date in enumerate(dates):
            data[index], valid[index] = date.stored.data, date.valid
    arrays: dict[str, NDArray[Any] | xr.Variable] = {
        "data": data,
        "valid": valid,
        "scale": np.array([date.stored.scale for date in dates], dtype=np.float64),
        "offset": np.array([date.stored.offset for date in dates], dtype=np.float64),
        "time": _time_axis(tuple(times)),
        "band": np.array(layer.bands, dtype=np.str_),
        "common_name": np.array([band.common_name for band in bands], dtype=np.str_),
        "wavelength_nm": np.array([band.centre_nm or np.nan for band in bands], dtype=np.float64),
        "y": georef.y_centres(),
        "x": georef.x_centres(),
    }
    if modality.composite is not None:
        count = np.zeros(valid.shape, np.uint8)
        for index, date in enumerate(dates):
            if date.count is not None:
                count[index] = date.count
        arrays["count"] = count
    found = _empty_layer(data.shape, "count" in arrays).copy()
    for name, values in arrays.items():
        found.variables[name].data = values
    found.attrs = {**attrs, "georef": georef, "nodata": nodata, "unit": unit}
    return check_layer(found)


_COORDS: dict[str, str] = {
    "time": "time", "band": "band", "common_name": "band", "wavelength_nm": "band", "y": "y", "x": "x",
}  # fmt: skip
"""Coordinate -> its dimension."""


@lru_cache(maxsize=1024)
def _time_axis(times: tuple[datetime | None, ...]) -> xr.Variable:
    """Times as the coordinate, not to be written to: xarray takes them through pandas, and many chips share theirs."""
    moments = [np.datetime64("NaT") if t is None else np.datetime64(t.replace(tzinfo=None)) for t in times]
    return xr.Variable(("time",), np.array(moments, dtype="datetime64[ns]"))


@lru_cache(maxsize=64)
def _empty_layer(shape: tuple[int, ...], is_composite: bool) -> xr.Dataset:
    """A layer of (time, band, y, x) without content, to be copied and filled: a quarter of the time of making one from
    arrays.

    Without indexes: nobody selects by label, and making them takes longer than all the rest.
    """
    sizes = dict(zip(("time", "band", "y", "x"), shape, strict=True))
    dims = {"data": tuple(sizes), "valid": ("time", "y", "x"), "scale": ("time",), "offset": ("time",)}
    if is_composite:
        dims["count"] = ("time", "y", "x")

    def nothing(*names: str) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
        return names, np.broadcast_to(np.uint8(0), [sizes[name] for name in names])

    coords = xr.Coordinates({name: nothing(dim) for name, dim in _COORDS.items()}, indexes={})
    return xr.Dataset({name: nothing(*of) for name, of in dims.items()}, coords=coords)
