"""Items that an earlier plan used and the catalogs no longer give are named; what was not looked for is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import geopandas
from shapely.geometry import box

from sources.withdrawn import UsedItem, used_items, withdrawn

WINDOW = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC))
MAY = datetime(2024, 5, 1, tzinfo=UTC)
HERE, ELSEWHERE = box(10, 45, 11, 46), box(50, 45, 51, 46)


def test_only_what_was_looked_for_and_not_found_is_withdrawn() -> None:
    before = [
        UsedItem("s2", "there", MAY, HERE),
        UsedItem("s2", "gone", MAY, HERE),
        UsedItem("s2", "replaced", MAY, HERE),
        UsedItem("s2", "elsewhere", MAY, ELSEWHERE),
        UsedItem("s2", "earlier", datetime(2023, 5, 1, tzinfo=UTC), HERE),
        UsedItem("other", "not-asked", MAY, HERE),
    ]
    lines = withdrawn(before, {"s2": {"there", "new"}}, [(10.2, 45.2, 10.4, 45.4)], WINDOW, {"replaced"})
    assert lines == ["s2: 1 item(s) withdrawn since they were last used: gone"]


def test_items_of_a_plan_are_read_from_its_table(tmp_path: Path) -> None:
    assert used_items(tmp_path / "none.parquet") == []
    table = geopandas.GeoDataFrame(
        {"collection": ["s2"], "item_id": ["a"], "datetime": [MAY]}, geometry=[HERE], crs=4326
    )
    table.to_parquet(tmp_path / "items.parquet")
    assert used_items(tmp_path / "items.parquet") == [UsedItem("s2", "a", MAY, HERE)]
