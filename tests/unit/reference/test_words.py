"""Words are learned when pictures are, and change nothing that is said of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reference import gate_texts
from reference.gate_texts import MOST_LUCK, RANKS, gain, gains_by_chance, least_gain, partners, recall, retrieval
from reference.spoilt import deranged
from reference.study import Split
from reference.train import Training, fit
from reference.words import learn_words
from schemas.recipe_gates import Gates
from tests.unit.reference.lesson_chips import EDGE_M, MadeChips


@pytest.fixture(scope="module")
def chips() -> MadeChips:
    """Ten chips, each with words of its own."""
    made = MadeChips(10)
    made.chips = {
        name: replace(chip, captions=(f"Seen: {name}.", f"This is {name}.")) for name, chip in made.chips.items()
    }
    return made


def training(text_steps: int) -> Training:
    return Training(steps=8, batch_size=2, text_steps=text_steps, accelerator="cpu")


def test_words_change_nothing_but_their_own_weights(chips: MadeChips) -> None:
    without, told = (fit(chips, chips.ids, EDGE_M, training(steps)).model for steps in (0, 5))
    assert without.text is None
    ours, theirs = without.state_dict(), told.state_dict()
    assert {name for name in theirs if name not in ours} == {n for n in theirs if n.startswith(("text.", "scale"))}
    for name, value in ours.items():
        same = torch.allclose(value, theirs[name], rtol=0.0, atol=1e-5)  # memory laid out elsewhere rounds elsewhere
        assert same != name.startswith("project."), name


def test_captions_find_the_pictures_that_they_were_learned_with(chips: MadeChips) -> None:
    done = fit(chips, chips.ids, EDGE_M, training(1))
    before = retrieval(done.model, chips, chips.ids)
    losses = learn_words(done.model, chips, chips.ids, 150, 0)
    after = retrieval(done.model, chips, chips.ids)
    assert len(losses) == 150
    assert losses[-1] < 0.5 * losses[0]
    assert after["text_to_picture_1"] >= 0.9 > before["text_to_picture_1"]
    assert not any(parameter.requires_grad for parameter in done.model.parameters())


def test_the_order_follows_from_the_seed(chips: MadeChips) -> None:
    models = [fit(chips, chips.ids, EDGE_M, training(1)).model for _ in range(3)]
    one, same, other = (
        learn_words(model, chips, chips.ids, 6, seed) for model, seed in zip(models, (0, 0, 1), strict=True)
    )
    assert one == same
    assert one != other


def test_chips_without_words_are_left_aside(chips: MadeChips) -> None:
    model = fit(chips, chips.ids, EDGE_M, training(1)).model
    silent = MadeChips(10)
    silent.chips = {name: replace(chip, captions=()) for name, chip in chips.chips.items()}
    assert learn_words(model, silent, silent.ids, 3, 0) == []
    silent.chips["chip_3"] = chips["chip_3"]
    assert learn_words(model, silent, silent.ids, 3, 0) == []  # nothing to tell it from
    silent.chips["chip_4"] = chips["chip_4"]
    assert len(learn_words(model, silent, silent.ids, 3, 0)) == 3


def test_a_run_that_stops_before_its_end_learns_no_words_yet(chips: MadeChips) -> None:
    half, whole = (fit(chips, chips.ids, EDGE_M, training(5), stop_after=stop).model for stop in (4, None))
    assert half.scale is not None
    assert whole.scale is not None
    begun = float(torch.log(torch.tensor(14.0)))
    assert float(half.scale) == pytest.approx(begun)
    assert float(whole.scale) != pytest.approx(begun, abs=1e-6)


def test_how_often_nothing_passes_is_known_and_of_few_chips_more_is_asked() -> None:
    few, some, many = (gains_by_chance(np.eye(count, dtype=bool)) for count in (12, 23, 100))
    assert 0.15 < float(np.mean(few >= 0.15)) < 0.3  # 0.217 of 3,000 draws
    assert 0.04 < float(np.mean(some >= 0.15)) < 0.12  # 0.079
    assert many.max() < 0.15
    for luck in (few, some):
        asked = least_gain(luck, 0.15)
        assert asked is not None
        assert asked > 0.15
        assert 0.01 < float(np.mean(luck >= asked)) <= MOST_LUCK
    assert least_gain(many, 0.15) == 0.15
    assert least_gain(few, 0.9) == 0.9
    drawing = np.random.default_rng(5)
    drawn = [gain(drawing.standard_normal((20, 20)), np.eye(20, dtype=bool)) for _ in range(300)]
    assert abs(float(np.mean(drawn))) < 0.02
    assert gain(np.eye(20), np.eye(20, dtype=bool)) == 1.0


def test_a_model_passes_whether_a_dataset_holds_few_or_many_chips_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_good(model: str, chips: object, asked: Sequence[str]) -> dict[str, float]:
        """Vectors that come about a third of the way to perfect where 50 are told apart; the control's say nothing."""
        luck, meant = np.random.default_rng(7), 1.0 if model == "taught" else 0.0
        common = meant * luck.standard_normal((len(asked), 16))
        words, pictures = (common + 1.4 * luck.standard_normal((len(asked), 16)) for _ in range(2))
        same = np.eye(len(asked), dtype=bool)
        ways = {"text_to_picture": words @ pictures.T, "picture_to_text": pictures @ words.T}
        recalls = {f"{way}_{k}": recall(scores, same, k) for way, scores in ways.items() for k in RANKS}
        chances = {f"chance_{k}": k / len(asked) for k in RANKS}
        return {**recalls, **chances, "gain": gain(words @ pictures.T, same)}

    monkeypatch.setattr(gate_texts, "retrieval", as_good)
    monkeypatch.setattr(gate_texts, "DRAWS", 100)
    seen = {"s2": SimpleNamespace(valid=np.ones(1, bool))}
    for count in (50, 1200):
        names = tuple(f"chip_{number}" for number in range(count))
        study: Any = SimpleNamespace(
            has_captions=lambda: True, gates=Gates(), split=Split(names[:2], names, ""), with_texts=None,
            training=Training(), chips={name: SimpleNamespace(captions=(name,), layers=seen) for name in names},
            model="taught", train=lambda *_: "mistaught",
        )  # fmt: skip
        found = gate_texts.texts(study)
        assert found.holds
        assert ("of 50 chips drawn of 1200, " in found.said) == (count == 1200)


def test_exchanged_captions_are_never_the_same_words(chips: MadeChips) -> None:
    assert partners(chips, chips.ids, 3) == deranged(chips.ids, 3)  # all have words of their own
    shared = MadeChips(9)
    for number, (name, chip) in enumerate(shared.chips.items()):
        shared.chips[name] = replace(chip, captions=(f"Of {number % 3}.",))
    for seed in range(20):
        found = partners(shared, shared.ids, seed)
        assert sorted(found) == sorted(found.values()) == sorted(shared.ids)
        assert all(shared[one].captions != shared[other].captions for one, other in found.items())
