"""OpenStreetMap from extracts and by area: geometry, dates, hostile data, and one table from both."""

from __future__ import annotations

import hashlib
import json
import math
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import osmium
import osmnx
import pyogrio.raw
import pyproj
import pytest
import shapely
from shapely.geometry import box

from schemas.errors import (
    AccessDeniedError,
    AssetMissingError,
    DecodeError,
    ThrottledError,
    TransientSourceError,
)
from schemas.labels import FeatureTable
from sources.features import FeatureIndex, is_area, merged, to_crs, to_feature
from sources.openers import PlainOpener
from sources.osm import fetch_extract, kept_extract, read_extract
from sources.overpass import query_area
from tests.loopback import serving
from tests.unit.sources.overpass_stub import elements_of, overpass_stub

EVERYTHING = (-180.0, -90.0, 180.0, 90.0)
TAGS = {"building": True, "highway": True, "landuse": True, "natural": True, "leisure": True, "waterway": True}
OPENER = PlainOpener(allow_local=True)


def osm_xml(*parts: str) -> str:
    """A small world around 12 E, 48 N: nodes 1..6 of a ring, and what is given."""
    ring = [(0, 0), (40, 0), (40, 30), (0, 30), (10, 10), (20, 20)]
    nodes = "".join(
        f'<node id="{i + 1}" lat="{48 + y * 1e-4:.6f}" lon="{12 + x * 1e-4:.6f}" version="1"'
        ' timestamp="2021-03-04T05:06:07Z"/>'
        for i, (x, y) in enumerate(ring)
    )
    return f'<?xml version="1.0"?><osm version="0.6">{nodes}{"".join(parts)}</osm>'


def way(number: int, nodes: list[int], **tags: str) -> str:
    refs = "".join(f'<nd ref="{n}"/>' for n in nodes)
    kvs = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in tags.items())
    return f'<way id="{number}" version="1" timestamp="2022-01-02T03:04:05Z">{refs}{kvs}</way>'


def relation(number: int, members: list[tuple[int, str]], **tags: str) -> str:
    refs = "".join(f'<member type="way" ref="{n}" role="{role}"/>' for n, role in members)
    kvs = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in ({"type": "multipolygon"} | tags).items())
    return f'<relation id="{number}" version="1">{refs}{kvs}</relation>'


def table_of(folder: Path, *parts: str) -> FeatureTable:
    path = folder / "world.osm"
    path.write_text(osm_xml(*parts))
    return read_extract(path, EVERYTHING, TAGS)


def kinds(table: FeatureTable) -> dict[str, str]:
    return {feature.feature_id: feature.geometry.geom_type for feature in table.features}


RING = [1, 2, 3, 4, 1]


def test_a_closed_way_is_an_area_only_where_its_tags_say_so(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        way(1, RING, building="yes"),
        way(2, RING, highway="residential", junction="roundabout"),
        way(3, RING, natural="wood", area="no"),
        way(4, RING, highway="pedestrian", area="yes"),
        way(5, RING, natural="coastline"),
        way(6, [1, 2, 3], landuse="forest"),
        way(7, RING, building="no", highway="service"),
    )
    assert kinds(table) == {
        "way/1": "Polygon",
        "way/2": "LineString",
        "way/3": "LineString",
        "way/4": "Polygon",
        "way/5": "LineString",
        "way/6": "LineString",
        "way/7": "LineString",
    }


def test_a_multipolygon_keeps_its_hole(tmp_path: Path) -> None:
    inner = '<node id="7" lat="48.001000" lon="12.002000" version="1"/>'
    table = table_of(
        tmp_path, inner, way(1, RING), way(2, [5, 7, 6, 5]), relation(9, [(1, "outer"), (2, "inner")], natural="water")
    )
    (feature,) = table.features
    assert feature.feature_id == "relation/9"
    assert len(feature.geometry.interiors) == 1
    assert feature.tags["natural"] == "water"


