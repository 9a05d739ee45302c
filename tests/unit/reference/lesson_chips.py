"""Small chips whose classes can be read off the pixels: 32 px at 10 m, optical at two GSDs, radar, elevation."""

from __future__ import annotations

import numpy as np
import torch

from reference.bands import GroupTable, group_table
from reference.data import ABSTAIN, Batch, Layer
from schemas.dataset import BandTable, LayerTable

SIDE_PX = 32
EDGE_M = 320.0
CLASSES = ("trees", "fields", "water")
OPTICAL = {"B02": 490.0, "B03": 560.0, "B04": 665.0, "B08": 842.0}


def layer_table(group: str, modality: str, gsd_m: float, bands: tuple[BandTable, ...], dates: int) -> LayerTable:
    side = round(EDGE_M / gsd_m)
    return LayerTable(
        group=group, modality=modality, sensor="made-up", gsd_m=gsd_m, dtype="float32", unit="1", nodata=None,
        bands=bands, max_dates=dates, shape_yx=(side, side),
    )  # fmt: skip


def optical(names: dict[str, float]) -> tuple[BandTable, ...]:
    return tuple(BandTable(name=n, centre_nm=c, fwhm_nm=30.0, mean=0.1, std=0.05) for n, c in names.items())


def tables() -> dict[str, GroupTable]:
    """Group -> table: names in the order of a recipe."""
    layers = [
        layer_table("s2_10m", "s2", 10.0, optical(OPTICAL), 3),
        layer_table("s2_20m", "s2", 20.0, optical({"B05": 705.0, "B11": 1610.0}), 3),
        layer_table("s1", "s1", 10.0, tuple(BandTable(name=p, polarisation=p) for p in ("VV", "VH")), 2),
        layer_table("dem", "dem", 40.0, (BandTable(name="elevation", mean=100.0, std=30.0),), 1),
    ]
    return {layer.group: group_table(layer) for layer in layers}


DATES = {"s2_10m": 3, "s2_20m": 3, "s1": 2, "dem": 1}


class MadeChips:
    """What `reference.data.Chips` is to the model, from a seed."""

    def __init__(self, count: int = 6, seed: int = 0, noise: float = 0.2) -> None:
        self.groups, self.classes = tables(), CLASSES
        luck = np.random.default_rng(seed)
        self.chips = {f"chip_{i}": self._chip(f"chip_{i}", luck, noise) for i in range(count)}

    def __getitem__(self, chip_id: str) -> Batch:
        return self.chips[chip_id]

    @property
    def ids(self) -> list[str]:
        return list(self.chips)

    def _chip(self, chip_id: str, luck: np.random.Generator, noise: float) -> Batch:
        coarse = luck.integers(len(CLASSES), size=(8, 8))
        label = np.kron(coarse, np.ones((4, 4), np.int64))  # (32, 32)
        layers = {}
        for name, table in self.groups.items():
            side = round(EDGE_M / table.gsd_m)
            step = SIDE_PX // side
            seen = label[::step, ::step]
            dates, bands = DATES[name], len(table.numbers)
            signature = np.sin(1.0 + seen[None, None] * (1.0 + np.arange(bands))[None, :, None, None])
            values = signature + noise * luck.standard_normal((dates, bands, side, side))
            valid = luck.random((dates, side, side)) > 0.2
            day = 8000.0 + 40.0 * np.arange(dates)
            layers[name] = Layer(
                torch.from_numpy((values * valid[:, None]).astype(np.float32))[None],
                torch.from_numpy(valid)[None],
                torch.from_numpy(day.astype(np.float32))[None],
            )
        shown = torch.from_numpy(label)[None].clone()
        shown[0, :2, :2] = ABSTAIN
        sure = torch.from_numpy(luck.uniform(0.5, 1.0, label.shape).astype(np.float32))[None]
        most = CLASSES[int(np.bincount(label.ravel()).argmax())]
        return Batch((chip_id,), layers, shown, sure, (f"Mostly {most}, number {chip_id[-1]}.",))
