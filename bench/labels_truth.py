"""Fused labels against the simulated truth: gain over the best single source, calibration, confusion matrices.

    python bench/labels_truth.py            five seeds; writes bench/results/labels_truth.json and docs/labels_*.png
    python bench/labels_truth.py --quick    one small world; writes nothing
    python bench/labels_truth.py --only mirrored    these cases again, in the results that are there
    python bench/labels_truth.py --seeds 31,32,33,34    other worlds (these are the estimator's own); writes nothing

The worlds are drawn from seeds that no choice in the estimator was made on; sources err as their published accuracies
say (`sandbox/landcover.py`, `corine.py`, `osm.py`, all older than the fusion). Cases: all four sources; each of them
missing in turn; one edition of WorldCover with OSM, as there is no more outside Europe, and alone; OSM and CORINE
without a map, everywhere or in every second chip, over the pixels at which one speaks; one source replaced
by a bad one (drawn by lot and turned, or mirrored); WorldCover's errors at other rates and shared by both editions to
some part; one edition alone that errs more or less often than is published; grass and shrubs that one edition calls
grass and the other shrubs.
Single sources are WorldCover's editions, which speak everywhere at the target's own classes; CORINE and OSM do not.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.labels_cases import (  # noqa: E402
    CHIP_PX,
    CODES,
    FOLDER,
    SEEDS,
    SIZE,
    SOURCES,
    World,
    adversarial,
    fused_of,
    halved,
    load,
    mirrored,
    noisy,
    read_apart,
)
from bench.record import record, spread  # noqa: E402

OWN = ("worldcover", "worldcover_2020")
METHODS = ("priority", "vote", "dawid-skene")
ACCURACIES = (0.65, 0.767, 0.88)
TOGETHER = (0.0, 0.5, 0.8)
LEAST_SHARE = 0.001
"""Classes of less of a region's pixels have no row in the comparison of confusion matrices."""

KNOWN = ("all four sources", "without worldcover", "without worldcover_2020")
"""Cases in which the model's worth with its true tables is shown beside: what is to be learnt at all."""

GAIN, CALIBRATION, CONFUSION = 5.0, 0.05, 0.03
"""Targets: points of mIoU, expected calibration error, mean absolute error."""


WITHOUT_MAP = {
    "osm, no map": ("osm",),
    "corine, no map": ("corine",),
    "corine and osm, no map": ("corine", "osm"),
    "osm, no map in every second chip": ("worldcover", "osm"),
    "corine and osm, no map in every second chip": ("worldcover", "corine", "osm"),
}
"""Cases without a source of its own, in part or everywhere. There is no single source to beat."""


@dataclass(frozen=True)
class Score:
    """What one fusion of one world is worth."""

    gain: float
    """Points of mIoU over the best single source."""
    fused_miou: float
    """mIoU of the fused map."""
    best_miou: float
    """mIoU of the best single source."""
    accuracy: float
    """Share of the fused pixels that are right."""
    calibration: float
    """Expected calibration error, 15 bins."""
    confusion: float
    """Mean absolute error of the estimated matrices of WorldCover's editions; NaN where none is estimated."""
    by_region: float
    """The same of the regions' own matrices, the worst region."""
    weights: Mapping[str, float]
    """Source -> weight."""


def score(world: World, names: Sequence[str], method: str = "dawid-skene") -> Score:
    """See `Score`."""
    model, codes, confidence = fused_of(world, names, method)
    truth = world.truth
    best = max(mean_iou(world.codes(name), truth) for name in names if name in OWN)
    fused, errors = mean_iou(codes, truth), list(confusion_errors(model, world, names))
    return Score(
        gain=100 * (fused - best),
        fused_miou=fused,
        best_miou=best,
        accuracy=float(np.mean(codes == truth)),
        calibration=calibration_error(confidence, codes == truth),
        confusion=float(np.mean([whole for whole, _ in errors])) if errors else np.nan,
        by_region=max((worst for _, worst in errors), default=np.nan),
        weights=model.estimate
        and dict(zip([v.source for v in model.setup.voters], model.estimate.weights, strict=True)),
    )


