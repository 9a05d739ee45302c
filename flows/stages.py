"""The stages of a run, as plain functions: `flows.build` runs them on a cluster under Prefect, `build_plainly` here.

Each spreads its units over whoever computes (`Spread`), and leaves fragments on disk that a later run finds.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from captioners.ledger import LedgerPlace
from flows.before import Before
from flows.bucketing import Layout, lay_out
from flows.captioning import caption_tiles
from flows.compare import Outlook
from flows.contents import Finished
from flows.fragments import finished, sweep
from flows.job import Job
from flows.looking import Look, look, owner_of
from flows.passes import first_pass
from flows.plan_store import USED, StoredPlan
from flows.progress import current
from flows.publishing import Published, publish_run
from flows.realign import Findings, changes_chips, find_out, realign_tile, realigned_folder
from flows.reduce import Estimated, estimate_run, frozen_findings
from flows.request import BuildRequest, BuildResult
from flows.room import tell_of_room
from flows.run_marks import end_run
from flows.second_pass import chip_places, has_second_pass, second_pass, write_bucket
from shards.lock import Held, dataset_lock
from shards.tar import WrittenShard
from shards.writable import require_writable

Folders = Mapping[str, Path]
"""Tile id -> its fragments of a pass."""
SHRUNK = 0.1
"""Share of the parent's chips that a version may lack before people are told."""


class Spread(Protocol):
    """Whoever computes."""

    def __call__(
        self,
        stage: str,
        work: Callable[..., Any],
        arguments: Callable[[Any], tuple[Any, ...]],
        units: Sequence[Any],
        name: Callable[[Any], Any],
        done: int = 0,
    ) -> dict[Any, Any]:
        """Results of all units by name; an error ends the rest.

        Args:
            stage: for the progress.
            work: what is done with a unit.
            arguments: unit -> its arguments.
            units: in the order in which neighbours share what was read.
            name: unit -> key of its result.
            done: units that an earlier run finished.
        """
        ...


def in_process(
    stage: str,
    work: Callable[..., Any],
    arguments: Callable[[Any], tuple[Any, ...]],
    units: Sequence[Any],
    name: Callable[[Any], Any],
    done: int = 0,
) -> dict[Any, Any]:
    """See `Spread`: one unit after the other, here."""
    progress = current()
    progress.start(stage, len(units) + done, done)
    results = {}
    for unit in units:
        results[name(unit)] = work(*arguments(unit))
        progress.advance(stage)
    progress.finish(stage)
    return results


def first(spread: Spread, job: Job, plan: StoredPlan, outlook: Outlook) -> tuple[dict[str, Path], int]:
    """Hops 3 to 5 of every touched tile: tile id -> fragments, and how many of them an earlier run had finished."""
    folder = job.folder / "first"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    there = {path.name for path in finished(folder)}
    done: dict[str, Path] = {}
    todo: list[int] = []
    for number in outlook.numbers(plan.numbers):
        final = job.first_folder(plan.tile(number), outlook.of_tile(number)) if there else None
        if final is not None and final.name in there:
            done[plan.tile_id(number)] = final
        else:
            todo.append(number)

    def arguments(number: int) -> tuple[Any, ...]:
        return job, plan.tile(number), outlook.of_tile(number)

    return done | spread("read", first_pass, arguments, todo, plan.tile_id, len(done)), len(done)


def realign(
    spread: Spread, job: Job, plan: StoredPlan, outlook: Outlook, begun: Folders, findings: Findings
) -> dict[str, Path]:
    """Tile id -> fragments with every date moved and every chip rejected that the whole dataset says."""
    if not changes_chips(job):
        return dict(begun)
    folder = job.folder / "realigned"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)

    def arguments(number: int) -> tuple[Any, ...]:
        tile = plan.tile(number).only(outlook.of_tile(number))
        fragments, here = begun[tile.tile_id], findings.of_tile(tile)
        return job, tile, fragments, realigned_folder(job, tile, fragments, here), here

    return spread("realign", realign_tile, arguments, outlook.numbers(plan.numbers), plan.tile_id)


