"""The long series: every fault injected for real, over and over, and counted. Not part of the suite: `make faults`.

A test asks for ``tally`` and says, trial by trial, what was injected and whether everything was there in the end. The
counts go to ``bench/results/faults.json`` at once: faults that were not tried this time keep their counts, and a series
that is run in pieces (``TERRAWEFT_FAULT_FIRST``) adds to its own.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.record import commit_here
from tests.integration.conftest import (  # noqa: F401  (fixtures)
    build,
    command,
    dask_address,
    environment,
    forker,
    on_cluster,
    sandbox_recipe,
    terraweft,
    world,
)

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "faults.json"
TRIALS_VARIABLE = "TERRAWEFT_FAULT_TRIALS"
"""How many random trials: 50 by default."""
FIRST_VARIABLE = "TERRAWEFT_FAULT_FIRST"
"""Number of the first random trial: a series of 50 may be run in pieces, whose counts add up. 0 begins a new count."""


@dataclass
class Count:
    """What came of a fault."""

    tried: int = 0
    """Times that it was injected."""
    survived: int = 0
    """Times that the end was right: the same dataset, or the outcome with its class."""
    lost: int = 0
    """Times that something was lost, silent or different."""
    seen: dict[str, int] = field(default_factory=dict)
    """What happened, in a few words -> how often."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the file should know."""


class Tally:
    """Counts of all faults, kept in a file.

    Args:
        path: of the file.
        goes_on: counts of faults that are there already are added to, not replaced.
    """

    def __init__(self, path: Path, goes_on: bool = False) -> None:
        self.path = path
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        self.before = {row["fault"]: Count(**{key: row[key] for key in row if key != "fault"}) for row in rows}
        self.counts: dict[str, Count] = dict(self.before) if goes_on else {}

    def note(self, fault: str, right: bool, seen: str = "", remark: str = "") -> None:
        """One trial of a fault is over.

        Args:
            fault: what was injected, in a few words.
            right: whether nothing was lost.
            seen: what happened, in a few words; counted.
            remark: stands in the file once.
        """
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):  # of whoever runs the series: nothing came of this trial
            return
        count = self.counts.setdefault(fault, Count())
        count.tried += 1
        count.survived += right
        count.lost += not right
        if seen:
            count.seen[seen] = count.seen.get(seen, 0) + 1
        if remark and remark not in count.notes:
            count.notes.append(remark)
        self._write()

    def _write(self) -> None:
        rows = self.before | self.counts
        lost = sum(count.lost for count in rows.values())
        result = {
            "id": "faults",
            "figure": lost,
            "unit": f"trials lost of {sum(count.tried for count in rows.values())}",
            "target": 0,
            "holds": lost == 0,
            "rows": [{"fault": fault, **asdict(count)} for fault, count in sorted(rows.items())],
            "commit": commit_here(),
            "measured": datetime.now(UTC).date().isoformat(),
        }
        self.path.write_text(json.dumps(result, indent=1) + "\n")


def _first_trial() -> int:
    return int(os.environ.get(FIRST_VARIABLE, "0"))


def _trials() -> int:
    return int(os.environ.get(TRIALS_VARIABLE, "50"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``trial`` runs once per random trial, with the trial's number."""
    if "trial" in metafunc.fixturenames:
        metafunc.parametrize("trial", range(_first_trial(), _first_trial() + _trials()))


@pytest.fixture(scope="session")
def tally() -> Tally:
    """Where trials are counted."""
    return Tally(RESULTS, goes_on=_first_trial() > 0)


@pytest.fixture(scope="session")
def trials() -> int:
    """How often the series that kill at random points try: 50, or what ``TERRAWEFT_FAULT_TRIALS`` says."""
    return _trials()
