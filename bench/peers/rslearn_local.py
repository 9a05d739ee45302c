"""rslearn's Planetary Computer source with another endpoint: the same client, search and reads, on loopback."""

import os

from rslearn.data_sources.planetary_computer import Sentinel2


class LocalSentinel2(Sentinel2):
    """Sentinel-2 behind the STAC server that P0_STAC names."""

    STAC_ENDPOINT = os.environ.get("P0_STAC", "")
