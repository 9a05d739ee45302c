"""Published findings in miniature: what weak labels and further sensors teach, measured on the truth of the sandbox.

    python bench/reproduction.py --errors by-lot                  all that is not there yet; then writes the result
    python bench/reproduction.py --errors by-look                 the same where maps err on what looks alike
    python bench/reproduction.py --seed 41 --only worldcover      one training; run without these to go on
    python bench/reproduction.py --make                           worlds and datasets only

Three findings: labels fused of several sources teach more than any of the sources (Ratner et al., 2017: Snorkel; Zhang
et al., 2021: WRENCH), labels weighted by their confidence teach more than labels taken alike (same), further sensors
help where there are clouds (Ebel et al., 2020: SEN12MS-CR and its kind).

Design, settled before any score of a series was seen. In the first series (by lot), for want of time and with a part of
the scores known, trainings on CORINE, on OSM and on eight chips of the older edition were left out, and those on eight
chips end after three worlds:

- *A replicate is a world*: five sandboxes from seeds that nothing was chosen on, each with a dataset, a fusion, a split
  and weights of its own. Within a world all models see the same chips in the same order from the same first weights, so
  a difference is paired. Its interval is Student's over the differences (95 %): it speaks for worlds of this kind,
  not for one world's chips.
- *The truth is asked, everywhere*: mean IoU over the classes of at least 0.2 % of the true pixels of all held-out
  chips; accuracy beside it. Nothing is chosen by it. Models are trained as the gates train by default
  (`schemas.recipe_gates`), which a world of another seed settled.
- *Noise is that of the field*: WorldCover's editions err at their validated rates (25.6 and 23.3 % of the pixels), in
  patches of 70 m; CORINE and OSM as their sampling makes them.
- *Many chips and few.* The simulated maps' errors do not depend on the pictures. A network averages such noise away
  when it sees enough of it (Rolnick et al., 2017: how many examples are needed grows with the noise), so the gain of
  cleaner labels ought to shrink with the number of chips. The newer
  edition is also compared with eight chips, in three worlds.
- *By look*: a second series, designed after the first, whose errors fall by lot, had not told sources apart. A real map
  is made from pictures and errs on what looks alike; so half of the variance of each edition's errors follows from the
  variant of the class, which a picture shows (season, radar), each edition in its own way, at the same validated rates
  (``errors_by_look`` of `sandbox.products.write_sandbox`). Share and seeds were chosen once, before any score. What
  radar adds does not hang on how maps err and is not asked again. After five worlds every difference to a source was
  above 0 and no interval was, so five more were added, once: the intervals of that series are Bonferroni's for two
  looks (97.5 % each), and what the further five alone say is told apart.
- *Single sources* are WorldCover's editions, which speak everywhere at the target's own classes; in the first five
  worlds of the second series also CORINE (the north alone) and OSM, mapped to these classes by the dataset's
  crosswalks, silent elsewhere.
- *Clouds*: one model of Sentinel-2 alone and one of Sentinel-2 and both orbits of Sentinel-1, both trained on fused
  labels, asked with 60 % of each optical picture hidden and scored on the hidden pixels alone; and with nothing hidden.

A finding is *shown* where the whole interval is above 0 (of the first: against every source), *contradicted* where one
is below 0, else *not shown*. Worlds, datasets and finished trainings are kept in ``build/reproduction``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record
from bench.worlds import sandbox_dataset, without_coarse
from reference.data import ABSTAIN, Batch, Chips, Target, ground_size_m
from reference.evaluate import accuracy, confusion, confusions, mean_iou
from reference.lessons import Altered, ChipSource
from reference.model import ReferenceModel
from reference.spoilt import clouded
from reference.study import split_of
from reference.train import Training, fit
from reference.truth import read_truth
from schemas.recipe_gates import GateTraining
from terraweft import open_dataset

BY_LOOK = 0.5
"""Share of the variance of WorldCover's errors that follows from what the ground looks like."""
KEPT = Path(__file__).parents[1] / "build" / "reproduction"
OPTICAL = "s2"
CLOUD_SHARE = 0.6
FEW, FEW_WORLDS = 8, 3
SURE = 0.95
"""Of the intervals."""


