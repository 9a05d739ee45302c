"""An index of items as stac-geoparquet: `IndexCatalog` finds thousands of items per second by columns alone.

Row groups whose statistics rule them out are not read; of the others only the columns that decide. Items themselves
are read when somebody asks for them. An index that `sources.stac_index_write` made holds each item's JSON as its
catalog gave it (column `ITEM_COLUMN`); one that other software made is put together from its columns, as the library
stac-geoparquet does it, without the nulls that columns add.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from shapely.errors import ShapelyError

from schemas.errors import CatalogError, UnsupportedItemError
from schemas.recipe import LonLatBox, fill
from schemas.scene import Opener
from sources.items import Item, matches
from sources.openers import PlainOpener, unsigned
from sources.parquet_files import open_files
from sources.stac_index_columns import (
    BBOX,
    CORE,
    NOTHING,
    Limits,
    Selection,
    plain_columns,
    property_mask,
    to_selection,
)
from sources.window import NONSENSE, SearchWindow, found_item, name_of

Read = TypeVar("Read")

ITEM_COLUMN = "terraweft:item"
"""Column of the item's JSON."""
COLLECTIONS_KEY = b"terraweft:collections"
"""Key of the file's metadata: collections that were asked for, those without any item too."""
KEPT_GROUPS = 8
"""Row groups whose items are kept in memory: neighbours are asked for together."""
Where = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class _Group:
    """One row group of one file."""

    file: int
    number: int
    first_row: int
    rows: int


