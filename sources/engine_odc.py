"""odc-stac behind the engine's contract: the maintained second engine.

The target grid is given as a GeoBox, type and no-data value per band, and a failed read is an error (never a hole).
Several bands of one file and what has to be resampled are read by the direct engine (`sources.engine.by_direct`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import MissingExtraError
from schemas.georef import GeoRef
from schemas.scene import Opener, SceneRef
from sources.engine import UnionReads, by_direct, outside_value
from sources.faults import READ_ERRORS, as_source_error
from sources.lattice import coverage
from sources.openers import gdal_settings, note_success
from sources.raster_limits import check_format

PROJECTION_EXTENSION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


class OdcEngine(UnionReads):
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
        for place in mine:
            ref = refs[place]
            inside = coverage(ref.georef, target)
            layer = self._load(ref, target.in_zone(ref.georef.epsg) or target, resampling, opener, fill)
            answer[place] = layer if inside is None else np.where(inside, layer, answer[place])
        return answer

    def _load(self, ref: SceneRef, target: GeoRef, resampling: str, opener: Opener, fill: float | None) -> NDArray[Any]:
        try:
            import odc.stac
            import pystac
            from affine import Affine
            from odc.geo.geobox import GeoBox
            from odc.loader import configure_rio
        except ImportError as error:
            raise MissingExtraError.of("odc-stac", "build") from error
        logging.getLogger("odc.loader").setLevel(logging.CRITICAL)  # what it reports it raises, too; with the signature
        check_format(ref.href, opener)
        address = opener.resolve(ref.href)
        item = pystac.Item(ref.item_id, None, [-180.0, -90.0, 180.0, 90.0], datetime(2000, 1, 1, tzinfo=UTC), {})
        item.collection_id = "terraweft"
        item.stac_extensions = [PROJECTION_EXTENSION]
        lattice = {
            "proj:code": f"EPSG:{ref.georef.epsg}",
            "proj:shape": list(ref.georef.shape_yx),
            "proj:transform": list(ref.georef.transform),
        }
        asset = pystac.Asset(address, media_type="image/tiff", roles=["data"], extra_fields=lattice)
        item.add_asset("band", asset)
        empty = outside_value(ref, fill)
        config = {"terraweft": {"assets": {"band": {"data_type": ref.dtype, "nodata": empty}}}}
        box = GeoBox(target.shape_yx, Affine(*target.transform), f"EPSG:{target.epsg}")
        options: dict[str, Any] = {**gdal_settings(opener, [ref.href])}
        configure_rio(cloud_defaults=False, verbose=False, **options)
        try:
            loaded = odc.stac.load(
                [item],
                bands=["band"],
                geobox=box,
                resampling=resampling,
                dtype=ref.dtype,
                nodata=empty,
                groupby="id",
                stac_cfg=config,
                fail_on_error=True,
                use_overviews=False,
                chunks=None,
                pool=1,
            )
        except READ_ERRORS as error:
            raise as_source_error(error, ref.href, address) from error
        pixels: NDArray[Any] = loaded["band"].values[0]
        note_success([ref.href])
        return pixels
