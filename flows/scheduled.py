"""The flow that a deployment runs: one region of a site's table, refreshed.

It begins as the command line does, from a file and this machine's environment; its parameters are names, never secrets.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, tags
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL

from flows.artifacts import ArtifactProgress, show_outcomes, show_result
from flows.build import build
from flows.captioning import api_key as key_slot
from flows.held import holding
from flows.metrics import write_figures
from flows.notify import Event, notify
from flows.patience import PATIENCE_S, come_again, is_scheduled
from flows.prefect_api import was_lost
from flows.progress import Silent, watcher
from flows.regions import Regions, load_regions
from flows.request import BuildResult, request_of
from flows.site import api_key, store_options, variables
from flows.stages import forget_ended_runs
from flows.time_limit import ended_after
from flows.told import mark_told
from flows.validating import WAITS, let_in
from schemas.errors import DatasetError, RecipeError, TerraweftError, UserError
from schemas.region_table import Row
from shards.document import current_document
from shards.lock import dataset_lock
from shards.pointer import read_pointer
from shards.storage import Storage, open_storage

log = logging.getLogger(__name__)


def days_of(given: str | Sequence[str] | None) -> list[date]:
    """Days as which a run is made, the oldest first; none where it is made as of now.

    >>> days_of(["2026-10-12", "2026-10-05"])
    [datetime.date(2026, 10, 5), datetime.date(2026, 10, 12)]
    """
    return sorted(map(date.fromisoformat, [given] if isinstance(given, str) else given or ()))


def run_name() -> str:
    """Name of a run: its region, and the days as of which it is made."""
    given = flow_run.parameters
    start: datetime = flow_run.scheduled_start_time or datetime.now(UTC)
    today = start.astimezone(zone_of(given["table"], given["region"])).date()
    return f"{given['region']} {span_of(days_of(given.get('as_of')) or [today])}"


def zone_of(table: str, region: str) -> tzinfo:
    """Time zone in which the days of a region's runs are counted: its schedule's, else UTC. A table that cannot be read
    ends the run later, where it is told.
    """
    try:
        schedule = load_regions(Path(table)).row(region).schedule
    except UserError:
        return UTC
    return schedule.zone if schedule is not None else UTC


def span_of(days: Sequence[date]) -> str:
    """Days in words: one, or the first and the last.

    >>> span_of([date(2026, 10, 5), date(2026, 10, 12)])
    '2026-10-05 to 2026-10-12'
    """
    return " to ".join(day.isoformat() for day in dict.fromkeys((days[0], days[-1])))


def tell_of_crash(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Tell of a run whose process was killed: it could not itself. Prefect's worker calls it, by these names.

    Args:
        flow: `refresh_region`.
        flow_run: with its parameters.
        state: what became of it.
    """
    regions, region = load_regions(Path(flow_run.parameters["table"])), str(flow_run.parameters["region"])
    said = "the run crashed: its process was ended; the next one goes on with what is finished"
    tell_of_failure(regions, region, said, flow_run.id)


def tell_of_failure(regions: Regions, region: str, said: str, run: UUID | None = None) -> None:
    """Tell whom a row names, or the table where the row is gone, that a run failed: this one, where none is named."""
    is_there = region in regions.names()
    rule = regions.row(region).notify if is_there else regions.table.notify
    where = stand(regions, region) if is_there else ("", "")
    mark_told(notify(rule, Event("failed", region, *where, said), os.environ), run)


@flow(name="refresh", flow_run_name=run_name, persist_result=False, on_crashed=[tell_of_crash])
def refresh_region(table: str, region: str, as_of: str | list[str] | None = None) -> dict[str, Any]:
    """Refresh the dataset of one region; nothing new publishes nothing.

    Args:
        table: path of the region table, as the worker sees it.
        region: name of a row.
        as_of: ISO days; each is a refresh that asks for nothing acquired later, the oldest first. Given by back-fills.
            A day whose recipe finds nothing yet does not keep the others from being made; any other error does.

    Raises:
        UserError: a mistake in the table, the recipe or the environment.
    """
    regions = load_regions(Path(table))
    days: Sequence[date | None] = days_of(as_of) or [None]
    done: list[dict[str, Any]] = []
    problems: list[RecipeError] = []
    for day in days:
        try:
            done.append(refresh(regions, region, day))
        except RecipeError as error:
            problems.append(error)
    if problems:
        raise problems[0]
    return {**done[-1], "published": any(one["published"] for one in done)}


def refresh(regions: Regions, region: str, day: date | None = None, redo: tuple[str, ...] = ()) -> dict[str, Any]:
    """Refresh a region, tell who wants to know, and say what came of it. A version that waits for its validation is
    judged, and readers open it where its gates pass.

    Args:
        regions: the site's table.
        region: name of a row.
        day: nothing acquired later is asked for.
        redo: components that are done again whatever their inputs.

    Raises:
        UserError: a mistake in the table, the recipe or the environment; or it took longer than the table allows.
        Abort: a source does not answer; Prefect's worker starts the run again later (`flows.patience`).
    """
    try:
        row = _row(regions, region)
        with ended_after(row.hours_at_most, f"{regions.path.name}: region {region}: hours_at_most"):
            result, became = _refreshed(regions, region, day, redo)
    except Exception as error:
        said = said_of(error)
        come_again(error, said)
        tell_of_failure(regions, region, said)
        raise
    if result is None:
        log.info("%s: the current version holds what was there on %s", region, day)
        return {"region": region, "published": False, "skipped": True}
    if result.published:
        kept = f"{result.counts.get('kept', 0)} chips of {result.counts.get('planned', 0)} planned"
        lost = lost_of(result.counts)
        is_amiss = bool(lost or result.fewer) or became == WAITS
        kind = "failed" if is_amiss and "published" not in row.notify.when else "published"
        text = "; ".join(part for part in (kept, lost, result.fewer, became) if part)
        notify(row.notify, Event(kind, region, result.storage.uri, result.version, text), os.environ)
    return {"region": region, "version": result.version, "published": result.published, "skipped": False}


