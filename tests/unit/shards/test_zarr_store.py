from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import zarr

from schemas.dataset import ZarrCodec
from schemas.errors import DatasetError, IntegrityError
from schemas.sample import Sample
from shards.storage import Storage, open_storage
from shards.zarr_groups import LabelTable, ZarrPlan, padding_of
from shards.zarr_store import ZarrResult, open_store, store_digest, tags
from shards.zarr_write import Done, Task, ZarrBefore
from shards.zarr_write import write_zarr as write_places
from tests.unit.shards import made_up
from tests.unit.shards.durability import synced_files

LABELS = {"label": LabelTable("uint8", 255, (24, 36)), "label_worldcover": LabelTable("uint8", 0, (24, 36))}
TAG = "20261120T101500Z-00000000"


def write_zarr(storage: Storage, plan: ZarrPlan, samples: Iterable[Sample]) -> ZarrResult:
    """Write samples that are at hand."""
    return write_places(storage, plan, list(samples), list)


def plan_of(count: int, shard_chips: int = 4) -> ZarrPlan:
    return ZarrPlan(made_up.LAYERS, LABELS, tuple(made_up.chip_id(n) for n in range(count)), shard_chips)


def test_two_writes_give_the_same_metadata_and_encoded_chunks(tmp_path: Path) -> None:
    found = [
        write_zarr(open_storage(tmp_path / name), plan_of(9), map(made_up.sample, range(9))).digest for name in "ab"
    ]
    assert found[0] == found[1]
    other = write_zarr(open_storage(tmp_path / "c"), plan_of(9), (made_up.sample(n, seed=2) for n in range(9)))
    assert other.digest != found[0]


def test_nothing_is_seen_before_the_tag(tmp_path: Path) -> None:
    result = write_zarr(open_storage(tmp_path), plan_of(3), map(made_up.sample, range(3)))
    assert tags(open_storage(tmp_path)) == set()
    with pytest.raises(DatasetError, match="has no tag"):
        open_store(open_storage(tmp_path), TAG)
    result.tag(TAG)
    assert tags(open_storage(tmp_path)) == {TAG}
    assert store_digest(open_store(open_storage(tmp_path), TAG)) == result.digest


def test_one_chip_is_one_inner_chunk_and_shards_hold_several(tmp_path: Path) -> None:
    write_zarr(open_storage(tmp_path), plan_of(9), map(made_up.sample, range(9))).tag(TAG)
    store = open_store(open_storage(tmp_path), TAG)
    data = zarr.open_array(store, path="s2_10m/data", mode="r")
    assert data.chunks == (1, 3, 2, 24, 36)
    assert data.shards == (4, 3, 2, 24, 36)
    assert data.metadata.zarr_format == 3
    assert zarr.open_array(store, path="label/data", mode="r").shards == (4, 24, 36)


def test_smaller_chips_and_fewer_dates_are_padded_and_say_so(tmp_path: Path) -> None:
    large = tuple(layer.model_copy(update={"shape_yx": (26, 40)}) for layer in made_up.LAYERS)
    labels = {"label": LabelTable("uint8", 255, (30, 50))}
    plan = ZarrPlan(large, labels, (made_up.chip_id(3),), 4)
    write_zarr(open_storage(tmp_path), plan, [made_up.sample(3)]).tag(TAG)
    group = zarr.open_group(open_store(open_storage(tmp_path), TAG), mode="r")
    sample = made_up.sample(3)
    layer = sample.layers["s2_10m"]
    dates = layer.data.shape[0]
    data, valid = np.asarray(group["s2_10m/data"]), np.asarray(group["s2_10m/valid"])
    np.testing.assert_array_equal(data[0, :dates, :, :24, :36], layer.data)
    assert (data[0, dates:] == 0).all()
    assert (valid[0, dates:] == 0).all()
    assert (valid[0, :, 24:] == 0).all()
    assert (valid[0, :, :, 36:] == 0).all()
    assert (int(group["s2_10m/rows"][0]), int(group["s2_10m/columns"][0])) == (24, 36)
    assert (np.asarray(group["label/data"])[0, 24:] == 255).all()
    assert (float(group["s1/x0"][0]), float(group["s1/y0"][0])) == (sample.layers["s1"].georef.x0, 5_600_245.0)
    assert (float(group["label/x0"][0]), float(group["label/y0"][0])) == (501_080.0, 5_600_240.0)


def test_a_layer_that_a_chip_lacks_is_padding(tmp_path: Path) -> None:
    sample = replace(made_up.sample(1), layers={"s2_10m": made_up.sample(1).layers["s2_10m"]}, label=None)
    write_zarr(open_storage(tmp_path), ZarrPlan(made_up.LAYERS, LABELS, (sample.chip_id,), 4), [sample]).tag(TAG)
    group = zarr.open_group(open_store(open_storage(tmp_path), TAG), mode="r")
    assert (np.asarray(group["s1/data"]) == -32768).all()
    assert not np.asarray(group["s1/valid"]).any()
    assert (np.asarray(group["label/data"]) == 255).all()


