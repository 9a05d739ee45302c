"""Days that tables give to chips, as columns of the cells: an event or observation, start, peak and end of a season."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet
import shapely
from numpy.typing import NDArray

from chips.cell_table import CellTable
from chips.windows import COLUMN_PREFIX
from schemas.errors import DecodeError, RecipeError
from schemas.recipe import Recipe, Time
from schemas.recipe_base import FIRST_YEAR, LAST_YEAR
from schemas.recipe_windows import Around, Pair, Seasons, date_key
from sources.footprint import all_unfolded
from sources.vector_files import read_vector

SEASON = ("start", "peak", "end")


def with_dates(recipe: Recipe, folder: Path, cells: CellTable) -> CellTable:
    """The cells with a column for every day that a window's table holds (`chips.windows.dates_at` reads them).

    Args:
        recipe: whose ``time`` and modalities' ``time`` may name tables.
        folder: where relative paths begin.
        cells: where chips lie; a grid of points brings its table's columns.

    Raises:
        RecipeError: a table that cannot be read or matched, a day that is none, two days for one chip; no day for any
            chip, where no chip could then be kept.
    """
    for where, wish, is_optional in _times(recipe):
        windows = wish.windows
        if isinstance(windows, Pair | Around) and windows.event is None:
            found, table = {windows.key: _events(windows, folder, cells, where)}, windows.table
        elif isinstance(windows, Seasons) and windows.table is not None:
            found, table = _seasons(wish, windows.table, folder, cells, where), windows.table
        else:
            continue
        if not is_optional and not any((days != "").any() for days in found.values()):
            what = f"{table or 'the grid'} has a day for none of {len(cells)} chips"
            mend = "its chip_id, region or places must be theirs" if table else "fill the column"
            raise RecipeError(what, where=where, mend=mend)
        for key, days in found.items():
            cells = cells.with_column(f"{COLUMN_PREFIX}{key}", days)
    return cells


def _times(recipe: Recipe) -> Iterator[tuple[str, Time, bool]]:
    """Where a time stands in the recipe, the time, and whether chips can do without all that go by it."""
    shared = [modality.optional for modality in recipe.modalities.values() if modality.time is None]
    yield "time.windows", recipe.time, all(shared)
    for name, modality in recipe.modalities.items():
        if modality.time is not None:
            yield f"modalities.{name}.time.windows", modality.time, modality.optional


def _events(pair: Pair | Around, folder: Path, cells: CellTable, where: str) -> NDArray[np.str_]:
    """(N,) the event's day of each cell, or nothing."""
    found = np.full(len(cells), "", dtype="U10")
    if pair.table is None:
        column = str(pair.column)
        if column not in cells.columns:
            known = ", ".join(sorted(cells.columns)) or "none"
            raise RecipeError(
                f"the grid brings no column {column!r}", where=where, mend=f"known: {known}; or name a table"
            )
        return np.array([_iso(value, where, str(value)) for value in cells.columns[column]], dtype="U10")
    table = _read(folder / pair.table, where)
    column = pair.column or "event"
    _need(table, (column,), where)
    for row, places in _matches(table, cells, where):
        day = _iso(table[column].iloc[row], where, f"row {row + 1}")
        for place in places if day else ():
            if found[place] not in ("", day):
                raise RecipeError(
                    f"{pair.table} gives chip {cells.chip_id[place]} two events, {found[place]} and {day}",
                    where=where,
                    mend="keep one row per chip; of a table that is the grid's own file name the column alone",
                )
            found[place] = day
    return found


def _seasons(wish: Time, name: str, folder: Path, cells: CellTable, where: str) -> dict[str, NDArray[np.str_]]:
    """Key (year and start, peak or end) -> (N,) day of each cell, or nothing."""
    table = _read(folder / name, where)
    _need(table, SEASON, where)
    found: dict[str, NDArray[np.str_]] = {}
    for row, places in _matches(table, cells, where):
        entry = table.iloc[row]
        said = f"{name} row {row + 1}"
        years = _years(entry, wish, said, where)
        for year in years:
            days = _season(entry, year, said, where)
            if len(years) > 1 and year == wish.start.year - 1 and days[2] < wish.start:
                continue  # it does not reach into the first year
            label = days[1].year if year is None else year
            for column, day in zip(SEASON, days, strict=True):
                key = date_key(name, f"{label}.{column}")
                values = found.setdefault(key, np.full(len(cells), "", dtype="U10"))
                clash = [place for place in places if values[place] not in ("", day.isoformat())]
                if clash:
                    raise RecipeError(
                        f"{name} gives chip {cells.chip_id[clash[0]]} two seasons in {label}",
                        where=where,
                        mend="keep one row per chip or region and year",
                    )
                values[places] = day.isoformat()
    return found


def _years(entry: Any, wish: Time, row: str, where: str) -> list[int | None]:
    """Years in which a row's days of the year begin; None where they are dates. Without a year all that may matter: a
    season of the year before reaches into the first.
    """
    if not _is_number(entry["start"]):
        return [None]
    year = entry.get("year")
    if year is None or pd.isna(year):
        return list(range(wish.start.year - 1, wish.end.year + 1))
    if not _is_number(year) or not float(year).is_integer() or not FIRST_YEAR <= float(year) <= LAST_YEAR:
        raise RecipeError(f"{row}: {str(year)[:40]!r} is no year", where=where, mend="write 2021")
    return [int(float(year))]