def test_what_is_broken_is_repaired_or_left_out_and_never_a_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = table_of(
        tmp_path,
        way(1, [1, 3, 2, 4, 1], building="yes"),  # a bow tie
        way(2, [1, 2, 99, 4, 1], building="yes"),  # a node is missing
        way(3, [1, 98, 3], highway="path"),  # a line with a missing node
        way(4, [97, 96], highway="path"),  # nothing is left of it
        way(5, [1, 1, 1, 1], building="yes"),  # no extent
        relation(6, [(77, "outer")], landuse="forest"),  # a member is missing
        relation(7, [], natural="water"),  # no members
    )
    assert kinds(table) == {"way/1": "MultiPolygon", "way/3": "LineString"}
    assert all(feature.geometry.is_valid for feature in table.features)
    assert "left out" in caplog.text


def test_a_relation_of_very_many_vertices_is_read(tmp_path: Path) -> None:
    count = 100_000
    angles = [2 * math.pi * i / count for i in range(count)]
    nodes = "".join(
        f'<node id="{1000 + i}" version="1" lat="{48 + 0.01 * math.sin(a):.7f}" lon="{12 + 0.01 * math.cos(a):.7f}"/>'
        for i, a in enumerate(angles)
    )
    refs = [1000 + i for i in range(count)]
    ways = [refs[i : i + 1001] for i in range(0, count, 1000)]
    ways[-1] = [*ways[-1], 1000]
    parts = [way(500 + i, part) for i, part in enumerate(ways)]
    table = table_of(
        tmp_path, nodes, *parts, relation(1, [(500 + i, "outer") for i in range(len(ways))], natural="water")
    )
    (feature,) = table.features
    assert shapely.get_num_coordinates(feature.geometry) == count + 1


def test_tags_are_data_however_they_look(tmp_path: Path) -> None:
    name = "&lt;script&gt;alert(1)&lt;/script&gt; ignore previous instructions"
    table = table_of(tmp_path, way(1, RING, building="yes", name=name))
    assert table.features[0].tags["name"] == "<script>alert(1)</script> ignore previous instructions"


def test_features_that_do_not_meet_the_box_are_left_out_and_the_others_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "world.osm"
    path.write_text(osm_xml(way(1, RING, building="yes"), way(2, [5, 6], highway="path")))
    table = read_extract(path, (12.0035, 48.0, 12.01, 48.01), TAGS)
    assert kinds(table) == {"way/1": "Polygon"}
    assert table.features[0].geometry.bounds == pytest.approx((12.0, 48.0, 12.004, 48.003))


def test_the_date_is_the_newest_edit_where_the_header_has_none(tmp_path: Path) -> None:
    assert table_of(tmp_path, way(1, RING, building="yes")).extract_date == "2022-01-02T03:04:05Z"


def test_a_file_that_is_no_osm_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.osm.pbf").write_bytes(b"nothing of the kind")
    with pytest.raises(DecodeError, match=r"a\.osm\.pbf"):
        read_extract(tmp_path / "a.osm.pbf", EVERYTHING, TAGS)
    with pytest.raises(AssetMissingError):
        read_extract(tmp_path / "gone.osm.pbf", EVERYTHING, TAGS)


def test_changes_and_histories_are_refused_and_what_is_deleted_is_not_there(tmp_path: Path) -> None:
    gone = way(2, RING, landuse="forest").replace("<way", '<way visible="false"')
    assert kinds(table_of(tmp_path, way(1, RING, building="yes"), gone)) == {"way/1": "Polygon"}
    world = (tmp_path / "world.osm").read_text()
    changes = world.replace("<osm version", "<osmChange version").replace("</osm>", "</create></osmChange>")
    (tmp_path / "world.osc").write_text(changes.replace('0.6">', '0.6"><create>'))
    with pytest.raises(DecodeError, match="holds changes, or things in all their versions"):
        read_extract(tmp_path / "world.osc", EVERYTHING, TAGS)


