"""Regions of files as people have them: any system, rings that cross themselves or the antimeridian."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
from shapely.geometry import box

from schemas.errors import RecipeError
from schemas.recipe import Recipe
from sources import regions
from sources.places import read_places
from sources.regions import read_regions
from tests.unit.terraweft.support import RECIPE

INN = [[11.0, 47.0], [11.2, 47.0], [11.2, 47.3], [11.0, 47.3], [11.0, 47.0]]
BOW = [[11.0, 47.0], [11.2, 47.3], [11.2, 47.0], [11.0, 47.3], [11.0, 47.0]]


def region_of(path: Path) -> Any:
    recipe = Recipe.model_validate(RECIPE | {"regions": [{"name": "r", "geojson": path.name}]})
    return read_regions(recipe, path.parent)["r"]


def geojson(path: Path, *geometries: dict[str, Any]) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": one} for one in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def written(path: Path, geometry: Any, epsg: int) -> Path:
    geopandas.GeoSeries([geometry], crs=epsg).to_file(path)
    return path


def test_a_ring_that_crosses_itself_is_the_area_that_it_draws(tmp_path: Path) -> None:
    """A traceback beside another polygon, and "holds no area" alone."""
    path = geojson(tmp_path / "a.geojson", polygon(BOW), polygon(INN))
    assert region_of(path).equals(shapely.box(11.0, 47.0, 11.2, 47.3))
    assert region_of(geojson(path, polygon(BOW))).area == pytest.approx(0.03)


def test_a_ring_over_the_antimeridian_is_not_the_other_side_of_the_earth(tmp_path: Path) -> None:
    fiji = [[179.0, -18.0], [-179.0, -18.0], [-179.0, -16.0], [179.0, -16.0], [179.0, -18.0]]
    found = region_of(geojson(tmp_path / "fiji.geojson", polygon(fiji)))
    assert sorted(part.bounds for part in found.geoms) == [(-180.0, -18.0, -179.0, -16.0), (179.0, -18.0, 180.0, -16.0)]
    zone = region_of(written(tmp_path / "zone.gpkg", box(700e3, 8.0e6, 900e3, 8.3e6), 32760))
    assert zone.area == pytest.approx(5.09, abs=0.02), "0.3 x 0.2 thousand km, and not the rest of the parallel"
    past = [[lon % 360.0, lat] for lon, lat in fiji]
    assert region_of(geojson(tmp_path / "past.geojson", polygon(past))).equals(found)


def test_what_goes_around_the_earth_is_taken_or_told(tmp_path: Path) -> None:
    world = shapely.box(-180.0, -90.0, 180.0, 90.0)
    assert region_of(written(tmp_path / "world.gpkg", world, 4326)).equals(world)
    with pytest.raises(RecipeError, match=r"goes around a pole .*parts of fewer than 180 degrees"):
        region_of(written(tmp_path / "pole.gpkg", box(-1e6, -1.2e6, 1e6, 1.2e6), 3031))
    with pytest.raises(RecipeError, match=r"340 degrees wide .*cut it at the antimeridian"):
        region_of(written(tmp_path / "wide.gpkg", box(-170.0, -80.0, 170.0, 80.0), 4326))


def test_a_straight_edge_of_a_map_is_none_in_degrees(tmp_path: Path) -> None:
    """The northern edge of a square of 1,000 km of Europe bulges by 11 km: its corners alone became degrees."""
    square = box(4.0e6, 2.5e6, 5.0e6, 3.5e6)
    found = region_of(written(tmp_path / "big.gpkg", square, 3035))
    exact = geopandas.GeoSeries([square.segmentize(500.0)], crs=3035).to_crs(4326).iloc[0]
    assert found.hausdorff_distance(exact) < 1e-4
    assert found.contains(shapely.Point(10.0, 54.58))


def test_coordinates_without_a_system_are_degrees_or_told(tmp_path: Path) -> None:
    metres = [[675e3, 523e4], [685e3, 523e4], [685e3, 524e4], [675e3, 524e4], [675e3, 523e4]]
    with pytest.raises(RecipeError, match=r"m.geojson: 675000, 5230000 are no degrees"):
        region_of(geojson(tmp_path / "m.geojson", polygon(metres)))


def test_heights_holes_and_strays_leave_an_area(tmp_path: Path) -> None:
    hole = [[11.05, 47.05], [11.1, 47.05], [11.1, 47.1], [11.05, 47.1], [11.05, 47.05]]
    high = [[*point, 570.0] for point in INN]
    stray = {"type": "Point", "coordinates": [30.0, 30.0]}
    gathered = {"type": "GeometryCollection", "geometries": [polygon(high, [[*p, 0.0] for p in hole]), stray]}
    found = region_of(geojson(tmp_path / "a.geojson", gathered))
    assert (found.bounds, found.has_z) == ((11.0, 47.0, 11.2, 47.3), False)
    assert found.area == pytest.approx(0.06 - 0.0025)


def test_geoparquet_is_read_and_several_layers_are_not_guessed(tmp_path: Path) -> None:
    table = geopandas.GeoDataFrame(geometry=[box(11.0, 47.0, 11.2, 47.3)], crs=4326)
    table.to_parquet(tmp_path / "a.parquet")
    assert region_of(tmp_path / "a.parquet").bounds == (11.0, 47.0, 11.2, 47.3)
    for layer in ("north", "south"):
        table.to_file(tmp_path / "two.gpkg", layer=layer)
    with pytest.raises(RecipeError, match=r"two.gpkg: has layers north, south"):
        region_of(tmp_path / "two.gpkg")
    with pytest.raises(RecipeError, match=r"^grid\.file: two.gpkg: has layers north, south"):
        read_places(tmp_path / "two.gpkg", "grid.file")


def test_a_file_of_many_features_is_read_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened, read = tmp_path / "areas.geojson", [], regions.read_vector
    monkeypatch.setattr(regions, "read_vector", lambda one: opened.append(one) or read(one))

    def west_of(feature: str) -> float:
        named = [{"name": feature, "geojson": path.name, "feature": feature}]
        return float(read_regions(Recipe.model_validate(RECIPE | {"regions": named}), tmp_path)[feature].bounds[0])

    def write(step: float) -> None:
        areas = {name: box(11 + step * k, 47, 11.1 + step * k, 47.1) for k, name in enumerate("ab")}
        geopandas.GeoDataFrame({"id": list(areas)}, geometry=list(areas.values()), crs=4326).to_file(path)

    write(1)
    assert [west_of("a"), west_of("b"), west_of("a")] == [11, 12, 11]
    assert len(opened) == 1, "a row of a site's table for each of its features"
    write(0.25)
    assert west_of("b") == 11.25
