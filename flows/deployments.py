"""Deployments of a region table: one per row, by its schedule; paused, resumed, filled in for days that were missed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import yaml
from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.schedules import Cron
from prefect.states import Scheduled
from prefect.types.entrypoint import EntrypointType

from flows.lost_runs import watch_for_lost_runs
from flows.regions import Regions
from flows.schedule_days import due_days, odd_day, require_fires
from flows.scheduled import days_of, refresh_region, span_of
from schemas.errors import UserError
from schemas.region_table import Row
from sources.regions import read_regions

FLOW = "refresh"
ENTRYPOINT = "flows.scheduled.refresh_region"
"""Where a worker finds the flow."""
PATIENCE_S = 60.0
"""How long a server that was just started may take to answer."""
PAGE = 200
"""Flow runs per question: the API's own limit."""
UNFINISHED = FlowRunFilter(
    state=FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING])
    )
)
BUSY = FlowRunFilter(
    state=FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    )
)
"""Runs for whose sake another one of the same region waits, or is cancelled."""


@dataclass(frozen=True)
class Deployed:
    """A region whose deployment stands."""

    region: str
    """Name of the row."""
    deployment_id: UUID
    """Of Prefect."""
    schedule: str
    """Cron and time zone; empty where it runs by hand alone."""
    paused: bool
    """Whether its schedule rests."""
    note: str = ""
    """What a person should know of its schedule, in a line."""


@contextmanager
def api(patience_s: float = PATIENCE_S) -> Iterator[SyncPrefectClient]:
    """A client of the configured Prefect API, which may just have been started.

    Raises:
        UserError: it does not answer, or refuses what it is asked for.
    """
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + patience_s
        while (problem := client.api_healthcheck()) is not None and time.monotonic() < deadline:
            time.sleep(0.5)
        if problem is not None:
            raise UserError(
                f"the Prefect API does not answer: {type(problem).__name__}",
                where="PREFECT_API_URL",
                mend="start it (prefect server start), or set its address",
            )
        try:
            yield client
        except PrefectHTTPStatusError as error:
            raise UserError(
                f"the Prefect API refused it: {error.response.status_code} {error.response.text[:200]}",
                where="PREFECT_API_URL",
                mend="terraweft deploy TABLE again: what is deployed may be of another version",
            ) from error
        except HTTPError as error:
            raise UserError(
                f"the Prefect API was lost: {type(error).__name__}", where="PREFECT_API_URL", mend="ask again"
            ) from error


def name_of(regions: Regions, region: str) -> str:
    """Name of a region's deployment."""
    return regions.table.dataset_of(region)


def deploy(regions: Regions, wanted: tuple[str, ...] = ()) -> list[Deployed]:
    """Make or renew the deployments of the wanted rows, the work pool that they share, and the watch over lost runs.

    Raises:
        UserError: a row's recipe cannot be read, its schedule never fires, or the API does not answer.
    """
    names = _sound_rows(regions, wanted)
    rows = [regions.row(name) for name in names]
    with api() as client:
        _make_pool(client, regions.table.pool, regions.table.runs_at_once)
        watch_for_lost_runs(client, regions.table.name)
        return [_deploy_row(regions, row, _is_paused(client, regions, row)) for row in rows]


def _is_paused(client: SyncPrefectClient, regions: Regions, row: Row) -> bool:
    """Whether a row's schedule rests: as the row says, else as somebody left it."""
    if "paused" in row.model_fields_set:
        return row.paused
    try:
        return client.read_deployment_by_name(f"{FLOW}/{name_of(regions, row.name)}").paused
    except ObjectNotFound:
        return row.paused


