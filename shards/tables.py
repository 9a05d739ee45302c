"""chips.parquet, and how every table of a version is written: the same rows give the same bytes.

Rows become columns a few thousand at a time, so that a million chips are never a million Python dictionaries.

`ROW_KEYS` lists what a row of chips.parquet may hold; `chips_table` turns ``geometry_wkb`` into ``geometry`` and
``bbox``; `place_rows` adds ``sample_sha256``, ``shard``, ``shard_index``, ``shard_offset``, ``shard_length`` (bytes of
the sample inside its shard) and ``zarr_index``. Further keys become columns, sorted by name; what is null in every row
is no column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from schemas.chip import PLACE_PREFIX
from schemas.dataset import ShardRecord
from shards.hilbert import hilbert_index
from shards.layout import plain
from shards.tar import Segment

Row = TypeVar("Row")

ROWS_AT_ONCE = 4096
"""Rows that are Python objects at one time."""
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

STRINGS = pa.list_(pa.string())
WGS84 = json.loads(
    '{"$schema":"https://proj.org/schemas/v0.7/projjson.schema.json","type":"GeographicCRS","name":"WGS 84",'
    '"datum":{"type":"GeodeticReferenceFrame","name":"World Geodetic System 1984","ellipsoid":{"name":"WGS 84",'
    '"semi_major_axis":6378137,"inverse_flattening":298.257223563}},"coordinate_system":{"subtype":"ellipsoidal",'
    '"axis":[{"name":"Geodetic latitude","abbreviation":"Lat","direction":"north","unit":"degree"},'
    '{"name":"Geodetic longitude","abbreviation":"Lon","direction":"east","unit":"degree"}]},'
    '"id":{"authority":"EPSG","code":4326}}'
)
"""EPSG:4326 as PROJJSON, written out so that another PROJ does not change the table's bytes."""


def batched(rows: Iterable[Row], size: int) -> Iterator[tuple[Row, ...]]:
    """The rows in groups of ``size``, the last one shorter."""
    source = iter(rows)
    while batch := tuple(islice(source, size)):
        yield batch


def joined(parts: Sequence[pa.Table]) -> pa.Table:
    """Rows of tables behind each other; a column that one of them lacks is null there."""
    return pa.concat_tables(parts, promote_options="permissive")


