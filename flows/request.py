"""What a build is asked for, by the command line or a deployment; what it ends in; what its workers are told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioners.ledger import LedgerPlace
from chips.plan import LayerPlan
from flows.catalogs import opener_of
from flows.job import Job
from flows.label_files import label_files
from flows.plan_store import WHOLE, Part
from flows.site import (
    ledger_place,
    limits_folder,
    require_publishable,
    require_server,
    require_variables,
    store_options,
    work_folder,
)
from flows.vault import MachineVault
from schemas.recipe import Recipe
from shards.storage import FolderStorage, Storage, open_storage
from sources.credentials import require_credentials


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
    ledger: LedgerPlace | None = None
    """Paid-answer ledger."""
    plan: Path | None = None
    """A plan that was made before and is to be built as it is."""
    part: Part = WHOLE
    """Its share of tiles."""
    patience_s: tuple[float, ...] = ()
    """Pauses before the catalogs are asked again where they did not answer; without any, the run ends at once."""
    replan: bool = False
    """Ask the catalogs again, whatever plan an earlier run left."""
    refit: bool = False
    """Estimate anew what was estimated over the parent version."""
    redo: tuple[str, ...] = ()
    """Components that are done again whatever their inputs."""
    afresh: bool = False
    """Read everything, as if there were no parent."""
    estimates: Mapping[str, Any] | None = None
    """Parameters of another dataset's version that a first build takes over: its ``estimates.json``, and as ``where``
    what its ``dataset.json`` says of them."""


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
    paid: Mapping[str, Any] = field(default_factory=dict)
    """What a model's texts cost; empty where none was asked."""
    waits: bool = False
    """Whether the version becomes the current one only when it passes the gates."""
    changes: str = ""
    """What a refresh touched, in a line; empty for a first build."""
    fewer: str = ""
    """What it lacks of its parent's chips, in words; empty where that is little."""


def request_of(recipe: Recipe, folder: Path, root: str, known: dict[str, str], **options: Any) -> BuildRequest:
    """The request, checked as far as nothing needs to be opened.

    Args:
        recipe: the recipe.
        folder: where its relative paths begin.
        root: folder or address of the dataset.
        known: values of ``${TERRAWEFT_...}``.
        options: further fields of `BuildRequest`; ``workers`` may be None: one per core, four at most.

    Raises:
        UserError: a variable or a credential is missing or where it may not be, or the recipe could not be published.
        DatasetError: an address that holds no dataset, or below which no Zarr can lie.
    """
    storage = open_storage(root, store_options(os.environ))
    require_variables(recipe, known)
    require_server(recipe, known)
    require_publishable(recipe)
    if "zarr" in recipe.write.kinds and not isinstance(storage, FolderStorage):
        storage.icechunk()  # a name below which no Zarr can lie is told before anything is read
    require_credentials(recipe, MachineVault())
    options["workers"] = options.get("workers") or default_workers()
    return BuildRequest(
        recipe=recipe,
        recipe_folder=folder,
        storage=storage,
        work=work_folder(storage, os.environ),
        variables=known,
        ledger=ledger_place(recipe, os.environ),
        limits=limits_folder(os.environ),
        **options,
    )


def run_folder(request: BuildRequest) -> Path:
    """Where the run's fragments lie: named by the recipe, so that a second run finds the first one's."""
    return request.work / "runs" / request.recipe.hash()[:16]


def cache_folder(request: BuildRequest) -> Path:
    """Where files that are fetched whole are kept, over runs."""
    return request.work / "cache"


def make_job(request: BuildRequest, layers: Sequence[LayerPlan]) -> Job:
    """What the workers are told; secrets are not among it."""
    return Job(
        recipe=request.recipe,
        layers=tuple(layers),
        opener=opener_of(request.recipe, request.limits or request.work / "limits"),
        storage=request.storage,
        work=request.work,
        folder=run_folder(request),
        cache=cache_folder(request),
        variables=dict(request.variables),
        files=label_files(request.recipe, request.variables, request.work),
    )


def default_workers() -> int:
    """One per core of this machine, four at most."""
    return max(1, min(4, os.cpu_count() or 1))
