"""The gates over a version, from a flow: judged, kept beside the dataset, and let in where all of them pass."""

from __future__ import annotations

import os
import socket
from contextlib import closing

from flows.artifacts import key_of, quietly, show_table
from schemas.errors import MissingExtraError, UserError
from schemas.recipe_gates import Gates
from shards.lock import dataset_lock
from shards.reader import open_dataset
from shards.storage import Storage
from shards.version import promote
from shards.waiting import last_refusal

WAITS = "it waits for its validation"
"""What is told of a version that nobody judged."""


def judge(
    storage: Storage, version: str | None = None, short: bool = False, gates: Gates | None = None
) -> dict[str, str]:
    """Run the gates over a version; it and the file of what they found.

    Args:
        storage: the dataset's root.
        version: the current one where None.
        short: the short form.
        gates: thresholds; those of the recipe that the version was made of where None.

    Raises:
        MissingExtraError: the worker has no torch.
        UserError: a gate did not pass.
    """
    try:
        from reference.gates import run_gates, write_validation
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(str(error.name), "train") from error
    with closing(open_dataset(storage, version)) as dataset:
        found = run_gates(dataset, gates=gates, short=short)
        where = write_validation(dataset.storage, found)
        rows = [{"gate": one.gate, "passed": str(one.passed), "said": one.said} for one in found.findings]
        quietly(show_table, key_of(dataset.name, "gates"), rows)
        if not found.passed:
            raise UserError(f"{dataset.version} does not pass", where=where, mend="see the gates in that file")
        return {"version": dataset.version, "validation": where}


def let_in(storage: Storage, version: str, gates: Gates | None = None) -> str:
    """Judge a version that waits, unless gates of these thresholds refused it before, and make it the one that readers
    open.

    Args:
        storage: the dataset's root.
        version: the one that waits.
        gates: thresholds of the recipe as it is now: they may be others than when the version was made.

    Returns:
        What became of it, in words. A worker without torch leaves it waiting.

    Raises:
        UserError: its gates do not pass, now or the last time.
    """
    if (where := last_refusal(storage, version, gates)) is not None:
        raise UserError(
            f"{version} still waits: it did not pass",
            where=where,
            mend="see the gates in that file; other thresholds in the recipe judge it again, publish_region lets it in",
        )
    try:
        judge(storage, version, gates=gates)
    except MissingExtraError:
        return WAITS
    let_readers_in(storage, version)
    return "its gates pass"


def let_readers_in(storage: Storage, version: str) -> str:
    """Make a version that waits the current one; the one before."""
    with dataset_lock(storage, f"publish on {socket.gethostname()} pid {os.getpid()}"):
        return promote(storage, version)
