"""A small dataset of made-up samples: two optical groups, one SAR with few or no dates, labels, texts, no square."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer

from schemas.chip import Outcome
from schemas.dataset import BandTable, LayerTable, SourceTable
from schemas.georef import GeoRef
from schemas.sample import LayerArrays, Sample
from schemas.text import Span, TextGeometry, TextRecord
from shards.buckets import bucket_of
from shards.draft import Draft
from shards.outcome_tables import run_table
from shards.storage import Storage, open_storage
from shards.tables import chips_table
from shards.tar import WrittenShard, write_shard
from shards.text_table import texts_table
from shards.version import publish

EPSG = 32631
CREATED = datetime(2026, 11, 20, 10, 15, 0, tzinfo=UTC)
WIDTH_M, HEIGHT_M = 360.0, 240.0
SPLITS = ("train", "train", "train", "val", "test")
BUCKETS = {"train": 2, "val": 1, "test": 1}

LAYERS = (
    LayerTable(
        group="s2_10m",
        modality="s2",
        sensor="sentinel-2-l2a",
        gsd_m=10.0,
        dtype="uint16",
        unit="reflectance",
        nodata=0.0,
        bands=(
            BandTable(name="B02", common_name="blue", centre_nm=492.4, fwhm_nm=66.0, mean=0.2, std=0.1, count=9),
            BandTable(name="B04", common_name="red", centre_nm=664.6, fwhm_nm=31.0, mean=0.25, std=0.12, count=9),
        ),
        max_dates=3,
        shape_yx=(24, 36),
    ),
    LayerTable(
        group="s2_20m",
        modality="s2",
        sensor="sentinel-2-l2a",
        gsd_m=20.0,
        dtype="uint16",
        unit="reflectance",
        nodata=0.0,
        bands=(BandTable(name="B11", centre_nm=1613.7, fwhm_nm=91.0, mean=0.2, std=0.1, count=9),),
        max_dates=3,
        shape_yx=(12, 18),
    ),
    LayerTable(
        group="s1",
        modality="s1",
        sensor="sentinel-1-rtc",
        gsd_m=10.0,
        dtype="float32",
        unit="linear",
        nodata=-32768.0,
        bands=(BandTable(name="vv", polarisation="VV"), BandTable(name="vh", polarisation="VH")),
        max_dates=2,
        shape_yx=(25, 37),
    ),
)
SOURCES = (
    SourceTable(
        layer="s2",
        catalog="made",
        collection="sentinel-2-l2a",
        licence="CC-BY-4.0",
        attribution="Made up for a test",
        items=("S2A_1", "S2A_2"),
    ),
    SourceTable(
        layer="osm",
        catalog="",
        collection="extract",
        licence="ODbL-1.0",
        attribution="(c) OpenStreetMap contributors",
        share_alike=True,
    ),
)
WOOD = {"code": 10, "name": "Tree <cover>", "colour": "#006400"}
LEGENDS: dict[str, Any] = {
    "label": {"name": "two", "title": "Two classes", "nodata": [255], "classes": [{"name": "Tree"}, {"name": "Water"}]},
    "worldcover": {"name": "worldcover", "title": "ESA WorldCover", "nodata": [0], "classes": [WOOD]},
}


def chip_id(number: int) -> str:
    """Id of a made-up chip."""
    return f"u31_{number:04d}"


def sample(number: int, *, seed: int = 1) -> Sample:
    """A made-up chip; the same number and seed give the same bytes."""
    random = np.random.default_rng([seed, number])
    left, bottom = 500_000.0 + WIDTH_M * (number % 4), 5_600_000.0 + HEIGHT_M * (number // 4)
    dates, passes = 1 + number % 3, number % 3
    split = SPLITS[number % len(SPLITS)]
    layers = {
        "s2_10m": _layer(random, GeoRef(EPSG, left, bottom + HEIGHT_M, 10.0, (24, 36)), dates, 2, "uint16"),
        "s2_20m": _layer(random, GeoRef(EPSG, left, bottom + HEIGHT_M, 20.0, (12, 18)), dates, 1, "uint16"),
        "s1": _layer(random, GeoRef(EPSG, left - 5, bottom + HEIGHT_M + 5, 10.0, (25, 37)), passes, 2, "float32"),
    }
    label = random.integers(0, 2, (24, 36)).astype(np.uint8)
    label[0, :3] = 255
    bounds = (left, bottom, left + WIDTH_M, bottom + HEIGHT_M)
    records = texts(number)
    return Sample(
        chip_id=chip_id(number),
        split=split,
        layers=layers,
        labels={"worldcover": random.choice([0, 10, 80], (24, 36)).astype(np.uint8)},
        label=label,
        confidence=random.integers(0, 256, (24, 36)).astype(np.uint8),
        osm={"type": "FeatureCollection", "features": [], "extract_date": "2026-01-01"},
        targets={"roads": random.random((3, 4), dtype=np.float32)},
        target_documents={"streets": {"nodes": [[1.5, 2.0, 1]], "edges": []}},
        texts=tuple(record.model_dump(mode="json") for record in records),
        row=row(chip_id(number), split, bounds, layers, records),
    )


def _layer(random: np.random.Generator, georef: GeoRef, dates: int, bands: int, dtype: str) -> LayerArrays:
    shape = (dates, bands, *georef.shape_yx)
    valid = np.ones((dates, *georef.shape_yx), np.uint8)
    data = random.integers(1, 4000, shape).astype(dtype)
    if dates:
        valid[0, :2, :5] = 0
        data[0, :, :2, :5] = 0 if dtype == "uint16" else -32768
        valid[0, 3, 4] = 2
    start = np.datetime64("2026-03-01T10:30:31.024000", "ns")
    times = start + np.arange(dates) * np.timedelta64(5, "D").astype("timedelta64[ns]")
    scale = np.full(dates, 0.0001 if dtype == "uint16" else 1.0)
    return LayerArrays(data, valid, times, scale, np.full(dates, -0.1 if dtype == "uint16" else 0.0), georef)


def row(
    key: str,
    split: str,
    bounds: tuple[float, float, float, float],
    layers: dict[str, LayerArrays],
    records: list[TextRecord],
) -> dict[str, Any]:
    """The chip's row, as the pipeline hands it in."""
    found: dict[str, Any] = {
        "chip_id": key,
        "geometry_wkb": footprint(bounds),
        "epsg": EPSG,
        "bounds_xyxy": list(bounds),
        "majortom_cell": "506U_3R",
        "block_id": "b0",
        "split": split,
        "region": "made-up",
        "input_hash": hashlib.sha256(key.encode()).hexdigest(),
        "licences": [
            {
                "layer": source.layer,
                "id": source.licence,
                "attribution": source.attribution,
                "share_alike": source.share_alike,
                "non_commercial": source.non_commercial,
                "redistributable": source.redistributable,
            }
            for source in SOURCES
        ],
        "label.fractions": {"Tree": 0.5, "Water": 0.5},
        "label.agreement": 0.75,
        "label.mean_confidence": 0.5,
        "caption": records[0].text,
        "aux.note": "further column",
    }
    for group, layer in layers.items():
        found[f"{group}.transform"] = list(layer.georef.transform)
        found[f"{group}.shape_yx"] = list(layer.georef.shape_yx)
    for modality, group in (("s2", "s2_10m"), ("s1", "s1")):
        layer = layers[group]
        dates = len(layer.time_utc)
        found |= {
            f"{modality}.item_ids": [f"{modality}_{i}" for i in range(dates)],
            f"{modality}.datetimes": [f"{np.datetime_as_string(t, 'us')}Z" for t in layer.time_utc],
            f"{modality}.scale": layer.scale.tolist(),
            f"{modality}.offset": layer.offset.tolist(),
            f"{modality}.gap_days": [float(i) - 0.5 for i in range(dates)],
            f"{modality}.clear_fraction": [0.9] * dates,
            f"{modality}.relative_orbit": [None] * dates,
            f"{modality}.registered": ["not_applicable"] * dates,
        }
    return found