def _sound_rows(regions: Regions, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the wanted regions, whose recipes and schedules hold: what is broken is told now, not at night.

    All or none: a site of which a part is of yesterday's table is hard to see through, and who deploys sits there.

    Raises:
        UserError: recipes of rows cannot be read, or their schedules never fire; all of them are named.
    """
    names = regions.names(wanted)
    broken: dict[str, list[str]] = {}
    for name in names:
        try:
            _require_sound(regions, name)
        except UserError as error:
            broken.setdefault(error.line().removeprefix(f"region {name}: "), []).append(name)
    if broken:
        said = "; ".join(f"region {', '.join(rows)}: {line}" for line, rows in broken.items())
        mend = "no region was deployed; mend what is broken, or name the others: terraweft deploy TABLE REGION ..."
        raise UserError(said, where=regions.path.name, mend=mend)
    return names


def _require_sound(regions: Regions, name: str) -> None:
    """See `_sound_rows`."""
    recipe, folder = regions.recipe(name)
    read_regions(recipe, folder)
    schedule = regions.row(name).schedule
    if schedule is not None:
        require_fires(schedule)


def _deploy_row(regions: Regions, row: Row, is_paused: bool) -> Deployed:
    schedules = [Cron(row.schedule.cron, timezone=row.schedule.timezone)] if row.schedule else []
    strategy = ConcurrencyLimitStrategy[row.collision.upper()]
    made: Any = refresh_region.to_deployment(
        name=name_of(regions, row.name),
        schedules=schedules,
        paused=is_paused,
        parameters={"table": str(regions.path), "region": row.name},
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=strategy),
        tags=regions.table.tags_of(row.name),
        description=f"Refresh of {row.name}: {row.recipe} into {regions.table.root_of(row.name)}",
        work_pool_name=regions.table.pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    found = made.apply()
    said = f"{row.schedule.cron} {row.schedule.timezone}" if row.schedule else ""
    return Deployed(row.name, UUID(str(found)), said, is_paused, odd_day(row, datetime.now(UTC).date()))


def _make_pool(client: SyncPrefectClient, name: str, at_once: int) -> None:
    """The pool, of the table's size; whoever deploys at the same time may have made it a moment ago."""
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process", concurrency_limit=at_once))
    except ObjectAlreadyExists:
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=at_once))


def strangers(regions: Regions) -> list[DeploymentResponse]:
    """Deployments of the site whose region is not in the table any more, and those of the names that the table's site
    had before: they would refresh the same datasets beside the new ones.
    """
    names = {name_of(regions, name) for name in regions.names()}
    with api() as client:
        found = _all_deployments(client)
    site, made = f"site:{regions.table.name}", (ENTRYPOINT, str(regions.path))
    ours = [one for one in found if site in one.tags or (one.entrypoint, one.parameters.get("table")) == made]
    return [one for one in ours if one.name not in names]


def remove(found: Sequence[DeploymentResponse]) -> None:
    """Delete deployments; their datasets stay."""
    with api() as client:
        for one in found:
            client.delete_deployment(one.id)


def _all_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(limit=PAGE, offset=len(found)):
        found += page
    return found


def read_deployment(client: SyncPrefectClient, regions: Regions, region: str) -> DeploymentResponse:
    """The deployment of a region.

    Raises:
        UserError: it was never deployed.
    """
    try:
        return client.read_deployment_by_name(f"{FLOW}/{name_of(regions, region)}")
    except ObjectNotFound:
        raise UserError(
            f"region {region!r} is not deployed", where=regions.path.name, mend=f"terraweft deploy {regions.path.name}"
        ) from None


def set_paused(regions: Regions, wanted: tuple[str, ...], paused: bool) -> dict[str, list[str]]:
    """Let schedules rest, or go on, of all or of none; region -> its runs that go on all the same: who runs, who waits
    for its turn or its next start, and what was started by hand.

    Raises:
        UserError: one of them was never deployed.
    """
    names = regions.names(wanted)
    going_on: dict[str, list[str]] = {}
    with api() as client:
        for name, one in [(name, read_deployment(client, regions, name)) for name in names]:
            (client.pause_deployment if paused else client.resume_deployment)(one.id)
            runs = flow_runs(client, one.id, UNFINISHED) if paused else ()
            going_on[name] = [f"{run.name} ({run.state_name})" for run in runs]
    return going_on


