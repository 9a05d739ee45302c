"""Runs of a site that fall silent are called crashed, and no others."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.events.schemas.automations import EventTrigger
from prefect.events.schemas.events import Event, RelatedResource, Resource
from prefect.server.events.ordering import PRECEDING_EVENT_LOOKBACK
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings

from flows.lost_runs import BEAT, MISSED, TAKEN, automation_of


def _beat(site: str) -> Event:
    run = Resource({"prefect.resource.id": f"prefect.flow-run.{uuid4()}"})
    tag = RelatedResource({"prefect.resource.id": f"prefect.tag.site:{site}", "prefect.resource.role": "tag"})
    return Event(event=BEAT, resource=run, related=[tag], id=uuid4())


@pytest.mark.parametrize(("site", "is_ours"), [("alps", True), ("andes", False)])
def test_it_watches_the_site_s_own_runs(site: str, is_ours: bool) -> None:
    trigger = automation_of("alps").trigger
    assert isinstance(trigger, EventTrigger)
    beat = _beat(site)
    matches = trigger.match_related
    assert not isinstance(matches, list)
    assert trigger.match.matches(beat.resource)
    assert any(matches.matches(related) for related in beat.related) == is_ours


def test_a_run_may_lack_some_signs_of_life_and_its_end_is_one() -> None:
    trigger = automation_of("alps").trigger
    assert isinstance(trigger, EventTrigger)
    pause_s = get_current_settings().flows.heartbeat_frequency
    assert pause_s
    assert trigger.within >= timedelta(seconds=MISSED * pause_s)
    assert trigger.expect - {BEAT, TAKEN, "prefect.flow-run.Running"} == {
        f"prefect.flow-run.{end}" for end in ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry")
    }, "a run that waits for its next start gives none either"


def test_a_run_that_was_taken_up_and_never_began_is_lost_too() -> None:
    """Its machine died, or Prefect's server, while its process started: it held its place in the pool for ever."""
    trigger = automation_of("alps").trigger
    assert isinstance(trigger, EventTrigger)
    assert trigger.after == {BEAT, "prefect.flow-run.Pending"}
    assert trigger.after < trigger.expect, "a run that is started again is waited for anew"
    assert "prefect.flow-run.Running" in trigger.expect, "one that beats not at all is not called lost for that"


@pytest.mark.parametrize("pause_s", [30, 180, 600])
def test_a_server_that_was_restarted_calls_no_run_lost_that_waits_for_its_next_start(pause_s: int) -> None:
    """It holds back what is said of runs that it knew before, and a run that waits was called crashed, untold."""
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: pause_s}):
        trigger = automation_of("alps").trigger
    assert isinstance(trigger, EventTrigger)
    assert trigger.within >= max(PRECEDING_EVENT_LOOKBACK + timedelta(minutes=2), timedelta(seconds=4 * pause_s))
