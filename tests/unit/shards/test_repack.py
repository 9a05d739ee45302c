"""Another number of shards, the same chips; and tables read back as they were handed in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schemas.errors import DatasetError, IntegrityError
from shards.check import check_dataset
from shards.history import roll_back
from shards.layout import version_path
from shards.outcome_tables import write_outcomes
from shards.reader import open_dataset
from shards.repack import Sizes, repack
from shards.storage import open_storage
from shards.stored_tables import read_chips, read_outcomes, read_places, read_texts, table_of
from shards.tables import in_column_order, place_rows, write_chips
from shards.text_table import write_texts
from shards.version import publish
from shards.waiting import waiting
from tests.unit.shards import made_up


@pytest.mark.parametrize(
    ("sizes", "train"),
    [
        (Sizes(buckets=3), 3),
        (Sizes(buckets={"train": 4}), 4),
        (Sizes(shard_chips=2), 3),
        (Sizes(shard_bytes=72_000), 3),
    ],
)
def test_repack_changes_shards_and_no_chip(dataset_root: Path, sizes: Sizes, train: int) -> None:
    before = open_dataset(dataset_root)
    result = repack(open_storage(dataset_root), sizes, scratch=dataset_root / "work")
    after = open_dataset(dataset_root)
    assert (result.published, after.version) == (True, result.version)
    assert after.document.splits["buckets"]["train"] == train
    assert {**after.document.splits, "buckets": ()} == {**before.document.splits, "buckets": ()}
    assert {record.bucket for record in after.document.shards if record.split == "train"} <= set(range(train))
    assert (result.diff["added"], result.diff["changed"], result.diff["removed"]) == (0, 0, 0)
    assert result.diff["unchanged"] == len(after) == len(before)
    assert after.document.zarr["digest"] == before.document.zarr["digest"]
    for name in ("outcomes.parquet", "texts.parquet"):
        assert after.document.tables[name]["sha256"] == before.document.tables[name]["sha256"]
    assert check_dataset(dataset_root).problems == []
    again = repack(open_storage(dataset_root), sizes, scratch=dataset_root / "work")
    assert (again.published, again.version) == (False, result.version)


def test_repack_says_of_every_group_where_its_statistics_were_taken(tmp_path: Path) -> None:
    storage, group = open_storage(tmp_path), made_up.LAYERS[-1].group
    kept = {"version": "20261119T101500Z-0a0a0a0a", "chips": 2, "touched_since": 1, "bands": {group: ""}}
    kept |= {"parts": {"fusion": ""}, "datasets": {kept["version"]: "elsewhere"}}
    samples = [made_up.sample(number) for number in range(2)]
    draft = made_up.draft(tmp_path, samples, zarr_shard_chips=None, estimates={"buckets": {}}, estimated=kept)
    first = publish(storage, draft)
    assert repack(storage, Sizes(buckets=2), scratch=tmp_path / "work").published
    document = open_dataset(tmp_path).document
    told = [document.statistics_of(layer.group) for layer in made_up.LAYERS]
    assert told == [kept["version"]] * (len(told) - 1) + [first.version]
    assert document.part_of("fusion") == first.version
    assert document.estimates["datasets"] == kept["datasets"]


def test_repack_leaves_no_version_behind_that_waits_for_its_validation(tmp_path: Path) -> None:
    """It moved the pointer from the version that the waiting one follows: no gates could let that in any more."""
    storage = open_storage(tmp_path)
    rule = {"name": "made-up", "format": 1, "publish": {"after_validation": True}}

    def add(days: int, current: bool) -> str:
        created = made_up.CREATED + timedelta(days=days)
        samples = [made_up.sample(number) for number in range(2 + days)]
        draft = made_up.draft(tmp_path, samples, created=created, recipe=rule, zarr_shard_chips=None)
        return publish(storage, draft, current=current).version

    first, second = add(0, True), add(1, False)
    with pytest.raises(DatasetError, match=f"{second} waits for its validation, and follows {first}") as refused:
        repack(storage, Sizes(buckets=3), scratch=tmp_path / "work")
    assert f"validate {tmp_path} --version {second}" in refused.value.line()
    assert [one.version for one in waiting(storage, first)] == [second]
    storage.put(f"validations/{second}/20261201T000000Z.json", b'{"whole": true, "passed": false}')
    packed = repack(storage, Sizes(buckets=3), scratch=tmp_path / "work")  # one that was refused holds nothing up
    assert packed.published
    roll_back(storage, first)
    assert [one.version for one in waiting(storage, first)] == [second], "readers had the one packed anew at once"


def test_repack_refuses_damaged_samples_and_publishes_nothing(dataset_root: Path) -> None:
    before = open_dataset(dataset_root)
    path = dataset_root / before.document.shards[0].path
    content = bytearray(path.read_bytes())
    content[1500] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="sample_sha256"):
        repack(open_storage(dataset_root), Sizes(buckets=5), scratch=dataset_root / "work")
    assert open_dataset(dataset_root).version == before.version


@pytest.mark.parametrize("name", ["chips", "outcomes", "texts"])
def test_a_table_that_was_changed_on_its_disk_is_not_made_the_next_version_s(dataset_root: Path, name: str) -> None:
    """Parquet has no checksum of its own: of flipped bits in a column some are read as another value."""
    before = open_dataset(dataset_root)
    path = dataset_root / version_path(before.version) / f"{name}.parquet"
    table = pq.read_table(path)
    ids = table["chip_id"].to_pylist()
    pq.write_table(table.set_column(table.column_names.index("chip_id"), "chip_id", [[*ids[:-1], "another"]]), path)
    with pytest.raises(DatasetError, match="its bytes are not those"):
        repack(open_storage(dataset_root), Sizes(buckets=5), scratch=dataset_root / "work")
    assert open_dataset(dataset_root).version == before.version


def test_where_there_is_no_dataset_nothing_is_packed_again(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no dataset"):
        repack(open_storage(tmp_path), Sizes(buckets=2), scratch=tmp_path / "work")


def test_no_bucket_is_refused(dataset_root: Path) -> None:
    with pytest.raises(DatasetError, match="0 buckets"):
        repack(open_storage(dataset_root), Sizes(buckets=0), scratch=dataset_root / "work")


def test_more_buckets_than_a_name_can_count_are_refused_before_a_shard_is_written(dataset_root: Path) -> None:
    before = sorted((dataset_root / "shards").rglob("*.tar"))
    with pytest.raises(DatasetError, match=r"99,999,999,999 buckets for \w+ are more"):
        repack(open_storage(dataset_root), Sizes(buckets=99_999_999_999), scratch=dataset_root / "work")
    assert sorted((dataset_root / "shards").rglob("*.tar")) == before


def test_a_split_that_the_dataset_has_not_is_refused(dataset_root: Path) -> None:
    before = open_dataset(dataset_root).version
    with pytest.raises(DatasetError, match=r"no split 'foo' .it has .*train"):
        repack(open_storage(dataset_root), Sizes(buckets={"train": 2, "foo": 9}), scratch=dataset_root / "work")
    assert open_dataset(dataset_root).version == before


def test_tables_that_are_read_back_are_written_to_the_same_bytes(dataset_root: Path, tmp_path: Path) -> None:
    opened = open_dataset(dataset_root)
    storage, version = open_storage(dataset_root), opened.version
    folder = dataset_root / version_path(version)
    content = {name: table_of(storage, opened.document, name) for name in ("chips", "texts", "outcomes")}
    places = read_places(content["chips"])
    shards = [(r, {c: places[c].segment for c in r.chip_ids}) for r in opened.document.shards]
    order = list(dict.fromkeys(n for layer in opened.document.modalities for n in (layer.modality, layer.group)))
    rows = place_rows(in_column_order(read_chips(content["chips"]), order), shards, with_zarr=True)
    write_chips(tmp_path / "chips.parquet", rows)
    write_texts(tmp_path / "texts.parquet", read_texts(content["texts"]))
    write_outcomes(tmp_path / "outcomes.parquet", read_outcomes(content["outcomes"]))
    for name in ("chips", "texts", "outcomes"):
        assert (tmp_path / f"{name}.parquet").read_bytes() == (folder / f"{name}.parquet").read_bytes(), name
    some = list(places)[:3]
    assert set(read_chips(content["chips"], some)["chip_id"].to_pylist()) == set(some)


@pytest.mark.parametrize("name", ["chips.parquet", "outcomes.parquet", "texts.parquet", "zarr.parquet"])
def test_a_damaged_table_gets_no_new_hash(dataset_root: Path, tmp_path: Path, name: str) -> None:
    dataset = open_dataset(dataset_root)
    path = dataset_root / dataset.folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    shards = sorted((dataset_root / "shards").rglob("*.tar"))
    with pytest.raises(DatasetError, match=rf"{name}: its bytes are not those that"):
        repack(open_storage(dataset_root), Sizes(buckets=3), scratch=tmp_path / "scratch")
    assert sorted((dataset_root / "shards").rglob("*.tar")) == shards
    assert open_dataset(dataset_root).version == dataset.version
