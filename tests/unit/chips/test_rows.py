"""Columns over the dates of a chip."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chips.rows import _windows
from schemas.chip import DateSource
from schemas.recipe import Recipe
from schemas.scene import SceneItem

EVENT = datetime(2021, 7, 14, tzinfo=UTC)


def recipe(windows: dict[str, Any]) -> Recipe:
    modality = {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "k"}
    return Recipe.model_validate(
        {
            "format": 1,
            "name": "t",
            "catalogs": {"c": {"kind": "static", "href": "x"}},
            "regions": [{"name": "r", "bbox": [10, 47, 11, 48]}],
            "grid": {"chip_m": 960},
            "time": {"start": "2021-01-01", "end": "2021-12-31", "windows": windows},
            "modalities": {
                "s2": modality,
                "s1": modality | {"select": {"near": {"modality": "s2", "max_gap_days": 9}}},
            },
        }
    )


def date(days: float, window: str) -> DateSource:
    when = EVENT + timedelta(days=days)
    item = SceneItem("c", "k", f"i{days}", "m", "sentinel-2-l2a", when, None, b"", ())
    return DateSource(((item,),), window, EVENT)


@pytest.mark.parametrize(
    ("windows", "gaps"),
    [
        ({"kind": "pair", "event": "2021-07-14"}, [3.0, 1.0]),
        ({"kind": "every", "days": 30}, [-2.0, 1.0]),
    ],
)
def test_the_gap_of_a_pair_is_to_the_companion_on_its_side(windows: dict[str, Any], gaps: list[float]) -> None:
    optical = date(-4, "pre"), date(1, "post")
    radar = date(-1, "pre"), date(2, "post")
    assert _windows(radar, "s1", recipe(windows), {"s2": optical})["near_gap_days"] == gaps


@pytest.mark.parametrize(
    ("days", "start", "said"),
    [
        (30, None, (EVENT, EVENT + timedelta(days=30))),
        (30, EVENT - timedelta(days=1), (EVENT - timedelta(days=1), EVENT + timedelta(days=30))),
        (0.001, EVENT - timedelta(days=0.001), None),
    ],
    ids=["a month", "a month and a day, with a moment of its own", "a pass"],
)
def test_an_item_of_several_days_says_from_when_to_when(
    days: float, start: datetime | None, said: tuple[datetime, datetime] | None
) -> None:
    (pass_of_a_day,) = date(1, "post").pictures[0]
    mosaic = SceneItem("c", "k", "i", "m", "s", EVENT, EVENT + timedelta(days=days), b"", (), start_utc=start)
    dates = [DateSource(((mosaic,),)), DateSource(((pass_of_a_day,),)), DateSource()]
    columns = _windows(dates, "s1", recipe({"kind": "every", "days": 30}), {})
    if said is None:
        assert "first_datetimes" not in columns
    else:
        moment = pass_of_a_day.datetime_utc
        assert columns["first_datetimes"] == [said[0], moment, None]
        assert columns["last_datetimes"] == [said[1], moment, None]
