"""Runs whose machine died: nobody tells Prefect, which counts them as running and keeps their place in the pool.

A run says every few minutes that it lives, from its begin on. An automation of the site, which the Prefect server
watches, calls those crashed that fell silent, or that a worker took up and that never began.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import get_current_settings

BEAT = "prefect.flow-run.heartbeat"
TAKEN = "prefect.flow-run.Pending"
"""A worker took a run up, which has its place in the pool from then on; where the machine dies before it begins, there
is no sign of life to go by."""
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry")
"""After which no sign of life is due: the last is of a run that gave its place back, and is started again later."""
MISSED = 4
"""Signs of life in a row that a run may lack: an API that is restarted loses some."""
HELD_BACK_S = 1080
"""A run is left alone for at least so long: a server that was restarted looks at what became of the runs that it knew
before (they ended, or wait for their next start) only after 15 minutes, in which it waits for what came before that.
"""
BEAT_S = 180
"""Prefect's own pause between two of them, where its setting says none."""


def automation_of(site: str) -> AutomationCore:
    """What calls the lost runs of a site crashed.

    Args:
        site: name of the table; its runs are tagged with it.
    """
    pause_s = get_current_settings().flows.heartbeat_frequency or BEAT_S
    return AutomationCore(
        name=f"{site}: lost runs",
        description="Calls runs crashed whose machine died, so that others get their place. Made by terraweft deploy.",
        trigger=EventTrigger(
            after={BEAT, TAKEN},
            expect={BEAT, TAKEN, *(f"prefect.flow-run.{state}" for state in ("Running", *ENDS))},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=ResourceSpecification({"prefect.resource.id": f"prefect.tag.site:{site}"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=max(MISSED * pause_s, HELD_BACK_S)),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="it gave no sign of life any more")],
    )


def watch_for_lost_runs(client: SyncPrefectClient, site: str) -> None:
    """Make the automation of a site, or renew it where it is another by now.

    A renewed one forgets whom it waits for, and runs whose machine died give no sign of life to be remembered by.
    """
    wanted = automation_of(site)
    there = client.read_automations_by_name(wanted.name)
    if not there:
        client.create_automation(wanted)
    elif _content(there[0]) != _content(wanted):
        client.update_automation(there[0].id, wanted)


def _content(automation: AutomationCore) -> dict[str, Any]:
    """What an automation does, without the id that the server gave it."""
    found = automation.model_dump(mode="json", include=set(AutomationCore.model_fields))
    for name in ("after", "expect"):
        found["trigger"][name].sort()
    return found
