"""The recipe's regions as EPSG:4326 geometries, from a box or a vector file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from schemas.errors import DecodeError, RecipeError
from schemas.recipe import LonLatBox, Recipe
from sources.footprint import unfolded
from sources.vector_files import read_vector

PIECES = 256
"""An edge as long as a region in metres is cut into so many before it becomes degrees: 1,000 km keep to 2 m."""

WHOLE = 359.999
"""Degrees from which something goes all the way around."""


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


def _read_file(path: Path, name: str, feature: str | None = None) -> BaseGeometry:
    where = f"regions.{name}.geojson"
    if not path.is_file():
        raise RecipeError(f"there is no file {path.name}", where=where, mend="give its path relative to the recipe")
    status = path.stat()
    try:
        table = read_vector(path) if feature is None else _features(path, (status.st_size, status.st_mtime_ns))
    except DecodeError as error:
        raise RecipeError(f"{path.name}: {error.what}", where=where, mend="save it as GeoJSON") from error
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
    if not table.crs.is_geographic:  # a straight edge of a map is none in degrees, by kilometres where it is long
        table = table.set_geometry(table.geometry.segmentize(max(np.ptp(table.total_bounds.reshape(2, 2), 0)) / PIECES))
    area = _area(table.to_crs(4326).geometry.values, path.name, where)
    if area.is_empty or area.area == 0.0:
        raise RecipeError(f"{path.name} holds no area", where=where, mend="give polygons")
    return area


@lru_cache(maxsize=1)
def _features(path: Path, _state: tuple[int, int]) -> Any:
    """The table of a file, as long as its size and time stay: each row of a site's table asks for one of its features.
    Not to be written to.
    """
    return read_vector(path)


def _area(geometries: Iterable[BaseGeometry | None], name: str, where: str) -> BaseGeometry:
    """Polygons of EPSG:4326 as one, within [-180, 180]: sound where rings cross themselves, cut at the antimeridian.

    Raises:
        RecipeError: they are no degrees, hold a pole within, or lie nobody can tell which way around the Earth.
    """
    parts: list[BaseGeometry] = []
    for geometry in geometries:
        if geometry is None or geometry.is_empty:
            continue
        west, south, east, north = geometry.bounds
        if not (np.isfinite(geometry.bounds).all() and south >= -90.0 and north <= 90.0 and east - west <= 360.0):
            mend = "save it as GeoJSON in EPSG:4326; a shapefile says with its .prj what it is in"
            raise RecipeError(f"{name}: {west:.9g}, {south:.9g} are no degrees", where=where, mend=mend)
        if any(_is_around_a_pole(part) for part in _polygons(geometry)):
            mend = "cut it into parts of fewer than 180 degrees"
            raise RecipeError(f"{name}: a polygon goes around a pole", where=where, mend=mend)
        sound = shapely.make_valid(shapely.force_2d(geometry))
        parts += [part for part in _polygons(sound) for part in _polygons(unfolded(part))]
    for part in parts:
        west, _, east, _ = part.bounds
        steps = np.abs(np.diff(shapely.get_coordinates(part.exterior)[:, 0]))
        if steps.max() > 180.0 and east - west < WHOLE:
            mend = "cut it at the antimeridian, or let its longitudes run past 180"
            raise RecipeError(f"{name}: a polygon is {east - west:.6g} degrees wide", where=where, mend=mend)
    return shapely.union_all(parts)


def _is_around_a_pole(part: BaseGeometry) -> bool:
    """Whether a ring, followed the short way from point to point, comes back a turn further on."""
    steps = np.diff(shapely.get_coordinates(part.exterior)[:, 0])
    jumps = (np.abs(steps) > 180.0) & (np.abs(steps) < WHOLE)  # along a pole, rings go all the way on purpose
    return bool(abs(steps[~jumps].sum() + (steps[jumps] - 360.0 * np.sign(steps[jumps])).sum()) > 180.0)


def _polygons(geometry: BaseGeometry) -> list[BaseGeometry]:
    """Its polygons; a stray point or line is no area, and chips under it were none that anybody asked for."""
    parts = [piece for part in shapely.get_parts(geometry) for piece in shapely.get_parts(part)]
    return [part for part in parts if part.geom_type == "Polygon"]
