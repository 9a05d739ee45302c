"""What a training leaves in its folder is of that training, and options that are none are one line."""

from __future__ import annotations

import csv
import json
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from reference.baselines import fit_pixels
from reference.data import ABSTAIN, Batch, select
from reference.lessons import class_weights
from reference.resuming import alone_in, rows_of, save_whole
from reference.train import Training, fit
from schemas.errors import DatasetError, UserError
from schemas.recipe_gates import GateTraining
from terraweft.cli import main
from tests.unit.reference import made_dataset
from tests.unit.reference.lesson_chips import CLASSES, EDGE_M, MadeChips

QUICK = Training(
    steps=4, batch_size=2, text_steps=0, accelerator="cpu", checkpoint_every=2, validate_every=1, workers=0
)  # fmt: skip


@pytest.fixture(scope="module")
def chips() -> MadeChips:
    return MadeChips(4)


def learn(chips: MadeChips, folder: Path | None, options: Training = QUICK, **more: Any) -> list[float]:
    return fit(chips, chips.ids, EDGE_M, options, folder=folder, **more).losses


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_second_training_in_the_same_folder_is_the_one_that_goes_on(chips: MadeChips, tmp_path: Path) -> None:
    other = replace(QUICK, seed=1)
    whole = learn(chips, None, other)
    learn(chips, tmp_path)
    begun = learn(chips, tmp_path, other, stop_after=2)
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["last.ckpt"]
    assert begun + learn(chips, tmp_path, other, resume=True) == whole


class Failing(MadeChips):
    """Chips that cannot be read any more once a training has had so many, after the looks that `fit` takes first."""

    def __init__(self, count: int, had: int, error: type[BaseException]) -> None:
        super().__init__(count)
        self.left, self.error = count + 1 + had, error

    def __getitem__(self, chip_id: str) -> Batch:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().__getitem__(chip_id)


def test_a_second_training_that_fails_before_its_first_checkpoint_leaves_none_of_the_first(
    chips: MadeChips, tmp_path: Path
) -> None:
    learn(chips, tmp_path)
    (tmp_path / "model.pt").write_bytes(b"of the first")
    with pytest.raises(RuntimeError):
        learn(Failing(4, 0, StopIteration), tmp_path)
    assert not (tmp_path / "model.pt").exists()
    assert len(learn(chips, tmp_path, resume=True)) == 4


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_stop_at_any_step_is_gone_on_from_bit_for_bit(chips: MadeChips, tmp_path: Path, stop: int) -> None:
    options = replace(QUICK, steps=6, checkpoint_every=1)
    begun = learn(chips, tmp_path, options, stop_after=stop)
    assert begun + learn(chips, tmp_path, options, resume=True) == learn(chips, None, options)


@pytest.mark.parametrize("steps_before", [2, 3, 5])
def test_a_training_that_was_killed_goes_on_bit_for_bit(chips: MadeChips, tmp_path: Path, steps_before: int) -> None:
    options = replace(QUICK, steps=8)
    with pytest.raises(OSError):
        learn(Failing(4, 2 * steps_before, OSError), tmp_path, options)
    whole, rest = learn(chips, None, options), learn(chips, tmp_path, options, resume=True)
    assert 4 <= len(rest) <= 8
    assert rest == whole[-len(rest) :]


def test_an_interrupt_stays_an_interrupt(chips: MadeChips, tmp_path: Path) -> None:
    heard = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        learn(Failing(4, 4, KeyboardInterrupt), tmp_path, replace(QUICK, steps=8))
    assert signal.getsignal(signal.SIGINT) is heard
    assert learn(chips, tmp_path, replace(QUICK, steps=8), resume=True)


class Killing(Failing):
    """Chips of which one comes with a polite kill."""

    def __getitem__(self, chip_id: str) -> Batch:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        self.left -= 1
        return MadeChips.__getitem__(self, chip_id)


def test_a_training_that_is_politely_killed_is_interrupted_and_not_done(tmp_path: Path) -> None:
    heard = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        learn(Killing(4, 4, OSError), tmp_path, replace(QUICK, steps=8))
    assert signal.getsignal(signal.SIGTERM) == heard


