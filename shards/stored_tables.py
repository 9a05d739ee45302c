"""What a version's tables hold, as it was handed in: rows, texts, outcomes. Inverse of `shards.tables`.

read_chips(content of chips.parquet)     rows as columns, less where the samples lie
read_places(content of chips.parquet)    chip id -> `StoredSample`
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.chip import Outcome
from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError
from shards.layout import version_path
from shards.samples import LATE_KEYS
from shards.storage import Storage
from shards.tables import CHIP_COLUMNS, ROWS_AT_ONCE
from shards.tar import Segment, StoredSample
from shards.version_tables import MEND, told_of_damage

PLACE_COLUMNS = ["chip_id", "split", "shard", "shard_offset", "shard_length", "sample_sha256"]
"""Columns that say where a sample lies and what its bytes are."""


def table_of(storage: Storage, document: DatasetDocument, name: str) -> bytes:
    """Content of one of a version's tables; see `file_of`."""
    return file_of(storage, document, f"{name}.parquet")


def file_of(storage: Storage, document: DatasetDocument, name: str) -> bytes:
    """Content of a version's file from which the next version is made: what is damaged in it would be the next
    version's, under a hash that fits. Parquet has no checksum: some flipped bits are read as other values.

    Args:
        storage: the dataset's root.
        document: ``dataset.json`` of the version.
        name: of the file.

    Raises:
        DatasetError: it is missing, or its bytes are not those that ``dataset.json`` names.
    """
    path = f"{version_path(document.version)}/{name}"
    where = f"{storage.uri}/{path}"
    with told_of_damage(where):
        content = storage.read(path)
    told = document.tables.get(name, {}).get("sha256")
    if told is not None and hashlib.sha256(content).hexdigest() != told:
        raise DatasetError("its bytes are not those that dataset.json names", where=where, mend=MEND)
    return content


def _read(content: bytes, columns: list[str] | None = None, chip_ids: Collection[str] | None = None) -> pa.Table:
    table = pq.read_table(io.BytesIO(content), columns=columns)
    if chip_ids is None:
        return table
    return table.filter(pc.is_in(table["chip_id"], value_set=pa.array(sorted(chip_ids), pa.string())))


def read_chips(content: bytes, chip_ids: Collection[str] | None = None) -> pa.Table:
    """Rows of a chips.parquet as they were handed in, as columns: of where a sample lies nothing is said.

    Args:
        content: of the file.
        chip_ids: chips that are wanted; all where None.
    """
    table = _read(content, None, chip_ids)
    blank = {name: pa.nulls(len(table), kind) for name, kind in CHIP_COLUMNS.items() if name in LATE_KEYS}
    for name, values in blank.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return _as_made(table)


def _as_made(table: pa.Table) -> pa.Table:
    """A table with types as they were before Parquet named their parts otherwise, and without metadata."""
    return table.cast(pa.schema([(field.name, _type_as_made(field.type)) for field in table.schema]))


def _type_as_made(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_map(kind):
        return pa.map_(_type_as_made(kind.key_type), _type_as_made(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(_type_as_made(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _type_as_made(field.type)) for field in kind])
    return kind


def read_places(content: bytes, chip_ids: Collection[str] | None = None) -> dict[str, StoredSample]:
    """Chip id -> its sample in the version's shards, from a chips.parquet."""
    found = {}
    for row in _read(content, PLACE_COLUMNS, chip_ids).to_pylist():
        segment = Segment(row["shard_offset"], row["shard_length"], row["sample_sha256"])
        found[row["chip_id"]] = StoredSample(row["chip_id"], row["split"], row["shard"], segment)
    return found


def read_texts(content: bytes, chip_ids: Collection[str] | None = None) -> pa.Table:
    """Text records of a texts.parquet, as columns."""
    return _as_made(_read(content, None, chip_ids))


def text_records(texts: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows of a texts.parquet as plain records, one at a time."""
    for batch in texts.to_batches(ROWS_AT_ONCE):
        for row in batch.to_pylist():
            yield {**row, "checks": json.loads(row["checks"])}


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
