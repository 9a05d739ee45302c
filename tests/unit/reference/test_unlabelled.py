"""What is said of chips and datasets that lack labels, of which a gate would otherwise say a score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reference.data import Batch, Chips, Target
from reference.gate_leak import _at_random, leak
from reference.gate_learnable import learnable, registration
from reference.gate_modalities import modalities
from reference.gate_noise import LeftOut, left_out, noise_matrix, suspicions, thinned, thinning
from reference.gate_texts import texts
from reference.gates import GATES, default_target, run_gates, write_validation
from schemas.errors import DatasetError
from schemas.recipe_gates import Gates
from shards.reader import Dataset
from tests.unit.reference import made_dataset
from tests.unit.reference.test_gate_controls import Taught, Unlabelled

QUICK = Gates.model_validate({"training": {"steps": 2}})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return made_dataset.write(tmp_path_factory.mktemp("unlabelled"))


def with_legends(dataset: Dataset, legends: Mapping[str, object]) -> Dataset:
    return Dataset(dataset.storage, dataset.document.model_copy(update={"legends": dict(legends)}))


def test_imagery_alone_is_judged_by_its_numbers_and_no_other_gate_applies(dataset: Dataset) -> None:
    bare = with_legends(dataset, {})
    for only, whole in (((), True), (("statistics",), False)):
        found = run_gates(bare, only=only)
        assert found.passed
        assert found.whole is whole
        assert found.target == ""
        assert found.training["models"] == 0
    assert [one.passed for one in run_gates(bare).findings] == [True, True, *[None] * (len(GATES) - 2)]
    assert not run_gates(bare, only=("leak",)).passed
    with pytest.raises(DatasetError, match="no label 'corine'"):
        run_gates(bare, target=Target("corine"))


def test_statistics_need_no_choice_among_labels(dataset: Dataset) -> None:
    product = dataset.document.legends["product"]
    assert run_gates(with_legends(dataset, {"one": product, "two": product}), only=("statistics",)).passed
    several = with_legends(dataset, {"one": product, "two": product})
    with pytest.raises(DatasetError, match="which label is to be learned"):
        run_gates(several)
    assert default_target(several, Gates.model_validate({"training": {"label": "two"}})) == Target("two")


def test_a_gate_that_cannot_judge_loses_nothing_of_the_others_and_decides_nothing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chips, "__getitem__", lambda chips, chip_id: damaged(chip_id))
    found = run_gates(dataset, gates=Gates())
    assert found.findings[0].passed
    assert found.findings[1].passed
    assert not found.passed
    assert not found.whole
    assert found.findings[2].said.startswith("cannot be judged: m31_00")
    assert found.findings[2].said.endswith("its bytes are not those of the manifest")


@pytest.mark.parametrize("short", [True, False])
def test_a_shard_that_is_gone_is_what_gates_say_and_the_validation_is_not_lost(tmp_path: Path, short: bool) -> None:
    """Readers of shards raise what no gate expected: all that had been found was gone."""
    dataset = made_dataset.write(tmp_path, 10)
    gone = next(shard.path for shard in dataset.document.shards if shard.split == "test")
    (tmp_path / gone).unlink()
    found = run_gates(dataset, gates=QUICK, short=short)
    assert [one.passed for one in found.findings[:3]] == [True, True, False]
    assert f"cannot be judged: {gone}" in found.findings[2].said
    assert not found.passed
    assert not found.whole


def test_a_dataset_without_a_clear_pixel_in_train_is_refused_by_each_gate_in_a_line(tmp_path: Path) -> None:
    """It ended as an error before any gate was asked: of a version that waits nothing was kept, every night anew."""
    dataset = made_dataset.write(tmp_path, 10)
    bare = [made_dataset.without_statistics(table) for table in dataset.document.modalities]
    dataset = Dataset(dataset.storage, dataset.document.model_copy(update={"modalities": tuple(bare)}))
    found = run_gates(dataset, gates=QUICK)
    assert "pixels and no mean" in found.findings[0].said
    assert found.findings[1].passed
    assert {one.said for one in found.findings[2:]} == {
        "cannot be judged: no mean and deviation for s2 (it has no clear pixel in train)"
    }
    assert not found.whole
    with pytest.raises(DatasetError, match="no mean and deviation"):
        run_gates(dataset, gates=QUICK, target=Target("product"))


class Clouded(Unlabelled):
    """Some chips show no clear pixel."""

    def __getitem__(self, chip_id: str) -> Batch:
        chip = self.chips[chip_id]
        if chip_id not in self.without:
            return chip
        hidden = {n: replace(layer, valid=torch.zeros_like(layer.valid)) for n, layer in chip.layers.items()}
        return replace(chip, layers=hidden)


def test_held_out_chips_under_clouds_are_said_to_be_unseen(dataset: Dataset) -> None:
    """A score of what nobody saw was held against the split: a split at random gained, which looked like a leak."""
    chips = Chips(dataset)
    study = Taught(chips, Gates())
    study.chips = Clouded(chips, study.split.held_out)
    assert learnable(study).passed is False
    for gate in (learnable, registration, modalities, leak):
        assert "no held-out chip has a label and a clear pixel" in gate(study).said
    assert texts(study).said == "does not apply: 0 held-out chips with captions and clear pixels are too few"
    assert leak(study).passed is None


def damaged(chip_id: str) -> None:
    raise DatasetError("its bytes are not those of the manifest", where=chip_id)


def test_two_validations_of_one_second_are_two_files(dataset: Dataset) -> None:
    found = run_gates(dataset, only=("statistics",))
    paths = [write_validation(dataset.storage, found) for _ in range(3)]
    assert paths == sorted(set(paths))
    assert [json.loads(dataset.storage.read(path))["time_utc"] for path in paths] == [Path(p).stem for p in paths]


def test_held_out_chips_without_labels_are_said_to_have_none(dataset: Dataset) -> None:
    chips = Chips(dataset)
    study = Taught(chips, Gates())
    study.chips = Unlabelled(chips, study.split.held_out)
    assert learnable(study).passed is False
    assert learnable(study).said == "no held-out chip has a label to be held against, of 12"
    for gate in (registration, modalities, leak):
        assert gate(study).passed is None
        assert "no held-out chip has a label" in gate(study).said
    study = Taught(chips, Gates())
    smuggled = (*study.split.held_out, study.split.train[0])
    study.split = type(study.split)(study.split.train, smuggled, "made up")
    study.chips = Unlabelled(chips, smuggled)
    assert leak(study).passed is False


def test_a_split_at_random_has_labels_on_both_sides(dataset: Dataset) -> None:
    chips = Chips(dataset)
    study = Taught(chips, Gates())
    train, held = study.split.train, study.split.held_out
    labelled = {train[0], train[1], held[0]}
    study.chips = Unlabelled(chips, [one for one in (*train, *held) if one not in labelled])
    for seed in range(20):
        study.training = type(study.training)(seed=seed)
        learned, asked = _at_random(study, train, held)
        assert (len(learned), len(asked)) == (len(train), len(held))
        assert sorted((*learned, *asked)) == sorted((*train, *held))
        assert len(labelled.intersection(asked)) == 1
    study.chips = chips
    order = np.random.Generator(np.random.PCG64(19)).permutation([*train, *held]).tolist()
    assert _at_random(study, train, held) == (order[: len(train)], order[len(train) :])  # all have labels


def test_chances_of_many_chips_are_thinned_to_what_fits(dataset: Dataset) -> None:
    study = Taught(Chips(dataset), Gates())
    whole = len(study.split.train) * 3 * 32 * 32 * 2
    assert [thinning(study, most) for most in (whole, whole - 1, whole // 4, whole // 5)] == [1, 2, 2, 3]
    thin = left_out(study, 2, study.split.train, 3)
    assert sum(one.nbytes for one in thin.chances.values()) < whole / 8
    full = left_out(study, 2, study.split.train, 1)
    chip_id = study.split.train[4]
    assert np.array_equal(thin.chances[chip_id], full.chances[chip_id][:, 1::3, 1::3])
    assert noise_matrix(thin, study.chips)[1] == noise_matrix(full, study.chips)[1] == 0.0
    assert set(suspicions(thin, study.chips)) == set(study.split.train)
    label = study.chips[chip_id].label[0].numpy()
    assert thinned(label, 3).shape == (11, 11)
    spoilt = LeftOut({i: chance[::-1] for i, chance in thin.chances.items()}, 3)
    assert noise_matrix(spoilt, study.chips)[1] > 0.3


def test_words_that_tell_no_chips_apart_prove_nothing(dataset: Dataset) -> None:
    class Alike(Unlabelled):
        def __getitem__(self, chip_id: str):  # type: ignore[no-untyped-def]
            chip = self.chips[chip_id]
            return type(chip)(chip.chip_ids, chip.layers, chip.label, chip.confidence, ("A place.",))

    chips = Chips(dataset)
    study = Taught(chips, Gates())
    study.chips = Alike(chips, ())
    assert texts(study).passed is None
    assert texts(study).said.endswith("tell too few of them apart to prove anything")
