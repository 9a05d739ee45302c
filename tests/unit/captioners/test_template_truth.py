"""Nothing that the template writes is false, in any kind, by a judge that shares no code with it."""

from __future__ import annotations

from collections import Counter

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


def test_the_judge_finds_planted_lies() -> None:
    caught = told = 0
    for seed in range(40):
        world, other = make_world(seed), make_world(seed + 1000)
        for row in template_records(caption_input(other, "u31-0001", kinds=("short", "long"))):
            told += 1
            caught += bool(judge_caption(world, row.text))
    assert caught >= 0.95 * told
