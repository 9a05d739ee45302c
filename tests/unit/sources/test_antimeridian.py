"""What lies over the antimeridian: pixels, labels, footprints and searches, each against pyproj at every centre."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import from_origin

from schemas.antimeridian import centre
from schemas.georef import GeoRef
from schemas.recipe import LabelSource
from schemas.scene import SceneItem, SceneRef
from sources.block_store import BlockStore
from sources.engine_direct import DirectEngine
from sources.footprint import box_parts, unfolded
from sources.items import item_geometry, normalise_item
from sources.label_reader import _around
from sources.labels_raster import read_label_raster, to_label_item_of_file
from sources.lattice import coverage_anywhere, nearest_turn, turned
from sources.openers import PlainOpener
from sources.sentinel1_grd import footprint_lattice
from sources.stac_index import IndexCatalog
from sources.stac_index_write import IndexWriter
from sources.window import SearchWindow, select_items

OPENER = PlainOpener(allow_local=True)
FIJI = GeoRef(32760, 819_400.0, 8_174_300.0, 10.0, (96, 128))
"""Over 180 degrees at 16.5 degrees south."""
LONDON, WEST, EAST = (-0.5, 50.0, 1.0, 52.0), (-179.9, -17.0, -179.7, -16.0), (179.7, -17.0, 179.9, -16.0)


def longitudes(target: GeoRef) -> NDArray[np.float64]:
    """(y, x) of the centres, within [-180, 180]."""
    to_lonlat = Transformer.from_crs(target.epsg, 4326, always_xy=True)
    return np.asarray(to_lonlat.transform(*np.meshgrid(target.x_centres(), target.y_centres()))[0])


def degrees(left: float, columns: int, size: float) -> GeoRef:
    return GeoRef(4326, left, -16.0, size, (round(1.0 / size), columns))


RASTERS = {
    "east": degrees(179.0, 100, 0.01),
    "west": degrees(-180.0, 100, 0.01),
    "across": degrees(179.5, 100, 0.01),
    "around": degrees(-180.0, 3600, 0.1),
    "from 0 to 360": degrees(0.0, 3600, 0.1),
}


def codes_of(raster: GeoRef) -> NDArray[np.uint8]:
    """Each column its own code, as far as they go; none is 0."""
    return np.broadcast_to((np.arange(raster.shape_yx[1]) % 90 + 10).astype(np.uint8), raster.shape_yx)


def expected(raster: GeoRef, target: GeoRef) -> NDArray[np.uint8]:
    """The code under each centre, 0 beyond the raster: longitudes are turned until they fit."""
    lon, (left, _, right, _) = longitudes(target), raster.bounds_xyxy
    answer = np.zeros(target.shape_yx, np.uint8)
    for turn in (-360.0, 0.0, 360.0):
        inside = (lon + turn >= left) & (lon + turn < right)
        column = np.floor((lon + turn - left) / raster.pixel_size).astype(int)
        answer[inside] = codes_of(raster)[0, column[inside]]
    return answer


def written(raster: GeoRef, path: Path, tiled: bool) -> SceneRef:
    with rasterio.open(
        path, "w", driver="GTiff", width=raster.shape_yx[1], height=raster.shape_yx[0], count=1, dtype="uint8",
        crs="EPSG:4326", transform=from_origin(raster.x0, raster.y0, raster.pixel_size, raster.pixel_size), nodata=0,
        **({"tiled": True, "blockxsize": 64, "blockysize": 16} if tiled else {}),
    ) as file:  # fmt: skip
        file.write(codes_of(raster), 1)
    return SceneRef("i", "a", str(path), "b", 1, raster, "uint8", 0)


@pytest.mark.parametrize("tiled", [True, False], ids=["blocks", "by GDAL"])
@pytest.mark.parametrize("name", list(RASTERS))
def test_pixels_over_the_antimeridian(name: str, tiled: bool, tmp_path: Path) -> None:
    ref = written(RASTERS[name], tmp_path / "a.tif", tiled)
    found = DirectEngine(BlockStore()).read([ref], FIJI, "nearest", OPENER)[0]
    wanted = expected(RASTERS[name], FIJI)
    assert 0 < (longitudes(FIJI) > 0).mean() < 1
    assert (found == wanted).mean() > 0.999  # GDAL may take the neighbour of a pixel's very edge
    assert ((found == 0) == (wanted == 0)).mean() > 0.999


@pytest.mark.parametrize("resampling", ["nearest", "mode"])
@pytest.mark.parametrize("name", list(RASTERS))
def test_labels_over_the_antimeridian(name: str, resampling: Any, tmp_path: Path) -> None:
    path = written(RASTERS[name], tmp_path / "a.tif", tiled=True).href
    source = LabelSource.model_validate({"kind": "raster", "href": path, "legend": "worldcover"})
    found = read_label_raster(
        [to_label_item_of_file(path, "l", source, OPENER)], FIJI, OPENER, legend="worldcover", resampling=resampling
    )
    assert found is not None
    same = found.codes == expected(RASTERS[name], FIJI)
    assert same.all() if resampling == "nearest" else same.mean() > 0.97


@pytest.mark.parametrize("name", list(RASTERS))
def test_coverage_over_the_antimeridian(name: str) -> None:
    assert np.array_equal(coverage_anywhere(RASTERS[name], FIJI), expected(RASTERS[name], FIJI) > 0)


@given(st.floats(-180, 180), st.floats(0.01, 5), st.floats(-180, 180), st.floats(0.1, 360))
def test_turned_stretches_hold_what_lies_on_the_raster(left: float, width: float, low: float, span: float) -> None:
    right = left + width if left + width <= 180 else left + width - 360
    inside = np.linspace(left, left + width, 50)[1:-1]
    on_raster = nearest_turn(inside, low, low + span)
    held = turned(left, right, low, low + span)
    for x in on_raster[(on_raster > low) & (on_raster < low + span)]:
        assert any(begin - 1e-9 <= x <= end + 1e-9 for begin, end in held)


RING = {"type": "Polygon", "coordinates": [[[179.2, -17], [-179.6, -17], [-179.6, -16], [179.2, -16], [179.2, -17]]]}
BEYOND = {"type": "Polygon", "coordinates": [[[179.2, -17], [180.4, -17], [180.4, -16], [179.2, -16], [179.2, -17]]]}
DRAWN: dict[str, dict[str, Any]] = {
    "one ring": {"geometry": RING},
    "beyond 180": {"geometry": BEYOND, "bbox": [179.2, -17, 180.4, -16]},
    "box alone": {"geometry": None, "bbox": [179.2, -17, -179.6, -16]},
}


def drawn(name: str) -> dict[str, Any]:
    plain = {"type": "Feature", "stac_version": "1.0.0", "id": "n", "collection": "c", "assets": {}, "links": []}
    return plain | {"properties": {"datetime": "2023-01-01T00:00:00Z"}} | DRAWN[name]


@pytest.mark.parametrize("name", list(DRAWN))
def test_a_footprint_over_the_antimeridian_is_found_on_both_sides_and_nowhere_else(name: str, tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "i.parquet")
    writer.add([drawn(name)])
    writer.close()
    index = IndexCatalog(str(tmp_path / "i.parquet"))
    for box, wanted in ((EAST, 1), (WEST, 1), (LONDON, 0), ((0.0, -17.0, 1.0, -16.0), 0)):
        found = select_items([(drawn(name), "https://a.org/x")], SearchWindow(box), True, None, {})
        assert len(found) == wanted
        assert len(index.select("c", [box])) == wanted
    assert item_geometry(drawn(name)).area == pytest.approx(1.2)


def test_what_goes_around_the_earth_stays_as_it_is() -> None:
    for whole in (shapely.box(-180, -90, 180, 90), shapely.box(-179.9, -60, 179.9, 80), shapely.box(-20, 30, 40, 70)):
        assert unfolded(whole).equals(whole)
    assert unfolded(shapely.box(0, -60, 360, 80)).area == pytest.approx(360 * 140)


@given(st.floats(-180, 179.9), st.floats(-60, 55), st.floats(0.2, 8), st.floats(0.2, 5))
def test_a_box_and_its_ring_are_one_ground(west: float, south: float, width: float, height: float) -> None:
    east = west + width if west + width <= 180 else west + width - 360
    box = box_parts(west, south, east, south + height)
    assert box.area == pytest.approx(width * height, rel=1e-6)
    ring = unfolded(shapely.Polygon([(west, south), (east, south), (east, south + height), (west, south + height)]))
    assert ring.symmetric_difference(box).area < 1e-6
    middle = west + width / 2
    assert centre(box).x == pytest.approx(middle if middle < 180 else middle - 360, abs=1e-6)


def test_the_lattice_of_a_radar_scene_lies_where_the_scene_does() -> None:
    item = normalise_item(drawn("one ring"))
    georef = footprint_lattice(item)
    assert georef.epsg == 32760  # its middle lies at 179.8 degrees
    width = (georef.bounds_xyxy[2] - georef.bounds_xyxy[0]) / 1000.0
    assert 120 < width < 135  # 1.2 degrees at 16.5 south


def test_features_are_asked_for_on_both_sides() -> None:
    sides = _around([box_parts(179.9, -17.0, -179.9, -16.9)])
    assert [tuple(round(side, 3) for side in box) for box in sides] == [
        (179.89, -17.01, 180.0, -16.89), (-180.0, -17.01, -179.89, -16.89),
    ]  # fmt: skip
    assert len(_around([shapely.box(5.0, 50.0, 5.1, 50.1)])) == 1


def item_on(item: SceneItem, raster: GeoRef) -> bool:
    return bool(shapely.from_wkb(item.footprint_wkb).intersects(shapely.box(*raster.bounds_xyxy)))


def test_a_file_that_counts_to_360_lies_in_the_west_too(tmp_path: Path) -> None:
    path = written(RASTERS["from 0 to 360"], tmp_path / "a.tif", tiled=True).href
    source = LabelSource.model_validate({"kind": "raster", "href": path, "legend": "worldcover"})
    assert item_on(to_label_item_of_file(path, "l", source, OPENER), degrees(-51.0, 1, 0.1))
