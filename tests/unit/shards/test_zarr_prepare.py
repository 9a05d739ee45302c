"""Zarr equals the tars though samples came out differently of the same inputs; all else of it is not written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import cast

import numpy as np
import pytest
import zarr

from schemas.sample import Sample
from shards.check import check_dataset
from shards.draft import Draft
from shards.export import ExportOptions, export_dataset
from shards.reader import open_dataset
from shards.storage import FolderStorage, Storage, open_storage
from shards.tables import chips_table
from shards.version import publish
from shards.zarr_groups import label_flags
from shards.zarr_prepare import AT_ONCE, load_samples
from shards.zarr_record import NAME, read_record
from shards.zarr_store import open_store, tagged_snapshot
from tests.unit.shards import made_up

INPUTS = {"s2": "a", "s1": "b", "labels": "c", "fuse": "d", "captions": "e"}
CHIP = 5
"""In the second of three Zarr shards."""


def draft(root: Path, changed: Mapping[int, Sample], touched: Mapping[str, int], hours: int) -> Draft:
    """Ten chips, of which some are others; by their inputs all are what they were."""
    samples = [changed.get(n, made_up.sample(n)) for n in range(10)]
    made = made_up.draft(root, samples, created=made_up.CREATED + timedelta(hours=hours), touched=touched)
    outcomes = [replace(outcome, inputs=INPUTS) for outcome in made.outcomes]
    return replace(made, outcomes=outcomes, chips=chips_table(one.row for one in samples))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("first") / "dataset"
    publish(open_storage(root), draft(root, {}, {}, 0))
    return root


@pytest.fixture
def root(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first, tmp_path / "dataset")
    return tmp_path / "dataset"


class Slow:
    """A store that answers when eight ask at once, and counts how often its connections are given up."""

    def __init__(self, folder: FolderStorage) -> None:
        self.folder, self.together, self.closed = folder, Barrier(AT_ONCE), 0

    def read_range(self, path: str, start: int, length: int) -> bytes:
        self.together.wait(timeout=60)
        return self.folder.read_range(path, start, length)

    def close(self) -> None:
        self.closed += 1


def test_samples_come_from_a_store_many_at_a_time_over_connections_that_stay(root: Path) -> None:
    storage = FolderStorage(root)
    places = open_dataset(root).places
    found = (places.of(number) for number in range(AT_ONCE))
    asked = [(shard, offset, length, chip_id) for chip_id, shard, offset, length in found]
    slow, modality_of = Slow(storage), {"s2_10m": "s2", "s2_20m": "s2", "s1": "s1"}
    came = load_samples(cast("Storage", slow), modality_of, asked)
    assert [sample.chip_id for sample in came] == [place[-1] for place in asked]
    assert [sample.row for sample in came] == [s.row for s in load_samples(storage, modality_of, asked)]
    assert slow.closed == 0


def with_codes(sample: Sample) -> Sample:
    """Another class in one pixel of one product."""
    codes = sample.labels["worldcover"].copy()
    codes[3, 4] = 20
    return replace(sample, labels={"worldcover": codes})


def with_texts(sample: Sample) -> Sample:
    """Fewer texts."""
    return replace(sample, texts=sample.texts[:1])


def with_pixels(sample: Sample) -> Sample:
    """Another value in one pixel of one group."""
    data = sample.layers["s2_10m"].data.copy()
    data[0, 1, 3, 4] += 1
    return replace(sample, layers={**sample.layers, "s2_10m": replace(sample.layers["s2_10m"], data=data)})


def with_scale(sample: Sample) -> Sample:
    """The same numbers, which mean something else."""
    scale = [value * 2 for value in sample.row["s2.scale"]]
    return replace(sample, row={**sample.row, "s2.scale": scale})


def chunk_files(root: Path) -> set[str]:
    """Of Icechunk: one per encoded shard of a group's data; masks and coordinates are too small to get one."""
    return {path.name for path in (root / "zarr/chunks").iterdir()}


