"""The four tables of a version as Parquet: the same rows give the same bytes.

`ROW_KEYS` lists what a row of chips.parquet may hold; `write_chips` adds ``sample_sha256``, ``shard``, ``shard_index``,
``shard_offset``, ``shard_length`` (bytes of the sample inside its shard) and ``zarr_index``, and turns ``geometry_wkb``
into ``geometry`` and ``bbox``. Further keys become columns, sorted by name; what is null in every row is no column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from schemas.chip import PLACE_PREFIX, Outcome
from schemas.dataset import ShardRecord
from schemas.text import TextRecord
from shards.guard import redact, without_query
from shards.hilbert import hilbert_index
from shards.layout import plain
from shards.tar import Segment

ROW_GROUP_BYTES = 64 * 1024 * 1024
"""Aim per row group, in memory; the format allows 128 MB."""
TIME = pa.timestamp("us", tz="UTC")
LICENCE = pa.struct(
    [
        ("layer", pa.string()),
        ("id", pa.string()),
        ("attribution", pa.string()),
        ("share_alike", pa.bool_()),
        ("non_commercial", pa.bool_()),
        ("redistributable", pa.bool_()),
    ]
)
SHARES = pa.map_(pa.string(), pa.float64())
SHARES_OF = (".fractions", ".disagreement")
"""Endings of further columns of labels that hold shares by name."""
BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])

CHIP_COLUMNS: dict[str, pa.DataType] = {
    "chip_id": pa.string(),
    "geometry": pa.binary(),
    "bbox": BBOX,
    "epsg": pa.int32(),
    "bounds_xyxy": pa.list_(pa.float64()),
    "majortom_cell": pa.string(),
    "block_id": pa.string(),
    "split": pa.string(),
    "region": pa.string(),
    "input_hash": pa.string(),
    "sample_sha256": pa.string(),
    "shard": pa.string(),
    "shard_index": pa.int32(),
    "shard_offset": pa.int64(),
    "shard_length": pa.int64(),
    "zarr_index": pa.int64(),
    "licences": pa.list_(LICENCE),
    "label.fractions": SHARES,
    "label.agreement": pa.float64(),
    "label.mean_confidence": pa.float64(),
    "caption": pa.string(),
}
"""Columns that every dataset has, in this order; those of layers stand between ``licences`` and
``label.fractions``."""

LAYER_COLUMNS: dict[str, pa.DataType] = {
    "transform": pa.list_(pa.float64()),
    "shape_yx": pa.list_(pa.int32()),
    "item_ids": pa.list_(pa.string()),
    "datetimes": pa.list_(TIME),
    "platform": pa.list_(pa.string()),
    "baseline": pa.list_(pa.string()),
    "gap_days": pa.list_(pa.float64()),
    "clear_fraction": pa.list_(pa.float64()),
    "nodata_fraction": pa.list_(pa.float64()),
    "scale": pa.list_(pa.float64()),
    "offset": pa.list_(pa.float64()),
    "radiometry": pa.list_(pa.string()),
    "sun_azimuth_deg": pa.list_(pa.float64()),
    "sun_elevation_deg": pa.list_(pa.float64()),
    "view_angle_deg": pa.list_(pa.float64()),
    "orbit_state": pa.list_(pa.string()),
    "relative_orbit": pa.list_(pa.int32()),
    "window": pa.list_(pa.string()),
    "window_gap_days": pa.list_(pa.float64()),
    "near_gap_days": pa.list_(pa.float64()),
    "composite": pa.list_(pa.string()),
    "dates_used": pa.list_(pa.int32()),
    "first_datetimes": pa.list_(TIME),
    "last_datetimes": pa.list_(TIME),
    "incidence_deg": pa.list_(pa.float64()),
    "shift_dx_m": pa.list_(pa.float64()),
    "shift_dy_m": pa.list_(pa.float64()),
    "shift_reliability": pa.list_(pa.float64()),
    "shift_sigma_m": pa.list_(pa.float64()),
    "shift_reference": pa.list_(pa.string()),
    "registered": pa.list_(pa.string()),
    "applied_dx_m": pa.list_(pa.float64()),
    "applied_dy_m": pa.list_(pa.float64()),
    "applied_by": pa.list_(pa.string()),
}
"""Endings of ``<group>.<...>`` and ``<modality>.<...>`` columns: lists over the dates, but ``transform`` and
``shape_yx``."""

ROW_KEYS = (
    *(name for name in CHIP_COLUMNS if name not in ("geometry", "bbox", "sample_sha256", "zarr_index")),
    "geometry_wkb",
    *(f"<layer>.{ending}" for ending in LAYER_COLUMNS),
)
"""Keys that the pipeline hands in for a chip, less what the shard adds (``shard`` and its kin are
overwritten)."""

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
STRINGS = pa.list_(pa.string())
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

WGS84 = json.loads(
    '{"$schema":"https://proj.org/schemas/v0.7/projjson.schema.json","type":"GeographicCRS","name":"WGS 84",'
    '"datum":{"type":"GeodeticReferenceFrame","name":"World Geodetic System 1984","ellipsoid":{"name":"WGS 84",'
    '"semi_major_axis":6378137,"inverse_flattening":298.257223563}},"coordinate_system":{"subtype":"ellipsoidal",'
    '"axis":[{"name":"Geodetic latitude","abbreviation":"Lat","direction":"north","unit":"degree"},'
    '{"name":"Geodetic longitude","abbreviation":"Lon","direction":"east","unit":"degree"}]},'
    '"id":{"authority":"EPSG","code":4326}}'
)
"""EPSG:4326 as PROJJSON, written out so that another PROJ does not change the table's bytes."""


