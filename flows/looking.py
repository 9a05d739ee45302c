"""What a run would have to do: its plan, its parent, and what changed since. No Prefect, no cluster, no pixel.

A refresh with nothing new ends here, in seconds.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.before import Before, load_before
from flows.catalogs import opener_of
from flows.compare import Outlook, compare
from flows.estimates import Estimates
from flows.frozen_items import ITEMS
from flows.job import Job
from flows.plan_store import CHIPS, StoredPlan
from flows.planning import make_plan, origin_of
from flows.published_items import items_of_current
from flows.request import BuildRequest, BuildResult, make_job, run_folder
from flows.run_marks import end_run, last_reading
from schemas.errors import IntegrityError, UserError
from shards.document import current_document
from shards.lock import dataset_lock
from shards.pointer import read_pointer
from shards.storage import Storage
from shards.stored_tables import read_places, table_of
from sources.withdrawn import UsedItem, used_items

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What was found."""

    plan: StoredPlan
    """The plan."""
    job: Job
    """What the workers will be told."""
    before: Before | None
    """The parent; None for a first build."""
    outlook: Outlook
    """What is to be done."""
    current: str
    """Version that the pointer names; empty where there is none."""
    known: Mapping[str, Any] = field(default_factory=dict)
    """What is known of where the frozen parameters were estimated: version, chips and more, as ``dataset.json`` says of
    the version that they are taken from; empty where none are."""


def owner_of(request: BuildRequest) -> str:
    """Who holds the dataset, for the message that another one gets."""
    return f"build {request.recipe.name} on {socket.gethostname()} pid {os.getpid()}"


def find_plan(request: BuildRequest) -> StoredPlan:
    """Hops 1 and 2: the plan that was asked for, the one that a stopped run left, or a new one.

    A plan is made anew where there is none or a version was published of it, where the recipe's catalogs are at other
    addresses now (the frozen items would name files that are not there any more) or a file that it names is another,
    and where somebody asks for it.
    """
    if request.plan is not None:
        return StoredPlan(request.plan, request.recipe, request.variables, request.part)
    folder = run_folder(request) / "plan"
    stored = plan_to_go_on_with(request)
    if stored is not None:
        log.info("going on with the plan in %s", folder)
        return stored
    opener = opener_of(request.recipe, request.limits or request.work / "limits")
    before = _items_before(folder / ITEMS) + items_of_current(request.storage)
    return make_plan(request.recipe, request.recipe_folder, request.variables, folder, opener, before)


def plan_to_go_on_with(request: BuildRequest) -> StoredPlan | None:
    """The plan that a stopped run left, where the next one goes on with it."""
    try:
        stored = StoredPlan(run_folder(request) / "plan", request.recipe, request.variables)
    except UserError as error:
        log.debug("no plan to go on with: %s", error)
        return None
    is_same = stored.origin == origin_of(request.recipe, request.recipe_folder, request.variables)
    return stored if is_same and not request.replan and not stored.is_used_up else None


def _items_before(path: Path) -> list[UsedItem]:
    """Items of the plan that is replaced; they are told of, and nothing hangs on them where the file is damaged."""
    try:
        return used_items(path)
    except (pa.ArrowException, OSError) as error:
        log.warning("what was withdrawn since the last plan is not known: %s", error)
        return []


def look(request: BuildRequest) -> Look:
    """Plan and compare. Hold the dataset's lock.

    Raises:
        UserError: a component is to be done again that there is not, or of no parent.
    """
    plan = find_plan(request)
    pointer = read_pointer(request.storage)
    current = pointer.current if pointer is not None else ""
    job = make_job(request, plan.layers)
    job = replace(job, reading=last_reading(job, current, request.afresh or bool(request.redo)))
    before = None if request.afresh else load_before(request.storage)
    if before is None:
        if request.refit or request.redo:
            what = "--refit" if request.refit else "--redo"
            raise UserError("there is no version to refresh", where=what, mend="build the dataset first")
        modality_of = {layer.group: layer.modality for layer in plan.layers}
        given = Estimates.from_dict(request.estimates) if request.estimates is not None else Estimates()
        frozen = given.holding(job.parts, modality_of)
        known = request.estimates["where"] if request.estimates is not None else {}
        return Look(plan, job, None, Outlook(frozen=frozen, moved=moved_from(plan, request.storage)), current, known)
    outlook = compare(plan, job.parts, before, refit=request.refit, redo=request.redo)
    log.info("%s", outlook.line())
    return Look(plan, job, before, outlook, current, before.document.estimates)


def moved_from(plan: StoredPlan, storage: Storage) -> Counter[str]:
    """What a build afresh moves, as `Outlook.moved`; nothing where there is no version, or none that can be read, which
    may be what it is built afresh for.
    """
    try:
        document = current_document(storage)
        held = read_places(table_of(storage, document, "chips")) if document is not None else {}
    except (UserError, IntegrityError) as error:
        log.warning("whether chips are in other splits than before is not known: %s", error)
        return Counter()
    planned = pq.read_table(plan.folder / CHIPS, columns=["chip_id", "split"]) if held else pa.table({})
    pairs = [(held.get(row["chip_id"]), row["split"]) for row in planned.to_pylist()]
    return Counter(f"{chip.split} to {split}" for chip, split in pairs if chip is not None and chip.split != split)


def nothing_new(request: BuildRequest) -> BuildResult | None:
    """What a build ends in where nothing changed since the current version; None where there is something to do.

    Reads the catalogs and two tables; writes nothing but a plan in ``work/``.
    """
    if not _looks_first(request):
        return None
    began = time.monotonic()
    request.work.mkdir(parents=True, exist_ok=True)
    with dataset_lock(request.storage, owner_of(request)):
        return unchanged(request, look(request), began)


def after_looking(request: BuildRequest) -> BuildRequest:
    """The request of the build that follows `nothing_new`: catalogs that were asked again are not asked once more."""
    return replace(request, replan=False) if request.replan and _looks_first(request) else request


def _looks_first(request: BuildRequest) -> bool:
    """Whether `nothing_new` plans."""
    return not request.afresh and request.plan is None and read_pointer(request.storage) is not None


def unchanged(request: BuildRequest, found: Look, began: float) -> BuildResult | None:
    """What a build ends in that has nothing to do; None where it has."""
    if found.before is None or not found.outlook.is_nothing_new:
        return None
    found.plan.use_up()
    end_run(found.job)
    return BuildResult(
        storage=request.storage,
        version=found.before.version,
        published=False,
        counts=found.before.document.counts,
        notes=(*found.plan.notes, *found.plan.left_out(), "nothing had changed: the current version stays"),
        seconds=time.monotonic() - began,
        tiles_done=0,
        tiles_reused=0,
        changes=found.outlook.line(),
    )
