"""Each promise of a version's tables, broken alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import Transformer

from schemas.dataset import DatasetDocument
from shards.check_tables import chips_faults, outcome_faults, text_faults
from shards.reader import open_dataset
from shards.stored_tables import read_texts, text_records
from tests.unit.shards import made_up

CHIPS = {made_up.chip_id(number) for number in range(10)}


def document_of(root: Path) -> DatasetDocument:
    return open_dataset(root).document


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    pq.write_table(change(pq.read_table(path)), path)
    return path


def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    place = table.column_names.index(name)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(values, field.type))


def chips_of(root: Path) -> Path:
    return root / open_dataset(root).folder / "chips.parquet"


def in_two_zones(table: pa.Table) -> pa.Table:
    """The last chip as of the zone beside, where its footprint lies as well."""
    to_zone = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True)
    corners = shapely.get_coordinates(shapely.from_wkb(table["geometry"][-1].as_py()))
    x, y = to_zone.transform(corners[:, 0], corners[:, 1])
    bounds = [*table["bounds_xyxy"].to_pylist()[:-1], [np.min(x), np.min(y), np.max(x), np.max(y)]]
    table = with_column(table, "epsg", [*table["epsg"].to_pylist()[:-1], 32632])
    return with_column(table, "bounds_xyxy", bounds)


def test_chips_of_two_zones_are_sound(dataset_root: Path) -> None:
    document = document_of(dataset_root)
    assert list(chips_faults(rewrite(chips_of(dataset_root), in_two_zones), document)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace_schema_metadata({}), "no GeoParquet 1.1 metadata with a bbox covering"),
        (lambda t: with_column(t, "zarr_index", [*range(1, len(t)), 0]), "zarr_index is not the row's number"),
    ],
)
def test_a_table_of_chips_that_is_otherwise_is_told(
    dataset_root: Path, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    document = document_of(dataset_root)
    assert list(chips_faults(rewrite(chips_of(dataset_root), change), document)) == [said]


def test_a_place_in_zarr_where_there_is_no_zarr_is_told(dataset_root: Path) -> None:
    document = document_of(dataset_root).model_copy(update={"zarr": {}})
    assert list(chips_faults(chips_of(dataset_root), document)) == ["zarr_index without Zarr"]


def test_outcomes_of_other_chips_or_columns_are_told(dataset_root: Path) -> None:
    document, path = document_of(dataset_root), chips_of(dataset_root).with_name("outcomes.parquet")
    assert list(outcome_faults(path, CHIPS, document)) == []
    others = CHIPS - {made_up.chip_id(3)} | {"u31_9999"}
    said = ["2 chip(s) are kept here or in chips.parquet, but not in both"]
    assert list(outcome_faults(path, others, document)) == said
    rewrite(path, lambda t: t.drop_columns(["reason"]))
    assert [what.partition(" [")[0] for what in outcome_faults(path, CHIPS, document)] == ["columns"]


def test_texts_of_a_chip_that_was_not_kept_or_that_are_none_are_told(dataset_root: Path) -> None:
    path = chips_of(dataset_root).with_name("texts.parquet")
    rows = list(text_records(read_texts(path.read_bytes())))
    texts = {key: [row for row in rows if row["chip_id"] == key] for key in CHIPS}

    def faults(key: str, records: list[dict[str, object]] | None) -> Iterator[str]:
        return text_faults(path, {k: v for k, v in (texts | {key: records}).items() if v is not None})

    gone = made_up.chip_id(3)
    assert list(faults(gone, texts[gone])) == []
    assert [f"{row['text_id']} is about {gone}, which was not kept" for row in texts[gone]] == list(faults(gone, None))[
        :2
    ]
    assert list(faults(gone, [{"text_id": "x"}]))[-1].startswith("texts.json of a shard holds no text record: ")
