"""Runs of a site that fall silent are called crashed, and no others."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.events.schemas.automations import EventTrigger
from prefect.events.schemas.events import Event, RelatedResource, Resource
from prefect.settings import get_current_settings

from flows.lost_runs import BEAT, MISSED, automation_of


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
    assert trigger.within == timedelta(seconds=MISSED * pause_s)
    assert trigger.expect - {BEAT} == {
        f"prefect.flow-run.{end}" for end in ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry")
    }, "a run that waits for its next start gives none either"
