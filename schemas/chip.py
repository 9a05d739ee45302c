"""The nouns of a run: chip specifications, tiles, outcomes, and the pixels of a chip.

A `Chip` holds one `xarray.Dataset` per layer (modality group). `check_layer` says what such a dataset must be:

    data    (time, band, y, x)  as stored, nodata included
    valid   (time, y, x) uint8  see `Valid`
    scale   (time,) float64     physical = stored * scale + offset
    offset  (time,) float64
    count   (time, y, x) uint8  clear dates behind each pixel; composites only
    coordinates: time (datetime64[ns], rising; NaT for an empty step), band (str), y, x (pixel centres)
    attrs: modality, group, georef (GeoRef), gsd_m, nodata, unit
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import xarray as xr

from schemas.georef import Bounds, GeoRef
from schemas.labels import FeatureTable, LabelLayer, RasterLayer
from schemas.scene import SceneItem

State = Literal["kept", "rejected", "failed"]


PLACE_PREFIX = "place."
"""Begins the columns of a chip's row that came with its place: of a table of points, of a sampler."""


class Valid(IntEnum):
    """What a pixel of a validity mask says (docs/dataset.md)."""

    NODATA = 0
    CLEAR = 1
    CLOUD = 2
    SHADOW = 3
    SNOW = 4
    HAZE = 5
    WATER = 6
    DEFECTIVE = 7


VALID_PRECEDENCE: tuple[int, ...] = (0, 7, 2, 3, 5, 4, 6, 1)
"""Where several hold, the first of these wins."""


@dataclass(frozen=True, slots=True)
class ChipSpec:
    """What to build, decided before any pixel is read."""

    chip_id: str
    """Letters, digits, ``_`` and ``-``; the key in every shard."""
    epsg: int
    """UTM zone of the chip."""
    bounds_xyxy: Bounds
    """Left, bottom, right, top in metres."""
    region: str
    """Name of the recipe's region that holds it."""
    split: str
    """train, val or test."""
    block_id: str
    """The block that decided the split."""
    start_utc: datetime
    """Begin of the time window."""
    end_utc: datetime
    """End of the time window."""
    reference_utc: datetime
    """What time gaps are counted from."""
    footprint_wkb: bytes
    """EPSG:4326 polygon."""
    majortom_cell: str = ""
    """Major TOM cell (10 km) of the centre."""
    columns: tuple[tuple[str, str | int | float | bool], ...] = ()
    """What a table or a sampler says of the place, by name: ``place.<name>`` in the chip's row."""
    dates: tuple[tuple[str, date], ...] = ()
    """Days that tables of the recipe give this chip (an event, a season's start): `schemas.recipe_windows.date_key`."""

    def georef(self, gsd_m: float) -> GeoRef:
        """The chip's own grid at a GSD that divides it.

        Raises:
            ValueError: the GSD does not divide the chip.
        """
        left, bottom, right, top = self.bounds_xyxy
        rows, columns = (top - bottom) / gsd_m, (right - left) / gsd_m
        if abs(rows - round(rows)) > 1e-6 or abs(columns - round(columns)) > 1e-6:
            raise ValueError(f"{gsd_m} m does not divide the chip {self.chip_id} of {right - left} m")
        return GeoRef(self.epsg, left, top, gsd_m, (round(rows), round(columns)))


@dataclass(frozen=True, slots=True)
class Tile:
    """The unit of work: neighbouring chips and the items that may cover them."""

    tile_id: str
    """Stable name, from the chips' lattice."""
    epsg: int
    """UTM zone of all its chips."""
    chips: tuple[ChipSpec, ...]
    """The chips, ordered by id."""
    items: Mapping[str, tuple[SceneItem, ...]]
    """Modality or label source -> candidate items, in time order."""

    def only(self, chip_ids: Container[str] | None) -> Tile:
        """The tile with some of its chips alone; all where None."""
        if chip_ids is None:
            return self
        return replace(self, chips=tuple(chip for chip in self.chips if chip.chip_id in chip_ids))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a planned chip. A value, never an exception."""

    chip_id: str
    """Which chip."""
    state: State
    """kept, rejected or failed."""
    reason: str = ""
    """Rule that rejected it, or the message of the failure."""
    measured: float | None = None
    """What was measured, for a rejection."""
    limit: float | None = None
    """The limit it broke."""
    error_class: str = ""
    """Class of the failure."""
    url: str = ""
    """What was being read, unsigned."""
    attempts: int = 1
    """How often it was tried."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Component -> hash of all that decides it (`chips.inputs`)."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Residual shift of a layer against its reference, in metres on the ground."""

    dx_m: float
    """Content must move this far east to match the reference."""
    dy_m: float
    """Content must move this far north to match the reference."""
    reliability: float
    """0..1; below the recipe's limit the estimate is not used."""
    status: Literal["measured", "corrected", "unreliable", "not_applicable"]
    """What was done with it."""
    reference: str = ""
    """Modality and date it was measured against."""
    method: str = ""
    """How it was measured."""
    sigma_m: float | None = None
    """Standard deviation of dx_m and dy_m that the estimate itself expects; None where nothing was measured."""
    pixel_m: float = 0.0
    """Pixel of the coarser of the two pictures."""
    applied_dx_m: float = 0.0
    """How far east the content is moved, or was where the status says ``corrected``."""
    applied_dy_m: float = 0.0
    """How far north."""
    applied_by: Literal["", "chip", "scene"] = ""
    """Whose estimate that is: the chip's own, or the acquisition's; empty where nothing moves."""


