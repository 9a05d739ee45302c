"""Files and batches of the server for tests, in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]
MOST_BYTES, MOST_REQUESTS = 200_000_000, 50_000


class Batches:
    """What ``/v1/files`` and ``/v1/batches`` do.

    Args:
        answer: body of a request -> body of its answer.
        fates: of the first, second, ... batch. ``completed``; ``expired``: half is answered; ``partial``: every third
            request ends in the error file; ``failed``: nothing is begun; ``limit``: too many tokens are queued.
    """

    looks = 1
    """Looks at a batch before it has ended."""
    room: int | None = None
    """Requests that its queue holds; a batch for which there is no room fails as ``limit``."""

    def __init__(self, answer: Callable[[Document], Document], fates: list[str]) -> None:
        self._answer, self._fates = answer, fates
        self.takes: Callable[[Document], str] = lambda body: ""
        """Body of a request -> what the server cannot do about it (HTTP 400 in the error file), or nothing."""
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Document] = {}
        self.refuse: list[int] = []
        """Statuses of the next answers about files and batches."""
        self.lose_created = 0
        """So many batches are started without an answer that says so."""

    def serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes | Document]:
        """Status and content of an answer."""
        if self.refuse:
            return self.refuse.pop(0), {"error": {"message": "unwell"}}
        path, _, query = path.partition("?")
        parts = path.strip("/").split("/")[1:]
        if method == "POST" and parts == ["files"]:
            return self._upload(headers, body)
        if method == "GET" and len(parts) == 3 and parts[0] == "files" and parts[1] in self.files:
            return 200, self.files[parts[1]]
        if method == "POST" and parts == ["batches"]:
            return self._create(json.loads(body))
        if method == "GET" and parts == ["batches"]:
            return 200, self._list(query)
        if method == "GET" and len(parts) == 2 and parts[1] in self.batches:
            return 200, self._look(parts[1])
        return 404, {"error": {"message": f"no {path}"}}

    def _upload(self, headers: dict[str, str], body: bytes) -> tuple[int, Document]:
        boundary = headers["content-type"].split("boundary=", 1)[1].strip('"').encode()
        for part in body.split(b"--" + boundary):
            head, _, content = part.partition(b"\r\n\r\n")
            if b'name="file"' in head:
                data = content.removesuffix(b"\r\n")
                if len(data) > MOST_BYTES:
                    return 413, {"error": {"message": "file too large"}}
                name = f"file-{len(self.files)}"
                self.files[name] = data
                return 200, {"id": name, "object": "file", "bytes": len(data), "purpose": "batch"}
        return 400, {"error": {"message": "no file"}}

    def _create(self, given: Document) -> tuple[int, Document]:
        if given["input_file_id"] not in self.files:
            return 400, {"error": {"message": "no such file"}}
        name, number = f"batch-{len(self.batches):04d}", len(self.batches)
        fate = self._fates[number] if number < len(self._fates) else "completed"
        queued = sum(self._count(one) for one in self.batches.values() if one["status"] == "in_progress")
        if self.room is not None and queued + self._count(given) > self.room:
            fate = "limit"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": given["endpoint"], "input_file_id": given["input_file_id"],
            "completion_window": "24h", "status": "in_progress", "created_at": 1_700_000_000 + number,
            "metadata": given.get("metadata"), "output_file_id": None, "error_file_id": None, "errors": None,
            "looks": self.looks, "fate": fate,
        }  # fmt: skip
        if self.lose_created:
            self.lose_created -= 1
            return 500, {"error": {"message": "the batch was started, and then this"}}
        return 200, self.batches[name]

    def _count(self, batch: Document) -> int:
        """Requests that a batch holds in the queue."""
        return 0 if batch.get("fate") == "limit" else len(self.files[batch["input_file_id"]].splitlines())

    def _list(self, query: str) -> Document:
        names = sorted(self.batches, reverse=True)
        after = re.search(r"after=([\w-]+)", query)
        if after:
            names = names[names.index(after.group(1)) + 1 :]
        page = [self.batches[name] for name in names[:2]]  # short pages: who does not turn them finds nothing
        return {"object": "list", "data": page, "has_more": len(names) > 2}

    def _look(self, name: str) -> Document:
        batch = self.batches[name]
        if batch["status"] == "in_progress":
            batch["looks"] -= 1
            if batch["looks"] < 0:
                self._end(batch)
        return batch

    def _end(self, batch: Document) -> None:
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        fate = batch["fate"]
        ids = [line["custom_id"] for line in lines]
        if fate in ("failed", "limit") or len(set(ids)) < len(ids) or len(lines) > MOST_REQUESTS:
            code = {"limit": "token_limit_exceeded"}.get(fate, "invalid_request")
            batch |= {"status": "failed", "errors": {"data": [{"code": code, "message": "the batch was not begun"}]}}
            return
        answered = lines[: len(lines) // 2] if fate == "expired" else lines
        refused = {line["custom_id"]: said for line in answered if (said := self.takes(line["body"]))}
        wrong = [line for number, line in enumerate(answered) if fate == "partial" and number % 3 == 0]
        wrong += [line for line in answered if line["custom_id"] in refused]
        right = [line for line in answered if line not in wrong]
        output = [self._result(line, 200, self._answer(line["body"])) for line in reversed(right)]  # in any order
        errors = []
        for line in wrong:
            said = refused.get(line["custom_id"])
            errors.append(self._result(line, 400 if said else 500, {"error": {"message": said or "internal"}}))
        for kind, results in (("output_file_id", output), ("error_file_id", errors)):
            if results:
                self.files[f"{kind}-{batch['id']}"] = b"\n".join(json.dumps(one).encode() for one in results)
                batch[kind] = f"{kind}-{batch['id']}"
        batch["status"] = "expired" if fate == "expired" else "completed"

    @staticmethod
    def _result(line: Document, status: int, body: Document) -> Document:
        return {
            "id": "r", "custom_id": line["custom_id"], "error": None,
            "response": {"status_code": status, "request_id": "req-b", "body": body},
        }  # fmt: skip
