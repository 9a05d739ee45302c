"""A lease outlives a store that is away for a while: it is renewed again, and given back without a word."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from schemas.errors import DatasetError
from shards.lease import PATH, Lease
from shards.storage import FolderStorage


class AwayStore(FolderStorage):
    """A folder that fails as an object store does.

    Args:
        folder: its root.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.refusals = 0
        """Conditional puts that are still to be refused."""
        self.answers_lost = 0
        """Conditional puts that are still to be written without an answer."""
        self.written = threading.Event()
        """Set by every conditional put that is answered."""

    def put_if(self, path: str, content: bytes, tag: str | None) -> str:
        """See `Storage.put_if`."""
        if self.refusals:
            self.refusals -= 1
            raise DatasetError("503 Slow Down")
        new = super().put_if(path, content, tag)
        if self.answers_lost:
            self.answers_lost -= 1
            raise DatasetError("the answer was lost")
        self.written.set()
        return new


def test_a_store_that_was_away_does_not_end_the_renewals(tmp_path: Path) -> None:
    store = AwayStore(tmp_path)
    with Lease(store, "build", ttl_s=0.03) as lease:
        store.refusals = 2
        store.written.clear()
        assert store.written.wait(10)
        assert not store.refusals
        lease.check()


def test_a_renewal_whose_answer_was_lost_is_no_loss_of_the_lease(tmp_path: Path) -> None:
    store = AwayStore(tmp_path)
    lease = Lease(store, "build")
    lease.acquire()
    store.answers_lost = 1
    with pytest.raises(DatasetError, match="answer"):
        lease.renew()
    assert lease.renew()
    lease.release()
    assert b"released" in store.read(PATH)


def test_a_lease_that_somebody_else_took_is_not_renewed(tmp_path: Path) -> None:
    store = AwayStore(tmp_path)
    first, second = Lease(store, "first", ttl_s=0.0), Lease(store, "second", ttl_s=0.0)
    first.acquire()
    second.acquire()
    assert not first.renew()
    assert second.renew()


def test_a_store_that_is_away_at_the_end_ends_no_build(tmp_path: Path) -> None:
    store = AwayStore(tmp_path)
    with Lease(store, "build"):
        store.refusals = 1
