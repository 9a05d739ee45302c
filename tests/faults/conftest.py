"""The long series: every fault injected for real, over and over, and counted. Not part of the suite: `make faults`.

A test asks for ``tally`` and says, trial by trial, what was injected and whether everything was there in the end. When
a session ends the counts go to ``bench/results/faults.json``: faults that were not tried this time keep their counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.conftest import (  # noqa: F401  (fixtures)
    build,
    command,
    environment,
    forker,
    sandbox_recipe,
    terraweft,
    world,
)

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "faults.json"
TRIALS_VARIABLE = "TERRAWEFT_FAULT_TRIALS"


@dataclass
class Count:
    """What came of a fault."""

    tried: int = 0
    """Times that it was injected."""
    survived: int = 0
    """Times that the end was right: the same dataset, or the outcome with its class."""
    lost: int = 0
    """Times that something was lost, silent or different."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the table should know."""


class Tally:
    """Counts of all faults of a session."""

    def __init__(self) -> None:
        self.counts: dict[str, Count] = {}

    def note(self, fault: str, right: bool, remark: str = "") -> None:
        """One trial of a fault is over.

        Args:
            fault: what was injected, in a few words.
            right: whether nothing was lost.
            remark: stands in the table once.
        """
        count = self.counts.setdefault(fault, Count())
        count.tried += 1
        count.survived += right
        count.lost += not right
        if remark and remark not in count.notes:
            count.notes.append(remark)

    def rows(self) -> list[dict[str, object]]:
        """A row per fault."""
        return [{"fault": fault, **asdict(count)} for fault, count in sorted(self.counts.items())]


@pytest.fixture(scope="session")
def tally() -> Iterator[Tally]:
    """Where trials are counted; written when the session ends."""
    found = Tally()
    yield found
    if not found.counts:
        return
    before = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    rows = {row["fault"]: row for row in [*before, *found.rows()]}
    lost = sum(row["lost"] for row in rows.values())
    result = {
        "id": "faults",
        "figure": lost,
        "unit": f"trials lost of {sum(row['tried'] for row in rows.values())}",
        "target": 0,
        "holds": lost == 0,
        "rows": [rows[fault] for fault in sorted(rows)],
        "measured": datetime.now(UTC).date().isoformat(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


@pytest.fixture(scope="session")
def trials() -> int:
    """How often the series that kill at random points try: 50, or what ``TERRAWEFT_FAULT_TRIALS`` says."""
    return int(os.environ.get(TRIALS_VARIABLE, "50"))
