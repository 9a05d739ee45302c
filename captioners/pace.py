"""How many calls are in flight, and when none may be sent: by what the server says, up to the recipe's limit.

The limit is halved where the server refuses a call as one too many, and grows by one after as many answers as it has.
``Retry-After``, and an allowance of requests or tokens that is used up, hold every call back, not only the one that
was told.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 120.0
"""A server that asks for more is not waited for."""
_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")


class Pace:
    """The gate in front of one server.

    Args:
        most: calls in flight at most.
        sleep: how waiting is done.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        most: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self._sleep, self._clock = most, sleep, clock
        self.limit = float(most)
        """Calls in flight now allowed."""
        self.in_flight = 0
        """Calls in flight."""
        self.most_in_flight = 0
        """Most there ever were."""
        self._queue: deque[asyncio.Future[None]] = deque()
        self._closed_until_s = 0.0
        self._left: dict[str, float] = {}
        self._reset_at_s: dict[str, float] = {}
        self._halved_at = 0
        self._answers = 0

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[None]:
        """A place in flight, once the server takes calls; say `sent` when one goes out.

        Args:
            tokens: how many the call may take.
        """
        if self.in_flight < self._allowed and not self._queue:
            self.in_flight += 1
        else:
            await self._turn()
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            while (wait_s := self._wait_s(tokens)) > 0:
                until = self._clock() + wait_s
                await self._sleep(wait_s)
                self._slept(until)
            yield
        finally:
            self.in_flight -= 1
            self._wake()

    def sent(self, tokens: int = 0) -> None:
        """A call goes out: so much of what the server allows is used."""
        for name, cost in (("requests", 1), ("tokens", tokens)):
            if name in self._left:
                self._left[name] -= cost

    @property
    def _allowed(self) -> int:
        return max(1, int(self.limit))

    async def _turn(self) -> None:
        """Wait in the queue; whoever wakes us has counted us already."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.in_flight -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._queue and self.in_flight < self._allowed:
            turn = self._queue.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _slept(self, until: float) -> None:
        """What was waited for is over, whatever the clock says."""
        if self._closed_until_s <= until:
            self._closed_until_s = 0.0
        for name in [name for name, reset in self._reset_at_s.items() if reset <= until]:
            self._left.pop(name, None)

    def _wait_s(self, tokens: int) -> float:
        """Seconds until a call may be sent."""
        now = self._clock()
        until = self._closed_until_s
        for name, cost in (("requests", 1), ("tokens", tokens)):
            reset = self._reset_at_s.get(name, 0.0)
            if reset <= now:
                self._left.pop(name, None)
            elif self._left.get(name, cost) < cost:
                until = max(until, reset)
        return until - now

    def answered(self, headers: Mapping[str, str]) -> None:
        """The server took a call: what it says is left, and one step up."""
        self._answers += 1
        self.limit = min(float(self.most), self.limit + 1.0 / max(1.0, self.limit))
        self._read(headers)
        self._wake()

    def refused(self, headers: Mapping[str, str], *, overloaded: bool = True) -> float:
        """The server did not take a call; the seconds that it asks for, 0 where it does not say.

        One overload refuses many calls at once: the limit is halved once for all that were in flight together.

        Args:
            headers: of the response.
            overloaded: whether it says that there were too many calls.
        """
        if overloaded and self._answers >= self._halved_at:
            self.limit = max(1.0, self.limit / 2.0)
            self._halved_at = self._answers + max(1, int(self.limit))
        self._read(headers)
        seconds = retry_after_s(headers)
        if 0 < seconds <= MAX_WAIT_S:
            self._closed_until_s = max(self._closed_until_s, self._clock() + seconds)
        return seconds

    def _read(self, headers: Mapping[str, str]) -> None:
        for name in ("requests", "tokens"):
            left, reset = headers.get(f"x-ratelimit-remaining-{name}"), headers.get(f"x-ratelimit-reset-{name}")
            seconds = span_s(reset or "")
            if left is None or seconds is None or seconds > MAX_WAIT_S:
                continue
            try:
                self._left[name] = float(left)
            except ValueError:
                continue
            self._reset_at_s[name] = self._clock() + seconds


def pause_s(attempt: int) -> float:
    """Seconds to wait after a failed attempt, where the server does not say: 0.5, 1, 2, ... 16.

    Args:
        attempt: 0 for the first.

    >>> pause_s(0), pause_s(3), pause_s(9)
    (0.5, 4.0, 16.0)
    """
    return min(16.0, 0.5 * 2.0**attempt)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a response asks to wait (``retry-after-ms``, ``retry-after`` as seconds or date); 0 where none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            return max(0.0, float(text) * unit)
        except ValueError:
            if "GMT" in text:
                return max(0.0, _until_s(text))
    return 0.0


def _until_s(date: str) -> float:
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    except ValueError:
        return 0.0


def span_s(text: str) -> float | None:
    """Seconds of a span as servers write it: ``1m30.5s``, ``20ms``, ``12``; None where it is none.

    >>> span_s("1m30.5s"), span_s("20ms"), span_s("12"), span_s("soon")
    (90.5, 0.02, 12.0, None)
    """
    text = text.strip()
    parts = _SPAN.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    try:
        return float(text)
    except ValueError:
        return None
