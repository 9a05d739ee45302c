"""The columns by which an index of items is searched: `Limits` rules rows out, `Selection` is what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from schemas.recipe import LonLatBox
from sources.footprint import box_parts, unfolded
from sources.items import matches

CATALOG_COLUMN = "terraweft:catalog"
"""Column of the name that the item's catalog has in the recipe of the run that froze the index."""
BBOX = ("xmin", "ymin", "xmax", "ymax")
TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Selection:
    """Items that were found, as columns, in time order and ties by id."""

    rows: NDArray[np.int64]
    """(n,) their rows in the index."""
    collection: NDArray[np.object_]
    """(n,) STAC collection ids."""
    item_id: NDArray[np.object_]
    """(n,) STAC item ids."""
    time_us: NDArray[np.int64]
    """(n,) time of acquisition, or its begin, in microseconds since 1970."""
    footprint: NDArray[np.object_]
    """(n,) EPSG:4326 geometries, valid; the bounding box where an item has no geometry."""
    licence: NDArray[np.object_]
    """(n,) what the item itself says of its licence; empty where it says nothing."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: NDArray[Any]) -> Selection:
        """The items at some places (integers), or where a mask holds (booleans)."""
        return Selection(
            self.rows[index],
            self.collection[index],
            self.item_id[index],
            self.time_us[index],
            self.footprint[index],
            self.licence[index],
        )


CORE = (
    "id", "collection", "geometry", "bbox", "datetime", "start_datetime", "end_datetime", "license", CATALOG_COLUMN,
)  # fmt: skip
_NO_NUMBERS, _NO_OBJECTS = np.empty(0, np.int64), np.empty(0, object)
NOTHING = Selection(_NO_NUMBERS, _NO_OBJECTS, _NO_OBJECTS, _NO_NUMBERS, _NO_OBJECTS, _NO_OBJECTS)
"""No items."""


class Limits:
    """What a search asks of id-free columns."""

    def __init__(
        self, collection: str, frozen: str, boxes: Sequence[LonLatBox], start: datetime | None, end: datetime | None
    ) -> None:
        self.equal = {"collection": collection} | ({CATALOG_COLUMN: frozen} if frozen else {})
        self.boxes = np.array(boxes, np.float64).reshape(-1, 4)
        self.start_us, self.end_us = _micros(start), _micros(end)

    def rules_out(self, group: pq.RowGroupMetaData) -> bool:
        """Whether the statistics of a row group say that no row of it fits."""
        found = {group.column(i).path_in_schema: group.column(i).statistics for i in range(group.num_columns)}

        def ends(path: str) -> tuple[Any, Any] | None:
            statistics = found.get(path)
            if statistics is None or not statistics.has_min_max or statistics.null_count:
                return None
            return statistics.min, statistics.max

        for name, wanted in self.equal.items():
            if (limits := ends(name)) and not limits[0] <= wanted <= limits[1]:
                return True
        sides = [ends(f"bbox.{side}") for side in BBOX]
        if all(sides):
            (west, _), (south, _), (_, east), (_, north) = sides  # type: ignore[misc]
            crosses = sides[0][1] > sides[2][0] or _is_uncertain(west, east)  # type: ignore[index]
            lon = (self.boxes[:, 0] <= east) & (self.boxes[:, 2] >= west) | crosses
            if not np.any(lon & (self.boxes[:, 1] <= north) & (self.boxes[:, 3] >= south)):
                return True
        moments = ends("datetime")
        if moments and isinstance(moments[0], datetime) and found.get("end_datetime") is None:
            first, last = _micros(moments[0]) or 0, _micros(moments[1]) or 0
            too_late = self.end_us is not None and first > self.end_us
            return too_late or (self.start_us is not None and last < self.start_us)
        return False

    def mask(self, table: pa.Table) -> NDArray[np.bool_]:
        """(n,) rows that fit; geometries are looked at later."""
        keep = np.ones(table.num_rows, dtype=bool)
        for name, wanted in self.equal.items():
            if name in table.column_names:
                keep &= pc.fill_null(pc.equal(table[name], wanted), False).to_numpy(zero_copy_only=False)
        first, last = _times(table)
        keep &= first != _NAT
        if self.end_us is not None:
            keep &= first <= self.end_us
        if self.start_us is not None:
            keep &= np.where(last == _NAT, first, last) >= self.start_us
        keep &= self._touches(bounds_of(table["bbox"]))
        return keep

    def _touches(self, bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
        west, south, east, north = bounds.T
        crosses, uncertain = west > east, _is_uncertain(west, east)  # whose geometry decides
        touched = np.zeros(len(bounds), dtype=bool)
        for box in self.boxes:
            plain = (box[0] <= east) & (box[2] >= west)
            lon = np.where(crosses, (box[0] <= east) | (box[2] >= west), plain | uncertain)
            touched |= lon & (box[1] <= north) & (box[3] >= south)
        touched |= np.isnan(west)
        return touched


_NAT = np.iinfo(np.int64).min


def _micros(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us").astype(np.int64))


def _times(table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) begin and end of each item in microseconds; the smallest integer where there is none."""
    columns = {
        name: _as_micros(table[name])
        for name in ("datetime", "start_datetime", "end_datetime")
        if name in table.column_names
    }
    nothing = np.full(table.num_rows, _NAT)
    moment, start, end = (columns.get(n, nothing) for n in ("datetime", "start_datetime", "end_datetime"))
    first = np.where(moment != _NAT, moment, np.where(start != _NAT, start, end))
    return first, end


