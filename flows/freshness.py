"""How old the datasets of a site are, beside what its table promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from flows.deployments import PAGE, api, flow_runs, read_deployment
from flows.regions import Regions
from flows.site import store_options
from flows.told import is_unheard
from schemas.dataset import DatasetDocument
from schemas.errors import UserError
from shards.document import current_document
from shards.storage import open_storage
from shards.waiting import last_refusal, limits_of, waiting

SKEW = timedelta(days=1)
"""A moment that lies further ahead is one of a clock that was wrong, and says nothing."""


@dataclass(frozen=True)
class Freshness:
    """One region."""

    region: str
    """Name of the row."""
    state: str
    """``fresh``, ``stale``, ``never`` (no version yet), ``unreadable``, ``no promise``; ``paused`` where it would be
    stale or never, and its schedule rests."""
    dataset: str
    """Where it lies."""
    version: str
    """Current version; empty where there is none."""
    made_utc: datetime | None
    """When it was made."""
    checked_utc: datetime | None
    """When a refresh last ended well: it published this version, or found nothing new. Of a back-fill its last day.
    Since a version waits for its validation, none brought readers anything."""
    age_days: float | None
    """Days since ``checked_utc``."""
    promise_days: float | None
    """What the table promises."""
    last_state: str
    """State of the newest run that has begun or should have (``Late``: no worker took it up); empty where there was
    none or Prefect was not asked."""
    next_utc: datetime | None
    """When the next run is due."""
    problem: str = ""
    """Why it is unreadable, in a line."""
    last_day: date | None = None
    """Last day of which its recipe asks for acquisitions; None where there is no version."""
    unheard: UUID | None = None
    """The newest run, where it did not end well and nobody was told."""
    waits: str = ""
    """The newest version that waits for its validation; empty where none does."""
    waits_since_utc: datetime | None = None
    """When the first version was made of those that wait: since then readers open the one before."""
    refused: str = ""
    """The file that says why the gates did not let ``waits`` in; empty where nobody judged it."""
    refused_by: str = ""
    """These gates, and the limits that they went by then."""


def freshness(
    regions: Regions, wanted: tuple[str, ...], environment: Mapping[str, str], now: datetime
) -> list[Freshness]:
    """Every wanted region, from its dataset and from its runs.

    Raises:
        UserError: the API does not answer.
    """
    names = regions.names(wanted)
    with api() as client:
        runs = {name: _runs(client, regions, name, now) for name in names}
    return [_of(regions, name, runs[name], environment, now) for name in names]


Runs = tuple[datetime | None, str, datetime | None, bool, UUID | None]
"""When a run last ended well that asked for all there is, the state of the newest that has begun or should have, when
the next is due, whether the schedule rests, and that newest run where nobody was told that it did not end well.
"""


def _of(regions: Regions, name: str, runs: Runs, environment: Mapping[str, str], now: datetime) -> Freshness:
    row = regions.row(name)
    ended, last_state, due, is_paused, unheard = runs
    dataset, version, made, problem = regions.table.root_of(name), "", None, ""
    last_day, waits, since, refused, refused_by = None, "", None, "", ""
    try:
        storage = open_storage(regions.root(name, environment), store_options(environment))
        dataset = storage.uri
        document = current_document(storage)
        if document is not None:
            version = document.version
            recipe = regions.recipe(name)[0]
            made = made_utc(document, recipe.time.end)
            own = [one.time.end for one in recipe.modalities.values() if one.time is not None]
            last_day = max([recipe.time.end, *own])
        if pending := waiting(storage, version):
            waits, since = pending[-1].version, _utc(pending[0].created)
            refused = last_refusal(storage, waits) or ""
            refused_by = limits_of(storage, refused) if refused else ""
            ended = min(ended, since) if ended is not None else None
    except UserError as error:
        problem = error.line()
    known = [moment for moment in (made, ended) if moment is not None and moment < now + SKEW]
    age = max(0.0, (now - max(known)).total_seconds() / 86400) if known else None
    state = "unreadable" if problem else judge(age, row.fresh_within_days, is_made=made is not None)
    return Freshness(
        region=name,
        state="paused" if is_paused and state in ("stale", "never") else state,
        dataset=dataset,
        version=version,
        made_utc=made,
        checked_utc=max(known, default=None),
        age_days=age,
        promise_days=row.fresh_within_days,
        last_state=last_state,
        next_utc=due,
        problem=problem,
        last_day=last_day,
        unheard=unheard,
        waits=waits,
        waits_since_utc=since,
        refused=refused,
        refused_by=refused_by,
    )


def made_utc(document: DatasetDocument, last: date) -> datetime:
    """As of when a version was made: that day's end where it asked for less than the recipe does now.

    Args:
        document: of the version.
        last: the recipe's last day.
    """
    created = _utc(document.created)
    end = date.fromisoformat(str((document.recipe.get("time") or {}).get("end") or last))
    return created if end >= last else min(created, datetime.combine(end + timedelta(days=1), datetime.min.time(), UTC))


def judge(age_days: float | None, promise_days: float | None, is_made: bool = True) -> str:
    """The state of a region.

    Args:
        age_days: since it was checked; None where only a clock that was wrong could say.
        promise_days: how old it may be.
        is_made: whether there is a version.

    >>> judge(3.0, 8.0), judge(9.0, 8.0), judge(3.0, 8.0, is_made=False), judge(3.0, None)
    ('fresh', 'stale', 'never', 'no promise')
    """
    if not is_made:
        return "never"
    if promise_days is None:
        return "no promise"
    return "stale" if age_days is None or age_days > promise_days else "fresh"


def _runs(client: SyncPrefectClient, regions: Regions, name: str, now: datetime) -> Runs:
    """What a region's runs say, from the newest `PAGE` of them, and as many more as it takes to find one that ended
    well: a site keeps the runs of years.
    """
    try:
        deployment = read_deployment(client, regions, name)
    except UserError:
        return None, "", None, regions.row(name).paused, None
    found: list[FlowRun] = []
    ended: list[datetime] = []
    for run in flow_runs(client, deployment.id):
        found.append(run)
        if run.state and run.state.is_completed() and not run.parameters.get("as_of") and run.end_time:
            ended.append(run.end_time)
        if ended and len(found) >= PAGE:
            break
    due = {run.id: moment for run in found if (moment := _due(run)) is not None and moment >= now}
    begun = [run for run in found if run.state and run.id not in due]  # or should have: nobody took it up
    state = begun[0].state.name if begun and begun[0].state else ""
    unheard = begun[0].id if begun and is_unheard(begun[0]) else None
    return max(ended, default=None), str(state or ""), min(due.values(), default=None), deployment.paused, unheard


def _due(run: FlowRun) -> datetime | None:
    """When a run that has not begun is to begin."""
    return run.expected_start_time if run.state and run.state.is_scheduled() else None


def _utc(moment: datetime | str) -> datetime:
    found = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
