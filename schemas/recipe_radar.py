"""The recipe about radar in ground range: how amplitude becomes backscatter on the map."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from schemas.recipe_base import Model, Name


class Terrain(Model):
    """Where heights come from, for range-Doppler terrain correction."""

    catalog: Name | None = None
    """Catalog to search for elevation items."""
    collection: str | None = None
    """STAC collection id (``cop-dem-glo-30``)."""
    asset: str = "data"
    """Asset key."""
    href: str | None = None
    """An elevation raster instead of a catalog; may hold ``${TERRAWEFT_...}``."""
    geoid: str = "egm2008"
    """What heights count from: ``egm2008`` (Copernicus DEM), ``egm96`` (NASADEM, SRTM), ``ellipsoid``, or the path of
    a geoid grid."""
    missing: Literal["nodata", "sea_level"] = "nodata"
    """Where no raster has data: no backscatter, or the sea (Copernicus DEM has no tiles over oceans)."""

    @model_validator(mode="after")
    def _somewhere(self) -> Terrain:
        if self.href is None and (self.catalog is None or self.collection is None):
            raise ValueError("give catalog and collection, or href")
        return self


class GroundRange(Model):
    """Sentinel-1 GRD: calibration and geocoding."""

    quantity: Literal["sigma0", "beta0", "gamma0"] = "sigma0"
    """Which backscatter coefficient; all with respect to the ellipsoid, none is flattened by terrain."""
    denoise: bool = True
    """Whether thermal noise is subtracted (once: not where the processor did it)."""
    terrain: Terrain | None = None
    """None: geocoded by the product's tie points alone, which is approximate in relief, and marked so."""
