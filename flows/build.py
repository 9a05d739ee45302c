"""The build flow: plan -> first pass -> reduce -> second pass -> write -> publish.

Prefect sees stages, Dask sees tiles and shards (docs/adr/0002): a Prefect task here holds one stage, submits its
units to Dask, and watches them. Fragments on disk carry everything between stages, so a run that was killed starts
again where it stopped.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from chips.plan import LayerPlan
from flows.captioning import caption_tiles
from flows.catalogs import opener_of
from flows.cluster import dask_client, quieten
from flows.fragments import finished, sweep
from flows.frozen_items import ITEMS
from flows.passes import Job, first_pass
from flows.plan_store import WHOLE, Part, StoredPlan
from flows.planning import addresses_of, make_plan
from flows.progress import current
from flows.published_items import items_of_current
from flows.publishing import Published, publish_run
from flows.realign import Findings, changes_chips, find_out, realign_tile, realigned_folder
from flows.reduce import Estimated, estimate_run
from flows.runs import spread
from flows.second_pass import chip_places, second_pass, write_bucket
from schemas.errors import UserError
from schemas.recipe import Recipe
from shards.buckets import bucket_count, bucket_of
from shards.lock import dataset_lock
from shards.storage import Storage
from shards.tar import WrittenShard
from sources.withdrawn import used_items

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildRequest:
    """What the lobby asks for."""

    recipe: Recipe
    """The recipe."""
    recipe_folder: Path
    """Where its relative paths begin."""
    storage: Storage
    """Root of the dataset."""
    work: Path
    """Local folder, seen by all workers, for what is not finished."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Values of ``${TERRAWEFT_...}``."""
    limits: Path | None = None
    """Folder in which places of hosts are counted, for several builds together; below ``work`` where absent."""
    workers: int = 2
    """Worker processes of a local cluster."""
    dask_address: str | None = None
    """Scheduler of a cluster that is there already."""
    ledger: Path | None = None
    """Paid-answer ledger."""
    plan: Path | None = None
    """A plan that was made before and is to be built as it is."""
    part: Part = WHOLE
    """Its share of tiles."""
    replan: bool = False
    """Ask the catalogs again, whatever plan an earlier run left."""


@dataclass(frozen=True)
class BuildResult:
    """What a build ended in."""

    storage: Storage
    """Root of the dataset."""
    version: str
    """Current version, or the one that waits for its validation."""
    published: bool
    """False where nothing had changed."""
    counts: Mapping[str, Any]
    """planned, kept, rejected by reason, failed by class."""
    notes: tuple[str, ...]
    """What a person should know."""
    seconds: float
    """Wall time."""
    tiles_done: int
    """Tiles of the first pass done by this run."""
    tiles_reused: int
    """Tiles of the first pass that an earlier run had finished."""
    waits: bool = False
    """Whether the version becomes the current one only when it passes the gates."""


def run_folder(request: BuildRequest) -> Path:
    """Where the run's fragments lie: named by the recipe, so that a second run finds the first one's."""
    return request.work / "runs" / request.recipe.hash()[:16]


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_stage(request: BuildRequest) -> StoredPlan:
    """Hops 1 and 2: the plan that was asked for, the one that a stopped run left, or a new one.

    A plan is made anew where there is none or a version was published of it, where the recipe's catalogs are at other
    addresses now (the frozen items would name files that are not there any more), and where somebody asks for it.
    """
    if request.plan is not None:
        return StoredPlan(request.plan, request.recipe, request.variables, request.part)
    folder = run_folder(request) / "plan"
    try:
        stored = StoredPlan(folder, request.recipe, request.variables)
        is_here = stored.addresses == addresses_of(request.recipe, request.variables)
        if is_here and not request.replan and not stored.is_used_up:
            log.info("going on with the plan in %s", folder)
            return stored
    except UserError as error:
        log.debug("no plan to go on with: %s", error)
    opener = opener_of(request.recipe, request.limits or request.work / "limits")
    before = used_items(folder / ITEMS) + items_of_current(request.storage)
    return make_plan(request.recipe, request.recipe_folder, request.variables, folder, opener, before)


