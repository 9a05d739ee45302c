"""What must hold of the tables of a version: columns, order, counts, texts, and their agreement with the
samples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from pyproj import Transformer

from schemas.dataset import DatasetDocument
from schemas.text import record_faults
from shards.outcome_tables import OUTCOME_SCHEMA
from shards.samples import LATE_KEYS
from shards.tables import CHIP_COLUMNS, chips_table, in_table_order
from shards.text_table import TEXT_SCHEMA, texts_table

ROW_GROUP_LIMIT = 128 * 1024 * 1024
FOOTPRINT_M = 50.0
"""Largest distance of a footprint's bounds from those of the chip: edges of a UTM square are not straight in
degrees."""


def chips_faults(path: Path, document: DatasetDocument) -> Iterator[str]:
    """What is wrong with chips.parquet as a table."""
    file = pq.ParquetFile(path)
    missing = sorted(set(CHIP_COLUMNS) - set(file.schema_arrow.names))
    if missing:
        yield f"columns missing: {missing}"
        return
    for name, kind in CHIP_COLUMNS.items():
        if file.schema_arrow.field(name).type != kind:
            yield f"column {name} is {file.schema_arrow.field(name).type}, wanted {kind}"
    geo = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
    if geo.get("version") != "1.1.0" or "covering" not in geo.get("columns", {}).get("geometry", {}):
        yield "no GeoParquet 1.1 metadata with a bbox covering"
    for number in range(file.num_row_groups):
        size = file.metadata.row_group(number).total_byte_size
        if size > ROW_GROUP_LIMIT:
            yield f"row group {number} holds {size} bytes, more than {ROW_GROUP_LIMIT}"
    table = file.read(["chip_id", "geometry", "bbox", "epsg", "bounds_xyxy", "split", "zarr_index"])
    if not np.array_equal(in_table_order(table["chip_id"], table["geometry"]), np.arange(len(table))):
        yield "rows do not stand along the Hilbert curve"
    yield from _row_faults(table.to_pylist(), document)


def _row_faults(rows: list[dict[str, Any]], document: DatasetDocument) -> Iterator[str]:
    twice = [chip_id for chip_id, n in Counter(row["chip_id"] for row in rows).items() if n > 1]
    if twice:
        yield f"{len(twice)} chip(s) stand twice, first {twice[0]}"
    counts = Counter(row["split"] for row in rows)
    if dict(counts) != document.splits.get("counts"):
        yield f"splits {dict(counts)}, dataset.json says {document.splits.get('counts')}"
    indices = [row["zarr_index"] for row in rows]
    if indices != (list(range(len(rows))) if document.zarr else [None] * len(rows)):
        yield "zarr_index is not the row's number" if document.zarr else "zarr_index without Zarr"
    bounds = shapely.bounds(shapely.from_wkb([row["geometry"] for row in rows])).reshape(-1, 4)
    boxes = np.array([[row["bbox"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for row in rows])
    if not np.array_equal(bounds, boxes.reshape(-1, 4)):
        yield "bbox does not hold the bounds of geometry"
    yield from _footprint_faults(rows)


def _footprint_faults(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The footprint lies where epsg and bounds_xyxy say."""
    for epsg in sorted({row["epsg"] for row in rows}):
        transformer = Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
        for row in (row for row in rows if row["epsg"] == epsg):
            corners = shapely.get_coordinates(shapely.from_wkb(row["geometry"]))
            x, y = transformer.transform(corners[:, 0], corners[:, 1])
            found = np.array([np.min(x), np.min(y), np.max(x), np.max(y)])
            off = float(np.max(np.abs(found - np.array(row["bounds_xyxy"]))))
            if not off <= FOOTPRINT_M:
                yield f"{row['chip_id']}: geometry lies {off:.0f} m from bounds_xyxy in EPSG:{epsg}"


