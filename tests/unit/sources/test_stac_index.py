"""What an index of items gives back is what was put in, and it finds what a search over the items themselves finds."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rustac
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from stac_geoparquet.arrow import parse_stac_items_to_arrow, stac_table_to_items

from schemas.errors import AccessDeniedError, CatalogError
from schemas.recipe import Catalog, Credential
from sources.catalog import open_catalog
from sources.credentials import CredentialedOpener, _signer_of
from sources.items import DELIVERED_KEY, item_geometry, item_times, matches
from sources.limits import HostLimits
from sources.openers import PlainOpener
from sources.stac_index import ITEM_COLUMN, IndexCatalog
from sources.stac_index_write import ROWS_PER_GROUP, IndexWriter, unified
from tests.unit.sources.gates import TestVault, gates

EARTH = (-180.0, -90.0, 180.0, 90.0)


def _item(number: int, **properties: Any) -> dict[str, Any]:
    west, south = (number * 7) % 40 - 20.0, (number * 11) % 30 - 15.0
    day = f"2021-{number % 12 + 1:02d}-{number % 28 + 1:02d}T10:00:00Z"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"i{number:04d}",
        "collection": "s2",
        "geometry": json.loads(shapely.to_geojson(shapely.box(west, south, west + 2, south + 1))),
        "bbox": [west, south, west + 2, south + 1],
        "properties": {"datetime": day, "platform": "ab"[number % 2], **properties},
        "links": [],
        "assets": {f"B{number % 3}": {"href": f"https://a.example/{number}.tif", "roles": ["data"]}},
    }


def _write(path: Path, items: Sequence[dict[str, Any]], catalog: str = "c") -> IndexCatalog:
    writer = IndexWriter(path)
    writer.add(items, catalog)
    assert writer.close() == len(items)
    return IndexCatalog(str(path))


def _sorted(items: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in items)


def _real(realdata: Path) -> dict[str, list[dict[str, Any]]]:
    files = sorted((realdata / "stac-items").glob("*/*.items.json"))
    return {f"{file.parent.name}/{file.name}": json.loads(file.read_text())["features"] for file in files}


@pytest.mark.realdata
def test_real_items_of_all_catalogs_in_one_index_come_back_as_they_were(realdata: Path, tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "items.parquet")
    groups = _real(realdata)
    for name, items in groups.items():
        writer.add(items, name)
    index = IndexCatalog(str(tmp_path / "items.parquet"))
    assert writer.close() == len(index) == sum(map(len, groups.values()))
    assert _sorted(list(index.delivered(range(len(index))))) == _sorted([i for items in groups.values() for i in items])
    assert len(geopandas.read_parquet(tmp_path / "items.parquet")) == len(index)


@pytest.mark.realdata
def test_public_libraries_read_an_index_of_any_real_collection(realdata: Path, tmp_path: Path) -> None:
    async def by_rustac(path: Path) -> Any:
        return await rustac.read(str(path))

    for number, (name, items) in enumerate(_real(realdata).items()):
        path = tmp_path / f"{number}.parquet"
        _write(path, items)
        ids = sorted(item["id"] for item in items)
        assert sorted(i["id"] for i in asyncio.run(by_rustac(path))["features"]) == ids, name
        assert sorted(i["id"] for i in stac_table_to_items(pq.read_table(path))) == ids, name


@pytest.mark.realdata
def test_an_index_of_other_software_gives_the_same_items_but_for_how_times_are_written(
    realdata: Path, tmp_path: Path
) -> None:
    items = _real(realdata)["planetary-computer/sentinel-2-l2a.items.json"]
    table = parse_stac_items_to_arrow(items)
    pq.write_table(table.read_all() if hasattr(table, "read_all") else table, tmp_path / "theirs.parquet")
    index = IndexCatalog(str(tmp_path / "theirs.parquet"))
    found = index.search("sentinel-2-l2a", EARTH)
    assert {item["id"] for item in found} == {item["id"] for item in items}
    theirs = {item["id"]: item[DELIVERED_KEY] for item in found}
    for item in items:
        assert theirs[item["id"]]["assets"] == item["assets"]
        assert theirs[item["id"]]["links"] == item["links"]
        assert set(theirs[item["id"]]["properties"]) == set(item["properties"])


@settings(max_examples=25, deadline=None)
@given(
    box=st.tuples(st.integers(-25, 20), st.integers(-20, 12), st.integers(1, 30), st.integers(1, 20)),
    months=st.tuples(st.integers(1, 12), st.integers(0, 11)),
    platform=st.sampled_from([None, "a", "B", "c"]),
    odd=st.sampled_from([None, 1, "1", 2.0]),
)
def test_columns_find_what_the_items_themselves_say(
    many: tuple[IndexCatalog, list[dict[str, Any]]],
    box: tuple[int, int, int, int],
    months: tuple[int, int],
    platform: str | None,
    odd: Any,
) -> None:
    index, items = many
    west, south, east, north = box[0] + 0.5, box[1] + 0.5, box[0] + box[2] + 0.25, box[1] + box[3] + 0.25
    start = datetime(2021, months[0], 1, tzinfo=UTC)
    end = datetime(2021, min(12, months[0] + months[1]), 27, tzinfo=UTC)
    where = {k: v for k, v in (("platform", platform), ("odd", odd)) if v is not None}
    ground = shapely.box(west, south, east, north)
    wanted = [
        item
        for item in items
        if item_geometry(item).intersects(ground) and start <= item_times(item)[0] <= end and matches(item, where)
    ]
    found = index.search("s2", (west, south, east, north), start, end, where)
    order = sorted(wanted, key=lambda item: (item_times(item)[0], item["id"]))
    assert [item["id"] for item in found] == [item["id"] for item in order]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[IndexCatalog, list[dict[str, Any]]]:
    """1,200 items in three row groups; ``odd`` is a number in some and text in others, so no column."""
    items = [_item(n, odd=str(n % 3) if n % 5 else n % 3) for n in range(1200)]
    index = _write(tmp_path_factory.mktemp("index") / "items.parquet", items)
    names = pq.read_schema(index.href).names
    assert "platform" in names
    assert "odd" not in names
    return index, items


def test_row_groups_that_statistics_rule_out_are_not_read(tmp_path: Path) -> None:
    west = [{**_item(0), "id": f"w{n}"} for n in range(ROWS_PER_GROUP)]
    shifted = {"type": "Point", "coordinates": [100.0, 50.0]}
    east = [{**_item(0), "id": f"e{n}", "geometry": shifted} for n in range(ROWS_PER_GROUP)]
    index = _write(tmp_path / "items.parquet", [*east, *west])
    read: list[int] = []
    original = index._read
    index._read = lambda group, columns: read.append(group.number) or original(group, columns)  # type: ignore[method-assign, func-returns-value]
    assert len(index.select("s2", [(99.0, 49.0, 101.0, 51.0)])) == ROWS_PER_GROUP
    assert len(read) == 1


def test_bytes_follow_from_the_items_and_not_from_their_order(tmp_path: Path) -> None:
    items = [_item(n) for n in range(40)]
    _write(tmp_path / "a.parquet", items)
    _write(tmp_path / "b.parquet", items[::-1])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_rows_of_one_index_are_copied_to_another_with_the_name_of_their_catalog(tmp_path: Path) -> None:
    items = [_item(n) for n in range(700)]
    first = _write(tmp_path / "a.parquet", items)
    found = first.select("s2", [(-20.0, -15.0, 0.0, 5.0)])
    writer = IndexWriter(tmp_path / "b.parquet")
    writer.add_rows(first, found.rows, "north")
    writer.add([{**_item(3), "collection": "other"}], "south")
    assert writer.close() == len(found) + 1
    copy = IndexCatalog(str(tmp_path / "b.parquet"), frozen="north")
    again = copy.select("s2", [EARTH])
    assert list(again.item_id) == list(found.item_id)
    assert list(copy.delivered(again.rows)) == list(first.delivered(found.rows))
    assert len(IndexCatalog(str(tmp_path / "b.parquet"), frozen="south").select("other", [EARTH])) == 1


def test_boxes_with_heights_beside_boxes_without_are_read(tmp_path: Path) -> None:
    """As rustac writes them, one column for both; reading the items without ended in a traceback of pyarrow's."""
    items = [_item(n) for n in range(3)]
    west, south, east, north = items[1]["bbox"]
    items[1]["bbox"] = [west, south, 90.0, east, north, 110.0]

    async def write() -> None:
        await rustac.write(str(tmp_path / "theirs.parquet"), items)

    asyncio.run(write())
    theirs = IndexCatalog(str(tmp_path / "theirs.parquet"))
    with IndexWriter(tmp_path / "mine.parquet") as writer:
        writer.add_rows(theirs, theirs.select("s2", [EARTH]).rows, "c")
        writer.close()
    found = {item["id"]: item["bbox"] for item in theirs.delivered(range(3))}
    assert found == {item["id"]: item["bbox"] for item in items}
    copied = {item["id"]: item["bbox"] for item in IndexCatalog(str(tmp_path / "mine.parquet")).delivered(range(3))}
    assert copied == found | {items[1]["id"]: [west, south, east, north]}


