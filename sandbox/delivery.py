"""What delivering a scene takes: its blocks, its sums, and the item with its truth that come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .clouds import CloudField, Sun, sun_at
from .imaging import Look
from .items import Item
from .place import Grid
from .scenes import Scene
from .world import Landscape

BLOCK_M = 7_680
"""Side of a block of work, a multiple of every pixel size but Sentinel-2's 60 m, which takes 7,680 as 128 pixels."""


@dataclass(frozen=True)
class Made:
    """One item that was written, and what is true of it."""

    item: Item
    """With hrefs relative to the folder of files."""
    truth: dict[str, Any]
    """Its entry in ``truth.json``."""
    chapter: str = "items"
    """Which part of ``truth.json``."""


@dataclass
class Tally:
    """Sums over the blocks of a scene."""

    sums: dict[str, float] = field(default_factory=dict)

    def add(self, **amounts: float) -> None:
        """Adds to the named sums."""
        for name, amount in amounts.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(amount)

    def add_sky(self, look: Look) -> None:
        """Adds what of a block lies under cloud, shadow and cirrus."""
        sky = look.sky
        cloud, shadow, cirrus = (sky.cloud > 0.3).sum(), (sky.shadow > 0.35).sum(), (sky.cirrus > 0.25).sum()
        self.add(pixels=sky.cloud.size, cloud=cloud, shadow=shadow, cirrus=cirrus)

    def share(self, name: str) -> float:
        """A sum over the number of pixels."""
        return self.sums.get(name, 0.0) / max(self.sums.get("pixels", 0.0), 1.0)


@dataclass(frozen=True)
class Job:
    """One scene to deliver."""

    scene: Scene
    land: Landscape
    sky: CloudField
    seed: int
    files: Path

    def looks(self) -> Iterator[tuple[int, int, Look]]:
        """Row, column and look of every block, at the scene's base pixel size."""
        grid = self.scene.grid
        side = BLOCK_M // round(grid.gsd)
        for row in range(0, grid.height, side):
            for col in range(0, grid.width, side):
                block = grid.part(row, col, min(side, grid.height - row), min(side, grid.width - col))
                yield row, col, Look.at(self.scene, self.land, block, self.sky, self.seed)

    def sun(self) -> Sun:
        """The sun over the region at the scene's time."""
        return sun_at(self.scene.time, *self.scene.region.centre_lonlat)

    def truth(self, grid: Grid, tally: Tally, **more: Any) -> dict[str, Any]:
        """Entry of ``truth.json``."""
        scene = self.scene
        return {
            "scene": scene.key,
            "sensor": scene.sensor,
            "region": scene.region.name,
            "grid": {
                "epsg": grid.epsg,
                "left": grid.left,
                "top": grid.top,
                "gsd": grid.gsd,
                "width": grid.width,
                "height": grid.height,
            },
            "shift_m": list(scene.shift_m),
            "cloud_fraction": round(tally.share("cloud"), 5),
            "shadow_fraction": round(tally.share("shadow"), 5),
            "cirrus_fraction": round(tally.share("cirrus"), 5),
            **more,
        }

    def href(self, path: Path) -> str:
        """A file's path relative to the folder of files, as items have it before they are served."""
        return path.relative_to(self.files).as_posix()
