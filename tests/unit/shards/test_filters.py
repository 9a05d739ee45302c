from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DatasetError
from shards.columns import list_column, sum_per_chip
from shards.filters import ChipFilter, DateChoice, DateFilter, date_flags, micros_of
from shards.reader import Dataset, open_dataset
from shards.storage import FolderStorage, open_storage
from shards.storage_file import StorageFile
from shards.version import publish
from tests.unit.shards import made_up

ALL = [made_up.chip_id(n) for n in range(10)]


def chosen(root: Path, **conditions: object) -> list[str]:
    return sorted(open_dataset(root).chip_ids(where=ChipFilter(**conditions)))  # type: ignore[arg-type]


def test_an_open_filter_lets_everything_pass(published: Path) -> None:
    assert chosen(published) == ALL


def test_splits_and_regions(published: Path) -> None:
    assert chosen(published, splits=("val", "test")) == [c for n, c in enumerate(ALL) if n % 5 in (3, 4)]
    assert chosen(published, regions=("made-up",)) == ALL
    assert chosen(published, regions=("elsewhere",)) == []
    with pytest.raises(DatasetError, match="it has test, train, val"):
        chosen(published, splits=("dev",))


def test_a_choice_of_dates_that_has_no_meaning_is_one_line() -> None:
    for wrong in ({"count": 0}, {"count": -1}, {"count": 1, "by": "cleaerst"}):
        with pytest.raises(DatasetError):
            DateChoice(**wrong)  # type: ignore[arg-type]


def test_a_class_of_the_legend_that_no_chip_shows_is_no_mistake(dataset_root: Path) -> None:
    path = dataset_root / open_dataset(dataset_root).folder / "dataset.json"
    content = json.loads(path.read_text())
    content["legends"]["label"]["classes"].append({"name": "Snow"})
    path.write_text(json.dumps(content))
    assert chosen(dataset_root, classes={"Snow": (0.0, 0.1)}) == ALL
    assert chosen(dataset_root, classes={"Snow": (0.1, 1.0)}) == []


def test_given_chips_pass_the_conditions_too(published: Path) -> None:
    dataset = open_dataset(published)
    given = ["u31_0008", "u31_0000", "u31_0003"]
    assert [sample.chip_id for sample in dataset.iterate(chip_ids=given)] == given
    assert [sample.chip_id for sample in dataset.iterate("val", chip_ids=given)] == ["u31_0008", "u31_0003"]
    assert not list(dataset.iterate(chip_ids=given, where=ChipFilter(regions=("elsewhere",))))


def test_a_chip_on_the_antimeridian_is_on_either_side_of_it_and_nowhere_else(tmp_path: Path) -> None:
    cut, plain = made_up.sample(0), made_up.sample(1)
    cut = replace(cut, row={**cut.row, "geometry_wkb": shapely.to_wkb(CUT)})
    publish(open_storage(tmp_path / "d"), made_up.draft(tmp_path / "d", [cut, plain], zarr_shard_chips=None))
    told = json.loads(pq.read_schema(next((tmp_path / "d/versions").glob("*/chips.parquet"))).metadata[b"geo"])
    assert told["columns"]["geometry"]["geometry_types"] == ["Polygon", "MultiPolygon"]
    for bbox in ((179.0, -17.0, 180.0, -16.0), (-180.0, -17.0, -179.995, -16.0), (179.5, -17.0, -179.5, -16.0)):
        assert chosen(tmp_path / "d", bbox=bbox) == [cut.chip_id]
    assert chosen(tmp_path / "d", bbox=(10.0, -17.0, 20.0, -16.0)) == []
    assert chosen(tmp_path / "d", bbox=(10.0, -17.0, -179.9995, -16.0)) == [cut.chip_id]
    assert chosen(tmp_path / "d", bbox=(-180.0, -90.0, 180.0, 90.0)) == [cut.chip_id, plain.chip_id]


CUT = shapely.MultiPolygon([shapely.box(179.99, -16.51, 180.0, -16.5), shapely.box(-180.0, -16.51, -179.98, -16.5)])
"""A footprint on both sides of the antimeridian."""


def test_a_box_takes_the_chips_that_it_touches(published: Path) -> None:
    chips = open_dataset(published).chips.set_index("chip_id")
    west, south, east, north = chips.geometry.loc[ALL[0]].bounds
    middle = ((west + east) / 2, (south + north) / 2)
    assert chosen(published, bbox=(*middle, *middle)) == [ALL[0]]
    assert chosen(published, bbox=(170, -90, -170, 90)) == []
    assert chosen(published, bbox=(-170, -90, 170, 90)) == ALL
    assert chosen(published, bbox=(2, -90, -170, 90)) == ALL  # over the antimeridian, eastwards from 2


def test_shares_of_classes(published: Path) -> None:
    assert chosen(published, classes={"Tree": (0.4, 0.6)}) == ALL
    assert chosen(published, classes={"Tree": (0.4, 0.6), "Water": (0.6, 1.0)}) == []
    with pytest.raises(DatasetError, match="no chip has the class 'Snow'"):
        chosen(published, classes={"Snow": (0, 1)})