@pytest.mark.parametrize(
    ("change", "touched", "written"),
    [
        (with_codes, {"labels": 10}, 1),
        (with_codes, {"captions": 10}, 1),  # labels are made anew of every chip that is touched
        (with_codes, {}, 1),
        (with_pixels, {"s2": 10}, 1),
        (with_pixels, {"captions": 10}, 1),
        (with_pixels, {}, 1),
        (with_scale, {"s2": 10}, 2),  # of both groups of the modality
    ],
)
def test_what_came_out_differently_of_the_same_inputs_is_written(
    root: Path, change: Callable[[Sample], Sample], touched: dict[str, int], written: int
) -> None:
    before = chunk_files(root)
    changed = {CHIP: change(made_up.sample(CHIP)), 9: with_texts(made_up.sample(9))}
    assert publish(open_storage(root), draft(root, changed, touched, 1)).published
    assert check_dataset(root).problems == []
    assert len(chunk_files(root) - before) == written


@pytest.mark.parametrize("touched", [{"captions": 10}, {"s2": 10, "labels": 10}, {}])
def test_other_texts_leave_zarr_as_it_is(root: Path, touched: dict[str, int]) -> None:
    before, old = chunk_files(root), open_dataset(root)
    changed = {n: with_texts(made_up.sample(n)) for n in range(10)}
    publish(open_storage(root), draft(root, changed, touched, 1))
    new = open_dataset(root)
    assert new.version != old.version
    snapshots = [tagged_snapshot(open_storage(root), one.version) for one in (old, new)]
    assert snapshots[0] == snapshots[1]
    assert chunk_files(root) == before
    assert check_dataset(root).problems == []


def test_the_version_after_keeps_what_was_written(root: Path) -> None:
    changed = {CHIP: with_pixels(made_up.sample(CHIP))}
    publish(open_storage(root), draft(root, changed, {"s2": 10}, 1))
    before = chunk_files(root)
    publish(open_storage(root), draft(root, changed | {2: with_texts(made_up.sample(2))}, {"captions": 1}, 2))
    assert chunk_files(root) == before
    assert check_dataset(root).problems == []
    publish(open_storage(root), draft(root, {}, {}, 3))  # and back: the first version's bytes
    assert len(chunk_files(root) - before) == 1
    records = [read_record((path / NAME).read_bytes()) for path in sorted((root / "versions").iterdir())]
    assert records[0] == records[-1]
    assert check_dataset(root).problems == []


def test_a_sample_that_is_damaged_in_the_version_before_is_written(root: Path) -> None:
    row = open_dataset(root).chips.set_index("chip_id").loc[made_up.chip_id(CHIP)]
    with (root / row["shard"]).open("r+b") as file:
        file.seek(int(row["shard_offset"]))
        file.write(b"no header")
    before = chunk_files(root)
    publish(open_storage(root), draft(root, {CHIP: with_pixels(made_up.sample(CHIP))}, {}, 1))
    assert chunk_files(root) > before
    assert [problem.where for problem in check_dataset(root).problems] == [row["shard"]]  # of the version before


def counted(sample: Sample, known: int | None) -> Sample:
    """With the column that counts the pixels of a product; without that product where None."""
    column = {} if known is None else {"label.worldcover.known_pixels": known}
    return replace(sample, labels=sample.labels if known is not None else {}, row={**sample.row, **column})


