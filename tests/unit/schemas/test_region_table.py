"""The region table: rows inherit, mistakes are one line, regions and roots are distinct."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.regions import Regions, load_regions
from schemas import region_table
from schemas.errors import RecipeError, UserError
from schemas.recipe_windows import Listed

ROOT = Path(__file__).parents[3]
TABLE = """\
format: 1
name: alps
recipe: sandbox
root: data/{region}
schedule: {cron: "0 2 * * *", timezone: Europe/Berlin}
fresh_within_days: 8
regions:
  - {name: inn, bbox: [12.1, 47.7, 12.3, 47.9]}
  - {name: etsch, bbox: [11.1, 46.7, 11.3, 46.9], fresh_within_days: 2, schedule: {cron: "30 4 * * 1"}}
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "regions.yaml"
    path.write_text(text)
    return path


def test_rows_take_from_the_table_what_they_do_not_say(tmp_path: Path) -> None:
    regions = load_regions(_write(tmp_path, TABLE))
    inn, etsch = regions.row("inn"), regions.row("etsch")
    assert (inn.fresh_within_days, etsch.fresh_within_days) == (8, 2)
    assert inn.schedule is not None
    assert inn.schedule.timezone == "Europe/Berlin"
    assert etsch.schedule is not None
    assert (etsch.schedule.cron, etsch.schedule.timezone) == ("30 4 * * 1", "UTC")
    assert regions.root("inn", {}) == str(tmp_path / "data" / "inn")
    at_home = load_regions(_write(tmp_path, TABLE.replace("data/{region}", "~/{region}")))
    assert at_home.root("inn", {}) == str(Path.home() / "inn")


def test_time_zones_are_listed_once_for_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(region_table, "available_timezones", lambda: asked.append("again") or {"UTC", "Europe/Berlin"})
    load_regions(_write(tmp_path, TABLE))
    assert len(asked) <= 1, "not for the table and again for each row that has a schedule of its own"


def test_a_region_s_recipe_holds_that_region_alone(tmp_path: Path) -> None:
    recipe, _ = load_regions(_write(tmp_path, TABLE)).recipe("inn")
    assert recipe.name == "alps-inn"
    assert [(region.name, region.bbox) for region in recipe.regions] == [("inn", (12.1, 47.7, 12.3, 47.9))]


def test_outlines_come_from_the_feature_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text((ROOT / "recipes" / "sandbox.yaml").read_text())
    text = TABLE.replace("recipe: sandbox", "recipe: mine.yaml\ngeojson: areas.geojson")
    text = text.replace("name: inn, bbox: [12.1, 47.7, 12.3, 47.9]", "name: inn")
    recipe, folder = load_regions(_write(tmp_path, text)).recipe("inn")
    region = recipe.regions[0]
    assert (region.geojson, region.feature, folder) == ("areas.geojson", "inn", tmp_path)


def test_a_day_as_of_which_a_refresh_is_made_ends_the_recipe_earlier_never_later(tmp_path: Path) -> None:
    regions = load_regions(_write(tmp_path, TABLE))
    whole, _ = regions.recipe("inn")
    assert regions.recipe("inn", date(2022, 3, 1))[0].time.end == date(2022, 3, 1)
    assert regions.recipe("inn", date(2100, 3, 1))[0].time.end == whole.time.end
    with pytest.raises(RecipeError, match="1999-01-01 lies before the first day, 2021-01-01"):
        regions.recipe("inn", date(1999, 1, 1))


EARLY = {"id": "early", "start": "2021-05-01", "end": "2021-06-30"}
OPEN = {"id": "open", "start": "2022-02-01", "end": "2022-06-30"}
LATE = {"id": "late", "start": "2022-07-01", "end": "2022-08-31"}
CUT = {
    "window of its own": ({"start": "2021-03-01", "end": "2022-06-30"}, {}),
    "event": ({"windows": {"kind": "pair", "event": "2022-02-01"}}, {}),
    "windows": (
        {"windows": {"kind": "list", "windows": [EARLY, OPEN, LATE]}},
        {"early": "2021-06-30", "open": "2022-03-01"},
    ),
}
NOTHING_LEFT = {
    "window of its own": ({"start": "2022-04-01"}, "modalities.s2.time: 2022-03-01 lies before the first day"),
    "event": (
        {"windows": {"kind": "pair", "event": "2022-03-02"}},
        "2022-03-01 lies before the first day after the event",
    ),
    "windows": ({"windows": {"kind": "list", "windows": [LATE]}}, "2022-03-01 lies before the first window, late"),
}