def footprint(bounds: tuple[float, float, float, float]) -> bytes:
    """EPSG:4326 polygon of UTM bounds, as WKB."""
    left, bottom, right, top = bounds
    transformer = Transformer.from_crs(f"EPSG:{EPSG}", "EPSG:4326", always_xy=True)
    corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
    return bytes(shapely.to_wkb(shapely.Polygon([transformer.transform(x, y) for x, y in corners])))


def texts(number: int) -> list[TextRecord]:
    """Two texts of a made-up chip; one has spans and a box."""
    text = f"Trees stand beside water in chip {number}."
    shared: dict[str, Any] = {
        "chip_id": chip_id(number),
        "facts": ("f1",),
        "facts_sha256": "0" * 64,
        "backend": "template",
        "verification": "pass",
    }
    return [
        TextRecord(text_id=f"{chip_id(number)}-caption-0", kind="caption", text=text, checks={"numbers": 1}, **shared),
        TextRecord(
            text_id=f"{chip_id(number)}-grounded-1",
            kind="grounded",
            text=text,
            spans=(Span(start=0, end=5, phrase="Trees", class_name="Tree", fact_ids=("f1",), targets=(0,)),),
            geometries=(
                TextGeometry(kind="box", values=(1.0, 2.0, 30.0, 20.0), shape_yx=(24, 36), source="label"),
                TextGeometry(kind="mask", rle=(4, 860), shape_yx=(24, 36), source="label"),
            ),
            **shared,
        ),
    ]