@dataclass(frozen=True, slots=True)
class DateSource:
    """Where one date of a modality comes from."""

    pictures: tuple[tuple[SceneItem, ...], ...] = ()
    """The acquisitions behind it in time order, several in a composite; each the items that are its parts, the first
    of which lies on top. Empty for a step of a series at which the chip has nothing."""
    window: str = ""
    """Id of the window it was taken from; empty where the recipe names none."""
    reference_utc: datetime | None = None
    """The window's reference."""

    @property
    def items(self) -> tuple[SceneItem, ...]:
        """Every item used."""
        return tuple(item for parts in self.pictures for item in parts)

    @property
    def lead(self) -> SceneItem | None:
        """The item that stands for the date: on top of the picture, of a composite's middle one; None without any."""
        return self.pictures[(len(self.pictures) - 1) // 2][0] if self.pictures else None

    @property
    def time_utc(self) -> datetime | None:
        """Its acquisition time; None without any."""
        return self.lead.datetime_utc if self.lead is not None else None


@dataclass(frozen=True)
class Chip:
    """Pixels and label sources of one chip."""

    spec: ChipSpec
    """What was asked for."""
    layers: Mapping[str, xr.Dataset]
    """Group name (``s2_10m``) -> dataset, see `check_layer`."""
    provenance: Mapping[str, tuple[DateSource, ...]]
    """Modality -> where each of its dates comes from."""
    shifts: Mapping[str, tuple[Shift, ...]] = field(default_factory=dict)
    """Modality -> one shift per date."""
    rasters: Mapping[str, RasterLayer] = field(default_factory=dict)
    """Label source -> its classes on the chip's label grid, at its own codes."""
    features: FeatureTable | None = None
    """OSM features that touch the chip, in the chip's CRS."""
    labels: Mapping[str, LabelLayer] = field(default_factory=dict)
    """Label source or ``fused`` -> label layer."""


def check_layer(layer: xr.Dataset) -> xr.Dataset:
    """The same dataset, if it is a layer as this module's docstring says.

    Raises:
        ValueError: naming what is missing or of the wrong shape or type.
    """
    known = layer.variables
    for name, dims in {
        "data": ("time", "band", "y", "x"),
        "valid": ("time", "y", "x"),
        "scale": ("time",),
        "offset": ("time",),
    }.items():
        if name not in known:
            raise ValueError(f"layer has no {name!r}")
        if known[name].dims != dims:
            raise ValueError(f"{name!r} has dimensions {known[name].dims}, wanted {dims}")
    for name in ("valid", "count"):
        if name in known and (known[name].dtype != np.uint8 or known[name].dims != ("time", "y", "x")):
            raise ValueError(f"{name} is {known[name].dtype} {known[name].dims}, wanted uint8 of time, y, x")
    times = known["time"].values[~np.isnat(known["time"].values)]
    if times.size and bool(np.any(np.diff(times.astype("int64")) < 0)):
        raise ValueError("times do not rise")
    missing = {"modality", "group", "georef", "gsd_m", "nodata", "unit"} - set(layer.attrs)
    if missing:
        raise ValueError(f"layer attributes missing: {sorted(missing)}")
    georef: Any = layer.attrs["georef"]
    if tuple(known["data"].shape[-2:]) != tuple(georef.shape_yx):
        raise ValueError(f"pixels {known['data'].shape[-2:]} do not fit the georeference {georef.shape_yx}")
    return layer
