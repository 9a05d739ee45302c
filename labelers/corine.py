"""CORINE Land Cover: level-3 codes, whichever of its two codings the raster holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.raster import RasterLabeler, codes_in
from schemas.errors import UnsupportedItemError
from schemas.labels import RasterLayer

RASTER_VALUES_WITHOUT_CLASS = {48: 999, 49: 990, 50: 995, 255: 990}
"""Raster value -> code: NODATA, unclassified land, unclassified water, unclassified (colour table of the
EEA)."""

FIRST_CLC_CODE = 111
"""Raster values end below it (255 aside), CLC codes begin with it."""


class CorineLabeler(RasterLabeler):
    """Brings raster values 1..44 to CLC codes; files that hold CLC codes pass as they are."""

    def __init__(self, legend: str = "corine-44") -> None:
        super().__init__(legend)
        self._code_of_value = {i + 1: entry.code for i, entry in enumerate(self.legend.classes)}
        self._code_of_value |= RASTER_VALUES_WITHOUT_CLASS

    def to_codes(self, codes: NDArray[Any], layer: RasterLayer) -> NDArray[Any]:
        """CLC codes, uint16.

        Raises:
            UnsupportedItemError: raster values and CLC codes side by side, or a value that is neither.
        """
        found = [v for v in codes_in(codes) if v != layer.nodata and v not in self.legend.nodata]
        values = [v for v in found if v < FIRST_CLC_CODE or v == 255]
        if values and len(values) < len(found):
            raise UnsupportedItemError(f"{layer.source}: raster values and CLC codes in one raster: {found}")
        code_of = np.arange(1 << 16, dtype=np.uint16)
        for value in values:
            if value not in self._code_of_value:
                raise UnsupportedItemError(f"{layer.source}: {value} is neither a raster value nor a CLC code")
            code_of[value] = self._code_of_value[value]
        return super().to_codes(code_of.take(codes) if values else codes.astype(np.uint16), layer)