@task(name="first pass", cache_policy=NO_CACHE, persist_result=False)
def first_stage(client: Client, job: Job, plan: StoredPlan) -> tuple[dict[str, Path], int]:
    """Hops 3 to 5 of every tile: tile id -> fragments, and how many of them an earlier run had finished."""
    folder = job.folder / "first"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    there = {path.name for path in finished(folder)}
    done: dict[str, Path] = {}
    todo: list[int] = []
    for number in plan.numbers:
        final = job.first_folder(plan.tile(number)) if there else None
        if final is not None and final.name in there:
            done[plan.tile_id(number)] = final
        else:
            todo.append(number)

    def submit(number: int, **where: Any) -> Any:
        return client.submit(first_pass, job, plan.tile(number), pure=False, **where)

    return done | spread(client, "read", submit, todo, plan.tile_id, len(done)), len(done)


@task(name="realign", cache_policy=NO_CACHE, persist_result=False)
def realign_stage(
    client: Client, job: Job, plan: StoredPlan, first: Mapping[str, Path], findings: Findings
) -> dict[str, Path]:
    """Tile id -> fragments with every date moved and every chip rejected that the whole dataset says."""
    if not changes_chips(job):
        return dict(first)
    folder = job.folder / "realigned"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)

    def submit(number: int, **where: Any) -> Any:
        tile = plan.tile(number)
        begun, here = first[tile.tile_id], findings.of_tile(tile)
        return client.submit(
            realign_tile, job, tile, begun, realigned_folder(job, tile, begun, here), here, pure=False, **where
        )

    return spread(client, "realign", submit, plan.numbers, plan.tile_id, 0)


@task(name="reduce", cache_policy=NO_CACHE, persist_result=False)
def reduce_stage(job: Job, first: Mapping[str, Path], findings: Findings) -> Estimated:
    """What needs the whole dataset: fusion parameters and band statistics."""
    return estimate_run(job, first, findings)


@task(name="second pass", cache_policy=NO_CACHE, persist_result=False)
def second_stage(client: Client, job: Job, first: Mapping[str, Path], estimated: Estimated) -> dict[str, Path]:
    """Fuse, facts and template captions of every tile, from the fragments."""
    folder = job.folder / "second"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    there = {path.name for path in finished(folder)}
    finals = {tile_id: job.second_folder(begun, estimated.key) for tile_id, begun in first.items()}
    done = {tile_id: path for tile_id, path in finals.items() if path.name in there}
    todo = [tile_id for tile_id in first if tile_id not in done]

    def submit(tile_id: str, **where: Any) -> Any:
        return client.submit(second_pass, job, first[tile_id], finals[tile_id], estimated.fusion, pure=False, **where)

    return done | spread(client, "label", submit, todo, str, len(done))


@task(name="caption", cache_policy=NO_CACHE, persist_result=False)
def caption_stage(job: Job, second: Mapping[str, Path], ledger: Path | None) -> dict[str, Any]:
    """Texts of a paid model; what they cost."""
    return caption_tiles(job, second, ledger)


@task(name="write", cache_policy=NO_CACHE, persist_result=False)
def write_stage(client: Client, job: Job, first: Mapping[str, Path], second: Mapping[str, Path]) -> list[WrittenShard]:
    """Hop 7, the tars: one unit per bucket."""
    places = chip_places(first, second)
    buckets = _buckets(job, places)

    def submit(bucket: tuple[str, int], **where: Any) -> Any:
        return client.submit(write_bucket, job, bucket[0], bucket[1], buckets[bucket], pure=False, **where)

    written = spread(client, "write", submit, sorted(buckets), lambda bucket: bucket, 0)
    return [written[bucket] for bucket in sorted(written)]