def _season(entry: Any, year: int | None, row: str, where: str) -> tuple[date, date, date]:
    """Start, peak and end; a day of the year before the one that it follows lies in the next year."""
    days: list[date] = []
    for column in SEASON:
        value = entry[column]
        if year is None:
            iso = _iso(value, where, row)
            if not iso:
                raise RecipeError(f"{row}: no {column}", where=where)
            days.append(date.fromisoformat(iso))
            continue
        if not _is_number(value) or not 1 <= float(value) <= 731:
            raise RecipeError(f"{row}: {column} is {str(value)[:40]!r}, wanted a day of the year from 1", where=where)
        day = date(year, 1, 1) + timedelta(days=int(float(value)) - 1)
        if days and day < days[-1] and float(value) <= 366:
            day = date(year + 1, 1, 1) + timedelta(days=int(float(value)) - 1)
        days.append(day)
    start, peak, end = days
    if not start <= peak <= end:
        raise RecipeError(f"{row}: start {start}, peak {peak} and end {end} are not in order", where=where)
    return start, peak, end


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False


def _iso(value: Any, where: str, row: str) -> str:
    """A day in ISO form; empty for a missing one.

    Text is read as ISO 8601 alone: of 03/04/2021 nobody can tell the month. 20210714 may be text or a number.

    Raises:
        RecipeError: it is no day.
    """
    if value is None or value == "" or (not isinstance(value, str) and pd.isna(value)):
        return ""
    try:
        if isinstance(value, (date, np.datetime64)):
            day = date.fromisoformat(str(value)[:10])
        else:
            is_number = not isinstance(value, str) and float(value).is_integer()  # a column with gaps is one of floats
            day = datetime.fromisoformat(str(int(value)) if is_number else str(value).strip()).date()
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{row}: {str(value)[:40]!r} is no day", where=where, mend="write 2021-07-14") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:  # 9999-12-31 often stands for none
        said = f"{row}: {day} lies outside of {FIRST_YEAR} to {LAST_YEAR}"
        raise RecipeError(said, where=where, mend="leave it empty where there is none")
    return day.isoformat()


def _read(path: Path, where: str) -> pd.DataFrame:
    if not path.is_file():
        raise RecipeError(f"there is no file {path.name}", where=where, mend="give its path relative to the recipe")
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype={"chip_id": str, "region": str})
        if path.suffix == ".parquet":
            if b"geo" not in (pyarrow.parquet.read_schema(path).metadata or {}):
                return pd.read_parquet(path)
            places = geopandas.read_parquet(path)
            frame: pd.DataFrame = places if places.crs is None else places.to_crs(4326)
            return frame
        features: pd.DataFrame = read_vector(path).to_crs(4326)
        return features
    except DecodeError as error:
        mend = "save it as CSV, Parquet or GeoJSON"
        raise RecipeError(f"{path.name}: {error.what}", where=where, mend=mend) from error
    except Exception as error:  # pandas and pyogrio raise errors of many classes for a file they cannot parse
        raise RecipeError(
            f"{path.name} cannot be read", where=where, mend="save it as CSV, Parquet or GeoJSON"
        ) from error


def _need(table: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        known = ", ".join(map(str, table.columns))
        raise RecipeError(f"the table has no column {missing[0]!r}", where=where, mend=f"known: {known}")


def _matches(table: pd.DataFrame, cells: CellTable, where: str) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Row of the table and the cells that it speaks of: by chip, by region, or by the place inside."""
    for column, own in (("chip_id", cells.chip_id), ("region", cells.region)):
        if column in table.columns:
            yield from _by_name(table[column].astype(str).to_numpy(), np.asarray(own).astype(str))
            return
    points = _points(table, where)
    if points is None:
        raise RecipeError(
            "the table does not say where its days hold",
            where=where,
            mend="give a column chip_id or region, or lon and lat",
        )
    tree = shapely.STRtree(cells.footprints())
    rows, places = tree.query(points, predicate="intersects")
    for row in np.unique(rows):
        yield int(row), np.sort(places[rows == row])


def _by_name(names: NDArray[Any], own: NDArray[np.str_]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    order = np.argsort(own, kind="stable")
    ordered = own[order]
    low, high = np.searchsorted(ordered, names, "left"), np.searchsorted(ordered, names, "right")
    for row in range(len(names)):
        if high[row] > low[row]:
            yield row, np.sort(order[low[row] : high[row]])


def _points(table: pd.DataFrame, where: str) -> NDArray[np.object_] | None:
    if isinstance(table, geopandas.GeoDataFrame):
        return all_unfolded(np.asarray(table.geometry.values, dtype=object))
    if not {"lon", "lat"} <= set(table.columns):
        return None
    lon, lat = (pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in ("lon", "lat"))
    is_blank = (table["lon"].isna() & table["lat"].isna()).to_numpy()
    wrong = np.flatnonzero(~is_blank & ~((np.abs(lon) <= 180) & (np.abs(lat) <= 90)))
    if wrong.size:
        said = f"{table['lon'].iloc[wrong[0]]!s:.40}, {table['lat'].iloc[wrong[0]]!s:.40}"
        raise RecipeError(f"row {wrong[0] + 1}: {said} are no degrees", where=where, mend="write 11.25 and 47.5")
    return np.asarray(shapely.points(lon, lat))
