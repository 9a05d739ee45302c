"""Days of tables reach the chips that they are meant for: by chip, by region, by the place inside; nonsense is told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from chips.cell_table import CellTable
from chips.windows import dates_at, spans_of
from schemas.errors import RecipeError
from sources.date_tables import with_dates
from tests.unit.sources.scenes_made_up import chip, recipe


def cells(**columns: Any) -> CellTable:
    """Three chips of 960 m in a row."""
    left = 600_000.0 + 960.0 * np.arange(3)
    low = np.full(3, 5_300_040.0)
    return CellTable(
        np.array(["c0", "c1", "c2"]),
        np.full(3, 32632, np.int32),
        np.column_stack([left, low, left + 960.0, low + 960.0]),
        np.array(["a", "a", "b"]),
        np.array(["", "", ""]),
        columns,
    )


def days(folder: Path, windows: dict[str, Any], of: CellTable | None = None) -> list[list[str]]:
    rules = recipe(time={"start": "2021-01-01", "end": "2022-12-31", "windows": windows})
    table = with_dates(rules, folder, of or cells())
    return [[f"{key} {day}" for key, day in dates_at(table.columns, i)] for i in range(3)]


def test_events_by_chip_by_region_and_by_place(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("chip_id,event\nc2,2021-05-03\nelsewhere,2021-01-01\n")
    assert days(tmp_path, {"kind": "pair", "table": "e.csv"}) == [[], [], ["e.csv:event 2021-05-03"]]
    (tmp_path / "r.csv").write_text("region,flood\na,2021-05-03T10:00:00Z\n")
    by_region = days(tmp_path, {"kind": "pair", "table": "r.csv", "column": "flood"})
    assert by_region == [["r.csv:flood 2021-05-03"]] * 2 + [[]]
    lon, lat = cells().centres_lonlat()
    (tmp_path / "p.csv").write_text(f"lon,lat,event\n{lon[1]},{lat[1]},2021-07-01\n")
    assert days(tmp_path, {"kind": "pair", "table": "p.csv"}) == [[], ["p.csv:event 2021-07-01"], []]
    feature = {
        "type": "Feature",
        "properties": {"event": "2021-07-02"},
        "geometry": {"type": "Point", "coordinates": [lon[0], lat[0]]},
    }
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert days(tmp_path, {"kind": "pair", "table": "p.geojson"})[0] == ["p.geojson:event 2021-07-02"]


def test_event_of_the_grids_own_table(tmp_path: Path) -> None:
    own = cells(fire=np.array(["2021-08-01", "", "2021-09-01"]))
    found = days(tmp_path, {"kind": "pair", "column": "fire"}, own)
    assert found == [[":fire 2021-08-01"], [], [":fire 2021-09-01"]]
    assert days(tmp_path, {"kind": "around", "column": "fire"}, own) == found


def test_growth_by_day_of_year_runs_into_the_next_year(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("region,year,start,peak,end\na,2021,280,20,100\nb,,90,180,270\n")
    wish = {"kind": "seasons", "calendar": "phenology", "table": "g.csv"}
    found = days(tmp_path, wish)
    assert found[0] == ["g.csv:2021.end 2022-04-10", "g.csv:2021.peak 2022-01-20", "g.csv:2021.start 2021-10-07"]
    assert len(found[2]) == 6  # a row without a year holds for both
    (tmp_path / "d.csv").write_text("chip_id,start,peak,end\nc1,2021-03-01,2021-05-01,2021-08-01\n")
    assert days(tmp_path, wish | {"table": "d.csv"})[1][2] == f"d.csv:2021.start {date(2021, 3, 1)}"


def test_a_season_of_every_year_reaches_into_the_first_one(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("region,start,peak,end\na,280,120,190\nb,90,180,270\n")
    wish = {"kind": "seasons", "calendar": "phenology", "table": "g.csv"}
    rules = recipe(time={"start": "2021-01-01", "end": "2021-12-31", "windows": wish})
    table, time = with_dates(rules, tmp_path, cells()), rules.modalities["m"].time
    assert time is not None
    spans = [
        [(s.window, f"{s.start_utc:%m-%d}", f"{s.end_utc:%m-%d}") for s in spans_of(time, one)]
        for one in (replace(chip(), dates=dates_at(table.columns, place)) for place in (0, 2))
    ]
    assert spans[0] == [("2020-season", "01-01", "07-09"), ("2021-season", "10-07", "12-31")]
    assert spans[1] == [("2021-season", "03-31", "09-27")]
    assert not any("2020" in key for key, _ in dates_at(table.columns, 2)), "what ends before the first day is no input"


def test_places_of_geoparquet_are_in_its_own_projection(tmp_path: Path) -> None:
    lon, lat = cells().centres_lonlat()
    place = geopandas.GeoDataFrame({"event": ["2021-07-01"]}, geometry=[shapely.Point(lon[1], lat[1])], crs=4326)
    for epsg in (4326, 32632):
        place.to_crs(epsg).rename_geometry("where").to_parquet(tmp_path / "p.parquet")
        assert days(tmp_path, {"kind": "pair", "table": "p.parquet"}) == [[], ["p.parquet:event 2021-07-01"], []]
    place.translate(360.0).to_frame("where").assign(event="2021-07-01").to_parquet(tmp_path / "p.parquet")
    assert days(tmp_path, {"kind": "pair", "table": "p.parquet"}) == [[], ["p.parquet:event 2021-07-01"], []]


@pytest.mark.parametrize("written", ["2021-07-14", "20210714", "2021-07-14T23:30:00-05:00", "2021-07-14 10:00:00.5Z"])
def test_a_day_is_the_one_that_is_written(tmp_path: Path, written: str) -> None:
    (tmp_path / "e.csv").write_text(f"chip_id,event\nc0,\nc1,{written}\n")
    wish = {"kind": "pair", "table": "e.csv"}
    assert days(tmp_path, wish) == [[], ["e.csv:event 2021-07-14"], []], "a column of numbers with a gap, too"
    (tmp_path / "e.csv").write_text(f"chip_id,event\nc1,{written}\n")
    assert days(tmp_path, wish) == [[], ["e.csv:event 2021-07-14"], []]


@pytest.mark.parametrize("odd", ["03/04/2021", "04.03.2021", "2021", "now", "20210714.5", "1626220800", "True"])
def test_a_day_that_may_be_another_is_refused(tmp_path: Path, odd: str) -> None:
    (tmp_path / "e.csv").write_text(f"chip_id,event\nc1,{odd}\n")
    with pytest.raises(RecipeError, match="is no day"):
        days(tmp_path, {"kind": "pair", "table": "e.csv"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("chip_id,when\nc0,2021-01-01\n", "no column 'event'"),
        ("name,event\nc0,2021-01-01\n", "does not say where"),
        ("chip_id,event\nc0,soon\n", "is no day"),
        ("chip_id,event\nc0,9999-12-31\n", "row 1: 9999-12-31 lies outside of 1900 to 2199"),
        ('lon,lat,event\n"11,2",47.5,2021-01-01\n', "row 1: 11,2, 47.5 are no degrees"),
        ("lon,lat,event\n,,2021-01-01\n600000,5300000,2021-01-01\n", "row 2: 600000.0, 5300000.0 are no degrees"),
        ("chip_id,event\nc0,2021-01-01\nc0,2021-02-01\n", "two events"),
        ("chip_id,event\nc0,2021-01-01\nc0,2021-02-01\n", "the grid's own file name the column alone"),
    ],
)
def test_nonsense_is_one_line(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "e.csv").write_text(content)
    with pytest.raises(RecipeError, match=words):
        days(tmp_path, {"kind": "pair", "table": "e.csv"})


@pytest.mark.parametrize("year", ["2021/22", "99999", "0", "2021.5"])
def test_a_year_that_is_none_is_one_line(tmp_path: Path, year: str) -> None:
    (tmp_path / "g.csv").write_text(f"region,year,start,peak,end\na,{year},100,150,200\n")
    with pytest.raises(RecipeError, match=r"g\.csv row 1: '.*' is no year"):
        days(tmp_path, {"kind": "seasons", "calendar": "phenology", "table": "g.csv"})


def test_a_table_that_speaks_of_no_chip_is_told_while_planning(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("chip_id,event\nC0,2021-05-03\n")
    (tmp_path / "g.csv").write_text("region,start,peak,end\nA,100,150,200\n")
    pair, growth = {"kind": "pair", "table": "e.csv"}, {"kind": "seasons", "calendar": "phenology", "table": "g.csv"}
    for windows, table in ((pair, "e.csv"), (growth, "g.csv")):
        with pytest.raises(RecipeError, match=f"time.windows: {table} has a day for none of 3 chips"):
            days(tmp_path, windows)
        time = {"start": "2021-01-01", "end": "2022-12-31", "windows": windows}
        with_dates(recipe(time=time, optional=True), tmp_path, cells())
    with pytest.raises(RecipeError, match="the grid has a day for none of 3 chips"):
        days(tmp_path, {"kind": "pair", "column": "fire"}, cells(fire=np.array(["", "", ""])))


def test_missing_files_and_columns_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no file none\.csv"):
        days(tmp_path, {"kind": "pair", "table": "none.csv"})
    with pytest.raises(RecipeError, match="brings no column 'fire'"):
        days(tmp_path, {"kind": "pair", "column": "fire"})
    (tmp_path / "g.csv").write_text("region,start,peak,end\na,2021-05-01,2021-03-01,2021-08-01\n")
    with pytest.raises(RecipeError, match="not in order"):
        days(tmp_path, {"kind": "seasons", "calendar": "phenology", "table": "g.csv"})
