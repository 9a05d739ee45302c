"""What a file says of itself, which is believed before what the catalog says: its lattice, its bands and their type."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.scene import SceneRef
from sources.openers import unsigned

log = logging.getLogger(__name__)


def check_bands(count: int, dtype: str, refs: Sequence[SceneRef]) -> None:
    """Stop where the file has not what the item promised.

    Raises:
        DecodeError: a band or a stored type that is not there.
    """
    beyond = [ref.band_index for ref in refs if not 1 <= ref.band_index <= count]
    if beyond:
        raise DecodeError(f"the file has {count} bands, the item names band {beyond[0]}", unsigned(refs[0].href))
    wanted = np.dtype(refs[0].dtype)
    if not np.can_cast(np.dtype(dtype), wanted, "safe"):
        raise DecodeError(f"the file holds {dtype}, the item says {wanted}", unsigned(refs[0].href))


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
    code = file.crs.to_epsg() if file.crs else None
    found = GeoRef(int(code or 0), float(x0), float(y0), float(a), (file.height, file.width), height)
    return own_georef(found, ref)


def own_georef(found: GeoRef, ref: SceneRef) -> GeoRef:
    """The file's own lattice, in the catalog's coordinate system where it names none; a difference is told."""
    own = replace(found, epsg=found.epsg or ref.georef.epsg)
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
