"""ESA WorldCover: the Map layer, codes 10..100, 0 = no data."""

from __future__ import annotations

from labelers.raster import RasterLabeler


class WorldCoverLabeler(RasterLabeler):
    """Codes as they are; 2020 (v100) and 2021 (v200) share them."""

    def __init__(self, legend: str = "worldcover") -> None:
        super().__init__(legend)