@pytest.mark.parametrize("wrong", ['id="99999999999999999999" lat="48"', 'id="7" lat="nan"'])
def test_numbers_that_osm_does_not_have_are_a_failure_by_name(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(DecodeError, match=r"not an OSM file.*world\.osm"):
        table_of(tmp_path, f'<node {wrong} lon="12"><tag k="natural" v="tree"/></node>')


def test_a_ring_that_crosses_itself_a_million_times_is_left_out_at_once() -> None:
    turn = [math.pi * 2000 / 2001 * place for place in range(2001)]
    star = shapely.Polygon([(math.cos(angle), math.sin(angle)) for angle in turn])
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    assert to_feature("way/1", star, {}) is None
    assert to_feature("way/2", bow, {}) is not None


@pytest.mark.parametrize("sign", ["", "-"])
def test_ways_whose_nodes_come_later_or_are_not_numbered_are_told_and_not_lost(tmp_path: Path, sign: str) -> None:
    """As Overpass writes ``out body; >; out skel qt``, and JOSM what was never uploaded."""
    world = osm_xml(way(1, RING, building="yes"), way(2, [5, 6], highway="path"))
    head, nodes, ways = world.partition("<node id")[0], *world.split('version="0.6">')[1].split("<way", 1)
    ways = "<way" + ways.removesuffix("</osm>")
    numbered = [part.replace('id="', f'id="{sign}').replace('ref="', f'ref="{sign}') for part in (nodes, ways)]
    path = tmp_path / "world.osm"
    path.write_text(head + "".join(numbered if sign else reversed(numbered)) + "</osm>")
    with pytest.raises(DecodeError, match="no node of 2 of 2 ways is known"):
        read_extract(path, EVERYTHING, TAGS)


@pytest.mark.realdata
def test_helsinki_agrees_with_gdals_own_osm_reader(realdata: Path) -> None:
    path = realdata / "osm" / "Helsinki.osm.pbf"
    table = read_extract(path, EVERYTHING, {"building": True})
    ours = {f.feature_id: f.geometry for f in table.features if f.geometry.geom_type.endswith("Polygon")}
    columns = ["osm_id", "osm_way_id"]
    with warnings.catch_warnings():  # GDAL's about the broken relations
        warnings.simplefilter("ignore")
        _, _, wkb, (relations, ways) = pyogrio.raw.read(
            path, layer="multipolygons", columns=columns, where="building IS NOT NULL"
        )
    by_id = {
        f"way/{w}" if w else f"relation/{r}": shapely.from_wkb(g, on_invalid="ignore")
        for g, r, w in zip(wkb, relations, ways, strict=True)
    }
    torn = {  # GDAL closes what is left of a ring whose nodes are not all in the extract: another shape
        f"way/{thing.id}"
        for thing in osmium.FileProcessor(str(path)).with_locations()
        if thing.is_way() and not all(node.location.valid() for node in thing.nodes)
    }
    assert len(ours) > 400
    assert {key for key in set(by_id) - set(ours) if key.startswith("way/")} <= torn
    assert len({key for key in set(by_id) - set(ours) if key.startswith("relation/")}) <= 2
    both = [key for key in ours if by_id.get(key) is not None]
    assert len(both) > 0.98 * len(ours)
    for key in both:
        assert ours[key].symmetric_difference(by_id[key].buffer(0)).area < 1e-14, key


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["West-Oakland.osm.bz2", "planet_10.068,48.135_10.071,48.137.osm"])
def test_by_area_and_from_the_extract_give_one_table(realdata: Path, name: str) -> None:
    path = realdata / "osm" / name
    extract = read_extract(path, EVERYTHING, TAGS)
    bounds = shapely.total_bounds([feature.geometry for feature in extract.features])
    answer = {"osm3s": {"timestamp_osm_base": "2024-05-06T07:08:09Z"}, "elements": elements_of(path)}
    with overpass_stub(answer) as (url, queries):
        by_area = query_area(box(*bounds).buffer(1e-4), TAGS, url)
    assert queries
    assert "building" in queries[0]
    assert by_area.extract_date == "2024-05-06T07:08:09Z"
    assert [f.feature_id for f in by_area.features] == [f.feature_id for f in extract.features]
    for one, other in zip(by_area.features, extract.features, strict=True):
        assert one.tags == other.tags
        assert one.geometry.geom_type == other.geometry.geom_type, one.feature_id
        assert one.geometry.equals_exact(other.geometry, 1e-12), one.feature_id