def spoken_score(world: World, names: Sequence[str]) -> tuple[float, float, float]:
    """Accuracy, calibration error and mean confidence over the pixels at which a source speaks."""
    _, codes, confidence = fused_of(world, names, "dawid-skene")
    spoken = codes > 0
    right, sure = (codes == world.truth)[spoken], confidence[spoken]
    return float(right.mean()), calibration_error(sure, right), float(sure.mean())


def mean_iou(codes: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean intersection over union of the classes that the truth holds."""
    ious = [((codes == k) & (truth == k)).sum() / ((codes == k) | (truth == k)).sum() for k in np.unique(truth)]
    return float(np.mean(ious))


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean distance of confidence and share of right pixels over bins of confidence, weighted by pixels."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    parts = [which == k for k in range(bins) if (which == k).any()]
    return float(sum(abs(confidence[part].mean() - right[part].mean()) * part.mean() for part in parts))


def confusion_errors(model: Any, world: World, names: Sequence[str]) -> Iterator[tuple[float, float]]:
    """Of each edition of WorldCover: mean absolute error of the matrix of the whole dataset, and of the worst region.

    Rows are the classes that hold `LEAST_SHARE` of the pixels, columns the codes that occur in either matrix.
    """
    if model.estimate is None:
        return
    regions = np.concatenate([np.full(len(p.chips) * CHIP_PX**2, p.region) for p in world.places])
    truth = np.searchsorted(CODES, world.truth)
    for position, name in enumerate(names):
        if name not in OWN:
            continue
        shown = np.searchsorted(CODES, world.codes(name))
        columns = np.searchsorted(CODES, model.setup.tables()[position].codes)
        errors = []
        for region in ("", *sorted(set(regions))):
            inside = regions == region if region else np.ones(len(regions), dtype=bool)
            counts = np.zeros((len(CODES), len(CODES)))
            np.add.at(counts, (truth[inside], shown[inside]), 1)
            rows = counts.sum(axis=1) >= LEAST_SHARE * counts.sum()
            injected = counts[rows] / counts[rows].sum(axis=1, keepdims=True)
            found = np.zeros_like(counts)
            found[:, columns] = model.estimate.confusion_of(position, region)
            occur = (injected.sum(axis=0) > 0) | (found[rows].max(axis=0) > 0.001)
            errors.append(float(np.abs(found[rows] - injected)[:, occur].mean()))
        yield errors[0], max(errors[1:])


def cases(world: World) -> Iterator[tuple[str, World, list[str], bool]]:
    """(name, world, sources, whether the targets are asked of it)."""
    names = list(SOURCES)
    yield "all four sources", world, names, True
    for name in names:
        yield f"without {name}", world, [other for other in names if other != name], True
    yield "worldcover and osm alone", world, ["worldcover", "osm"], False
    yield "worldcover alone", world, ["worldcover"], False
    yield "worldcover bad: by lot and turned", adversarial(world, world.seed), names, True
    yield "worldcover bad: mirrored", mirrored(world), names, True
    for accuracy in ACCURACIES:
        for together in TOGETHER:
            made = noisy(world, accuracy, together, world.seed)
            yield f"worldcover {accuracy:.0%} right, {together:.0%} shared", made, names, False
    alone = [name for name in names if name != "worldcover_2020"]
    for accuracy in (ACCURACIES[0], ACCURACIES[-1]):
        yield f"one edition, {accuracy:.0%} right", noisy(world, accuracy, 0.0, world.seed), alone, False
    yield "grass and shrubs read apart", read_apart(world), names, False
    yield "grass and shrubs read apart, nobody else", read_apart(world), list(OWN), False


def row_of(name: str, scores: Sequence[Score], asked: bool) -> dict[str, Any]:
    """One line of the table: medians with the worst seed beside them."""
    gains, errors = [s.gain for s in scores], [s.confusion for s in scores]
    held = [s.gain >= GAIN and s.calibration <= CALIBRATION and s.confusion <= CONFUSION for s in scores]
    return {
        "what": name,
        "gain_points": spread(gains),
        "fused_miou": spread([s.fused_miou for s in scores]),
        "best_miou": spread([s.best_miou for s in scores]),
        "accuracy": spread([s.accuracy for s in scores]),
        "calibration_error": spread([s.calibration for s in scores]),
        "confusion_error": spread(errors),
        "confusion_error_worst_region": spread([s.by_region for s in scores]),
        "least_weight": min(min(s.weights.values()) for s in scores),
        "gain_holds": min(gains) >= GAIN,
        "calibration_holds": max(s.calibration for s in scores) <= CALIBRATION,
        "confusion_holds": max(errors) <= CONFUSION,
        "holds": all(held) if asked else None,
    }


def main(quick: bool, only: str = "", others: str = "") -> None:
    """Run all cases over all seeds, or some of them."""
    seeds = tuple(int(seed) for seed in others.split(",")) if others else SEEDS
    found: dict[str, tuple[bool, list[Score]]] = {}
    rules: dict[str, list[Score]] = {}
    unmapped: dict[str, list[tuple[float, float, float]]] = {}
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed in seeds[:1] if quick else seeds:
        world = load(seed, "tiny" if quick else SIZE, FOLDER)
        for name, made, names, asked in cases(world):
            if only not in name:
                continue
            found.setdefault(name, (asked, []))[1].append(score(made, names))
            print(seed, name, f"{found[name][1][-1].gain:+.1f}", flush=True)
            if name in KNOWN and not only:
                known = score(made, names, "known")
                found.setdefault(f"{name}, true tables", (False, []))[1].append(known)
        for case, of_case in WITHOUT_MAP.items():
            if only in case:
                where = halved(world) if "second" in case else world
                unmapped.setdefault(case, []).append(spoken_score(where, of_case))
        for method in METHODS[:2] if not only else ():
            rules.setdefault(method, []).append(replace(score(world, list(SOURCES), method), weights={"": 1.0}))
    rows = [row_of(name, scores, asked) for name, (asked, scores) in found.items()]
    rows += [
        {"what": f"method {method}", "gain_points": spread([s.gain for s in scores]),
         "accuracy": spread([s.accuracy for s in scores]),
         "calibration_error": spread([s.calibration for s in scores]), "holds": None}
        for method, scores in rules.items()
    ]  # fmt: skip
    parts = ("accuracy", "calibration_error", "confidence")
    rows += [
        {"what": name, **dict(zip(parts, map(spread, zip(*measured, strict=True)), strict=True)), "holds": None}
        for name, measured in unmapped.items()
    ]
    if quick or others:
        for row in rows:
            print(row)
        return
    if only:
        made = {row["what"]: row for row in rows}
        held = json.loads((ROOT / "bench" / "results" / "labels_truth.json").read_text())["rows"]
        rows = [made.pop(row["what"]) | {"ran_again": True} if row["what"] in made else row for row in held]
        rows += made.values()
    asked = [row for row in rows if row["holds"] is not None]
    record(
        "labels_truth",
        figure=rows[0]["gain_points"]["median"],
        unit="points of mIoU over the best single source, all four sources",
        target=GAIN,
        holds=all(row["holds"] for row in asked),
        floor={"calibration_error": CALIBRATION, "confusion_error": CONFUSION},
        rows=rows,
        packages=("numpy", "scipy"),
        further={"seeds": list(SEEDS), "size": SIZE, "holds_by_case": {row["what"]: row["holds"] for row in asked}},
    )


if __name__ == "__main__":
    given = {name: sys.argv[sys.argv.index(name) + 1] for name in ("--only", "--seeds") if name in sys.argv}
    main("--quick" in sys.argv, given.get("--only", ""), given.get("--seeds", ""))
