"""A window of a file, by its blocks where these are read here: `read_window`; and which one a grid needs.

GDAL says where the pixels lie; the pixels come through `sources.block_store`, which fetches each block once and notices
those that were damaged (`sources.block_sums`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.scene import Opener
from sources.block_store import BlockStore, KnownFile, shared_store
from sources.centres import projection
from sources.fetch import is_fetchable
from sources.gdal_blocks import Stored, check_stored, stored_blocks
from sources.lattice import turned
from sources.openers import unsigned
from sources.tiff_header import NotBlocked

MARGIN_PIXELS = 2
"""Source pixels read beyond the target's edge, so that the nearest one is always there."""
MOST_BLOCKS = 1 << 20
"""GDAL, which looks up single entries of a file's lists of blocks, reads files of more: these take 16 MB."""


def read_window(
    file: Any, href: str, bands: Sequence[int], window: Window, opener: Opener, store: BlockStore | None = None
) -> NDArray[Any]:
    """(bands, rows, columns) as stored, what rasterio reads: by itself only where `parse_header` leaves the file to it,
    and then blocks with a checksum are fetched once more.

    No slot of the opener may be held: each range takes one. The blocks do not count in `BlockStore.room`.

    Args:
        file: the file, open in rasterio.
        href: its unsigned address.
        bands: 1-based.
        window: inside the raster.
        opener: signs the address.
        store: headers and blocks; this process's where absent.

    Raises:
        SourceError: as `sources.fetch.fetch_range` and `sources.blocks.decode_blocks` say.
        RasterioError: where rasterio reads.
    """
    store = store or shared_store()
    known = _known(file, href, opener, store)
    if known is None:
        with opener.slot(href):
            pixels = np.asarray(file.read(list(bands), window=window))
            blocks = stored_blocks(file, bands, window)
        check_stored(blocks, href, opener)
        return pixels
    header = known.header
    if (*header.shape_yx, header.bands, header.dtype) != (*file.shape, file.count, file.dtypes[0]):
        store.forget(href)
        raise DecodeError("not readable as a raster: its header is not what it was", unsigned(href))
    rows, columns = window.toslices()
    height, width = header.block_yx
    wanted = tuple(sorted(set(bands)))
    held, planes = ((1,), wanted) if header.planar else (wanted, (1,))
    places = {
        header.block_of(row, column, plane): (row * height - rows.start, column * width - columns.start, plane)
        for row, column in header.blocks_under(rows, columns)
        for plane in planes
    }
    found = np.empty((len(bands), rows.stop - rows.start, columns.stop - columns.start), header.dtype)
    coming = store.blocks(known, places, held, opener)
    try:
        for number, (top, left, plane) in places.items():
            block = coming.pop(number).result()  # and no longer held: a window may be much larger than the store
            for layer, band in zip(found, bands, strict=True):
                if not header.planar:
                    _paste(layer, block[held.index(band)], top, left)
                elif band == plane:
                    _paste(layer, block[0], top, left)
    except BaseException:
        for future in coming.values():
            future.cancel()
        raise
    return found


def read_mask(file: Any, href: str, window: Window, opener: Opener) -> NDArray[np.uint8]:
    """(rows, columns) 0 where a mask hides the first band, as rasterio reads it, which does not notice damaged blocks.

    No slot of the opener may be held.

    Raises:
        DecodeError: one is damaged.
        SourceError: as `sources.fetch.fetch_range` says.
        RasterioError: where rasterio fails.
    """
    with opener.slot(href):
        shown: NDArray[np.uint8] = file.read_masks(1, window=window)
    known = _known(file, href, opener, shared_store())
    mask = known.header.mask if known is not None else None
    if mask is not None:
        under = [mask.block_of(row, column, 1) for row, column in mask.blocks_under(*window.toslices())]
        size = mask.block_bytes(1)
        blocks = [Stored(int(mask.offsets[n]), int(mask.counts[n]), size) for n in under if mask.counts[n]]
        check_stored(blocks, href, opener)
    return shown


def check_window(file: Any, href: str, bands: Sequence[int], window: Window, opener: Opener) -> None:
    """Stop before GDAL itself reads damaged blocks, as in a warp: as `read_window`, for nothing but its errors."""
    if _known(file, href, opener, shared_store()) is None:
        check_stored(stored_blocks(file, bands, window), href, opener)
    else:
        read_window(file, href, bands, window, opener)


def _known(file: Any, href: str, opener: Opener, store: BlockStore) -> KnownFile | None:
    """What is known of a file whose blocks are read here, else None."""
    blocks = math.prod(-(-size // block) for size, block in zip(file.shape, file.block_shapes[0], strict=True))
    if blocks > MOST_BLOCKS or not is_fetchable(opener.resolve(href)):
        return None
    try:
        return store.header(href, opener).result()
    except NotBlocked:
        return None


def _paste(layer: NDArray[Any], block: NDArray[Any], top: int, left: int) -> None:
    """Copy a block whose first pixel lies at a row and column of the layer, which may be beyond it."""
    (height, width), (rows, columns) = block.shape, layer.shape
    first, last = max(top, 0), min(top + height, rows)
    begin, end = max(left, 0), min(left + width, columns)
    layer[first:last, begin:end] = block[first - top : last - top, begin - left : end - left]


def windows_over(raster: Any, target: GeoRef, margin: int = MARGIN_PIXELS) -> list[Window]:
    """The parts of an open raster that the target needs: two where it crosses the antimeridian and the raster goes
    around the Earth, none where they do not meet.

    The target's outline is densified; in ``always_xy`` order, because EPSG:3035 and EPSG:3042 name northing
    first while every raster's transform is easting first.
    """
    to_source, transform = projection(target.epsg, raster.crs.to_wkt()), raster.transform
    left, bottom, right, top = to_source.transform_bounds(*target.bounds_xyxy, densify_pts=21)
    if not np.isfinite([left, bottom, right, top]).all():
        return []
    stretches = [(left, right)]
    if raster.crs.is_geographic:
        stretches = turned(left, right, *sorted((raster.bounds.left, raster.bounds.right)))
    rows = [(y - transform.f) / transform.e for y in (bottom, top)]
    first_row = max(int(np.floor(min(rows))) - margin, 0)
    last_row = min(int(np.ceil(max(rows))) + margin, raster.height)
    windows = []
    for stretch in stretches:
        columns = [(x - transform.c) / transform.a for x in stretch]
        first_column = max(int(np.floor(min(columns))) - margin, 0)
        last_column = min(int(np.ceil(max(columns))) + margin, raster.width)
        if first_column < last_column and first_row < last_row:
            windows.append(Window(first_column, first_row, last_column - first_column, last_row - first_row))
    return windows