def second(spread: Spread, job: Job, begun: Folders, estimated: Estimated) -> dict[str, Path]:
    """Fuse, facts and template captions of every tile, from the fragments; these themselves where nothing is left."""
    models = estimated.stored.models(job.recipe)
    if not has_second_pass(job, models):
        return dict(begun)
    folder = job.folder / "second"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    there = {path.name for path in finished(folder)}
    finals = {tile_id: job.second_folder(fragments, models) for tile_id, fragments in begun.items()}
    done = {tile_id: path for tile_id, path in finals.items() if path.name in there}
    todo = [tile_id for tile_id in begun if tile_id not in done]

    def arguments(tile_id: str) -> tuple[Any, ...]:
        return job, begun[tile_id], finals[tile_id], estimated.fusion, models

    return done | spread("label", second_pass, arguments, todo, str, len(done))


def write(spread: Spread, job: Job, layout: Layout) -> list[WrittenShard]:
    """Hop 7, the tars: one unit per bucket that changed; with those that stay."""

    def arguments(bucket: tuple[str, int]) -> tuple[Any, ...]:
        return job, *bucket, layout.write[bucket]

    written = spread("write", write_bucket, arguments, sorted(layout.write), lambda bucket: bucket)
    shards = [*layout.keep, *written.values()]
    return sorted(shards, key=lambda shard: (shard.record.split, shard.record.bucket))


class Stages(Protocol):
    """What runs the stages one by one: plainly, or as Prefect's tasks."""

    def look(self, request: BuildRequest) -> Look:
        """Hops 1 and 2, and what changed since the parent version."""
        ...

    def first(self, found: Look) -> tuple[dict[str, Path], int]:
        """See `first`."""
        ...

    def realign(self, found: Look, begun: Folders, findings: Findings) -> dict[str, Path]:
        """See `realign`."""
        ...

    def reduce(self, found: Look, begun: Folders, findings: Findings) -> Estimated:
        """What needs the whole dataset, as far as it is not the parent's."""
        ...

    def second(self, found: Look, begun: Folders, estimated: Estimated) -> dict[str, Path]:
        """See `second`."""
        ...

    def caption(self, found: Look, ended: Folders, ledger: LedgerPlace | None) -> dict[str, Any]:
        """Texts of a paid model; what they cost."""
        ...

    def write(self, found: Look, layout: Layout) -> list[WrittenShard]:
        """See `write`."""
        ...

    def publish(
        self, found: Look, done: Finished, shards: Sequence[WrittenShard], run: Mapping[str, Any], held: Held
    ) -> Published:
        """Tables, Zarr, metadata and report, verified; then the pointer."""
        ...


class PlainStages:
    """The stages as they are.

    Args:
        spread: who computes.
    """

    def __init__(self, spread: Spread = in_process) -> None:
        self.spread = spread

    def look(self, request: BuildRequest) -> Look:
        """See `Stages.look`."""
        return look(request)

    def first(self, found: Look) -> tuple[dict[str, Path], int]:
        """See `Stages.first`."""
        return first(self.spread, found.job, found.plan, found.outlook)

    def realign(self, found: Look, begun: Folders, findings: Findings) -> dict[str, Path]:
        """See `Stages.realign`."""
        return realign(self.spread, found.job, found.plan, found.outlook, begun, findings)

    def reduce(self, found: Look, begun: Folders, findings: Findings) -> Estimated:
        """See `Stages.reduce`."""
        return estimate_run(found.job, begun, findings, found.outlook.frozen)

    def second(self, found: Look, begun: Folders, estimated: Estimated) -> dict[str, Path]:
        """See `Stages.second`."""
        return second(self.spread, found.job, begun, estimated)

    def caption(self, found: Look, ended: Folders, ledger: LedgerPlace | None) -> dict[str, Any]:
        """See `Stages.caption`."""
        return caption_tiles(found.job, ended, ledger)

    def write(self, found: Look, layout: Layout) -> list[WrittenShard]:
        """See `Stages.write`."""
        return write(self.spread, found.job, layout)

    def publish(
        self, found: Look, done: Finished, shards: Sequence[WrittenShard], run: Mapping[str, Any], held: Held
    ) -> Published:
        """See `Stages.publish`."""

        def tasks(work: Callable[[Any], Any], units: Sequence[Any]) -> list[Any]:
            numbers = range(len(units))
            return list(self.spread("zarr", work, lambda number: (units[number],), numbers, int).values())

        return publish_run(found, done, shards, run, held, tasks)


