"""Gates and their controls on models that need no training: one that reads a class off a pixel, one that knows all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reference import gate_statistics
from reference.bands import GroupTable
from reference.data import ABSTAIN, Batch, Chips, Layer
from reference.evaluate import confusions, counted_classes
from reference.findings import Finding
from reference.gate_leak import leak, near_gain
from reference.gate_learnable import hidden_share, learnable, registration
from reference.gate_modalities import modalities
from reference.gate_noise import LeftOut, folds_of, noise, noise_matrix, suspicions
from reference.gate_statistics import band_drift, measure, statistics, unmatched
from reference.gate_texts import texts
from reference.gates import Validation, run_gates, write_validation
from reference.lessons import Altered
from reference.spoilt import Flipped, deranged, seen_in_both, shifted
from reference.study import Split, Study
from reference.truth import read_truth
from schemas.errors import DatasetError
from schemas.recipe_gates import Gates, StatisticsGate
from schemas.sample import Sample
from shards.reader import Dataset
from tests.unit.reference import lesson_chips, made_dataset
from tests.unit.shards import made_up


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return made_dataset.write(tmp_path_factory.mktemp("controls"))


class Drawn:
    """Chips of one band at 10 m, from pictures and labels of equal size."""

    classes = ("nothing", "fields", "water")

    def __init__(self, pictures: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> None:
        self.groups: Mapping[str, GroupTable] = {"s2_10m": lesson_chips.tables()["s2_10m"]}
        self.pictures, self.labels = pictures, labels

    def __getitem__(self, chip_id: str) -> Batch:
        picture = torch.from_numpy(self.pictures[int(chip_id)].astype(np.float32))[None, None, None]
        label = torch.from_numpy(self.labels[int(chip_id)].astype(np.int64))[None]
        layer = Layer(picture, torch.ones((1, 1, *label.shape[1:]), dtype=torch.bool), torch.zeros(1, 1))
        return Batch((chip_id,), {"s2_10m": layer}, label, torch.ones(label.shape))


class Reads:
    """A model that names the class that a pixel's value is nearest to, and class 0 where it sees nothing."""

    def eval(self) -> None: ...

    def class_of(self, value: Tensor) -> Tensor:
        return value.round().clamp(0, 2).long()

    def __call__(self, batch: Batch) -> Any:
        layer = batch.layers["s2_10m"]
        said = torch.where(layer.valid[:, 0], self.class_of(layer.values[:, 0, 0]), 0)  # (B, H, W)
        return SimpleNamespace(scores=torch.nn.functional.one_hot(said, 3).movedim(-1, 1).float())


class ReadsTexture(Reads):
    """Fields where neighbours differ, water where they do not: what interpolation takes away."""

    def class_of(self, value: Tensor) -> Tensor:
        return torch.where(value.abs() > 0.5, 1, 2)


class KnowsAll:
    """A model that says the label, whatever the pictures show."""

    def eval(self) -> None: ...

    def __call__(self, batch: Batch) -> Any:
        said = torch.where(batch.label == ABSTAIN, 0, batch.label)
        return SimpleNamespace(scores=8.0 * torch.nn.functional.one_hot(said, 3).movedim(-1, 1).float())


class Taught(Study):
    """A study whose every training ends in a model that knows all."""

    def train(self, chips: Any, chip_ids: Any, training: Any = None) -> Any:
        return KnowsAll()


class Unlabelled(Altered):
    """Chips of which some have no label."""

    def __init__(self, chips: Any, chip_ids: Sequence[str]) -> None:
        super().__init__(chips)
        self.without = set(chip_ids)

    def __getitem__(self, chip_id: str) -> Batch:
        chip = self.chips[chip_id]
        return replace(chip, label=torch.full_like(chip.label, ABSTAIN)) if chip_id in self.without else chip


class Wordless(Altered):
    """Chips of which only some have captions."""

    def __init__(self, chips: Any, told: Sequence[str]) -> None:
        super().__init__(chips)
        self.told = set(told)

    def __getitem__(self, chip_id: str) -> Batch:
        chip = self.chips[chip_id]
        return chip if chip_id in self.told else replace(chip, captions=())


