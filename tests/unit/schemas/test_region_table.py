"""The region table: rows inherit, mistakes are one line, regions and roots are distinct."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.regions import load_regions
from schemas.errors import RecipeError, UserError

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
    from datetime import date

    regions = load_regions(_write(tmp_path, TABLE))
    whole, _ = regions.recipe("inn")
    assert regions.recipe("inn", date(2022, 3, 1))[0].time.end == date(2022, 3, 1)
    assert regions.recipe("inn", date(2100, 3, 1))[0].time.end == whole.time.end
    with pytest.raises(RecipeError, match="lies before the recipe's first day"):
        regions.recipe("inn", date(1999, 1, 1))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("timezone: Europe/Berlin", "timezone: Berlin", "regions.yaml:5: schedule: timezone 'Berlin' is not an IANA"),
        ('"0 2 * * *"', '"0 2 * *"', "cron has five fields"),
        ("root: data/{region}", "root: data", "two regions share the root 'data'"),
        ("root: data/{region}", "root: '{site}/{region}'", "root holds {site}, which is not filled in"),
        ("name: etsch", "name: inn", "region 'inn' stands twice"),
        ('cron: "0 2 * * *"', "from: 2021-02-30", "regions.yaml:5: schedule.from: '2021-02-30' is no date"),
        ("recipe: sandbox\n", "", "region 'inn' has no recipe"),
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


def test_an_unknown_region_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="known: inn, etsch"):
        load_regions(_write(tmp_path, TABLE)).row("nowhere")


def test_the_shipped_table_is_whole() -> None:
    regions = load_regions(ROOT / "recipes" / "regions" / "sandbox.yaml")
    for name in regions.names():
        assert regions.recipe(name)[0].regions[0].name == name
