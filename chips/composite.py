"""One picture out of several dates of one layer: `blended` (median, mean) and `chosen` with `taken` (medoid, best).

Only clear pixels count, band by band where a band has no data of its own; what is no data never enters a mean. Numbers
are compared and averaged as physical values on one scale, decibel as linear power. Work goes in strips of rows, so
that memory is bounded whatever the chip's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.convert import Stored, is_missing
from chips.screen import is_clear
from schemas.chip import VALID_PRECEDENCE, Valid
from schemas.georef import GeoRef

STRIP_BYTES = 64 * 1024 * 1024
"""Aim for the float32 numbers of all dates that are looked at together."""
NOBODY = -1
"""Index where no date serves."""
DARK = 0.05
"""Red and near infrared together, in reflectance: ten times the 0.005 that Sentinel-2's surface reflectance may err by
where there is hardly any (ESA, Sentinel-2 L2A Data Quality Report: 0.05 of the value and 0.005)."""
_BEST_FIRST = np.full(256, 5, np.uint8)
_BEST_FIRST[[Valid.CLEAR, Valid.WATER]] = 0
_BEST_FIRST[[Valid.SNOW, Valid.HAZE]] = (1, 2)
_BEST_FIRST[[Valid.SHADOW, Valid.CLOUD]] = (3, 4)


@dataclass(frozen=True)
class Composed:
    """A composite of one layer."""

    stored: Stored
    """Its numbers, in a form that all dates fit into."""
    valid: NDArray[np.uint8]
    """(y, x): the code of the date that was taken, or the most frequent of those that were averaged; 0 without any."""
    count: NDArray[np.uint8]
    """(y, x) clear dates at each pixel."""


@dataclass(frozen=True)
class Stack:
    """Dates of one layer on one grid, in time order."""

    stored: Sequence[Stored]
    """Numbers of each."""
    valid: Sequence[NDArray[np.uint8]]
    """Validity of each."""
    snow_is_clear: bool = False
    """Whether snow counts as clear."""

    def clear(self) -> NDArray[np.bool_]:
        """(dates, y, x)."""
        return np.stack([is_clear(valid, self.snow_is_clear) for valid in self.valid])

    def target(self) -> Stored:
        """Scale, offset, type and no-data value of the answer: the form with the lowest offset, which holds the others.

        The array in it is empty.
        """
        widest = min(self.stored, key=lambda given: (given.offset, given.scale))
        return Stored(widest.data[:, :0, :0], widest.scale, widest.offset, widest.nodata, widest.unit)


def blended(stack: Stack, how: str, min_count: int = 1) -> Composed:
    """Median or mean of the clear pixels, band by band; the mean of the two middle dates where their number is even.

    Args:
        stack: the dates.
        how: ``median`` or ``mean``.
        min_count: pixels with fewer clear dates are no data.
    """
    clear, form = stack.clear(), stack.target()
    data = np.full(stack.stored[0].data.shape, _empty(form), form.data.dtype)
    served = np.zeros(data.shape[1:], bool)
    for rows in _strips(stack):
        numbers = np.stack([_numbers(stored, rows) for stored in stack.stored])  # (dates, bands, rows, columns)
        numbers[~np.broadcast_to(clear[:, np.newaxis, rows], numbers.shape)] = np.nan
        value, used = _middle(numbers) if how == "median" else _mean(numbers)
        fits = used >= min_count
        data[:, rows] = np.where(fits, _stored_as(value, form), data[:, rows])
        served[rows] = fits.any(axis=0)
    count = clear.sum(axis=0)
    served &= count >= min_count
    data[:, ~served] = _empty(form)
    codes = np.where(served, _most_frequent(stack, clear), np.uint8(Valid.NODATA))
    return Composed(_with(form, data), codes, np.minimum(count, 255).astype(np.uint8))


def chosen(
    stack: Stack, costs: NDArray[np.float32], min_count: int = 1, preferred: NDArray[np.int16] | None = None
) -> NDArray[np.int16]:
    """(y, x) index of the date to take at each pixel, `NOBODY` where none serves.

    Of the clear dates the one of least cost, the earlier where two are equal; with ``min_count`` 0 the least bad date
    where none is clear (snow before haze, shadow, cloud, defective).

    Args:
        stack: the dates.
        costs: (dates, y, x), or (dates, 1, 1); NaN: does not serve.
        min_count: pixels with fewer clear dates are no data.
        preferred: index that stands where its date is as clear as the best one; `NOBODY` where there is none.
    """
    clear = stack.clear()
    codes = np.stack(list(stack.valid))
    badness = np.where(clear, np.uint8(0), np.maximum(_BEST_FIRST[codes], 1)).astype(np.float32)
    badness[codes == Valid.NODATA] = np.nan
    if min_count > 0:
        badness[~clear] = np.nan
    badness[np.broadcast_to(np.isnan(costs), badness.shape)] = np.nan
    least = np.where(np.isnan(badness), np.inf, badness).min(axis=0)
    ranked = np.where(badness == least, np.broadcast_to(costs, badness.shape), np.inf)
    index: NDArray[np.int16] = ranked.argmin(axis=0).astype(np.int16)
    if preferred is not None:
        wanted = np.clip(preferred, 0, None)[np.newaxis]
        serves = (preferred != NOBODY) & (np.take_along_axis(badness, wanted.astype(np.intp), axis=0)[0] == least)
        index = np.where(serves, preferred, index).astype(np.int16)
    index[~np.isfinite(least) | (clear.sum(axis=0) < min_count)] = NOBODY
    return index


def taken(stack: Stack, index: NDArray[np.int16]) -> Composed:
    """Each pixel from the date that ``index`` names, all bands together."""
    form = stack.target()
    data = np.full(stack.stored[0].data.shape, _empty(form), form.data.dtype)
    codes = np.zeros(index.shape, np.uint8)
    for number, (stored, valid) in enumerate(zip(stack.stored, stack.valid, strict=True)):
        here = index == number
        data[:, here] = _moved(stored, form)[:, here]
        codes[here] = valid[here]
    count = stack.clear().sum(axis=0)
    return Composed(_with(form, data), codes, np.minimum(count, 255).astype(np.uint8))


def medoid_costs(stack: Stack) -> NDArray[np.float32]:
    """(dates, y, x): mean distance of each clear date to the other clear ones over all bands; 0 where it is alone.

    Bands without data at one of two dates are left out of their distance.
    """
    clear = stack.clear()
    costs = np.full(clear.shape, np.nan, np.float32)
    for rows in _strips(stack):
        numbers = np.stack([_numbers(stored, rows) for stored in stack.stored])
        seen = clear[:, rows]
        total = np.zeros(seen.shape, np.float64)
        for one in range(len(numbers)):
            for other in range(one + 1, len(numbers)):
                squares = (numbers[one] - numbers[other]) ** 2
                known = np.isfinite(squares)
                bands = np.maximum(known.sum(axis=0), 1)
                apart = np.sqrt(np.where(known, squares, 0.0).sum(axis=0) / bands)
                apart[~(seen[one] & seen[other])] = 0.0
                total[one] += apart
                total[other] += apart
        others = np.maximum(seen.sum(axis=0) - 1, 1)
        costs[:, rows] = np.where(seen, total / others, np.nan)
    return costs


def ndvi_costs(stack: Stack, red: int, nir: int) -> NDArray[np.float32]:
    """(dates, y, x): less is greener, -1..1, from the bands at these positions; NaN where either has no data.

    Of ground darker than `DARK` the index would be noise over noise, without limit where a reflectance is negative:
    there it counts as if the sum were `DARK`, so that water and shadow are no greener than a crop.
    """
    costs = np.full((len(stack.stored), *stack.valid[0].shape), np.nan, np.float32)
    for number, stored in enumerate(stack.stored):
        red_value, nir_value = (_physical(stored, band) for band in (red, nir))
        costs[number] = np.clip((red_value - nir_value) / np.maximum(nir_value + red_value, DARK), -1.0, 1.0)
    return costs


def red_and_nir(common_names: Sequence[str]) -> tuple[int, int] | None:
    """Where red and near infrared stand among a layer's bands; the broad band before the narrow one; None: not both.

    Example:
        >>> red_and_nir(["blue", "red", "nir08"]), red_and_nir(["nir", "green"])
        ((1, 2), None)
    """
    names = list(common_names)
    near = next((name for name in ("nir", "nir08") if name in names), None)
    return (names.index("red"), names.index(near)) if near is not None and "red" in names else None


def time_costs(gaps: Sequence[float]) -> NDArray[np.float32]:
    """(dates, 1, 1) of one number per date."""
    return np.array(gaps, np.float32)[:, np.newaxis, np.newaxis]


def index_on(index: NDArray[np.int16], from_georef: GeoRef, to_georef: GeoRef) -> NDArray[np.int16]:
    """An index on another grid of the same CRS: the most frequent inside each larger pixel, else the nearest.

    Outside stands `NOBODY`.
    """
    factor = max(1, round(to_georef.pixel_size / from_georef.pixel_size))
    step = to_georef.pixel_size / factor
    rows, columns = to_georef.shape_yx
    y = to_georef.y0 - (np.arange(rows * factor) + 0.5) * step
    x = to_georef.x0 + (np.arange(columns * factor) + 0.5) * step
    row = np.floor((from_georef.y0 - y) / from_georef.pixel_size).astype(int)
    column = np.floor((x - from_georef.x0) / from_georef.pixel_size).astype(int)
    inside = np.logical_and.outer((row >= 0) & (row < index.shape[0]), (column >= 0) & (column < index.shape[1]))
    fine = index[np.clip(row, 0, index.shape[0] - 1)][:, np.clip(column, 0, index.shape[1] - 1)]
    fine = np.where(inside, fine, np.int16(NOBODY))
    if factor == 1:
        return fine
    blocks = fine.reshape(rows, factor, columns, factor)
    best, votes = np.full((rows, columns), NOBODY, np.int16), np.zeros((rows, columns), int)
    for number in np.unique(index[index != NOBODY]):
        found = (blocks == number).sum(axis=(1, 3))
        best[found > votes] = number
        votes = np.maximum(votes, found)
    return best


def _strips(stack: Stack) -> Iterator[slice]:
    bands, rows, columns = stack.stored[0].data.shape
    step = max(1, STRIP_BYTES // max(1, 4 * len(stack.stored) * bands * columns))
    yield from (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _numbers(stored: Stored, rows: slice) -> NDArray[np.float32]:
    """(bands, rows, columns) physical values, decibel as power; NaN without data."""
    part = stored.data[:, rows]
    values = part.astype(np.float64) * stored.scale + stored.offset
    values[is_missing(part, stored.nodata)] = np.nan
    return (np.power(10.0, values / 10.0) if stored.unit == "dB" else values).astype(np.float32)


def _physical(stored: Stored, band: int) -> NDArray[np.float64]:
    values: NDArray[np.float64] = stored.data[band].astype(np.float64) * stored.scale + stored.offset
    values[is_missing(stored.data[band], stored.nodata)] = np.nan
    return values


def _middle(numbers: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Median over the first axis without NaN, and how many numbers it is of."""
    used = np.isfinite(numbers).sum(axis=0)
    ordered = np.sort(numbers, axis=0)  # NaN last
    low = np.take_along_axis(ordered, np.maximum((used - 1) // 2, 0)[np.newaxis], axis=0)[0]
    high = np.take_along_axis(ordered, (used // 2)[np.newaxis], axis=0)[0]  # the same one where their number is odd
    middle: NDArray[np.float64] = (low.astype(np.float64) + high) / 2
    return middle, used


def _mean(numbers: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    known = np.isfinite(numbers)
    used = known.sum(axis=0)
    total = np.where(known, numbers, 0.0).sum(axis=0, dtype=np.float64)
    mean: NDArray[np.float64] = np.where(used > 0, total / np.maximum(used, 1), np.nan)
    return mean, used


def _stored_as(values: NDArray[np.float64], form: Stored) -> NDArray[Any]:
    """Values of `_numbers` in the answer's form; never the no-data value itself, but where they are NaN."""
    if form.unit == "dB":
        with np.errstate(divide="ignore", invalid="ignore"):
            values = 10.0 * np.log10(values)
    numbers = (values - form.offset) / form.scale
    return _rounded(numbers, form)


def _rounded(numbers: NDArray[np.float64], form: Stored) -> NDArray[Any]:
    dtype = form.data.dtype
    missing = ~np.isfinite(numbers)
    if dtype.kind == "f":
        data: NDArray[Any] = numbers.astype(dtype)
    else:
        info = np.iinfo(dtype)
        data = np.clip(np.rint(np.where(missing, 0.0, numbers)), info.min, info.max).astype(dtype)
        if form.nodata is not None:
            hit = data == np.asarray(form.nodata).astype(dtype)
            data[hit] += dtype.type(1) if form.nodata < info.max else dtype.type(-1)
    data[missing] = _empty(form)
    return data


def _moved(stored: Stored, form: Stored) -> NDArray[Any]:
    """A date's numbers in the answer's form; as they are where they have it already."""
    same = (stored.scale, stored.offset, stored.nodata) == (form.scale, form.offset, form.nodata)
    if same and stored.data.dtype == form.data.dtype:
        return stored.data
    values = (stored.data.astype(np.float64) * stored.scale + stored.offset - form.offset) / form.scale
    values[is_missing(stored.data, stored.nodata)] = np.nan
    return _rounded(values, form)


def _most_frequent(stack: Stack, clear: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The commonest clear code at each pixel; of equals the one that comes last in `VALID_PRECEDENCE`."""
    codes = np.stack(list(stack.valid))
    best, votes = np.zeros(codes.shape[1:], np.uint8), np.zeros(codes.shape[1:], int)
    for code in reversed(VALID_PRECEDENCE):
        found = ((codes == code) & clear).sum(axis=0)
        best[found > votes] = code
        votes = np.maximum(votes, found)
    return best


def _empty(form: Stored) -> Any:
    """What stands where there is no data."""
    if form.nodata is not None:
        return form.data.dtype.type(form.nodata)
    return form.data.dtype.type(np.nan if form.data.dtype.kind == "f" else 0)


def _with(form: Stored, data: NDArray[Any]) -> Stored:
    return Stored(data, form.scale, form.offset, form.nodata, form.unit)
