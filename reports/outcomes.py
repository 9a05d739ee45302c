"""What the report shows of planned chips: how many were kept, rejected or failed, why, and one of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from reports.charts import number_text
from shards.guard import publishable

OUTCOME_COLUMNS = ("chip_id", "state", "reason", "measured", "limit", "error_class")
"""What is shown of ``outcomes.parquet``."""
_ORDER = {"kept": 0, "rejected": 1, "failed": 2}


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """Chips with one outcome."""

    state: str
    """kept, rejected or failed."""
    why: str
    """The rule that was broken, or the class of the error; empty for what was kept."""
    chips: int
    """How many."""
    measured: str
    """Least and largest value that the rule looked at; empty where there is none."""
    limit: str
    """What the rule allows."""
    example: str
    """The first such chip, of a failure with what was said."""


def outcome_rows(outcomes: pa.Table) -> list[OutcomeRow]:
    """One row for each outcome: the kept first, then the most frequent.

    Args:
        outcomes: ``outcomes.parquet``, or its `OUTCOME_COLUMNS`.
    """
    if not len(outcomes):
        return []
    for name in ("measured", "limit"):
        if name not in outcomes.column_names:
            outcomes = outcomes.append_column(name, pa.nulls(len(outcomes), pa.float64()))
    wanted = [([], "count_all"), ("measured", "min"), ("measured", "max"), ("limit", "max"), ("chip_id", "min")]
    groups = outcomes.group_by(["state", "reason", "error_class"], use_threads=False).aggregate(wanted).to_pylist()
    found: dict[tuple[str, str], OutcomeRow] = {}
    for group in sorted(groups, key=lambda row: str(row["chip_id_min"])):
        state, reason = str(group["state"]), str(group["reason"] or "")
        why = {"kept": "", "failed": str(group["error_class"] or "")}.get(state, reason)
        said = f": {publishable(reason)}" if state == "failed" and reason else ""
        first = OutcomeRow(
            state=state,
            why=why,
            chips=0,
            measured=_span(group["measured_min"], group["measured_max"]),
            limit=_span(group["limit_max"], group["limit_max"]),
            example="" if state == "kept" else f"{group['chip_id_min']}{said}",
        )
        row = found.get((state, why), first)
        found[state, why] = replace(row, chips=row.chips + group["count_all"])
    return sorted(found.values(), key=lambda row: (_ORDER.get(row.state, 3), -row.chips, row.why))


def _span(low: float | None, high: float | None) -> str:
    """``0.9 to 0.96``, one number where both are the same, nothing where there is none."""
    if low is None or high is None or low != low or high != high:
        return ""
    least, most = number_text(low), number_text(high)
    return least if least == most else f"{least} to {most}"
