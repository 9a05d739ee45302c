"""docs/operating.md tells every key of a region table, and every class of error that a run can end in or a chip fail
with."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.region_table import Notify, RegionTable, Row, Schedule

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "chips", "shards", "sources", "labelers", "captioners", "reports", "flows", "terraweft")
PAGE = ROOT / "docs" / "operating.md"


def error_classes() -> set[str]:
    """Names of all classes below `schemas.errors.TerraweftError`, in whatever room."""
    text = "\n".join(path.read_text(encoding="utf-8") for room in ROOMS for path in (ROOT / room).glob("*.py"))
    bases = dict(re.findall(r"^class (\w+)\((\w+)\):", text, re.MULTILINE))
    found = {"TerraweftError"}
    while more := {name for name, base in bases.items() if base in found} - found:
        found |= more
    return found - {"TerraweftError"}


def test_every_class_of_error_has_a_row_in_the_runbook() -> None:
    _, _, runbook = PAGE.read_text(encoding="utf-8").partition("## When something failed")
    rows = [line for line in runbook.partition("\n## ")[0].splitlines() if line.startswith("|")]
    told = set(re.findall(r"`(\w+Error)`", " ".join(row.split("|")[1] for row in rows)))
    assert len(error_classes()) > 15
    assert error_classes() - told == set()


def test_every_key_of_a_region_table_is_told() -> None:
    _, _, section = PAGE.read_text(encoding="utf-8").partition("## The region table")
    told = {
        word for words in re.findall(r"`([^`]+)`", section.partition("\n## ")[0]) for word in re.findall(r"\w+", words)
    }
    keys = {key for model in (RegionTable, Row, Schedule, Notify) for key in model.model_fields}
    assert len(keys) > 15
    assert keys - told == set()
