"""What a version's tables hold, as it was handed in: rows, texts, outcomes, shards. Inverse of `shards.tables`.

read_rows(content of chips.parquet)      rows as `shards.tables.ROW_KEYS` says, less where the samples lie
read_places(content of chips.parquet)    chip id -> `StoredSample`
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.chip import Outcome
from schemas.dataset import DatasetDocument
from shards.layout import version_path
from shards.samples import LATE_KEYS
from shards.storage import Storage
from shards.tar import Segment, StoredSample, WrittenShard

PLACE_COLUMNS = ["chip_id", "split", "shard", "shard_offset", "shard_length", "sample_sha256"]
"""Columns that say where a sample lies and what its bytes are."""


def table_of(storage: Storage, version: str, name: str) -> bytes:
    """Content of one of a version's tables.

    Raises:
        FileNotFoundError: there is none.
    """
    return storage.read(f"{version_path(version)}/{name}.parquet")


def _read(content: bytes, columns: list[str] | None = None, chip_ids: Collection[str] | None = None) -> pa.Table:
    table = pq.read_table(io.BytesIO(content), columns=columns)
    if chip_ids is None:
        return table
    return table.filter(pc.is_in(table["chip_id"], value_set=pa.array(sorted(chip_ids), pa.string())))


def read_rows(content: bytes, chip_ids: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a chips.parquet as they were handed in: without what is null, and without what only the shard knows.

    Args:
        content: of the file.
        chip_ids: chips that are wanted; all where None.
    """
    table = _read(content, None, chip_ids)
    dropped = {*LATE_KEYS, "bbox"} & set(table.column_names)
    table = table.drop_columns(sorted(dropped))
    maps = [field.name for field in table.schema if pa.types.is_map(field.type)]
    rows = []
    for row in table.to_pylist():
        kept = {name: value for name, value in row.items() if value is not None and name != "geometry"}
        kept |= {name: dict(kept[name]) for name in maps if name in kept}
        rows.append(kept | {"geometry_wkb": row["geometry"]})
    return rows


def read_places(content: bytes, chip_ids: Collection[str] | None = None) -> dict[str, StoredSample]:
    """Chip id -> its sample in the version's shards, from a chips.parquet."""
    found = {}
    for row in _read(content, PLACE_COLUMNS, chip_ids).to_pylist():
        segment = Segment(row["shard_offset"], row["shard_length"], row["sample_sha256"])
        found[row["chip_id"]] = StoredSample(row["chip_id"], row["split"], row["shard"], segment)
    return found


def read_texts(content: bytes, chip_ids: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Text records of a texts.parquet, as plain dictionaries."""
    return [{**row, "checks": json.loads(row["checks"])} for row in _read(content, None, chip_ids).to_pylist()]


UNASKED = frozenset({"budget", "backend", "errors", "quota", "missing"})
"""Why the template wrote a text that a model may write another time: no money, no server, no answer in the ledger."""


def read_unasked(content: bytes) -> set[str]:
    """Chips of a texts.parquet of which a text waits for a model that could not be asked."""
    table = _read(content, ["chip_id", "verification", "checks"])
    table = table.filter(pc.equal(table["verification"], "fallback"))
    return {row["chip_id"] for row in table.to_pylist() if json.loads(row["checks"]).get("fallback") in UNASKED}


def read_outcomes(content: bytes, chip_ids: Collection[str] | None = None) -> list[Outcome]:
    """Outcomes of an outcomes.parquet; what only run.parquet tells (address, attempts) is not among it."""
    rows = _read(content, None, chip_ids).to_pylist()
    return [Outcome(**{**row, "inputs": dict(row.get("inputs") or {})}) for row in rows]


def stored_shards(document: DatasetDocument, places: Mapping[str, StoredSample]) -> list[WrittenShard]:
    """The shards of a version as if they had been written now.

    Args:
        document: the version.
        places: of all its chips.
    """
    return [
        WrittenShard(record, {chip_id: places[chip_id].segment for chip_id in record.chip_ids}, written=False)
        for record in document.shards
    ]
