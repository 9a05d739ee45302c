"""Whether somebody heard of a run that did not end well: a label that the run has at Prefect."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.runtime import flow_run

from flows.artifacts import quietly

TOLD = "terraweft.told"
"""Name of the label."""
BAD = (StateType.FAILED, StateType.CRASHED)


def is_unheard(run: FlowRun) -> bool:
    """Whether a run did not end well and nobody was told: its process, its worker, Prefect's server or the address that
    is told was away.
    """
    return run.state is not None and run.state.type in BAD and not run.labels.get(TOLD)


def mark_told(sent: int, run: UUID | str | None = None) -> None:
    """Remember that people were told of a run; where Prefect does not take it, they are told twice.

    Args:
        sent: messages that were accepted; of none nothing is remembered.
        run: which; the one that goes on where None.
    """
    found = run or flow_run.id
    if sent and found:
        quietly(_label, UUID(str(found)))


def _label(run: UUID) -> None:
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(run, {TOLD: True})
