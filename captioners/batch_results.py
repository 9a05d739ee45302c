"""What goes into a batch and what comes out of it: the file of requests, the lines of results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from captioners.completion import UNREADABLE, whole
from captioners.ledger import Attempt, Ending, Ledger
from captioners.llm import KEPT, Key
from captioners.till import Till


class Errand:
    """One batch on its way.

    Args:
        name: our own name of it.
        path: file of requests to be written; None where it was uploaded by another process.
        file_id: the server's name of the file.
        batch_id: the server's name of the batch.
    """

    def __init__(self, name: str, path: Path | None, file_id: str = "", batch_id: str = "") -> None:
        self.name, self.file_id, self.batch_id = name, file_id, batch_id
        self._path, self.count = path, 0
        self._reserved, self._reserved_bytes = 0, 0
        self._file: IO[bytes] | None = None

    @property
    def path(self) -> Path:
        """The file of requests."""
        return self._path or Path()

    def takes(self, size: int, most_requests: int, most_bytes: int) -> bool:
        """Whether there is room for a request of so many bytes."""
        return self._reserved < most_requests and self._reserved_bytes + size <= most_bytes

    def reserve(self, size: int) -> None:
        """Keep room for a request."""
        self._reserved, self._reserved_bytes = self._reserved + 1, self._reserved_bytes + size

    def add(self, line: bytes) -> None:
        """One request more."""
        if self._file is None:
            self._file = self.path.open("wb")
        self._file.write(line)
        self.count += 1

    def close(self) -> None:
        """All requests are written."""
        if self._file is not None:
            self._file.close()
            self._file = None


def remaining(ledger: Ledger, name: str) -> dict[str, Attempt]:
    """Key -> attempt of the requests of a batch that have no ending yet; every attempt of the ledger is looked at."""
    return {one.key: one for one in ledger.attempts() if one.batch == name and one.state == "intent"}


def read_results(path: Path, rows: dict[str, Attempt], till: Till, key: Key) -> Iterator[tuple[Attempt, Ending]]:
    """Attempts with their endings, from a file of results or errors; other lines are passed over.

    Args:
        path: JSONL, one result a line, in any order.
        rows: key -> attempt that has no ending; those that get one are taken out.
        till: prices.
        key: struck out of what the server says.
    """
    with path.open("rb") as file:
        for line in file:
            found = _read_line(line, rows, till, key)
            if found is not None:
                yield found


def _read_line(line: bytes, rows: dict[str, Attempt], till: Till, key: Key) -> tuple[Attempt, Ending] | None:
    try:
        result: dict[str, Any] = json.loads(line)
        one = rows.pop(str(result["custom_id"]))
    except UNREADABLE:
        return None
    told = result.get("response")
    response = told if isinstance(told, dict) else {}
    status, body = response.get("status_code"), response.get("body")
    headers = {"x-request-id": str(response.get("request_id") or "")}
    if status == 200 and isinstance(body, dict) and not result.get("error"):
        raw = json.dumps(body, separators=(",", ":")).encode()
        return one, till.answered(one.row, 200, headers, raw)
    said = result.get("error") or body or {}
    text = key.strike(whole(json.dumps(said, ensure_ascii=False)))[:KEPT]
    return one, Ending(one.row, "refused", status, headers, error=text)
