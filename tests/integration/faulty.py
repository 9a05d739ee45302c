"""A static catalog over a sandbox's files behind a file server that fails on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml

from sandbox.products import SandboxIndex
from tests.loopback import serving

BOX = [11.9815, 47.8062, 11.9995, 47.8205]
"""In zone 32, over the seam of its two Sentinel-2 tiles."""
Edit = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Changes an item, or leaves it out."""


@dataclass
class Faulty:
    """What the server does; a path is the one in the address, ``/...``."""

    files: Path
    catalog: Path
    url: str = ""
    missing: set[str] = field(default_factory=set)
    """Answered with 404."""
    cut: dict[str, int] = field(default_factory=dict)
    """Files that end after so many bytes."""
    failing: dict[str, int] = field(default_factory=dict)
    """Answered with 500 so many times more; ``*`` stands for every path that is not named."""
    before: Callable[[], None] = lambda: None
    """Called before every answer."""

    def items(self) -> list[dict[str, Any]]:
        """The items of the catalog."""
        return [json.loads(path.read_text()) for path in sorted(self.catalog.glob("items/*.json"))]

    def path_of(self, item_id: str, asset: str) -> str:
        """Path of an asset on the server."""
        item = next(item for item in self.items() if item["id"] == item_id)
        return str(item["assets"][asset]["href"]).removeprefix(self.url)


@contextmanager
def faulty(index: SandboxIndex, folder: Path, edit: Edit = lambda item: item) -> Iterator[Faulty]:
    """The catalog in ``folder`` and its server.

    Args:
        index: the sandbox.
        folder: where the catalog's documents go.
        edit: applied to every item.
    """
    state = Faulty(index.root / "files", folder)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.split("?")[0]
            state.before()
            with lock:
                if "*" in state.failing:
                    state.failing.setdefault(path, state.failing["*"])
                state.failing[path] = state.failing.get(path, 0) - 1
                fails = state.failing[path] >= 0
            if fails:
                self.respond(500, b"", {}, with_body)
                return
            file = state.files / path.lstrip("/")
            if path in state.missing or not file.is_file():
                self.respond(404, b"", {}, with_body)
                return
            data = file.read_bytes()[: state.cut.get(path)]
            wanted = self.headers.get("Range", "")
            if not wanted.startswith("bytes="):
                self.respond(200, data, {"Accept-Ranges": "bytes"}, with_body)
                return
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
            if begin >= len(data):
                self.respond(416, b"", {"Content-Range": f"bytes */{len(data)}"}, with_body)
                return
            self.respond(206, data[begin : end + 1], {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}, with_body)

        def respond(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with serving(Handler) as state.url:
        _write_catalog(index, state, edit)
        yield state


def _write_catalog(index: SandboxIndex, state: Faulty, edit: Edit) -> None:
    (state.catalog / "items").mkdir(parents=True)
    links: dict[str, list[dict[str, str]]] = {}
    for path in sorted((index.root / "stac").glob("*.ndjson")):
        for line in path.read_text().splitlines():
            item = edit(json.loads(line))
            if item is None:
                continue
            for asset in item["assets"].values():
                asset["href"] = f"{state.url}/{asset['href']}"
            item["links"] = []
            (state.catalog / "items" / f"{item['id']}.json").write_text(json.dumps(item))
            links.setdefault(item["collection"], []).append({"rel": "item", "href": f"./items/{item['id']}.json"})
    for name, members in links.items():
        collection = json.loads((index.root / "stac" / "collections" / f"{name}.json").read_text())
        (state.catalog / f"{name}.json").write_text(json.dumps(collection | {"links": members}))
    children = [{"rel": "child", "href": f"./{name}.json"} for name in sorted(links)]
    document = {"type": "Catalog", "stac_version": "1.1.0", "id": "faulty", "description": "-", "links": children}
    (state.catalog / "catalog.json").write_text(json.dumps(document))


def faulty_recipe(sandbox_recipe: Path) -> dict[str, Any]:
    """Two bands of one date and one label product over a few chips; ``TERRAWEFT_FAULTY`` names the catalog."""
    found = yaml.safe_load(sandbox_recipe.read_text())
    s2 = found["modalities"]["s2"] | {"bands": ["B02", "B04"]}
    s2["select"] = {"how": "newest", "max_dates": 1, "max_nodata_fraction": 0.9}
    found |= {
        "regions": [{"name": "north", "bbox": BOX}],
        "catalogs": {"sandbox": {"kind": "static", "href": "${TERRAWEFT_FAULTY}", "allow_local": True}},
        "modalities": {"s2": s2},
        "labels": {
            "sources": {"worldcover": found["labels"]["sources"]["worldcover"]},
            "fuse": {"method": "priority", "legend": "worldcover-11"},
        },
        "register": {"mode": "off"},
        "screen": {"max_nodata_fraction": 0.9, "reject_constant": False, "max_saturated_fraction": 1.0},
        "split": {"method": "none"},
        "write": {"kinds": ["webdataset"]},
    }
    del found["captions"]
    return dict(found)


def write_faulty_recipe(
    sandbox_recipe: Path, path: Path, grid: Mapping[str, Any] | None = None, **sections: Any
) -> Path:
    """`faulty_recipe` from the sandbox's own catalog, some sections replaced; the file."""
    found = faulty_recipe(sandbox_recipe)
    found["catalogs"]["sandbox"] = yaml.safe_load(sandbox_recipe.read_text())["catalogs"]["sandbox"]
    found["grid"] |= grid or {}
    path.write_text(yaml.safe_dump(found | sections, sort_keys=False))
    return path


def write_recipe_of_both_kinds(sandbox_recipe: Path, path: Path) -> Path:
    """`write_faulty_recipe`, a tile per chip, as tars and as Zarr; the file."""
    kinds = {"kinds": ["webdataset", "zarr"], "zarr_shard_chips": 4}
    return write_faulty_recipe(sandbox_recipe, path, {"tile_chips": 1}, write=kinds)
