"""Versions that wait for their validation, and what was found when they were judged."""

from __future__ import annotations

import json
from typing import Any

from schemas.dataset import DatasetDocument
from schemas.errors import DatasetError
from schemas.recipe_gates import Gates
from shards.document import read_document
from shards.layout import VALIDATIONS
from shards.pointer import list_versions
from shards.storage import Storage


def validations_of(storage: Storage, version: str) -> list[str]:
    """Files of a version's validations, the oldest first."""
    return sorted(path for path, _ in storage.list(f"{VALIDATIONS}/{version}"))


def last_refusal(storage: Storage, version: str, gates: Gates | None = None) -> str | None:
    """The file of a version's newest validation by all gates, if that did not pass; None where it passed, there is
    none, or its thresholds were others than ``gates``.
    """
    passed, path, thresholds = _last_verdict(storage, version)
    is_other = gates is not None and thresholds != gates.model_dump(mode="json")
    return path if passed is False and not is_other else None


def limits_of(storage: Storage, path: str) -> str:
    """Gates by which a validation refused, each with the limits that it went by then: a recipe may have others by now.
    Empty where its file does not say.
    """
    try:
        refused = [gate for gate in json.loads(storage.read(path))["gates"] if not gate["holds"]]
        return "; ".join(" ".join([str(gate["gate"]), _limits(gate["thresholds"])]).strip() for gate in refused)
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        return ""


def _limits(thresholds: dict[str, float]) -> str:
    """Names and values, in brackets; nothing of none.

    >>> _limits({"min_gain": 0.15, "max_pairs": 0.0}), _limits({})
    ('(min_gain 0.15, max_pairs 0)', '')
    """
    return f"({', '.join(f'{name} {limit:g}' for name, limit in thresholds.items())})" if thresholds else ""


def waiting(storage: Storage, current: str) -> list[DatasetDocument]:
    """Versions that were to replace the current one and that no gates let in, the oldest first. One that passed and is
    not current was left again by hand, and so was one that was packed anew: readers had it at once.

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
        was_to_wait = (one.recipe.get("publish") or {}).get("after_validation") and "repacked_from" not in one.run
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
