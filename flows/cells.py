"""The cells of a run: grid, then sampling, with the files and class products that the recipe names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chips.cell_table import CellTable
from chips.grid import cells_of
from chips.overview import Overview
from chips.sampling import SampleData, sample_cells
from chips.search_boxes import search_boxes
from flows.catalogs import Catalogs
from schemas.errors import RecipeError, SourceError
from schemas.recipe import LabelSource, LonLatBox, Recipe, fill
from schemas.recipe_samples import SampleClasses
from sources.labels_raster import choose_of, to_label_item
from sources.openers import PlainOpener
from sources.overviews import read_overview
from sources.places import read_places
from sources.regions import read_regions
from sources.search import Provider, search_in_order


@dataclass(frozen=True)
class Sampled:
    """What grid and sampling give."""

    cells: CellTable
    """The cells that become chips, in order of their ids; no split is decided yet."""
    asked: tuple[tuple[Provider, Sequence[LonLatBox]], ...] = ()
    """Collections that sampling looked at, and over which boxes: their items are frozen with the plan's."""


def planned_cells(
    recipe: Recipe, folder: Path, variables: Mapping[str, str], catalogs: Catalogs | None = None
) -> Sampled:
    """Cut the grid and take its samples.

    Args:
        recipe: the recipe.
        folder: where relative paths in it begin.
        variables: values of ``${TERRAWEFT_...}``.
        catalogs: the recipe's; made for this machine where absent.

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
    asked: list[tuple[Provider, Sequence[LonLatBox]]] = []
    data = []
    for index, step in enumerate(recipe.sample):
        where = f"sample.{index}"
        if isinstance(step, SampleClasses) and step.catalog is not None and step.collection is not None:
            provider, boxes = Provider(step.catalog, step.collection), search_boxes(cells)
            asked.append((provider, boxes))
            found = catalogs or Catalogs(recipe, variables)
            data.append(SampleData(None, _product(step, provider, boxes, cells, found, where)))
        else:
            data.append(_data(step, cells, folder, variables, where))
    return Sampled(sample_cells(cells, recipe.sample, data, recipe.seed), tuple(asked))


def _product(
    step: SampleClasses,
    provider: Provider,
    boxes: Sequence[LonLatBox],
    cells: CellTable,
    catalogs: Catalogs,
    where: str,
) -> tuple[Overview, ...]:
    """Overviews of a class product's items over the cells, the preferred first.

    Raises:
        RecipeError: there is none, or one cannot be read.
    """
    source = LabelSource(
        kind="raster",
        catalog=provider.catalog,
        collection=provider.collection,
        asset=step.asset,
        year=step.year,
        legend="worldcover",  # codes are only counted here: no name is looked up
    )
    found = search_in_order([provider], catalogs.__getitem__, boxes, (None, None), catalogs.breaker)
    try:
        items = [to_label_item(item, where, source, provider.catalog) for _, item in sorted(found.items.items())]
        chosen = choose_of(items, source)
        overviews = tuple(read_overview(item.refs[0].href, cells, where, catalogs.opener) for item in chosen)
    except SourceError as error:
        raise RecipeError(error.what, where=where, mend="check asset and allow_local") from error
    if not overviews:
        year = f" of {step.year}" if step.year else ""
        raise RecipeError(f"no item of {provider.collection}{year} lies here", where=where, mend="check collection")
    return overviews


def _data(step: Any, cells: CellTable, folder: Path, variables: Mapping[str, str], where: str) -> SampleData:
    """What the files of a step hold."""
    file, files = getattr(step, "file", None), getattr(step, "files", ())
    places = None if file is None else read_places(_path(file, folder, variables, f"{where}.file"), f"{where}.file")
    overviews = []
    for name in files:
        filled = fill(name, variables, f"{where}.files")
        href = filled if "://" in filled else str(folder / filled)
        overviews.append(read_overview(href, cells, f"{where}.files", PlainOpener(allow_local=True)))
    return SampleData(places, tuple(overviews))


def _path(name: str, folder: Path, variables: Mapping[str, str], where: str) -> Path:
    return folder / fill(name, variables, where)
