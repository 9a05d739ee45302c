"""A back-fill is passed over where the current version holds its day already."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from flows.regions import load_regions
from flows.scheduled import held_until, refresh
from shards.storage import open_storage
from shards.version import publish
from tests.unit.shards import made_up

TABLE = """\
format: 1
name: alps
recipe: sandbox
root: data/{region}
regions:
  - {name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}
"""


def _publish(root: Path, made: date, last_day: str) -> None:
    recipe = {"name": "made-up", "format": 1, "time": {"start": "2021-01-01", "end": last_day}}
    created = datetime(made.year, made.month, made.day, 3, tzinfo=UTC)
    publish(open_storage(root), made_up.draft(root, [made_up.sample(0)], created=created, recipe=recipe))


@pytest.mark.parametrize(
    ("last_day", "held"),
    [("2030-12-31", date(2026, 3, 8)), ("2026-03-04", date(2026, 3, 4))],
)
def test_a_version_holds_the_days_before_its_making_up_to_its_recipe_s_end(
    tmp_path: Path, last_day: str, held: date
) -> None:
    storage = open_storage(tmp_path / "d")
    assert held_until(storage) is None
    _publish(tmp_path / "d", date(2026, 3, 9), last_day)
    assert held_until(storage) == held


def test_a_day_that_the_current_version_holds_builds_nothing(tmp_path: Path) -> None:
    (tmp_path / "regions.yaml").write_text(TABLE)
    _publish(tmp_path / "data" / "inn", date(2026, 3, 9), "2030-12-31")
    regions = load_regions(tmp_path / "regions.yaml")
    done = refresh(regions, "inn", date(2026, 3, 8))
    assert done == {"region": "inn", "published": False, "skipped": True}