def test_an_index_of_other_software_is_copied_without_loss(tmp_path: Path) -> None:
    items = [_item(n, deep={"a": [{"b": n}]}) for n in range(5)]
    table = parse_stac_items_to_arrow(items)
    pq.write_table(table.read_all() if hasattr(table, "read_all") else table, tmp_path / "theirs.parquet")
    theirs = IndexCatalog(str(tmp_path / "theirs.parquet"))
    rows = theirs.select("s2", [EARTH]).rows
    writer = IndexWriter(tmp_path / "mine.parquet")
    writer.add([_item(9, deep="text, not a mapping")], "x")
    writer.add_rows(theirs, rows, "y")
    writer.close()
    mine = IndexCatalog(str(tmp_path / "mine.parquet"), frozen="y")
    assert _sorted(list(mine.delivered(mine.select("s2", [EARTH]).rows))) == _sorted(list(theirs.delivered(rows)))


def test_an_asked_collection_without_items_is_known_and_a_stranger_is_not(tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "items.parquet")
    writer.add([_item(1)])
    writer.collections |= {"s2", "empty"}
    writer.close()
    index = IndexCatalog(str(tmp_path / "items.parquet"))
    assert index.search("empty", EARTH) == []
    with pytest.raises(CatalogError, match=r"no collection 's9'; the catalog has empty, s2"):
        index.search("s9", EARTH)


