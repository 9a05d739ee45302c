"""What a benchmark writes: medians over interleaved repeats, `holds` computed, machine, versions and commit."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import psutil

from bench import tables


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, least and largest of the repeats."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "largest": round(max(values), 4),
        "repeats": len(values),
    }


def commit_here() -> str:
    """The commit of the working folder."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def record(
    row: str,
    *,
    figure: float,
    unit: str,
    target: float,
    holds: bool | None,
    floor: Any,
    rows: Sequence[Mapping[str, Any]],
    packages: Sequence[str],
    further: Mapping[str, Any] | None = None,
) -> None:
    """Write ``bench/results/<row>.json``, the tables of ``bench/README.md``, and print the rows."""
    result = {
        "id": row.upper(),
        "figure": round(figure, 3),
        "unit": unit,
        "target": target,
        "holds": holds,
        "floor": floor,
        "rows": list(rows),
        **(further or {}),
        "machine": {
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "load_1min": round(os.getloadavg()[0], 1),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in packages},
        "commit": commit_here(),
    }
    tables.RESULTS.mkdir(exist_ok=True)
    (tables.RESULTS / f"{row}.json").write_text(json.dumps(result, indent=1) + "\n")
    tables.main()
    said = "not measured here" if holds is None else "holds" if holds else "does not hold"
    for line in rows:
        print("  ".join(f"{key}={value}" for key, value in line.items()))
    print(f"{row.upper()}: {figure:.3g} {unit}, target {target}: {said}")