def lost_of(counts: Mapping[str, Any]) -> str:
    """What a version lacks because it could not be read, in words; empty where nothing failed.

    >>> lost_of({"planned": 9, "kept": 6, "failed": {"AssetMissingError": 2, "DecodeError": 1}})
    '3 failed (AssetMissingError 2, DecodeError 1), and are tried again by the next run'
    """
    failed: Mapping[str, int] = counts.get("failed") or {}
    classes = ", ".join(f"{name} {number}" for name, number in sorted(failed.items()))
    return f"{sum(failed.values())} failed ({classes}), and are tried again by the next run" if failed else ""


def _row(regions: Regions, region: str) -> Row:
    """The row of a run.

    Raises:
        UserError: it was taken out of the table, and its deployment still runs.
    """
    if region not in regions.names():
        mend = f"terraweft deploy {regions.path.name} --prune deletes its deployment"
        raise UserError(f"there is no region {region!r} (any more)", where=regions.path.name, mend=mend)
    return regions.row(region)


def said_of(error: Exception) -> str:
    """What a message tells of an error, in a line: in its own words where these are ours, which hold no secret.

    >>> said_of(OSError(28, "No space left on device", "/data/inn/chips.arrays")), said_of(KeyError("x"))
    ('OSError: No space left on device', 'KeyError')
    """
    kind = type(error).__name__
    if isinstance(error, UserError):
        return error.line()
    if isinstance(error, TerraweftError):
        return f"{kind}: {' '.join(str(error).split())}"
    if was_lost(error, PREFECT_API_URL.value() or ""):
        return f"the Prefect API was lost ({kind}); the next run goes on with what is finished"
    return f"{kind}: {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else kind


def stand(regions: Regions, region: str) -> tuple[str, str]:
    """Address and current version of a region's dataset, as far as they can be told; of a message."""
    try:
        storage = open_storage(regions.root(region, os.environ), store_options(os.environ))
    except UserError:
        return regions.table.root_of(region), ""
    return storage.uri, _version(storage)


def _refreshed(
    regions: Regions, region: str, day: date | None, redo: tuple[str, ...]
) -> tuple[BuildResult | None, str]:
    """What a refresh ends in, None where the current version holds its day already; and what became of a version that
    waits for its validation.
    """
    root = regions.root(region, os.environ)
    reached = held_until(open_storage(root, store_options(os.environ))) if day is not None else None
    if day is not None and reached is not None and reached >= day:
        return None, ""
    return _build(regions, region, root, day, redo)


def _build(
    regions: Regions, region: str, root: str, day: date | None, redo: tuple[str, ...]
) -> tuple[BuildResult, str]:
    """Build and judge, watched by Prefect's pages. Only what ended well is shown as a result and counted as one."""
    recipe, folder = regions.recipe(region, day)
    key = api_key(recipe, os.environ)
    request = request_of(
        recipe,
        folder,
        root,
        variables(recipe),
        workers=regions.row(region).workers,
        dask_address=regions.address(region, os.environ),
        redo=redo,
        patience_s=() if is_scheduled() else PATIENCE_S,
    )
    progress = ArtifactProgress(recipe.name, Silent())
    named = tags(*regions.table.tags_of(region))  # a lost machine takes this run with it, too: `flows.lost_runs`
    with holding(watcher, progress), holding(key_slot, key), named:
        result = build(request)
    show_outcomes(recipe.name, result.counts)
    became = let_in(result.storage, result.version, recipe.gates) if result.waits else ""
    if became != WAITS:  # else the next night makes the same again
        _tidy(result.storage, request.work)
    totals = write_figures(result, recipe.name, region, os.environ)
    paid = f"{totals.cost:.4f} {recipe.captions.prices.currency}" if recipe.captions and totals.cost else "0"
    notes = (*filter(None, (lost_of(result.counts), became)), *result.notes)
    show_result(recipe.name, result.storage.uri, result.version, result.published, notes, paid)
    return result, became


def _tidy(storage: Storage, work: Path) -> None:
    """Let go of what the run needed: nobody looks at the disk by night, and every refresh leaves what it read."""
    with suppress(DatasetError), dataset_lock(storage, f"tidy on {socket.gethostname()} pid {os.getpid()}"):
        forget_ended_runs(work)


def held_until(storage: Storage) -> date | None:
    """Last day whose acquisitions the current version could all hold; None where there is no version.

    The earlier of the day before it was made and its recipe's last day.
    """
    document = current_document(storage)
    if document is None:
        return None
    before = datetime.fromisoformat(str(document.created)).date() - timedelta(days=1)
    return min(before, date.fromisoformat(str((document.recipe.get("time") or {}).get("end") or before)))


def _version(storage: Storage) -> str:
    """The current version; empty where there is none."""
    try:
        pointer = read_pointer(storage)
    except DatasetError:
        return ""
    return "" if pointer is None else str(pointer.current)
