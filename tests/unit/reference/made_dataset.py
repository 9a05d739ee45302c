"""A published dataset that teaches: 30 chips of 320 m with Sentinel-2, radar, noisy labels, captions; written as a
build writes, without a build.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from schemas.dataset import BandTable, LayerTable
from schemas.georef import GeoRef
from schemas.sample import LayerArrays, Sample
from schemas.text import TextRecord
from shards.reader import Dataset, open_dataset
from shards.storage import open_storage
from shards.version import publish
from tests.unit.shards import made_up

CODES = (10, 40, 80)
NAMES = ("Tree cover", "Cropland", "Water")
COLOURS = ("#006400", "#f096ff", "#0064c8")
SIDE_PX = 32
EDGE_M = 320.0
BANDS = {"B02": 490.0, "B03": 560.0, "B04": 665.0, "B08": 842.0}
SIGNATURE = np.array([[0.04, 0.06, 0.03, 0.30], [0.08, 0.10, 0.12, 0.25], [0.06, 0.05, 0.03, 0.02]])
BACKSCATTER = np.array([[0.10, 0.025], [0.06, 0.008], [0.008, 0.001]])
LEGEND: dict[str, Any] = {
    "name": "three",
    "title": "Three classes",
    "version": "1",
    "nodata": [0],
    "source": "made up",
    "classes": [{"code": c, "name": n, "colour": h} for c, n, h in zip(CODES, NAMES, COLOURS, strict=True)],
}


def truth_of(number: int, seed: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(32, 32) class index: patches of 80 m, one class in most of them."""
    luck = np.random.default_rng([seed, number])
    shares = np.full(3, 0.15)
    shares[number % 3] = 0.7
    patches = luck.choice(3, size=(4, 4), p=shares)
    return np.kron(patches, np.ones((8, 8))).astype(np.uint8)


def sample(number: int, seed: int = 3, brighter: float = 1.0) -> Sample:
    """A chip; chips of train, val and test lie in three rows, 2 km apart."""
    luck = np.random.default_rng([seed, 1, number])
    split = ("train", "train", "train", "val", "test")[number % 5]
    left = 500_000.0 + 640.0 * number
    bottom = 5_600_000.0 + 2_000.0 * ("train", "val", "test").index(split)
    truth = truth_of(number, seed)
    s2 = SIGNATURE[truth].transpose(2, 0, 1)[None] * luck.normal(1.0, 0.25, (2, 4, SIDE_PX, SIDE_PX)) * brighter
    s1 = BACKSCATTER[truth].transpose(2, 0, 1)[None] * luck.gamma(4.4, 1 / 4.4, (1, 2, SIDE_PX, SIDE_PX))
    valid = np.ones((2, SIDE_PX, SIDE_PX), np.uint8)
    valid[0, :8, :12] = 2
    times = np.array(["2021-04-10T10:30:00", "2021-07-20T10:30:00"], "datetime64[ns]")
    grid = GeoRef(made_up.EPSG, left, bottom + EDGE_M, 10.0, (SIDE_PX, SIDE_PX))
    digital = np.clip(np.round(s2 / 0.0001), 1, 65_000).astype(np.uint16)
    layers = {
        "s2": LayerArrays(digital, valid, times, np.full(2, 0.0001), np.zeros(2), grid),
        "s1": LayerArrays(
            s1.astype(np.float32), np.ones((1, SIDE_PX, SIDE_PX), np.uint8), times[:1], np.ones(1), np.zeros(1), grid
        ),
    }
    wrong = np.kron(luck.random((16, 16)) < 0.12, np.ones((2, 2), bool))
    label = np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8)
    label[:2, :2] = 255
    most = NAMES[int(np.bincount(truth.ravel(), minlength=3).argmax())]
    key = f"m31_{number:04d}"
    text = TextRecord(
        text_id=f"{key}-caption-0",
        chip_id=key,
        kind="caption",
        style="short",
        text=f"Mostly {most.lower()}.",
        facts=("f1",),
        facts_sha256="0" * 64,
        backend="template",
        verification="pass",
    )
    bounds = (left, bottom, left + EDGE_M, bottom + EDGE_M)
    row = made_up.row(key, split, bounds, {"s2_10m": layers["s2"], "s1": layers["s1"]}, [text])
    row = {name.replace("s2_10m.", "s2."): value for name, value in row.items()}
    shares = np.bincount(label[label != 255], minlength=3) / (label != 255).sum()
    row |= {"block_id": f"{split}-{number // 5}", "label.fractions": dict(zip(NAMES, shares.tolist(), strict=True))}
    return Sample(
        chip_id=key,
        split=split,
        layers=layers,
        labels={"product": np.array(CODES, np.uint8)[truth]},
        label=label,
        confidence=np.where(wrong, 120, 220).astype(np.uint8),
        texts=(text.model_dump(mode="json"),),
        row=row,
    )


def layer_tables(samples: list[Sample]) -> tuple[LayerTable, ...]:
    """Band tables with statistics over the clear pixels of train."""
    bands = {
        "s2": [BandTable(name=n, centre_nm=c, fwhm_nm=30.0) for n, c in BANDS.items()],
        "s1": [BandTable(name=p, polarisation=p) for p in ("VV", "VH")],
    }
    tables = []
    for group, entries in bands.items():
        known = []
        for i, band in enumerate(entries):
            values = np.concatenate([_clear(one.layers[group], i) for one in samples if one.split == "train"])
            known.append(
                band.model_copy(update={"mean": float(values.mean()), "std": float(values.std()), "count": values.size})
            )
        tables.append(
            LayerTable(
                group=group,
                modality=group,
                sensor="made-up",
                gsd_m=10.0,
                unit="reflectance" if group == "s2" else "linear",
                dtype="uint16" if group == "s2" else "float32",
                nodata=0.0 if group == "s2" else None,
                bands=tuple(known),
                max_dates=2 if group == "s2" else 1,
                shape_yx=(SIDE_PX, SIDE_PX),
            )
        )
    return tuple(tables)


def without_statistics(table: LayerTable) -> LayerTable:
    """The same table as of bands that no chip of train has a clear pixel of."""
    bands = (band.model_copy(update={"mean": None, "std": None, "count": 0}) for band in table.bands)
    return table.model_copy(update={"bands": tuple(bands)})


def _clear(layer: LayerArrays, band: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = layer.data[:, band].astype(np.float64) * layer.scale[:, None, None] + layer.offset[:, None, None]
    return np.asarray(values[layer.valid == 1])


def write(root: Path, count: int = 30, created: datetime = made_up.CREATED, **more: Any) -> Dataset:
    """Publish the chips, and open the version."""
    brighter = more.pop("brighter", 1.0)
    current = more.pop("current", True)
    samples = [sample(number, brighter=brighter) for number in range(count)]
    draft = made_up.draft(
        root,
        samples,
        created=created,
        zarr_shard_chips=None,
        layers=layer_tables(samples),
        legends={"label": LEGEND, "product": LEGEND | {"name": "product"}},
        **more,
    )
    storage = open_storage(root)
    done = publish(storage, replace(draft, outcomes=draft.outcomes[: len(samples)]), current=current)
    return open_dataset(storage, done.version)
