"""Differences that are paired within a world, with their intervals over worlds, and what they show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import t as student

SURE = 0.95
"""Of the intervals."""


def difference(name: str, one: Sequence[float], other: Sequence[float], sure: float = SURE) -> dict[str, Any]:
    """Mean of paired differences in points, its interval, each of them."""
    gains = [100.0 * (a - b) for a, b in zip(one, other, strict=True)]
    mean, error = statistics.fmean(gains), statistics.stdev(gains) / math.sqrt(len(gains))
    half = float(student.ppf(0.5 + sure / 2, len(gains) - 1)) * error
    return {
        "difference in points": name,
        "worlds": len(gains),
        "mean": round(mean, 2),
        "low": round(mean - half, 2),
        "high": round(mean + half, 2),
        "each": " ".join(f"{gain:+.1f}" for gain in gains),
    }


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether every difference is above 0, or one below."""
    if all(row["low"] > 0 for row in rows):
        return "shown"
    return "contradicted" if any(row["high"] < 0 for row in rows) else "not shown"