def answer_with(*elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"osm3s": {"timestamp_osm_base": "2024-05-06T07:08:09Z"}, "elements": list(elements)} | more


AREA = box(11.99, 47.99, 12.01, 48.01)


def test_an_area_where_nothing_is_mapped_gives_an_empty_table() -> None:
    with overpass_stub(answer_with()) as (url, _):
        table = query_area(AREA, TAGS, url + "/interpreter")
    assert table.features == ()
    assert table.extract_date == "2024-05-06T07:08:09Z"


def test_osmnx_is_left_as_it_was_found() -> None:
    names = ("overpass_url", "cache_folder", "use_cache", "requests_kwargs", "doh_url_template", "overpass_rate_limit")
    before = {name: getattr(osmnx.settings, name) for name in names}
    lookup = socket.getaddrinfo
    with overpass_stub(answer_with()) as (url, _):
        query_area(AREA, TAGS, url)
    assert {name: getattr(osmnx.settings, name) for name in names} == before
    assert socket.getaddrinfo is lookup


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, ThrottledError), (504, ThrottledError), (403, AccessDeniedError), (500, TransientSourceError)],
)
def test_a_server_that_refuses_is_not_waited_for(status: int, error: type[Exception]) -> None:
    with overpass_stub({"note": "no"}, status) as (url, queries), pytest.raises(error):
        query_area(AREA, TAGS, url)
    assert len(queries) == 1


def test_a_remark_that_data_is_missing_is_an_error() -> None:
    remark = "runtime error: Query timed out in query at line 1"
    tree = {"type": "node", "id": 1, "lat": 48.0, "lon": 12.0, "tags": {"natural": "tree"}}
    with (
        overpass_stub(answer_with(tree, remark=remark)) as (url, _),
        pytest.raises(TransientSourceError, match="timed out"),
    ):
        query_area(AREA, TAGS, url)


def test_no_server_is_a_transient_error() -> None:
    with pytest.raises(TransientSourceError):
        query_area(AREA, TAGS, "http://127.0.0.1:9/api")


def test_in_utm_the_ring_has_its_size_in_metres(tmp_path: Path) -> None:
    table = to_crs(table_of(tmp_path, way(1, RING, building="yes")), 32633)
    geod_area = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(box(12, 48, 12.004, 48.003))[0])
    assert table.epsg == 32633
    assert table.features[0].geometry.area == pytest.approx(geod_area, rel=2e-3)
    assert 250_000 < table.features[0].geometry.centroid.x < 290_000


def test_only_what_meets_the_bounds_is_near(tmp_path: Path) -> None:
    table = table_of(tmp_path, way(1, RING, building="yes"), way(2, [5, 6], highway="path"))
    west = (12.0, 48.0, 12.0005, 48.003)
    assert kinds(FeatureIndex(table).near(west)) == {"way/1": "Polygon"}
    assert len(FeatureIndex(table).near(west, margin=0.001).features) == 2
    assert FeatureIndex(table).near((13, 48, 14, 49)).features == ()


def test_merged_tables_hold_each_feature_once(tmp_path: Path) -> None:
    table = table_of(tmp_path, way(9, [5, 6], highway="path"), way(10, RING, building="yes"))
    again = merged([table, table])
    assert [feature.feature_id for feature in again.features] == ["way/9", "way/10"]
    newer = replace(table_of(tmp_path, way(10, RING, building="house")), extract_date="2023-01-01")
    for tables in ([newer, table], [table, newer]):
        assert merged(tables).features[1].tags == {"building": "house"}
        assert merged(tables).extract_date == "2023-01-01"
    with pytest.raises(ValueError, match="coordinate"):
        merged([table, to_crs(table, 32633)])


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"railway": "platform"}, True),
        ({"railway": "rail"}, False),
        ({"barrier": "fence"}, False),
        ({"area": "yes"}, True),
        ({"building": "no"}, False),
        ({"leisure": "track"}, False),
    ],
)
def test_the_table_of_areas(tags: dict[str, str], expected: bool) -> None:
    assert is_area(tags) is expected