def test_a_file_that_is_no_index_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing PAR1")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "y.parquet")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("x.parquet", "is no stac-geoparquet"),
        ("y.parquet", "no column 'geometry'"),
        ("none.parquet", "there is no such index"),
        ("empty", "holds no .parquet file"),
    ):
        with pytest.raises(CatalogError, match=words):
            IndexCatalog(str(tmp_path / name)).search("s2", EARTH)


@pytest.mark.parametrize("text", ["5", "null", "[1]", '"x"', "{", "[" * 100_000])
def test_a_row_whose_item_is_none_is_left_out_and_the_others_come(tmp_path: Path, text: str) -> None:
    _write(tmp_path / "items.parquet", [_item(0), _item(1)])
    table = pq.read_table(tmp_path / "items.parquet")
    place = table.column_names.index(ITEM_COLUMN)
    texts = pa.array([text, json.dumps(_item(1))], pa.string())
    pq.write_table(table.set_column(place, ITEM_COLUMN, texts), tmp_path / "items.parquet")
    index = IndexCatalog(str(tmp_path / "items.parquet"))
    assert [item["id"] for item in index.search("s2", EARTH)] == [_item(1)["id"]]
    assert len(index.left_out("s2")) == 1


@pytest.mark.parametrize("name", ["geometry", "bbox", "datetime", "collection"])
def test_a_column_that_is_not_what_it_is_called_is_one_clear_error(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "items.parquet", [_item(0), _item(1)])
    table = pq.read_table(tmp_path / "items.parquet")
    numbers = table.set_column(table.column_names.index(name), name, pa.array([1, 2]))
    pq.write_table(numbers, tmp_path / "items.parquet")
    with pytest.raises(CatalogError, match="no stac-geoparquet"):
        IndexCatalog(str(tmp_path / "items.parquet")).search("s2", EARTH)


def _altered(path: Path, name: str, column: pa.Array) -> IndexCatalog:
    """An index of three items with another column in the place of one."""
    table = _table_of(path)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)
    return IndexCatalog(str(path))


def _table_of(path: Path) -> pa.Table:
    _write(path, [_item(n) for n in range(3)])
    return pq.read_table(path)