def fewer_chips(kept: int, before: Before | None, outlook: Outlook) -> str:
    """What a version lacks of its parent's chips, in words; empty where that is no more than `SHRUNK` of those that
    are still planned. A catalog that lost items for a night answers as well as ever.

    Args:
        kept: its chips.
        before: the parent; None before the first version.
        outlook: what was done.
    """
    if before is None:
        return ""
    there = len(before.places) - sum(chip_id in before.places for chip_id in outlook.removed)
    return f"{there - kept} chips fewer than {before.version} has" if there - kept > SHRUNK * there else ""


def run_stages(request: BuildRequest, found: Look, stages: Stages, held: Held, began: float) -> BuildResult:
    """A version of what was looked at: everything between the plan and the pointer. Hold the dataset's lock.

    Raises:
        UserError: a mistake of the user's; nothing is lost.
    """
    plan, job, outlook = found.plan, found.job, found.outlook
    require_writable(request.storage)
    tell_of_room(request, found)
    begun, reused = stages.first(found)
    number_of = {plan.tile_id(number): number for number in plan.numbers}
    findings = find_out(job, begun, lambda tile: plan.tile(number_of[tile]), frozen_findings(outlook.frozen))
    begun = stages.realign(found, begun, findings)
    estimated = stages.reduce(found, begun, findings)
    ended = stages.second(found, begun, estimated)
    paid = stages.caption(found, ended, request.ledger)
    layout = lay_out(job, chip_places(begun, ended), outlook, found.before)
    held.check()
    shards = stages.write(found, layout)
    progress = current()
    progress.start("publish", 1)
    done = Finished(begun, ended, estimated, layout.counts)
    published = stages.publish(found, done, shards, _run_section(request, began, reused, paid, found), held)
    progress.finish("publish")
    plan.use_up()
    end_run(job)
    fewer = fewer_chips(int(published.counts["kept"]), found.before, outlook)
    return BuildResult(
        storage=request.storage,
        version=published.version,
        published=published.published,
        counts=published.counts,
        notes=(*filter(None, (fewer,)), *outlook.notes(), *plan.notes, *plan.left_out(), *published.notes),
        seconds=time.monotonic() - began,
        tiles_done=len(begun) - reused,
        tiles_reused=reused,
        paid={name: value for name, value in paid.items() if name != "chips"},
        waits=published.waits,
        changes=outlook.line() if found.before is not None else "",
        fewer=fewer,
    )


def build_plainly(request: BuildRequest, stages: Stages | None = None) -> BuildResult:
    """A build in this process, without Prefect and Dask: for tests, and as the plain loop of a benchmark.

    Raises:
        UserError: a mistake of the user's; nothing is lost.
    """
    began = time.monotonic()
    request.work.mkdir(parents=True, exist_ok=True)
    stages = stages or PlainStages()
    with dataset_lock(request.storage, owner_of(request)) as held:
        sweep_scratch(request.work)
        return run_stages(request, stages.look(request), stages, held, began)


def sweep_scratch(work: Path) -> None:
    """Remove unfinished shards and versions that a killed run left."""
    for name in ("shards", "versions"):
        shutil.rmtree(work / name, ignore_errors=True)


def forget_ended_runs(work: Path) -> None:
    """Remove the fragments of runs that ended: their versions hold what they were for. Hold the dataset's lock.

    A run that was stopped stays whole, since the next one goes on with it; of the others what was planned and fetched.
    """
    for used in work.glob(f"runs/*/plan/{USED}"):
        for name in ("first", "realigned", "second"):
            shutil.rmtree(used.parents[1] / name, ignore_errors=True)


def _run_section(
    request: BuildRequest, began: float, reused: int, paid: Mapping[str, Any], found: Look
) -> dict[str, Any]:
    """What differs from run to run, for ``dataset.json``."""
    return {
        "seconds": round(time.monotonic() - began, 1),
        "workers": request.workers,
        "tiles_reused": reused,
        "items_left_out": list(found.plan.left_out()),
        "texts": dict(paid),
    }
