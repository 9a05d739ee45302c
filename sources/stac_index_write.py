"""Writing an index of items as stac-geoparquet: `IndexWriter`.

Columns as the stac-geoparquet specification 1.1 names them, so that rustac, stac-geoparquet, geopandas and DuckDB read
it; beside them each item's JSON as its catalog gave it (`ITEM_COLUMN`), since columns alone do not keep an item:
neither library gives all real items back as they were (dates are rewritten, absent and null are one, what is a number
in one item and text in another fits no column).
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from shapely.geometry import shape

from sources.footprint import box_parts, unfolded
from sources.items import Item, parse_time
from sources.stac_index import COLLECTIONS_KEY, ITEM_COLUMN, IndexCatalog
from sources.stac_index_columns import BBOX, CATALOG_COLUMN, TIME, bounds_of

log = logging.getLogger(__name__)

ROWS_PER_GROUP = 512
"""Items of a row group: about 10 MB of Sentinel-2 items; the unit that a search rules out or reads."""
MAX_ASSET_KEYS = 300
"""More keys than this in one file are names of things and no columns: the item's JSON alone has the rarer ones."""
MAX_PROPERTIES = 300
"""Likewise for properties."""
ASSET = pa.struct(
    [("href", pa.string()), ("title", pa.string()), ("type", pa.string()), ("roles", pa.list_(pa.string()))]
)
LINK = pa.struct([(name, pa.string()) for name in ("rel", "href", "type", "title")])
CORE: dict[str, pa.DataType] = {
    "type": pa.string(),
    "stac_version": pa.string(),
    "stac_extensions": pa.list_(pa.string()),
    "id": pa.string(),
    "collection": pa.string(),
    "geometry": pa.binary(),
    "bbox": pa.struct([(side, pa.float64()) for side in BBOX]),
    "datetime": TIME,
    "start_datetime": TIME,
    "end_datetime": TIME,
    "links": pa.list_(LINK),
    CATALOG_COLUMN: pa.string(),
    ITEM_COLUMN: pa.string(),
}
"""Columns of every index; ``assets`` and the properties that are plain numbers or words stand between them."""
Rows = tuple[IndexCatalog, np.ndarray[Any, np.dtype[np.int64]], str, str]
"""Rows of another index, its name in the recipe, and the collection of all of them where it has no column for that."""
TIMES = ("datetime", "start_datetime", "end_datetime")
STAMPS = frozenset({"created", "updated", "expires", "published", "unpublished"})
"""Properties that the specification wants as times."""
STATISTICS = ["id", "collection", "datetime", "end_datetime", CATALOG_COLUMN, *(f"bbox.{side}" for side in BBOX)]


def items_table(items: Sequence[Item], catalog: str = "", collection: str = "") -> pa.Table:
    """Items as the columns of an index, in their order; of the collection that was asked, where one is named.

    ``geometry`` is within [-180, 180], the item's own box where it has none, and ``bbox`` holds the bounds of
    ``geometry``, so that the column decides as the geometry would.
    """
    footprints = np.array([_footprint(item) for item in items], dtype=object)
    for index in np.flatnonzero(shapely.is_missing(footprints)):
        own = _own_box(items[int(index)])
        footprints[index] = None if math.isnan(own[0]) else box_parts(*own)
    properties = [_mapping(item.get("properties")) for item in items]
    columns: dict[str, pa.Array] = {
        "type": pa.array(["Feature"] * len(items)),
        "stac_version": _texts(item.get("stac_version") for item in items),
        "stac_extensions": pa.array([_words(item.get("stac_extensions")) for item in items], CORE["stac_extensions"]),
        "id": _texts(item.get("id") for item in items),
        "collection": _texts(collection or item.get("collection") for item in items),
        "geometry": pa.array(shapely.to_wkb(footprints), pa.binary()),
        "bbox": _box_column(shapely.bounds(footprints)),
        **{name: pa.array([_time(p.get(name)) for p in properties], TIME) for name in TIMES},
        "assets": _assets([item.get("assets") for item in items]),
        "links": pa.array([_links(item.get("links")) for item in items], CORE["links"]),
        **_plain_properties(properties),
        CATALOG_COLUMN: pa.array([catalog] * len(items)),
        ITEM_COLUMN: pa.array([json.dumps(item, separators=(",", ":"), ensure_ascii=False) for item in items]),
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})