def write_report(folder: Path) -> None:
    """A report that says nothing."""
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<html></html>")


def write_shards(storage: Storage, scratch: Path, samples: Iterable[Sample]) -> list[WrittenShard]:
    """Shards of samples, by split and bucket."""
    found: dict[tuple[str, int], list[Sample]] = {}
    for one in samples:
        found.setdefault((one.split, bucket_of(one.chip_id, BUCKETS[one.split])), []).append(one)
    return [
        write_shard(storage, split, bucket, members, scratch=scratch)
        for (split, bucket), members in sorted(found.items())
    ]


def draft(
    root: Path,
    samples: list[Sample],
    *,
    created: datetime = CREATED,
    zarr_shard_chips: int | None = 4,
    report: Callable[[Path], None] | None = None,
    storage: Storage | None = None,
    **more: Any,
) -> Draft:
    """A draft of samples, whose shards are written; two further chips were rejected and failed."""
    outcomes = [Outcome(one.chip_id, "kept") for one in samples]
    outcomes.append(Outcome("u31_rejected", "rejected", "clear_fraction", 0.1, 0.6))
    outcomes.append(
        Outcome("u31_failed", "failed", "404 at https://host/a.tif?sig=abc", error_class="AssetMissingError")
    )
    settings: dict[str, Any] = {
        "name": "made-up",
        "title": "A made-up dataset",
        "recipe": {"name": "made-up", "format": 1},
        "recipe_hash": "a" * 64,
        "code_version": "0.1.0",
        "layers": LAYERS,
        "sources": SOURCES,
        "legends": LEGENDS,
        "splits": {"method": "blocks"},
        "text_summary": {"captions": len(samples)},
        "run": {"seconds": 1.5},
        "run_rows": run_table(
            {
                "chip_id": one.chip_id,
                "step": "read",
                "attempts": 1,
                "urls": ["https://host/a.tif?sig=abc"],
                "seconds": 0.1,
                "bytes": 10,
                "tokens": 0,
                "cost": 0.0,
            }
            for one in samples
        ),
    }
    return Draft(
        created=created,
        chips=chips_table(one.row for one in samples),
        outcomes=outcomes,
        shards=write_shards(storage or open_storage(root), root / "work", samples),
        texts=texts_table(text for one in samples for text in one.texts),
        zarr_shard_chips=zarr_shard_chips,
        report=report,
        **(settings | more),
    )


def publish_again(root: Path, storage: Storage, hours: int, seed: int) -> str:
    """A version in which some chips are others, one is new and one is gone."""
    samples = [sample(n, seed=1 + seed * (n % 3 == 0)) for n in range(1, 11)]
    return publish(storage, draft(root, samples, created=CREATED + timedelta(hours=hours))).version
