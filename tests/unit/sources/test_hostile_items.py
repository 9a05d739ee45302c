"""Items that are wrong in any way become a `SceneItem` or a `SourceError` that names them; nothing else comes out."""

from __future__ import annotations

import copy
import json
import math
import random
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import CatalogError, RecipeError, SourceError, UnsupportedItemError
from schemas.recipe import Catalog, Modality
from schemas.scene import SceneItem
from sources.breaker import Breaker
from sources.catalog_api import ApiCatalog
from sources.items import frozen_item
from sources.openers import PlainOpener, unsigned
from sources.paging import PageRequest, gather
from sources.search import Provider, search_in_order
from sources.sensors import to_scene_item
from sources.stac_index_write import items_table
from sources.window import SearchWindow, select_items
from tests.loopback import serving

EARTH = SearchWindow((-180.0, -90.0, 180.0, 90.0), None, None, {})
FILES = {
    "earth-search/sentinel-2-l2a": ("sentinel-2-l2a", ()),
    "planetary-computer/sentinel-2-l2a": ("sentinel-2-l2a", ()),
    "planetary-computer/landsat-c2-l2": ("landsat-c2-l2-sr", ()),
    "planetary-computer/sentinel-1-rtc": ("sentinel-1-rtc", ("vv",)),
    "earth-search/sentinel-1-grd": ("sentinel-1-grd", ("hh",)),
    "dlr-eoc/ENMAP_HSI_L2A": ("enmap-l2a", ()),
    "nasa-cmr/HLSL30.v1.5": ("hls", ()),
    "earth-search/cop-dem-glo-30": ("dem", ()),
}
JUNK: list[Any] = [
    None, "", "n/a", "12", "NaN", "∞", -1, 0, 1e308, math.nan, math.inf, [], {}, [None], [[]], {"a": 1}, True, "EPSG:0",
    "EPSG:99999999", 3271, "../../etc/passwd", "file:///etc/passwd", "2022-13-45T99:99:99Z", "\x00\x1b[31m", "a" * 5000,
]  # fmt: skip


