"""Which rows of Landsat are one picture: those of one pass, wherever on Earth midnight falls upon it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sources.landsat import datatake

ROW_S = 23.92
"""An orbit of 98.9 minutes has 248 rows."""


def item(path: Any, when: str, platform: str = "LANDSAT_8") -> dict[str, Any]:
    return {"id": "x", "properties": {"platform": platform, "landsat:wrs_path": path, "datetime": when}, "assets": {}}


def rows_of(path: int, row_60: datetime, rows: range) -> set[str]:
    """Keys of a pass that crosses the equator at ``row_60``."""
    times = (row_60 + timedelta(seconds=(row - 60) * ROW_S) for row in rows)
    return {datatake(item(f"{path:03d}", f"{time:%Y-%m-%dT%H:%M:%S.%f}Z")) for time in times}


def test_a_pass_over_midnight_utc_is_one_picture() -> None:
    """Path 95 crosses the equator at 150 E: there it is 10 in the morning at midnight UTC."""
    keys = {datatake(item("095", when)) for when in ("2024-04-17T23:59:50Z", "2024-04-18T00:00:14Z")}
    assert keys == {"landsat-8_095_20240418"}


def test_rows_of_one_path_on_both_sides_of_the_date_line_are_one_picture() -> None:
    """Row 17 of path 87 lies on the date line; paths 75 and 76 cross the equator on either side of it."""
    keys = {datatake(item("087", when)) for when in ("2009-06-21T22:53:06Z", "2009-06-21T22:53:30.371063Z")}
    assert keys == {"landsat-8_087_20090622"}
    assert len(rows_of(75, datetime(2009, 6, 21, 21, 55, tzinfo=UTC), range(1, 123))) == 1
    assert len(rows_of(76, datetime(2009, 6, 21, 22, 1, tzinfo=UTC), range(1, 123))) == 1


@pytest.mark.parametrize("equator_hour", [9.0, 10.2, 11.0])
def test_no_pass_is_cut_by_day_or_by_night_and_two_days_are_never_one(equator_hour: float) -> None:
    """Local times at the equator: 10:12 as planned, 9:00 of Landsat 7 in its last years."""
    for path in range(1, 234):
        east = (-64.6 - (path - 1) * 360 / 233 + 180) % 360 - 180
        crossed = datetime(2024, 4, 18, tzinfo=UTC) + timedelta(hours=equator_hour - east / 15)
        assert rows_of(path, crossed, range(1, 249)) == {f"landsat-8_{path:03d}_20240418"}


def test_keys_are_those_of_utc_where_the_local_date_is_the_same() -> None:
    assert datatake(item("047", "2020-12-04T19:02:11.194486Z")) == "landsat-8_047_20201204"
    assert datatake(item("193", "2021-09-05T10:03:41Z")) == "landsat-8_193_20210905"


@pytest.mark.parametrize("path", [None, "", "one", 0, 234, -3, float("nan"), [84]])
def test_a_path_that_is_none_leaves_the_date_in_utc(path: Any) -> None:
    assert datatake(item(path, "2024-04-17T23:59:50Z")).endswith("_20240417")


def test_a_date_without_a_time_of_day_is_taken_as_it_is() -> None:
    assert datatake(item(17, "2013-04-19")) == "landsat-8_17_20130419"