def test_a_folder_in_which_another_training_writes_is_one_line_and_stays_as_it_is(
    chips: MadeChips, tmp_path: Path
) -> None:
    learn(chips, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for resume in (False, True):
        with alone_in(tmp_path), pytest.raises(UserError, match="another training writes here"):
            learn(chips, tmp_path, resume=resume)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert learn(chips, tmp_path)


def test_a_checkpoint_is_never_moved_from_the_folder_of_temporary_files(
    chips: MadeChips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "of another disk"))
    assert len(learn(chips, tmp_path, stop_after=2) + learn(chips, tmp_path, resume=True)) == 4


class Torn:
    """What cannot be saved."""

    def __reduce__(self) -> str:
        raise OSError("disk full")


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    save_whole({"step": 1}, tmp_path / "a.pt")
    with pytest.raises(OSError, match="disk full"):
        save_whole({"step": 2, "rest": Torn()}, tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt", weights_only=True) == {"step": 1}


def flipped_bit(content: bytes) -> bytes:
    at = content.index(b"archive/data/0") + 4096
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def other(content: bytes) -> bytes:
    return b"[101]"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("last.ckpt", half),
        ("last.ckpt", other),
        ("last.ckpt", flipped_bit),
        ("settings.json", half),
        ("settings.json", other),
    ],
)
def test_a_damaged_checkpoint_is_one_line(
    chips: MadeChips, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    learn(chips, tmp_path, stop_after=2)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"damaged .*leave --resume out"):
        learn(chips, tmp_path, resume=True)
    assert len(learn(chips, tmp_path)) == 4


def test_a_row_of_metrics_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,samples_per_s,step,train/classes\n0,2.5,1,0.7\n0,2.5,3,0.6\n0,2.")
    assert [row["step"] for row in rows_of(path)] == ["1", "3"]


def test_going_on_with_other_options_names_what_differs(chips: MadeChips, tmp_path: Path) -> None:
    learn(chips, tmp_path, stop_after=2)
    with pytest.raises(UserError, match=r"size tiny there, small here, seed 0 there, 3 here \(give the same") as raised:
        learn(chips, tmp_path, replace(QUICK, size="small", seed=3), resume=True)
    assert str(tmp_path / "last.ckpt") in raised.value.line()
    fewer = MadeChips(4)
    del fewer.groups["s1"]
    fewer.chips = {i: select(chip, ("s2", "dem"), chips.groups) for i, chip in fewer.chips.items()}
    with pytest.raises(UserError, match="groups s2_10m s2_20m s1 dem there, s2_10m s2_20m dem here"):
        learn(fewer, tmp_path, resume=True)
    other = MadeChips(4, seed=9)
    with pytest.raises(UserError, match=r"labels \w+ there, \w+ here"):
        learn(other, tmp_path, resume=True)
    unlike = replace(QUICK, workers=0, checkpoint_every=1, validate_every=2, precision="fp32")
    assert len(learn(chips, tmp_path, unlike, resume=True)) == 2
    (tmp_path / "settings.json").unlink()
    with pytest.raises(UserError, match=r"no settings.json beside"):
        learn(chips, tmp_path, resume=True)


def test_settings_lie_beside_the_checkpoint(chips: MadeChips, tmp_path: Path) -> None:
    learn(chips, tmp_path / "new", stop_after=2)
    known = json.loads((tmp_path / "new" / "settings.json").read_text())
    assert known["learning_rate"] == QUICK.learning_rate
    assert known["groups"] == list(chips.groups)
    assert "workers" not in known


