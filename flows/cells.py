"""The cells of a run: grid, then sampling, with the files that the recipe names beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.sampling import SampleData, sample_cells
from schemas.errors import RecipeError
from schemas.recipe import Recipe, fill
from sources.places import read_overview, read_places
from sources.regions import read_regions


def planned_cells(recipe: Recipe, folder: Path, variables: Mapping[str, str]) -> CellTable:
    """The cells that become chips, in order of their ids; no split is decided yet.

    Args:
        recipe: the recipe.
        folder: where relative paths in it begin.
        variables: values of ``${TERRAWEFT_...}``.

    Raises:
        RecipeError: no cell fits or none is left, or a file does not hold what the recipe says.
    """
    places = None
    if recipe.grid.file is not None:
        places = read_places(_path(recipe.grid.file, folder, variables, "grid.file"), "grid.file")
    cells = CellTable.concat(cells_of(recipe.grid, read_regions(recipe, folder), places))
    if not len(cells):
        raise RecipeError(
            "no chip fits into the regions", where="grid.chip_m", mend="take a smaller chip or a larger region"
        )
    data = [_data(step, cells, folder, variables, f"sample.{i}") for i, step in enumerate(recipe.sample)]
    return sample_cells(cells, recipe.sample, data, recipe.seed)


def _data(step: Any, cells: CellTable, folder: Path, variables: Mapping[str, str], where: str) -> SampleData:
    """What the files of a step hold."""
    file, files = getattr(step, "file", None), getattr(step, "files", ())
    places = None if file is None else read_places(_path(file, folder, variables, f"{where}.file"), f"{where}.file")
    overviews = []
    for name in files:
        filled = fill(name, variables, f"{where}.files")
        href = filled if "://" in filled else str(folder / filled)
        overviews.append(read_overview(href, cells, f"{where}.files"))
    return SampleData(places, tuple(overviews))


def _path(name: str, folder: Path, variables: Mapping[str, str], where: str) -> Path:
    return folder / fill(name, variables, where)
