"""Gates *learnable* and *registration*: the pictures say what the labels say, and say it at the right place.

Control of the first: the same training on labels of other chips. Of the second: pictures that were not moved at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.baselines import constant_confusions, fit_pixels, largest_class
from reference.evaluate import (
    Classes,
    Counts,
    accuracy,
    confusion,
    confusions,
    counted_classes,
    iou,
    known,
    mean_iou,
    predictions,
    spread_over_chips,
)
from reference.findings import Figure, Finding, Series, bars, rounded
from reference.lessons import ChipSource
from reference.model import ReferenceModel
from reference.spoilt import Exchanged, deranged, shifted
from reference.study import Study

DIRECTIONS = 6
"""Directions into which pictures are moved, for the error bars."""
SHIFTS_PX = (1.0, 3.0)
"""Reported beside the recipe's."""


def learnable(study: Study) -> Finding:
    """Mean IoU on held-out chips against the majority and the pixel regression; against the truth where it is given."""
    rule, chips, held = study.gates.learnable, study.chips, study.split.held_out
    counted = study.counted
    majority = constant_confusions(chips, held, largest_class(chips, study.split.train))
    pixels = fit_pixels(chips, study.split.train, study.weights, study.training.seed).confusions(chips, held)
    floor = {"majority": mean_iou(majority.sum(0), counted), "pixels": mean_iou(pixels.sum(0), counted)}
    spoilt = Exchanged(chips, deranged(study.split.train, study.training.seed), labels=True)
    shuffled = confusions(study.train(spoilt, study.split.train), chips, held)
    against_truth = truth_scores(study.model, chips, held, study.truth) if study.truth else {}
    measured = _scores(study.held_out, counted, floor) | against_truth
    control = _scores(shuffled, counted, floor)

    def passes(found: Mapping[str, Any]) -> bool:
        better = found["gain_over_majority"] >= rule.min_gain_over_majority
        better = better and found["gain_over_pixels"] >= rule.min_gain_over_pixels
        return bool(better and found.get("gain_over_labels", math.inf) >= rule.min_gain_over_labels)

    names = [*floor, "model", "on labels of other chips"]
    tables = [majority, pixels, study.held_out, shuffled]
    error = [spread_over_chips(t, lambda c: mean_iou(c, counted)) for t in tables]
    values = [floor["majority"], floor["pixels"], measured["mean_iou"], control["mean_iou"]]
    said = (
        f"mean IoU {measured['mean_iou']:.3f} on {len(held)} held-out chips; majority {floor['majority']:.3f}, "
        f"pixel regression {floor['pixels']:.3f}, labels of other chips {control['mean_iou']:.3f}"
    )
    if against_truth:
        said += (
            f"; against the truth {measured['truth_mean_iou_model']:.3f}, "
            f"its labels {measured['truth_mean_iou_labels']:.3f}"
        )
    return Finding(
        "learnable",
        passes(measured),
        said,
        measured,
        rule.model_dump(),
        "trained on labels of other chips",
        control,
        not passes(control) and measured["mean_iou"] - control["mean_iou"] >= study.gates.controls.min_loss_labels,
        _class_rows(chips.classes, {"model": study.held_out, "pixels": pixels, "majority": majority}),
        (bars("Held-out chips", "mean IoU", list(zip(names, values, strict=True)), error),),
    )


def _scores(found: Counts, counted: NDArray[np.bool_], floor: Mapping[str, float]) -> dict[str, Any]:
    total = found.sum(0)
    mean = mean_iou(total, counted)
    low, high = spread_over_chips(found, lambda c: mean_iou(c, counted))
    return {
        "mean_iou": rounded(mean),
        "mean_iou_low": rounded(low),
        "mean_iou_high": rounded(high),
        "accuracy": rounded(accuracy(total)),
        "majority": rounded(floor["majority"]),
        "pixels": rounded(floor["pixels"]),
        "gain_over_majority": rounded(mean - floor["majority"]),
        "gain_over_pixels": rounded(mean - floor["pixels"]),
    }


def _class_rows(classes: Sequence[str], found: Mapping[str, Counts]) -> tuple[dict[str, Any], ...]:
    """IoU of each class that occurs."""
    sums = {name: counts.sum(0) for name, counts in found.items()}
    pixels = next(iter(sums.values())).sum(1)
    scores = {name: iou(total) for name, total in sums.items()}
    return tuple(
        {
            "class": classes[int(i)],
            "pixels": int(pixels[i]),
            **{f"IoU {name}": rounded(np.nan_to_num(score[i]), 3) for name, score in scores.items()},
        }
        for i in np.flatnonzero(pixels)
    )


