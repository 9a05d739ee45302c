"""The same questions to a PostgreSQL-backed STAC API, to the sandbox's embedded one and to a static catalog."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import CatalogError
from schemas.recipe import Catalog
from schemas.scene import Opener
from sources.base import CatalogClient
from sources.catalog import open_catalog
from sources.catalog_api import ApiCatalog
from sources.items import content_hash
from sources.openers import PlainOpener
from tests.integration.stac_server import free_port, pgstac

EARTH = (-180.0, -90.0, 180.0, 90.0)
BEGIN = datetime(2024, 1, 1, 12, tzinfo=UTC)
MANY = 640


def square(west: float, south: float, size: float = 0.4) -> dict[str, Any]:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"bbox": [west, south, east, north], "geometry": {"type": "Polygon", "coordinates": [ring]}}


def over_the_antimeridian() -> dict[str, Any]:
    halves = [square(179.7, -17.0, 0.3), square(-180.0, -17.0, 0.3)]
    rings = [half["geometry"]["coordinates"] for half in halves]
    return {"bbox": [179.7, -17.0, -179.7, -16.7], "geometry": {"type": "MultiPolygon", "coordinates": rings}}


def item(name: str, collection: str, ground: dict[str, Any], moment: datetime, **properties: Any) -> dict[str, Any]:
    asset = {"href": f"https://files.example.org/{collection}/{name}.tif", "type": "image/tiff", "roles": ["data"]}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection,
        **ground,
        "properties": {"datetime": moment.isoformat().replace("+00:00", "Z"), **properties},
        "links": [],
        "assets": {"B04": asset},
    }


def made_items() -> list[dict[str, Any]]:
    many = [
        item(
            f"m{number:04d}",
            "many",
            square(10.0 + number % 8, 45.0 + number % 5),
            BEGIN + timedelta(hours=number),
            **{
                "eo:cloud_cover": number % 100,
                "sat:orbit_state": ("ascending", "DESCENDING", "descending")[number % 3],
            },
        )
        for number in range(MANY)
    ]
    place = square(20.0, 50.0)
    ranges = [
        item(f"r{n}", "ranges", place, BEGIN + timedelta(days=10 * n), start_datetime=_z(n, 0), end_datetime=_z(n, 5))
        for n in range(3)
    ]
    far = [
        item("both-sides", "far", over_the_antimeridian(), BEGIN),
        item("east", "far", square(178.0, -17.0), BEGIN),
        item("west", "far", square(-179.0, -17.0), BEGIN),
        item("elsewhere", "far", square(0.0, -17.0), BEGIN),
    ]
    return [*many, *ranges, *far]


def _z(number: int, days: int) -> str:
    return (BEGIN + timedelta(days=10 * number + days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def collection(name: str) -> dict[str, Any]:
    extent = {"spatial": {"bbox": [list(EARTH)]}, "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]}}
    head = {"type": "Collection", "stac_version": "1.0.0", "id": name, "description": name, "license": "CC0-1.0"}
    return {**head, "extent": extent, "links": []}


COLLECTIONS = [collection(name) for name in ("many", "ranges", "far")]
ITEMS = made_items()


@pytest.fixture(scope="session")
def pgstac_url(postgresql_programs: Path, stac_server_python: Path) -> Iterator[str]:
    with pgstac(postgresql_programs, stac_server_python, COLLECTIONS, ITEMS) as url:
        yield url


@pytest.fixture(scope="session")
def rustac_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("rustac")
    files = []
    for one in COLLECTIONS:
        (folder / f"{one['id']}.json").write_text(json.dumps(one))
        members = {"type": "FeatureCollection", "features": [i for i in ITEMS if i["collection"] == one["id"]]}
        (folder / f"{one['id']}-items.json").write_text(json.dumps(members))
        files += [folder / f"{one['id']}.json", folder / f"{one['id']}-items.json"]
    port = free_port()
    program = shutil.which("rustac", path=sysconfig.get_path("scripts")) or "rustac"
    process = subprocess.Popen(
        [program, "serve", "--addr", f"127.0.0.1:{port}", *files], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    yield url
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def static_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("static")
    children = []
    for one in COLLECTIONS:
        folder = root / str(one["id"])
        folder.mkdir()
        members = [i for i in ITEMS if i["collection"] == one["id"]]
        for member in members:
            (folder / f"{member['id']}.json").write_text(json.dumps(member))
        links = [{"rel": "item", "href": f"./{member['id']}.json"} for member in members]
        (folder / "collection.json").write_text(json.dumps({**one, "links": links}))
        children.append({"rel": "child", "href": f"./{one['id']}/collection.json"})
    document = {"type": "Catalog", "stac_version": "1.0.0", "id": "s", "description": "s", "links": children}
    (root / "catalog.json").write_text(json.dumps(document))
    return str(root)


SERVERS = [
    pytest.param("pgstac", marks=pytest.mark.services("postgis", "stac-server")),
    "rustac",
    "static",
]


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> tuple[str, CatalogClient]:
    name: str = request.param
    kind = "static" if name == "static" else "stac-api"
    url = request.getfixturevalue(f"{name}_url")
    opener: Opener = PlainOpener(allow_local=True)
    return name, open_catalog(Catalog.model_validate({"kind": kind, "href": url}), url, opener)


@pytest.fixture
def client(server: tuple[str, CatalogClient]) -> CatalogClient:
    return server[1]


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in items]


def test_all_pages_come_once_each_in_time_order(client: CatalogClient) -> None:
    assert ids(client.search("many", EARTH)) == [f"m{n:04d}" for n in range(MANY)]


def test_a_box_gives_what_touches_it(client: CatalogClient) -> None:
    found = ids(client.search("many", (10.1, 45.1, 10.2, 45.2)))
    assert found == [f"m{n:04d}" for n in range(MANY) if n % 8 == 0 and n % 5 == 0]


@pytest.mark.parametrize(("first", "last"), [(100, 120), (None, 7), (MANY - 5, None), (200, 200), (0, None)], ids=str)
def test_a_window_is_closed_where_it_has_an_end_and_open_where_it_has_none(
    client: CatalogClient, first: int | None, last: int | None
) -> None:
    start = None if first is None else BEGIN + timedelta(hours=first)
    end = None if last is None else BEGIN + timedelta(hours=last)
    expected = range(first or 0, MANY if last is None else last + 1)
    assert ids(client.search("many", EARTH, start, end)) == [f"m{n:04d}" for n in expected]


def test_an_item_of_a_range_counts_where_the_range_touches_the_window(client: CatalogClient) -> None:
    moment = BEGIN + timedelta(days=14)
    assert ids(client.search("ranges", EARTH, moment, moment + timedelta(hours=1))) == ["r1"]
    assert ids(client.search("ranges", EARTH, BEGIN + timedelta(days=6), BEGIN + timedelta(days=9))) == []


@pytest.mark.parametrize(
    "where",
    [
        {"eo:cloud_cover": 7},
        {"sat:orbit_state": "descending"},
        {"sat:orbit_state": "descending", "eo:cloud_cover": 4},
        {"sat:orbit_state": "sideways"},
        {"no:such": 1},
    ],
    ids=str,
)
def test_properties_are_equal_whatever_the_server_makes_of_a_filter(
    client: CatalogClient, where: dict[str, Any]
) -> None:
    def fits(number: int) -> bool:
        state = ("ascending", "descending", "descending")[number % 3]
        known = {"eo:cloud_cover": number % 100, "sat:orbit_state": state}
        return all(known.get(key) == value for key, value in where.items())

    assert ids(client.search("many", EARTH, where=where)) == [f"m{n:04d}" for n in range(MANY) if fits(n)]


def test_an_empty_place_is_empty(client: CatalogClient) -> None:
    assert client.search("many", (100.0, 0.0, 101.0, 1.0)) == []
    assert client.search("many", EARTH, datetime(1999, 1, 1, tzinfo=UTC), datetime(1999, 2, 1, tzinfo=UTC)) == []


def test_a_box_over_the_antimeridian_is_one_place(client: CatalogClient) -> None:
    assert ids(client.search("far", (177.5, -18.0, -178.0, -16.0))) == ["both-sides", "east", "west"]
    assert ids(client.search("far", (179.6, -18.0, -179.6, -16.0))) == ["both-sides"]


def test_an_unknown_collection_is_named_with_the_known_ones(client: CatalogClient) -> None:
    with pytest.raises(CatalogError, match=r"no collection 'none'; the catalog has far, many, ranges"):
        client.search("none", EARTH)


def test_a_server_that_understands_filters_is_sent_them_and_the_other_is_not(server: tuple[str, CatalogClient]) -> None:
    name, client = server
    if not isinstance(client, ApiCatalog):
        return
    fresh = ApiCatalog(client.catalog, client.href, client.opener)
    asked = {"collections": ["many"], "bbox": list(EARTH), "datetime": None}
    sent = fresh._filter("many", asked, {"sat:orbit_state": "descending"})
    assert bool(sent) == (name == "pgstac")


@pytest.mark.services("postgis", "stac-server")
def test_all_servers_give_the_same_items(pgstac_url: str, rustac_url: str, static_url: str) -> None:
    hashes = []
    for kind, url in (("stac-api", pgstac_url), ("stac-api", rustac_url), ("static", static_url)):
        client = open_catalog(Catalog.model_validate({"kind": kind, "href": url}), url)
        hashes.append([content_hash(one) for name in ("far", "ranges", "many") for one in client.search(name, EARTH)])
    assert hashes[0] == hashes[1] == hashes[2]
