"""`run_gates`: does a dataset teach? Every gate has a threshold, a control that must fail, and a figure.

    learnable     held-out ground is predicted above the majority and single pixels    gate_learnable.py
    registration  moving the pictures over their labels costs                          gate_learnable.py
    modalities    every modality earns its place                                       gate_modalities.py
    texts         captions find their pictures, pictures their captions                gate_texts.py
    leak          held-out chips are new ground                                        gate_leak.py
    noise         labels agree with models that did not learn from them                gate_noise.py
    statistics    the manifest's means and deviations are so, and did not drift        gate_statistics.py
    plausible     numbers are such as ground, sun and sensors give                     gate_plausible.py

A validation is a file of its own, ``validations/<version>/<time>.json``: versions stay as they are.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import torch

from reference.data import Chips, Target
from reference.evaluate import Classes, known
from reference.findings import Finding, finite, not_here
from reference.gate_leak import leak
from reference.gate_learnable import learnable, registration
from reference.gate_modalities import modalities
from reference.gate_noise import noise
from reference.gate_plausible import plausible
from reference.gate_statistics import statistics
from reference.gate_texts import texts
from reference.study import Study
from schemas.errors import DatasetError, IntegrityError
from schemas.recipe_gates import Gates
from shards.layout import VALIDATIONS
from shards.reader import Dataset
from shards.storage import Storage, StorageConflictError

log = logging.getLogger(__name__)

STUDIES: dict[str, Callable[[Study], Finding]] = {
    "learnable": learnable,
    "registration": registration,
    "modalities": modalities,
    "texts": texts,
    "leak": leak,
    "noise": noise,
}
"""Gates that train or ask a model, in the order in which they run."""
GATES = ("statistics", "plausible", *STUDIES)
SHORT = ("statistics", "plausible", "learnable")
"""Gates of a short validation: those that say at once whether something is badly wrong."""
SHORT_STEPS = 2.0 / 3.0
"""Share of the training steps that a short validation takes."""

TIME = "%Y%m%dT%H%M%SZ"
"""Of a validation, in its file's name."""


@dataclass(frozen=True)
class Validation:
    """What all gates found."""

    dataset: str
    """Name."""
    dataset_version: str
    """Version that was validated."""
    time_utc: str
    """When it began, as in the file's name; a second later where another one began then."""
    short: bool
    """Whether only the short gates ran."""
    whole: bool
    """Whether all gates ran to their end, on a label that speaks for the dataset: what decides about a version that
    waits.
    """
    target: str
    """Label that was learned; empty where none was."""
    split: str
    """Who was held out, in words, with numbers."""
    findings: tuple[Finding, ...]
    """One per gate."""
    training: Mapping[str, Any]
    """How the models were trained."""
    seconds: float
    """Wall time."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """Where, and with which versions."""
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    """Of all gates, as in a recipe."""

    @property
    def passed(self) -> bool:
        """Whether every gate lets the dataset through, and at least one applied."""
        return all(f.holds for f in self.findings) and any(f.passed is not None for f in self.findings)

    @property
    def path(self) -> str:
        """Where it is kept, relative to the dataset's root."""
        return f"{VALIDATIONS}/{self.dataset_version}/{self.time_utc}.json"

    def as_dict(self) -> dict[str, Any]:
        """For the file."""
        return {
            "format": 1,
            "dataset": self.dataset,
            "version": self.dataset_version,
            "time_utc": self.time_utc,
            "passed": self.passed,
            "short": self.short,
            "whole": self.whole,
            "target": self.target,
            "split": self.split,
            "gates": [finding.as_dict() for finding in self.findings],
            "thresholds": dict(self.thresholds),
            "training": dict(self.training),
            "seconds": round(self.seconds, 1),
            "machine": dict(self.machine),
        }


def gates_of(dataset: Dataset) -> Gates:
    """Thresholds of the recipe that the dataset was made of; keys that this release does not know are passed over."""
    sections: dict[str, Any] = {}
    for name, given in (dataset.document.recipe.get("gates") or {}).items():
        if name not in Gates.model_fields:
            log.warning("gates.%s of %s is not known here", name, dataset.version)
            continue
        known = type(getattr(Gates(), name)).model_fields
        sections[name] = {key: value for key, value in given.items() if key in known}
        for key in sorted(set(given) - set(known)):
            log.warning("gates.%s.%s of %s is not known here", name, key, dataset.version)
    return Gates.model_validate(sections)