@pytest.mark.parametrize(
    ("count", "given", "message"),
    [(3, [0, 2, 1], "came as"), (3, [0, 1], "2 samples came"), (2, [0, 1, 2], "3 samples came")],
)
def test_samples_follow_the_plan(tmp_path: Path, count: int, given: list[int], message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        write_zarr(open_storage(tmp_path), plan_of(count), map(made_up.sample, given))


def test_a_sample_of_another_type_or_size_is_refused(tmp_path: Path) -> None:
    small = tuple(layer.model_copy(update={"max_dates": 1}) for layer in made_up.LAYERS)
    with pytest.raises(IntegrityError, match="does not fit"):
        write_zarr(open_storage(tmp_path), ZarrPlan(small, {}, (made_up.chip_id(2),), 4), [made_up.sample(2)])
    plan = ZarrPlan((), {"label": LabelTable("uint16", 0, (24, 36))}, (made_up.chip_id(2),), 4)
    with pytest.raises(IntegrityError, match="wanted LabelTable"):
        write_zarr(open_storage(tmp_path), plan, [made_up.sample(2)])


def test_padding_is_no_data() -> None:
    layer = made_up.LAYERS[0]
    assert padding_of(layer) == 0
    assert padding_of(made_up.LAYERS[2]) == -32768.0
    assert padding_of(layer.model_copy(update={"nodata": None})) == 0
    assert np.isnan(padding_of(layer.model_copy(update={"nodata": None, "dtype": "float32"})))


def test_shards_whose_chips_stay_are_not_written_again(tmp_path: Path) -> None:
    """Ten chips in shards of four; one changes, then two are added and the last two go: as if written at once."""
    storage = open_storage(tmp_path)
    read: list[str] = []

    def load(samples: Sequence[Sample]) -> Sequence[Sample]:
        read.extend(sample.chip_id for sample in samples)
        return samples

    def version(numbers: Sequence[int], seeds: Mapping[int, int], before: ZarrBefore | None) -> ZarrBefore:
        plan = ZarrPlan(made_up.LAYERS, LABELS, tuple(made_up.chip_id(n) for n in numbers), 4)
        samples = [made_up.sample(n, seed=seeds.get(n, 1)) for n in numbers]
        inputs = {spec.name: [str(seeds.get(n, 1)) for n in numbers] for spec in plan.specs()}
        read.clear()
        result = write_places(storage, plan, samples, load, inputs=inputs, before=before)
        snapshot = result.tag(f"20261120T1015{len(tags(storage)):02d}Z-00000000")
        fresh = write_places(open_storage(tmp_path / str(len(tags(storage)))), plan, samples, list, inputs=inputs)
        assert result.record == fresh.record
        return ZarrBefore(snapshot, {spec.name: spec.signature() for spec in plan.specs()}, result.record)

    first = version(range(10), {}, None)
    assert len(read) == 10
    second = version(range(10), {5: 2}, first)
    assert read == [made_up.chip_id(n) for n in (4, 5, 6, 7)]
    third = version(range(12), {5: 2}, second)
    assert read == [made_up.chip_id(n) for n in (8, 9, 10, 11)]
    version(range(9), {5: 2}, third)
    assert read == [made_up.chip_id(8)]


def test_measurements_are_packed_as_told_and_classes_and_masks_by_zstd(tmp_path: Path) -> None:
    stores, samples = {}, [made_up.sample(n) for n in range(5)]
    for codec in get_args(ZarrCodec):
        storage = open_storage(tmp_path / codec)
        write_zarr(storage, replace(plan_of(5), codec=codec), samples).tag(TAG)
        stores[codec] = zarr.open_group(open_store(storage, TAG), mode="r")

    def blosc_of(codec: str, path: str) -> tuple[str, str]:
        (sharding,) = json.loads(json.dumps(stores[codec][path].metadata.to_dict()["codecs"]))
        packing = sharding["configuration"]["codecs"][-1]["configuration"]
        return packing["cname"], packing["shuffle"]

    for codec, group in stores.items():
        for layer in made_up.LAYERS:
            assert blosc_of(codec, f"{layer.group}/data") == (codec, "bitshuffle")
            assert blosc_of(codec, f"{layer.group}/valid") == ("zstd", "bitshuffle")
            np.testing.assert_array_equal(group[f"{layer.group}/data"][...], stores["lz4"][f"{layer.group}/data"][...])
        assert blosc_of(codec, "label/data") == ("zstd", "bitshuffle")


def test_another_codec_writes_measurements_again_and_labels_not(tmp_path: Path) -> None:
    plan = plan_of(5)
    inputs = {spec.name: ["1"] * 5 for spec in plan.specs()}
    samples, storage = [made_up.sample(n) for n in range(5)], open_storage(tmp_path)
    result = write_places(storage, plan, samples, list, inputs=inputs)
    before = ZarrBefore(result.tag(TAG), {s.name: s.signature() for s in plan.specs()}, result.record)
    other = replace(plan, codec="zstd")
    again = write_places(storage, other, samples, list, inputs=inputs, before=before)
    changed = {
        key.split("/")[0] for key, chunk in again.record.chunks.items() if before.record.chunks.get(key) != chunk
    }
    assert changed == {layer.group for layer in made_up.LAYERS}


def test_workers_that_hand_in_whole_shards_write_the_same_store(tmp_path: Path) -> None:
    plan, samples = plan_of(9, shard_chips=2), [made_up.sample(n) for n in range(9)]
    alone = write_places(open_storage(tmp_path / "a"), plan, samples, list)
    handed: list[int] = []

    def elsewhere(work: Callable[[Task], Done], tasks: Sequence[Task]) -> list[Done]:
        handed.append(len(tasks))
        copies = [pickle.loads(pickle.dumps((work, task))) for task in reversed(tasks)]
        return [pickle.loads(pickle.dumps(one(task))) for one, task in copies]

    together = write_places(open_storage(tmp_path / "b"), plan, samples, list, spread=elsewhere, task_chips=4)
    assert handed == [3]
    together.tag(TAG)
    assert together.record == alone.record
    assert store_digest(open_store(open_storage(tmp_path / "b"), TAG)) == alone.digest

    inputs = [{spec.name: [seed] * 9 for spec in plan.specs()} for seed in "12"]
    others = [made_up.sample(n, seed=2) for n in range(9)]
    storage = open_storage(tmp_path / "c")
    first = write_places(storage, plan, samples, list, inputs=inputs[0], spread=elsewhere, task_chips=4)
    before = ZarrBefore(first.tag(TAG), {spec.name: spec.signature() for spec in plan.specs()}, first.record)
    second = write_places(
        storage, plan, others, list, inputs=inputs[1], before=before, spread=elsewhere, task_chips=4
    )  # all arrays stay, every shard is another
    assert second.record.digest() == write_places(open_storage(tmp_path / "d"), plan, others, list).digest


def test_what_groups_are_called_is_said_anew_where_their_arrays_stay(tmp_path: Path) -> None:
    """Another composite, another legend: of as many dates and pixels, so that the group of the parent goes on.

    Classes that the parent had are not said of a legend without any, and those that it did not say are said now.
    """

    def plan_with(composite: str, legend: str, sensor: str) -> ZarrPlan:
        layers = tuple(layer.model_copy(update={"composite": composite, "sensor": sensor}) for layer in made_up.LAYERS)
        flags = {"label": ((1, legend),) if legend == "corine-44" else (), "label_worldcover": ((0, "nodata"),)}
        flags["label_worldcover"] = () if legend == "corine-44" else flags["label_worldcover"]
        labels = {name: replace(table, legend=legend, flags=flags[name]) for name, table in LABELS.items()}
        return ZarrPlan(layers, labels, plan_of(5).chip_ids, 4)

    samples, storage = [made_up.sample(n) for n in range(5)], open_storage(tmp_path)
    first = plan_with("median", "worldcover-11", "sentinel-2-l2a")
    result = write_places(storage, first, samples, list, inputs={spec.name: ["1"] * 5 for spec in first.specs()})
    before = ZarrBefore(result.tag(TAG), {s.name: s.signature() for s in first.specs()}, result.record)
    other, inputs = plan_with("medoid", "corine-44", "another"), {spec.name: ["2"] * 5 for spec in first.specs()}
    again = write_places(storage, other, samples, list, inputs=inputs, before=before)
    fresh = write_places(open_storage(tmp_path / "fresh"), other, samples, list, inputs=inputs)
    assert again.record == fresh.record
    unchanged = {spec.name: ["1"] * 5 for spec in first.specs()}
    read: list[str] = []
    write_places(
        storage, other, samples, lambda some: read.extend(map(str, some)) or some, inputs=unchanged, before=before
    )
    assert read == []  # other attributes alone write no chunk


def test_the_branch_is_on_the_disk_while_shards_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torn by a power cut, it would keep readers from the version before."""
    synced, plan, storage = synced_files(monkeypatch), plan_of(9, shard_chips=2), open_storage(tmp_path)
    branch = tmp_path / "zarr" / "refs" / "branch.main" / "ref.json"
    stood: list[str] = []

    def spread(work: Callable[[Task], Done], tasks: Sequence[Task]) -> list[Done]:
        assert branch.stat().st_ino in synced
        stood.append(branch.read_text())
        return [work(task) for task in tasks]

    before = None
    for seed in (1, 2):
        samples = [made_up.sample(n, seed=seed) for n in range(9)]
        inputs = {spec.name: [str(seed)] * 9 for spec in plan.specs()}
        result = write_places(storage, plan, samples, list, inputs=inputs, before=before, spread=spread, task_chips=4)
        snapshot = result.tag(f"20261120T10150{seed}Z-00000000")
        before = ZarrBefore(snapshot, {spec.name: spec.signature() for spec in plan.specs()}, result.record)
    assert len(stood) == 2
