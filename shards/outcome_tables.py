"""What became of every planned chip, as Parquet: outcomes.parquet, removed.parquet and run.parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.chip import Outcome
from shards.guard import redact, without_query
from shards.layout import plain
from shards.tables import ROWS_AT_ONCE, batched, joined, named, write_parquet

OUTCOME_SCHEMA = pa.schema(
    [
        ("chip_id", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("measured", pa.float64()),
        ("limit", pa.float64()),
        ("error_class", pa.string()),
        ("inputs", pa.map_(pa.string(), pa.string())),
    ]
)
"""``inputs``: component (modality, labels, fuse, captions, ...) -> hash of all that decides it for this chip."""
REMOVED_SCHEMA = pa.schema([(name, pa.string()) for name in ("chip_id", "state", "reason", "last_version")])
"""``state``: not planned, rejected or failed."""
RUN_COLUMNS: dict[str, pa.DataType] = {
    "chip_id": pa.string(),
    "step": pa.string(),
    "attempts": pa.int32(),
    "urls": pa.list_(pa.string()),
    "seconds": pa.float64(),
    "bytes": pa.int64(),
    "tokens": pa.int64(),
    "cost": pa.float64(),
}


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> int:
    """Write outcomes.parquet, ordered by chip; messages lose local paths and query strings."""
    rows = [
        {name: plain(getattr(outcome, name)) for name in OUTCOME_SCHEMA.names}
        | {"reason": redact(outcome.reason), "inputs": sorted(outcome.inputs.items())}
        for outcome in sorted(outcomes, key=lambda o: o.chip_id)
    ]
    write_parquet(path, pa.Table.from_pylist(rows, OUTCOME_SCHEMA))
    return len(rows)


def write_removed(path: Path, chip_ids: Sequence[str], outcomes: Sequence[Outcome], parent: str) -> None:
    """Write removed.parquet: chips of the parent that this version does not hold, and what became of them.

    Args:
        path: the file.
        chip_ids: the chips, in order.
        outcomes: of this version; a chip without one is not planned any more.
        parent: the last version that held them.
    """
    known = {outcome.chip_id: outcome for outcome in outcomes}
    rows = []
    for chip_id in chip_ids:
        outcome = known.get(chip_id)
        state, reason = (outcome.state, redact(outcome.reason)) if outcome is not None else ("not planned", "")
        rows.append({"chip_id": chip_id, "state": state, "reason": reason, "last_version": parent})
    write_parquet(path, pa.Table.from_pylist(rows, REMOVED_SCHEMA))


def run_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of run.parquet, in their order; addresses lose their query strings."""
    parts = [_run_columns(batch) for batch in batched(rows, ROWS_AT_ONCE)]
    return joined(parts or [_run_columns(())])


def _run_columns(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    further = sorted({key for row in rows for key in row} - set(RUN_COLUMNS))
    made = [plain(row) for row in rows]
    for row in made:
        row["urls"] = [without_query(url) for url in row.get("urls") or ()]
    columns = {name: pa.array([row.get(name) for row in made], kind) for name, kind in RUN_COLUMNS.items()}
    return pa.table(columns | {name: pa.array([row.get(name) for row in made]) for name in further})


def write_run(path: Path, rows: pa.Table) -> int:
    """Write run.parquet, ordered by chip."""
    order = pc.sort_indices(rows["chip_id"].fill_null("None"))
    further = sorted(set(rows.column_names) - set(RUN_COLUMNS))
    ordered = rows.take(order)
    columns = {name: named(ordered[name].combine_chunks()) for name in (*RUN_COLUMNS, *further)}
    write_parquet(path, pa.table(columns))
    return len(rows)
