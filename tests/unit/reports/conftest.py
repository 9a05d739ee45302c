"""A made-up version: 26 kept chips in two hemispheres, three modalities, labels, texts, hostile names."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from PIL import Image

from reports.html import Quicklook, ReportInputs
from reports.tables import TEXT_COLUMNS
from shards.tables import chips_table

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>'
CLASSES = [("Tree cover", "#006400"), ("Cropland", "#f096ff"), ("Built-up", "#fa0000"), ("Water", "#0064c8")]


def png(seed: int, rows: int = 48, columns: int = 64) -> bytes:
    """A small picture, not square."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (rows // 8, columns // 8, 3))
    pixels = np.kron(coarse, np.ones((8, 8, 1))) + rng.normal(0, 8, (rows, columns, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def made_up_chips(count: int = 26) -> pa.Table:
    """Rows as chips.parquet holds them: list columns per modality, label fractions as a mapping."""
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for index in range(count):
        is_south = index >= 20
        west, south = (19.0, -33.9) if is_south else (12.0, 47.8)
        place = index - 20 if is_south else index
        x, y = west + 0.02 * (place % 5), south + 0.013 * (place // 5)
        share = rng.dirichlet([3.0, 3.0, 1.0, 0.5])
        rows.append(
            {
                "chip_id": f"u32-{index:04d}",
                "geometry_wkb": shapely.to_wkb(shapely.box(x, y, x + 0.019, y + 0.0125)),
                "region": "south" if is_south else "north",
                "split": "train" if index % 5 < 3 else ("val" if index % 5 == 3 else "test"),
                "label.fractions": {name: float(s) for (name, _), s in zip(CLASSES, share, strict=True)},
                "caption": f"Mostly cropland near {HOSTILE}." if index == 0 else "Cropland with a strip of trees.",
                **{
                    f"{m}.{key}": values
                    for m, dates in (("s2", 3), ("s1", 2), ("landsat", 0 if index == 3 else 1))
                    for key, values in {
                        "item_ids": [f"{m}-{d}" for d in range(dates)],
                        "clear_fraction": rng.uniform(0.6, 1.0, dates).tolist(),
                        "gap_days": rng.normal(0, 20, dates).tolist(),
                        "shift_dx_m": rng.normal(2, 2, dates).tolist(),
                        "shift_dy_m": rng.normal(-1, 2, dates).tolist(),
                        "registered": ["unreliable" if m == "s1" and d == 0 else "measured" for d in range(dates)],
                        "shift_reference": ["s2 2022-06-16" if m != "s2" else "" for _ in range(dates)],
                    }.items()
                },
            }
        )
    return chips_table(rows)


def dataset_document() -> dict[str, Any]:
    """dataset.json of the made-up version."""
    bands = [{"name": "B02", "common_name": "blue", "centre_nm": 492.4, "fwhm_nm": 66.0, "mean": 0.04, "std": 0.02}]
    layers = [
        {
            "group": "s2_10m",
            "modality": "s2",
            "gsd_m": 10.0,
            "dtype": "uint16",
            "unit": "reflectance",
            "bands": bands,
        },
        {"group": "s1", "modality": "s1", "gsd_m": 10.0, "dtype": "float32", "unit": "1", "bands": []},
    ]
    return {
        "format": 1,
        "name": "sandbox",
        "title": "A valley that does not exist",
        "version": "20261120T101500Z-3f9a1c0b",
        "created": "2026-11-20T10:15:00Z",
        "recipe": {"description": "Made up for this test."},
        "recipe_hash": "ab" * 32,
        "content_hash": "3f9a1c0b" * 8,
        "code_version": "0.1.0",
        "counts": {
            "planned": 30,
            "kept": 26,
            "rejected": {"too_cloudy": 3},
            "failed": {"AssetMissingError": 1},
        },
        "modalities": layers,
        "legends": {"label": {"title": "WorldCover", "classes": [{"name": n, "colour": c} for n, c in CLASSES]}},
        "fusion": {
            "method": "dawid-skene",
            "sources": [{"source": "worldcover", "weight": 1.0}, {"source": "corine", "weight": 0.5, "note": HOSTILE}],
            "disagreement": [{"a": "worldcover", "b": "corine", "pixels": 9000, "disagree": 0.21}],
            "confusion": {"worldcover": [[0.9, 0.1], [0.2, 0.8]]},
        },
        "splits": {
            "method": "blocks",
            "counts": {"train": 16, "val": 5, "test": 5},
            "leakage": {
                "val": {"chips": 5, "min_distance_m": None, "overlapping_pairs": 0},
                "test": {"chips": 5, "min_distance_m": 1240.5, "overlapping_pairs": 0},
            },
        },
        "texts": {"count": 3, "kinds": {"caption/short": 1, "caption/long": 1, "qa/share": 1}, "models": {}},
        "shards": [{"path": "shards/train/000-ab.tar", "bytes": 12_300_000}],
        "zarr": {"path": "zarr", "tag": "20261120T101500Z-3f9a1c0b"},
        "sources": [
            {
                "layer": "osm",
                "collection": "osm-extract",
                "licence": "ODbL-1.0",
                "attribution": "(c) OpenStreetMap contributors",
                "share_alike": True,
                "items": ["extract"],
            }
        ],
        "software": {"gdal": "3.9.3", "numpy": "2.4.6"},
    }


def report_inputs() -> ReportInputs:
    """Everything the page is made from."""
    chips = made_up_chips()
    states = ["kept"] * 26 + ["rejected"] * 3 + ["failed"]
    outcomes = pa.table(
        {
            "chip_id": [f"u32-{i:04d}" for i in range(30)],
            "state": states,
            "reason": [""] * 26 + ["too_cloudy"] * 3 + ["HTTP 404"],
            "error_class": [""] * 29 + ["AssetMissingError"],
        }
    )
    written = [
        {"chip_id": "u32-0000", "kind": "caption", "style": "short", "text": f"A shop named {HOSTILE}."},
        {"chip_id": "u32-0001", "kind": "caption", "style": "long", "text": "Fields, and woods beyond."},
        {"chip_id": "u32-0001", "kind": "qa", "style": "share", "question": "Which class leads?", "answer": "Cropland"},
    ]
    same = {"verification": "pass", "backend": "template", "model": ""}
    texts = pa.Table.from_pylist([dict.fromkeys(TEXT_COLUMNS, "") | same | text for text in written])
    quicklooks = {
        f"u32-{i:04d}": [Quicklook(f"{what} 2022-06-{10 + i}", png(10 * i + n)) for n, what in enumerate(("s2", "s1"))]
        for i in range(4)
    }
    return ReportInputs(dataset_document(), chips, outcomes, texts, quicklooks)


LONG_WORD = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch" * 4
RIGHT_TO_LEFT = "وادي النيل 3"
MANY_CLASSES = [RIGHT_TO_LEFT, LONG_WORD, *(f"Herbaceous vegetation {n}" for n in range(18))]
MANY_REGIONS = [*(f"region-{n:02d}" for n in range(39)), RIGHT_TO_LEFT]


def odd_inputs() -> ReportInputs:
    """What strains the page: forty regions, one of them a narrow strip, twenty fused classes, words that no line
    breaks, and some from right to left.
    """
    plain = report_inputs()
    rows, share = [], 1.0 / len(MANY_CLASSES)
    for number, region in enumerate(MANY_REGIONS):
        for k in range(4):
            x, y = 12.0 + number, 47.0 + (0.5 * k if region == RIGHT_TO_LEFT else 0.02 * k)
            rows.append(
                {
                    "chip_id": f"r{number:02d}-{k}",
                    "geometry_wkb": shapely.to_wkb(shapely.box(x, y, x + 0.03, y + 0.02)),
                    "region": region,
                    "split": ("train", "train", "val", "test")[k],
                    "label.fractions": dict.fromkeys(MANY_CLASSES, share),
                    "label.agreement": 0.7,
                    "caption": f"Fields near {LONG_WORD}.",
                }
            )
    names = [*MANY_REGIONS, ""]
    table = (0.7 * np.eye(len(MANY_CLASSES)) + 0.3 * share).tolist()
    document = dataset_document()
    document["title"] = f"{RIGHT_TO_LEFT} {LONG_WORD}"
    document["recipe"]["description"] = LONG_WORD
    document["legends"]["label"]["classes"] = [{"name": name, "colour": "#336699"} for name in MANY_CLASSES]
    document["fusion"] = {
        "method": "dawid-skene",
        "priors": {name: dict.fromkeys(MANY_CLASSES, share) for name in names},
        "confusion": {
            "osm": {"codes": MANY_CLASSES, "classes": MANY_CLASSES, "regions": dict.fromkeys(names, table)},
        },
    }
    pictures = {"r39-0": [Quicklook(LONG_WORD, png(1), tuple(MANY_CLASSES))]}
    names = ["majority", "labels of other chips", LONG_WORD]
    bars = {"y": [0.067, 0.608, 0.5], "low": [0.058, 0.559, 0.4], "high": [0.077, 0.641, 0.6]}
    figure = {"kind": "bars", "title": "Held-out chips", "y_title": "mean IoU", "labels": names, "series": [bars]}
    validation = {"gates": [{"gate": "learnable", "passed": True, "holds": True, "figures": [figure]}]}
    return ReportInputs(document, chips_table(rows), plain.outcomes, plain.texts, pictures, validation)


@pytest.fixture(scope="session")
def inputs() -> ReportInputs:
    return report_inputs()


@pytest.fixture(scope="session")
def odd() -> ReportInputs:
    return odd_inputs()
