"""A run whose source is away gives its place back and comes again, a few times; any other error ends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort
from prefect.states import Failed

from flows import patience
from flows.build import is_worth_a_retry
from flows.patience import PATIENCE_S, come_again, may_pass
from schemas.errors import AccessDeniedError, RecipeError, ThrottledError, TransientSourceError, UserError
from sources.breaker import CatalogRestingError


def _told(what: str, cause: Exception) -> UserError:
    error = UserError(what)
    error.__cause__ = cause
    return error


AWAY = _told("the catalog was broken off", TransientSourceError("reset", "http://a"))


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TransientSourceError("reset", "http://a"), True),
        (ThrottledError("429", "http://a"), True),
        (AccessDeniedError("403", "http://a"), False),
        (RecipeError("no chip fits"), False),
        (AWAY, True),
        (_told("the catalog rests", CatalogRestingError("earth failed 2 times and rests 120 s")), True),
        (ValueError("a mistake of ours"), False),
    ],
)
def test_what_may_pass_by_itself_is_tried_again_and_nothing_else(error: Exception, again: bool) -> None:
    assert may_pass(error) is again
    assert is_worth_a_retry(None, None, Failed(data=error)) is again


class _Run:
    """A run of a deployment, and the API that it speaks to."""

    def __init__(self, run_count: int, status: SetStateStatus | None = SetStateStatus.ACCEPT) -> None:
        self.id, self.run_count, self.status = uuid4(), run_count, status
        self.states: list[State[Any]] = []

    def set_flow_run_state(self, run: object, state: State[Any]) -> SimpleNamespace:
        if self.status is None:
            raise ConnectionError
        assert run == self.id
        self.states.append(state)
        return SimpleNamespace(status=self.status)

    @contextmanager
    def client(self, sync_client: bool) -> Iterator[_Run]:
        yield self


def _put(run: _Run, monkeypatch: pytest.MonkeyPatch, deployment: object) -> _Run:
    monkeypatch.setattr(patience, "flow_run", run)
    monkeypatch.setattr(patience, "deployment", SimpleNamespace(id=deployment))
    monkeypatch.setattr(patience, "get_client", run.client)
    return run


@pytest.mark.parametrize(("number", "pause_s"), list(enumerate(PATIENCE_S, start=1)))
def test_a_scheduled_run_is_over_and_due_again_after_a_pause(
    number: int, pause_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _put(_Run(number), monkeypatch, uuid4())
    with pytest.raises(Abort):
        come_again(AWAY, "HTTP 503")
    (state,) = run.states
    assert (state.name, state.message) == ("AwaitingRetry", f"start {number + 1} of 4: HTTP 503")
    due = state.state_details.scheduled_time
    assert due is not None
    assert due.timestamp() - state.timestamp.timestamp() == pytest.approx(pause_s, abs=5)


@pytest.mark.parametrize(
    ("run", "deployment", "error"),
    [
        (_Run(len(PATIENCE_S) + 1), uuid4(), AWAY),
        (_Run(1), None, AWAY),
        (_Run(1), uuid4(), RecipeError("no chip fits")),
        (_Run(1, SetStateStatus.REJECT), uuid4(), AWAY),
        (_Run(1, None), uuid4(), AWAY),
    ],
    ids=["no pause is left", "by hand", "its own error", "cancelled meanwhile", "the API is away"],
)
def test_a_run_that_does_not_come_again_fails_of_its_error(
    run: _Run, deployment: object, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(run, monkeypatch, deployment)
    come_again(error, "HTTP 503")
