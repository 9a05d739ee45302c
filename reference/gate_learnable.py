"""Gates *learnable* and *registration*: the pictures say what the labels say, and say it at the right place.

Control of the first: the same training on labels of other chips. Of the second: pictures that were moved and put back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference.baselines import constant_confusions, fit_pixels, largest_class
from reference.data import Batch
from reference.evaluate import (
    Alter,
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
from reference.findings import Figure, Finding, Series, bars, not_here, rounded
from reference.lessons import ChipSource
from reference.model import ReferenceModel
from reference.spoilt import Exchanged, deranged, seen_in_both, shifted
from reference.study import Study

DIRECTIONS = 6
"""Directions into which pictures are moved, for the error bars."""
SHIFTS_PX = (1.0, 3.0)
"""Reported beside the recipe's."""
ASIDE_PX = 3.0
"""Moves from which on a gain is held against the dataset: maps of land cover lie a pixel off as a rule."""
MOST_HIDDEN = 0.5
"""Of the ground that is asked: moves that leave less to be seen are not made."""


def learnable(study: Study) -> Finding:
    """Mean IoU on held-out chips against the majority and the pixel regression; against the truth where it is given."""
    rule, chips, held = study.gates.learnable, study.chips, study.split.held_out
    if len(study.split.train) < 2:
        return Finding("learnable", False, "one chip to learn from: no other has labels for the control")
    if study.unscored:
        return Finding("learnable", False, f"{study.unscored} to be held against, of {len(held)}")
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
    """Mean IoU lost when the pictures of held-out chips are moved over their labels.

    Moving also hides a border and blurs. What is hidden does not count: the score in place is that of the very same
    pixels. The control, the same way out and back, hides and blurs at least as much and must lose nothing: else the
    loss is no sign of the place. Where position says nothing (a model that names what is in the chip, chips of one
    class) both lose nothing, and the gate refuses. Nor may a move gain: the model was shown chips turned and mirrored,
    so an offset that all of them share is none that it could learn, and pictures that lie aside fit when moved back.
    """
    if study.unscored:
        return not_here("registration", study.unscored)
    rule, counted = study.gates.controls, study.counted
    pixel_m = study.label_m
    hidden = {p: hidden_share(p * pixel_m, study.edge_m) for p in sorted({*SHIFTS_PX, float(rule.shift_px)})}
    shifts = [pixels for pixels, share in hidden.items() if share <= MOST_HIDDEN]
    if not shifts:
        return not_here("registration", f"moving by a pixel hides more than half of {study.edge_m:g} m")
    decides = max(pixels for pixels in shifts if pixels <= rule.shift_px)
    rows = [_row(0.0, 0.0, np.full((1, 2), mean_iou(study.held_out.sum(0), counted)))]
    rows += [_row(pixels, hidden[pixels], _places(study, pixels * pixel_m)) for pixels in shifts]
    lost = {row["shift_px"]: row["lost"] for row in rows}
    control = _row(decides, hidden[decides], _places(study, decides * pixel_m, back=True))["lost"]
    better = min((row for row in rows if row["shift_px"] >= ASIDE_PX), key=lambda row: row["least"], default=rows[0])
    gained = max(0.0, -better["least"])
    is_aside = gained >= rule.min_loss_shift
    x = tuple(row["shift_px"] for row in rows)
    moved, in_place = (tuple(row[name] for row in rows) for name in ("mean_iou", "in_place"))
    spread = [tuple(rounded(row["in_place"] - row[end]) for row in rows) for end in ("most", "least")]
    series = (Series("moved", x, moved, *spread), Series("in place, as much hidden", x, in_place))
    told = ", ".join(f"{lost[p]:+.3f} by {p:g} px" for p in shifts)
    skipped = ", ".join(f"{p:g}" for p in hidden if p not in shifts)
    said = f"moving pictures loses {told} (mean over {DIRECTIONS} directions); {decides:g} px and back {control:+.3f}"
    said += f"; {skipped} px would hide more than half of {study.edge_m:g} m: {decides:g} px decide" if skipped else ""
    if is_aside:
        said += f"; moved by {better['shift_px']:g} px towards {better['towards_deg']:g} degrees they fit better by "
        said += f"{gained:.3f}: pictures and labels lie aside of each other"
    return Finding(
        "registration",
        lost[decides] >= rule.min_loss_shift and not is_aside,
        said,
        {f"lost_{pixels:g}px": lost[pixels] for pixels in shifts} | {"gained": gained},
        {"min_loss_shift": rule.min_loss_shift, "shift_px": decides},
        f"pictures moved by {decides:g} px and back",
        {f"lost_{decides:g}px": control},
        control < rule.min_loss_shift,
        tuple(rows),
        (Figure("Pictures moved over their labels", "line", "shift, px of the label", "mean IoU", (), series),),
    )


def hidden_share(shift_m: float, edge_m: float) -> float:
    """Share of a square that has nothing to show once its picture is moved; mean over the directions.

    >>> round(hidden_share(100.0, 160.0), 3), round(hidden_share(100.0, 960.0), 3)
    (0.665, 0.126)
    """
    left = [(1.0 - min(1.0, abs(x) / edge_m)) * (1.0 - min(1.0, abs(y) / edge_m)) for x, y in _ways(shift_m)]
    return 1.0 - sum(left) / len(left)


def _ways(metres: float) -> list[tuple[float, float]]:
    """(east, south) of a move into each direction."""
    angles = [2.0 * math.pi * (direction + 0.5) / DIRECTIONS for direction in range(DIRECTIONS)]
    return [(metres * math.cos(angle), metres * math.sin(angle)) for angle in angles]


def _places(study: Study, metres: float, back: bool = False) -> NDArray[np.float64]:
    """(directions, 2) mean IoU of pictures in place and moved, both shown where the moved ones are valid, too."""
    groups, found = study.chips.groups, []
    for dx, dy in _ways(metres):

        def moved(batch: Batch, dx: float = dx, dy: float = dy) -> Batch:
            out = shifted(batch, groups, dx, dy)
            return shifted(out, groups, -dx, -dy) if back else out

        def kept(batch: Batch, moved: Alter = moved) -> Batch:
            return seen_in_both(batch, moved(batch))

        def gone(batch: Batch, moved: Alter = moved) -> Batch:
            return seen_in_both(moved(batch), batch)

        asked = study.split.held_out
        counts = [confusions(study.model, study.chips, asked, alter=alter).sum(0) for alter in (kept, gone)]
        found.append([mean_iou(total, study.counted) for total in counts])
    return np.array(found)


def _row(pixels: float, hidden: float, places: NDArray[np.float64]) -> dict[str, float]:
    """Of the table, from (directions, 2) scores in place and moved; ``towards_deg`` is the direction of the least loss,
    clockwise from north.
    """
    lost = places[:, 0] - places[:, 1]
    east, south = _ways(1.0)[int(lost.argmin())]
    return {
        "shift_px": pixels,
        "hidden": rounded(hidden),
        "in_place": rounded(places[:, 0].mean()),
        "mean_iou": rounded(places[:, 1].mean()),
        "lost": rounded(lost.mean()),
        "least": rounded(lost.min()),
        "most": rounded(lost.max()),
        "towards_deg": round(math.degrees(math.atan2(east, -south)) % 360.0),
    }
