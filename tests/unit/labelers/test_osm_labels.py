"""OpenStreetMap on the grid: tag rules, widths, order of painting, and geometry against plain point-in-polygon."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from labelers.osm import OsmLabeler, load_rules, tags_wanted
from labelers.pixel_features import to_pixel_geojson
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.legend import load_legend
from sources.features import to_feature

GRID = GeoRef(32632, 500_000.0, 5_000_000.0, 10.0, (12, 17))
CODE = {entry.name: entry.code for entry in load_legend("osm").classes}


def table_of(*parts: tuple[BaseGeometry, Mapping[str, str]], epsg: int = 32632) -> FeatureTable:
    features = tuple(Feature(f"way/{i}", geometry, tags) for i, (geometry, tags) in enumerate(parts))
    return FeatureTable("osm", epsg, features, "2024-05-06T07:08:09Z")


def at(x: float, y: float) -> tuple[float, float]:
    """Map coordinates of a place given in pixels from the upper left corner."""
    return GRID.x0 + 10 * x, GRID.y0 - 10 * y


def pixels(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return box(*at(x0, y1), *at(x1, y0))


def line(*places: tuple[float, float]) -> LineString:
    return LineString([at(*place) for place in places])


def painted(*parts: tuple[BaseGeometry, Mapping[str, str]], grid: GeoRef = GRID) -> np.ndarray:
    return OsmLabeler().label(table_of(*parts), grid).classes


def test_every_rule_names_a_class_of_the_legend_and_every_class_has_a_rule() -> None:
    rules = load_rules()
    named = {rule.class_name for group in (*rules.areas, rules.lines, rules.top) for rule in group}
    assert named == set(CODE)
    assert {"building", "highway", "landuse", "natural", "waterway"} <= set(tags_wanted())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 22), st.floats(-5, 17)), min_size=3, max_size=7))
def test_an_area_covers_the_pixels_whose_centres_lie_in_it(places: list[tuple[float, float]]) -> None:
    shape = shapely.convex_hull(shapely.MultiPoint([at(*place) for place in places]))
    if shape.geom_type != "Polygon" or shape.area < 1:
        return
    x, y = np.meshgrid(GRID.x_centres(), GRID.y_centres())
    inside = shapely.contains_xy(shape, x, y)
    near = shapely.distance(shapely.points(x, y), shape.exterior) < 1e-3
    found = painted((shape, {"natural": "water"})) == CODE["Water"]
    np.testing.assert_array_equal(found[~near], inside[~near])


def test_absence_is_no_data_and_not_a_class() -> None:
    label = OsmLabeler().label(table_of(), GRID)
    assert label.nodata == 0
    assert not label.classes.any()
    assert label.share_alike
    assert (label.licence, label.vintage) == ("ODbL-1.0", "2024-05-06")


def test_smaller_and_more_specific_areas_lie_on_top_and_buildings_over_all() -> None:
    codes = painted(
        (pixels(4, 4, 5, 5), {"building": "yes"}),
        (line((0, 4.5), (17, 4.5)), {"highway": "motorway"}),
        (pixels(2, 2, 8, 8), {"landuse": "forest"}),
        (pixels(0, 0, 17, 12), {"landuse": "residential"}),
    )
    assert codes[0, 0] == CODE["Residential land"]
    assert codes[2, 2] == CODE["Forest"]
    assert codes[4, 3] == CODE["Road"]
    assert codes[4, 4] == CODE["Building"]


@pytest.mark.parametrize(("inner", "outer"), [("meadow", "forest"), ("forest", "meadow"), ("basin", "farmland")])
def test_of_two_covers_the_smaller_lies_on_top_whatever_their_order(inner: str, outer: str) -> None:
    parts = [(pixels(3, 3, 5, 5), {"landuse": inner}), (pixels(0, 0, 9, 9), {"landuse": outer})]
    names = {"meadow": "Meadow or grass", "forest": "Forest", "basin": "Water", "farmland": "Farmland"}
    for codes in (painted(*parts), painted(*reversed(parts))):
        assert codes[3, 3] == CODE[names[inner]]
        assert codes[0, 0] == CODE[names[outer]]


@pytest.mark.parametrize(
    "tags", [{"highway": "motorway", "tunnel": "yes"}, {"railway": "abandoned"}, {"highway": "proposed"}]
)
def test_what_is_not_seen_from_above_is_not_painted(tags: dict[str, str]) -> None:
    assert not painted((line((0, 4.5), (17, 4.5)), tags)).any()


@pytest.mark.parametrize(
    "other",
    [{"railway": "abandoned"}, {"railway": "dismantled"}, {"railway": "proposed"}, {"railway": "construction"}],
)
def test_a_railway_that_is_gone_or_planned_leaves_the_street_that_it_runs_in(other: dict[str, str]) -> None:
    street = (line((0, 4.5), (17, 4.5)), {"highway": "primary"})
    np.testing.assert_array_equal(painted((street[0], street[1] | other)), painted(street))
    rails = (street[0], {"highway": "proposed", "railway": "rail"})
    assert set(np.unique(painted(rails))) == {0, CODE["Railway"]}


@pytest.mark.parametrize(
    "tags",
    [
        {"railway": "no"}, {"highway": "no"}, {"waterway": "no"}, {"waterway": "dam"},
        {"waterway": "weir", "width": "9"}, {"railway": "platform"}, {"highway": "platform"}, {"highway": "elevator"},
        {"highway": "planned"}, {"highway": "abandoned"}, {"highway": "demolished"}, {"highway": "removed"},
        {"railway": "planned"}, {"railway": "demolished"}, {"railway": "removed"},
        {"waterway": "pressurised"}, {"waterway": "proposed"}, {"waterway": "construction"}, {"waterway": "abandoned"},
    ],
)  # fmt: skip
def test_a_line_that_is_none_of_its_key_s_class_is_not_painted(tags: dict[str, str]) -> None:
    fine = GeoRef(32632, GRID.x0, GRID.y0, 1.0, (120, 170))
    assert not painted((line((0, 6), (17, 6)), tags), grid=fine).any()
    assert painted((line((0, 6), (17, 6)), dict.fromkeys(tags, "9")), grid=fine).any()


@pytest.mark.parametrize("dry", [{"intermittent": "yes"}, {"seasonal": "wet_season"}])
def test_water_of_a_part_of_the_year_is_what_lies_under_it(dry: dict[str, str]) -> None:
    pan = (pixels(3, 3, 6, 6), {"natural": "water"} | dry)
    wadi = (line((0, 9), (17, 9)), {"waterway": "river"} | dry)
    ground = (pixels(0, 0, 17, 12), {"natural": "sand"})
    assert (painted(pan, wadi, ground) == CODE["Bare ground"]).all()
    wet = dict.fromkeys(dry, "no")
    lake = (pan[0], {"natural": "water"} | wet)
    assert painted(lake, (wadi[0], {"waterway": "river"} | wet), ground)[[4, 9], 4].tolist() == [CODE["Water"]] * 2


def test_what_lies_under_a_car_park_below_the_ground_is_seen() -> None:
    below = (pixels(3, 3, 6, 6), {"amenity": "parking", "parking": "underground"})
    codes = painted(below, (pixels(0, 0, 17, 12), {"leisure": "park"}))
    assert (codes == CODE["Park or garden"]).all()


def test_a_tunnel_that_is_none_is_painted() -> None:
    assert painted((line((0, 4.5), (17, 4.5)), {"highway": "motorway", "tunnel": "no"})).any()


def test_a_line_is_as_wide_as_its_class_or_its_tag_says() -> None:
    across = line((0, 6), (17, 6))
    motorway = (painted((across, {"highway": "motorway"})) > 0).sum(axis=0)
    tagged = (painted((across, {"highway": "motorway", "width": "58 m"})) > 0).sum(axis=0)
    silly = (painted((across, {"highway": "motorway", "width": "wide"})) > 0).sum(axis=0)
    assert set(motorway) == {2}
    assert set(tagged) == {6}
    assert (silly == motorway).all()


def test_a_bent_line_fills_what_shapely_s_own_buffer_fills() -> None:
    bent = line((1, 1), (9, 2), (4, 9), (15, 10))
    (one,) = OsmLabeler().paint(table_of((bent, {"highway": "motorway", "width": "31"})), GRID)
    assert one.geometry.equals_exact(bent.buffer(15.5, cap_style="flat", join_style="round"), 0.0)
    assert one.area_m2 == one.geometry.area


def test_a_path_is_not_painted_at_10_m_but_at_1_m() -> None:
    path = (line((0, 6), (17, 6)), {"highway": "footway"})
    fine = GeoRef(32632, GRID.x0, GRID.y0, 1.0, (120, 170))
    assert not painted(path).any()
    assert painted(path, grid=fine).any()


@pytest.mark.parametrize(("gsd", "shown"), [(10.0, True), (15.0, True), (30.0, False)])
def test_a_building_is_painted_only_where_pixels_show_buildings(gsd: float, shown: bool) -> None:
    grid = GeoRef(32632, GRID.x0, GRID.y0, gsd, (4, 5))
    assert painted((pixels(0, 0, 12, 9), {"building": "yes"}), grid=grid).any() == shown
    assert painted((pixels(0, 0, 12, 9), {"landuse": "forest"}), grid=grid).any()


def test_what_is_smaller_than_its_class_must_be_is_not_painted() -> None:
    fine = GeoRef(32632, GRID.x0, GRID.y0, 0.5, (40, 60))
    assert not painted((pixels(0, 0, 0.4, 0.4), {"building": "shed"}), grid=fine).any()  # 16 m2
    assert painted((pixels(0, 0, 0.5, 0.5), {"building": "shed"}), grid=fine).any()  # 25 m2


@pytest.mark.parametrize("layers", [("-1", "1"), ("0", "2"), ("1", "1.5")])
def test_the_higher_layer_lies_on_top_whatever_is_smaller(layers: tuple[str, str]) -> None:
    low, high = layers
    parts = [
        (pixels(3, 3, 5, 5), {"natural": "water", "layer": low}),
        (pixels(0, 0, 9, 9), {"landuse": "meadow", "layer": high}),
    ]
    assert painted(*parts)[3, 3] == CODE["Meadow or grass"]
    nonsense = [(geometry, dict(tags) | {"layer": "<b>"}) for geometry, tags in parts]
    assert painted(*nonsense)[3, 3] == CODE["Water"]


@pytest.mark.parametrize(
    ("tags", "there"),
    [
        ({"end_date": "2019"}, False), ({"end_date": "2024-05-05"}, False), ({"end_date": "2024"}, True),
        ({"start_date": "2025"}, False), ({"opening_date": "2024-06"}, False), ({"start_date": "1880"}, True),
        ({"start_date": "early 20th century"}, True), ({"end_date": "never"}, True),
    ],
)  # fmt: skip
def test_what_ended_or_has_not_begun_is_not_there(tags: dict[str, str], there: bool) -> None:
    assert painted((pixels(0, 0, 9, 9), {"building": "yes"} | tags)).any() == there


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-4, 21), st.floats(-4, 16)), min_size=3, max_size=12),
    st.sampled_from([{"natural": "water"}, {"building": "<script>"}, {"highway": "primary", "area": "yes"}]),
)
def test_any_ring_is_an_outcome_and_never_a_crash(places: list[tuple[float, float]], tags: dict[str, str]) -> None:
    made = to_feature("way/1", Polygon([at(*place) for place in places]), tags)
    features = () if made is None else (made,)
    table = FeatureTable("osm", 32632, features, "2024-05-06")
    codes = OsmLabeler().label(table, GRID).classes
    found = to_pixel_geojson(table, GRID)["features"]
    assert set(np.unique(codes)) <= {0, *CODE.values()}
    assert all(shapely.geometry.shape(feature["geometry"]).is_valid for feature in found)


def test_points_and_untold_tags_paint_nothing() -> None:
    assert not painted((Point(at(3, 3)), {"building": "yes"}), (pixels(0, 0, 9, 9), {"building": "no"})).any()
    assert not painted((pixels(0, 0, 9, 9), {"landuse": "<script>"})).any()


def test_features_in_another_coordinate_system_are_an_error() -> None:
    with pytest.raises(ValueError, match="32633"):
        OsmLabeler().label(table_of(epsg=32633), GRID)
    with pytest.raises(ValueError, match="32633"):
        to_pixel_geojson(table_of(epsg=32633), GRID)


def test_pixel_coordinates_run_right_and_down_from_the_corner() -> None:
    found = to_pixel_geojson(table_of((pixels(1, 2, 4, 3), {"building": "yes", "name": "<b>"})), GRID)
    (feature,) = found["features"]
    ring = {tuple(place) for place in feature["geometry"]["coordinates"][0]}
    assert ring == {(1.0, 2.0), (4.0, 2.0), (4.0, 3.0), (1.0, 3.0)}
    assert feature["id"] == "way/0"
    assert feature["properties"]["tags"] == {"building": "yes", "name": "<b>"}
    assert found["shape_yx"] == [12, 17]
    assert found["extract_date"] == "2024-05-06T07:08:09Z"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 26), st.floats(-9, 21)), min_size=2, max_size=6))
@example([(0.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
@example([(1.0, 0.00390625), (0.0, 0.0), (1.0, 0.0)])
def test_pixel_geometries_stay_in_the_chip_and_come_back_to_the_map(places: list[tuple[float, float]]) -> None:
    course = line(*places)
    frame = box(*GRID.bounds_xyxy)
    found = to_pixel_geojson(table_of((course, {"highway": "path"})), GRID)["features"]
    met = shapely.get_parts(course.intersection(frame))
    expected = shapely.union_all([part for part in met if part.geom_type == "LineString"])
    if not found:
        assert expected.length < 0.2
        return
    geometry = shapely.geometry.shape(found[0]["geometry"])
    left, top, right, bottom = geometry.bounds
    assert left >= 0
    assert top >= 0
    assert right <= 17
    assert bottom <= 12
    back = shapely.transform(geometry, lambda xy: np.column_stack([GRID.x0 + 10 * xy[:, 0], GRID.y0 - 10 * xy[:, 1]]))
    assert expected.buffer(0.2).covers(back)
    assert all(back.buffer(0.2).covers(part) for part in met if part.length > 0.2)  # what is shorter may vanish


def test_a_feature_that_only_touches_the_edge_is_not_in_the_chip() -> None:
    assert to_pixel_geojson(table_of((pixels(-3, 0, 0, 5), {"building": "yes"})), GRID)["features"] == []


def test_a_clipped_feature_says_so() -> None:
    found = to_pixel_geojson(
        table_of((pixels(-3, 0, 2, 5), {"building": "yes"}), (pixels(1, 1, 2, 2), {"building": "yes"})), GRID
    )
    assert [feature["properties"]["clipped"] for feature in found["features"]] == [True, False]


def test_geometries_of_every_kind_are_written_as_geojson_has_them() -> None:
    hole = shapely.difference(pixels(2, 2, 9, 9), pixels(4, 4, 5, 6))
    there_and_back = line((-2, 3), (3, 3), (3, 6), (-2, 6.5), (-2, 8), (2, 8))
    parts: list[BaseGeometry] = [
        Point(at(3.004, 4)),
        shapely.MultiPoint([at(1, 1), at(2, 3.127), at(40, 40)]),
        there_and_back,
        hole,
        shapely.MultiPolygon([pixels(10, 1, 12, 2), hole]),
        pixels(-4, 10, 3, 15),
        Point(at(40, 40)),
        shapely.Polygon([at(-3, 1), at(2, 1), at(-3, 2), at(2, 3), at(-3, 3)]),
    ]
    found = to_pixel_geojson(table_of(*((part, {"building": "yes"}) for part in parts)), GRID)["features"]
    kinds = [feature["geometry"]["type"] for feature in found]
    assert kinds == [
        "Point", "MultiPoint", "MultiLineString", "Polygon", "MultiPolygon", "Polygon", "MultiPolygon"
    ]  # fmt: skip
    assert [feature["id"] for feature in found] == [f"way/{i}" for i in (0, 1, 2, 3, 4, 5, 7)]
    for feature in found:
        shape = shapely.geometry.shape(feature["geometry"])
        assert feature["geometry"] == json.loads(shapely.to_geojson(shape))
        part = parts[int(feature["id"].removeprefix("way/"))]
        back = shapely.transform(shape, lambda xy: np.column_stack([GRID.x0 + 10 * xy[:, 0], GRID.y0 - 10 * xy[:, 1]]))
        inside = shapely.intersection(part, box(*GRID.bounds_xyxy))
        assert shapely.hausdorff_distance(back, inside) < 0.1
        assert (back.area, back.length) == pytest.approx((inside.area, inside.length), rel=1e-3)
    collection = shapely.GeometryCollection([pixels(1, 1, 3, 3), Point(at(5, 5))])
    (feature,) = to_pixel_geojson(table_of((collection, {"building": "yes"})), GRID)["features"]
    assert feature["geometry"]["type"] == "GeometryCollection"
