"""INDEX: items per second of one core out of a stac-geoparquet index, as columns and as whole items.

    python bench/index_rate.py

A year of some 5,000 items, as `bench/p3_planning.py` makes them; the index is opened anew for every repeat.
Processor time is counted, of all threads: others on the machine change little about it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.p3_planning import make_index
from bench.record import record, spread

CHIPS = 50_000
TARGET = 2000.0
"""Items per second: thousands."""
REPEATS = 3
WORLD = (-180.0, -90.0, 180.0, 90.0)


def main() -> None:
    from sources.stac_index import IndexCatalog

    ways: dict[str, Callable[[Any], int]] = {
        "columns": lambda catalog: len(catalog.select("s2", [WORLD]).rows),
        "items": lambda catalog: len(catalog.search("s2", WORLD)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.parquet"
        count = make_index(path, CHIPS)
        for _ in range(REPEATS):
            for name, read in ways.items():
                began = time.process_time()
                assert read(IndexCatalog(str(path))) == count
                rates[name].append(count / (time.process_time() - began))
    rows = [{"read as": name, "items": count, "items per core second": spread(found)} for name, found in rates.items()]
    planned = rows[0]["items per core second"]["median"]  # what plans choose by; items are made of what a tile reads
    record(
        "index",
        figure=planned,
        unit="items per second of one core",
        target=TARGET,
        holds=planned >= TARGET,
        floor=None,
        rows=rows,
        packages=("pyarrow", "shapely"),
    )


if __name__ == "__main__":
    main()