def test_a_product_that_no_chip_has_any_more_has_no_group(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    counts: list[list[int | None]] = [[864] * 10, [None] * 9 + [0], [None] * 10, [None] * 10]
    groups = []
    for hours, known in enumerate(counts):
        changed = {n: counted(made_up.sample(n), known[n]) for n in range(10)}
        if hours == 3:
            changed[0] = with_pixels(changed[0])
        publish(open_storage(root), draft(root, changed, {}, hours))
        groups.append({name for name in open_dataset(root).document.zarr["groups"] if name.startswith("label")})
    assert groups == [{"label", "label_worldcover"}] * 2 + [{"label"}] * 2
    assert check_dataset(root).problems == []


def test_a_product_of_samples_that_were_taken_over_keeps_its_group(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    for hours in (0, 1):
        changed = {n: counted(made_up.sample(n), 864 if n else None) for n in range(10)}
        if hours:
            changed[0] = with_pixels(changed[0])
        made = draft(root, changed, {}, hours)
        shards = [replace(one, labels={}) for one in made.shards] if hours else made.shards
        publish(open_storage(root), replace(made, shards=shards))
    assert "label_worldcover" in open_dataset(root).document.zarr["groups"]
    assert check_dataset(root).problems == []


def test_labels_are_no_larger_than_the_largest_chip_that_is_left(tmp_path: Path) -> None:
    """A refresh onto a smaller grid kept the arrays of the larger chips before, and was not a build afresh."""
    recipe = {"name": "made-up", "format": 1, "grid": {"gsd_m": 10.0}}
    whole, small = made_up.sample(0), made_up.sample(1)
    left, bottom, _, top = small.row["bounds_xyxy"]
    cut = {name: codes[:, :30] for name, codes in small.labels.items()}
    small = replace(small, labels=cut, label=small.label[:, :30], confidence=small.confidence[:, :30],
                    row={**small.row, "bounds_xyxy": [left, bottom, left + 300.0, top]})  # fmt: skip
    stored = []
    for folder, series in (("refreshed", ([whole, small], [small])), ("afresh", ([small],))):
        for hours, samples in enumerate(series):
            created = made_up.CREATED + timedelta(hours=hours)
            made = made_up.draft(tmp_path / folder, samples, recipe=recipe, created=created)
            taken = [replace(one, labels={}) for one in made.shards] if hours else made.shards
            publish(open_storage(tmp_path / folder), replace(made, shards=taken))
        stored.append(open_dataset(tmp_path / folder).document.zarr)
    assert stored[0]["labels"] == stored[1]["labels"]
    assert stored[0]["labels"]["label"]["shape_yx"] == [24, 30]
    assert stored[0]["digest"] == stored[1]["digest"]


def test_label_groups_say_their_pixel_size_as_groups_of_pixels_do(tmp_path: Path) -> None:
    recipe = {"name": "made-up", "format": 1, "grid": {"gsd_m": 10.0}}
    publish(open_storage(tmp_path / "d"), made_up.draft(tmp_path / "d", [made_up.sample(0)], recipe=recipe))
    dataset = open_dataset(tmp_path / "d")
    export_dataset(dataset, tmp_path / "out", ExportOptions("zarr"))
    of_its_own = zarr.open_group(open_store(dataset.storage, dataset.version), mode="r")
    exported = zarr.open_group(tmp_path / "out" / "dataset.zarr", mode="r")
    for top in (of_its_own, exported):
        left, _, right, _ = dataset.chips["bounds_xyxy"].iloc[0]
        for name in ("label", "confidence", "label_worldcover"):
            columns = int(np.asarray(top[f"{name}/columns"])[0])
            assert top[name].attrs["gsd_m"] == (right - left) / columns


def test_groups_of_labels_say_what_their_numbers_mean(tmp_path: Path) -> None:
    """As CF has it, for who opens Zarr alone; the export of a dataset says the same."""
    publish(open_storage(tmp_path / "d"), made_up.draft(tmp_path / "d", [made_up.sample(0)]))
    dataset = open_dataset(tmp_path / "d")
    export_dataset(dataset, tmp_path / "out", ExportOptions("zarr"))
    for top in (open_store(dataset.storage, dataset.version), tmp_path / "out" / "dataset.zarr"):
        arrays = {name: zarr.open_group(top, mode="r")[name]["data"] for name in ("label", "label_worldcover")}
        assert arrays["label"].attrs["flag_values"] == [0, 1, 255]
        assert arrays["label"].attrs["flag_meanings"] == "Tree Water abstain"
        assert arrays["label_worldcover"].attrs["flag_values"] == [0, 10]
        assert arrays["label_worldcover"].attrs["flag_meanings"] == "nodata Tree_cover"
        assert "flag_values" not in zarr.open_group(top, mode="r")["confidence/data"].attrs


def test_names_of_classes_become_words_that_differ() -> None:
    named = ["Land (farmed), with gaps", "a/b", "a b", "\u6c34"]
    classes = [{"code": code, "name": name} for code, name in enumerate(named, 1)]
    found = label_flags("label_own", {"own": {"nodata": [0, 300], "classes": classes}})
    assert [number for number, _ in found] == [0, 1, 2, 3, 4, 300]
    assert [word for _, word in found] == [
        "nodata_0",
        "Land_farmed_with_gaps",
        "a_b_2",
        "a_b_3",
        "class_4",
        "nodata_300",
    ]
