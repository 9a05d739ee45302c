"""A plan comes whole, or the one before stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import plan_writer
from flows.plan_store import StoredPlan
from flows.plan_writer import PlanWriter
from flows.planning import make_plan
from schemas.errors import RecipeError, UserError
from tests.unit.flows.many_items import over, write_items


def test_what_a_killed_plan_left_is_removed_where_the_next_begins(tmp_path: Path) -> None:
    write_items(tmp_path / "items.parquet", 3)
    plan = tmp_path / "plan"
    for name in (".items.parquet.41", ".items.parquet.42"):
        (plan / name).mkdir(parents=True)
        (plan / name / "000000.arrow").write_bytes(b"items")
    for name in (".items.parquet.tmp-41", ".plan.json.41", "notes.txt"):
        (plan / name).write_bytes(b"half")
    make_plan(over(str(tmp_path / "items.parquet")), tmp_path, {}, plan)
    whole = ["chips.parquet", "items.parquet", "notes.txt", "plan.json", "tile_items.parquet", "tiles.parquet"]
    assert sorted(path.name for path in plan.iterdir()) == whole


def test_a_plan_stays_until_another_is_complete(tmp_path: Path) -> None:
    """A catalog that did not answer, or a kill, took the plan that parts were being built from."""
    write_items(tmp_path / "items.parquet", 3)
    plan, recipe, here = tmp_path / "plan", over("${TERRAWEFT_ITEMS}"), {"TERRAWEFT_ITEMS": "x.parquet"}
    make_plan(recipe, tmp_path, {"TERRAWEFT_ITEMS": str(tmp_path / "items.parquet")}, plan)
    before = {path.name: path.read_bytes() for path in plan.iterdir()}
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no"):
        make_plan(recipe, tmp_path, {"TERRAWEFT_ITEMS": str(tmp_path / "none")}, plan)
    assert {path.name: path.read_bytes() for path in plan.iterdir()} == before
    (plan / ".plan.json.7").mkdir()  # of one that was killed
    half_made = PlanWriter(plan)
    assert {path.name for path in plan.iterdir()} == {*before, half_made.making.name}
    assert StoredPlan(plan, recipe, here).offered == {"s2": 3}


def test_two_plans_are_not_made_in_one_folder(tmp_path: Path) -> None:
    """Each swept away what the other had half-written."""
    write_items(tmp_path / "items.parquet", 3)
    plan, recipe = tmp_path / "plan", over(str(tmp_path / "items.parquet"))
    with PlanWriter(plan) as first:
        with pytest.raises(RecipeError, match="another plan is being made in this folder"):
            make_plan(recipe, tmp_path, {}, plan)
        assert first.making.is_dir()
    make_plan(recipe, tmp_path, {}, plan)


def test_a_plan_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_items(tmp_path / "items.parquet", 3)
    synced: list[str] = []

    def sync_file(path: Path) -> None:
        assert not (path.parent / "plan.json").exists()
        synced.append(path.name)

    monkeypatch.setattr(plan_writer, "sync_file", sync_file)
    make_plan(over(str(tmp_path / "items.parquet")), tmp_path, {}, tmp_path / "plan")
    assert sorted(synced) == ["chips.parquet", "items.parquet", "tile_items.parquet", "tiles.parquet"]
