"""Codes of a class raster on another grid: the windows that it needs, and the code of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from schemas.errors import DecodeError, UnsupportedItemError
from schemas.georef import GeoRef
from schemas.scene import Opener, SceneItem
from sources.block_window import read_mask, read_window, windows_over
from sources.centres import source_pixels
from sources.faults import READ_ERRORS, as_source_error
from sources.gdal_reads import gdal_reads
from sources.openers import driver_of, unsigned
from sources.raster_limits import check_open_file, check_place

SAMPLES = 12
"""Places along each side of a pixel of which the commonest code is taken: exact where 2, 3, 4 or 6 pixels of the
product make one."""

ROWS = 16
"""Rows of the target whose places are looked up together: a tile's would not fit into a worker's memory."""


@dataclass(frozen=True, eq=False)
class _Part:
    """What was read of a raster."""

    codes: NDArray[np.uint16]
    """(H, W), the file's no-data value replaced by the legend's."""
    transform: Affine
    """Of the window."""
    wkt: str
    """Coordinate system."""
    href: str
    """Address of the raster."""


def read_codes(
    item: SceneItem, target: GeoRef, opener: Opener, nodata: int, dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    """(H, W) codes of one item on the target, or None where they do not meet."""
    found: NDArray[Any] | None = None
    for part in _parts(item, target, opener, nodata):
        codes = _checked(_at_centres(part, target, nodata), dtype, part.href)
        found = codes if found is None else np.where(found == nodata, codes, found)
    return found


def read_commonest(
    items: Sequence[SceneItem], target: GeoRef, opener: Opener, nodata: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], list[SceneItem]]:
    """(H, W) the code that most of a target pixel has, the lower of two equal ones, no data where all of it has none;
    and the items that gave some.

    By `SAMPLES` exact places along each side, not by a warp: what a chip gets does not hang on what is read with it.
    The items are put together before anything is counted: a pixel may lie on the border of two tiles. The first one
    that has data at a place gives it; those that nobody needs are not read.
    """
    rows, columns = target.shape_yx
    size = target.pixel_size / SAMPLES
    found = np.full(target.shape_yx, nodata, dtype=dtype)
    read: list[list[_Part]] = []
    gave: set[int] = set()
    for start in range(0, rows, ROWS):
        strip = found[start : start + ROWS]
        shape = (len(strip) * SAMPLES, columns * SAMPLES)
        fine = GeoRef(target.epsg, target.x0, target.y0 - start * target.pixel_size, size, shape)
        codes = np.full(shape, nodata, dtype=dtype)
        for number, item in enumerate(items):
            missing = codes == nodata
            if not missing.any():
                break
            if number == len(read):
                read.append(_parts(item, target, opener, nodata))
            for part in read[number]:
                seen = _checked(_at_centres(part, fine, nodata), dtype, part.href)
                np.copyto(codes, seen, where=codes == nodata)
            if (codes[missing] != nodata).any():
                gave.add(number)
        strip[:] = _most(codes, nodata)
    return found, [items[number] for number in sorted(gave)]


def _most(fine: NDArray[Any], nodata: int) -> NDArray[Any]:
    """(H, W) the code that most of `SAMPLES` times `SAMPLES` places have, of those that have data."""
    rows, columns = fine.shape[0] // SAMPLES, fine.shape[1] // SAMPLES
    found = np.full((rows, columns), nodata, dtype=fine.dtype)
    most = np.zeros(found.shape, dtype=np.int64)
    for code in np.flatnonzero(np.bincount(fine.ravel())):
        if code != nodata:
            count = (fine == code).reshape(rows, SAMPLES, columns, SAMPLES).sum(axis=(1, 3))
            found[count > most] = code
            most = np.maximum(most, count)
    return found


def _checked(codes: NDArray[np.uint16], dtype: np.dtype[Any], href: str) -> NDArray[Any]:
    """The codes in the legend's type.

    Raises:
        UnsupportedItemError: a code beyond the legend's, which its type does not hold.
    """
    highest = int(codes.max(initial=0))
    if highest > np.iinfo(dtype).max:
        raise UnsupportedItemError(f"the legend has no code {highest}", unsigned(href))
    return codes.astype(dtype)


def _parts(item: SceneItem, target: GeoRef, opener: Opener, nodata: int) -> list[_Part]:
    """The windows of the first band that the target needs; none where they do not meet."""
    ref = item.refs[0]
    with opened(ref.href, opener) as raster:
        wkt = raster.crs.to_wkt()
        stored = ref.nodata if raster.nodata is None else float(raster.nodata)
        read = [
            (
                read_window(raster, ref.href, [1], w, opener)[0],
                _mask(raster, ref.href, w, opener),
                raster.window_transform(w),
            )
            for w in windows_over(raster, target)
        ]
    return [
        _Part(_as_codes(values, masked, stored, nodata, ref.href), transform, wkt, ref.href)
        for values, masked, transform in read
    ]


def _mask(raster: Any, href: str, window: Window, opener: Opener) -> NDArray[np.bool_] | None:
    """(H, W) where a mask beside the band says that there is no data; None where the file has none."""
    if MaskFlags.per_dataset not in raster.mask_flag_enums[0]:
        return None
    return np.asarray(read_mask(raster, href, window, opener) == 0)


@contextmanager
def opened(href: str, opener: Opener) -> Iterator[Any]:
    """The open raster; what fails while it is open is one of our errors."""
    resolved = opener.resolve(href)
    try:
        with gdal_reads(opener, [href]), rasterio.open(resolved, driver=driver_of(href)) as raster:
            if raster.subdatasets:
                raise DecodeError("the raster has several subdatasets", unsigned(href))
            if raster.crs is None:
                raise DecodeError("the raster has no coordinate system", unsigned(href))
            if max(abs(raster.transform.b), abs(raster.transform.d)) > 1e-6 * abs(raster.transform.a):
                raise DecodeError("the raster is rotated, only grids along the axes are read", unsigned(href))
            check_place(raster.bounds, [abs(side) for side in raster.res], href)
            check_open_file(raster, href)
            yield raster
    except (*READ_ERRORS, ProjError) as error:
        raise as_source_error(error, href, resolved) from error


def _at_centres(part: _Part, target: GeoRef, nodata: int) -> NDArray[np.uint16]:
    """(H, W) the code in whose pixel each centre of the target lies.

    Not by a warp: GDAL approximates the projection between the ends of a row, and rasterio lets nobody turn that
    off; measured on WorldCover, 1 label in 10,000 came from the neighbouring pixel.
    """
    codes = np.append(part.codes, part.codes.dtype.type(nodata))  # the last one lies beyond the raster
    return codes.take(source_pixels(target, part.wkt, part.transform, part.codes.shape))


def _as_codes(
    values: NDArray[Any], masked: NDArray[np.bool_] | None, stored: float | None, nodata: int, href: str
) -> NDArray[np.uint16]:
    """Values as uint16 codes, the file's no-data value and what it masks replaced by the legend's."""
    if values.dtype == np.uint8 and stored in (None, nodata) and masked is None:
        return values.astype(np.uint16)
    missing = np.zeros(values.shape, dtype=bool) if stored is None else values == stored
    missing |= False if masked is None else masked
    if np.issubdtype(values.dtype, np.floating):
        missing |= np.isnan(values)
    whole = np.where(missing, values.dtype.type(0), values)
    if whole.size and (whole.min() < 0 or whole.max() > np.iinfo(np.uint16).max or (whole % 1 != 0).any()):
        unsaid = ": what stands for no data has to be marked so in the file" if whole.min() < 0 else ""
        got = f"got {whole.min()}..{whole.max()}{unsaid}"
        raise DecodeError(f"class codes must be whole numbers of 0..65535, {got}", href)
    codes = whole.astype(np.uint16)
    codes[missing] = nodata  # not before: the legend's code may be more than the file's type holds
    return codes
