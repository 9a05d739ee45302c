"""Versions are listed, compared, gone back to, and freed of what none of them lists."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import DatasetError
from schemas.sample import Sample
from shards.check import check_dataset
from shards.garbage import find_garbage
from shards.history import REST, compare_versions, describe_versions, keys_that_differ, roll_back
from shards.pointer import list_versions
from shards.reader import open_dataset
from shards.repack import Sizes, repack
from shards.storage import Storage, open_storage
from shards.version import publish
from tests.unit.shards import made_up

PEAK_OF_A_COMPARISON = """
import os, sys, tracemalloc
from shards.history import REST, compare_versions
from shards.storage import open_storage
storage = open_storage(sys.argv[1])
tracemalloc.start()
compare_versions(storage, *sys.argv[2:])
print(tracemalloc.get_traced_memory()[1], flush=True)
os._exit(0)
"""
"""In a process of its own, which never stops tracing: Python 3.11 dies now and then where threads of libraries free
memory while it stops (python/cpython issue 128679).
"""


def test_versions_are_listed_with_what_they_changed(history: tuple[Path, Storage, list[str]]) -> None:
    _, storage, names = history
    listed = describe_versions(storage)
    assert [info.version for info in listed] == names
    assert [info.current for info in listed] == [False, False, True]
    assert [info.parent_version for info in listed] == ["", *names[:2]]
    assert (listed[1].diff["added"], listed[1].diff["removed"], listed[1].diff["changed"]) == (1, 1, 3)


def test_a_clock_that_was_set_back_does_not_put_a_version_before_its_parent(
    history: tuple[Path, Storage, list[str]],
) -> None:
    root, storage, names = history
    names = [*names, *(made_up.publish_again(root, storage, hours, 3 + n) for n, hours in enumerate((-48, -48, -30)))]
    assert [info.version for info in describe_versions(storage)] == names
    found = find_garbage(storage, keep=2)
    assert list(found.forgotten) == names[:-2]


def test_two_versions_are_compared_chip_by_chip(history: tuple[Path, Storage, list[str]]) -> None:
    _, storage, names = history
    diff = compare_versions(storage, names[0], names[1])
    assert (len(diff.added), len(diff.removed), len(diff.changed), diff.unchanged) == (1, 1, 3, 6)
    assert all(columns for columns in diff.changed.values())
    first, second = ({r.path: r.bytes for r in open_dataset(storage, version=n).document.shards} for n in names[:2])
    assert diff.shards_shared == len(first.keys() & second.keys())
    assert diff.bytes_new == sum(size for path, size in second.items() if path not in first) > 0
    back = compare_versions(storage, names[1], names[0])
    assert (back.added, back.removed) == (diff.removed, diff.added)
    same = compare_versions(storage, names[2], names[2])
    assert (same.added, same.removed, dict(same.changed), same.bytes_new) == ((), (), {}, 0)


def test_a_comparison_names_columns_and_holds_no_rows_of_chips_that_are_the_same(dataset_root: Path) -> None:
    names = [open_dataset(dataset_root).version, "20261121T101500Z-00000000"]
    folders = [dataset_root / "versions" / name for name in names]
    folders[1].mkdir()
    shutil.copy(folders[0] / "texts.parquet", folders[1])
    ids = [f"c{number:04d}" for number in range(2000)]
    document = json.loads((folders[0] / "dataset.json").read_text())
    document["tables"]["chips.parquet"]["rows"], document["shards"][0]["chip_ids"] = len(ids), ids
    for folder, name in zip(folders, names, strict=True):
        (folder / "dataset.json").write_text(json.dumps(document | {"version": name}))
    same = pa.array([[0.5] * 100] * len(ids))
    for folder, sha256, caption, more in (
        (folders[0], "a", ["calm", "calm"], {"old": pa.array([7] * len(ids))}),
        (folders[1], "b", ["calm", "wild"], {"new": pa.array([None, "x"] + [None] * (len(ids) - 2))}),
    ):
        columns = {"chip_id": ids[::-1] if more.keys() == {"new"} else ids, "same": same, **more}
        hashes = dict.fromkeys(ids, "a") | dict.fromkeys(ids[-2:], sha256)
        captions = dict.fromkeys(ids, "") | dict(zip(ids[-2:], caption, strict=True))
        for name, values in (("sample_sha256", hashes), ("caption", captions)):
            columns[name] = [values[chip_id] for chip_id in columns["chip_id"]]
        pq.write_table(pa.table(columns), folder / "chips.parquet")
    diff = compare_versions(open_storage(dataset_root), *names)
    assert diff.changed == {"c1998": ("new", "old"), "c1999": ("caption", "old")}
    assert diff.unchanged == 1998
    command = [sys.executable, "-c", PEAK_OF_A_COMPARISON, str(dataset_root), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2_000_000  # 2,000 lists of 100 numbers are 10 MB as Python objects


def test_texts_that_differ_are_named_beside_columns(tmp_path: Path) -> None:
    """A column alone was named, and the texts of the chip were others too."""

    def written(index: int, caption: str, **row: Any) -> Sample:
        one = made_up.sample(index)
        texts = tuple({**text, "text": caption} for text in one.texts)
        return replace(one, texts=texts, row={**one.row, **row})

    first = [written(number, "Calm.") for number in range(4)]
    second = [written(0, "Wild."), written(1, "Wild.", region="x"), written(2, "Calm.", region="x")]
    second.append(replace(first[3], confidence=np.zeros_like(first[3].confidence)))
    storage, names = open_storage(tmp_path), []
    for hours, samples in enumerate((first, second)):
        created = made_up.CREATED + timedelta(hours=hours)
        names.append(publish(storage, made_up.draft(tmp_path, samples, created=created, zarr_shard_chips=None)).version)
    diff = compare_versions(storage, *names)
    ids = [made_up.chip_id(number) for number in range(4)]
    assert diff.changed[ids[0]] == ("texts",)
    assert diff.changed[ids[1]] == ("region", "texts")
    assert diff.changed[ids[2]] == ("region",)
    assert diff.changed[ids[3]] == (REST,)


def test_a_roll_back_moves_the_pointer_and_deletes_nothing(history: tuple[Path, Storage, list[str]]) -> None:
    root, storage, names = history
    assert roll_back(storage, names[0]) == names[2]
    assert open_dataset(root).version == names[0]
    assert list_versions(storage) == names
    assert check_dataset(root).problems == []
    assert roll_back(storage, names[2]) == names[0]
    assert open_dataset(root).version == names[2]


def test_nobody_rolls_back_to_what_is_gone(history: tuple[Path, Storage, list[str]]) -> None:
    root, storage, names = history
    with pytest.raises(DatasetError, match="no version"):
        roll_back(storage, "20200101T000000Z-00000000")
    only_first = {r.path for r in open_dataset(root, names[0]).document.shards}
    only_first -= {r.path for r in open_dataset(root, names[2]).document.shards}
    storage.delete(sorted(only_first)[0])
    with pytest.raises(DatasetError, match="gone or cut"):
        roll_back(storage, names[0])
    assert open_dataset(root).version == names[2]


@pytest.mark.parametrize(
    ("lost", "named"), [("versions/{}/chips.parquet", "chips.parquet"), ("zarr", "zarr of")], ids=["table", "zarr"]
)
def test_nobody_rolls_back_to_a_version_without_its_table_or_zarr(
    history: tuple[Path, Storage, list[str]], lost: str, named: str
) -> None:
    root, storage, names = history
    (root / lost.format(names[0])).rename(root / "elsewhere")
    with pytest.raises(DatasetError, match=f"1 of its files are gone or cut, first .*{named}"):
        roll_back(storage, names[0])
    assert open_dataset(root).version == names[2]


def test_table_that_a_version_lacks_is_not_taken_for_a_version_that_was_removed(
    history: tuple[Path, Storage, list[str]],
) -> None:
    root, storage, names = history
    (root / "versions" / names[0] / "texts.parquet").unlink()
    with pytest.raises(DatasetError, match=r"texts\.parquet: the table is missing .see terraweft check"):
        _ = open_dataset(root, names[0]).texts
    (root / "versions" / names[0] / "chips.parquet").unlink()
    with pytest.raises(DatasetError, match=rf"{names[0]}/chips\.parquet: the table is missing"):
        compare_versions(storage, *names[:2])


@pytest.mark.parametrize("cut", [0, 7, 3000])
def test_a_damaged_table_is_one_line_that_says_which(history: tuple[Path, Storage, list[str]], cut: int) -> None:
    root, storage, names = history
    path = root / "versions" / names[2] / "chips.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    reader = open_dataset(root)
    for read in (
        lambda: reader.chips,
        lambda: reader.places,
        lambda: reader.columns(["split"]),
        lambda: compare_versions(storage, names[1], names[2]),
        lambda: repack(storage, Sizes(buckets=2), scratch=root / "work"),
    ):
        what = "(the table cannot be read: |its bytes are not those )"
        with pytest.raises(DatasetError, match=rf"{names[2]}/chips\.parquet: {what}") as told:
            read()
        assert "see terraweft check" in told.value.line()


def test_keys_that_differ_are_dotted() -> None:
    assert list(keys_that_differ({"a": [1], "b": {"c": 1}}, {"a": [2], "b": {"c": 1}, "z": 0})) == ["a", "z"]


def test_a_file_that_is_gone_before_it_is_looked_at_is_not_listed(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    for name in "abc":
        storage.put(f"versions/x/{name}", b"1")
    listed = storage.list("versions")
    first = next(listed)
    storage.delete("versions/x/b")
    assert [first, *listed] == [("versions/x/a", 1), ("versions/x/c", 1)]
