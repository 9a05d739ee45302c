"""Whether a dataset takes what a build is going to write, found out before anything is read for it."""

from __future__ import annotations

import logging
import secrets

from schemas.errors import DatasetError
from shards.layout import SHARDS
from shards.storage import Storage

log = logging.getLogger(__name__)

CONTENT = bytes(64 << 10)
"""Of the file that is tried: a disk that is full takes an empty one."""


def require_writable(storage: Storage) -> None:
    """See that a file can be put where the tars go: one is written there, and removed.

    A lease in ``work/`` says nothing of that: a bucket's policy may name folders, a folder may be another user's, and
    a worker of somebody else's cluster has credentials of its own.

    Args:
        storage: the dataset's root.

    Raises:
        DatasetError: an object store refuses it.
        OSError: a folder does.
    """
    path = f"{SHARDS}/{secrets.token_hex(8)}.probe"
    storage.put(path, CONTENT)
    try:
        storage.delete(path)
    except DatasetError as error:  # who may write need not be allowed to delete; `gc` removes what no version lists
        log.info("%s/%s stays: %s", storage.uri, path, error)
