"""Gate *modalities*: every modality says something of the labels, and none spoils the others.

One model, trained with modality dropout, is asked with every subset; and with each modality missing, noisy and moved,
as the papers on failing sensors do. Control: the best modality with its pictures exchanged among the chips. Chips
resemble each other, so pictures of other places may be worth a little more than the majority (0.035 of 0.516 on the
sandbox, 0.03 being the gate's threshold): it is refused where the gate's own rule refuses it, or where it keeps less
than half of what the pictures gain in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from reference.baselines import constant_confusions, largest_class
from reference.data import Batch, select
from reference.evaluate import Alter, confusions, mean_iou
from reference.findings import Figure, Finding, bars, not_here, rounded
from reference.lessons import ChipSource
from reference.spoilt import Exchanged, deranged, noisy, shifted
from reference.study import Study

MOST_SUBSETS = 6
"""With more modalities only those alone, all but one, and all are asked."""
NOISE_DEVIATIONS = 1.0
"""Of each band."""
MOVED_PX = 3.0
"""Of the label, eastwards and southwards alike."""
MOST_KEPT = 0.5
"""Of the best modality's gain alone, with its pictures exchanged."""


def modalities(study: Study) -> Finding:
    """Scores of subsets, of each modality's part in them, and of failing sensors."""
    names = study.modalities
    if unseen := study.whole.unseen:
        return Finding("modalities", False, f"no training chip has a clear pixel of {', '.join(unseen)}")
    if len(names) < 2:
        return not_here("modalities", f"there is one modality, {names[0]}")
    rule, chips, held = study.gates.modalities, study.chips, study.split.held_out
    if len(held) < 2:
        return not_here("modalities", "one held-out chip has none to exchange pictures with for the control")
    if study.unscored:
        return not_here("modalities", study.unscored)
    floor = mean_iou(constant_confusions(chips, held, largest_class(chips, study.split.train)).sum(0), study.counted)
    scores = {subset: _score(study, chips, subset) for subset in subsets(names)}
    alone = {name: scores[(name,)] for name in names}
    without = {name: scores[tuple(n for n in names if n != name)] for name in names}
    everything = scores[names]
    harm = {name: without[name] - everything for name in names}
    best = max(alone, key=lambda name: alone[name])
    exchanged = Exchanged(chips, deranged(held, study.training.seed), modality=best)
    spoilt = _score(study, exchanged, (best,))
    kept = (spoilt - floor) / max(alone[best] - floor, 1e-6)
    weak = [name for name in names if alone[name] - floor < rule.min_gain_alone]
    harmful = [name for name in names if harm[name] > rule.max_harm]
    parts = shapley(scores, names, floor) if len(scores) == 2 ** len(names) - 1 else {}
    said = f"all {len(names)} modalities {everything:.3f}, the best alone ({best}) {alone[best]:.3f}"
    said += f"; says too little alone: {', '.join(weak)}" if weak else ""
    said += f"; better without: {', '.join(harmful)}" if harmful else ""
    error_rows = [{"modality": name, **_failing(study, name, everything)} for name in names]
    measured: dict[str, Any] = {
        "all": rounded(everything),
        "majority": rounded(floor),
        "alone": {name: rounded(value) for name, value in alone.items()},
        "without": {name: rounded(value) for name, value in without.items()},
        "part": {name: rounded(value) for name, value in parts.items()},
        "subsets": {"+".join(subset): rounded(value) for subset, value in scores.items()},
    }
    return Finding(
        "modalities",
        not weak and not harmful,
        said,
        measured,
        rule.model_dump() | {"control_max_kept": MOST_KEPT},
        f"{best} alone, its pictures exchanged among the chips: less than {MOST_KEPT:.0%} of its gain may be left",
        {"alone": rounded(spoilt), "gain_alone": rounded(spoilt - floor), "kept": rounded(kept)},
        spoilt - floor < rule.min_gain_alone or kept < MOST_KEPT,
        tuple(error_rows),
        _figures(scores, parts, error_rows),
    )


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All subsets but the empty one, in the order of the names; fewer where there are many names."""
    sizes: Iterable[int] = range(1, len(names) + 1)
    if len(names) > MOST_SUBSETS:
        sizes = sorted({1, len(names) - 1, len(names)})
    return [subset for size in sizes for subset in combinations(names, size)]


def shapley(scores: dict[tuple[str, ...], float], names: Sequence[str], floor: float) -> dict[str, float]:
    """Each modality's fair part of what all reach above the floor: its gain averaged over all orders of arrival.

    Shapley (1953).

    >>> shapley({("a",): 0.5, ("b",): 0.3, ("a", "b"): 0.6}, ("a", "b"), 0.1)
    {'a': 0.35, 'b': 0.15}
    """
    parts = dict.fromkeys(names, 0.0)
    for name in names:
        others = [n for n in names if n != name]
        for size in range(len(others) + 1):
            weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(names))
            for some in combinations(others, size):
                grown = tuple(n for n in names if n in some or n == name)
                parts[name] += weight * (scores[grown] - (scores[some] if some else floor))
    return {name: round(value, 12) for name, value in parts.items()}


def _score(study: Study, chips: ChipSource, subset: tuple[str, ...]) -> float:
    found = confusions(
        study.model, chips, study.split.held_out, alter=lambda batch: select(batch, subset, chips.groups)
    )
    return mean_iou(found.sum(0), study.counted)


def _failing(study: Study, name: str, everything: float) -> dict[str, float]:
    """Scores of all modalities while one of them fails."""
    tables = study.chips.groups
    others = [n for n in study.modalities if n != name]
    metres = MOVED_PX * study.label_m / math.sqrt(2.0)

    def without(batch: Batch) -> Batch:
        return select(batch, others, tables)

    def under_noise(batch: Batch) -> Batch:
        return noisy(batch, tables, name, NOISE_DEVIATIONS, study.training.seed)

    def moved(batch: Batch) -> Batch:
        return shifted(batch, tables, metres, metres, name)

    ways: dict[str, Alter] = {"missing": without, "noisy": under_noise, f"moved {MOVED_PX:g} px": moved}
    row = {"all well": rounded(everything)}
    for way, alter in ways.items():
        found = confusions(study.model, study.chips, study.split.held_out, alter=alter)
        row[way] = rounded(mean_iou(found.sum(0), study.counted))
    return row


def _figures(
    scores: dict[tuple[str, ...], float], parts: dict[str, float], failing: Sequence[dict[str, Any]]
) -> tuple[Figure, ...]:
    ordered = sorted(scores.items(), key=lambda pair: (len(pair[0]), pair[1]))
    figures = [bars("Subsets of modalities", "mean IoU", [("+".join(s), rounded(v)) for s, v in ordered])]
    if parts:
        figures.append(bars("Each modality's part", "mean IoU above the majority", list(parts.items())))
    rows = [
        (f"{row['modality']} {way}", value)
        for row in failing
        for way, value in row.items()
        if way not in ("modality", "all well")
    ]
    return (*figures, bars("One sensor fails", "mean IoU", rows))