def in_table_order(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows along the Hilbert curve of their centres; chips of one place by id."""
    if not rows:
        return []
    bounds = shapely.bounds(shapely.from_wkb([row["geometry_wkb"] for row in rows]))
    places = hilbert_index((bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2)
    order = sorted(range(len(rows)), key=lambda i: (int(places[i]), str(rows[i]["chip_id"])))
    return [rows[i] for i in order]


def place_rows(
    rows: Sequence[Mapping[str, Any]],
    shards: Sequence[tuple[ShardRecord, Mapping[str, Segment]]],
    with_zarr: bool,
) -> list[dict[str, Any]]:
    """Rows in the table's order, each with where its sample lies.

    Raises:
        KeyError: a row whose chip is in no shard.
    """
    where: dict[str, dict[str, Any]] = {}
    for record, index in shards:
        for position, chip_id in enumerate(record.chip_ids):
            segment = index[chip_id]
            where[chip_id] = {
                "sample_sha256": segment.sha256,
                "shard": record.path,
                "shard_index": position,
                "shard_offset": segment.offset,
                "shard_length": segment.length,
            }
    return [
        {**row, **where[row["chip_id"]], "zarr_index": number if with_zarr else None}
        for number, row in enumerate(in_table_order(rows))
    ]


def chips_table(rows: Sequence[Mapping[str, Any]], layers: Sequence[str] = ()) -> pa.Table:
    """Rows as an Arrow table with the columns of the format, in the rows' order.

    Args:
        rows: as `ROW_KEYS` says; missing values are null.
        layers: groups and modalities in the order in which their columns shall stand; others follow by name.

    Raises:
        pyarrow.ArrowInvalid: a value that does not fit its column.
    """
    keys = {key for row in rows for key, value in row.items() if value is not None}
    keys -= {"geometry_wkb", "geometry", "bbox"}
    ranks = {name: rank for rank, name in enumerate(layers)}
    endings = list(LAYER_COLUMNS)
    per_layer = sorted(
        (key for key in keys if _is_of_layer(key)),
        key=lambda key: (
            ranks.get(_layer_of(key), len(ranks)),
            _layer_of(key),
            endings.index(_layer_ending(key)),
        ),
    )
    further = sorted(keys - set(CHIP_COLUMNS) - set(per_layer))
    fixed = list(CHIP_COLUMNS)
    split_at = fixed.index("label.fractions")
    columns: dict[str, pa.Array] = {}
    for name in (*fixed[:split_at], *per_layer, *fixed[split_at:], *further):
        if name == "geometry":
            columns[name] = pa.array([row["geometry_wkb"] for row in rows], pa.binary())
        elif name == "bbox":
            columns[name] = _bboxes(rows)
        else:
            wanted = CHIP_COLUMNS.get(name) or (LAYER_COLUMNS[_layer_ending(name)] if name in per_layer else None)
            wanted = SHARES if wanted is None and name.startswith("label.") and name.endswith(SHARES_OF) else wanted
            columns[name] = _column([row.get(name) for row in rows], wanted)
    return pa.table(columns)


def _is_of_layer(key: str) -> bool:
    return _layer_ending(key) in LAYER_COLUMNS and key not in CHIP_COLUMNS and not key.startswith(PLACE_PREFIX)


def _layer_of(key: str) -> str:
    return key.rpartition(".")[0]


def _layer_ending(key: str) -> str:
    return key.rpartition(".")[2] if "." in key else ""


def _bboxes(rows: Sequence[Mapping[str, Any]]) -> pa.Array:
    bounds = shapely.bounds(shapely.from_wkb([row["geometry_wkb"] for row in rows])).reshape(-1, 4)
    return pa.StructArray.from_arrays([pa.array(bounds[:, i]) for i in range(4)], fields=list(BBOX))


def _column(values: list[Any], wanted: pa.DataType | None) -> pa.Array:
    plain_values = [plain(value) for value in values]
    if wanted is None:
        found = pa.array(plain_values)
        empty = pa.types.is_null(found.type) or (
            pa.types.is_list(found.type) and pa.types.is_null(found.type.value_type)
        )
        return found if not empty else pa.array(plain_values, STRINGS if pa.types.is_list(found.type) else pa.string())
    if pa.types.is_map(wanted):
        return pa.array([None if v is None else sorted(v.items()) for v in plain_values], wanted)
    if wanted == pa.list_(LICENCE):
        return pa.array([None if v is None else _licences(v) for v in plain_values], wanted)
    if wanted == pa.list_(TIME):
        return pa.array([None if v is None else [_time(t) for t in v] for v in plain_values], wanted)
    return pa.array(plain_values, wanted)


def _licences(value: Any) -> list[dict[str, Any]]:
    """Licences as a list with ``layer`` in each, sorted; a mapping layer -> licence is accepted."""
    entries = [{"layer": layer, **entry} for layer, entry in value.items()] if isinstance(value, dict) else value
    return sorted(entries, key=lambda entry: str(entry.get("layer", "")))


def _time(value: str | None) -> datetime | None:
    if value is None:
        return None
    text = value.removesuffix("Z").removesuffix("+00:00")
    return np.datetime64(text, "us").item().replace(tzinfo=UTC)


def write_chips(path: Path, rows: Sequence[Mapping[str, Any]], layers: Sequence[str] = ()) -> int:
    """Write chips.parquet (GeoParquet 1.1) from rows as `place_rows` gives them; the number of rows."""
    table = chips_table(rows, layers)
    bounds = shapely.bounds(shapely.from_wkb([row["geometry_wkb"] for row in rows])).reshape(-1, 4)
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": WGS84}
    if rows:
        column["bbox"] = [*bounds[:, :2].min(0).tolist(), *bounds[:, 2:].max(0).tolist()]
    column["covering"] = {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    write_parquet(path, table.replace_schema_metadata({"geo": json.dumps(geo, separators=(",", ":"))}))
    return len(rows)


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


def write_run(path: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write run.parquet, ordered by chip; addresses lose their query strings."""
    further = sorted({key for row in rows for key in row} - set(RUN_COLUMNS))
    ordered = sorted((plain(row) for row in rows), key=lambda row: str(row.get("chip_id")))
    for row in ordered:
        row["urls"] = [without_query(url) for url in row.get("urls") or ()]
    columns = {name: pa.array([row.get(name) for row in ordered], kind) for name, kind in RUN_COLUMNS.items()}
    columns |= {name: _column([row.get(name) for row in ordered], None) for name in further}
    write_parquet(path, pa.table(columns))
    return len(ordered)


def text_rows(records: Sequence[TextRecord | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Text records as rows of texts.parquet, ordered by chip and text id.

    Raises:
        pydantic.ValidationError: a mapping that is no text record.
    """
    checked = [r if isinstance(r, TextRecord) else TextRecord.model_validate(dict(r)) for r in records]
    rows = [record.model_dump(mode="json") for record in sorted(checked, key=lambda r: (r.chip_id, r.text_id))]
    for row in rows:
        row["checks"] = json.dumps(plain(row["checks"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return rows


def write_texts(path: Path, records: Sequence[TextRecord | Mapping[str, Any]]) -> int:
    """Write texts.parquet, ordered by chip and text id; the number of rows."""
    write_parquet(path, pa.Table.from_pylist(text_rows(records), TEXT_SCHEMA))
    return len(records)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table with settings that are all fixed here, so that its bytes follow from its rows."""
    pq.write_table(
        table,
        path,
        row_group_size=rows_per_group(table.num_rows, table.nbytes),
        version="2.6",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        data_page_version="1.0",
    )


def rows_per_group(rows: int, size: int) -> int:
    """Rows that a row group takes so that it holds about `ROW_GROUP_BYTES` in memory; at least one.

    >>> rows_per_group(rows=1000, size=4 * ROW_GROUP_BYTES)
    250
    """
    return max(1, ROW_GROUP_BYTES * max(1, rows) // max(1, size))
