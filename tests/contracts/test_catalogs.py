"""One contract for every kind of catalog: a folder, a folder behind HTTP, and a STAC API.

The real catalog is a folder; the sandbox is served behind an API as any provider's is.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely

from sandbox.serve import SandboxServer
from schemas.errors import CatalogError, SourceError, TransientSourceError, UnsupportedItemError
from schemas.recipe import Catalog, Modality
from sources.base import CatalogClient
from sources.catalog import open_catalog
from sources.engine import open_engine
from sources.items import content_hash, frozen_item, item_geometry, item_times
from sources.openers import PlainOpener, unsigned
from sources.retry import PATIENCE
from sources.sensors import to_scene_item
from sources.stac_index_write import IndexWriter
from tests.loopback import serving
from tests.made_once import tiny_world

EARTH = (-180.0, -90.0, 180.0, 90.0)


@dataclass
class Case:
    """A catalog and what it is known to hold."""

    href: str
    kind: str
    sensors: dict[str, tuple[str, tuple[str, ...]]]
    """Collection -> sensor and the bands that all its items have."""
    place: tuple[float, float, float, float]
    """A box that some items touch and others do not."""
    where: dict[str, str]
    """Properties that some items of the first collection have."""

    def open(self, allow_local: bool = True) -> CatalogClient:
        catalog = Catalog.model_validate({"kind": self.kind, "href": self.href, "allow_local": allow_local})
        return open_catalog(catalog, self.href)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


REAL: dict[str, tuple[str, tuple[str, ...]]] = {
    "sentinel-2-l2a": ("sentinel-2-l2a", ("B05", "B12")),
    "sentinel-1-grd": ("sentinel-1-grd", ()),
    "landsat-8-c1-sr": ("landsat-c1", ()),
    "enmap-l2a": ("enmap-l2a", ("655nm",)),
}
SANDBOX: dict[str, tuple[str, tuple[str, ...]]] = {
    "sentinel-2-l2a": ("sentinel-2-l2a", ()),
    "sentinel-1-rtc": ("sentinel-1-rtc", ()),
    "landsat-c2-l2": ("landsat-c2-l2-sr", ()),
    "enmap-l2a": ("enmap-l2a", ()),
}


@pytest.fixture(scope="module")
def sandbox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_world(tmp_path_factory).root


@pytest.fixture(scope="module")
def sandbox_case(sandbox_root: Path) -> Iterator[Case]:
    with SandboxServer(sandbox_root) as server:
        where = {"sat:orbit_state": "descending", "s2:mgrs_tile": "32TQT"}
        yield Case(server.stac_url, "stac-api", SANDBOX, (18.9, -34.0, 19.1, -33.8), where)


@pytest.fixture(scope="module")
def folder_case(realdata: Path) -> Case:
    where = {"sat:orbit_state": "descending", "site": "wervik"}
    return Case(str(realdata / "catalog"), "static", REAL, (3.37, 51.17, 3.39, 51.19), where)


@pytest.fixture(scope="module")
def http_case(folder_case: Case) -> Iterator[Case]:
    handler = partial(Quiet, directory=folder_case.href)
    with serving(handler) as url:
        yield Case(f"{url}/catalog.json", "static", REAL, folder_case.place, folder_case.where)


@pytest.fixture(scope="module")
def index_file(folder_case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder's items as an index."""
    path = tmp_path_factory.mktemp("index") / "items.parquet"
    writer = IndexWriter(path)
    for collection in folder_case.sensors:
        writer.add([frozen_item(item, unsigned) for item in folder_case.open().search(collection, EARTH)])
    writer.close()
    return path


@pytest.fixture(scope="module")
def index_case(folder_case: Case, index_file: Path) -> Case:
    return Case(str(index_file), "stac-geoparquet", REAL, folder_case.place, folder_case.where)


@pytest.fixture(scope="module")
def http_index_case(sandbox_root: Path, sandbox_case: Case) -> Iterator[Case]:
    """The sandbox's items as an index behind a server that answers ranges."""
    writer = IndexWriter(sandbox_root / "files" / "items.parquet")
    for collection in sandbox_case.sensors:
        writer.add([frozen_item(item, unsigned) for item in sandbox_case.open().search(collection, EARTH)])
    writer.close()
    with SandboxServer(sandbox_root) as server:
        href = f"{server.files_url}/items.parquet"
        yield Case(href, "stac-geoparquet", SANDBOX, sandbox_case.place, sandbox_case.where)


@pytest.fixture(
    params=[
        pytest.param("index_case", marks=pytest.mark.realdata),
        "http_index_case",
        pytest.param("folder_case", marks=pytest.mark.realdata),
        pytest.param("http_case", marks=pytest.mark.realdata),
        "sandbox_case",
    ]
)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


def test_items_come_once_each_in_time_order(case: Case) -> None:
    for collection in case.sensors:
        items = case.open().search(collection, EARTH)
        assert items
        order = [(item_times(item)[0], item["id"]) for item in items]
        assert order == sorted(set(order))
        assert {item["collection"] for item in items} == {collection}


def test_a_box_gives_the_items_that_touch_it_and_no_others(case: Case) -> None:
    collection = next(iter(case.sensors))
    everything = case.open().search(collection, EARTH)
    inside = case.open().search(collection, case.place)
    ground = shapely.box(*case.place)
    assert [i["id"] for i in inside] == [i["id"] for i in everything if item_geometry(i).intersects(ground)]
    assert 0 < len(inside) < len(everything)
    assert case.open().search(collection, (100.0, 0.0, 101.0, 1.0)) == []