@cache
def real_items(realdata: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((realdata / "stac-items" / f"{name}.items.json").read_text())["features"]
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a document."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        found += places(part, (*path, key))
    return found


def spoil(item: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The item with one to three of its parts replaced or taken away; its id stays."""
    spoilt = copy.deepcopy(item)
    spoilt.pop("links", None)
    for _ in range(rng.randint(1, 3)):
        found = [path for path in places(spoilt) if path != ("id",)]
        shallow = [path for path in found if len(path) <= 2 or path[0] != "geometry"]
        *parents, last = rng.choice(shallow)
        parent: Any = spoilt
        for key in parents:
            parent = parent[key]
        if rng.random() < 0.4:
            del parent[last]
        else:
            parent[last] = copy.deepcopy(rng.choice(JUNK))
    return spoilt


@pytest.mark.realdata
@pytest.mark.parametrize("name", FILES)
def test_a_spoilt_item_is_a_scene_or_a_named_failure(realdata: Path, name: str) -> None:
    sensor, bands = FILES[name]
    modality = Modality.model_validate(
        {"sensor": sensor, "catalog": "c", "collection": "k", "bands": bands}
        | ({"ground_range": {}} if sensor == "sentinel-1-grd" else {})
    )
    rng = random.Random(name)
    read = named = 0
    for item in real_items(realdata, name)[:3]:
        for _ in range(22):
            spoilt = spoil(item, rng)
            try:
                for one in select_items([(spoilt, "https://example.org/stac")], EARTH, False, "", {}):
                    assert items_table([frozen_item(one, unsigned)], "c").num_rows == 1
                    scene = to_scene_item(one, "m", modality, "c")
                    read += 1
                    for ref in (*scene.refs, *scene.masks):
                        assert not ref.href.startswith(("file:", "/", "..")), "of a remote catalog"
                        assert np.isfinite([ref.scale, ref.offset, ref.georef.x0, ref.georef.pixel_size]).all()
                        assert min(ref.georef.shape_yx) > 0
            except (SourceError, RecipeError) as error:
                named += bool(str(error))
    assert named > 2
    assert read > 20 or name.startswith("nasa-cmr"), "most faults do not touch what is read; HLS items state no lattice"


@pytest.mark.realdata
def test_a_type_is_one_of_real_numbers_and_no_data_a_value_of_it(realdata: Path) -> None:
    modality = Modality(sensor="landsat-c2-l2-sr", catalog="c", collection="k")

    def scene(data_type: str, nodata: Any = None) -> SceneItem:
        item = copy.deepcopy(real_items(realdata, "planetary-computer/landsat-c2-l2")[0])
        for asset in item["assets"].values():
            for band in asset.get("raster:bands") or ():
                band |= {"data_type": data_type, "nodata": nodata}
        (found,) = select_items([(item, BASE)], EARTH, False, None, {})
        return to_scene_item(found, "m", modality, "c")

    for odd in ("other", "cint16", "cfloat32", "uint12", "bool"):
        with pytest.raises(UnsupportedItemError, match=f"asset coastal is of type '{odd}', which is not read"):
            scene(odd)
    for impossible in (-9999, "nan", 65_536, 0.5, "-inf"):
        assert scene("uint16", impossible).refs[0].nodata == 0, "as the product's document says"
    assert scene("UInt16", 65_535).refs[0].nodata == 65_535, "GDAL's name"
    assert math.isnan(scene("float32", "nan").refs[0].nodata or 0)
    masked = copy.deepcopy(real_items(realdata, "planetary-computer/landsat-c2-l2")[0])
    masked["assets"]["qa_pixel"]["raster:bands"] = [{"data_type": "cfloat64"}]
    (found,) = select_items([(masked, BASE)], EARTH, False, None, {})
    with pytest.raises(UnsupportedItemError, match="asset qa_pixel is of type 'cfloat64'"):
        to_scene_item(found, "m", modality, "c")


BASE = "https://example.org/stac"
NO_ITEMS: list[Any] = [
    None, 7, "item", [], {}, {"id": "x"}, {"id": "", "properties": {}}, {"id": "\ud800", "properties": {}},
    {"id": "y", "properties": {"datetime": "never"}, "geometry": None},
    {"id": "z", "properties": {"datetime": "2022-01-01T00:00:00Z"}, "geometry": {"type": "Polygon"}, "bbox": "none"},
]  # fmt: skip


@pytest.mark.realdata
def test_one_nonsensical_item_is_left_out_by_name_and_the_others_come(realdata: Path) -> None:
    sound = real_items(realdata, "earth-search/sentinel-2-l2a")
    truth = [item["id"] for item in select_items([(i, BASE) for i in sound], EARTH, False, None, {})]
    for nonsense in NO_ITEMS:
        left_out: dict[str, str] = {}
        mixed = [(i, BASE) for i in [*sound[:1], nonsense, *sound[1:]]]
        assert [item["id"] for item in select_items(mixed, EARTH, False, None, left_out)] == truth
        assert len(left_out) == 1
        assert next(iter(left_out.values())).startswith("is no STAC item: ")
    with pytest.raises(CatalogError, match="item 'x' is no STAC item"):
        select_items([({"id": "x"}, BASE), ({"id": "y"}, BASE)], EARTH, False, None, {})
    assert select_items([], EARTH, False, None, {}) == []


class Pages:
    """A STAC API of one collection that pages by two, one item of which makes no sense."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __call__(self, request: PageRequest) -> dict[str, Any]:
        start = int(request.body.get("from", 0))
        link = {"rel": "next", "href": "https://x.org/search", "method": "POST", "body": {"from": start + 2}}
        return {
            "features": self.items[start : start + 2],
            "links": [link] if start + 2 < len(self.items) else [],
            "numberMatched": len(self.items),
        }


@pytest.mark.realdata
@pytest.mark.parametrize("nonsense", NO_ITEMS, ids=str)
def test_paging_carries_nonsense_along_to_where_it_is_named(realdata: Path, nonsense: Any) -> None:
    sound = real_items(realdata, "earth-search/sentinel-2-l2a")[:4]
    assert len({item["id"] for item in sound}) == 4
    found = gather(Pages([*sound[:1], nonsense, *sound[1:]]), lambda size: PageRequest("https://x.org/search", "POST"))
    assert sorted(map(str, found)) == sorted(map(str, [*sound, nonsense]))


NO_ANSWER, NO_ROOT = "did not answer as a STAC API", "this is no root of a STAC API"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, NO_ANSWER),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, NO_ANSWER),
        ('{"type": "Collection", "id": "sentinel-2-l2a"}', f"{NO_ROOT} .its type is Collection.: leave out"),
        ('{"type": "FeatureCollection", "features": []}', f"{NO_ROOT} .its type is FeatureCollection."),
        ('{"collections": []}', NO_ROOT),
        ('{"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "", "links": []}', "kind: static"),
    ],
    ids=["lists in lists", "keys in keys", "collection", "search", "collections", "static"],
)
def test_an_answer_that_is_no_catalog_is_a_failure_by_name(document: str, said: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document.encode())

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        catalog = ApiCatalog(Catalog(kind="stac-api", href=url), url, PlainOpener())
        with pytest.raises(CatalogError, match=said):
            catalog.search("sentinel-2-l2a", (9.0, 45.0, 10.0, 46.0))


class Client:
    """A catalog client that met nonsense."""

    def search(self, *_: Any) -> list[dict[str, Any]]:
        return [{"id": "good"}]

    def left_out(self, collection: str) -> dict[str, str]:
        return {f"'bad-{n:02d}'": "is no STAC item: no properties" for n in range(22)}


def test_the_plan_names_what_was_left_out() -> None:
    found = search_in_order([Provider("c", "k")], lambda _: Client(), [EARTH.bbox], (None, None), Breaker())
    assert list(found.items) == ["good"]
    assert found.notes[0] == "item 'bad-00' is left out: it is no STAC item: no properties"
    assert found.notes[-1] == "2 more items are left out"
    assert len(found.notes) == 21