def test_metrics_of_the_first_part_stay_when_a_training_goes_on(chips: MadeChips, tmp_path: Path) -> None:
    learn(chips, tmp_path / "whole")
    learn(chips, tmp_path / "parts", replace(QUICK, checkpoint_every=2), stop_after=3)  # step 2 is done twice
    assert [row["step"] for row in rows(tmp_path / "parts")] == ["0", "1", "2"]
    learn(chips, tmp_path / "parts", resume=True)
    found, wanted = rows(tmp_path / "parts"), rows(tmp_path / "whole")
    assert [row["step"] for row in found] == ["0", "1", "2", "3"]
    assert [row["train/classes"] for row in found] == [row["train/classes"] for row in wanted]
    assert learn(chips, tmp_path / "parts", resume=True) == []
    assert rows(tmp_path / "parts") == found
    learn(chips, tmp_path / "parts", stop_after=1)
    assert [row["step"] for row in rows(tmp_path / "parts")] == ["0"]


def test_an_epoch_without_a_batch_ends_the_training() -> None:
    with pytest.raises(RuntimeError, match="no batch came after step 0 of 4"):
        learn(Failing(4, 0, StopIteration), None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seed": -1}, "seed -1"), ({"seed": 2**32}, "seed 4294967296"), ({"learning_rate": 0.0}, "learning_rate 0"),
        ({"learning_rate": -1.0}, "learning_rate -1"), ({"learning_rate": float("nan")}, "learning_rate nan"),
        ({"crop_m": -5.0}, "crop_m -5"), ({"crop_m": 0.0}, "crop_m 0"), ({"steps": 0}, "steps 0"),
        ({"accelerator": "foo"}, "auto, cpu, cuda, gpu"), ({"size": "huge"}, "tiny, small, base"),
        ({"precision": "fp8"}, "auto, bf16, fp32"),
    ],
)  # fmt: skip
def test_options_that_are_none_are_one_line(chips: MadeChips, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        learn(chips, None, replace(QUICK, **wrong))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(chips: MadeChips) -> None:
    with pytest.raises(UserError, match="accelerator cuda: PyTorch sees no GPU here"):
        learn(chips, None, replace(QUICK, accelerator="cuda"))


def test_seeds_of_a_recipe_are_bounded() -> None:
    assert GateTraining(seed=2**32 - 1).seed == 2**32 - 1
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="seed"):
            GateTraining(seed=seed)


def test_chips_without_a_label_are_one_line() -> None:
    silent = MadeChips(2)
    silent.chips = {n: replace(c, label=torch.full_like(c.label, ABSTAIN)) for n, c in silent.chips.items()}
    with pytest.raises(DatasetError, match="no labelled pixel in the 2 chips to learn from"):
        learn(silent, None)
    with pytest.raises(DatasetError, match="no labelled pixel"):
        class_weights(silent, silent.ids, len(CLASSES))
    with pytest.raises(DatasetError, match="no labelled pixel"):
        fit_pixels(silent, silent.ids, torch.ones(len(CLASSES)))


def test_labels_of_no_confidence_at_all_teach_nothing_and_break_nothing() -> None:
    unsure = MadeChips(2)
    for chip in unsure.chips.values():
        chip.confidence.zero_()
    assert not fit_pixels(unsure, unsure.ids, torch.ones(len(CLASSES))).weight.any()
    assert learn(unsure, None, replace(QUICK, validate_every=0)) == [0.0] * 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seed", "-1"), ("--seed", str(2**32)), ("--learning-rate", "0"), ("--learning-rate", "-1"),
        ("--crop-m", "0"), ("--accelerator", "foo"), ("--size", "huge"),
    ],
)  # fmt: skip
def test_the_command_refuses_before_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", str(tmp_path / "nowhere"), "--out", str(tmp_path / "trained"), *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "nowhere" not in said
    assert "Traceback" not in said


def test_the_command_says_in_one_line_that_a_checkpoint_is_of_another_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_dataset.write(tmp_path / "dataset", 5)
    common = ["train", str(tmp_path / "dataset"), "--out", str(tmp_path / "t"), "--accelerator", "cpu", "--steps", "2"]
    common += ["--batch-size", "1", "--text-steps", "0", "--checkpoint-every", "1"]
    with pytest.raises(SystemExit) as ended:
        main(common)
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        main([*common, "--resume", "--size", "small"])
    assert ended.value.code == 2
    assert "size tiny there, small here" in capsys.readouterr().err