def truth_scores(
    model: ReferenceModel, chips: ChipSource, chip_ids: Sequence[str], truth: Mapping[str, Classes]
) -> dict[str, Any]:
    """Mean IoU of model and labels against the truth where the label does not abstain; of the model everywhere."""
    classes = len(chips.classes)
    of_model, of_labels, everywhere = [], [], []
    asked = [chip_id for chip_id in chip_ids if chip_id in truth]
    for batch, chances in predictions(model, chips, asked):
        for i, chip_id in enumerate(batch.chip_ids):
            label, said, true = batch.label[i].numpy(), chances[i].argmax(0), truth[chip_id]
            where = np.where(known(label), true, 255)
            of_model.append(confusion(where, said, classes))
            of_labels.append(confusion(where, label, classes))
            everywhere.append(confusion(true, said, classes))
    if not of_model:
        return {}
    sums = [np.stack(found).sum(0) for found in (of_model, of_labels, everywhere)]
    counted = counted_classes(sums[0])
    ours, theirs = mean_iou(sums[0], counted), mean_iou(sums[1], counted)
    both = np.stack([np.stack(of_model), np.stack(of_labels)], axis=1)  # (n, 2, classes, classes)
    low, high = spread_over_chips(both, lambda c: mean_iou(c[0], counted) - mean_iou(c[1], counted))
    return {
        "truth_chips": len(of_model),
        "truth_mean_iou_model": rounded(ours),
        "truth_mean_iou_labels": rounded(theirs),
        "truth_mean_iou_model_everywhere": rounded(mean_iou(sums[2], counted_classes(sums[2]))),
        "truth_accuracy_model": rounded(accuracy(sums[0])),
        "truth_accuracy_labels": rounded(accuracy(sums[1])),
        "gain_over_labels": rounded(ours - theirs),
        "gain_over_labels_low": rounded(low),
        "gain_over_labels_high": rounded(high),
    }


def registration(study: Study) -> Finding:
    """Mean IoU lost when the pictures of held-out chips are moved over their labels."""
    rule, counted = study.gates.controls, study.counted
    finest = min(table.step_m for table in study.chips.groups.values())
    base = mean_iou(study.held_out.sum(0), counted)
    rows, losses = [], {}
    for pixels in sorted({0.0, *SHIFTS_PX, float(rule.shift_px)}):
        found = np.array([_moved(study, pixels * finest, d) for d in range(1 if pixels == 0 else DIRECTIONS)])
        lost = base - found
        losses[pixels] = float(lost.mean())
        rows.append(
            {
                "shift_px": pixels,
                "mean_iou": rounded(found.mean()),
                "lost": rounded(lost.mean()),
                "least": rounded(lost.min()),
                "most": rounded(lost.max()),
            }
        )
    far = losses[float(rule.shift_px)]
    series = Series(
        "mean IoU",
        tuple(row["shift_px"] for row in rows),
        tuple(row["mean_iou"] for row in rows),
        tuple(rounded(base - row["most"]) for row in rows),
        tuple(rounded(base - row["least"]) for row in rows),
    )
    told = ", ".join(f"{losses[p]:+.3f} by {p:g} px" for p in losses if p)
    return Finding(
        "registration",
        far >= rule.min_loss_shift,
        f"moving the pictures loses {told} (mean over {DIRECTIONS} directions)",
        {f"lost_{pixels:g}px": rounded(value) for pixels, value in losses.items()},
        {"min_loss_shift": rule.min_loss_shift, "shift_px": rule.shift_px},
        "pictures moved by nothing",
        {"lost_0px": rounded(losses[0.0])},
        losses[0.0] < rule.min_loss_shift,
        tuple(rows),
        (Figure("Pictures moved over their labels", "line", "shift, px of the label", "mean IoU", (), (series,)),),
    )


def _moved(study: Study, metres: float, direction: int) -> float:
    angle = 2.0 * math.pi * (direction + 0.5) / DIRECTIONS
    dx, dy = metres * math.cos(angle), metres * math.sin(angle)
    found = confusions(
        study.model,
        study.chips,
        study.split.held_out,
        alter=lambda batch: shifted(batch, study.chips.groups, dx, dy),
    )
    return mean_iou(found.sum(0), study.counted)
