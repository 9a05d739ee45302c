from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rasterio.transform import Affine

from reference.data import Chips, Target
from reference.evaluate import confusion, iou, mean_iou
from reference.findings import Finding
from reference.gate_leak import near_gain, overlapping, squares_of
from reference.gate_noise import LeftOut, noise_matrix, suspicions
from reference.gate_statistics import statistics
from reference.gates import GATES, Validation, gates_of, run_gates, write_validation
from reference.spoilt import Exchanged, Flipped, clouded, deranged, noisy, shifted
from reference.study import Study, split_of
from reference.truth import read_truth
from schemas.errors import DatasetError
from schemas.recipe_gates import Gates
from shards.reader import Dataset, open_dataset
from tests.unit.reference import made_dataset
from tests.unit.shards import made_up

QUICK = Gates.model_validate(
    {
        "training": {"steps": 40, "batch_size": 6, "crop_m": None},
        "noise": {"folds": 2},
        "learnable": {"min_gain_over_pixels": -0.2},
    }
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return made_dataset.write(tmp_path_factory.mktemp("taught"))


@pytest.fixture(scope="module")
def validation(dataset: Dataset) -> Validation:
    torch.set_num_threads(1)
    truth = {made_dataset.sample(n).chip_id: made_dataset.truth_of(n) for n in range(30)}
    return run_gates(dataset, gates=QUICK, truth=lambda ids: {chip_id: truth[chip_id] for chip_id in ids})


def finding(validation: Validation, gate: str) -> Finding:
    return next(found for found in validation.findings if found.gate == gate)


def test_a_dataset_that_teaches_passes_every_gate_and_every_control_is_refused(validation: Validation) -> None:
    for found in validation.findings:
        assert found.passed, found.said
        assert found.control_failed, f"{found.gate}: {found.control_measured}"
        assert found.thresholds
    assert [found.gate for found in validation.findings] == list(GATES)
    assert all(found.figures for found in validation.findings if found.gate not in ("statistics", "plausible"))
    assert validation.passed


def test_the_model_is_nearer_to_the_truth_than_the_labels_it_learned_from(validation: Validation) -> None:
    found = finding(validation, "learnable").measured
    assert found["truth_chips"] == 12
    assert found["gain_over_labels"] > 0.05


def test_the_noise_that_was_put_in_is_found(validation: Validation) -> None:
    assert finding(validation, "noise").measured["noise"] == pytest.approx(0.12, abs=0.04)


def test_a_validation_is_a_file_beside_the_versions(validation: Validation, dataset: Dataset) -> None:
    path = write_validation(dataset.storage, validation)
    found = json.loads(dataset.storage.read(path))
    assert path == f"validations/{dataset.version}/{validation.time_utc}.json"
    assert found["passed"]
    assert {gate["gate"] for gate in found["gates"]} == set(GATES)


def test_a_dataset_of_shuffled_labels_does_not_pass(dataset: Dataset) -> None:
    chips = Chips(dataset)
    study = Study(chips, QUICK)
    ids = [*study.split.train, *study.split.held_out]
    study.chips = Exchanged(chips, deranged(ids, 1), labels=True)
    from reference.gate_learnable import learnable

    assert not learnable(study).passed


def test_a_manifest_whose_means_are_off_is_refused(dataset: Dataset) -> None:
    layers = dataset.document.modalities
    band = layers[0].bands[1]
    assert band.mean is not None
    assert band.std is not None
    wrong = band.model_copy(update={"mean": band.mean + 0.001 * band.std})
    moved = layers[0].model_copy(update={"bands": (layers[0].bands[0], wrong, *layers[0].bands[2:])})
    document = dataset.document.model_copy(update={"modalities": (moved, *layers[1:])})
    found = statistics(Dataset(dataset.storage, document), QUICK.statistics)
    assert not found.passed
    assert "B03" in found.said


def test_a_version_that_drifted_from_its_parent_is_refused(tmp_path: Path) -> None:
    made_dataset.write(tmp_path, 10)
    same = made_dataset.write(tmp_path, 15, created=made_up.CREATED + timedelta(days=1))
    assert same.document.parent_version
    assert statistics(same, QUICK.statistics).passed
    bright = made_dataset.write(tmp_path, 15, created=made_up.CREATED + timedelta(days=2), brighter=2.0)
    found = statistics(bright, QUICK.statistics)
    assert not found.passed
    assert found.measured["largest_drift"] > QUICK.statistics.max_drift


@pytest.mark.parametrize(("brighter", "holds"), [(1.01, True), (2.0, False)])
def test_statistics_that_a_refresh_kept_are_no_error_and_may_drift(
    tmp_path: Path, brighter: float, holds: bool
) -> None:
    """Every refresh that moved a pixel of train was refused: its kept means were taken for those of its samples."""
    first = made_dataset.write(tmp_path, 10)
    kept = {"version": first.version, "chips": 10, "touched_since": 10, "bands": {"s1": ""}}
    again = made_dataset.write(
        tmp_path, 10, created=made_up.CREATED + timedelta(days=1), brighter=brighter, estimates={}, estimated=kept
    )
    s2, s1 = first.document.modalities[0], again.document.modalities[1]
    document = again.document.model_copy(update={"modalities": (s2, s1)})
    found = statistics(Dataset(again.storage, document), QUICK.statistics)
    assert found.holds is holds
    assert found.measured["largest_error"] < 1e-6
    assert found.measured["largest_drift"] > 0.001
    assert f"1 group(s) are those of {first.version}" in found.said
    alone = document.model_copy(update={"parent_version": "", "modalities": (s2,)})
    found = statistics(Dataset(again.storage, alone), QUICK.statistics)
    assert "largest_error" not in found.measured
    assert (found.passed, found.control_failed) == (holds, True)


def test_drift_of_kept_statistics_adds_up_over_refreshes(tmp_path: Path) -> None:
    """A group whose statistics are kept is held against these, not against the parent, which had drifted as far."""
    first = made_dataset.write(tmp_path, 10)
    kept = {"version": first.version, "chips": 10, "touched_since": 10}
    for days, brighter in ((1, 2.0), (2, 2.01)):
        created = made_up.CREATED + timedelta(days=days)
        made_dataset.write(tmp_path, 10, created=created, brighter=brighter, estimates={}, estimated=kept)
    last = open_dataset(tmp_path)
    assert len(last.versions()) == 3
    document = last.document.model_copy(update={"modalities": first.document.modalities})
    found = statistics(Dataset(last.storage, document), QUICK.statistics)
    assert found.measured["largest_drift"] > QUICK.statistics.max_drift
    assert f"from {first.version}" in found.said


def test_a_parent_whose_samples_cannot_be_read_is_held_to_what_it_states(tmp_path: Path) -> None:
    """One damaged shard of it kept every later version from being judged, and so from its readers."""
    first = made_dataset.write(tmp_path, 10)
    kept = {"version": first.version, "chips": 10, "touched_since": 10}
    parent = made_dataset.write(tmp_path, 10, created=made_up.CREATED + timedelta(days=1), brighter=1.01,
                                estimates={}, estimated=kept)  # fmt: skip
    for days, brighter, holds in ((2, 1.02, True), (3, 2.0, False)):
        created = made_up.CREATED + timedelta(days=days)
        last = made_dataset.write(tmp_path, 10, created=created, brighter=brighter)
        last = Dataset(last.storage, last.document.model_copy(update={"parent_version": parent.version}))
        for shard in parent.document.shards:
            (tmp_path / shard.path).unlink(missing_ok=True)
        found = statistics(last, QUICK.statistics)
        assert found.holds is holds
        assert f"samples of {parent.version} cannot be measured, what it states counts: shards/train" in found.said
        assert f"from {first.version}" in found.said


def test_what_no_statistics_were_held_against_is_said(tmp_path: Path) -> None:
    made = made_dataset.write(tmp_path, 10)
    orphan = made.document.model_copy(update={"parent_version": "20260101T000000Z-00000000"})
    found = statistics(Dataset(made.storage, orphan), QUICK.statistics)
    assert found.passed
    assert "20260101T000000Z-00000000 is not there any more: drift from it is not known" in found.said
    group = made_dataset.without_statistics(made.document.modalities[0]).model_copy(update={"group": "other"})
    more = made.document.model_copy(update={"modalities": (*made.document.modalities, group)})
    assert (
        "no chip of train has a clear pixel of other" in statistics(Dataset(made.storage, more), QUICK.statistics).said
    )


def test_thresholds_come_from_the_recipe_of_the_dataset(tmp_path: Path) -> None:
    rules = {"learnable": {"min_gain_over_majority": 0.4, "of_a_later_release": 1}, "later": {}}
    opened = made_dataset.write(tmp_path, 5, recipe={"name": "made-up", "format": 1, "gates": rules})
    assert gates_of(opened).learnable.min_gain_over_majority == 0.4


def test_an_unknown_gate_and_an_unknown_label_are_one_line(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no gate 'fun'"):
        run_gates(dataset, only=("fun",))
    with pytest.raises(DatasetError, match="no label 'corine'"):
        Chips(dataset, Target("corine"))


def test_a_product_is_learned_by_its_codes(dataset: Dataset) -> None:
    chips = Chips(dataset, Target("product"))
    assert np.array_equal(chips["m31_0004"].label[0].numpy(), made_dataset.truth_of(4))


def test_a_dataset_without_a_split_holds_parts_of_its_chips_out(tmp_path: Path) -> None:
    from dataclasses import replace as changed

    samples = [changed(made_dataset.sample(n), split="train") for n in range(3)]
    samples = [changed(one, row={**one.row, "split": "train"}) for one in samples]
    from shards.version import publish

    draft = made_up.draft(
        tmp_path, samples, zarr_shard_chips=None, layers=made_dataset.layer_tables(samples),
        legends={"label": made_dataset.LEGEND, "product": made_dataset.LEGEND | {"name": "product"}},
    )  # fmt: skip
    storage = made_dataset.open_storage(tmp_path)
    publish(storage, draft)
    chips = Chips(open_dataset(storage))
    split = split_of(chips)
    assert "parts" in split.how
    assert len(split.held_out) == 12
    assert not set(split.train) & set(split.held_out)
    study = Study(chips, QUICK)
    whole = study.whole["m31_0000"].label
    parts = [study.chips[f"m31_0000~{i}"].label for i in range(16)]
    rows = [torch.cat(parts[4 * r : 4 * r + 4], 2) for r in range(4)]
    assert torch.equal(torch.cat(rows, 1), whole)


def test_a_truth_that_speaks_only_where_labels_are_silent_is_an_error(dataset: Dataset) -> None:
    chips = Chips(dataset)

    def elsewhere(ids: list[str]) -> dict[str, np.ndarray]:
        return {chip_id: np.where(chips[chip_id].label[0].numpy() == 255, 0, 255).astype(np.uint8) for chip_id in ids}

    with pytest.raises(DatasetError, match="no held-out chip has a label where a map of the truth"):
        run_gates(dataset, gates=QUICK, only=["learnable"], truth=elsewhere)


def test_truth_is_cut_from_a_finer_map_by_the_most_frequent_class(dataset: Dataset, tmp_path: Path) -> None:
    import rasterio

    truth = made_dataset.truth_of(3)
    row = dataset.chips.set_index("chip_id").loc["m31_0003"]
    left, _, _, top = row["bounds_xyxy"]
    fine = np.kron(np.array(made_dataset.CODES, np.uint8)[truth], np.ones((2, 2), np.uint8))
    fine[::2, ::2] = 99  # a quarter of each pixel says what is no class
    profile: dict[str, Any] = {"width": 64, "height": 64, "count": 1, "dtype": "uint8", "crs": "EPSG:32631"}
    with rasterio.open(tmp_path / "t.tif", "w", transform=Affine(5, 0, left, 0, -5, top), **profile) as file:
        file.write(fine, 1)
    found = read_truth([tmp_path / "t.tif"], dataset, ["m31_0003", "m31_0004"])
    assert list(found) == ["m31_0003"]
    assert np.array_equal(found["m31_0003"], truth)
    with pytest.raises(DatasetError, match="no map of the truth"):
        read_truth([tmp_path / "no.tif"], dataset, ["m31_0003"])


def test_a_lattice_half_a_pixel_off_lands_on_the_chip_without_interpolation(dataset: Dataset) -> None:
    from reference.data import on_chip
    from schemas.georef import GeoRef

    values = np.arange(20, dtype=np.float32).reshape(1, 1, 4, 5)
    valid = np.ones((1, 4, 5), bool)
    valid[0, 1, 2] = False
    grid = GeoRef(32631, 985.0, 2_015.0, 30.0, (4, 5))
    bounds = (1_000.0, 1_910.0, 1_120.0, 2_000.0)  # 120 x 90 m, 15 m inside
    shown, seen = on_chip(values, valid, grid, 15.0, bounds)
    twice = np.kron(values[0, 0], np.ones((2, 2)))[1:7, 1:9]
    assert np.array_equal(shown[0, 0], twice * np.kron(valid[0], np.ones((2, 2)))[1:7, 1:9])
    assert seen.shape == (1, 6, 8)
    same, _ = on_chip(values, valid, GeoRef(32631, 1_000.0, 2_000.0, 30.0, (4, 5)), 30.0, (1_000, 1_880, 1_150, 2_000))
    assert same is values


def test_smuggled_chips_overlap(dataset: Dataset) -> None:
    chips = Chips(dataset)
    train, test = chips.ids("train"), chips.ids("test")
    squares = squares_of(dataset, [*train, *test])
    learned, asked = np.arange(len(train)), np.arange(len(train), len(train) + len(test))
    assert overlapping(squares, asked, learned) == 0
    assert overlapping(squares, np.append(asked, learned[:2]), learned) >= 2


def test_being_near_pays_where_scores_rise_with_nearness() -> None:
    distance = np.array([10.0, 20.0, 30.0, 40.0])
    assert near_gain(distance, np.array([0.9, 0.8, 0.6, 0.5])) == pytest.approx(0.3)
    assert near_gain(np.full(4, 7.0), np.array([0.9, 0.8, 0.6, 0.5])) == 0.0


def test_confident_predictions_find_the_labels_that_were_changed(dataset: Dataset) -> None:
    chips = Chips(dataset, Target("product"))  # the truth itself
    chances = {}
    for chip_id in chips.ids("train"):
        truth = chips[chip_id].label[0].numpy()
        chances[chip_id] = np.where(truth[None] == np.arange(3)[:, None, None], 0.8, 0.1).astype(np.float16)
    found = LeftOut(chances)
    matrix, rate = noise_matrix(found, chips)
    assert rate == 0.0
    assert np.array_equal(matrix, np.diag(matrix.diagonal()))
    _, rate = noise_matrix(found, Flipped(chips, 0.3, seed=1))
    assert rate == pytest.approx(0.3, abs=0.05)
    some = chips.ids("train")[:4]
    listed = suspicions(found, Exchanged(chips, deranged(some, 0), labels=True))
    assert set(sorted(listed, key=lambda chip_id: -listed[chip_id])[:4]) == set(some)


def test_pictures_move_as_far_as_they_are_told(dataset: Dataset) -> None:
    chips = Chips(dataset)
    chip = chips["m31_0001"]
    east = shifted(chip, chips.groups, 20.0, 0.0)
    assert torch.allclose(east.layers["s1"].values[..., 2:], chip.layers["s1"].values[..., :-2], atol=1e-4)
    assert not east.layers["s1"].valid[..., :2].any()
    only = shifted(chip, chips.groups, 20.0, 0.0, "s2")
    assert torch.equal(only.layers["s1"].values, chip.layers["s1"].values)


def test_clouds_hide_a_share_and_noise_only_one_modality(dataset: Dataset) -> None:
    chips = Chips(dataset)
    chip = chips["m31_0001"]
    hidden = clouded(chip, chips.groups, "s2", 0.5, seed=1)
    assert hidden.layers["s2"].valid[0, 1].float().mean() == pytest.approx(0.5, abs=0.05)
    assert not (hidden.layers["s2"].values * ~hidden.layers["s2"].valid[:, :, None]).any()
    loud = noisy(chip, chips.groups, "s2", 1.0, seed=1)
    assert torch.equal(loud.layers["s1"].values, chip.layers["s1"].values)
    assert not torch.equal(loud.layers["s2"].values, chip.layers["s2"].values)


def test_intersection_over_union_of_a_small_matrix() -> None:
    counts = confusion(np.array([[0, 0, 1, 2]]), np.array([[0, 1, 1, 2]]), 4)
    assert iou(counts)[:3].tolist() == [0.5, 0.5, 1.0]
    assert np.isnan(iou(counts)[3])
    assert mean_iou(counts) == pytest.approx(2.0 / 3.0)
