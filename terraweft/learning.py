"""`terraweft train | validate`: the reference model learns from a dataset, and says whether it teaches."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.site import store_options, work_folder
from schemas.errors import DatasetError, MissingExtraError, UserError
from schemas.recipe_gates import Gates
from shards.lock import dataset_lock
from shards.pointer import read_pointer
from shards.reader import Dataset, open_dataset
from shards.version import promote
from terraweft.console import human_seconds, print_pairs
from terraweft.extras import needs

if TYPE_CHECKING:
    from reference.findings import Finding
    from reference.gates import Validation


@dataclass(frozen=True)
class TrainRequest:
    """What `terraweft train` was asked."""

    dataset: str
    """A dataset."""
    to: Path
    """Folder of checkpoints, metrics and the model."""
    version: str | None = None
    """A version instead of the current one."""
    modalities: tuple[str, ...] = ()
    """Only these; all where empty."""
    label: str | None = None
    """Label that is learned."""
    resume: bool = False
    """Go on from the last checkpoint."""


def run_train(request: TrainRequest, settings: Mapping[str, Any], out: Console) -> None:
    """`terraweft train`."""
    with needs("train"):
        from reference.data import Chips, Target, ground_size_m
        from reference.evaluate import confusions, mean_iou
        from reference.gates import default_target, gates_of
        from reference.resuming import MODEL
        from reference.study import split_of
        from reference.train import Training, fit, save_model
    options = Training(**settings)
    options.check()
    with closing(open_dataset(request.dataset, request.version, store_options(os.environ))) as dataset:
        target = Target(request.label) if request.label else default_target(dataset, gates_of(dataset))
        chips = Chips(dataset, target, request.modalities or None)
        train, val = chips.ids("train"), chips.ids("val")
        if not train:
            raise UserError("there is no chip to learn from", where=request.dataset, mend="its train split is empty")
        request.to.mkdir(parents=True, exist_ok=True)
        trained = fit(
            chips,
            train,
            ground_size_m(chips),
            options,
            val_ids=val,
            folder=request.to,
            resume=request.resume,
            progress=out.is_terminal,
        )
        if trained.rank > 0:  # every process of a DDP training comes here; the first one tells and writes
            return
        path = request.to / MODEL
        save_model(path, trained, options, chips.classes, dataset.version)
        rows = {
            "model": f"{options.size}, {trained.model.parameter_count():,} parameters",
            "steps": f"{trained.steps} in {human_seconds(trained.seconds)}, {trained.samples_per_s:.1f} chips/s",
        }
        held = split_of(chips).held_out if val or chips.ids("test") else ()
        if held:
            rows["held out"] = f"mean IoU {mean_iou(confusions(trained.model, chips, held).sum(0)):.3f}"
            rows["held out"] += f" on {len(held)} chips"
        rows |= {"weights": str(path), "metrics": str(request.to / "metrics" / "metrics.csv")}
        print_pairs(out, f"trained on {dataset.name} {dataset.version}", rows)


@dataclass(frozen=True)
class ValidateRequest:
    """What `terraweft validate` was asked."""

    dataset: str
    """A dataset."""
    version: str | None = None
    """A version instead of the current one; one that waits for its validation has to be named."""
    short: bool = False
    """Only the gates that say at once whether something is badly wrong."""
    gates: tuple[str, ...] = ()
    """Only these."""
    truth: tuple[Path, ...] = ()
    """Reference maps, of which the first that has data at a place counts."""
    label: str | None = None
    """Label that is learned."""
    thresholds: Gates | None = None
    """Those of the recipe that the version was made of where None."""


def run_validate(request: ValidateRequest, out: Console) -> bool:
    """`terraweft validate`: True where the gates let the version through; all of them on its own label move the pointer
    to one that waits. What they found is told, too, where it cannot be kept.

    Raises:
        OSError, DatasetError: the dataset, or its folder for work, cannot be written to.
    """
    with needs("train"):
        from reference.data import Target
        from reference.gates import run_gates, write_validation
        from reference.truth import check_maps, read_truth
    check_maps(request.truth)
    with closing(open_dataset(request.dataset, request.version, store_options(os.environ))) as dataset:
        truth = request.truth
        with out.status("validating") as status:
            found = run_gates(
                dataset,
                gates=request.thresholds,
                truth=(lambda chip_ids: read_truth(truth, dataset, chip_ids)) if truth else None,
                target=Target(request.label) if request.label else None,
                short=request.short,
                only=request.gates,
                on_gate=lambda name: status.update(f"validating: {name}"),
            )
        try:
            path = write_validation(dataset.storage, found)
        except (OSError, DatasetError):
            report_validation(found, "not kept", out)
            raise
        report_validation(found, f"{dataset.storage.uri}/{path}", out)
        if found.passed and found.whole:
            promote_waiting(dataset, out)
        _write_page(dataset, out)
    return found.passed


def report_validation(found: Validation, where: str, out: Console) -> None:
    """A line for each gate, and the verdict."""
    for finding in found.findings:
        word, style = _verdict(finding)
        out.print(f"{word:<15}{finding.gate}: {finding.said}", style=style, markup=False, soft_wrap=True)
        if finding.control:
            ended = "refused, as it must be" if finding.control_failed else "NOT refused: this gate proves nothing"
            out.print(f"{'':<15}control ({finding.control}): {ended}", style="dim", markup=False, soft_wrap=True)
    verdict = "teaches" if found.passed else "does not pass"
    short = " (short form)" if found.short else ""
    rows = {"split": found.split}
    if models := found.training["models"]:
        rows["models"] = f"{models} of size {found.training['size']}, {found.training['steps']} steps each"
    rows["validation"] = where
    title = f"{found.dataset} {found.dataset_version} {verdict}{short}, {human_seconds(found.seconds)}"
    print_pairs(out, title, rows)


def _verdict(finding: Finding) -> tuple[str, str]:
    if finding.passed is None:
        return "not applicable", "dim"
    return ("passed", "green") if finding.holds else ("FAILED", "red")


def _write_page(dataset: Dataset, out: Console) -> None:
    """The report with its new section, beside the version, which stays as it is."""
    from terraweft.commands import write_report_page

    path = work_folder(dataset.storage, os.environ) / "reports" / f"{dataset.version}.html"
    try:
        write_report_page(dataset, path)
    except MissingExtraError as error:
        out.print(f"note: no report was drawn: {error.line()}", style="yellow", markup=False, soft_wrap=True)
        return
    print_pairs(out, "", {"report": str(path)})


def promote_waiting(dataset: Dataset, out: Console) -> None:
    """Make a version that waited for its validation the current one; any other stays what it is. One that another
    version overtook is not what readers have to get next: that is left to a person, and told.
    """
    rule = dataset.document.recipe.get("publish") or {}
    pointer = read_pointer(dataset.storage)
    before = pointer.current if pointer is not None else ""
    if not rule.get("after_validation") or before == dataset.version:
        return
    if before != dataset.document.parent_version:
        mend = shlex.join(["terraweft", "rollback", dataset.storage.uri, dataset.version])
        follows = dataset.document.parent_version or "nothing"
        out.print(f"note: it follows {follows}, and {before} is current: {mend}", markup=False, soft_wrap=True)
        return
    with dataset_lock(dataset.storage, f"validate on {socket.gethostname()} pid {os.getpid()}"):
        promote(dataset.storage, dataset.version)
    out.print(f"{before or 'nothing'} -> {dataset.version}: readers open it now", markup=False, soft_wrap=True)