def in_table_order(chip_ids: pa.ChunkedArray, geometry: pa.ChunkedArray) -> NDArray[np.intp]:
    """Numbers of the rows along the Hilbert curve of their centres; chips of one place by id."""
    if not len(chip_ids):
        return np.empty(0, np.intp)
    bounds = _bounds(geometry)
    places = hilbert_index((bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2)
    by_id = pc.rank(chip_ids, tiebreaker="dense").to_numpy()
    order: NDArray[np.intp] = np.lexsort((by_id, places))
    return order


def place_rows(
    chips: pa.Table, shards: Sequence[tuple[ShardRecord, Mapping[str, Segment]]], with_zarr: bool
) -> pa.Table:
    """The rows in the table's order, each with where its sample lies.

    Args:
        chips: as `chips_table` makes them.
        shards: all of the version's, with where each sample lies in them.
        with_zarr: whether a row's number is its place in Zarr.

    Raises:
        KeyError: a row whose chip is in no shard.
    """
    stored = [
        (record, number, index[chip_id]) for record, index in shards for number, chip_id in enumerate(record.chip_ids)
    ]
    found = pc.index_in(chips["chip_id"], pa.array([chip_id for record, _ in shards for chip_id in record.chip_ids]))
    if found.null_count:
        raise KeyError(pc.filter(chips["chip_id"], pc.is_null(found))[0].as_py())
    order = in_table_order(chips["chip_id"], chips["geometry"])
    where = [stored[number] for number in found.to_numpy()[order]]
    late: dict[str, pa.Array] = {
        "sample_sha256": pa.array([segment.sha256 for _, _, segment in where], pa.string()),
        "shard": pa.array([record.path for record, _, _ in where], pa.string()),
        "shard_index": pa.array([number for _, number, _ in where], pa.int32()),
        "shard_offset": pa.array([segment.offset for _, _, segment in where], pa.int64()),
        "shard_length": pa.array([segment.length for _, _, segment in where], pa.int64()),
        "zarr_index": pa.array(np.arange(len(where)) if with_zarr else [None] * len(where), pa.int64()),
    }
    placed = chips.take(pa.array(order)).combine_chunks()
    for name, values in late.items():
        placed = placed.set_column(placed.column_names.index(name), name, values)
    return placed


def chips_table(rows: Iterable[Mapping[str, Any]], layers: Sequence[str] = ()) -> pa.Table:
    """Rows as an Arrow table with the columns of the format, in the rows' order.

    Args:
        rows: as `ROW_KEYS` says; missing values are null.
        layers: groups and modalities in the order in which their columns shall stand; others follow by name.

    Raises:
        pyarrow.ArrowInvalid: a value that does not fit its column.
    """
    parts = [_as_columns(batch) for batch in batched(rows, ROWS_AT_ONCE)]
    return in_column_order(joined(parts or [_as_columns(())]), layers)


def in_column_order(table: pa.Table, layers: Sequence[str] = ()) -> pa.Table:
    """The columns in the format's order, each of one chunk; without further ones that are null in every row.

    Args:
        table: columns of rows, as `chips_table` or a stored chips.parquet has them.
        layers: groups and modalities in the order in which their columns shall stand; others follow by name.
    """
    keys = {name for name in table.column_names if table[name].null_count < len(table)} - set(CHIP_COLUMNS)
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
    fixed = list(CHIP_COLUMNS)
    split_at = fixed.index("label.fractions")
    wanted = (*fixed[:split_at], *per_layer, *fixed[split_at:], *sorted(keys - set(per_layer)))
    return pa.table({name: named(table[name].combine_chunks()) for name in wanted})


def _as_columns(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Some rows as columns, in any order; of further ones, as far as these rows tell their types."""
    keys = {key for row in rows for key, value in row.items() if value is not None}
    keys -= {"geometry_wkb", "geometry", "bbox"}
    geometry = pa.array([row["geometry_wkb"] for row in rows], pa.binary())
    columns: dict[str, pa.Array] = {}
    for name in (*CHIP_COLUMNS, *sorted(keys - set(CHIP_COLUMNS))):
        if name == "geometry":
            columns[name] = geometry
        elif name == "bbox":
            columns[name] = _bboxes(geometry)
        else:
            columns[name] = _column([row.get(name) for row in rows], _type_of(name))
    return pa.table(columns)


def _type_of(name: str) -> pa.DataType | None:
    """The type that the format gives a column; None where the values decide."""
    if name in CHIP_COLUMNS:
        return CHIP_COLUMNS[name]
    if _is_of_layer(name):
        return LAYER_COLUMNS[_layer_ending(name)]
    return SHARES if name.startswith("label.") and name.endswith(SHARES_OF) else None


def named(values: pa.Array) -> pa.Array:
    """Values of which nothing told the type are strings, or lists of them."""
    if pa.types.is_list(values.type) and pa.types.is_null(values.type.value_type):
        return values.cast(STRINGS)
    return values.cast(pa.string()) if pa.types.is_null(values.type) else values


def _is_of_layer(key: str) -> bool:
    return _layer_ending(key) in LAYER_COLUMNS and key not in CHIP_COLUMNS and not key.startswith(PLACE_PREFIX)


def _layer_of(key: str) -> str:
    return key.rpartition(".")[0]


def _layer_ending(key: str) -> str:
    return key.rpartition(".")[2] if "." in key else ""


def _bounds(geometry: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """(rows, 4) west, south, east, north of footprints."""
    found: NDArray[np.float64] = shapely.bounds(shapely.from_wkb(geometry.to_numpy(zero_copy_only=False))).reshape(
        -1, 4
    )
    return found


def _bboxes(geometry: pa.Array) -> pa.Array:
    bounds = _bounds(geometry)
    return pa.StructArray.from_arrays([pa.array(bounds[:, i]) for i in range(4)], fields=list(BBOX))


def _column(values: list[Any], wanted: pa.DataType | None) -> pa.Array:
    plain_values = [plain(value) for value in values]
    if wanted is None:
        return pa.array(plain_values)
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


def write_chips(path: Path, chips: pa.Table) -> int:
    """Write chips.parquet (GeoParquet 1.1) from rows as `place_rows` gives them; the number of rows."""
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": geometry_types(chips["geometry"]), "crs": WGS84}
    if len(chips):
        column["bbox"] = [
            *(pc.min(_side(chips, side)).as_py() for side in ("xmin", "ymin")),
            *(pc.max(_side(chips, side)).as_py() for side in ("xmax", "ymax")),
        ]
    column["covering"] = {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    write_parquet(path, chips.replace_schema_metadata({"geo": json.dumps(geo, separators=(",", ":"))}))
    return len(chips)


def as_geoparquet(table: pa.Table) -> pa.Table:
    """A table with a column ``geometry`` (WKB, degrees), marked so that it is read as GeoParquet 1.1."""
    column = {"encoding": "WKB", "geometry_types": geometry_types(table["geometry"]), "crs": WGS84}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return table.replace_schema_metadata({"geo": json.dumps(geo)})


def geometry_types(footprints: pa.Array | pa.ChunkedArray) -> list[str]:
    """Kinds of footprints as GeoParquet names them: those that the antimeridian cuts have several parts."""
    kinds = np.unique(shapely.get_type_id(shapely.from_wkb(footprints.to_numpy(zero_copy_only=False))))
    named = {shapely.GeometryType.POLYGON: "Polygon", shapely.GeometryType.MULTIPOLYGON: "MultiPolygon"}
    return [name for kind, name in named.items() if kind in kinds] or ["Polygon"]


def _side(chips: pa.Table, side: str) -> pa.ChunkedArray:
    return pc.struct_field(chips["bbox"], side)


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