@contextmanager
def file_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    with serving(partial(Handler, directory=str(folder))) as url:
        yield url, asked


def test_an_extract_is_fetched_once_and_checked(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    body = b"extract" * 1000
    (tmp_path / "www" / "a.osm.pbf").write_bytes(body)
    checksum = "1220" + hashlib.sha256(body).hexdigest()
    with file_server(tmp_path / "www") as (url, asked):
        path = fetch_extract(f"{url}/a.osm.pbf", tmp_path / "cache", OPENER, edition=checksum)
        again = fetch_extract(f"{url}/a.osm.pbf", tmp_path / "cache", OPENER, edition=checksum)
        assert len(asked) == 1
        with pytest.raises(DecodeError, match="sha256"):
            fetch_extract(f"{url}/a.osm.pbf", tmp_path / "cache", OPENER, edition="1220" + "0" * 64)
        with pytest.raises(AssetMissingError):
            fetch_extract(f"{url}/b.osm.pbf", tmp_path / "cache", OPENER)
    assert path == again
    assert path.stat().st_mode == (tmp_path / "www" / "a.osm.pbf").stat().st_mode  # others may read it, as any file
    assert path.read_bytes() == body
    assert path.name.endswith(".osm.pbf")
    assert [found.name for found in (tmp_path / "cache").iterdir()] == [path.name]


def test_workers_that_want_an_extract_at_once_fetch_it_once(tmp_path: Path) -> None:
    """Each of four workers began with a tile, and fetched the whole country for it."""
    body, asked, begun = b"extract" * 1000, [0], threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[0] += 1
            begun.set()
            time.sleep(0.3)
            self.send_response(200 if asked[0] > 1 else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    cache = tmp_path / "cache"
    with serving(Slow) as url, ThreadPoolExecutor(4) as pool:
        href = f"{url}/a.osm.pbf"
        first = pool.submit(fetch_extract, href, cache, OPENER)
        assert begun.wait(10)
        others = [pool.submit(fetch_extract, href, cache, OPENER) for _ in range(3)]
        with pytest.raises(TransientSourceError):
            first.result()
        paths = {one.result() for one in others}
    assert asked == [2], "one that failed, and one for all who waited"
    assert [path.read_bytes() for path in paths] == [body]
    assert [found.name for found in cache.iterdir()] == [path.name for path in paths]


def test_what_a_killed_process_left_of_an_extract_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.osm.pbf").write_bytes(b"whole")
    with file_server(tmp_path / "www") as (url, _):
        target = kept_extract(f"{url}/a.osm.pbf", tmp_path)
        (tmp_path / f"part-{target.name}").write_bytes(b"torn, and longer")
        assert fetch_extract(f"{url}/a.osm.pbf", tmp_path, OPENER).read_bytes() == b"whole"
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted([target.name, "www"])


def test_another_edition_is_another_file_and_never_one_outside_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    with file_server(tmp_path / "www") as (url, _):
        for edition in ("item-1", "item-2", "../../outside", "/tmp/outside"):
            (tmp_path / "www" / "a.osm.pbf").write_text(edition)
            path = fetch_extract(f"{url}/a.osm.pbf", tmp_path / "cache" / "files", OPENER, edition=edition)
            assert path.read_text() == edition
            assert path.resolve().parent == tmp_path / "cache" / "files"


def test_a_local_extract_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a.osm.pbf").write_bytes(b"x")
    assert fetch_extract(str(tmp_path / "a.osm.pbf"), tmp_path / "cache", OPENER) == tmp_path / "a.osm.pbf"
    with pytest.raises(AssetMissingError):
        fetch_extract(str(tmp_path / "b.osm.pbf"), tmp_path / "cache", OPENER)


def test_no_connection_is_transient(tmp_path: Path) -> None:
    with pytest.raises(TransientSourceError):
        fetch_extract("http://127.0.0.1:9/a.osm.pbf", tmp_path / "cache", OPENER)
    assert json.dumps([p.name for p in (tmp_path / "cache").iterdir()]) == "[]"
