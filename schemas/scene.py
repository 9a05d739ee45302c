"""What a catalog offers, before reading: `SceneItem` (one acquisition) and `SceneRef` (one band of one asset)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from schemas.georef import GeoRef

MaskKind = Literal["scl", "qa_pixel_c2", "qa_pixel_c2_tm", "pixel_qa_c1", "fmask_hls", "enmap_ql", "none"]


@dataclass(frozen=True, slots=True)
class SceneRef:
    """One band of one asset of one item."""

    item_id: str
    """STAC item id."""
    asset_key: str
    """Key of the asset in the item."""
    href: str
    """Unsigned address."""
    band: str
    """Name in the sensor profile (``B02``), or of the mask."""
    band_index: int
    """1-based band of the file."""
    georef: GeoRef
    """Lattice of the stored raster."""
    dtype: str
    """NumPy name of the stored type."""
    nodata: float | None
    """Stored value that means no data, if there is one."""
    scale: float = 1.0
    """physical = stored * scale + offset, as this provider delivers it."""
    offset: float = 0.0
    """See `scale`."""
    unit: str = ""
    """Unit of the physical value: reflectance, K, linear, dB, m."""
    needs: tuple[tuple[str, str], ...] = ()
    """What else a reader needs where pixels alone do not do: role and address or setting (radar geometry's
    annotation, calibration, noise, heights)."""


ONE_PICTURE = timedelta(days=1)
"""Items whose range is no longer are acquisitions: their begin and end are seconds apart."""


@dataclass(frozen=True, slots=True)
class SceneItem:
    """One acquisition as one provider offers it, with every decision about it already taken."""

    catalog: str
    """Name of the catalog in the recipe."""
    collection: str
    """STAC collection id."""
    item_id: str
    """STAC item id."""
    modality: str
    """Name of the modality or label source in the recipe."""
    sensor: str
    """Sensor profile, for example ``sentinel-2-l2a``."""
    datetime_utc: datetime
    """Acquisition time, or the begin of its range."""
    end_utc: datetime | None
    """End of the range, for products that have one."""
    footprint_wkb: bytes
    """EPSG:4326 geometry."""
    refs: tuple[SceneRef, ...]
    """Data bands in the order of the recipe."""
    mask_kind: MaskKind = "none"
    """How the mask assets are to be read."""
    masks: tuple[SceneRef, ...] = ()
    """Mask assets."""
    platform: str = ""
    """sentinel-2a, landsat-8, enmap, ..."""
    baseline: str = ""
    """Processing baseline or collection number."""
    radiometry: str = ""
    """Why scale and offset are what they are."""
    licence: str = ""
    """Licence id."""
    attribution: str = ""
    """Attribution text."""
    orbit_state: str = ""
    """ascending, descending or empty."""
    relative_orbit: int | None = None
    """Relative orbit number."""
    sun_azimuth_deg: float | None = None
    """Degrees clockwise from north."""
    sun_elevation_deg: float | None = None
    """Degrees above the horizon."""
    incidence_deg: float | None = None
    """View or incidence angle."""
    cloud_cover: float | None = None
    """Scene's percentage, None where the provider does not say."""
    datatake: str = ""
    """Key of the acquisition: items that share it are parts of one picture and may be mosaicked."""
    content_hash: str = ""
    """sha256 of the item less addresses and links: what input hashes are made of."""
    extra: tuple[tuple[str, str], ...] = field(default=())
    """Further facts for labels (version, year, extract date)."""
    start_utc: datetime | None = None
    """Begin of the range, where the item states a moment of its own beside it."""

    @property
    def range_utc(self) -> tuple[datetime, datetime]:
        """First and last moment of what it shows: those of a product of several days (a monthly mosaic), else its
        acquisition time, twice.
        """
        first = self.datetime_utc if self.start_utc is None else self.start_utc
        if self.end_utc is None or self.end_utc - first <= ONE_PICTURE:
            return self.datetime_utc, self.datetime_utc
        return first, self.end_utc


class Opener(Protocol):
    """How an href is opened. Made in `flows`, handed down; pickles without secrets in clear."""

    @property
    def allow_local(self) -> bool:
        """Whether this machine and private networks may be connected to."""
        ...

    def resolve(self, href: str) -> str:
        """The address to read now: signed, or a local path."""
        ...

    def headers(self, href: str) -> Mapping[str, str]:
        """HTTP headers of a request for it (an ``Authorization``); secret, so never logged or stored."""
        ...

    def refresh(self, href: str) -> None:
        """The server refused the address as `resolve` and `headers` gave it: forget a signature or token."""
        ...

    def slot(self, href: str) -> AbstractContextManager[None]:
        """Held while its host is asked: waits until the host's limits allow one more request."""
        ...

    def gdal_options(self) -> dict[str, str]:
        """GDAL configuration for reads through this opener."""
        ...
