from __future__ import annotations

import numpy as np
import pytest
import torch

from reference.data import ABSTAIN, Chips, Target
from shards.reader import Dataset
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
