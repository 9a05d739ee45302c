from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioners.budget import WINDOW, ErrorGuard
from captioners.pace import Pace, retry_after_s, span_s


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


def run(play: Callable[[Pace, Clock], Awaitable[None]], most: int = 8) -> Clock:
    clock = Clock()

    async def main() -> None:
        await play(Pace(most, clock.sleep, clock), clock)

    asyncio.run(main())
    return clock


async def call(pace: Pace, tokens: int = 0) -> None:
    async with pace.slot(tokens):
        pace.sent(tokens)
        await asyncio.sleep(0)


def test_no_more_are_in_flight_than_the_limit_and_all_get_their_turn() -> None:
    async def play(pace: Pace, clock: Clock) -> None:
        await asyncio.gather(*(call(pace) for _ in range(50)))
        assert pace.most_in_flight == 8
        assert pace.in_flight == 0

    assert run(play).slept == []


def test_an_overload_halves_the_limit_once_and_answers_bring_it_back() -> None:
    async def play(pace: Pace, clock: Clock) -> None:
        for _ in range(5):  # five calls that were in flight together are refused together
            pace.refused({})
        assert pace.limit == 4.0
        for _ in range(100):
            pace.answered({})
        assert pace.limit == 8.0
        pace.refused({})
        assert pace.limit == 4.0
        pace.refused({}, overloaded=False)
        assert pace.limit == 4.0

    run(play)


def test_retry_after_holds_every_call_back() -> None:
    async def play(pace: Pace, clock: Clock) -> None:
        assert pace.refused({"retry-after": "7"}) == 7.0
        await asyncio.gather(call(pace), call(pace))
        assert clock.now_s >= 107.0

    assert run(play).slept[0] == pytest.approx(7.0)


@pytest.mark.parametrize(("name", "left", "cost"), [("requests", "2", 0), ("tokens", "900", 400)])
def test_an_allowance_that_is_used_up_is_waited_for(name: str, left: str, cost: int) -> None:
    async def play(pace: Pace, clock: Clock) -> None:
        pace.answered({f"x-ratelimit-remaining-{name}": left, f"x-ratelimit-reset-{name}": "1m2.5s"})
        await call(pace, cost)
        await call(pace, cost)
        assert clock.slept == []
        await call(pace, cost)
        assert clock.slept == [pytest.approx(62.5)]

    run(play)


def test_a_caller_that_goes_away_gives_its_place_back() -> None:
    async def play(pace: Pace, clock: Clock) -> None:
        async with pace.slot():
            waiting = [asyncio.create_task(call(pace)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await call(pace)
        assert pace.in_flight == 0

    run(play, most=1)


@given(st.integers(0, 9), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_spans_are_read_as_servers_write_them(hours: int, minutes: int, seconds: int, millis: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds + millis / 1000
    assert span_s(f"{hours}h{minutes}m{seconds}s{millis}ms") == pytest.approx(total)
    assert span_s(f"{total:.3f}") == pytest.approx(total)
    assert span_s(f"{total:.3f}s") == pytest.approx(total)


def test_retry_after_comes_as_seconds_millis_or_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_s({"retry-after": "3"}) == 3.0
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert 25 < retry_after_s({"retry-after": later}) <= 31
    assert retry_after_s({"retry-after": "soon"}) == 0.0
    assert retry_after_s({}) == 0.0


def test_too_many_errors_trip_the_guard_and_single_ones_do_not() -> None:
    guard = ErrorGuard(0.5)
    for number in range(10 * WINDOW):
        guard.note(number % 2 == 0)
    assert not guard.tripped
    for _ in range(2):
        guard.note(False)
    assert guard.tripped
