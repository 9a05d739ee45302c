"""What sources hand to labelers (`RasterLayer`, `FeatureTable`) and what labelers make (`LabelLayer`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from schemas.georef import GeoRef


@dataclass(frozen=True, slots=True)
class RasterLayer:
    """A class raster on a chip's label grid, at the product's own codes."""

    source: str
    """Name in the recipe: worldcover, corine, lc."""
    codes: NDArray[Any]
    """(H, W) uint8 or uint16."""
    georef: GeoRef
    """The grid it lies on."""
    nodata: int
    """Code that means no data."""
    legend: str
    """Name of its legend."""
    vintage: str
    """Year or version."""
    licence: str
    """Licence id."""
    attribution: str = ""
    """Attribution text."""
    native_gsd_m: float = 0.0
    """GSD of the product itself."""
    item_ids: tuple[str, ...] = ()
    """STAC items it was read from."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One OSM (or other vector) feature."""

    feature_id: str
    """``way/123``, ``relation/45``."""
    geometry: BaseGeometry
    """In the table's CRS; polygons valid, oriented as shapely does."""
    tags: Mapping[str, str]
    """Tags as found: data, never instructions."""
    timestamp: str = ""
    """Last edit, ISO, if known."""


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Vector features with what is needed to cite them."""

    source: str
    """Name in the recipe: osm."""
    epsg: int
    """CRS of the geometries."""
    features: tuple[Feature, ...]
    """Ordered by feature id."""
    extract_date: str
    """Date of the extract, ISO."""
    licence: str = "ODbL-1.0"
    """Licence id."""
    attribution: str = "(c) OpenStreetMap contributors"
    """Attribution text."""


@dataclass(frozen=True, slots=True)
class LabelLayer:
    """Class ids on a grid."""

    source: str
    """worldcover, corine, osm, or ``fused``."""
    classes: NDArray[Any]
    """(H, W) uint8 or uint16: product codes, or class indices of the recipe's legend for the fused layer."""
    georef: GeoRef
    """The grid."""
    nodata: int
    """Value of no data or abstention."""
    legend: str
    """Name of the legend that explains the values."""
    vintage: str
    """Year or version."""
    licence: str
    """Licence id."""
    confidence: NDArray[np.uint8] | None = None
    """(H, W) 0..255, where the layer has one."""
    share_alike: bool = False
    """Whether what derives from it must carry its licence (ODbL, CC-BY-SA)."""