@dataclass(frozen=True)
class Lesson:
    """One training of each world."""

    target: str = "label"
    """Label that is learned."""
    by_confidence: bool = True
    """Whether sure pixels count more."""
    modalities: tuple[str, ...] | None = None
    """Those that the model has; all where None."""
    chips: int | None = None
    """So many of the training chips, drawn by the world's seed; all where None."""
    least: float = 0.0
    """Labels that are less sure do not count."""
    told: str = ""
    """By somebody who knows the truth: which labels are ``wrong``, so that they do not count, or the ``truth`` itself
    wherever there is a label (`bench/weighting.py`)."""


class Sure(Altered):
    """Chips whose labels abstain where they are less sure than ``least``."""

    def __init__(self, chips: Chips, least: float) -> None:
        super().__init__(chips)
        self.least = least

    def __getitem__(self, chip_id: str) -> Batch:
        """One chip as a batch of one."""
        chip = self.chips[chip_id]
        return replace(chip, label=torch.where(chip.confidence < self.least, ABSTAIN, chip.label))


class Told(Altered):
    """Chips whose labels to learn from somebody corrects (`Lesson.told`)."""

    def __init__(self, chips: Chips, truth: Mapping[str, Any], told: str) -> None:
        super().__init__(chips)
        self.truth, self.told = truth, told

    def __getitem__(self, chip_id: str) -> Batch:
        """One chip as a batch of one."""
        chip = self.chips[chip_id]
        if chip_id not in self.truth:
            return chip
        true = torch.from_numpy(self.truth[chip_id].astype(np.int64))[None]  # (1, H, W)
        if self.told == "wrong":
            return replace(chip, label=torch.where(chip.label == true, chip.label, ABSTAIN))
        return replace(chip, label=torch.where(chip.label == ABSTAIN, ABSTAIN, true))


NEWEST = "worldcover"
SOURCES = (NEWEST, "worldcover_2020")
PARTIAL = ("corine", "osm")
"""Sources that do not speak everywhere."""
RIGHT_ALONE, TRUTH = "fused, right ones alone", "truth where labelled"
ABSTAINS = 0.5
"""A recipe's default: labels that are less sure abstain."""
LEAST, LEAST_ALIKE = f"fused, {ABSTAINS} and more", f"fused, {ABSTAINS} and more, all alike"
LESSONS: Mapping[str, Lesson] = {
    "fused": Lesson(),
    "fused, all alike": Lesson(by_confidence=False),
    **{name: Lesson(name) for name in (*SOURCES, *PARTIAL)},
    f"fused, {OPTICAL} alone": Lesson(modalities=(OPTICAL,)),
    f"fused, {FEW} chips": Lesson(chips=FEW),
    f"{NEWEST}, {FEW} chips": Lesson(NEWEST, chips=FEW),
    RIGHT_ALONE: Lesson(by_confidence=False, told="wrong"),
    TRUTH: Lesson(by_confidence=False, told="truth"),
    LEAST: Lesson(least=ABSTAINS),
    LEAST_ALIKE: Lesson(by_confidence=False, least=ABSTAINS),
}


@dataclass(frozen=True)
class Series:
    """Worlds of one kind."""

    seeds: tuple[int, ...]
    """Of the worlds."""
    by_look: float
    """`write_sandbox`'s ``errors_by_look``."""
    few_worlds: int
    """Worlds that learn from few chips, too."""
    radar: bool
    """Whether models without radar are trained, too."""
    record: str
    """Name of its result."""
    without: str = ""
    """`sandbox_dataset`'s; then the dataset's labels never abstain."""
    first_look: int = 0
    """Worlds after which the differences were looked at for the first time, where more were added then; in these
    models learn from `PARTIAL`, too."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Single sources that models learn from."""
        return (*SOURCES, *(PARTIAL if self.first_look else ()))

    @property
    def lessons(self) -> tuple[str, ...]:
        """Trainings of the series; see `World.learns`."""
        few = [name for name, lesson in LESSONS.items() if lesson.chips is not None and self.few_worlds]
        alone = [f"fused, {OPTICAL} alone"] if self.radar else []
        return ("fused", "fused, all alike", *self.sources, *alone, *few)


