"""Which scenes a world holds: the acquisition table turned into scenes with their grids."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .place import SOUTH_NORTHING_SHIFT_M, Grid, Lattice, Region, project, regions_of, snapped_grid, zone_bounds
from .spectra import table

BASE_GSD_M = {"sentinel-2": 10.0, "sentinel-1": 10.0, "landsat": 30.0, "enmap": 30.0}
"""Pixel size at which a sensor is simulated."""

SEAM_TOP_M = 5_300_040.0
"""Upper edge of the MGRS tiles south of the 5,300,000 m seam."""

SEAM_OVERLAP_M = 600.0
"""How far the tiles north of the seam reach below it (9,840 m in the mission's own tiling)."""

BORDER_OVERLAP_M = 1200.0
"""How far Sentinel-2's tiles reach over the border between UTM zones, at most a quarter of the region."""

MGRS_TILES = {
    (32632, "upper"): "32UQU",
    (32632, "lower"): "32TQT",
    (32633, "upper"): "33UTP",
    (32633, "lower"): "33TTN",
}
MGRS_SOUTH = "34HCH"

TRACK_NORMAL = (0.974, -0.225)
"""Across-track direction of Sentinel-2's descending pass."""


@dataclass(frozen=True)
class Scene:
    """One acquisition of one sensor in one zone."""

    key: str
    """Unique name."""
    sensor: str
    """``sentinel-2``, ``sentinel-1``, ``landsat`` or ``enmap``."""
    region: Region
    """Where."""
    time: datetime
    """When, UTC."""
    grid: Grid
    """Its raster at the sensor's base pixel size."""
    row: dict[str, Any] = field(default_factory=dict)
    """Its row in the acquisition table."""

    @property
    def number(self) -> int:
        """Seed of what is random in it."""
        return zlib.crc32(self.key.encode())

    @property
    def sky_number(self) -> int:
        """Seed of its clouds: the same in every zone."""
        return zlib.crc32(f"{self.sensor}-{self.region.name}-{self.row['time']}".encode()) % 1_000_003

    @property
    def shift_m(self) -> tuple[float, float]:
        """Misregistration, (east, north): the ground at p appears at p + shift."""
        east, north = self.row["shift_m"]
        return (float(east), float(north))

    @property
    def haze(self) -> float:
        """0..1."""
        return float(self.row.get("haze", 0.0))

    @property
    def snow(self) -> float:
        """0..1."""
        return float(self.row.get("snow", 0.0))

    @property
    def wet(self) -> float:
        """0..1, moisture of the soil."""
        return float(self.row.get("wet", 0.0))

    @property
    def ascending(self) -> bool:
        """Whether the pass goes north."""
        return bool(self.row.get("pass") == "ascending")

    @cached_property
    def warmth(self) -> float:
        """-1 in deep winter, 1 in high summer."""
        day = self.time.timetuple().tm_yday + (182.6 if self.region.southern else 0.0)
        return float(-np.cos(2 * np.pi * (day - 18) / 365.25))

    @property
    def air_kelvin(self) -> float:
        """Air temperature at the overpass."""
        return 283.0 + 11.5 * self.warmth

    @property
    def heating(self) -> float:
        """How strongly surfaces differ from the air: 1 in summer, 0.2 in winter."""
        return 0.6 + 0.4 * self.warmth

    def missing(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Where the datatake ends: beyond a diagonal through the region (points in the truth's frame)."""
        share = float(self.row.get("partial", 0.0))
        if not share:
            return np.zeros(x.shape, dtype=bool)
        cx, cy = (float(v) for v in project(4326, self.region.truth_epsg, *self.region.centre_lonlat))
        edge = (0.5 - share) * self.region.size_m[0]
        return np.asarray((x - cx) * TRACK_NORMAL[0] + (y - cy) * TRACK_NORMAL[1] > edge)


def lattice_of(sensor: str, region: Region, epsg: int) -> Lattice:
    """Where a sensor's pixel edges lie: see the dataset's notes on grids.

    Sentinel-2 is anchored at northing 10,000,000 in the south (60 m edges at y = 40 mod 60); Landsat stays in 326xx
    with negative northings; Landsat and EnMAP edges lie at odd multiples of 15 m of their own zone.
    """
    if sensor == "sentinel-2":
        return Lattice(60.0, 0.0, SOUTH_NORTHING_SHIFT_M % 60.0 if region.southern else 0.0)
    if sensor == "sentinel-1":
        return Lattice(10.0)
    return Lattice(30.0, 15.0, 15.0)


def _strip(region: Region, epsg: int) -> tuple[float, float, float, float]:
    """Bounds of Sentinel-2 in one zone: its side of the border and some overlap; all where there is no border."""
    x0, y0, x1, y1 = zone_bounds(region, epsg)
    if len(region.epsgs) == 1:
        return (x0, y0, x1, y1)
    middle, overlap = (x0 + x1) / 2, min(BORDER_OVERLAP_M, region.size_m[0] / 4)
    return (x0, y0, middle + overlap, y1) if epsg == region.epsgs[0] else (middle - overlap, y0, x1, y1)


def _grid_of(sensor: str, region: Region, epsg: int) -> Grid:
    """The raster of a sensor's scene in a zone."""
    if region.southern and epsg < 32700:
        x0, y0, x1, y1 = zone_bounds(region, epsg + 100)
        bounds = (x0, y0 - SOUTH_NORTHING_SHIFT_M, x1, y1 - SOUTH_NORTHING_SHIFT_M)
    else:
        bounds = _strip(region, epsg) if sensor == "sentinel-2" else zone_bounds(region, epsg)
    return snapped_grid(epsg, bounds, lattice_of(sensor, region, epsg), BASE_GSD_M[sensor])


def scenes_of(size: str, at: tuple[float, float] | None = None) -> list[Scene]:
    """All scenes of a world (see :func:`sandbox.place.regions_of`), in a fixed order."""
    out = []
    for region in regions_of(size, at):
        for sensor, places in table("acquisitions").items():
            for row in places[region.name]:
                if size == "tiny" and "tiny" not in row.get("sizes", ()):
                    continue
                time = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC) + timedelta(hours=region.later_h)
                for epsg in (region.epsg_of(row["epsg"]),) if "epsg" in row else region.epsgs:
                    key = f"{sensor}-{region.name}-{time:%Y%m%dT%H%M%S}-{epsg}"
                    out.append(Scene(key, sensor, region, time, _grid_of(sensor, region, epsg), row))
    return out


def mgrs_tiles(scene: Scene) -> list[tuple[str, Grid]]:
    """Sentinel-2's tiles of a scene: name and 10 m grid; two where the scene crosses the seam."""
    grid = scene.grid
    _, y0, _, y1 = grid.bounds_xyxy
    if not scene.region.is_home:
        return [(_tile_at(scene), grid)]
    if scene.region.southern:
        return [(MGRS_SOUTH, grid)]
    out = []
    for part, bottom, top in (("upper", SEAM_TOP_M - SEAM_OVERLAP_M, y1), ("lower", y0, SEAM_TOP_M)):
        height = round((min(top, y1) - max(bottom, y0)) / grid.gsd)
        row = round((y1 - min(top, y1)) / grid.gsd)
        out.append((MGRS_TILES[grid.epsg, part], grid.part(row, 0, height, grid.width)))
    return out


def _tile_at(scene: Scene) -> str:
    """The MGRS square of a scene's middle. Source: DMA TM 8358.1, chapter 3."""
    grid, zone = scene.grid, scene.grid.epsg % 100
    x, y = grid.left + grid.width * grid.gsd / 2, grid.top - grid.height * grid.gsd / 2
    band = "CDEFGHJKLMNPQRSTUVWX"[min(int((scene.region.centre_lonlat[1] + 80) // 8), 19)]
    column = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")[(zone - 1) % 3][int(x // 100_000) - 1]
    row = "ABCDEFGHJKLMNPQRSTUV"[(int(y // 100_000) + (0 if zone % 2 else 5)) % 20]
    return f"{zone:02d}{band}{column}{row}"


def scene_named(root: Path, item_id: str) -> tuple[Scene, Region, Grid]:
    """Scene, region and base grid of an item of a sandbox on disk.

    Raises:
        KeyError: there is no such item.
    """
    truth = json.loads((root / "truth" / "truth.json").read_text(encoding="utf-8"))
    entry = truth["items"][item_id]
    scene = next(s for s in scenes_of(truth["size"], truth.get("at")) if s.key == entry["scene"])
    return scene, scene.region, Grid(**entry["grid"])
