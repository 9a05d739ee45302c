"""How old the datasets of a site are, beside what its table promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flows.deployments import api, flow_runs, read_deployment
from flows.regions import Regions
from flows.site import store_options
from schemas.errors import UserError
from shards.document import read_document
from shards.pointer import read_pointer
from shards.storage import open_storage


@dataclass(frozen=True)
class Freshness:
    """One region."""

    region: str
    """Name of the row."""
    state: str
    """``fresh``, ``stale``, ``never`` (no version yet) or ``no promise``."""
    version: str
    """Current version; empty where there is none."""
    made_utc: datetime | None
    """When it was made."""
    checked_utc: datetime | None
    """When a refresh last ended well: it published this version, or found nothing new."""
    age_days: float | None
    """Days since ``checked_utc``."""
    promise_days: float | None
    """What the table promises."""
    last_state: str
    """State of the newest run; empty where there was none or Prefect was not asked."""
    next_utc: datetime | None
    """When the next run is due."""


def freshness(
    regions: Regions, wanted: tuple[str, ...], environment: Mapping[str, str], now: datetime
) -> list[Freshness]:
    """Every wanted region, from its dataset and from its runs.

    Raises:
        UserError: the API does not answer.
    """
    return [_of(regions, name, environment, now) for name in regions.names(wanted)]


def _of(regions: Regions, name: str, environment: Mapping[str, str], now: datetime) -> Freshness:
    row = regions.row(name)
    storage = open_storage(regions.root(name, environment), store_options(environment))
    pointer = read_pointer(storage)
    made = _utc(read_document(storage, pointer.current).created) if pointer else None
    ended, last_state, due = _runs(regions, name, now)
    checked = max((moment for moment in (made, ended) if moment is not None), default=None)
    age = (now - checked).total_seconds() / 86400 if checked else None
    return Freshness(
        region=name,
        state=judge(age if made else None, row.fresh_within_days),
        version=pointer.current if pointer else "",
        made_utc=made,
        checked_utc=checked,
        age_days=age,
        promise_days=row.fresh_within_days,
        last_state=last_state,
        next_utc=due,
    )


def judge(age_days: float | None, promise_days: float | None) -> str:
    """The state of a region.

    >>> judge(3.0, 8.0), judge(9.0, 8.0), judge(None, 8.0), judge(3.0, None)
    ('fresh', 'stale', 'never', 'no promise')
    """
    if age_days is None:
        return "never"
    if promise_days is None:
        return "no promise"
    return "stale" if age_days > promise_days else "fresh"


def _runs(regions: Regions, name: str, now: datetime) -> tuple[datetime | None, str, datetime | None]:
    """When a run last ended well, the newest run's state, and when the next is due."""
    try:
        with api() as client:
            found = list(flow_runs(client, read_deployment(client, regions, name).id))
    except UserError as error:
        if error.where == "PREFECT_API_URL":
            raise
        return None, "", None
    ended = [run.end_time for run in found if run.state and run.state.is_completed() and run.end_time]
    past = [run for run in found if run.state and not run.state.is_scheduled()]
    due = [run.expected_start_time for run in found if run.state and run.state.is_scheduled()]
    upcoming = [moment for moment in due if moment is not None and moment >= now]
    state = past[0].state.name if past and past[0].state else ""
    return max(ended, default=None), str(state or ""), min(upcoming, default=None)


def _utc(moment: datetime | str) -> datetime:
    found = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
