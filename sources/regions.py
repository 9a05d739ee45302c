"""The recipe's regions as EPSG:4326 geometries, from a box or a vector file."""

from __future__ import annotations

from pathlib import Path

import geopandas
import shapely
from shapely.geometry.base import BaseGeometry

from schemas.errors import RecipeError
from schemas.recipe import Recipe


def read_regions(recipe: Recipe, folder: Path) -> dict[str, BaseGeometry]:
    """Name -> EPSG:4326 geometry.

    Args:
        recipe: the recipe.
        folder: where relative paths begin: the recipe's own folder.

    Raises:
        RecipeError: a file cannot be read or holds no area.
    """
    regions: dict[str, BaseGeometry] = {}
    for region in recipe.regions:
        if region.bbox is not None:
            regions[region.name] = shapely.box(*region.bbox)
        elif region.geojson is not None:
            regions[region.name] = _read_file(folder / region.geojson, region.name)
    return regions


def _read_file(path: Path, name: str) -> BaseGeometry:
    where = f"regions.{name}.geojson"
    if not path.is_file():
        raise RecipeError(f"there is no file {path.name}", where=where, mend="give its path relative to the recipe")
    try:
        table = geopandas.read_file(path)
    except Exception as error:  # pyogrio raises errors of many classes for a file it cannot parse
        raise RecipeError(
            f"{path.name} cannot be read as a vector file", where=where, mend="save it as GeoJSON"
        ) from error
    if table.crs is None:
        table = table.set_crs(4326)
    area = shapely.union_all(table.to_crs(4326).geometry.values)
    if area.is_empty or area.area == 0.0:
        raise RecipeError(f"{path.name} holds no area", where=where, mend="give polygons")
    return area
