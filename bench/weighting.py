"""What weights could give at best: fused labels alike, by confidence, without the wrong ones, and the truth.

    python bench/weighting.py                     all that is not there yet, two trainings at once; writes the result

Two series of `bench/reproduction.py` had not shown that weighting by confidence helps, and could not say why. Weights
can do no better than to know each label that is wrong, so in five further worlds of its second kind (maps that err on
what looks alike) a model also learns from the right labels alone, and one from the truth wherever there is a label:
how much room there is, and how much of it is used. What the confidence knows is told beside it: how often labels are
right by how sure they are, and the share of pixels that are wrong, counted alike and by confidence.

Trained, scored and compared as there: differences in mean IoU on the truth of the held-out chips, paired within a
world, Student's intervals of 95 % over worlds. Three of the worlds were tried by hand before this row was written, with
the same result; nothing was chosen on any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.paired import difference, verdict
from bench.record import record, spread
from bench.taught_worlds import BY_LOOK, RIGHT_ALONE, TRUTH, Series, World
from schemas.recipe_gates import GateTraining

SEEDS = (91, 92, 93, 94, 95)
SERIES = Series(SEEDS, BY_LOOK, 0, False, "weighting")
ALIKE, WEIGHTED = "fused, all alike", "fused"
LESSONS = (ALIKE, WEIGHTED, RIGHT_ALONE, TRUTH)
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
"""Of classes of confidence."""
AT_ONCE = 2


def train(series: Series, seed: int, name: str) -> None:
    """One training, in a process of its own; its scores are kept."""
    torch.set_num_threads(1)
    World(seed, series).scores(name)


def learned(series: Series, lessons: Sequence[str]) -> tuple[list[World], dict[str, list[float]]]:
    """The worlds of a series, and mean IoU by training, one value per world."""
    worlds = [World(seed, series) for seed in series.seeds]
    for world in worlds:
        _ = world.root
    units = [(series, seed, name) for seed in series.seeds for name in lessons]
    with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool:
        list(pool.map(train, *zip(*units, strict=True)))
    return worlds, {name: [world.scores(name)["clear"]["mean_iou"] for world in worlds] for name in lessons}


def how_sure(world: World) -> list[tuple[int, int]]:
    """(labelled pixels, right ones) of the chips to learn from, by class of confidence."""
    sure, right = world.judged()
    inside = [(sure >= low) & (sure < high) for low, high in pairwise(EDGES)]
    return [(int(here.sum()), int(right[here].sum())) for here in inside]


def rows_of(
    worlds: Sequence[World], scores: Mapping[str, Sequence[float]], gains: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Scores, differences with their verdicts, what is wrong about the labels to learn from, and how often they are
    right by how sure they are.
    """
    wrong = [world.wrong() for world in worlds]
    counted = np.sum([how_sure(world) for world in worlds], axis=0)  # (classes of confidence, 2)
    return [
        *({"learned from": name, "mean IoU": spread(of)} for name, of in scores.items()),
        *({**row, "verdict": verdict([row])} for row in gains),
        {"wrong labels to learn from": "in pixels", "share": spread([one for one, _ in wrong])},
        {"wrong labels to learn from": "in confidence", "share": spread([other for _, other in wrong])},
        *(
            {"confidence": f"{low:.1f} to {min(high, 1.0):.1f}", "of all labels": round(there / counted[:, 0].sum(), 3),
             "right": round(right / max(there, 1), 3)}
            for (low, high), (there, right) in zip(pairwise(EDGES), counted.tolist(), strict=True)
        ),
    ]  # fmt: skip


def further_of(worlds: Sequence[World]) -> dict[str, Any]:
    """What the result says of its worlds."""
    return {
        "seeds": " ".join(str(world.seed) for world in worlds),
        "steps": GateTraining().steps,
        "held_out_chips": " ".join(str(len(world.split[1])) for world in worlds),
        "errors_by_look": BY_LOOK,
    }


def main() -> None:
    """Make, train, compare, record."""
    worlds, scores = learned(SERIES, LESSONS)
    gains = {name: difference(f"{name}, over all alike", scores[name], scores[ALIKE]) for name in LESSONS[1:]}
    gains[WEIGHTED]["difference in points"] = "by confidence, over all alike"
    record(
        SERIES.record,
        figure=float(gains[RIGHT_ALONE]["mean"]),
        unit="points of mean IoU on the truth that weights give which know every wrong label",
        target=0.0,
        holds=verdict([gains[RIGHT_ALONE]]) == "shown",
        floor=None,
        rows=rows_of(worlds, scores, gains.values()),
        packages=["torch", "lightning", "numpy"],
        further=further_of(worlds),
    )


if __name__ == "__main__":
    main()