SERIES: Mapping[str, Series] = {
    "by-lot": Series((41, 42, 43, 44, 45), 0.0, FEW_WORLDS, True, "reproduction"),
    "by-look": Series(tuple(range(51, 61)), BY_LOOK, 0, False, "reproduction_by_look", first_look=5),
}


def asked_about(recipe: dict[str, Any]) -> None:
    """Leave out Landsat, EnMAP, the optical bands of 60 m, texts and targets, none of which is asked about."""
    without_coarse(recipe)
    recipe.pop("captions")
    recipe["labels"].pop("targets")


def labelled_everywhere(recipe: dict[str, Any]) -> None:
    """The same with a label of every pixel, however unsure."""
    asked_about(recipe)
    recipe["labels"]["fuse"]["abstain_below"] = 0.0


@dataclass
class World:
    """One world's dataset and truth, and the scores of models on it."""

    seed: int
    """Of the world, of weights, order and crops."""
    series: Series
    """What it is one of."""
    _chips: dict[tuple[str, tuple[str, ...] | None], Chips] = field(default_factory=dict)

    def learns(self, name: str) -> bool:
        """Whether a training is made here."""
        if LESSONS[name].chips is not None:
            return self.seed in self.series.seeds[: self.series.few_worlds]
        return name not in PARTIAL or self.seed in self.series.seeds[: self.series.first_look]

    @cached_property
    def root(self) -> Path:
        """World and dataset."""
        root = KEPT / str(self.seed)
        alter = labelled_everywhere if self.series.without else asked_about
        series = self.series
        sandbox_dataset(root, alter, size="demo", seed=self.seed, by_look=series.by_look, without=series.without)
        return root

    @cached_property
    def split(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(learned from, held out with a truth)."""
        split = split_of(self.chips())
        return split.train, tuple(chip_id for chip_id in split.held_out if chip_id in self.truth)

    @cached_property
    def truth(self) -> Mapping[str, Any]:
        """Chip -> (H, W) true class index."""
        return self._truth_of(split_of(self.chips()).held_out)

    def _truth_of(self, chip_ids: Sequence[str]) -> Mapping[str, Any]:
        maps = sorted((self.root / "world" / "truth").glob("*_classes.tif"))
        return read_truth(maps, self.chips().dataset, chip_ids)

    def chips(self, target: str = "label", modalities: tuple[str, ...] | None = None) -> Chips:
        """The dataset's chips, of a label and of modalities."""
        key = (target, modalities)
        if key not in self._chips:
            self._chips[key] = Chips(open_dataset(str(self.root / "dataset")), Target(target), modalities)
        return self._chips[key]

    def path(self, name: str) -> Path:
        """Where a training's scores are kept."""
        return KEPT / str(self.seed) / "scores" / f"{name.replace(', ', '-').replace(' ', '-')}.json"

    def scores(self, name: str) -> dict[str, Any]:
        """Scores of one training, made now or read back."""
        path = self.path(name)
        if path.is_file():
            return dict(json.loads(path.read_text()))
        lesson, rule = LESSONS[name], GateTraining()
        chips = self.chips(lesson.target, lesson.modalities)
        train, _ = self.split
        if lesson.chips is not None:
            luck = np.random.Generator(np.random.PCG64(self.seed))
            train = tuple(luck.permutation(np.array(train))[: lesson.chips].tolist())
        options = Training(
            size=rule.size,
            steps=rule.steps,
            batch_size=rule.batch_size,
            crop_m=rule.crop_m,
            seed=self.seed,
            text_steps=0,
            by_confidence=lesson.by_confidence,
            accelerator="cpu",
        )
        taught: ChipSource = Told(chips, self._truth_of(train), lesson.told) if lesson.told else chips
        taught = Sure(chips, lesson.least) if lesson.least else taught
        done = fit(taught, train, ground_size_m(chips), options)
        asked = self.chips("label", lesson.modalities)
        found: dict[str, Any] = {
            "seconds": round(done.seconds, 1),
            "chips": len(train),
            "clear": self.asked(done.model, asked),
        }
        if lesson.target == "label":
            found["clouds"] = self.asked(done.model, asked, hidden=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        print(f"world {self.seed}, {name}: {found['clear']['mean_iou']:.3f} in {done.seconds:.0f} s", flush=True)
        return found

    def asked(self, model: ReferenceModel, chips: Chips, hidden: bool = False) -> dict[str, float]:
        """Mean IoU and accuracy against the truth on held-out chips; on the pixels that clouds hide where asked."""
        counts = np.zeros((len(chips.classes), len(chips.classes)), np.int64)
        for number, chip_id in enumerate(self.split[1]):
            if not hidden:
                counts += confusions(model, chips, [chip_id], against=self.truth).sum(0)
                continue
            luck = self.seed * 1000 + number
            under = clouded(chips[chip_id], chips.groups, OPTICAL, CLOUD_SHARE, luck)
            seen = under.layers["s2_10m"].valid[0].any(0).numpy()  # (H, W)
            against = {chip_id: np.where(seen, 255, self.truth[chip_id]).astype(np.uint8)}
            counts += confusions(model, chips, [chip_id], alter=lambda _, b=under: b, against=against).sum(0)  # type: ignore[misc]
        return {"mean_iou": mean_iou(counts), "accuracy": accuracy(counts)}

    def labels(self) -> dict[str, dict[str, float]]:
        """Mean IoU and accuracy of the labels themselves where they say something, and where they do."""
        found = {}
        for name in ("label", *self.series.sources):
            chips = self.chips(name)
            pairs = [(self.truth[i], chips[i].label[0].numpy()) for i in self.split[1]]
            counts = np.asarray(sum(confusion(true, label, len(chips.classes)) for true, label in pairs))
            said = sum(int((label != 255).sum()) for _, label in pairs) / sum(label.size for _, label in pairs)
            found["fused" if name == "label" else name] = {
                "mean_iou": mean_iou(counts),
                "accuracy": accuracy(counts),
                "says": said,
            }
        return found

    def judged(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Confidence of each fused label to learn from, and whether it is right; both (pixels,)."""
        truth = self._truth_of(self.split[0])
        pairs = [(self.chips()[chip_id], here) for chip_id, here in truth.items()]
        label = np.concatenate([chip.label.numpy().ravel() for chip, _ in pairs])
        sure = np.concatenate([chip.confidence.numpy().ravel() for chip, _ in pairs])
        true = np.concatenate([here.ravel() for _, here in pairs])
        known = (label != ABSTAIN) & (true != ABSTAIN)
        return sure[known], (label == true)[known]

    def wrong(self) -> tuple[float, float]:
        """Share of the fused labels to learn from that is wrong, counted in pixels and in confidence."""
        sure, right = self.judged()
        return float(1.0 - right.mean()), float(np.average(~right, weights=sure))


def difference(name: str, one: Sequence[float], other: Sequence[float], sure: float = SURE) -> dict[str, Any]:
    """Mean of paired differences in points, its interval, each of them."""
    gains = [100.0 * (a - b) for a, b in zip(one, other, strict=True)]
    mean, error = statistics.fmean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
    half = float(student.ppf(0.5 + sure / 2, len(gains) - 1)) * error
    return {
        "difference in points": name,
        "worlds": len(gains),
        "mean": round(mean, 2),
        "low": round(mean - half, 2),
        "high": round(mean + half, 2),
        "each": " ".join(f"{gain:+.1f}" for gain in gains),
    }


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether every difference is above 0, or one below."""
    if all(row["low"] > 0 for row in rows):
        return "shown"
    return "contradicted" if any(row["high"] < 0 for row in rows) else "not shown"


def report(series: Series, worlds: Sequence[World]) -> None:
    """Rows with their spread over worlds, and what is shown."""
    scores = {name: [world.scores(name) for world in worlds if world.learns(name)] for name in series.lessons}
    themselves = [world.labels() for world in worlds]

    def of(name: str, sky: str = "clear", score: str = "mean_iou") -> list[float]:
        return [run[sky][score] for run in scores[name]]

    rows: list[dict[str, Any]] = []
    for name in series.lessons:
        lesson = LESSONS[name]
        source = "fused" if lesson.target == "label" else lesson.target
        rows.append(
            {
                "learned from": name,
                "worlds": len(scores[name]),
                "chips": round(statistics.fmean(run["chips"] for run in scores[name]), 1),
                "mean IoU": _spread(of(name)),
                "accuracy": _spread(of(name, score="accuracy")),
                "mean IoU of the labels": _spread([one[source]["mean_iou"] for one in themselves]),
                "accuracy of the labels": _spread([one[source]["accuracy"] for one in themselves]),
                "labelled": _spread([one[source]["says"] for one in themselves]),
            }
        )
    few = f", {FEW} chips"
    single = f"fused, {OPTICAL} alone"
    first = series.first_look
    sure = 1.0 - (1.0 - SURE) / (2 if first else 1)
    weighted = "by confidence over all alike"
    compared = {f"fused over {name}": ("fused", name) for name in series.sources}
    compared[weighted] = ("fused", "fused, all alike")
    found = {
        name: difference(name, of(one)[: len(of(other))], of(other), sure) for name, (one, other) in compared.items()
    }
    claims = {
        "fused labels teach more than each source": [found[f"fused over {name}"] for name in series.sources],
        "weighting by confidence helps": [found[weighted]],
    }
    parts = {f"the first {first}": slice(first), f"the further {len(worlds) - first}": slice(first, None)}
    apart = [
        difference(f"{name}, {which}", of(one)[part], of(other)[part])
        for which, part in (parts if first else {}).items()
        for name, (one, other) in compared.items()
        if other not in PARTIAL
    ]
    asked = list(claims)
    if series.radar:
        hidden = difference("s2 and s1 over s2, hidden pixels", of("fused", "clouds"), of(single, "clouds"))
        asked.append("radar helps where clouds are")
        claims[asked[-1]] = [hidden]
        nothing_hidden = difference("s2 and s1 over s2, nothing hidden", of("fused"), of(single))
        claims["radar helps where the sky is clear"] = [nothing_hidden]
    if series.few_worlds:
        rare = difference(f"fused over {NEWEST}{few}", of(f"fused{few}"), of(NEWEST + few))
        claims[f"the same with {FEW} chips"] = [rare]
    rows += [row for differences in claims.values() for row in differences] + apart
    rows += [{"finding": name, "verdict": verdict(differences)} for name, differences in claims.items()]
    wrong = [world.wrong() for world in worlds]
    counted = {"in pixels": [one for one, _ in wrong], "in confidence": [other for _, other in wrong]}
    rows += [
        {"fused labels to learn from": f"wrong, {how}", "share": _spread(shares)} for how, shares in counted.items()
    ]
    least = min(claims[asked[0]], key=lambda row: float(row["mean"]))
    record(
        series.record,
        figure=float(least["mean"]),
        unit=f"points of mean IoU on the truth, the least gain of fused labels ({least['difference in points']})",
        target=0.0,
        holds=all(verdict(claims[name]) == "shown" for name in asked),
        floor=None,
        rows=rows,
        packages=["torch", "lightning", "numpy"],
        further={
            "worlds": len(worlds),
            "seeds": " ".join(str(world.seed) for world in worlds),
            "interval": sure,
            "steps": GateTraining().steps,
            "held_out_chips": " ".join(str(len(world.split[1])) for world in worlds),
            "cloud_share": CLOUD_SHARE,
            "errors_by_look": series.by_look,
        },
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "largest": round(max(values), 4),
    }


def main() -> None:
    """Make, train, ask; record when everything is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", choices=list(SERIES), default="by-look", help="how maps err")
    parser.add_argument("--seed", type=int, action="append", help="these worlds only; may be given again")
    parser.add_argument("--only", action="append", choices=list(LESSONS), help="these trainings only")
    parser.add_argument("--make", action="store_true", help="worlds and datasets only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    series = SERIES[given.errors]
    worlds = [World(seed, series) for seed in given.seed or series.seeds]
    for world in worlds:
        _ = world.root
        for name in () if given.make else given.only or series.lessons:
            if world.learns(name):
                world.scores(name)
    if not (given.seed or given.only or given.make):
        report(series, worlds)


if __name__ == "__main__":
    main()
