"""What may pass by itself: a source that is throttled, broken off or away. Who was scheduled comes again later, and
gives its place in the pool to others until then; who runs by hand waits.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort
from prefect.runtime import deployment, flow_run
from prefect.states import AwaitingRetry

from flows.artifacts import quietly
from schemas.errors import SourceError
from sources.breaker import CatalogRestingError
from sources.retry import is_transient

log = logging.getLogger(__name__)

PATIENCE_S = (30.0, 120.0, 600.0)
"""Pauses before a night's run asks again a catalog that did not answer; by hand somebody sees the error at once."""


def may_pass(error: BaseException) -> bool:
    """Whether an error is of a source that may answer later."""
    source = error if isinstance(error, SourceError) else error.__cause__  # told to a person, from its cause
    return isinstance(source, CatalogRestingError) or (isinstance(source, SourceError) and is_transient(source))


def is_scheduled() -> bool:
    """Whether a deployment's worker started this run, and would start it again."""
    return deployment.id is not None


def come_again(error: Exception, said: str) -> None:
    """End this run and have it started again later, where its error may pass and pauses are left; else return.

    A pause in the process would hold a place of the work pool: a few rows whose catalog is away would keep all others
    waiting. What is finished is used by the next start.

    Args:
        error: what the run ended of.
        said: the same in a line without secrets.

    Raises:
        Abort: this attempt is over; Prefect counts it neither as failed nor as crashed.
    """
    number = int(flow_run.run_count or 0)  # 1 for the first start
    if not (may_pass(error) and is_scheduled() and 1 <= number <= len(PATIENCE_S)):
        return
    pause = timedelta(seconds=PATIENCE_S[number - 1])
    if quietly(_schedule, datetime.now(UTC) + pause, f"start {number + 1} of {len(PATIENCE_S) + 1}: {said}"):
        log.warning("again in %.0f s: %s", pause.total_seconds(), said)
        raise Abort("its place is free until it is started again")


def _schedule(moment: datetime, message: str) -> bool:
    """Whether the API took it that this run is to be started again: not where somebody has cancelled it."""
    with get_client(sync_client=True) as client:
        state: State[Any] = AwaitingRetry(scheduled_time=moment, message=message)
        return client.set_flow_run_state(flow_run.id, state).status == SetStateStatus.ACCEPT
