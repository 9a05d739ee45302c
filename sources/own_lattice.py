"""What a file says of itself, which is believed before what the catalog says: its lattice, its bands, their type, and
which value means no data.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from chips.convert import holds
from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources.epsg import code_of_file
from sources.openers import unsigned
from sources.raster_limits import check_place

log = logging.getLogger(__name__)


def check_bands(count: int, dtype: str, refs: Sequence[SceneRef]) -> None:
    """Stop where the file has not what the item promised.

    Raises:
        DecodeError: a band or a stored type that is not there, or whole numbers (decibel times 100) where an item of
            which nobody knows type and unit is taken for linear power.
    """
    beyond = [ref.band_index for ref in refs if not 1 <= ref.band_index <= count]
    if beyond:
        raise DecodeError(f"the file has {count} bands, the item names band {beyond[0]}", unsigned(refs[0].href))
    wanted = np.dtype(refs[0].dtype)
    if not np.can_cast(np.dtype(dtype), wanted, "safe"):
        raise DecodeError(f"the file holds {dtype}, the item says {wanted}", unsigned(refs[0].href))
    if np.dtype(dtype).kind in "iu" and wanted.kind == "f" and any(r.unit == "linear" and r.scale == 1.0 for r in refs):
        what = f"the file holds backscatter in {dtype}, of which the item states neither type nor unit"
        raise DecodeError(what, unsigned(refs[0].href))


def file_georef(file: Any, ref: SceneRef) -> GeoRef:
    """The lattice of an open file: its own, which is believed before the catalog's.

    Raises:
        DecodeError: rotated, or not square in metres, which the item did not say.
    """
    a, b, x0, d, e, y0 = file.transform[:6]
    height = None if abs(a + e) <= 1e-6 * a else float(-e)
    if b or d or a <= 0 or e >= 0 or (height is not None and a >= 0.01):
        raise DecodeError(
            f"the file's grid is not square and north-up: {tuple(file.transform[:6])}", unsigned(ref.href)
        )
    found = GeoRef(code_of_file(file) or 0, float(x0), float(y0), float(a), (file.height, file.width), height)
    return own_georef(found, ref)


def own_georef(found: GeoRef, ref: SceneRef) -> GeoRef:
    """The file's own lattice, in the catalog's coordinate system where it names none; a difference is told.

    Raises:
        DecodeError: numbers that no raster on the Earth has, or a code that nobody gave out.
    """
    own = replace(found, epsg=found.epsg or ref.georef.epsg)
    check_place(own.bounds_xyxy, (own.pixel_size, own.height), ref.href)
    if not _is_given_out(own.epsg):
        raise DecodeError(f"there is no coordinate system EPSG:{own.epsg}", unsigned(ref.href))
    said = ref.georef.in_zone(own.epsg)
    if (
        said is None
        or not own.is_aligned(said)
        or abs(own.x0 - said.x0) + abs(own.y0 - said.y0) > 1e-3 * own.pixel_size
    ):
        log.warning(
            "item %s: asset %s lies at %s, not at %s as the catalog says",
            ref.item_id,
            ref.asset_key,
            own,
            ref.georef,
        )
    return own


def mark_missing(pixels: NDArray[Any], own_nodata: float | None, ref: SceneRef, fill: float | None) -> None:
    """Make pixels of the file's own no-data value those of the item's, or of what stands outside the raster.

    Whole numbers stay as they are where neither item nor table nor layer has a value for no data: that is told.

    Args:
        pixels: (..., y, x) of one band, in the type of ``ref``; changed.
        own_nodata: the file's tag, None where it has none.
        ref: the band.
        fill: what stands outside the raster, where the reader says so.
    """
    if own_nodata is None or not np.isfinite(own_nodata) or own_nodata == ref.nodata:
        return
    _hide(pixels, holds(pixels, own_nodata), ref, fill, f"{own_nodata:g}")


def mark_masked(pixels: NDArray[Any], mask: NDArray[np.uint8], ref: SceneRef, fill: float | None) -> None:
    """`mark_missing` for what a mask in the file hides.

    Args:
        pixels: (y, x) of one band, in the type of ``ref``; changed.
        mask: (y, x) 0 where there is no data.
        ref: the band.
        fill: what stands outside the raster, where the reader says so.
    """
    _hide(pixels, mask == 0, ref, fill, "pixels by a mask")


def _hide(pixels: NDArray[Any], missing: NDArray[np.bool_], ref: SceneRef, fill: float | None, what: str) -> None:
    wanted = ref.nodata if ref.nodata is not None else fill
    if wanted is None and pixels.dtype.kind == "f":
        wanted = float("nan")
    if wanted is not None:
        pixels[missing] = wanted
    elif missing.any():
        _say_once(ref.item_id, ref.asset_key, what)


@lru_cache(maxsize=256)
def _is_given_out(epsg: int) -> bool:
    try:
        CRS.from_epsg(epsg)
    except CRSError:
        return False
    return True


@lru_cache(maxsize=1024)
def _say_once(item_id: str, asset_key: str, what: str) -> None:
    log.warning(
        "item %s: the file of asset %s marks %s as no data, and neither the item nor its sensor's table does:"
        " these pixels count as data",
        item_id,
        asset_key,
        what,
    )