class IndexWriter:
    """Collects items and rows of other indexes, then writes one file; an index is there complete or not at all.

    What is added lies on disk until then: memory holds one batch. Items stand by place and time, rows of another index
    as they stood there.

    Args:
        path: the file to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spool = path.with_name(f".{path.name}.{os.getpid()}")
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir(parents=True)
        self.collections: set[str] = set()
        self._parts: list[Path] = []
        self._seen: set[tuple[str, ...]] = set()
        self._marked, self._since = 0, set[tuple[str, ...]]()
        self._indexes: list[Rows] = []

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.spool, ignore_errors=True)

    def add(self, items: Iterable[Item], catalog: str = "", collection: str = "") -> None:
        """Items as their catalog gave them, each once; found again by the ``collection`` that was asked, if one is."""
        batch: list[Item] = []
        for item in items:
            key = (catalog, collection, str(item.get("collection")), str(item.get("id")))
            if key not in self._seen:
                self._seen.add(key)
                self._since.add(key)
                batch.append(item)
            if len(batch) == ROWS_PER_GROUP:
                self._spool(items_table(batch, catalog, collection))
                batch = []
        if batch:
            self._spool(items_table(batch, catalog, collection))

    def mark(self) -> None:
        """What has been added so far stays, whatever `undo` does."""
        self._marked, self._since = len(self._parts), set()

    def undo(self) -> None:
        """Forget the items that were added since `mark`."""
        for path in self._parts[self._marked :]:
            path.unlink()
        del self._parts[self._marked :]
        self._seen -= self._since
        self._since = set()

    def add_rows(
        self, index: IndexCatalog, rows: np.ndarray[Any, np.dtype[np.int64]], catalog: str = "", collection: str = ""
    ) -> None:
        """Rows of another index, copied as columns when the file is written; each once.

        They are of ``collection`` where the index has no column for that.
        """
        of_all = collection if any("collection" not in schema.names for schema in index.schemas()) else ""
        for place, (known, before, *names) in enumerate(self._indexes):
            if known is index and names == [catalog, of_all]:
                self._indexes[place] = (index, np.union1d(before, rows), catalog, of_all)
                return
        self._indexes.append((index, np.unique(rows), catalog, of_all))

    def close(self) -> int:
        """Write the file; the number of items."""
        try:
            return self._write()
        finally:
            shutil.rmtree(self.spool, ignore_errors=True)

    def _spool(self, table: pa.Table) -> None:
        path = self.spool / f"{len(self._parts):06d}.arrow"
        with pa.ipc.new_file(path, table.schema) as stream:
            stream.write_table(table)
        self._parts.append(path)

    def _write(self) -> int:
        for index, rows, catalog, collection in [entry for entry in self._indexes if self._is_odd(entry[0])]:
            self.add(index.delivered(rows), catalog, collection)
        copied = [entry for entry in self._indexes if not self._is_odd(entry[0])]
        parts = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in self._parts]
        schema = unified([part.schema for part in parts] + [s for index, *_ in copied for s in index.schemas()])
        temporary = self.path.with_name(f".{self.path.name}.tmp-{os.getpid()}")
        count = 0
        leaves = [field.name for field in schema if not pa.types.is_nested(field.type) and field.name not in _BULKY]
        with pq.ParquetWriter(
            temporary,
            schema.with_metadata(self._metadata()),
            version="2.6",
            compression="zstd",
            compression_level=1,
            use_dictionary=leaves,
            write_statistics=[*STATISTICS, *(name for name in leaves if name not in STATISTICS)],
        ) as writer:
            for table in self._tables(parts, copied, schema):
                writer.write_table(table, row_group_size=ROWS_PER_GROUP)
                count += table.num_rows
        os.replace(temporary, self.path)
        return count

    def _tables(
        self,
        parts: Sequence[pa.Table],
        copied: Sequence[Rows],
        schema: pa.Schema,
    ) -> Iterator[pa.Table]:
        if parts:
            whole = pa.concat_tables([conform(part, schema) for part in parts])
            order = _order(whole)
            for first in range(0, len(order), ROWS_PER_GROUP):
                yield whole.take(pa.array(order[first : first + ROWS_PER_GROUP])).combine_chunks()
        for index, rows, catalog, collection in copied:
            for table in index.tables(rows):
                known = table.select([name for name in table.column_names if name != CATALOG_COLUMN])
                for name, value in ((CATALOG_COLUMN, catalog), ("collection", collection)):
                    if name not in known.column_names:
                        known = known.append_column(name, pa.array([value] * len(known), pa.string()))
                yield conform(known, schema)

    def _is_odd(self, index: IndexCatalog) -> bool:
        """Whether rows of an index cannot be copied as columns without losing something."""
        mine = [pa.schema(list(CORE.items()))] + [s for other, *_ in self._indexes for s in other.schemas()]
        mine += [pa.ipc.open_file(pa.memory_map(str(path))).schema for path in self._parts]
        kept = set(unified(mine).names)
        return any(ITEM_COLUMN not in schema.names and not set(schema.names) <= kept for schema in index.schemas())

    def _metadata(self) -> dict[bytes, bytes]:
        covering = {"bbox": {side: ["bbox", side] for side in BBOX}}
        column = {"encoding": "WKB", "geometry_types": [], "covering": covering}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        return {
            b"geo": json.dumps(geo).encode(),
            b"stac-geoparquet": json.dumps({"version": "1.1.0"}).encode(),
            COLLECTIONS_KEY: json.dumps(sorted(self.collections)).encode(),
        }


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """One schema for all: columns and asset keys together, numbers widened, a column of two kinds left out.

    Core columns come first, then the others by name, so that the same items give the same bytes.
    """
    fields: dict[str, pa.Field | None] = {name: pa.field(name, kind) for name, kind in CORE.items()}
    for schema in schemas:
        for field in schema:
            plain = pa.field(field.name, getattr(field.type, "storage_type", field.type))
            known = fields.get(field.name, plain)
            fields[field.name] = None if known is None else _merged(known, plain)
    names = [name for name in CORE if name != ITEM_COLUMN]
    names += sorted(name for name, field in fields.items() if field is not None and name not in CORE)
    return pa.schema([fields[name] for name in (*names, ITEM_COLUMN)])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with a schema's columns, null where it has none of its own."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
            continue
        column = table[field.name]
        if isinstance(column.type, pa.ExtensionType):
            column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
        if field.name == "bbox" and pa.types.is_list(column.type):
            column = pa.chunked_array([_box_column(bounds_of(column))])
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.table(columns, schema=schema)


def _box_column(bounds: np.ndarray[Any, np.dtype[np.float64]]) -> pa.Array:
    """(n, 4) bounds as structs; null where they are NaN."""
    sides = [pa.array(bounds[:, i], mask=np.isnan(bounds[:, i])) for i in range(4)]
    return pa.StructArray.from_arrays(sides, fields=list(CORE["bbox"]))


_BULKY = frozenset({ITEM_COLUMN, "geometry", "id"})
_RESERVED = frozenset({*CORE, "assets"})


def _merged(one: pa.Field, other: pa.Field) -> pa.Field | None:
    if one.name in CORE and not pa.types.is_nested(one.type):
        return one
    try:
        merged = pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive").field(0)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return one if one.name in CORE else None
    return one if one.name in CORE and merged.type != one.type and one.name != "assets" else merged


def _order(table: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Along a coarse Z-order curve of the centres (0.1 degree), then in time, then by collection and id."""
    sides = [np.asarray(pc.struct_field(table["bbox"], side).to_numpy(), np.float64) for side in BBOX]
    x = np.nan_to_num((sides[0] + sides[2]) / 2 + 180.0) * 10
    y = np.nan_to_num((sides[1] + sides[3]) / 2 + 90.0) * 10
    place = _interleaved(x.astype(np.uint64)) | (_interleaved(y.astype(np.uint64)) << np.uint64(1))
    times = np.asarray(pc.fill_null(table["datetime"].cast(pa.int64()), 0).to_numpy(), np.int64)
    names = [np.array(table[name].to_pylist(), dtype=str) for name in (CATALOG_COLUMN, "collection", "id")]
    return np.lexsort([names[2], names[1], names[0], times, place])