def registration_of(chips: Drawn, model: Reads, edge_m: float, label_m: float = 10.0) -> Finding:
    held = tuple(str(number) for number in range(len(chips.labels)))
    found = confusions(model, chips, held)  # type: ignore[arg-type]
    study = SimpleNamespace(
        gates=Gates(), chips=chips, model=model, edge_m=edge_m, split=Split((), held, "made up"), held_out=found,
        counted=counted_classes(found.sum(0)), label_m=label_m, unscored="",
    )  # fmt: skip
    return registration(study)  # type: ignore[arg-type]


def patches(size: int, seed: int = 1) -> np.ndarray:
    """(size, size) classes in patches of 8 px."""
    coarse = np.random.default_rng(seed).integers(1, 3, (size // 8, size // 8))
    return np.kron(coarse, np.ones((8, 8)))


def test_pictures_whose_place_says_nothing_lose_nothing_and_are_refused() -> None:
    labels = [np.full((32, 32), 1 + number % 2) for number in range(4)]
    found = registration_of(Drawn(labels, labels), Reads(), 320.0)
    assert found.measured == {"lost_1px": 0.0, "lost_3px": 0.0, "lost_10px": 0.0, "gained": 0.0}
    assert found.passed is False
    assert found.table[-1]["in_place"] < found.table[0]["in_place"]  # what is hidden costs, and does not count


def test_pictures_in_their_place_lose_by_moving_and_not_by_coming_back() -> None:
    labels = [patches(32, seed) for seed in range(4)]
    found = registration_of(Drawn(labels, labels), Reads(), 320.0)
    assert found.passed
    assert found.measured["lost_10px"] > found.measured["lost_1px"] > 0.0
    assert found.control_measured == {"lost_10px": 0.0}
    assert found.control_failed


def test_an_offset_that_all_chips_share_is_found_by_moving_the_pictures_back() -> None:
    labels = [patches(32, seed) for seed in range(4)]
    pictures = [np.roll(label, -3, axis=0) for label in labels]  # 3 pixels north of their labels
    found = registration_of(Drawn(pictures, labels), Reads(), 320.0)
    assert found.measured["lost_10px"] > 0.03  # on average over all directions
    assert found.passed is False
    assert "moved by 3 px towards 180 degrees they fit better by" in found.said
    assert registration_of(Drawn(labels, labels), Reads(), 320.0).measured["gained"] == 0.0


def test_a_loss_that_comes_from_interpolation_alone_is_told_by_the_control() -> None:
    labels = [patches(32, seed) for seed in range(4)]
    rows, columns = np.indices((32, 32))
    pictures = [np.where(label == 1, 1.0 - 2.0 * ((rows + columns) % 2), 0.0) for label in labels]
    found = registration_of(Drawn(pictures, labels), ReadsTexture(), 320.0)
    assert found.control_failed is False
    assert not found.holds


def test_moves_that_hide_more_than_half_of_a_part_are_not_made() -> None:
    assert hidden_share(100.0, 160.0) > 0.5
    labels = [patches(16, seed) for seed in range(6)]
    found = registration_of(Drawn(labels, labels), Reads(), 160.0)
    assert set(found.measured) == {"lost_1px", "lost_3px", "gained"}
    assert found.thresholds["shift_px"] == 3.0
    assert "10 px would hide more than half of 160 m: 3 px decide" in found.said
    assert registration_of(Drawn(labels, labels), Reads(), 10.0).passed is None


def test_pictures_move_by_pixels_of_the_label_whatever_theirs_are() -> None:
    labels = [patches(32, seed) for seed in range(4)]
    coarse = registration_of(Drawn(labels, labels), Reads(), 320.0, label_m=20.0)
    fine = registration_of(Drawn(labels, labels), Reads(), 320.0, label_m=10.0)
    assert fine.table[1]["hidden"] == pytest.approx(hidden_share(10.0, 320.0), abs=1e-4)
    assert set(coarse.measured) == {"lost_1px", "lost_3px", "gained"}  # 200 m of 320 m would hide too much
    assert coarse.table[1]["hidden"] == pytest.approx(hidden_share(20.0, 320.0), abs=1e-4)


def test_what_both_show_is_what_each_of_them_sees(dataset: Dataset) -> None:
    chips = Chips(dataset)
    chip = chips["m31_0001"]
    moved = shifted(chip, chips.groups, 30.0, 0.0)
    one, two = seen_in_both(chip, moved), seen_in_both(moved, chip)
    for name, layer in one.layers.items():
        assert torch.equal(layer.valid, two.layers[name].valid)
        assert torch.equal(layer.valid, chip.layers[name].valid & moved.layers[name].valid)
        assert not (layer.values * ~layer.valid[:, :, None]).any()
    assert torch.equal(one.layers["s1"].values[..., 3:], chip.layers["s1"].values[..., 3:])


def test_the_drift_control_is_a_measured_parent_and_is_judged(tmp_path: Path) -> None:
    made_dataset.write(tmp_path, 10)
    child = made_dataset.write(tmp_path, 15, created=made_up.CREATED + timedelta(days=1))
    found = statistics(child, StatisticsGate())
    assert found.control_measured["largest_drift"] == pytest.approx(1.0)
    assert found.control_failed
    lax = statistics(child, StatisticsGate(max_drift=5.0))
    assert lax.passed
    assert lax.control_failed is False  # a parent one deviation away would pass, so the threshold proves nothing


def without_a_mean(dataset: Dataset) -> Dataset:
    layers = dataset.document.modalities
    band = layers[0].bands[0].model_copy(update={"mean": None, "std": None, "count": 0})
    first = layers[0].model_copy(update={"bands": (band, *layers[0].bands[1:])})
    return Dataset(dataset.storage, dataset.document.model_copy(update={"modalities": (first, *layers[1:])}))


def test_classes_do_not_drift_from_a_parent_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(number: int, **more: Any) -> Sample:
        one = labelled(number, **more)
        return replace(one, row={name: value for name, value in one.row.items() if name != "label.fractions"})

    labelled = made_dataset.sample
    with monkeypatch.context() as patched:
        patched.setattr(made_dataset, "sample", bare)
        made_dataset.write(tmp_path, 5)
    child = made_dataset.write(tmp_path, 5, created=made_up.CREATED + timedelta(days=1))
    found = statistics(child, StatisticsGate())
    assert found.measured["parent"]
    assert "class_drift" not in found.measured
    assert found.holds


def test_what_cannot_be_compared_with_the_parent_has_not_drifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes of another legend had nothing in common, and were refused as a drift of 1."""
    names = ("Forest", "Field", "Lake")
    classes = [one | {"name": name} for one, name in zip(made_dataset.LEGEND["classes"], names, strict=True)]
    with monkeypatch.context() as patched:
        patched.setattr(made_dataset, "LEGEND", made_dataset.LEGEND | {"name": "other", "classes": classes})
        patched.setattr(made_dataset, "NAMES", names)
        patched.setattr(made_dataset, "BANDS", {f"old {name}": nm for name, nm in made_dataset.BANDS.items()})
        made_dataset.write(tmp_path, 5)
    child = made_dataset.write(tmp_path, 5, created=made_up.CREATED + timedelta(days=1))
    found = statistics(child, StatisticsGate())
    assert "class_drift" not in found.measured
    assert "(s1 " in found.said
    assert found.holds
    radar, own = child.document.modalities[1], child.document.modalities[0]
    in_decibels = radar.model_copy(update={"unit": "dB"})
    assert band_drift([own, radar], [in_decibels]) == {}
    assert len(band_drift([own, radar], [radar])) == 2


def test_new_statistics_are_held_against_the_samples_of_the_parent_not_against_what_it_kept(tmp_path: Path) -> None:
    """After ``--refit`` the drift was that from the version whose statistics the parent had kept."""
    first = made_dataset.write(tmp_path, 10)
    days = [made_up.CREATED + timedelta(days=n) for n in (1, 2)]
    kept = {"version": first.version, "chips": 10, "touched_since": 10, "bands": {}}
    before = made_dataset.write(tmp_path, 10, created=days[0], brighter=2.0, estimates={}, estimated=kept)
    stated = before.document.model_copy(update={"modalities": first.document.modalities})
    assert statistics(Dataset(before.storage, stated), StatisticsGate()).passed is False
    folder = tmp_path / "versions" / before.version / "dataset.json"
    folder.write_text(stated.model_dump_json(by_alias=True))
    refitted = made_dataset.write(tmp_path, 10, created=days[1], brighter=2.01)
    assert refitted.document.parent_version == before.version
    found = statistics(refitted, StatisticsGate())
    assert found.holds
    assert found.measured["largest_drift"] < 0.05
    assert f"from {before.version}" in found.said


def test_a_band_of_one_value_is_as_the_manifest_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flat(number: int, **more: Any) -> Sample:
        one = varied(number, **more)
        one.layers["s2"].data[:] = np.array([777, 1234, 3721, 511])[:, None, None]
        return one

    varied = made_dataset.sample
    monkeypatch.setattr(made_dataset, "sample", flat)
    found = statistics(made_dataset.write(tmp_path, 5), StatisticsGate())
    assert found.measured["largest_error"] < 1e-6
    assert found.holds


def test_a_band_with_pixels_and_no_mean_is_named_refused_and_recorded(dataset: Dataset) -> None:
    wrong = without_a_mean(dataset)
    found = statistics(wrong, StatisticsGate())
    assert found.passed is False
    assert "s2 B02 has" in found.said
    assert found.control_failed
    kept = Validation("made-up", dataset.version, "20260101T000000Z", True, False, "label", "", (found,), {}, 1.0)
    written = json.loads(dataset.storage.read(write_validation(dataset.storage, kept)))
    assert written["gates"][0]["measured"]["largest_error"] < 1e-4
    document = dataset.document
    assert len(unmatched(document.modalities, {})) == 6
    assert "s1 VV has a mean and no pixel" in unmatched(document.modalities, {})


def test_a_modality_that_train_has_no_pixel_of_proves_nothing_and_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own statistics are none, beside others that were kept: no control of means could be refused."""
    first = made_dataset.write(tmp_path, 10)
    kept = {"version": first.version, "chips": 10, "touched_since": 1, "bands": {"s1": ""}}
    again = made_dataset.write(tmp_path, 10, created=made_up.CREATED + timedelta(days=1), estimates={}, estimated=kept)
    s2, s1 = again.document.modalities
    bare = s1.model_copy(update={"bands": tuple(b.model_copy(update={"mean": None, "std": None}) for b in s1.bands)})
    document = again.document.model_copy(update={"parent_version": "", "modalities": (s2, bare)})
    measured = {key: found for key, found in measure(again).items() if key[0] == "s2"}
    monkeypatch.setattr(gate_statistics, "measure", lambda dataset: measured)
    found = statistics(Dataset(again.storage, document), StatisticsGate())
    assert (found.passed, found.control_failed) == (True, True)
    assert "largest_error" not in found.measured


def test_a_band_that_lost_its_pixels_since_the_parent_is_refused(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = without_a_mean(dataset)
    monkeypatch.setattr(gate_statistics, "_parent", lambda child: dataset)
    monkeypatch.setattr(gate_statistics, "class_drift", lambda child, parent: 0.0)
    measured = {key: found for key, found in measure(dataset).items() if key != ("s2", "B02")}
    monkeypatch.setattr(gate_statistics, "measure", lambda child: measured)
    found = statistics(bare, StatisticsGate())
    assert found.passed is False
    assert found.measured["unmatched"] == ["s2 B02 has no pixel any more"]


def test_statistics_of_chips_that_are_all_held_out_do_not_apply(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = dataset.document.modalities
    bare = [
        table.model_copy(update={"bands": tuple(band.model_copy(update={"mean": None}) for band in table.bands)})
        for table in layers
    ]
    monkeypatch.setattr(gate_statistics, "measure", lambda child: {})
    document = dataset.document.model_copy(update={"modalities": tuple(bare)})
    found = statistics(Dataset(dataset.storage, document), StatisticsGate())
    assert (found.passed, found.control_failed) == (None, None)


def test_a_modality_that_no_training_chip_shows_is_left_out_and_refused_by_its_gate_alone(dataset: Dataset) -> None:
    first, *others = dataset.document.modalities
    bands = tuple(band.model_copy(update={"mean": None, "std": None, "count": 0}) for band in first.bands)
    layers = (first.model_copy(update={"bands": bands}), *others)
    bare = Dataset(dataset.storage, dataset.document.model_copy(update={"modalities": layers}))
    chips = Chips(bare)
    assert (chips.modalities, chips.unseen) == (("s1",), ("s2",))
    assert set(chips["m31_0003"].layers) == {"s1"}
    found = modalities(Taught(chips, Gates()))
    assert (found.passed, found.said) == (False, "no training chip has a clear pixel of s2")
    assert Chips(dataset).unseen == ()
    with pytest.raises(DatasetError, match="no mean and deviation for s2"):
        Chips(bare, modalities=("s2",))


def test_a_number_that_is_not_finite_does_not_lose_the_validation(dataset: Dataset) -> None:
    found = Finding("learnable", False, "too bad", {"gain": float("inf"), "rows": [{"a": float("nan")}]})
    kept = Validation("made-up", dataset.version, "20260101T000001Z", True, False, "label", "", (found,), {}, 1.0)
    written = json.loads(dataset.storage.read(write_validation(dataset.storage, kept)))
    assert written["gates"][0]["measured"] == {"gain": None, "rows": [{"a": None}]}


def test_a_truth_that_nothing_is_held_against_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 12 held-out chips is covered"):
        run_gates(dataset, only=("learnable",), truth=lambda chip_ids: {})
    with pytest.raises(DatasetError, match="no gate asks for the truth"):
        run_gates(dataset, only=("statistics",), truth=lambda chip_ids: {chip_ids[0]: made_dataset.truth_of(3)})
    whole = made_dataset.write(tmp_path, 3)  # all of them are train
    assert set(whole.chips["split"]) == {"train"}
    with pytest.raises(DatasetError, match="none is held out"):
        run_gates(whole, truth=lambda chip_ids: {chip_ids[0]: made_dataset.truth_of(0)})


def test_a_map_that_is_no_raster_or_has_no_crs_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    import rasterio
    from rasterio.transform import from_origin

    words, nowhere = tmp_path / "words.tif", tmp_path / "nowhere.tif"
    words.write_text("no picture")
    profile: dict[str, Any] = {"width": 4, "height": 3, "count": 1, "dtype": "uint8"}
    with rasterio.open(nowhere, "w", transform=from_origin(0, 0, 10, 10), **profile) as file:
        file.write(np.ones((1, 3, 4), np.uint8))
    with pytest.raises(DatasetError, match="no raster that can be read"):
        read_truth([words], dataset, ["m31_0003"])
    with pytest.raises(DatasetError, match="has no CRS"):
        read_truth([nowhere], dataset, ["m31_0003"])


def test_chips_without_a_label_are_neither_suspicious_nor_trusted(dataset: Dataset) -> None:
    chips = Chips(dataset)
    train = chips.ids("train")
    study = Taught(chips, Gates())
    study.chips = Unlabelled(chips, train[::2])
    found = noise(study)
    assert found.measured["ranking"] == 1.0
    assert set(found.chips).isdisjoint(train[::2])
    study.chips = Unlabelled(chips, train[3:])
    assert noise(study).passed is None
    chances = {chip_id: np.full((3, 32, 32), 0.3, np.float16) for chip_id in train}
    assert set(suspicions(LeftOut(chances), Unlabelled(chips, train[:1]))) == set(train[1:])


def test_models_of_the_noise_always_have_labels_to_learn_from(dataset: Dataset) -> None:
    chips = Chips(dataset)
    train, blocks = chips.ids("train"), dataset.chips.set_index("chip_id")["block_id"]
    study = Taught(chips, Gates())
    for labelled in (train, train[:6], [i for i in train if blocks[i] == blocks[train[0]]] + train[-1:], train[3:9]):
        parts = folds_of(study, 3, labelled)
        assert sorted(chip_id for part in parts for chip_id in part) == sorted(train)
        assert all(set(labelled) - set(part) for part in parts)
        assert all(set(labelled) & set(part) for part in parts)
    together = [{blocks[chip_id] for chip_id in part} for part in folds_of(study, 3, train)]
    assert sum(map(len, together)) == len(set.union(*together))


def test_held_out_chips_without_a_label_are_no_failure_of_distance(dataset: Dataset) -> None:
    chips = Chips(dataset)
    study = Taught(chips, Gates())
    study.chips = Unlabelled(chips, chips.ids("test"))  # the farther ones
    found = leak(study)
    assert found.measured["near_gain"] == 0.0
    assert found.passed
    assert len(found.figures[0].series[0].x) == len(chips.ids("val"))
    assert near_gain(np.zeros(0), np.zeros(0)) == 0.0


def test_a_training_chip_that_looks_like_a_held_out_one_leaks_wherever_its_footprint_lies(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, other, *_), (asked, *_) = (dataset.chip_ids(split) for split in ("train", "test"))

    def found(*pairs: tuple[str, str], labels: bool = True) -> Finding:
        rows = tuple({"kept": a, "other": b, "modality": "s2", "similarity": 0.97} for a, b in pairs)
        document = dataset.document.model_copy(update={"near_duplicates": rows})
        monkeypatch.setattr(dataset, "document", document)
        study = Taught(Chips(dataset), Gates())
        study.chips = study.chips if labels else Unlabelled(study.chips, study.split.held_out)
        return leak(study)

    assert found((one, other)).passed
    twice = found((one, other), (asked, one))
    assert (twice.passed, twice.measured["pairs_that_look_alike"], twice.measured["overlapping_pairs"]) == (False, 1, 0)
    assert found((one, asked), labels=False).passed is False


def test_the_leak_control_smuggles_no_more_chips_than_are_learned_from(dataset: Dataset) -> None:
    study = Taught(Chips(dataset), Gates())
    first, *others = study.split.train
    study.split = replace(study.split, train=(first,), held_out=(*others, *study.split.held_out))  # a tenth of 29 is 3
    found = leak(study)
    assert found.holds
    assert found.control.startswith("1 training chip")


def test_captions_count_wherever_they_are_in_train(dataset: Dataset) -> None:
    chips = Chips(dataset)
    study = Taught(chips, Gates())
    study.chips = Wordless(chips, chips.ids("train")[3:])
    assert study.has_captions()
    study.chips = Wordless(chips, chips.ids("val"))
    assert not study.has_captions()
    study.chips = Wordless(chips, [*chips.ids("train")[5:6], *study.split.held_out])
    assert texts(study).said == "does not apply: one training chip with captions has none to exchange them with"


def test_a_chip_of_one_class_is_flipped_to_another_one() -> None:
    labels = [np.full((32, 40), number % 3) for number in range(12)]
    chips = Drawn(labels, labels)
    flipped = Flipped(chips, 0.4, seed=0)
    changed = [flipped[str(n)].label != chips[str(n)].label for n in range(12)]
    assert torch.stack(changed).float().mean() == pytest.approx(0.4, abs=0.05)
    assert all(flipped[str(n)].label.max() < 3 for n in range(12))
    chances = {str(n): np.where(labels[n][None] == np.arange(3)[:, None, None], 0.8, 0.1) for n in range(12)}
    _, rate = noise_matrix(LeftOut(chances), flipped)
    assert rate == pytest.approx(0.4, abs=0.05)


def test_one_chip_has_none_to_exchange_with(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="a: there is no other chip"):
        deranged(["a"], 0)
    study = Taught(Chips(dataset), Gates())
    study.split = replace(study.split, train=study.split.train[:1])
    assert learnable(study).said.startswith("one chip to learn from")
    assert learnable(study).passed is False
    study.split = replace(study.split, held_out=study.split.held_out[:1])
    assert modalities(study).said.startswith("does not apply: one held-out chip")


def test_a_modality_whose_pictures_may_be_those_of_any_chip_is_told_by_the_control(dataset: Dataset) -> None:
    found = modalities(Taught(Chips(dataset), Gates()))
    assert found.control_measured["kept"] == 1.0
    assert found.thresholds["control_max_kept"] == 0.5
    assert "less than 50% of its gain" in found.control
    assert found.control_failed is False
