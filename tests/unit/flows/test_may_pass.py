"""Which failed stages a night tries again."""

from __future__ import annotations

import pytest
from prefect.states import Failed

from flows.build import may_pass
from schemas.errors import AccessDeniedError, RecipeError, ThrottledError, TransientSourceError, UserError


def _told(what: str, cause: Exception) -> UserError:
    error = UserError(what)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TransientSourceError("reset", "http://a"), True),
        (ThrottledError("429", "http://a"), True),
        (AccessDeniedError("403", "http://a"), False),
        (RecipeError("no chip fits"), False),
        (_told("the catalog was broken off", TransientSourceError("reset", "http://a")), True),
        (ValueError("a mistake of ours"), False),
    ],
)
def test_what_may_pass_by_itself_is_tried_again_and_nothing_else(error: Exception, again: bool) -> None:
    assert may_pass(None, None, Failed(data=error)) is again