class IndexCatalog:
    """A stac-geoparquet index. Pickles as its address; opens nothing before the first search.

    Args:
        href: a file or a folder of ``.parquet`` files: a path, ``http(s)://``, ``s3://``, ``gs://`` or ``az://``.
        allow_local: whether its items may point to this machine or a private network.
        frozen: of an index that a run froze, the catalog whose items are wanted; all where empty.
        variables: values of ``${TERRAWEFT_...}`` in addresses, by which a published index says where files lie; where
            absent, addresses stay as they are.
        alternate: name of the alternate address to read assets at, where they have one.
        opener: secrets and limits of the index's own host; none of either where absent.
    """

    def __init__(
        self,
        href: str,
        allow_local: bool = False,
        frozen: str = "",
        variables: Mapping[str, str] | None = None,
        alternate: str | None = None,
        opener: Opener | None = None,
    ) -> None:
        self.opener = opener or PlainOpener()
        self.href, self.allow_local, self.frozen = href, allow_local, frozen
        self.variables, self.alternate = variables, alternate
        self._left_out: dict[str, dict[str, str]] = {}
        self._files: list[pq.ParquetFile] = []
        self._groups: list[_Group] = []
        self._starts: NDArray[np.int64] = np.empty(0, np.int64)
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()

    def __reduce__(self) -> tuple[type[IndexCatalog], tuple[Any, ...]]:
        return type(self), (self.href, self.allow_local, self.frozen, self.variables, self.alternate, self.opener)

    def __len__(self) -> int:
        self._open()
        return sum(group.rows for group in self._groups)

    def search(
        self,
        collection: str,
        bbox: LonLatBox,
        start: datetime | None = None,
        end: datetime | None = None,
        where: Where | None = None,
    ) -> list[Item]:
        """See `sources.base.CatalogClient.search`."""
        found = self.select(collection, [bbox], start, end, where)
        items = []
        for item in self.delivered(found.rows):
            try:
                items.append(self.as_found(item))
            except UnsupportedItemError as error:
                self._left_out.setdefault(collection, {})[name_of(item)] = error.what
        return items

    def left_out(self, collection: str) -> Mapping[str, str]:
        """See `sources.base.CatalogClient.left_out`."""
        return self._left_out.get(collection, {})

    def select(
        self,
        collection: str,
        boxes: Sequence[LonLatBox],
        start: datetime | None = None,
        end: datetime | None = None,
        where: Where | None = None,
    ) -> Selection:
        """The items of a collection that touch any of the boxes and the time window, as columns.

        Properties are compared as every catalog here compares them (`sources.items.matches`); one that is no column of
        the index is read from the items themselves.

        Raises:
            CatalogError: no such collection in the index, or no index.
        """
        self._open()
        boxes = [part for box in boxes for part in SearchWindow(box).boxes()]
        return self._guarded(lambda: self._select(collection, boxes, start, end, dict(where or {})))

    def _select(
        self,
        collection: str,
        boxes: Sequence[LonLatBox],
        start: datetime | None,
        end: datetime | None,
        wanted: dict[str, str | int | float | bool],
    ) -> Selection:
        limits = Limits(collection, self.frozen, boxes, start, end)
        parts: list[pa.Table] = []
        rows: list[NDArray[np.int64]] = []
        for group in self._groups:
            file = self._files[group.file]
            names = file.schema_arrow.names
            if limits.rules_out(file.metadata.row_group(group.number)):
                continue
            columns = [name for name in (*CORE, *wanted) if name in names]
            table = self._read(group, columns)
            keep = limits.mask(table)
            for name in [name for name in wanted if name in names]:
                keep &= property_mask(table[name], name, wanted[name])
            index = np.flatnonzero(keep)
            hidden = {name: value for name, value in wanted.items() if name not in names}
            if hidden and index.size:
                documents = self.delivered(group.first_row + index)
                index = index[[matches({"properties": d.get("properties") or {}}, hidden) for d in documents]]
            if index.size:
                parts.append(plain_columns(table.take(pa.array(index)), collection))
                rows.append(group.first_row + index)
        if not parts:
            self._need_collection(collection)
            return NOTHING
        table = pa.concat_tables(parts)
        return to_selection(table, np.concatenate(rows), boxes)

    def columns(self, rows: NDArray[np.int64]) -> Selection:
        """Items of some rows as columns, in time order."""
        if not len(rows):
            return NOTHING
        ordered = np.sort(rows)
        parts = [plain_columns(table, "") for table in self.tables(ordered)]
        return to_selection(pa.concat_tables(parts), ordered, [(-180.0, -90.0, 180.0, 90.0)])

    def delivered(self, rows: Iterable[int] | NDArray[np.int64]) -> Iterator[Item]:
        """The items of some rows as their catalog gave them, in the order of the rows."""
        self._open()
        for row in rows:
            number = int(np.searchsorted(self._starts, row, side="right")) - 1
            table, place = self._group_table(number), int(row) - self._groups[number].first_row
            yield self._filled(self._guarded(partial(_document, table, place)))

    def _filled(self, item: Item) -> Item:
        """The item with addresses on this machine."""
        if self.variables is None:
            return item
        for key, asset in (item.get("assets") or {}).items():
            if isinstance(asset, dict) and "${" in str(asset.get("href", "")):
                asset["href"] = fill(asset["href"], self.variables, f"item {item.get('id')}: asset {key}")
        return item

    def as_found(self, item: Item) -> Item:
        """An item in the form in which a search gives it.

        Raises:
            UnsupportedItemError: it is none.
        """
        try:
            return found_item(item, "", self.allow_local, self.alternate)
        except NONSENSE as error:
            what = f"item {name_of(item)} is no STAC item: {str(error)[:200]}"
            raise UnsupportedItemError(what, unsigned(self.href)) from error

    def tables(self, rows: NDArray[np.int64]) -> Iterator[pa.Table]:
        """Whole rows, all columns, in the order in which they lie in the index: for copying them to another."""
        self._open()
        rows = np.sort(rows)
        for group in self._groups:
            low, high = np.searchsorted(rows, [group.first_row, group.first_row + group.rows])
            if high > low:
                table = self._guarded(partial(self._read, group, None))
                whole = high - low == group.rows
                yield table if whole else table.take(pa.array(rows[low:high] - group.first_row))

    def collections(self) -> set[str]:
        """Collections that were asked for when the index was made, as far as it says so."""
        self._open()
        said = [(file.schema_arrow.metadata or {}).get(COLLECTIONS_KEY, b"[]") for file in self._files]
        return {str(name) for text in said for name in json.loads(text)}

    def schemas(self) -> list[pa.Schema]:
        """Columns of its files."""
        self._open()
        return [file.schema_arrow.remove_metadata() for file in self._files]

    def _open(self) -> None:
        if self._files:
            return
        self._files = self._guarded(
            lambda: [pq.ParquetFile(source, pre_buffer=True) for source in open_files(self.href, self.opener)]
        )
        row = 0
        for position, file in enumerate(self._files):
            missing = [name for name in ("id", "geometry", "bbox", "datetime") if name not in file.schema_arrow.names]
            if missing:
                raise CatalogError(f"is no stac-geoparquet: it has no column {missing[0]!r}", unsigned(self.href))
            for number in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(number).num_rows
                self._groups.append(_Group(position, number, row, count))
                row += count
        self._starts = np.array([group.first_row for group in self._groups], np.int64)

    def _read(self, group: _Group, columns: list[str] | None) -> pa.Table:
        return self._files[group.file].read_row_group(group.number, columns=columns)

    def _group_table(self, number: int) -> pa.Table:
        """The row group with what its items are made of."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        group = self._groups[number]
        has_items = ITEM_COLUMN in self._files[group.file].schema_arrow.names
        table = self._guarded(lambda: self._read(group, [ITEM_COLUMN] if has_items else None))
        if has_items and table[ITEM_COLUMN].null_count:
            table = self._guarded(lambda: self._read(group, None))
        self._kept[number] = table
        while len(self._kept) > KEPT_GROUPS:
            self._kept.popitem(last=False)
        return table

    def _need_collection(self, collection: str) -> None:
        """An index that knows nothing of a collection is an error of the recipe, not an empty place."""
        known = self.collections()
        if any("collection" not in file.schema_arrow.names for file in self._files):
            return
        for group in self._groups:
            table = self._guarded(partial(self._read, group, ["collection"]))
            known |= set(table["collection"].unique().to_pylist())
        if collection not in known:
            have = ", ".join(sorted(filter(None, known))) or "none"
            raise CatalogError(f"no collection {collection!r}; the catalog has {have}", unsigned(self.href))

    def _guarded(self, read: Callable[[], Read]) -> Read:
        """What a read gives.

        Raises:
            CatalogError: the bytes are no Parquet, or its columns not what they are called.
        """
        try:
            return read()
        except (pa.ArrowException, ShapelyError, EOFError, *NONSENSE) as error:
            raise CatalogError(f"is no stac-geoparquet: {str(error)[:200]}", unsigned(self.href)) from error
        except OSError as error:
            what = error.strerror or str(error)[:200]
            raise CatalogError(f"cannot read the index: {what}", unsigned(self.href)) from error


def _document(table: pa.Table, row: int) -> Item:
    """The item of a row: its JSON where the index has it, else put together from its columns."""
    if ITEM_COLUMN in table.column_names:
        text = table[ITEM_COLUMN][row].as_py()
        if text is not None:
            try:
                return dict(json.loads(text))
            except NONSENSE:
                return {}  # which is left out by name, as what is no item
        table = table.drop_columns([ITEM_COLUMN])
    from stac_geoparquet.arrow import stac_table_to_items

    drop = [name for name in table.column_names if name.startswith("terraweft:")]
    (item,) = stac_table_to_items(_with_flat_box(table.slice(row, 1).drop_columns(drop)))
    return _without_nulls(item)


def _with_flat_box(table: pa.Table) -> pa.Table:
    """One item as columns, its box without heights where it has none: where others of the index have some, they are
    null, and stac-geoparquet cannot read them.
    """
    kind = table.schema.field("bbox").type
    if not pa.types.is_struct(kind) or kind.get_field_index("zmin") < 0:
        return table
    box = table["bbox"].combine_chunks()
    if box.field("zmin").null_count == 0:
        return table
    flat = pa.StructArray.from_arrays([box.field(side) for side in BBOX], names=list(BBOX), mask=box.is_null())
    return table.set_column(table.column_names.index("bbox"), "bbox", flat)


def _without_nulls(item: Item) -> Item:
    """An item less the nulls that columns add: a key that one item has is a column of all."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: clean(part) for key, part in value.items() if part is not None}
        return [clean(part) for part in value] if isinstance(value, list) else value

    cleaned = {key: clean(value) for key, value in item.items() if value is not None or key == "geometry"}
    if item["properties"].get("datetime") is None:
        cleaned["properties"]["datetime"] = None
    return cleaned