@task(name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish_stage(
    job: Job,
    plan: StoredPlan,
    first: Mapping[str, Path],
    second: Mapping[str, Path],
    estimated: Estimated,
    shards: Sequence[WrittenShard],
    run: Mapping[str, Any],
) -> Published:
    """Tables, Zarr, metadata and report, verified; then the pointer."""
    return publish_run(job, plan, first, second, estimated, shards, run)


@flow(name="build", validate_parameters=False, persist_result=False)
def build(request: BuildRequest) -> BuildResult:
    """A dataset from a recipe: built, or resumed, and published.

    Raises:
        UserError: a mistake of the user's; nothing is lost.
    """
    began = time.monotonic()
    quieten()
    request.work.mkdir(parents=True, exist_ok=True)
    owner = f"build {request.recipe.name} on {socket.gethostname()} pid {os.getpid()}"
    with dataset_lock(request.storage, owner):
        progress = current()
        progress.start("plan", 1)
        plan = plan_stage(request)
        progress.finish("plan")
        job = make_job(request, plan.layers)
        scratch = request.work / "dask"
        with dask_client(request.dask_address, request.workers, scratch) as client:
            first, reused = first_stage(client, job, plan)
            findings = find_out(job, first)
            first = realign_stage(client, job, plan, first, findings)
            estimated = reduce_stage(job, first, findings)
            second = second_stage(client, job, first, estimated)
            paid = caption_stage(job, second, request.ledger)
            shards = write_stage(client, job, first, second)
        progress.start("publish", 1)
        published = publish_stage(
            job, plan, first, second, estimated, shards, _run_section(request, began, reused, paid, plan.left_out())
        )
        progress.finish("publish")
        plan.use_up()
        shutil.rmtree(scratch, ignore_errors=True)
    return BuildResult(
        storage=request.storage,
        version=published.version,
        published=published.published,
        counts=published.counts,
        notes=plan.notes + plan.left_out() + published.notes,
        seconds=time.monotonic() - began,
        tiles_done=len(first) - reused,
        tiles_reused=reused,
        waits=published.waits,
    )


def _run_section(
    request: BuildRequest, began: float, reused: int, paid: Mapping[str, Any], left_out: Sequence[str]
) -> dict[str, Any]:
    """What differs from run to run, for ``dataset.json``."""
    return {
        "seconds": round(time.monotonic() - began, 1),
        "workers": request.workers,
        "tiles_reused": reused,
        "items_left_out": list(left_out),
        "texts": dict(paid),
    }


def make_job(request: BuildRequest, layers: Sequence[LayerPlan]) -> Job:
    """What the workers are told; secrets are not among it."""
    return Job(
        recipe=request.recipe,
        layers=tuple(layers),
        opener=opener_of(request.recipe, request.limits or request.work / "limits"),
        storage=request.storage,
        work=request.work,
        folder=run_folder(request),
        cache=request.work / "cache",
        variables=dict(request.variables),
    )


def _buckets(
    job: Job, places: Mapping[str, tuple[str, Path, Path]]
) -> dict[tuple[str, int], list[tuple[str, Path, Path]]]:
    """(split, bucket) -> chips with their fragments; the count comes from the bytes of the split."""
    buckets: dict[tuple[str, int], list[tuple[str, Path, Path]]] = {}
    for split in sorted({place[0] for place in places.values()}):
        members = {chip_id: place for chip_id, place in places.items() if place[0] == split}
        size = sum(_fragment_bytes(chip_id, place[1:]) for chip_id, place in members.items())
        count = bucket_count(size, job.recipe.write.shard_bytes)
        for chip_id, (_, one, two) in members.items():
            buckets.setdefault((split, bucket_of(chip_id, count)), []).append((chip_id, one, two))
    return buckets


def _fragment_bytes(chip_id: str, folders: Iterable[Path]) -> int:
    return sum((folder / f"{chip_id}.arrays").stat().st_size for folder in folders)
