"""What P5 reads: one set of chips as our dataset (tars and Zarr), and as tars of .zarr.zip."""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.codecs import codec_of
from schemas.chip import Outcome
from schemas.dataset import BandTable, LayerTable, SourceTable
from schemas.georef import GeoRef
from schemas.sample import LayerArrays, Sample
from shards.buckets import bucket_of
from shards.draft import Draft
from shards.export_terramesh import CODEC, zarr_zip
from shards.storage import FolderStorage
from shards.tables import chips_table
from shards.tar import write_shard
from shards.version import publish

DATES, BANDS, EDGE = 3, 4, 256
BUCKETS = 8
CODECS = {"zstd": CODEC, "lz4": codec_of("lz4")}
"""What packs zipped Zarr: the exporter's, and our Zarr's own."""
NAMES = ("B02", "B03", "B04", "B08")
LAYER = LayerTable(
    group="s2",
    modality="s2",
    sensor="sentinel-2-l2a",
    gsd_m=10.0,
    dtype="uint16",
    unit="reflectance",
    nodata=0.0,
    bands=tuple(BandTable(name=name, centre_nm=500.0, mean=0.15, std=0.08, count=1) for name in NAMES),
    max_dates=DATES,
    shape_yx=(EDGE, EDGE),
)


def pixels(number: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """(T, C, H, W) smooth fields with noise, which compress as scenes do; (T, H, W) validity with a cloud."""
    random = np.random.default_rng([5, number])
    coarse = random.normal(1500, 600, (DATES, BANDS, EDGE // 16 + 1, EDGE // 16 + 1))
    grid = np.arange(EDGE) / 16
    low, share = grid.astype(int), (grid % 1)[:, None]
    rows = coarse[:, :, low] * (1 - share) + coarse[:, :, low + 1] * share
    fields = rows[..., low] * (1 - share[:, 0]) + rows[..., low + 1] * share[:, 0]
    noisy = fields + random.normal(0, 25, fields.shape)
    valid = np.ones((DATES, EDGE, EDGE), np.uint8)
    y, x = random.integers(0, EDGE - 64, 2)
    valid[0, y : y + 64, x : x + 64] = 2
    return np.clip(noisy, 1, 10_000).astype(np.uint16), valid


def sample_of(number: int) -> Sample:
    """Chip ``number`` with its label."""
    data, valid = pixels(number)
    left, bottom = 500_000.0 + 2560 * (number % 100), 5_600_000.0 + 2560 * (number // 100)
    georef = GeoRef(32631, left, bottom + 2560, 10.0, (EDGE, EDGE))
    times = np.datetime64("2026-03-01T10:30:31", "ns") + np.arange(DATES) * np.timedelta64(10, "D").astype("m8[ns]")
    layer = LayerArrays(data, valid, times, np.full(DATES, 1e-4), np.full(DATES, -0.1), georef)
    longitude, latitude = 3 + (number % 100) * 0.036, 50.5 + (number // 100) * 0.023
    chip_id = f"u31_{number:05d}"
    row = {
        "chip_id": chip_id,
        "geometry_wkb": shapely.to_wkb(shapely.box(longitude, latitude, longitude + 0.036, latitude + 0.023)),
        "epsg": 32631,
        "bounds_xyxy": [left, bottom, left + 2560, bottom + 2560],
        "split": "train",
        "region": "made",
        "input_hash": "0" * 64,
        "licences": [],
        "s2.transform": list(georef.transform),
        "s2.shape_yx": [EDGE, EDGE],
        "s2.item_ids": [f"s2_{number}_{date}" for date in range(DATES)],
        "s2.datetimes": [f"{np.datetime_as_string(time, 'us')}Z" for time in times],
        "s2.scale": layer.scale.tolist(),
        "s2.offset": layer.offset.tolist(),
        "s2.clear_fraction": [0.9] * DATES,
    }
    label = (data[0, 0] // 300).clip(0, 10).astype(np.uint8)
    return Sample(chip_id, "train", {"s2": layer}, label=label, confidence=label, row=row)


def our_dataset(root: Path, count: int) -> Path:
    """The chips as a published dataset, tars and Zarr; made once."""
    if (root / "terraweft.json").exists():
        return root
    storage = FolderStorage(root)
    buckets: dict[int, list[int]] = {}
    for number in range(count):
        buckets.setdefault(bucket_of(f"u31_{number:05d}", BUCKETS), []).append(number)
    shards = [
        write_shard(storage, "train", bucket, map(sample_of, numbers), scratch=root / "work")
        for bucket, numbers in sorted(buckets.items())
    ]
    source = SourceTable(layer="s2", catalog="", collection="made", licence="CC0-1.0", attribution="made")
    rows = [sample_of(number).row for number in range(count)]
    draft = Draft(
        created=datetime(2026, 11, 20, tzinfo=UTC),
        name="p5",
        title="P5",
        recipe={"name": "p5", "format": 1},
        recipe_hash="0" * 64,
        code_version="0",
        layers=(LAYER,),
        sources=(source,),
        legends={"label": {"name": "l", "title": "l", "classes": [{"name": str(n)} for n in range(11)]}},
        splits={"method": "none"},
        text_summary={},
        run={},
        chips=chips_table(rows),
        outcomes=[Outcome(str(row["chip_id"]), "kept") for row in rows],
        shards=shards,
        zarr_shard_chips=64,
    )
    publish(storage, draft)
    return root


def zip_tars(folder: Path, count: int, codec: str, per_tar: int = 64) -> list[Path]:
    """The chips as tars of .zarr.zip, a member per chip, packed by the exporter's zstd or by our own lz4; made once."""
    paths = [folder / f"{number:05d}.tar" for number in range(-(-count // per_tar))]
    if all(path.exists() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    blosc = CODECS[codec]
    for number, path in enumerate(paths):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for chip in range(number * per_tar, min(count, (number + 1) * per_tar)):
                data, valid = pixels(chip)
                content = zarr_zip({"bands": (data, ("t", "c", "y", "x")), "valid": (valid, ("t", "y", "x"))}, blosc)
                part = folder / "part"
                part.write_bytes(content)
                tar.add(part, f"u31_{chip:05d}.zarr.zip")
                part.unlink()
    return paths


def forget(paths: Sequence[Path]) -> None:
    """Let the kernel drop files from its cache: what is read next comes from the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def files_below(folder: Path) -> Iterator[Path]:
    """Every file of a folder."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())
