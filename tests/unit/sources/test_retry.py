"""Which failures are worth another try, how long to wait, and when to stop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import (
    AccessDeniedError,
    AssetMissingError,
    DecodeError,
    SourceError,
    ThrottledError,
    TransientSourceError,
)
from sources.retry import Backoff, call_with_retries, is_denied, is_garbled, is_throttled, is_transient


class Flaky:
    """Fails as told, then returns."""

    def __init__(self, *errors: SourceError) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "pixels"


def test_transient_failures_are_tried_again_with_longer_pauses() -> None:
    slept: list[float] = []
    call = Flaky(TransientSourceError("reset"), TransientSourceError("reset"))
    assert call_with_retries(call, sleep=slept.append) == "pixels"
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize("error", [AssetMissingError("404"), AccessDeniedError("403")])
def test_permanent_failures_are_not_tried_again(error: SourceError) -> None:
    slept: list[float] = []
    call = Flaky(error, error)
    with pytest.raises(type(error)):
        call_with_retries(call, sleep=slept.append)
    assert (call.calls, slept) == (1, [])


def test_bytes_that_do_not_decode_are_asked_for_once_more() -> None:
    one, other = (DecodeError("not readable as a raster", f"http://h/{name}.tif") for name in "ab")
    once = Flaky(one, other)
    assert call_with_retries(once, sleep=lambda _: None, once_if=is_garbled) == "pixels"
    twice = Flaky(one, other, one)
    with pytest.raises(DecodeError) as caught:
        call_with_retries(twice, sleep=lambda _: None, once_if=is_garbled)
    assert (caught.value.url, caught.value.attempts, twice.calls) == ("http://h/a.tif", 2, 3)


def test_the_last_error_knows_how_often_it_was_tried() -> None:
    call = Flaky(*[TransientSourceError("stall", "http://h/a.tif")] * 9)
    with pytest.raises(TransientSourceError, match=r"stall \[http://h/a.tif\] after 3 attempt") as caught:
        call_with_retries(call, sleep=lambda _: None, backoff=Backoff(attempts=3))
    assert (caught.value.attempts, call.calls) == (3, 3)


def test_a_signature_that_ran_out_may_be_renewed_by_the_caller() -> None:
    call = Flaky(AccessDeniedError("403"))
    assert call_with_retries(call, sleep=lambda _: None, backoff=Backoff(attempts=2), retry_if=is_denied) == "pixels"


def test_other_exceptions_pass_through() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call_with_retries(broken, sleep=lambda _: None)


def test_names_of_the_predicates() -> None:
    assert is_throttled(ThrottledError("429"))
    assert not is_throttled(TransientSourceError("500"))
    assert is_transient(ThrottledError("429"))
    assert is_transient(TransientSourceError("500"))
    assert not is_transient(AccessDeniedError("403"))
    assert is_garbled(DecodeError("a block does not decode"))
    assert not is_garbled(TransientSourceError("500"))


@given(st.integers(1, 30), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e6)))
def test_no_pause_is_longer_than_the_limit_nor_shorter_than_asked(
    attempt: int, jitter: float, asked: float | None
) -> None:
    error = ThrottledError("429")
    error.retry_after_s = asked
    pause = Backoff().pause_s(attempt, error, jitter)
    assert min(asked or 0.0, 60.0) <= pause <= 60.0
