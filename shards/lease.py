"""A lease on a dataset in an object store: one small object that says who holds it, renewed while its holder lives.

Every change is a conditional put, so two can never both win. Age is told by the store's own clock: the time of the
lease against that of a probe written now; the clocks of the machines do not matter. A holder that died is followed by
the next build once its lease has grown old. Should a holder be held up for longer than that, its pointer is not moved:
`shards.pointer.move_pointer` is conditional too.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import threading
from types import TracebackType
from typing import Any

from schemas.errors import DatasetError
from shards.layout import WORK, canonical_json
from shards.storage import Storage, StorageConflictError, require_conditions

log = logging.getLogger(__name__)

PATH = f"{WORK}/lease.json"
PROBE = f"{WORK}/clock"
TTL_S = 60.0
"""A lease that was not renewed for so long is free."""


class Lease:
    """Held while a build or publish writes into a dataset: ``with Lease(storage, "build"): ...``.

    Args:
        storage: the dataset's root.
        owner: what holds it, for the message that another one gets.
        ttl_s: age at which a lease is free, in seconds; renewed three times in it.
    """

    def __init__(self, storage: Storage, owner: str, ttl_s: float = TTL_S) -> None:
        self.storage, self.owner, self.ttl_s = storage, owner, ttl_s
        self._tag: str | None = None
        self._token = secrets.token_hex(8)
        self._renewals = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        self.acquire()
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.release()

    def acquire(self) -> None:
        """Take the lease, at once or not at all.

        Raises:
            DatasetError: another one holds it; names its owner. Or the store passes over conditions: nobody can.
        """
        found = self.storage.read_tagged(PATH)
        tag = None
        if found is not None:
            entry, tag = _entry(found[0]), found[1]
            age = self._age_s() if not entry.get("released") else None
            if age is not None and age < self.ttl_s:
                raise self._refused(entry)
        try:
            self._tag = self.storage.put_if(PATH, self._content(), tag)
        except StorageConflictError as error:
            again = self.storage.read_tagged(PATH)
            raise self._refused(_entry(again[0]) if again else {}) from error
        self._renewals += 1  # content that is not there yet
        try:
            require_conditions(self.storage, PATH, self._content(), tag)
        except DatasetError:
            self._tag = None
            self.storage.put(PATH, self._released())  # the next one is told the same, not that somebody holds it
            raise

    def renew(self) -> bool:
        """Make the lease young again; False where somebody else holds it now.

        A renewal that the store wrote, and whose answer was lost, leaves our own token under a tag that we do not know.

        Raises:
            DatasetError: the store does not answer.
        """
        self._renewals += 1
        try:
            self._tag = self.storage.put_if(PATH, self._content(), self._tag)
        except StorageConflictError:
            found = self.storage.read_tagged(PATH)
            if found is None or _entry(found[0]).get("token") != self._token:
                return False
            self._tag = found[1]
        return True

    def check(self) -> None:
        """Make sure that the lease is still held, by asking the store; to be called before what cannot be undone.

        Raises:
            DatasetError: somebody else took it meanwhile: whoever held it was held up for longer than it lives.
        """
        found = self.storage.read_tagged(PATH)
        entry = _entry(found[0]) if found is not None else {}
        if entry.get("token") != self._token:
            raise DatasetError(
                f"the lease was lost to {entry.get('owner', 'nobody')}: nothing was published",
                where=f"{self.storage.uri}/{PATH}",
                mend="run the same command again: what is finished is used",
            )

    def release(self) -> None:
        """Give the lease back; nothing where it was lost. Where the store is away it grows old by itself."""
        if self._tag is not None:
            try:
                self.storage.put_if(PATH, self._released(), self._tag)
            except StorageConflictError:
                log.warning("the lease on %s was lost before it was given back", self.storage.uri)
            except (OSError, DatasetError) as error:
                log.warning("the lease on %s could not be given back: %s", self.storage.uri, error)
            self._tag = None

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self.ttl_s / 3):
            try:
                if not self.renew():
                    log.error("the lease on %s was lost: this build will not be published", self.storage.uri)
                    return
            except (OSError, DatasetError) as error:
                log.warning("the lease on %s could not be renewed: %s", self.storage.uri, error)

    def _content(self) -> bytes:
        entry = {"owner": self.owner, "pid": os.getpid(), "host": platform.node(), "renewals": self._renewals}
        return canonical_json({**entry, "token": self._token})

    def _released(self) -> bytes:
        return canonical_json({"released": True, "owner": self.owner})

    def _age_s(self) -> float | None:
        """Seconds since the lease was last written, by the store's clock; None where it is gone."""
        self.storage.put(PROBE, b"")
        written, now = self.storage.modified_s(PATH), self.storage.modified_s(PROBE)
        return None if written is None or now is None else now - written

    def _refused(self, entry: dict[str, Any]) -> DatasetError:
        who = f"{entry.get('owner', 'unknown')}, process {entry.get('pid', '?')} on {entry.get('host', '?')}"
        return DatasetError(
            f"another build holds this dataset: {who}",
            where=f"{self.storage.uri}/{PATH}",
            mend=f"wait for it, or end it; its lease is free {self.ttl_s:.0f} s after its end",
        )


def _entry(content: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(content)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
