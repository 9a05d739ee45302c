from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.chip import Outcome
from shards import tables
from shards.hilbert import hilbert_index
from shards.outcome_tables import run_table, write_outcomes, write_run
from shards.storage import open_storage
from shards.tables import chips_table, in_table_order, place_rows, rows_per_group, write_chips
from shards.tar import write_shard
from shards.text_table import texts_table, write_texts
from tests.unit.shards import made_up

LAYERS = ["s2", "s2_10m", "s2_20m", "s1"]


def placed(tmp_path: Path, count: int = 3) -> pa.Table:
    samples = [made_up.sample(n) for n in range(count)]
    shards = [write_shard(open_storage(tmp_path), "train", 0, samples, scratch=tmp_path / "work")]
    return place_rows(chips_table((s.row for s in samples), LAYERS), [(s.record, s.index) for s in shards], True)


def test_hilbert_visits_every_cell_and_steps_by_one() -> None:
    side, cell = 8, 1 / 8
    ticks = (np.arange(side) + 0.5) * cell
    lon, lat = (a.ravel() for a in np.meshgrid(ticks * 360 - 180, ticks * 180 - 90))
    order = np.argsort(hilbert_index(lon, lat), kind="stable")
    steps = np.abs(np.diff(lon[order])) / (360 * cell) + np.abs(np.diff(lat[order])) / (180 * cell)
    np.testing.assert_allclose(steps, 1.0)
    assert len(set(hilbert_index(lon, lat).tolist())) == side * side


def test_rows_of_one_place_stand_by_id() -> None:
    row = {"geometry_wkb": made_up.footprint((5e5, 5.6e6, 5e5 + 360, 5.6e6 + 240))}
    table = chips_table({**row, "chip_id": name} for name in "cab")
    assert in_table_order(table["chip_id"], table["geometry"]).tolist() == [1, 2, 0]
    assert in_table_order(*(chips_table(())[name] for name in ("chip_id", "geometry"))).size == 0


