from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reference.data import ABSTAIN, Chips, Target
from reference.lessons import Course, loader
from reference.spoilt import Exchanged
from schemas.errors import DatasetError, UserError
from schemas.sample import Sample
from shards.object_storage import ObjectStorage
from shards.reader import Dataset
from shards.storage import StoreOptions
from terraweft.torch_data import ChipStream, StreamOptions
from tests.unit.reference import made_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return made_dataset.write(tmp_path_factory.mktemp("read"), 10)


def test_the_public_stream_carries_what_the_model_is_shown(dataset: Dataset) -> None:
    chips = Chips(dataset)
    normalised = ChipStream(dataset, StreamOptions(split=None, normalise=True))
    physical = ChipStream(dataset, StreamOptions(split=None))
    for number in normalised.numbers():
        given, linear = normalised.sample(int(number)), physical.sample(int(number))
        shown = chips[given["chip_id"]]
        clear = torch.isin(given["s2_valid"], torch.tensor(dataset.document.clear_codes("s2")))
        assert torch.equal(shown.layers["s2"].valid[0], clear)
        optical = given["s2"] * clear[:, None]
        assert torch.allclose(shown.layers["s2"].values[0], optical, atol=1e-4)
        decibels = 10.0 * torch.log10(linear["s1"])
        table = chips.groups["s1"]
        wanted = (decibels - torch.from_numpy(table.mean)[:, None, None]) / torch.from_numpy(table.std)[:, None, None]
        assert torch.allclose(shown.layers["s1"].values[0], wanted.float(), atol=1e-3)
        assert torch.equal(shown.label[0], given["label"])
        assert torch.allclose(shown.confidence[0], given["confidence"].float() / 255.0)


def test_a_class_beyond_the_legend_is_one_line_with_its_chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def beyond(number: int, **more: Any) -> Sample:
        one = made(number, **more)
        label = one.label.copy() if one.label is not None else np.zeros((32, 32), np.uint8)
        label[5, 7] = 3
        return replace(one, label=label)

    made = made_dataset.sample
    monkeypatch.setattr(made_dataset, "sample", beyond)
    chips = Chips(made_dataset.write(tmp_path, 5))
    with pytest.raises(DatasetError, match="chip m31_0001: a label names class 3, and the legend has 3"):
        chips["m31_0001"]


def test_a_product_of_more_classes_than_an_index_holds_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [{"code": code, "name": f"class {code}", "colour": "#006400"} for code in range(1, 301)]
    legends = {"product": made_dataset.LEGEND | {"name": "product", "classes": codes}}
    made = made_dataset.write(tmp_path, 5)
    monkeypatch.setattr(made, "document", made.document.model_copy(update={"legends": legends}))
    with pytest.raises(UserError, match="has 300 classes, an index of 8 bits tells 255 apart"):
        Chips(made, Target("product"))


def test_chips_of_one_label_never_answer_for_another(dataset: Dataset) -> None:
    fused, product = Chips(dataset), Chips(dataset, Target("product"))
    one, two = fused["m31_0000"], product["m31_0000"]
    assert (one.label == ABSTAIN).any()
    assert np.array_equal(two.label[0].numpy(), made_dataset.truth_of(0))
    assert not torch.equal(one.label, two.label)
    assert torch.equal(fused["m31_0000"].label, one.label)


def test_the_cache_counts_pixels_and_labels_and_ends_at_its_size(dataset: Dataset) -> None:
    one = Chips(dataset)["m31_0000"]
    pixels = 32 * 32
    assert one.nbytes == pixels * (2 * 4 * 4 + 2) + 8 + pixels * (2 * 4 + 1) + 4 + pixels * (8 + 4)
    small = Chips(dataset, cache_bytes=2 * one.nbytes)
    kept = [small[chip_id] for chip_id in ("m31_0000", "m31_0001", "m31_0002")]
    again = [small[chip_id] for chip_id in ("m31_0000", "m31_0001", "m31_0002")]
    assert [a is b for a, b in zip(kept, again, strict=True)] == [True, True, False]


def test_workers_of_a_training_from_an_object_store_are_not_forked(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, chips = Course(batch_size=2, steps=1), Chips(dataset)
    assert loader(chips, ["m31_0000"], course, workers=1).multiprocessing_context is None
    monkeypatch.setattr(dataset, "storage", ObjectStorage("s3://bucket/made-up", StoreOptions()))
    for source in (chips, Exchanged(Exchanged(chips, {}), {})):
        started = loader(source, ["m31_0000"], course, workers=1)
        assert started.multiprocessing_context.get_start_method() == "forkserver"
    assert loader(chips, ["m31_0000"], course).multiprocessing_context is None


def test_a_worker_is_not_sent_the_chips_that_were_read(dataset: Dataset) -> None:
    chips = Chips(dataset)
    size = len(pickle.dumps(chips))
    one = chips["m31_0000"]
    assert len(pickle.dumps(chips)) == size
    assert chips["m31_0000"] is one
