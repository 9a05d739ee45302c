"""An event loop of its own in a thread, whoever calls: results come out one by one, an interrupt goes in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
SWITCH_S = 0.0005
"""How soon a thread yields to the event loop: Python's own 5 ms would be felt in every call."""


class _End:
    """Nothing more comes."""


def stream_aside(main: Callable[[Callable[[T], None]], Awaitable[None]]) -> Iterator[T]:
    """What a coroutine puts out, while it runs.

    Args:
        main: gets the function by which it puts results out. It is cancelled when the caller goes away or is
            interrupted.

    Raises:
        BaseException: what `main` ended in.
    """
    results: SimpleQueue[T | BaseException | _End] = SimpleQueue()
    running: dict[str, Any] = {}

    async def wrapped() -> None:
        running.update(loop=asyncio.get_running_loop(), task=asyncio.current_task())
        await main(results.put)

    def work() -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            asyncio.run(wrapped())
            results.put(_End())
        except BaseException as error:
            results.put(error)
        finally:
            sys.setswitchinterval(interval)

    with ThreadPoolExecutor(1, "captions") as thread:
        future = thread.submit(work)
        try:
            while not isinstance(item := results.get(), _End):
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            if not future.done() and running:
                with suppress(RuntimeError):
                    running["loop"].call_soon_threadsafe(running["task"].cancel)
