"""Group commit: the steps of many calls reach the ledger together, each call waiting for its own.

One thread holds the ledger. While it syncs, the steps that come in are gathered; they make the next group. The order
of writes of each call stays: a step's result comes back only when it is safe on disk.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from captioners.ledger import Ending, Find, Found, Intent, Ledger, Step

Waiting = tuple[Step | Callable[[Ledger], Any], "asyncio.Future[Any]"]
GROUP = 512
"""At most so many steps in one group."""


class Clerk:
    """Writes for the coroutines of one event loop.

    Args:
        ledger: used from this object's thread alone, until `close`.
        loop: the loop of the callers.
    """

    def __init__(self, ledger: Ledger, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger, self._loop = ledger, loop
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    async def find(self, key: str) -> Found:
        """See `Ledger.apply`."""
        found: Found = await self._wait(Find(key))
        return found

    async def intend(self, intent: Intent) -> str | Found:
        """The attempt's name once it is on disk; or what was found where there is nothing to ask.

        Raises:
            BudgetExceededError: the purse refuses the call.
            LedgerFullError: there is no room for its answer.
        """
        row = await self._wait(intent)
        if isinstance(row, Exception):
            raise row
        return row if isinstance(row, Found) else str(row)

    async def end(self, ending: Ending) -> None:
        """Write an ending down.

        Raises:
            LedgerFullError: there is no room at all.
        """
        await self._wait(ending)

    async def call(self, function: Callable[[Ledger], Any]) -> Any:
        """Anything else that the ledger can do, in its thread."""
        return await self._wait(function)

    def close(self) -> None:
        """Finish what was handed in; the ledger may then be closed."""
        self._queue.put(None)
        self._thread.join()

    async def _wait(self, step: Step | Callable[[Ledger], Any]) -> Any:
        """Hand a step in; a caller that is cancelled leaves it to be done all the same."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put((step, future))
        return await asyncio.shield(future)

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            group, last = [item], False
            while len(group) < GROUP and not last:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                if more is None:
                    last = True
                else:
                    group.append(more)
            self._do(group)
            if last:
                return

    def _do(self, group: list[Waiting]) -> None:
        """All steps of a group in one go; then whatever else was asked."""
        steps = [(step, future) for step, future in group if isinstance(step, (Find, Intent, Ending))]
        done: list[tuple[asyncio.Future[Any], Any, bool]] = []
        if steps:
            try:
                results = self._ledger.apply([step for step, _ in steps])
                done += [(future, result, False) for (_, future), result in zip(steps, results, strict=True)]
            except BaseException as error:
                done += [(future, error, True) for _, future in steps]
        for call, future in group:
            if not isinstance(call, (Find, Intent, Ending)):
                try:
                    done.append((future, call(self._ledger), False))
                except BaseException as error:
                    done.append((future, error, True))
        try:
            self._loop.call_soon_threadsafe(_settle, done)
        except RuntimeError:
            return  # the loop is gone: nobody waits


def _settle(done: list[tuple[asyncio.Future[Any], Any, bool]]) -> None:
    for future, result, failed in done:
        if future.done():
            continue
        if failed:
            future.set_exception(result)
            future.exception()  # a caller that went away must not leave a warning
        else:
            future.set_result(result)
