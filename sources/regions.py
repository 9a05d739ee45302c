"""The recipe's regions as EPSG:4326 geometries, from a box or a vector file."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from schemas.errors import RecipeError
from schemas.recipe import LonLatBox, Recipe


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
            regions[region.name] = box_of(region.bbox)
        elif region.geojson is not None:
            regions[region.name] = _read_file(folder / region.geojson, region.name, region.feature)
    return regions


def box_of(bbox: LonLatBox) -> BaseGeometry:
    """The area of a box; two parts where its west is greater than its east, over the antimeridian.

    Example:
        >>> box_of((179.0, -18.0, -179.0, -16.0)).bounds
        (-180.0, -18.0, 180.0, -16.0)
    """
    west, south, east, north = bbox
    if west < east:
        return shapely.box(west, south, east, north)
    return shapely.multipolygons([shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)])


def _wrapped(area: BaseGeometry) -> BaseGeometry:
    """An area whose longitudes run past 180 (or before -180), as parts within."""
    parts = []
    for turn in (-360.0, 0.0, 360.0):
        moved = shapely.transform(area, lambda xy, turn=turn: xy + np.array([turn, 0.0]))
        parts.append(shapely.intersection(moved, shapely.box(-180.0, -90.0, 180.0, 90.0)))
    return shapely.union_all(parts)


def _read_file(path: Path, name: str, feature: str | None = None) -> BaseGeometry:
    where = f"regions.{name}.geojson"
    if not path.is_file():
        raise RecipeError(f"there is no file {path.name}", where=where, mend="give its path relative to the recipe")
    try:
        table = geopandas.read_file(path)
    except Exception as error:  # pyogrio raises errors of many classes for a file it cannot parse
        raise RecipeError(
            f"{path.name} cannot be read as a vector file", where=where, mend="save it as GeoJSON"
        ) from error
    if feature is not None:
        ids = [str(value) for value in table["id"]] if "id" in table else []
        if feature not in ids:
            known = ", ".join(sorted(ids)[:8]) or "none"
            raise RecipeError(f"{path.name} has no feature {feature!r}", where=where, mend=f"its ids: {known}")
        table = table[[value == feature for value in ids]]
    if table.crs is None:
        table = table.set_crs(4326)
    area = shapely.union_all(table.to_crs(4326).geometry.values)
    if area.is_empty or area.area == 0.0:
        raise RecipeError(f"{path.name} holds no area", where=where, mend="give polygons")
    west, _, east, _ = area.bounds
    return area if west >= -180.0 and east <= 180.0 else _wrapped(area)
