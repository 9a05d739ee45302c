"""docs/dataset.md tells every column of `chips.parquet`; those of shifts stand in docs/coregistration.md."""

from __future__ import annotations

import re
from pathlib import Path

from shards.tables import CHIP_COLUMNS, LAYER_COLUMNS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_column_of_chips_is_told() -> None:
    pages = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("dataset.md", "coregistration.md"))
    rows = " ".join(line.split(" | ")[0] for line in pages.splitlines() if line.startswith("| `"))
    told = {name.removeprefix("<m>.").removeprefix("<group>.") for name in re.findall(r"`([^`]+)`", rows)}
    assert {*CHIP_COLUMNS, *LAYER_COLUMNS} - told == set()
