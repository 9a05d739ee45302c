"""An engine that opens nothing: pixels follow from the address and the place. For the simulation of large runs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.georef import GeoRef
from schemas.scene import Opener, SceneRef
from sources.engine import UnionReads, outside_values

CLEAR = 4
"""Code of vegetation in the scene classification: every pixel is clear."""


class SimulatedEngine(UnionReads):
    """See `sources.engine.Engine`."""

    def read(
        self, refs: Sequence[SceneRef], target: GeoRef, resampling: str, opener: Opener, fill: float | None = None
    ) -> NDArray[Any]:
        """Reflectance that differs from scene to scene and place to place; a mask that is clear."""
        dtype, _ = outside_values(refs, fill)
        rows, columns = target.shape_yx
        place = zlib.crc32(f"{target.x0} {target.y0}".encode())
        array = np.empty((len(refs), rows, columns), dtype)
        for layer, ref in zip(array, refs, strict=True):
            seed = zlib.crc32(ref.href.encode(), place)
            ramp = np.arange(rows * columns).reshape(rows, columns) * 37
            layer[...] = CLEAR if ref.href.endswith("SCL.tif") else 500 + (seed + ramp) % 4000
        return array