def done_days(client: SyncPrefectClient, deployment: UUID, row: Row) -> set[date]:
    """Days whose refresh ended well, by schedule or by back-fill."""
    zone = row.schedule.zone if row.schedule else UTC
    days: set[date] = set()
    for run in flow_runs(client, deployment):
        if run.state is None or not run.state.is_completed():
            continue
        given = days_of(run.parameters.get("as_of"))
        moment = run.expected_start_time
        if given:
            days.update(given)
        elif moment is not None:
            days.add(moment.astimezone(zone).date())
    return days


def flow_runs(client: SyncPrefectClient, deployment: UUID, wanted: FlowRunFilter | None = None) -> Iterator[FlowRun]:
    """The runs of a deployment, all where no filter is given, the newest first."""
    seen = 0
    while page := client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=wanted or FlowRunFilter(),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=PAGE,
        offset=seen,
    ):
        seen += len(page)
        yield from page


def backfill(regions: Regions, region: str, since: date, until: date) -> list[date]:
    """Schedule a run over the days that the region's schedule names and no run ended well on; the days.

    One run for all of them: Prefect starts runs that wait for each other in no order, or cancels all but one.

    Raises:
        UserError: the region has no schedule or is not deployed, or there is nothing to be had of one of the ends; or
            a run goes on, and the row's ``collision`` would cancel this one, of which nobody would hear.
    """
    row = regions.row(region)
    if row.schedule is None:
        raise UserError(f"region {region!r} has no schedule", where=regions.path.name, mend="give it one")
    if until > datetime.now(row.schedule.zone).date():
        raise UserError(f"{until} has not come yet", where="--until", mend="leave it out for all days up to yesterday")
    first = regions.recipe(region)[0].time.start
    if since < first:
        raise UserError(f"{since} lies before the recipe's first day, {first}", where="--since", mend="a later day")
    with api() as client:
        deployment = read_deployment(client, regions, region)
        busy = next(flow_runs(client, deployment.id, BUSY), None) if row.collision == "cancel_new" else None
        if busy is not None:
            what = f"{busy.name} is not through, and collision: cancel_new would cancel the back-fill"
            raise UserError(what, where=f"{regions.path.name}: region {region}", mend="ask again when it is")
        done = done_days(client, deployment.id, row)
        missed = [day for day in due_days(row, since, until) if day not in done]
        if missed:
            client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"as_of": [day.isoformat() for day in missed]},
                name=f"{region} {span_of(missed)} (back-fill)",
                tags=[*regions.table.tags_of(row.name), "back-fill"],
                state=Scheduled(),
            )
    return missed


def prefect_yaml(regions: Regions, table: str, wanted: tuple[str, ...] = ()) -> str:
    """The same deployments as a ``prefect.yaml``, for sites that deploy with Prefect's own command.

    Args:
        regions: the table.
        table: its path as the workers see it.
        wanted: names of regions; all where empty.

    Raises:
        UserError: a row's recipe cannot be read, or its schedule never fires.
    """
    entries: list[dict[str, Any]] = []
    for name in _sound_rows(regions, wanted):
        row = regions.row(name)
        entry: dict[str, Any] = {
            "name": name_of(regions, name),
            "entrypoint": ENTRYPOINT,
            "parameters": {"table": table, "region": name},
            "work_pool": {"name": regions.table.pool},
            "tags": regions.table.tags_of(row.name),
            "concurrency_limit": {"limit": 1, "collision_strategy": row.collision.upper()},
        }
        if row.schedule:
            schedule = {"cron": row.schedule.cron, "timezone": row.schedule.timezone, "active": not row.paused}
            entry["schedules"] = [schedule]
        entries.append(entry)
    return yaml.safe_dump({"pull": [], "deployments": entries}, sort_keys=False, allow_unicode=True)
