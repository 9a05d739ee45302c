"""Gate *leak*: held-out chips are new ground, and the score does not come from being near.

Control: a split into which training chips were smuggled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.nearness import Squares
from reference.evaluate import Counts, accuracy, confusions, counted_classes, known, mean_iou
from reference.findings import Figure, Finding, Series, not_here, rounded
from reference.study import Study
from schemas.dataset import DatasetDocument
from shards.reader import Dataset

SMUGGLED = 0.1
"""Share of the control's held-out chips that are training chips."""


def leak(study: Study) -> Finding:
    """Overlaps, score against distance to the nearest training chip, and the gap to a split at random. Where no
    held-out chip can be scored, overlaps are refused, and their absence alone proves nothing.
    """
    if study.cut is not None:
        return not_here("leak", "the dataset has no split; parts of its chips are held out beside each other")
    rule, train, held = study.gates.leak, list(study.split.train), list(study.split.held_out)
    squares = squares_of(study.whole.dataset, [*train, *held])
    learned, asked = np.arange(len(train)), np.arange(len(train), len(train) + len(held))
    distance = squares.nearest_gaps_m(asked, learned)
    alike = look_alikes(study.whole.dataset.document, train, held)
    scored = study.scored_held_out  # (held,): the others have no accuracy
    if study.unscored:
        pairs = overlapping(squares, asked, learned)
        return _unscored(study.unscored, pairs, alike, float(distance.min()), rule.max_overlapping_pairs)
    scores = np.array([accuracy(counts) for counts in study.held_out[scored]])
    near = near_gain(distance[scored], scores)
    gap, at_random = _random_gap(study, train, held)
    measured: dict[str, Any] = {
        "overlapping_pairs": overlapping(squares, asked, learned),
        "pairs_that_look_alike": alike,
        "least_distance_m": rounded(distance.min(), 1),
        "near_gain": rounded(near),
        "random_gap": rounded(gap),
        "mean_iou_random_split": rounded(at_random),
    }
    luck = np.random.Generator(np.random.PCG64(study.training.seed))
    smuggled = min(max(1, round(SMUGGLED * len(held))), len(train))  # a benchmark learns from few and asks many
    some = luck.choice(learned, smuggled, replace=False)
    control = {"overlapping_pairs": overlapping(squares, np.concatenate([asked, some]), learned)}

    def passes(found: Mapping[str, Any]) -> bool:
        return bool(
            found["overlapping_pairs"] <= rule.max_overlapping_pairs
            and found.get("pairs_that_look_alike", 0) <= rule.max_overlapping_pairs
            and found.get("near_gain", 0.0) <= rule.max_near_gain
            and found.get("random_gap", 0.0) <= rule.max_random_gap
        )

    said = (
        f"{measured['overlapping_pairs']} overlapping pairs, {alike} that look alike, nearest {distance.min():.0f} m; "
        f"accuracy of the nearer half {near:+.3f} above the farther; a split at random {gap:+.3f} mean IoU"
    )
    series = Series("chips", tuple(rounded(d, 1) for d in distance[scored]), tuple(rounded(s) for s in scores))
    return Finding(
        "leak",
        passes(measured),
        said,
        measured,
        {name: float(value) for name, value in rule.model_dump().items()},
        f"{len(some)} training chips smuggled into the held-out ones",
        control,
        not passes(control),
        figures=(Figure("Score and nearness", "points", "to the nearest training chip, m", "accuracy", (), (series,)),),
    )


def _unscored(why: str, pairs: int, alike: int, nearest_m: float, most: int) -> Finding:
    """What is found where no held-out chip can be scored."""
    said = f"{pairs} overlapping pairs, {alike} that look alike, nearest {nearest_m:.0f} m"
    said += f"; {why} to be scored by"
    measured = {
        "overlapping_pairs": pairs,
        "pairs_that_look_alike": alike,
        "least_distance_m": rounded(nearest_m, 1),
    }
    if max(pairs, alike) > most:
        return Finding("leak", False, said, measured, {"max_overlapping_pairs": float(most)})
    return replace(not_here("leak", said), measured=measured)


def squares_of(dataset: Dataset, chip_ids: Sequence[str]) -> Squares:
    """The squares of some chips."""
    rows = dataset.chips.set_index("chip_id").loc[list(chip_ids)]
    return Squares.of(
        CellTable(
            np.array(chip_ids, dtype=np.str_),
            rows["epsg"].to_numpy(np.int32),
            np.array([list(bounds) for bounds in rows["bounds_xyxy"]], dtype=np.float64),
            rows["region"].to_numpy(np.str_),
            rows["majortom_cell"].to_numpy(np.str_),
        )
    )


def overlapping(squares: Squares, asked: NDArray[np.intp], learned: NDArray[np.intp]) -> int:
    """Pairs that share ground; a chip is no neighbour of itself but the same place."""
    one, _, _ = squares.overlaps(asked, learned)
    same = np.intersect1d(asked, learned).size
    return int(max(one.size, same))


def look_alikes(document: DatasetDocument, train: Sequence[str], held: Sequence[str]) -> int:
    """Pairs of a held-out and a training chip that the build found to show one place: whatever their footprints say,
    the model has seen the picture. Others of a place are listed beside its first chip, so that one pair at least is
    there where a place lies on both sides.
    """
    side = dict.fromkeys(train, "train") | dict.fromkeys(held, "held out")
    pairs = {(str(row["kept"]), str(row["other"])) for row in document.near_duplicates}
    return sum({side.get(one), side.get(other)} == {"train", "held out"} for one, other in pairs)


def near_gain(distance: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Mean score of the chips nearer than the median, less that of the farther ones; 0 where all are equally far."""
    if not distance.size:
        return 0.0
    middle = np.median(distance)
    nearer, farther = distance < middle, distance > middle
    if not nearer.any() or not farther.any():
        return 0.0
    return float(scores[nearer].mean() - scores[farther].mean())


def _random_gap(study: Study, train: Sequence[str], held: Sequence[str]) -> tuple[float, float]:
    """What a split at random of the same chips and sizes gains, and its score; either side gets as many labels."""
    learned, asked = _at_random(study, train, held)
    found: Counts = confusions(study.train(study.chips, learned), study.chips, asked)
    both = study.counted & counted_classes(found.sum(0))
    at_random, own = mean_iou(found.sum(0), both), mean_iou(study.held_out.sum(0), both)
    return at_random - own, at_random


def _at_random(study: Study, train: Sequence[str], held: Sequence[str]) -> tuple[list[str], list[str]]:
    """Chips to learn from and to be asked, as many of both kinds, with labels and without, as in the dataset's."""
    order: list[str] = np.random.Generator(np.random.PCG64(study.training.seed)).permutation([*train, *held]).tolist()
    has_label = {chip_id: bool(known(study.chips[chip_id].label.numpy()).any()) for chip_id in order}
    room = Counter(has_label[chip_id] for chip_id in train)
    learned: list[str] = []
    asked: list[str] = []
    for chip_id in order:
        kind = has_label[chip_id]
        (learned if room[kind] else asked).append(chip_id)
        room[kind] -= bool(room[kind])
    return learned, asked