def run_gates(
    dataset: Dataset,
    *,
    gates: Gates | None = None,
    truth: Callable[[list[str]], Mapping[str, Classes]] | None = None,
    target: Target | None = None,
    short: bool = False,
    only: tuple[str, ...] = (),
    on_gate: Callable[[str], None] = lambda name: None,
) -> Validation:
    """Train, ask and judge. What keeps a gate from judging is what that gate says; the others are not lost.

    Args:
        dataset: what `terraweft.open_dataset` gives.
        gates: thresholds; the recipe's where None.
        truth: chips -> true classes, where they are known.
        target: label that is learned; the fused one, the product that the gates name, or the only one, where None. Of a
            dataset without labels there are only its statistics and numbers to judge: the other gates do not apply.
        short: only `SHORT`, with fewer steps.
        only: only these gates.
        on_gate: told the name of each gate before it runs.

    Raises:
        DatasetError: an unknown gate; several labels, of which none is chosen; a label that is not there, or a truth
            that no gate would be held against; with either, also a dataset that nothing can be learned from.
    """
    unknown = sorted(set(only) - set(GATES))
    if unknown:
        raise DatasetError(f"no gate {unknown[0]!r}", mend=f"known: {', '.join(GATES)}")
    began, moment = time.monotonic(), datetime.now(UTC)
    rules = gates or gates_of(dataset)
    wanted = [name for name in GATES if name in (only or (SHORT if short else GATES))]
    asks_labels = bool(dataset.document.legends) and any(name in STUDIES for name in wanted)
    study: Study | None = None
    hindrance: DatasetError | IntegrityError | None = None
    if asks_labels or target is not None or truth is not None:
        aim = target or default_target(dataset, rules)
        try:
            study = Study(
                Chips(dataset, aim), rules, steps_share=SHORT_STEPS if short else 1.0, texts="texts" in wanted
            )
            study.truth = _truth(study, truth, wanted) if truth is not None else {}
        except (DatasetError, IntegrityError) as error:
            if target is not None or truth is not None:
                raise
            hindrance = error
    findings, broken = [], 0
    for name in wanted:
        on_gate(name)
        at = time.monotonic()
        try:
            if hindrance is not None and name in STUDIES:
                raise hindrance
            found = _found(name, dataset, study, rules)
        except (DatasetError, IntegrityError) as error:
            why = error.line() if isinstance(error, DatasetError) else str(error)
            found = Finding(name, False, f"cannot be judged: {why}")
            broken += 1
        log.info("%s: %s in %.0f s: %s", name, "passed" if found.holds else "FAILED", time.monotonic() - at, found.said)
        findings.append(found)
    learned = study.whole.target if study is not None else None
    return Validation(
        dataset=dataset.name,
        dataset_version=dataset.version,
        time_utc=f"{moment:{TIME}}",
        short=short,
        whole=not broken and is_whole(dataset, learned or Target(), short, only),
        target=learned.source if learned is not None else "",
        split=_split(study),
        findings=tuple(findings),
        training=_training(rules, study),
        seconds=time.monotonic() - began,
        machine=_machine(),
        thresholds=rules.model_dump(mode="json"),
    )


def _found(name: str, dataset: Dataset, study: Study | None, rules: Gates) -> Finding:
    """What one gate finds."""
    if name == "statistics":
        return statistics(dataset, rules.statistics)
    if name == "plausible":
        return plausible(dataset, rules.plausible)
    return not_here(name, "the dataset has no labels") if study is None else STUDIES[name](study)


def _split(study: Study | None) -> str:
    if study is None:
        return "nothing was learned"
    return f"{len(study.split.train)} learned from, {len(study.split.held_out)} held out; {study.split.how}"


def is_whole(dataset: Dataset, target: Target, short: bool, only: Sequence[str]) -> bool:
    """Whether what was asked decides about the dataset: all gates, on a label that speaks for it."""
    return not short and set(only) in (set(), set(GATES)) and target.source in own_labels(dataset)


def default_target(dataset: Dataset, gates: Gates) -> Target:
    """The fused label; where there is none, the product that the thresholds name, or the only one.

    Raises:
        DatasetError: none, or several products.
    """
    names = own_labels(dataset)
    if gates.training.label in names:
        return Target(gates.training.label)
    if len(names) > 1:
        mend = f"--label {' | '.join(names)}, or gates.training.label in the recipe"
        raise DatasetError("which label is to be learned?", where=dataset.name, mend=mend)
    return Target(names[0])


def own_labels(dataset: Dataset) -> tuple[str, ...]:
    """Labels that speak for the dataset: the fused one; where there is none, the products, each as good as another."""
    names = tuple(dataset.document.legends)
    return ("label",) if "label" in names or not names else names


def _truth(
    study: Study, truth: Callable[[list[str]], Mapping[str, Classes]], wanted: Sequence[str]
) -> dict[str, Classes]:
    """True classes of the held-out chips that are covered.

    Raises:
        DatasetError: no gate asks for them, nothing is held out, or no label of a held-out chip is covered.
    """
    where = study.whole.dataset.name
    if "learnable" not in wanted:
        raise DatasetError("no gate asks for the truth", where=where, mend="learnable does; or leave --truth out")
    if study.cut is not None:
        raise DatasetError("the truth is of whole chips, and none is held out", where=where, mend="leave --truth out")
    found = dict(truth(list(study.split.held_out)))
    if not found:
        many = len(study.split.held_out)
        raise DatasetError(f"none of the {many} held-out chips is covered by a map of the truth", where=where)
    if not any((known(true) & known(study.chips[i].label[0].numpy())).any() for i, true in found.items()):
        raise DatasetError("no held-out chip has a label where a map of the truth says something", where=where)
    return found


def write_validation(storage: Storage, validation: Validation) -> str:
    """Keep a validation beside the dataset's versions; its path. Numbers that are not finite become null. Another one
    that began in the same second stays: this one takes the next second that is free.
    """
    while True:
        text = json.dumps(finite(validation.as_dict()), indent=1, ensure_ascii=False, allow_nan=False)
        try:
            storage.put_if(validation.path, text.encode() + b"\n", None)
            return validation.path
        except StorageConflictError:
            later = datetime.strptime(validation.time_utc, TIME) + timedelta(seconds=1)
            validation = replace(validation, time_utc=f"{later:{TIME}}")


def _training(rules: Gates, study: Study | None) -> dict[str, Any]:
    chosen, done = rules.training, study.trained if study is not None else []
    return {
        "size": chosen.size,
        "steps": study.training.steps if study is not None else 0,
        "batch_size": chosen.batch_size,
        "crop_m": chosen.crop_m,
        "seed": chosen.seed,
        "models": len(done),
        "parameters": done[0].model.parameter_count() if done else 0,
        "seconds": round(sum(one.seconds for one in done), 1),
        "chips_per_s": round(sum(one.samples_per_s for one in done) / len(done), 1) if done else 0.0,
    }


def _machine() -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": version("torch"),
        "lightning": version("lightning"),
    }