def _as_micros(column: pa.ChunkedArray) -> NDArray[np.int64]:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        import pandas as pd

        parsed = pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601", errors="coerce")
        column = pa.chunked_array([pa.array(parsed, TIME)])
    if pa.types.is_null(column.type):
        return np.full(len(column), _NAT)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type):
        raise ValueError(f"times are written as {column.type}")
    micros = pc.cast(column, pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
    return np.asarray(pc.fill_null(micros, int(_NAT)).to_numpy(), np.int64)


def bounds_of(bbox: pa.ChunkedArray) -> NDArray[np.float64]:
    """(n, 4) west, south, east, north of a column of boxes, structs or lists; NaN where there is none."""
    column = pa.chunked_array([_storage(chunk) for chunk in bbox.chunks], bbox.type)
    if not pa.types.is_struct(column.type):
        values = [row if row and len(row) == 4 else [row[0], row[1], row[3], row[4]] if row else [np.nan] * 4
                  for row in column.to_pylist()]  # fmt: skip
        return np.array(values, np.float64).reshape(-1, 4)
    sides = [pc.struct_field(column, side).to_numpy(zero_copy_only=False) for side in BBOX]
    return np.column_stack(sides).astype(np.float64)


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def property_mask(column: pa.ChunkedArray, name: str, wanted: str | int | float | bool) -> NDArray[np.bool_]:
    """(n,) rows whose property is what is wanted; every distinct value is judged once."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    fits = np.array([matches({"properties": {name: value}}, {name: wanted}) for value in values] + [False])
    codes = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    judged: NDArray[np.bool_] = fits[codes.astype(np.int64)]
    return judged


def plain_columns(table: pa.Table, collection: str) -> pa.Table:
    """The columns of a selection in one form, so that tables of several files can stand below each other."""
    first, _ = _times(table)
    bounds = bounds_of(table["bbox"])
    geometry = table["geometry"].combine_chunks()
    text = pa.array([""] * table.num_rows, pa.string())
    licence = table["license"].cast(pa.string()) if "license" in table.column_names else text
    found = table["collection"].cast(pa.string()) if "collection" in table.column_names else None
    return pa.table(
        {
            "id": table["id"].cast(pa.string()),
            "collection": found if found is not None else pa.array([collection] * table.num_rows, pa.string()),
            "time": pa.array(first),
            "geometry": pa.chunked_array([_storage(geometry).cast(pa.binary())]),
            "licence": pc.fill_null(licence, ""),
            **{side: pa.array(bounds[:, i]) for i, side in enumerate(BBOX)},
        }
    )


def _is_uncertain(west: Any, east: Any) -> Any:
    """Whether what lies between two longitudes may lie over the antimeridian: too wide, or beyond 180 degrees."""
    return (east - west > 180.0) | (west < -180.0) | (east > 180.0)


def to_selection(table: pa.Table, rows: NDArray[np.int64], boxes: Sequence[LonLatBox]) -> Selection:
    """What truly touches the boxes, in time order."""
    footprints = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    bare = shapely.is_missing(footprints) | shapely.is_empty(footprints)
    if bare.any():
        sides = [table[side].to_numpy()[bare] for side in BBOX]
        footprints[bare] = [box_parts(*map(float, of_one)) for of_one in zip(*sides, strict=True)]
    bounds = shapely.bounds(footprints)
    for row in np.flatnonzero(_is_uncertain(bounds[:, 0], bounds[:, 2])):
        footprints[row] = unfolded(footprints[row])
    broken = ~shapely.is_valid(footprints)
    footprints[broken] = shapely.make_valid(footprints[broken])
    ground = shapely.STRtree([shapely.box(*box) for box in boxes])
    touched = np.zeros(len(rows), dtype=bool)
    touched[ground.query(footprints, predicate="intersects")[0]] = True
    ids = table["id"].to_numpy(zero_copy_only=False).astype(object)
    found = Selection(
        rows,
        table["collection"].to_numpy(zero_copy_only=False).astype(object),
        ids,
        table["time"].to_numpy(),
        footprints,
        table["licence"].to_numpy(zero_copy_only=False).astype(object),
    ).take(touched)
    ranks = np.unique(found.item_id.astype(str), return_inverse=True)[1] if len(found) else np.empty(0, np.int64)
    return found.take(np.lexsort([ranks, found.time_us]))