def test_a_window_is_closed_on_both_sides(case: Case) -> None:
    collection = next(iter(case.sensors))
    everything = case.open().search(collection, EARTH)
    middle = item_times(everything[-1])[0].replace(microsecond=0)
    second = timedelta(seconds=1)
    before = case.open().search(collection, EARTH, None, middle - second)
    after = case.open().search(collection, EARTH, middle, None)
    assert [i["id"] for i in (*before, *after)] == [i["id"] for i in everything]
    assert before
    exact = case.open().search(collection, EARTH, middle, middle + second)
    assert everything[-1]["id"] in [i["id"] for i in exact]


def test_properties_are_compared_here_and_not_by_the_server(case: Case) -> None:
    collection = next(iter(case.sensors))
    everything = case.open().search(collection, EARTH)
    wanted = case.open().search(collection, EARTH, where=case.where)
    assert 0 < len(wanted) < len(everything)
    assert all(item["properties"][key] == value for item in wanted for key, value in case.where.items())
    assert case.open().search(collection, EARTH, where={"sat:orbit_state": "ascending"}) == []


def test_an_unknown_collection_is_an_error_that_names_the_known_ones(case: Case) -> None:
    with pytest.raises(CatalogError, match=r"no collection 'sentinel-9'.*enmap-l2a"):
        case.open().search("sentinel-9", EARTH)


def test_every_item_is_a_scene(case: Case) -> None:
    for collection, (sensor, bands) in case.sensors.items():
        modality = Modality(sensor=sensor, catalog="c", collection=collection, bands=bands)
        for item in case.open().search(collection, EARTH):
            scene = to_scene_item(item, "m", modality, "c")
            assert (scene.item_id, scene.sensor) == (item["id"], sensor)


@pytest.mark.parametrize("name", [pytest.param("folder_case", marks=pytest.mark.realdata), "sandbox_case"])
def test_pixels_of_a_scene_are_those_of_its_file(name: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(name)
    opener = PlainOpener(allow_local=True)
    for collection, (sensor, bands) in case.sensors.items():
        modality = Modality(sensor=sensor, catalog="c", collection=collection, bands=bands)
        scene = to_scene_item(case.open().search(collection, EARTH)[-1], "m", modality, "c")
        for ref in (scene.refs[-1], *scene.masks[:1]):
            pixels = open_engine("direct").read([ref], ref.georef, "nearest", opener)[0]
            with rasterio.Env(**opener.gdal_options()), rasterio.open(ref.href) as file:
                np.testing.assert_array_equal(pixels, file.read(ref.band_index))


def test_a_client_pickles_without_what_it_has_read(case: Case) -> None:
    client = case.open()
    collection = next(iter(case.sensors))
    before = client.search(collection, EARTH)
    again = pickle.loads(pickle.dumps(client))
    assert len(pickle.dumps(client)) < 500
    assert again.search(collection, EARTH) == before


def test_remote_catalogs_do_not_lead_to_this_machine_without_leave(case: Case) -> None:
    collection, (sensor, bands) = next(iter(case.sensors.items()))
    modality = Modality(sensor=sensor, catalog="c", collection=collection, bands=bands)
    item = case.open(allow_local=False).search(collection, EARTH)[0]
    if case.kind == "static" and not case.href.startswith("http"):
        to_scene_item(item, "m", modality, "c")
        return
    with pytest.raises(UnsupportedItemError, match=r"refused: (127\.0\.0\.1 is this machine|a local file)"):
        to_scene_item(item, "m", modality, "c")


@pytest.mark.realdata
def test_the_same_items_have_the_same_hash_in_a_folder_and_behind_http(folder_case: Case, http_case: Case) -> None:
    for collection in REAL:
        one, other = (case.open().search(collection, EARTH) for case in (folder_case, http_case))
        assert [content_hash(i) for i in one] == [content_hash(i) for i in other]
        assert len({content_hash(i) for i in one}) == len(one)


def test_a_server_on_other_ports_gives_the_same_hashes(sandbox_root: Path, sandbox_case: Case) -> None:
    with SandboxServer(sandbox_root) as server:
        assert server.stac_url != sandbox_case.href
        moved = Case(server.stac_url, "stac-api", SANDBOX, sandbox_case.place, {})
        for collection in SANDBOX:
            one, other = (case.open().search(collection, EARTH) for case in (sandbox_case, moved))
            assert [content_hash(i) for i in one] == [content_hash(i) for i in other]
            assert [i["assets"] for i in one] != [i["assets"] for i in other]


@pytest.mark.parametrize("kind", ["stac-api", "static"])
def test_nobody_there_is_transient(kind: str) -> None:
    catalog = Catalog.model_validate({"kind": kind, "href": "x"})
    client = open_catalog(catalog, "http://127.0.0.1:9/", sleep=lambda _: None)
    with pytest.raises(TransientSourceError, match="no answer from the catalog") as caught:
        client.search("c", EARTH, datetime(2020, 1, 1, tzinfo=UTC))
    assert caught.value.attempts == PATIENCE.attempts


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot read"), ("{", "is no JSON"), ("[]", "is no STAC document")],
)
def test_a_folder_that_is_no_catalog_is_an_error(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "catalog.json").write_text(text)
    with pytest.raises(CatalogError, match=words):
        open_catalog(Catalog(kind="static", href="x"), str(tmp_path)).search("c", EARTH)


@pytest.mark.parametrize("kind", ["stac-api", "static"])
def test_a_server_that_is_no_catalog_is_an_error(tmp_path: Path, kind: str) -> None:
    (tmp_path / "index.html").write_text("<html>hello</html>")
    with serving(partial(Quiet, directory=str(tmp_path))) as url:
        catalog = Catalog.model_validate({"kind": kind, "href": "x"})
        with pytest.raises(SourceError) as caught:
            open_catalog(catalog, f"{url}/").search("c", EARTH)
    assert isinstance(caught.value, CatalogError)
