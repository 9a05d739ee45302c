"""Nothing that the template writes is false, in any kind, by a judge that shares no code with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from captioners.template import KINDS, template_records
from tests.unit.captioners.judge import judge_caption
from tests.unit.captioners.judge_records import judge_record
from tests.unit.captioners.worlds import caption_input, make_world


@pytest.mark.parametrize("block", range(3))
def test_nothing_that_the_template_says_is_false(block: int) -> None:
    wrong: list[str] = []
    judged: Counter[str] = Counter()
    for seed in range(block * 30, block * 30 + 30):
        world = make_world(seed)
        for row in template_records(caption_input(world, f"u31-{seed:04d}", kinds=tuple(KINDS))):
            judged[row.kind] += 1
            wrong += [f"seed {seed} {row.kind}/{row.style}: {one}" for one in judge_record(world, row)]
    assert judged.total() > 1000
    assert (
        min(judged[kind] for kind in ("caption", "qa", "grounded", "referring", "dialogue", "revision", "labels")) > 10
    )
    assert not wrong, "\n".join(wrong[:60])


@pytest.mark.parametrize("known_rows", [4, 16])
def test_of_a_scene_of_which_little_has_a_class_nothing_is_said_as_a_whole(known_rows: int) -> None:
    """Of 24 rows, trees cover most of those that have a class: of the others nobody knows what they hold."""
    world = make_world(3)
    label = np.full_like(world.label, 255)
    label[:known_rows, :20], label[:known_rows, 20:] = 0, 3
    for number in range(8):
        kinds = ("short", "long", "theme", "qa", "rsvlm_qa", "chatearthnet")
        given = caption_input(replace(world, label=label), f"u31-{number}", kinds=kinds)
        for row in template_records(given):
            if row.kind == "qa" and row.visually_verifiable and row.style != "bool" and row.style != "rsvlm_object":
                asks = row.question.startswith(("Is there ", "Are there "))
                assert asks or "mapped part" in row.question or "landscape" in row.question, row.question
            if row.kind == "caption" and row.style in ("short", "chatearthnet"):
                assert "mapped" in row.text, row.text
            assert row.style != "theme" or known_rows == 16, row.text


def test_the_judge_finds_planted_lies() -> None:
    caught = told = 0
    for seed in range(40):
        world, other = make_world(seed), make_world(seed + 1000)
        for row in template_records(caption_input(other, "u31-0001", kinds=("short", "long"))):
            told += 1
            caught += bool(judge_caption(world, row.text))
    assert caught >= 0.95 * told