def test_boxes_as_lists_and_days_as_dates_are_read_and_copied(tmp_path: Path) -> None:
    table = _table_of(tmp_path / "x.parquet")
    boxes = pa.array([list(box.values()) for box in table["bbox"].to_pylist()])
    days = table["datetime"].cast(pa.date32())
    for name, column in (("bbox", boxes), ("datetime", days)):
        index = _altered(tmp_path / f"{name}.parquet", name, column)
        found = index.select("s2", [EARTH])
        assert sorted(found.item_id) == ["i0000", "i0001", "i0002"]
        writer = IndexWriter(tmp_path / "copy.parquet")
        writer.add_rows(index, found.rows)
        writer.close()
        copy = pq.read_table(tmp_path / "copy.parquet")
        assert copy["bbox"].to_pylist() == table["bbox"].to_pylist()
        assert [day.date() for day in copy["datetime"].to_pylist()] == [
            day.date() for day in table["datetime"].to_pylist()
        ]


def test_columns_that_are_none_of_items_are_one_clear_error(tmp_path: Path) -> None:
    times = pa.array([1, 2, 3])
    with pytest.raises(CatalogError, match="is no stac-geoparquet: times are written as int64"):
        _altered(tmp_path / "x.parquet", "datetime", times).search("s2", EARTH)
    shapes = pa.array(["POINT (1 1)"] * 3)
    with pytest.raises(CatalogError, match="is no stac-geoparquet: ParseException"):
        _altered(tmp_path / "y.parquet", "geometry", shapes).search("s2", EARTH)


def test_a_client_pickles_as_its_address(tmp_path: Path) -> None:
    index = _write(tmp_path / "items.parquet", [_item(n) for n in range(3)])
    before = index.search("s2", EARTH)
    assert pickle.loads(pickle.dumps(index)).search("s2", EARTH) == before


def test_columns_of_two_kinds_are_left_to_the_items() -> None:
    text, number = (
        pa.schema([("a", pa.string()), ("n", pa.int64())]),
        pa.schema([("a", pa.int64()), ("n", pa.float64())]),
    )
    schema = unified([text, number])
    assert "a" not in schema.names
    assert schema.field("n").type == pa.float64()
    assert np.all([name in schema.names for name in ("id", "geometry", "bbox", "terraweft:item")])


def test_an_index_behind_a_log_in_is_read_with_the_catalogs_credential(tmp_path: Path) -> None:
    items = [_item(n) for n in range(40)]
    items[3]["assets"]["B0"]["alternate"] = {"s3": {"href": "s3://bucket/3.tif"}}
    _write(tmp_path / "items.parquet", items)
    vault = TestVault(variables=(("TOKEN", "canary-token-1"),))
    credential = Credential(kind="bearer", env="TOKEN", hosts="127.0.0.1")
    settings_ = Catalog(kind="stac-geoparquet", href="x", allow_local=True, alternate="s3")
    _signer_of.cache_clear()
    with gates((tmp_path / "items.parquet").read_bytes()) as host:
        host.given = 1
        href = f"{host.files}/bearer/items.parquet"
        opener = CredentialedOpener(True, [("c", credential)], vault, HostLimits({}, None))
        catalog = pickle.loads(pickle.dumps(open_catalog(settings_, href, opener)))
        found = {item["id"]: item for item in catalog.search("s2", EARTH)}
        assert sorted(found) == [item["id"] for item in items]
        assert found["i0003"]["assets"]["B0"]["href"] == "s3://bucket/3.tif"
        assert {seen.authorization for seen in host.seen} == {"Bearer canary-token-1"}
        with pytest.raises(AccessDeniedError, match="HTTP 401"):
            open_catalog(settings_, href).search("s2", EARTH)
        with pytest.raises(CatalogError, match="mark the catalog allow_local"):
            open_catalog(settings_, href, PlainOpener(allow_local=False)).search("s2", EARTH)
        with pytest.raises(CatalogError, match="there is no such index: HTTP 404"):
            open_catalog(settings_, f"{host.files}/none/items.parquet", opener).search("s2", EARTH)
    keys = Credential(kind="s3", profile="mine", hosts="bucket")
    vault = TestVault(profiles=(("mine", ("id", "secret", "")),))
    opener = CredentialedOpener(False, [("k", keys)], vault, HostLimits({}, None))
    with pytest.raises(CatalogError, match="name the index's file"):
        open_catalog(settings_, "s3://bucket/index", opener).search("s2", EARTH)
