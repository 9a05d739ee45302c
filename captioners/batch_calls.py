"""Calls to a server about files and batches: they bill nothing, and are tried again while it is unwell."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from captioners.llm import ChatServer, Lost, Refused, moved, refused_key
from captioners.pace import pause_s
from schemas.errors import RecipeError, TextBackendError

CALLS = 6
"""Attempts at an upload or a look."""


class BatchServer:
    """A server, as it is asked about batches.

    Args:
        server: the connection.
        events: counts of what went wrong, by name.
        sleep: how waiting is done.

    All calls raise RecipeError where the server refuses, TextBackendError where it stays unwell.
    """

    def __init__(self, server: ChatServer, events: Counter[str], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._server, self._events, self._sleep = server, events, sleep

    async def upload(self, path: Path) -> str:
        """Send a file of requests; the server's id of it."""
        described = await self._patiently(partial(self._server.upload, path))
        return str(described["id"])

    async def create(self, file_id: str, name: str, *, may_lack: bool = False) -> str | None:
        """Start the batch of an uploaded file, unless there is one already.

        Args:
            file_id: of the file.
            name: ours, by which the batch is found again.
            may_lack: whether the result is None where the server no longer has the file.

        Returns:
            The server's id of the batch.
        """
        for attempt in range(CALLS):
            batch = await self._find(name)
            if batch is None:
                answer = await self._server.create_batch(file_id, name)
                if isinstance(answer, Refused) and answer.status < 500 and answer.status != 429:
                    if may_lack and answer.status in (400, 404) and await self._is_gone(file_id):
                        return None
                    raise _hopeless(answer)
                batch = answer if isinstance(answer, dict) else None
            if batch is not None:
                return str(batch["id"])
            await self._sleep(pause_s(attempt))
        raise TextBackendError("no batch could be started", CALLS)

    async def batch(self, batch_id: str) -> dict[str, Any] | None:
        """What the server says of a batch; None where it knows none of this id."""
        found: dict[str, Any] | None = await self._patiently(partial(self._server.batch, batch_id), may_lack=True)
        return found

    async def fetch(self, file_id: str, path: Path) -> bool:
        """Download a file to a path; whether the server still has it: it keeps them for some weeks."""

        async def call() -> Path | Refused | Lost:
            return await self._server.download(file_id, path) or path

        return await self._patiently(call, may_lack=True) is not None

    async def _is_gone(self, file_id: str) -> bool:
        with tempfile.TemporaryDirectory(prefix="terraweft-batch-") as folder:
            return not await self.fetch(file_id, Path(folder) / "requests")

    async def _find(self, name: str) -> dict[str, Any] | None:
        """The server's batch of our name."""
        after: str | None = None
        while True:
            page = await self._patiently(partial(self._server.batches, after))
            for batch in page.get("data") or ():
                if (batch.get("metadata") or {}).get("terraweft") == name:
                    return dict(batch)
            if not page.get("has_more") or not page.get("data"):
                return None
            after = str(page["data"][-1]["id"])

    async def _patiently(self, call: Callable[[], Awaitable[Any]], *, may_lack: bool = False) -> Any:
        """The result of a call, tried again while the server is unwell.

        Args:
            call: what is called.
            may_lack: whether the result is None where the server has no such thing (HTTP 404).
        """
        for attempt in range(CALLS):
            answer = await call()
            if not isinstance(answer, (Refused, Lost)):
                return answer
            self._events["unreachable" if isinstance(answer, Lost) else f"http {answer.status}"] += 1
            if may_lack and isinstance(answer, Refused) and answer.status == 404:
                return None
            if isinstance(answer, Refused) and answer.status < 500 and answer.status not in (408, 409, 429):
                raise _hopeless(answer)
            await self._sleep(pause_s(attempt))
        raise TextBackendError("the server does not answer", CALLS)


def _hopeless(answer: Refused) -> RecipeError:
    if answer.status in (401, 403):
        return refused_key(answer)
    if answer.status < 400:
        return moved(answer)
    if answer.status == 404:
        return RecipeError("the server has no batches", "captions.backend", "use the openai backend")
    return RecipeError(f"the server refuses the batch ({answer.why})", "captions.backend")
