"""What the report says first: when and how large the chips are, what binds them, what changed, how it was judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TIME_ENDINGS = (".datetimes", ".first_datetimes", ".last_datetimes")
"""Columns of ``chips.parquet`` that hold when a date was acquired, of composites from when to when."""


def headline(
    document: Mapping[str, Any], chips: pa.Table, validation: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """(question, answer) pairs; what a version does not tell is left out.

    Args:
        document: ``dataset.json``.
        chips: ``chips.parquet``, with its columns that end in `TIME_ENDINGS`.
        validation: the newest validation of the version, if there is one.
    """
    judged = "did not pass"
    if not validation:
        judged = "none when this page was written"
    elif validation.get("passed"):
        judged = "passed"
    answers = {
        "acquired": _acquired(chips),
        "finest layer": _finest(document),
        "licences": _licences(document),
        "against its parent": _changed(document),
        "validation": judged,
    }
    return [(question, answer) for question, answer in answers.items() if answer]


def _acquired(chips: pa.Table) -> str:
    """First and last day of all acquisitions."""
    names = [n for n in chips.column_names if n.endswith(TIME_ENDINGS) and not n.startswith("place.")]
    ends = [pc.min_max(pc.list_flatten(chips[name])).as_py() for name in names]
    known = [end for end in ends if end["min"] is not None]
    if not known:
        return ""
    first, last = (f"{day:%Y-%m-%d}" for day in (min(e["min"] for e in known), max(e["max"] for e in known)))
    return first if first == last else f"{first} to {last}"


def _finest(document: Mapping[str, Any]) -> str:
    """Pixels of the layer with the smallest ones; of chips that differ in size, the largest."""
    layers = [layer for layer in document.get("modalities", ()) if layer.get("shape_yx")]
    if not layers:
        return ""
    layer = min(layers, key=lambda one: float(one["gsd_m"]))
    rows, columns = layer["shape_yx"]
    return f"{layer['group']}, {columns} x {rows} pixels of {float(layer['gsd_m']):g} m"


def _licences(document: Mapping[str, Any]) -> str:
    named = [
        f"{source.get('licence')}{' (share alike)' if source.get('share_alike') else ''}"
        f"{' (not commercial)' if source.get('non_commercial') else ''}"
        for source in document.get("sources", ())
    ]
    return ", ".join(dict.fromkeys(named))


def _changed(document: Mapping[str, Any]) -> str:
    """``3 chips added, 8 changed, 1 removed``; empty for a first version."""
    diff = document.get("diff") or {}
    if not document.get("parent_version") or not {"added", "changed", "removed"} <= set(diff):
        return ""
    return f"{diff['added']:,} chips added, {diff['changed']:,} changed, {diff['removed']:,} removed"
