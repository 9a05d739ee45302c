"""A tree of documents that is no tree: links in circles, the same item by several ways, links that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import CatalogError
from schemas.recipe import Catalog
from sources import catalog_static
from sources.catalog_static import StaticCatalog
from sources.openers import PlainOpener

EARTH = (-180.0, -90.0, 180.0, 90.0)


class Counting(StaticCatalog):
    """Counts the documents that it reads."""

    reads = 0

    def _read(self, href: str) -> dict[str, Any]:
        self.reads += 1
        return super()._read(href)


def write(folder: Path, **documents: dict[str, Any]) -> Counting:
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps({"stac_version": "1.0.0", "id": name, **document}))
    href = str(folder / "catalog.json")
    return Counting(Catalog(kind="static", href=href), href, PlainOpener())


def links(**rels: list[str]) -> list[dict[str, str]]:
    return [{"rel": rel, "href": f"./{name}.json"} for rel, names in rels.items() for name in names]


def test_links_in_circles_are_followed_once(tmp_path: Path) -> None:
    item = {
        "type": "Feature",
        "geometry": None,
        "bbox": [7, 50, 8, 51],
        "properties": {"datetime": "2020-01-01T00:00:00Z"},
    }
    catalog = write(
        tmp_path,
        catalog={"type": "Catalog", "links": links(child=["catalog"] * 9 + ["other", "k"])},
        other={"type": "Catalog", "links": links(child=["catalog", "other", "k"])},
        k={"type": "Collection", "links": links(item=["one", "one"], child=["k", "part", "catalog"])},
        part={"type": "Catalog", "links": links(item=["one", "two"], child=["k"])},
        one={**item, "assets": {}},
        two={**item, "assets": {}},
    )
    assert [found["id"] for found in catalog.search("k", EARTH)] == ["one", "two"]
    assert catalog.reads == 9, "catalog, other, k; then k, part, catalog, other; one, two"


def test_links_that_are_none_are_passed_by(tmp_path: Path) -> None:
    for odd in (None, 7, "child", {"rel": "child"}, [None, "child", {"rel": "child"}, {"href": "x"}]):
        with pytest.raises(CatalogError, match="no collection 'k'; the catalog has none"):
            write(tmp_path, catalog={"type": "Catalog", "links": odd}).search("k", EARTH)


ONE = {
    "type": "Feature",
    "geometry": None,
    "bbox": [7, 50, 8, 51],
    "properties": {"datetime": "2020-01-01T00:00:00Z"},
    "assets": {"a": {"href": "./a.tif"}},
}


def test_a_collection_within_another_is_found(tmp_path: Path) -> None:
    catalog = write(
        tmp_path,
        catalog={"type": "Catalog", "links": links(child=["outer"])},
        outer={"type": "Collection", "links": links(child=["years"])},
        years={"type": "Catalog", "links": links(child=["inner", "outer"])},
        inner={"type": "Collection", "links": links(item=["one"])},
        one=ONE,
    )
    assert [found["id"] for found in catalog.search("inner", EARTH)] == ["one"]
    assert [found["id"] for found in catalog.search("outer", EARTH)] == ["one"]
    with pytest.raises(CatalogError, match="no collection 'k'; the catalog has inner, outer"):
        catalog.search("k", EARTH)


@pytest.mark.parametrize(("folder", "written"), [("a b", "a%20b"), ("a%20b", "a%20b"), ("a b", "a b")])
def test_a_path_may_be_written_as_an_address(tmp_path: Path, folder: str, written: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "one.json").write_text(json.dumps({"id": "one", **ONE}))
    (tmp_path / folder / "k.json").write_text(
        json.dumps({"id": "k", "type": "Collection", "links": [{"rel": "item", "href": "one.json"}]})
    )
    href = [{"rel": "child", "href": f"./{written}/k.json"}]
    (found,) = write(tmp_path, catalog={"type": "Catalog", "links": href}).search("k", EARTH)
    assert found["assets"]["a"]["href"] == str(tmp_path / folder / "a.tif")


class Endless(Counting):
    """Every document names ever new ones."""

    rel = "child"

    def _read(self, href: str) -> dict[str, Any]:
        self.reads += 1
        kind = "Collection" if href.endswith("k.json") else "Catalog"
        return {"type": kind, "id": "k", "links": links(**{self.rel: [f"{self.reads}-{i}" for i in range(30)] + ["k"]})}


@pytest.mark.parametrize("rel", ["child", "item"])
def test_a_tree_of_ever_new_documents_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rel: str) -> None:
    monkeypatch.setattr(catalog_static, "MOST_DOCUMENTS", 500)
    href = str(tmp_path / "k.json")
    endless = Endless(Catalog(kind="static", href=href), href, PlainOpener())
    endless.rel = rel
    endless._addresses = {"k": href}
    if rel == "item":
        monkeypatch.setattr(catalog_static, "MOST_DOCUMENTS", 20)
    with pytest.raises(CatalogError, match=r"more than [0-9]+ documents of a kind: name a part of it, or an API"):
        endless.search("k", EARTH)
    assert endless.reads < 1_000
