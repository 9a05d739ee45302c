"""A site's region table as recipes: each row's own, over its own region, into its own dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flows.site import find_recipe
from schemas.errors import RecipeError, UserError
from schemas.recipe import Recipe, Region, fill
from schemas.recipe_file import Kind, load_checked
from schemas.region_table import RegionTable, Row

TABLE = Kind(RegionTable, "region table", "docs/operating.md")


@dataclass(frozen=True)
class Regions:
    """A table and where it lies."""

    table: RegionTable
    """The table."""
    path: Path
    """Its file."""

    def row(self, name: str) -> Row:
        """A row, with what the table says for all.

        Raises:
            UserError: there is none of that name.
        """
        try:
            return self.table.row(name)
        except KeyError:
            raise self._unknown(name) from None

    def names(self, wanted: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Names of the wanted regions; all where none is named.

        Raises:
            UserError: one is not in the table.
        """
        try:
            return self.table.names(wanted)
        except KeyError as error:
            raise self._unknown(str(error.args[0])) from None

    def _unknown(self, name: str) -> UserError:
        known = ", ".join(self.table.names())
        return UserError(f"there is no region {name!r}", where=self.path.name, mend=f"known: {known}")

    def root(self, name: str, environment: Mapping[str, str]) -> str:
        """Where a region's dataset lies.

        Raises:
            RecipeError: a variable in it is not set.
        """
        root = fill(self.table.root_of(name), environment, f"{self.path.name}: root")
        return root if "://" in root else str(self.path.parent / os.path.expanduser(root))

    def address(self, name: str, environment: Mapping[str, str]) -> str | None:
        """Address of the Dask scheduler of a region's refresh, or None: workers of its own.

        Raises:
            RecipeError: a variable in it is not set.
        """
        dask = self.row(name).dask
        return fill(dask, environment, f"{self.path.name}: dask") if dask else None

    def recipe(self, name: str, as_of: date | None = None) -> tuple[Recipe, Path]:
        """The recipe of a region, and the folder in which its relative paths begin.

        Args:
            name: of the region.
            as_of: nothing acquired after this day is asked for; None: up to the recipe's own last day.

        Raises:
            RecipeError: it cannot be read, ``as_of`` lies before its first day, or the row's place changes nothing.
        """
        row = self.row(name)
        given = Path(row.recipe or "")
        beside = self.path.parent / given
        recipe, folder = find_recipe(beside if beside.is_file() else given)
        changes: dict[str, object] = {"name": self.table.dataset_of(name)}
        if row.bbox is not None:
            changes["regions"] = (Region(name=name, bbox=row.bbox),)
        elif self.table.geojson is not None:
            outline = os.path.relpath(self.path.parent / self.table.geojson, folder)
            changes["regions"] = (Region(name=name, geojson=outline, feature=name),)
        if "regions" in changes and recipe.grid.kind == "list":
            what = f"the cells of {row.recipe} lie where they lie (grid.kind list), whatever the row's place"
            raise RecipeError(what, where=f"region {name}", mend="leave bbox and geojson out, or take another grid")
        if as_of is not None:
            changes |= _until(recipe, as_of, name)
        return Recipe.model_validate(recipe.model_copy(update=changes).model_dump(by_alias=True)), folder


def _until(recipe: Recipe, day: date, region: str) -> dict[str, object]:
    """The times of a recipe, its own and those of its modalities, up to a day.

    Raises:
        RecipeError: the day lies before all of one of them.
    """
    times = {f"modalities.{name}.time": one.time for name, one in recipe.modalities.items() if one.time is not None}
    cut = {}
    for where, time in {"time": recipe.time, **times}.items():
        try:
            cut[where] = time.until(day)
        except ValueError as error:
            raise RecipeError(f"{day} {error}", where=f"region {region}: {where}", mend="a later day") from error
    modalities = {
        name: one.model_copy(update={"time": cut.get(f"modalities.{name}.time")})
        for name, one in recipe.modalities.items()
    }
    return {"time": cut["time"], "modalities": modalities}


def load_regions(path: Path) -> Regions:
    """The region table in a file.

    Raises:
        RecipeError: one line: file and line, what is wrong, the mend.
    """
    return Regions(load_checked(path, TABLE), path.resolve())
