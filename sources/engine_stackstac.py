"""stackstac 0.5.1 behind the engine's contract, called as it must be to be exact.

Plain item dicts with ``proj:epsg``; always ``epsg``, ``resolution`` and ``bounds`` snapped to the grid (without
bounds it takes a wrong extent in silence); ``snap_bounds=False``; ``rescale=False``; NumPy scalars as ``fill_value``;
``errors_as_nodata=()``, because its default turns a missing file into NaN. Several bands of one file, which it refuses,
and what has to be resampled are read by the direct engine (`sources.engine.by_direct`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from schemas.errors import MissingExtraError
from schemas.georef import GeoRef
from schemas.scene import Opener, SceneRef
from sources.engine import UnionReads, by_direct, outside_value
from sources.faults import as_source_error
from sources.lattice import coverage
from sources.openers import gdal_settings, note_failure, note_success
from sources.raster_limits import check_format

CHUNK = 2048
"""Target pixels per side and task: one task per band of a tile."""


class StackstacEngine(UnionReads):
    """See `sources.engine.Engine`."""

    def read(
        self,
        refs: Sequence[SceneRef],
        target: GeoRef,
        resampling: str,
        opener: Opener,
        fill: float | None = None,
    ) -> NDArray[Any]:
        """See `sources.engine.Engine.read`."""
        answer, mine = by_direct(refs, target, resampling, opener, fill)
        groups: dict[tuple[str, int], list[int]] = {}
        for place in mine:
            ref = refs[place]
            groups.setdefault((repr(outside_value(ref, fill)), ref.georef.epsg), []).append(place)
        for places in groups.values():
            near = target.in_zone(refs[places[0]].georef.epsg) or target
            pixels = self._stack([refs[place] for place in places], near, resampling, opener, fill)
            if pixels is None:
                continue
            for place, layer in zip(places, pixels, strict=True):
                inside = coverage(refs[place].georef, target)
                answer[place] = layer if inside is None else np.where(inside, layer, answer[place])
        return answer

    def _stack(
        self, refs: Sequence[SceneRef], target: GeoRef, resampling: str, opener: Opener, fill: float | None
    ) -> NDArray[Any] | None:
        """(refs, y, x) of single-band files; None where none of them meets the target."""
        try:
            import stackstac
        except ImportError as error:
            raise MissingExtraError.of("stackstac", "build") from error
        dtype = np.dtype(refs[0].dtype)
        addresses = {ref.href: opener.resolve(ref.href) for ref in refs}
        env = stackstac.DEFAULT_GDAL_ENV.updated(always=gdal_settings(opener, sorted(addresses)))
        for href in addresses:
            check_format(href, opener)
        try:
            lazy = stackstac.stack(
                [_item(refs, addresses)],
                assets=[_key(place) for place in range(len(refs))],
                epsg=target.epsg,
                resolution=target.pixel_size,
                bounds=target.bounds_xyxy,
                snap_bounds=False,
                resampling=Resampling[resampling],
                chunksize=CHUNK,
                dtype=dtype,
                fill_value=dtype.type(outside_value(refs[0], fill)),
                rescale=False,
                xy_coords="center",
                properties=False,
                band_coords=False,
                gdal_env=env,
                errors_as_nodata=(),
            )
            if lazy.sizes["time"] == 0:
                return None
            pixels: NDArray[Any] = lazy.data[0].compute(scheduler="synchronous")
        except RuntimeError as error:
            for href in addresses:
                note_failure(href)  # which of them it was the message may not say
            named = next((ref for ref in refs if addresses[ref.href] in str(error)), refs[0])
            raise as_source_error(error, named.href, addresses[named.href]) from error
        note_success(addresses)
        return pixels


def _key(place: int) -> str:
    return f"band_{place:04d}"


def _item(refs: Sequence[SceneRef], addresses: dict[str, str]) -> dict[str, Any]:
    """A plain item of just these bands; the projection stands where stackstac looks for it."""
    assets = {
        _key(place): {
            "href": addresses[ref.href],
            "type": "image/tiff",
            "proj:epsg": ref.georef.epsg,
            "proj:bbox": list(ref.georef.bounds_xyxy),
        }
        for place, ref in enumerate(refs)
    }
    return {
        "id": refs[0].item_id,
        "type": "Feature",
        "bbox": [-180.0, -90.0, 180.0, 90.0],
        "properties": {"datetime": "2000-01-01T00:00:00Z", "proj:epsg": refs[0].georef.epsg},
        "assets": assets,
        "links": [],
    }
