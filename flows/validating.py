"""The gates over a version, from a flow: judged, kept beside the dataset, and let in where all of them pass."""

from __future__ import annotations

import json
import os
import socket
from contextlib import closing
from typing import Any

from flows.artifacts import key_of, quietly, show_table
from flows.reporting import validations_of
from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError, MissingExtraError, UserError
from schemas.recipe_gates import Gates
from shards.document import read_document
from shards.lock import dataset_lock
from shards.pointer import list_versions
from shards.reader import open_dataset
from shards.storage import Storage
from shards.version import promote

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


def last_refusal(storage: Storage, version: str, gates: Gates | None = None) -> str | None:
    """The file of a version's newest validation by all gates, if that did not pass; None where it passed, there is
    none, or its thresholds were others than ``gates``.
    """
    passed, path, thresholds = _last_verdict(storage, version)
    is_other = gates is not None and thresholds != gates.model_dump(mode="json")
    return path if passed is False and not is_other else None


def waiting(storage: Storage, current: str) -> list[DatasetDocument]:
    """Versions that were to replace the current one and that no gates let in, the oldest first. One that passed and is
    not current was left again by hand.

    Args:
        storage: the dataset's root.
        current: name of its current version; empty where there is none.
    """
    found = []
    for name in list_versions(storage):
        if name <= current:
            continue
        try:
            one = read_document(storage, name)
        except DatasetError:  # nothing comes of it, and readers have the current one
            continue
        was_to_wait = (one.recipe.get("publish") or {}).get("after_validation")
        if was_to_wait and one.parent_version == current and not _last_verdict(storage, name)[0]:
            found.append(one)
    return found


def _last_verdict(storage: Storage, version: str) -> tuple[bool | None, str, dict[str, Any]]:
    """Whether a version passed the newest validation by all gates, its file and its thresholds; None where there is
    none. One by some gates, by the short form or on another label decides nothing.
    """
    for path in reversed(validations_of(storage, version)):
        try:
            found = json.loads(storage.read(path))
            if found["whole"]:
                return bool(found["passed"]), path, dict(found.get("thresholds") or {})
        except (ValueError, TypeError, KeyError):
            break  # damaged, or of a release that did not note it: it is judged again
    return None, "", {}