def rows_differ(table: pa.Table, metas: Mapping[str, Mapping[str, Any]], layers: Sequence[str]) -> Iterator[str]:
    """Chips whose ``meta.json`` and row of chips.parquet say different things.

    Args:
        table: chips.parquet.
        metas: chip id -> row as `shards.samples.row_of` gives it, of some of its chips.
        layers: groups and modalities, for the order of columns.
    """
    late = set(LATE_KEYS) | {"bbox"}
    mine = table.filter(pc.is_in(table["chip_id"], value_set=pa.array(sorted(metas), pa.string())))
    stored = {row["chip_id"]: row for row in mine.drop_columns(sorted(late & set(table.column_names))).to_pylist()}
    remade = chips_table(metas.values(), layers)
    columns = [name for name in remade.column_names if name not in late]
    for chip_id, row in zip(metas, remade.select(columns).to_pylist(), strict=True):
        other = stored.get(chip_id, {})
        odd = [name for name in columns if _comparable(name, row[name]) != _comparable(name, other.get(name))]
        if odd:
            yield f"{chip_id}: chips.parquet and meta.json differ in {odd[:5]}"


def _comparable(name: str, value: Any) -> Any:
    """Footprints went through GeoJSON's decimals; all else is equal or not."""
    if name == "geometry" and value is not None:
        return shapely.to_wkb(shapely.set_precision(shapely.from_wkb(value), 1e-12))
    return value


def outcome_faults(path: Path, chip_ids: set[str], document: DatasetDocument) -> Iterator[str]:
    """planned = kept + rejected + failed, each chip once, and the kept are those of chips.parquet."""
    table = pq.read_table(path)
    if table.schema.remove_metadata() != OUTCOME_SCHEMA:
        yield f"columns {table.schema.names}, wanted {OUTCOME_SCHEMA.names}"
        return
    rows = table.to_pylist()
    odd = sorted({row["state"] for row in rows} - {"kept", "rejected", "failed"})
    if odd:
        yield f"unknown states {odd}"
    twice = [chip_id for chip_id, n in Counter(row["chip_id"] for row in rows).items() if n > 1]
    if twice:
        yield f"{len(twice)} chip(s) stand twice, first {twice[0]}"
    kept = {row["chip_id"] for row in rows if row["state"] == "kept"}
    if kept != chip_ids:
        yield f"{len(kept ^ chip_ids)} chip(s) are kept here or in chips.parquet, but not in both"
    found = {
        "planned": len(rows),
        "kept": len(kept),
        "rejected": dict(sorted(Counter(r["reason"] for r in rows if r["state"] == "rejected").items())),
        "failed": dict(sorted(Counter(r["error_class"] or "unknown" for r in rows if r["state"] == "failed").items())),
    }
    if found != document.counts:
        yield f"counts {found}, dataset.json says {document.counts}"
    counts = document.counts
    total = counts["kept"] + sum(counts["rejected"].values()) + sum(counts["failed"].values())
    if counts["planned"] != total:
        yield f"planned {counts['planned']} is not kept + rejected + failed = {total}"


def text_faults(path: Path, of_samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Spans, targets and boxes of every text; and the table equals what the samples hold.

    Args:
        path: texts.parquet.
        of_samples: chip id -> records of its ``texts.json``, for every kept chip.
    """
    table = pq.read_table(path)
    if table.schema.remove_metadata() != TEXT_SCHEMA:
        yield f"columns {table.schema.names}, wanted {TEXT_SCHEMA.names}"
        return
    rows = table.to_pylist()
    twice = [text_id for text_id, n in Counter(row["text_id"] for row in rows).items() if n > 1]
    if twice:
        yield f"{len(twice)} text id(s) stand twice, first {twice[0]}"
    known = {row["text_id"] for row in rows}
    for row in rows:
        if row["chip_id"] not in of_samples:
            yield f"{row['text_id']} is about {row['chip_id']}, which was not kept"
        if row["parent_id"] and row["parent_id"] not in known:
            yield f"{row['text_id']} revises {row['parent_id']}, which is not there"
        yield from (f"{row['text_id']}: {what}" for what in record_faults(row))
    try:
        stored = texts_table(record for records in of_samples.values() for record in records)
    except ValueError as error:
        yield f"texts.json of a shard holds no text record: {str(error).splitlines()[0]}"
        return
    if stored.to_pylist() != rows:
        yield "differs from the texts.json members of the shards"