def _interleaved(values: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Every bit of 16 moved to twice its place."""
    spread = values & np.uint64(0xFFFF)
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        spread = (spread | (spread << np.uint64(shift))) & np.uint64(mask)
    return spread


def _footprint(item: Item) -> Any:
    geometry = item.get("geometry")
    if not isinstance(geometry, Mapping):
        return None
    try:
        found = unfolded(shape(geometry))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, shapely.errors.ShapelyError):
        return None
    return None if found.is_empty else found


def _own_box(item: Item) -> list[float]:
    box = item.get("bbox")
    try:
        numbers = [float(value) for value in box] if box else []
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) == 6:
        numbers = [numbers[0], numbers[1], numbers[3], numbers[4]]
    return numbers if len(numbers) == 4 and all(map(math.isfinite, numbers)) else [math.nan] * 4


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _words(value: Any) -> list[str] | None:
    return [str(word) for word in value] if isinstance(value, list) else None


def _time(value: Any) -> Any:
    try:
        return parse_time(value) if value else None
    except (ValueError, TypeError, AttributeError):
        return None


def _assets(found: Sequence[Any]) -> pa.Array | None:
    counts = Counter(key for assets in found if isinstance(assets, Mapping) for key in assets)
    keys = sorted(key for key, _ in counts.most_common(MAX_ASSET_KEYS))
    if not keys:
        return None
    rows = [{key: _asset(assets.get(key)) for key in keys} if isinstance(assets, Mapping) else None for assets in found]
    return pa.array(rows, pa.struct([(key, ASSET) for key in keys]))


def _asset(asset: Any) -> dict[str, Any] | None:
    if not isinstance(asset, Mapping):
        return None
    words = {name: str(asset[name]) for name in ("href", "title", "type") if asset.get(name) is not None}
    return {**words, "roles": _words(asset.get("roles"))}


def _links(links: Any) -> list[dict[str, Any]]:
    found = [link for link in links if isinstance(link, Mapping)] if isinstance(links, list) else []
    return [{name: str(link[name]) for name in LINK.names if link.get(name) is not None} for link in found]


def _plain_properties(properties: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    """Columns of the properties that are, in all items that have them, text, truth values or numbers."""
    counts = Counter(key for found in properties for key in found)
    columns = {}
    for key in sorted(key for key, _ in counts.most_common(MAX_PROPERTIES) if key not in _RESERVED):
        values = [found.get(key) for found in properties]
        if key in STAMPS:
            columns[key] = pa.array([_time(value) for value in values], TIME)
            continue
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            kinds, values = {float}, [None if value is None else float(value) for value in values]
        if len(kinds) == 1 and (kind := _PLAIN.get(next(iter(kinds)))) is not None:
            try:
                columns[key] = pa.array(values, kind)
            except (pa.ArrowInvalid, OverflowError):
                log.debug("property %s does not fit a column", key)
    return columns


_PLAIN: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}