def _with_own_time(folder: Path, time: dict[str, Any]) -> Regions:
    recipe = yaml.safe_load((ROOT / "recipes" / "sandbox.yaml").read_text())
    recipe["modalities"]["s2"]["time"] = {"start": "2021-01-01", "end": "2022-12-31"} | time
    (folder / "mine.yaml").write_text(yaml.safe_dump(recipe))
    return load_regions(_write(folder, TABLE.replace("recipe: sandbox", "recipe: mine.yaml")))


@pytest.mark.parametrize("what", CUT)
def test_a_day_as_of_which_a_refresh_is_made_ends_the_times_of_modalities_too(tmp_path: Path, what: str) -> None:
    """Else a back-fill would read what was acquired after its day."""
    own, windows = CUT[what]
    time = _with_own_time(tmp_path, own).recipe("inn", date(2022, 3, 1))[0].modalities["s2"].time
    assert time is not None
    assert time.end == date(2022, 3, 1)
    if isinstance(time.windows, Listed):
        assert {one.id: str(one.end) for one in time.windows.windows} == windows


@pytest.mark.parametrize("what", NOTHING_LEFT)
def test_a_day_that_leaves_nothing_of_a_modality_is_one_line(tmp_path: Path, what: str) -> None:
    own, said = NOTHING_LEFT[what]
    with pytest.raises(RecipeError, match=said):
        _with_own_time(tmp_path, own).recipe("inn", date(2022, 3, 1))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("timezone: Europe/Berlin", "timezone: Berlin", "regions.yaml:5: schedule: timezone 'Berlin' is not an IANA"),
        ('"0 2 * * *"', '"0 2 * *"', "cron has five fields"),
        ("root: data/{region}", "root: data", "two regions share the root 'data'"),
        ("root: data/{region}", "root: '${HOME}/{region}'", "root holds ${HOME}, which is not filled in"),
        ("root: data/{region}", "root: '{site}/{region}'", "root holds {site}, which is not filled in"),
        ("name: etsch", "name: inn", "region 'inn' stands twice"),
        ('cron: "0 2 * * *"', "from: 2021-02-30", "regions.yaml:5: schedule.from: '2021-02-30' is no date"),
        ("recipe: sandbox\n", "", "region 'inn' has no recipe"),
        (
            "[12.1, 47.7, 12.3, 47.9]",
            "[12.3, 47.9, 12.1, 47.7]",
            "regions.yaml:8: regions.0: bbox is west, south, east",
        ),
        ("[12.1, 47.7, 12.3, 47.9]", "[12.1, 47.7]", "regions.0.bbox needs four numbers (see docs/operating.md)"),
        ("name: alps", f"name: {'a' * 60}", "is named with more than 64 characters"),
        ("fresh_within_days: 8", "fresh_within: 8", "did you mean 'fresh_within_days'?"),
        (
            "recipe: sandbox\n",
            "recipe: sandbox\nnotify: {webhook_env: 'https://hook/secret'}\n",
            "names of environment variables",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_what_and_where(tmp_path: Path, before: str, after: str, line: str) -> None:
    assert before in TABLE
    with pytest.raises(RecipeError) as caught:
        load_regions(_write(tmp_path, TABLE.replace(before, after)))
    assert line in caught.value.line()
    assert "\n" not in caught.value.line()


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="regions is empty: give at least one row"):
        load_regions(_write(tmp_path, TABLE.split("regions:")[0] + "regions: []\n"))


def test_an_unknown_region_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="known: inn, etsch"):
        load_regions(_write(tmp_path, TABLE)).row("nowhere")


def test_the_shipped_table_is_whole() -> None:
    regions = load_regions(ROOT / "recipes" / "regions" / "sandbox.yaml")
    for name in regions.names():
        assert regions.recipe(name)[0].regions[0].name == name
