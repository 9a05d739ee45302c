"""A published finding in miniature: what weak labels teach, measured on the truth of the sandbox.

    python bench/reproduction.py --dataset build/demo/dataset --world build/demo/world

That fused labels teach more than any of their sources, that labels weighted by their confidence teach more than
labels taken alike, and that more sensors help where there are clouds is what weak supervision and data fusion report
(Dawid-Skene and Snorkel for the first two, SEN12MS-CR and its kind for the third). Here, for each seed: one model per
label source and one per weighting of the fused label, asked on held-out blocks and scored against the truth; and the
model of the fused labels asked with one sensor and with all, under simulated clouds. Finished trainings are kept in
``build/reproduction``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record
from reference.data import Chips, Target, ground_size_m, select
from reference.evaluate import confusions, counted_classes, mean_iou
from reference.model import ReferenceModel
from reference.spoilt import clouded
from reference.study import split_of
from reference.train import Training, fit
from reference.truth import read_truth
from schemas.dataset import DatasetDocument
from terraweft import open_dataset

CLOUD_SHARE = 0.6
OPTICAL = "s2"


def trainings(document: DatasetDocument) -> dict[str, tuple[Target, dict[str, Any]]]:
    """Name -> label that is learned, and what else is different."""
    sources = [name for name in document.legends if name != "label"]
    return {
        "fused": (Target(), {}),
        "fused, all alike": (Target(), {"by_confidence": False}),
        **{name: (Target(name), {}) for name in sources},
    }


class Experiment:
    """One dataset, its truth, and the scores of models on it."""

    def __init__(self, dataset: str, world: Path, steps: int, kept: Path) -> None:
        self.dataset = open_dataset(dataset)
        self.chips = Chips(self.dataset)
        self.held = split_of(self.chips).held_out
        self.train = split_of(self.chips).train
        maps = sorted((world / "truth").glob("*_classes.tif"))
        self.truth = read_truth(maps, self.dataset, list(self.held))
        self.held = tuple(chip_id for chip_id in self.held if chip_id in self.truth)
        self.steps, self.kept = steps, kept / self.dataset.version

    def score(self, name: str, target: Target, changes: dict[str, Any], seed: int) -> dict[str, float]:
        """Scores of one training, made now or read back."""
        path = self.kept / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}-{self.steps}.json"
        if path.is_file():
            return dict(json.loads(path.read_text()))
        chips = Chips(self.dataset, target)
        options = Training(steps=self.steps, batch_size=4, crop_m=480.0, seed=seed, text_weight=0.0, **changes)
        model = fit(chips, self.train, ground_size_m(chips), options).model
        found = {"truth": self.asked(model)}
        if name == "fused":
            found |= self.under_clouds(model, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        print(f"  {name}, seed {seed}: {found}", flush=True)
        return found

    def asked(self, model: ReferenceModel) -> float:
        """Mean IoU against the truth on held-out chips."""
        counts = confusions(model, self.chips, self.held, against=self.truth).sum(0)
        return mean_iou(counts, counted_classes(counts))

    def under_clouds(self, model: ReferenceModel, seed: int) -> dict[str, float]:
        """The same where the optical sensor sees nothing, with that sensor alone, with the radar, and with all."""
        tables, found = self.chips.groups, {}
        radar = [n for n in self.chips.modalities if n.startswith("s1")]
        ways = {OPTICAL: [OPTICAL], f"{OPTICAL} and radar": [OPTICAL, *radar], "all": list(self.chips.modalities)}
        hidden = {
            chip_id: ~clouded(self.chips[chip_id], tables, OPTICAL, CLOUD_SHARE, seed)
            .layers["s2_10m"]
            .valid[0]
            .any(0)
            .numpy()
            for chip_id in self.held
        }
        covered = {i: np.where(hidden[i], self.truth[i], 255).astype(np.uint8) for i in self.held}
        for name, kept in ways.items():
            for sky, against in (("clear", self.truth), ("clouds", covered)):
                counts = sum(
                    confusions(
                        model,
                        self.chips,
                        [chip_id],
                        alter=lambda b, k=kept, s=sky: select(  # type: ignore[misc]
                            clouded(b, tables, OPTICAL, CLOUD_SHARE, seed) if s == "clouds" else b, k, tables
                        ),
                        against=against,
                    ).sum(0)
                    for chip_id in self.held
                )
                found[f"{name}, {sky}"] = mean_iou(np.asarray(counts))
        return found

    def labels(self) -> dict[str, float]:
        """Mean IoU of the labels themselves against the truth on held-out chips, where they say something."""
        from reference.evaluate import confusion

        found = {}
        for name, (target, _) in trainings(self.dataset.document).items():
            if name != "fused, all alike":
                chips = Chips(self.dataset, target)
                counts = sum(confusion(self.truth[i], chips[i].label[0].numpy(), len(chips.classes)) for i in self.held)
                found[name] = mean_iou(np.asarray(counts))
        return found


def main() -> None:
    """Train, ask, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="build/demo/dataset")
    parser.add_argument("--world", type=Path, default=Path("build/demo/world"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--most", type=int, default=1000, help="trainings made by this call; run it again to go on")
    given = parser.parse_args()
    torch.set_num_threads(1)
    experiment = Experiment(given.dataset, given.world, given.steps, Path("build/reproduction"))
    scores: dict[str, list[dict[str, float]]] = {}
    left = given.most
    for seed in range(given.seeds):
        for name, (target, changes) in trainings(experiment.dataset.document).items():
            before = len(list(experiment.kept.glob("*.json"))) if experiment.kept.is_dir() else 0
            scores.setdefault(name, []).append(experiment.score(name, target, changes, seed))
            left -= len(list(experiment.kept.glob("*.json"))) - before
            if left <= 0:
                print("stopped at --most; run it again to go on")
                return
    report(experiment, scores)


def report(experiment: Experiment, scores: dict[str, list[dict[str, float]]]) -> None:
    """Rows with their spread over seeds, and what holds."""
    themselves = experiment.labels()
    means = {name: statistics.fmean(run["truth"] for run in runs) for name, runs in scores.items()}
    rows: list[dict[str, Any]] = [
        {"learned from": name, **_spread([run["truth"] for run in runs]), "the labels themselves": themselves.get(name)}
        for name, runs in scores.items()
    ]
    for key in scores["fused"][0]:
        if key != "truth":
            rows.append({"asked with": key, **_spread([run[key] for run in scores["fused"]])})
    sources = [name for name in means if not name.startswith("fused")]
    best = max(sources, key=lambda name: means[name])
    pairs = {
        "fused above the best single source": _paired(scores["fused"], scores[best], "truth"),
        "confidence above all alike": _paired(scores["fused"], scores["fused, all alike"], "truth"),
        "all sensors above one, clear": _paired_keys(scores["fused"], "all, clear", f"{OPTICAL}, clear"),
        "all sensors above one, clouds": _paired_keys(scores["fused"], "all, clouds", f"{OPTICAL}, clouds"),
    }
    rows += [{"gain": name, **_spread(values), "holds": min(values) > 0} for name, values in pairs.items()]
    gain = statistics.fmean(pairs["fused above the best single source"])
    record(
        "reproduction",
        figure=100.0 * gain,
        unit=f"points of mean IoU on the truth: fused labels above the best single source ({best})",
        target=0.0,
        holds=all(min(values) > 0 for values in pairs.values()),
        floor=None,
        rows=rows,
        packages=["torch", "lightning", "numpy"],
        further={
            "seeds": len(scores["fused"]),
            "steps": experiment.steps,
            "train_chips": len(experiment.train),
            "held_out_chips": len(experiment.held),
            "cloud_share": CLOUD_SHARE,
        },
    )


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": round(statistics.fmean(values), 4),
        "least": round(min(values), 4),
        "largest": round(max(values), 4),
    }


def _paired(one: list[dict[str, float]], other: list[dict[str, float]], key: str) -> list[float]:
    return [a[key] - b[key] for a, b in zip(one, other, strict=True)]


def _paired_keys(runs: list[dict[str, float]], one: str, other: str) -> list[float]:
    return [run[one] - run[other] for run in runs]


if __name__ == "__main__":
    main()