def test_the_tables_bytes_follow_from_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [made_up.sample(n) for n in range(3)]
    shards = [write_shard(open_storage(tmp_path), "train", 0, samples, scratch=tmp_path / "work")]
    rows = [sample.row for sample in samples]
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 2)  # columns begin and end within batches
    shuffled = [dict(reversed(row.items())) for row in reversed(rows)]
    for name, given in (("b", shuffled), ("a", rows)):
        placed_rows = place_rows(chips_table(given, LAYERS), [(s.record, s.index) for s in shards], True)
        write_chips(tmp_path / f"{name}.parquet", placed_rows)
        monkeypatch.undo()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_chips_is_geoparquet_with_a_covering(tmp_path: Path) -> None:
    rows = placed(tmp_path)
    assert write_chips(tmp_path / "chips.parquet", rows) == 3
    geo = json.loads(pq.read_schema(tmp_path / "chips.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    frame = geopandas.read_parquet(tmp_path / "chips.parquet")
    assert frame.crs.to_epsg() == 4326
    west, south, east, north = geo["columns"]["geometry"]["bbox"]
    np.testing.assert_array_equal(frame.total_bounds, [west, south, east, north])
    inside = geopandas.read_parquet(tmp_path / "chips.parquet", bbox=tuple(frame.geometry.iloc[0].centroid.bounds))
    assert inside["chip_id"].tolist() == [frame["chip_id"].iloc[0]]


def test_columns_have_the_types_of_the_format_even_where_empty(tmp_path: Path) -> None:
    table = placed(tmp_path, 1)
    assert table.schema.field("s1.item_ids").type == pa.list_(pa.string())
    assert table.schema.field("s1.datetimes").type == pa.list_(pa.timestamp("us", tz="UTC"))
    assert table.schema.field("label.fractions").type == pa.map_(pa.string(), pa.float64())
    assert table.schema.field("s2_10m.shape_yx").type == pa.list_(pa.int32())
    assert table.schema.field("s2.relative_orbit").type == pa.list_(pa.int32())
    names = table.column_names
    assert names.index("licences") < names.index("s2.item_ids") < names.index("s2_10m.transform")
    assert names.index("s2_20m.transform") < names.index("s1.item_ids") < names.index("label.fractions")
    assert names[-1] == "aux.note"


def test_values_arrive_as_they_were(tmp_path: Path) -> None:
    row = made_up.sample(0).row
    moment = datetime(2026, 3, 1, 10, 30, 31, 24000, tzinfo=UTC)
    changed = {**row, "s2.datetimes": [moment, np.datetime64(moment.replace(tzinfo=None), "ns")], "s2.x": [], "y": None}
    found = chips_table([changed]).to_pylist()[0]
    assert found["s2.datetimes"] == [moment, moment]
    assert dict(found["label.fractions"]) == row["label.fractions"]
    assert [entry["layer"] for entry in found["licences"]] == ["osm", "s2"]
    assert found["bbox"]["xmin"] < found["bbox"]["xmax"]
    assert found["s2.x"] == []
    assert "y" not in found  # null in every row
    by_layer = {**row, "licences": {"s2": {"id": "CC-BY-4.0"}}}
    assert chips_table([by_layer]).to_pylist()[0]["licences"][0]["layer"] == "s2"
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        chips_table([{**row, "epsg": "EPSG:32631"}])


@pytest.mark.parametrize(("rows", "size", "wanted"), [(1000, 256 << 20, 250), (3, 1 << 40, 1), (0, 0, 64 << 20)])
def test_row_groups_hold_64_mb(rows: int, size: int, wanted: int) -> None:
    assert rows_per_group(rows, size) == wanted


def test_texts_keep_their_spans_and_boxes(tmp_path: Path) -> None:
    records = [*made_up.texts(1), *made_up.texts(0)]
    mixed = texts_table([records[0], *(r.model_dump() for r in records[1:])])
    assert write_texts(tmp_path / "texts.parquet", mixed) == 4
    rows = pq.read_table(tmp_path / "texts.parquet").to_pylist()
    assert [row["text_id"] for row in rows] == sorted(row["text_id"] for row in rows)
    grounded = rows[1]
    assert grounded["spans"][0]["targets"] == [0]
    assert grounded["geometries"][0]["values"] == [1.0, 2.0, 30.0, 20.0]
    assert json.loads(rows[0]["checks"]) == {"numbers": 1}


def test_no_texts_is_a_table_without_rows(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.parquet", texts_table(()))
    assert pq.read_table(tmp_path / "texts.parquet").num_rows == 0


def test_outcomes_are_ordered_and_redacted(tmp_path: Path) -> None:
    outcomes = [
        Outcome("b", "failed", "no /tmp/x/y.tif", error_class="OSError"),
        Outcome("a", "rejected", "clear_fraction", 0.1, 0.6),
    ]
    write_outcomes(tmp_path / "o.parquet", outcomes)
    rows = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert [row["chip_id"] for row in rows] == ["a", "b"]
    assert rows[0]["measured"] == 0.1
    assert rows[1]["reason"] == "no <path>"


def test_run_rows_may_hold_more_columns(tmp_path: Path) -> None:
    row = {"chip_id": "a", "step": "read", "urls": ["http://h/x?key=1"], "host": "h"}
    write_run(tmp_path / "r.parquet", run_table([row]))
    row = pq.read_table(tmp_path / "r.parquet").to_pylist()[0]
    assert (row["urls"], row["host"], row["bytes"]) == (["http://h/x"], "h", None)


def test_columns_of_the_place_are_plain_even_where_named_as_a_layers(tmp_path: Path) -> None:
    further = {"place.event": "flood", "place.city_km": 3.25, "place.year": 2021, "place.window": "x"}
    rows = [{**made_up.sample(n).row, **further} for n in range(3)]
    write_chips(tmp_path / "chips.parquet", chips_table(rows))
    read = geopandas.read_parquet(tmp_path / "chips.parquet")
    assert {name: read[name].tolist() for name in further} == {name: [value] * 3 for name, value in further.items()}
    assert read["place.year"].dtype == np.int64
