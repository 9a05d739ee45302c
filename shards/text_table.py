"""texts.parquet: text records as rows, one column per field of `TextRecord`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.text import TextRecord
from shards.layout import plain
from shards.tables import ROWS_AT_ONCE, STRINGS, batched, joined, write_parquet

SPAN = pa.struct(
    [
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("phrase", pa.string()),
        ("class_name", pa.string()),
        ("fact_ids", STRINGS),
        ("targets", pa.list_(pa.int32())),
    ]
)
GEOMETRY = pa.struct(
    [
        ("kind", pa.string()),
        ("values", pa.list_(pa.float64())),
        ("rle", pa.list_(pa.int32())),
        ("shape_yx", pa.list_(pa.int32())),
        ("source", pa.string()),
    ]
)
TURN = pa.struct([("role", pa.string()), ("text", pa.string())])
TEXT_TYPES: dict[str, pa.DataType] = {
    "options": STRINGS,
    "turns": pa.list_(TURN),
    "views": STRINGS,
    "spans": pa.list_(SPAN),
    "geometries": pa.list_(GEOMETRY),
    "empty_target": pa.bool_(),
    "facts": STRINGS,
    "visually_verifiable": pa.bool_(),
}
TEXT_SCHEMA = pa.schema([(name, TEXT_TYPES.get(name, pa.string())) for name in TextRecord.model_fields])
"""One column per field of `TextRecord`, in its order; ``checks`` is JSON."""


def text_rows(records: Iterable[TextRecord | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Text records as rows of texts.parquet, ordered by chip and text id.

    Raises:
        pydantic.ValidationError: a mapping that is no text record.
    """
    checked = [r if isinstance(r, TextRecord) else TextRecord.model_validate(dict(r)) for r in records]
    rows = [record.model_dump(mode="json") for record in sorted(checked, key=lambda r: (r.chip_id, r.text_id))]
    for row in rows:
        row["checks"] = json.dumps(plain(row["checks"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return rows


def texts_table(records: Iterable[TextRecord | Mapping[str, Any]]) -> pa.Table:
    """Text records as columns, ordered by chip and text id.

    Raises:
        pydantic.ValidationError: a mapping that is no text record.
    """
    parts = [pa.Table.from_pylist(text_rows(batch), TEXT_SCHEMA) for batch in batched(records, ROWS_AT_ONCE)]
    return in_text_order(joined(parts or [pa.Table.from_pylist([], TEXT_SCHEMA)]))


def in_text_order(texts: pa.Table) -> pa.Table:
    """Rows of texts.parquet by chip and text id, each column of one chunk."""
    return texts.take(pc.sort_indices(texts, [("chip_id", "ascending"), ("text_id", "ascending")])).combine_chunks()


def write_texts(path: Path, texts: pa.Table) -> int:
    """Write texts.parquet; the number of rows."""
    write_parquet(path, in_text_order(texts))
    return len(texts)
