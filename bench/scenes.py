"""Scenes for the reading benchmarks: COGs of four bands, and the refs to them.

Pixels are made, not real: smooth fields with noise, which deflate to 0.65 to 0.7 of their raw size as Sentinel-2's 10 m
bands do. Layout as providers write it: 16 bit, deflate, predictor 2. Made once, in ``build/bench``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import shapely
from pyproj import Transformer
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

from schemas.georef import GeoRef
from schemas.scene import SceneItem, SceneRef

BUILD = Path(__file__).parent.parent / "build" / "bench"
BANDS = ("B02", "B03", "B04", "B08")
EPSG = 32632
LEFT, TOP = 600_000.0, 5_300_040.0
FIRST_DAY = datetime(2022, 6, 1, 10, 10, 39, tzinfo=UTC)


@dataclass(frozen=True)
class SceneSet:
    """Scenes of one size on one lattice."""

    folder: Path
    """Where ``<scene>/<band>.tif`` lie."""
    scenes: int
    """How many."""
    georef: GeoRef
    """Lattice of every raster."""
    block: int
    """Pixels of a block's edge."""

    def refs(self, scene: int, base: str) -> list[SceneRef]:
        """The bands of a scene below an address."""
        return [
            SceneRef(f"s{scene:03d}", band, f"{base}/{self.folder.name}/s{scene:03d}/{band}.tif", band, 1, self.georef,
                     "uint16", 0.0, 1e-4, 0.0, "reflectance")
            for band in BANDS
        ]  # fmt: skip

    def item(self, scene: int, base: str) -> SceneItem:
        """The scene as an item of the modality ``s2``, a day after the one before."""
        return SceneItem(
            catalog="bench", collection="sentinel-2-l2a", item_id=f"s{scene:03d}", modality="s2",
            sensor="sentinel-2-l2a", datetime_utc=FIRST_DAY + timedelta(days=scene), end_utc=None,
            footprint_wkb=footprint(self.georef), refs=tuple(self.refs(scene, base)), content_hash=f"s{scene:03d}",
        )  # fmt: skip


def footprint(georef: GeoRef) -> bytes:
    """Outline in EPSG:4326."""
    to_lonlat = Transformer.from_crs(georef.epsg, 4326, always_xy=True).transform
    outline = shapely.box(*georef.bounds_xyxy).segmentize(5_000.0)
    return bytes(shapely.to_wkb(shapely.transform(outline, to_lonlat, interleaved=False)))


def make_scenes(scenes: int, size: int, block: int, distinct: int) -> SceneSet:
    """Scenes of ``size`` pixels a side; ``distinct`` of them have files of their own, the others are hard links."""
    georef = GeoRef(EPSG, LEFT, TOP, 10.0, (size, size))
    found = SceneSet(BUILD / f"scenes-{size}-{block}", scenes, georef, block)
    for scene in range(scenes):
        folder = found.folder / f"s{scene:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        for number, band in enumerate(BANDS):
            path = folder / f"{band}.tif"
            if path.exists():
                continue
            if scene >= distinct:
                path.hardlink_to(found.folder / f"s{scene % distinct:03d}" / f"{band}.tif")
                continue
            _write(path, georef, block, seed=scene * len(BANDS) + number)
    return found


def _write(path: Path, georef: GeoRef, block: int, seed: int) -> None:
    part = path.with_suffix(".part")
    profile: dict[str, Any] = {"tiled": True, "blockxsize": block, "blockysize": block}
    with rasterio.open(
        part, "w", driver="GTiff", dtype="uint16", count=1, height=georef.shape_yx[0], width=georef.shape_yx[1],
        crs=f"EPSG:{georef.epsg}", transform=Affine(*georef.transform), nodata=0, compress="deflate", zlevel=6,
        predictor=2, num_threads=2, **profile,
    ) as file:  # fmt: skip
        file.write(_field(georef.shape_yx, seed), 1)
    cog = path.with_suffix(".cog")
    rasterio.shutil.copy(part, cog, driver="COG", compress="deflate", predictor="yes", blocksize=str(block),
                         overviews="none", num_threads="2")  # fmt: skip
    part.unlink()
    cog.rename(path)


def _field(shape_yx: tuple[int, int], seed: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Smooth ground with noise, all of it data."""
    random = np.random.default_rng(seed)
    rows, columns = (-(-size // 8) for size in shape_yx)
    coarse = gaussian_filter(random.normal(size=(rows, columns)), 4)
    ground = np.kron(coarse / coarse.std(), np.ones((8, 8), np.float32))[: shape_yx[0], : shape_yx[1]]
    noise = random.normal(scale=35.0, size=shape_yx).astype(np.float32)
    return np.clip(2_000 + 500 * ground + noise, 1, 10_000).astype(np.uint16)