def test_dates_count_per_modality(published: Path) -> None:
    dates = {n: 1 + n % 3 for n in range(10)}
    passes = {n: n % 3 for n in range(10)}
    assert chosen(published, modalities=("s2",), min_dates=3) == [ALL[n] for n in range(10) if dates[n] >= 3]
    assert chosen(published, modalities=("s2", "s1")) == [ALL[n] for n in range(10) if passes[n] >= 1]
    late = DateFilter(start="2026-03-05")  # the first date of a chip is the 1st, the next the 6th
    assert chosen(published, modalities=("s2",), dates=late) == [ALL[n] for n in range(10) if dates[n] >= 2]
    early = DateFilter(end="2026-03-02")
    assert chosen(published, dates=early) == ALL
    assert chosen(published, dates=DateFilter(min_clear_fraction=0.95)) == []
    assert chosen(published, dates=DateFilter(max_residual_m=5.0)) == ALL  # nothing was to be measured
    with pytest.raises(DatasetError, match="no modality 's9'"):
        chosen(published, modalities=("s9",))


def test_what_is_left_of_a_shift_is_measured_less_applied() -> None:
    table = pa.table(
        {
            "s1.datetimes": pa.array([["2024-05-01T00:00:00Z"] * 4, []], pa.list_(pa.string())).cast(
                pa.list_(pa.timestamp("us", tz="UTC"))
            ),
            "s1.shift_dx_m": [[3.0, 8.0, 1.0, None], []],
            "s1.shift_dy_m": [[4.0, 0.0, 0.0, None], []],
            "s1.applied_dx_m": [[0.0, 7.0, 0.0, None], []],
            "s1.applied_dy_m": [[0.0, 0.0, 0.0, None], []],
            "s1.registered": [["measured", "corrected", "unreliable", "not_applicable"], []],
        }
    )
    flags, first = date_flags(table, "s1", DateFilter(max_residual_m=2.0))
    assert flags.tolist() == [False, True, False, True]
    assert first.tolist() == [0, 4, 4]
    assert date_flags(table, "s1", DateFilter(max_residual_m=5.0))[0].tolist() == [True, True, False, True]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=8))
def test_flat_lists_hold_what_each_chip_has(lists: list[list[int]]) -> None:
    column = list_column(pa.table({"x": pa.array(lists, pa.list_(pa.int32()))}), "x")
    assert [column.of(number).tolist() for number in range(len(lists))] == lists
    assert sum_per_chip(column.values > 4, column.first).tolist() == [sum(v > 4 for v in one) for one in lists]


def test_times_are_utc_and_what_is_none_is_refused() -> None:
    assert micros_of("1970-01-02") == 86_400_000_000
    assert micros_of("1970-01-01T00:00:00.5Z") == 500_000
    assert micros_of("1970-01-01T02:00:01+02:00") == micros_of("1970-01-01T00:00:01+00:00") == 1_000_000
    assert micros_of("1970") == micros_of("1970-01") == 0
    assert micros_of("19700102") == micros_of("19700102T000000Z") == micros_of("1970-01-02 01:00:00+01:00")
    assert micros_of("19700102") == 86_400_000_000
    for word in ("yesterday", "today", "now", "NaT", "", "1970-01-01T25:00:00+01:00", "197001", "202405011030"):
        with pytest.raises(DatasetError, match="no ISO time"):
            micros_of(word)


def test_shards_without_a_chosen_chip_are_never_opened(dataset_root: Path) -> None:
    dataset = open_dataset(dataset_root)
    for path in (dataset_root / "shards").rglob("*.tar"):
        if path.parent.name != "val":
            path.unlink()
    found = [sample.chip_id for sample in dataset.iterate(where=ChipFilter(splits=("val",)))]
    assert sorted(found) == [ALL[3], ALL[8]]


class CountingStorage(FolderStorage):
    """A folder that keeps book of the bytes that are read of it."""

    read_bytes = 0

    def read_range(self, path: str, start: int, length: int) -> bytes:
        self.read_bytes += length
        return super().read_range(path, start, length)


def test_columns_of_a_large_table_are_read_by_themselves(dataset_root: Path) -> None:
    storage = CountingStorage(dataset_root)
    path = f"versions/{open_dataset(dataset_root).version}/chips.parquet"
    size = storage.size(path)
    assert size is not None
    dataset = Dataset(storage, open_dataset(storage).document)
    dataset._tables.whole_bytes = 100
    small = storage.read_bytes
    assert dataset.columns(["zarr_index"])["zarr_index"].to_pylist() == list(range(10))
    assert 0 < storage.read_bytes - small < size + 70_000  # the footer, and one column
    with pytest.raises(DatasetError, match="no column 'colour'"):
        dataset.columns(["colour"])


def test_a_stored_file_reads_as_a_local_one(dataset_root: Path) -> None:
    path = "terraweft.json"
    content = (dataset_root / path).read_bytes()
    with StorageFile(open_storage(dataset_root), path) as file:
        assert file.read() == content
        assert file.seek(-5, 2) == len(content) - 5
        assert file.read(3) == content[-5:-2]
        assert np.frombuffer(file.read(99), np.uint8).size == 2
        assert file.read(1) == b""
    with pytest.raises(FileNotFoundError):
        StorageFile(open_storage(dataset_root), "none")
