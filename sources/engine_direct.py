"""The default engine: rasterio, each file opened once, whole windows read, every band of a file in one read."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.crs import CRS as RasterioCRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.warp import reproject
from rasterio.windows import Window

from schemas.errors import DecodeError
from schemas.georef import GeoRef
from schemas.scene import Opener, SceneRef
from sources.engine import FailedReads, blank
from sources.faults import as_source_error
from sources.lattice import common_window
from sources.openers import driver_of, unsigned

log = logging.getLogger(__name__)

KERNEL_RADIUS_PX = {"nearest": 1, "bilinear": 2, "cubic": 3, "average": 1}
"""Source pixels that a kernel reaches on each side, where source and target pixels are of one size."""


@dataclass(frozen=True, slots=True)
class _Patch:
    """Pixels of one file, on the file's own lattice."""

    pixels: NDArray[Any]
    """(bands, rows, columns)."""
    georef: GeoRef
    """Where they lie."""


class DirectEngine:
    """See `sources.engine.Engine`."""

    def __init__(self) -> None:
        self._failed = FailedReads()

    def read(
        self,
        refs: Sequence[SceneRef],
        target: GeoRef,
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> NDArray[Any]:
        """See `sources.engine.Engine.read`."""
        answer = blank(refs, target, fill)
        files: dict[str, list[int]] = {}
        for place, ref in enumerate(refs):
            files.setdefault(ref.href, []).append(place)
        warps: dict[GeoRef, list[tuple[list[int], _Patch]]] = {}
        with rasterio.Env(**self._failed.options(refs, opener)):
            for href, places in files.items():
                patch = self._read_file(href, [refs[place] for place in places], target, resampling, opener)
                if patch is None:
                    continue
                if patch.georef.is_aligned(target):
                    _paste(answer, places, patch, target)
                else:
                    warps.setdefault(patch.georef, []).append((places, patch))
            for georef, parts in warps.items():
                places = [place for group, _ in parts for place in group]
                pixels = np.concatenate([patch.pixels for _, patch in parts])
                _warp(
                    answer,
                    places,
                    [refs[place] for place in places],
                    _Patch(pixels, georef),
                    target,
                    resampling,
                )
        return answer

    def _read_file(
        self, href: str, refs: Sequence[SceneRef], target: GeoRef, resampling: str, opener: Opener
    ) -> _Patch | None:
        """The pixels of one file that the target needs; None where they do not meet."""
        resolved = opener.resolve(href)
        try:
            with rasterio.open(resolved, driver=driver_of(href)) as file:
                source = _file_georef(file, refs[0])
                near = source.in_zone(target.epsg) or source
                window = _needed_window(near, target, resampling)
                if window is None:
                    return None
                beyond = [ref.band_index for ref in refs if not 1 <= ref.band_index <= file.count]
                if beyond:
                    raise DecodeError(
                        f"the file has {file.count} bands, the item names band {beyond[0]}", unsigned(href)
                    )
                pixels = file.read([ref.band_index for ref in refs], window=window)
        except (RasterioError, OSError) as error:
            self._failed.note(refs)
            raise as_source_error(error, href, resolved) from error
        self._failed.clear(refs)
        wanted = np.dtype(refs[0].dtype)
        if not np.can_cast(pixels.dtype, wanted, "safe"):
            raise DecodeError(f"the file holds {pixels.dtype}, the item says {wanted}", unsigned(href))
        x0 = near.x0 + window.col_off * near.pixel_size
        y0 = near.y0 - window.row_off * near.pixel_size
        georef = GeoRef(near.epsg, x0, y0, near.pixel_size, (int(window.height), int(window.width)))
        return _Patch(pixels.astype(wanted, copy=False), georef)


def _file_georef(file: Any, ref: SceneRef) -> GeoRef:
    """The lattice of an open file: its own, which is believed before the catalog's.

    Raises:
        DecodeError: rotated or not square, which the item did not say.
    """
    a, b, x0, d, e, y0 = file.transform[:6]
    if b or d or a <= 0 or abs(a + e) > 1e-6 * a:
        raise DecodeError(
            f"the file's grid is not square and north-up: {tuple(file.transform[:6])}", unsigned(ref.href)
        )
    code = file.crs.to_epsg() if file.crs else None
    own = GeoRef(int(code or ref.georef.epsg), float(x0), float(y0), float(a), (file.height, file.width))
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


def _needed_window(source: GeoRef, target: GeoRef, resampling: str) -> Window | None:
    """The part of the source that the target needs, kernel included; None where they do not meet."""
    if source.is_aligned(target):
        common = common_window(source, target)
        if common is None:
            return None
        rows, columns = common.source_rows, common.source_columns
        return Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    left, bottom, right, top = _bounds_in(source.epsg, target)
    zoom = max(1.0, (right - left) / source.pixel_size / target.shape_yx[1])
    margin = math.ceil(KERNEL_RADIUS_PX[resampling] * zoom) + 2
    first_column = max(0, math.floor((left - source.x0) / source.pixel_size) - margin)
    last_column = min(source.shape_yx[1], math.ceil((right - source.x0) / source.pixel_size) + margin)
    first_row = max(0, math.floor((source.y0 - top) / source.pixel_size) - margin)
    last_row = min(source.shape_yx[0], math.ceil((source.y0 - bottom) / source.pixel_size) + margin)
    if last_column <= first_column or last_row <= first_row:
        return None
    return Window(first_column, first_row, last_column - first_column, last_row - first_row)


def _bounds_in(epsg: int, target: GeoRef) -> tuple[float, float, float, float]:
    if epsg == target.epsg:
        return target.bounds_xyxy
    left, bottom, right, top = _transformer(target.epsg, epsg).transform_bounds(*target.bounds_xyxy, densify_pts=21)
    return float(left), float(bottom), float(right), float(top)


def _paste(answer: NDArray[Any], places: Sequence[int], patch: _Patch, target: GeoRef) -> None:
    common = common_window(patch.georef, target)
    if common is not None:
        for place, layer in zip(places, patch.pixels, strict=True):
            answer[place, common.target_rows, common.target_columns] = layer[common.source_rows, common.source_columns]


def _warp(
    answer: NDArray[Any],
    places: Sequence[int],
    refs: Sequence[SceneRef],
    patch: _Patch,
    target: GeoRef,
    resampling: str,
) -> None:
    """One resampling of all bands together, with the exact transformation; no-data pixels have no weight."""
    nodata = {ref.nodata for ref in refs}
    outside = {float(answer[place, 0, 0]) for place in places}
    if len(nodata) > 1 or len({repr(value) for value in outside}) > 1:
        for row, (place, ref) in enumerate(zip(places, refs, strict=True)):
            _warp(answer, [place], [ref], _Patch(patch.pixels[row : row + 1], patch.georef), target, resampling)
        return
    empty = nodata.pop()
    if empty is None and patch.pixels.dtype.kind == "f":
        empty = float("nan")
    pixels = patch.pixels
    if empty is not None and pixels.dtype.kind == "f":
        pixels = np.where(np.isnan(pixels), pixels.dtype.type(empty), pixels)
    moved, _ = reproject(
        pixels,
        answer[list(places)],
        src_transform=Affine(*patch.georef.transform),
        src_crs=RasterioCRS.from_epsg(patch.georef.epsg),
        src_nodata=empty,
        dst_transform=Affine(*target.transform),
        dst_crs=RasterioCRS.from_epsg(target.epsg),
        dst_nodata=outside.pop(),
        resampling=Resampling[resampling],
        init_dest_nodata=True,
        tolerance=0.0,
        num_threads=1,
        UNIFIED_SRC_NODATA="NO",
    )
    answer[list(places)] = moved


@lru_cache(maxsize=256)
def _transformer(from_epsg: int, to_epsg: int) -> Transformer:
    return Transformer.from_crs(CRS.from_epsg(from_epsg), CRS.from_epsg(to_epsg), always_xy=True)
