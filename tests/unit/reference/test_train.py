from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reference.data import stack
from reference.evaluate import confusions, mean_iou
from reference.lessons import Course, Steps, class_weights, cropped, loader, turned
from reference.train import Training, fit, new_model, save_model
from tests.unit.reference.lesson_chips import CLASSES, EDGE_M, MadeChips

QUICK = Training(steps=6, batch_size=2, text_steps=4, accelerator="cpu")


@pytest.fixture(scope="module")
def chips() -> MadeChips:
    return MadeChips(4)


def test_one_batch_is_learned_by_heart(chips: MadeChips) -> None:
    torch.set_num_threads(1)
    ids = chips.ids[:2]
    options = Training(steps=40, batch_size=2, text_steps=0, modality_dropout=0, date_dropout=0, accelerator="cpu")
    done = fit(chips, ids, EDGE_M, options)
    assert done.losses[-1] < 0.2 * done.losses[0]
    assert mean_iou(confusions(done.model, chips, ids).sum(0)) > 0.95


def test_a_run_that_was_stopped_goes_on_bit_for_bit(chips: MadeChips, tmp_path: Path) -> None:
    whole = fit(chips, chips.ids, EDGE_M, QUICK)
    half = Training(**{**QUICK.__dict__, "checkpoint_every": 3})
    stopped = fit(chips, chips.ids, EDGE_M, half, folder=tmp_path, stop_after=3)
    assert stopped.steps == 3
    resumed = fit(chips, chips.ids, EDGE_M, half, folder=tmp_path, resume=True)
    assert resumed.steps == 3
    assert stopped.losses + resumed.losses == whole.losses
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_the_same_seed_gives_the_same_model_and_another_seed_another(chips: MadeChips) -> None:
    short = Training(**{**QUICK.__dict__, "steps": 2})
    one, two = (fit(chips, chips.ids, EDGE_M, short).losses for _ in range(2))
    other = fit(chips, chips.ids, EDGE_M, Training(**{**short.__dict__, "seed": 1})).losses
    assert one == two
    assert one != other


def test_a_saved_model_opens_without_code_and_says_the_same(chips: MadeChips, tmp_path: Path) -> None:
    done = fit(chips, chips.ids, EDGE_M, Training(**{**QUICK.__dict__, "steps": 1}))
    save_model(tmp_path / "model.pt", done, QUICK, CLASSES, "v1")
    found = torch.load(tmp_path / "model.pt", weights_only=True)
    again = new_model(chips, EDGE_M, QUICK, [c for i in chips.ids for c in chips[i].captions]).eval()
    again.load_state_dict(found["weights"])
    batch = stack([chips[chips.ids[0]]])
    with torch.no_grad():
        assert torch.equal(again(batch).scores, done.model(batch).scores)


def test_the_vocabulary_holds_no_word_of_a_chip_that_is_not_learned_from(chips: MadeChips) -> None:
    chip = chips["chip_3"]
    secret = MadeChips(4)
    secret.chips["chip_3"] = type(chip)(**{**chip.__dict__, "captions": ("Zyzzyva quorum.",)})
    done = fit(secret, secret.ids[:3], EDGE_M, Training(**{**QUICK.__dict__, "steps": 1}))
    assert done.model.text is not None
    assert not any("z" in symbol for symbol in done.model.text.vocabulary.symbols)


def test_every_chip_comes_once_an_epoch_and_ranks_share_each_step() -> None:
    course = Course(batch_size=2, steps=6)
    alone = [key for step in Steps(8, Course(batch_size=4, steps=6)) for key in step]
    ranks = [list(Steps(8, course, rank=rank, world_size=2)) for rank in range(2)]
    together = [key for pair in zip(*ranks, strict=True) for keys in pair for key in keys]
    assert together == alone
    assert sorted(number for number, epoch in alone if epoch == 0) == list(range(8))
    assert list(Steps(8, course, start=4)) == list(Steps(8, course))[4:]
    assert len(Steps(8, course, start=4)) == 6  # Lightning counts from the first


def test_parts_and_turns_keep_pixels_and_labels_together(chips: MadeChips) -> None:
    import numpy as np

    chip = chips["chip_0"]
    part = cropped(chip, chips.groups, 160.0, 40.0, np.random.default_rng(3))
    assert part.label.shape == (1, 16, 16)
    assert part.layers["dem"].valid.shape[-1] == 4
    for number in range(8):
        moved = turned(part, number)
        for name, step in (("s2_10m", 1), ("s2_20m", 2), ("dem", 4)):
            clean = torch.sin(1.0 + moved.label[0, ::step, ::step].float())  # first band's signature
            seen = moved.layers[name]
            keep = seen.valid[0, 0] & (moved.label[0, ::step, ::step] < len(CLASSES))
            assert float((seen.values[0, 0, 0] - clean)[keep].abs().mean()) < 0.3


def test_batches_follow_from_the_step_alone_whatever_the_workers(chips: MadeChips) -> None:
    course = Course(batch_size=2, steps=3, crop_m=160.0, cell_m=40.0)
    here = list(loader(chips, chips.ids, course))
    late = list(loader(chips, chips.ids, course, start=2))
    assert torch.equal(here[2].label, late[0].label)
    assert torch.equal(here[2].layers["s1"].values, late[0].layers["s1"].values)


def test_rare_classes_count_more_and_absent_ones_nothing(chips: MadeChips) -> None:
    weights = class_weights(chips, chips.ids, 4)
    assert weights[3] == 0
    counts = torch.bincount(torch.cat([chips[i].label.flatten() for i in chips.ids]), minlength=256)[:3]
    assert int(weights[:3].argmax()) == int(counts.argmin())
