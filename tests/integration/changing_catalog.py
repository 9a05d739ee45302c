"""A static catalog over a sandbox's files whose items come, go and change between two builds; and builds of it here.

Builds run in this process (`flows.stages.build_plainly`), without Prefect and Dask: what is tested is what a refresh
does, not who does it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from flows.request import BuildRequest, BuildResult
from flows.stages import build_plainly
from sandbox.products import SandboxIndex
from schemas.dataset import DatasetDocument
from schemas.recipe import Recipe
from shards.document import read_document
from shards.pointer import read_pointer
from shards.storage import Storage, open_storage

VARIABLE = "TERRAWEFT_CHANGING"
TABLES = ("chips.parquet", "texts.parquet", "outcomes.parquet", "estimates.json")
Keep = Callable[[dict[str, Any]], bool]


def everything(item: dict[str, Any]) -> bool:
    """No item is left out."""
    return True


@dataclass
class ChangingCatalog:
    """The catalog: `write` makes it anew.

    Attributes:
        index: the sandbox.
        folder: where the documents lie.
    """

    index: SandboxIndex
    folder: Path

    @property
    def href(self) -> str:
        """Its address."""
        return str(self.folder / "catalog.json")

    def items(self) -> Iterable[dict[str, Any]]:
        """All items of the sandbox, with the paths of their files."""
        for path in sorted((self.index.root / "stac").glob("*.ndjson")):
            for line in path.read_text().splitlines():
                item = json.loads(line)
                for asset in item["assets"].values():
                    asset["href"] = str(self.index.root / "files" / asset["href"])
                yield item

    def write(self, keep: Keep = everything, change: Callable[[dict[str, Any]], None] = lambda item: None) -> None:
        """The items that are kept, changed in place; what the catalog held before is gone."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "items").mkdir(parents=True)
        links: dict[str, list[dict[str, str]]] = {}
        for item in self.items():
            if not keep(item):
                continue
            change(item)
            item["links"] = []
            (self.folder / "items" / f"{item['id']}.json").write_text(json.dumps(item))
            links.setdefault(item["collection"], []).append({"rel": "item", "href": f"./items/{item['id']}.json"})
        for path in (self.index.root / "stac" / "collections").glob("*.json"):
            collection = json.loads(path.read_text()) | {"links": links.get(path.stem, [])}
            (self.folder / path.name).write_text(json.dumps(collection))
        names = sorted(path.name for path in (self.index.root / "stac" / "collections").glob("*.json"))
        children = [{"rel": "child", "href": f"./{name}"} for name in names]
        document = {"type": "Catalog", "stac_version": "1.1.0", "id": "changing", "description": "-", "links": children}
        (self.folder / "catalog.json").write_text(json.dumps(document))


def small_recipe(sandbox_recipe: Path) -> dict[str, Any]:
    """Two sensors, two label products, fusion and texts over the north: a dozen chips in a few seconds."""
    recipe: dict[str, Any] = yaml.safe_load(sandbox_recipe.read_text())
    recipe["catalogs"] = {"sandbox": {"kind": "static", "href": f"${{{VARIABLE}}}", "allow_local": True}}
    recipe["regions"] = recipe["regions"][:1]
    s2 = recipe["modalities"]["s2"] | {"bands": ["B02", "B03", "B04", "B08"]}
    landsat = recipe["modalities"]["landsat"] | {"bands": ["red", "nir08"], "engine": "direct"}
    recipe["modalities"] = {"s2": s2, "landsat": landsat}
    sources = recipe["labels"]["sources"]
    worldcover = {name: value for name, value in sources["worldcover"].items() if name != "year"}
    recipe["labels"]["sources"] = {"worldcover": worldcover, "osm": sources["osm"]}
    recipe["captions"]["kinds"] = ["short", "qa"]
    recipe["write"] |= {"shard_bytes": 60_000}
    return recipe


@dataclass
class Dataset:
    """A dataset that is built and refreshed here.

    Attributes:
        storage: its root.
        work: folder for what is not finished.
        catalog: what it is made of.
    """

    storage: Storage
    work: Path
    catalog: ChangingCatalog

    def build(self, recipe: dict[str, Any], **options: Any) -> BuildResult:
        """A build, or a refresh."""
        return build_plainly(self.request(recipe, **options))

    def request(self, recipe: dict[str, Any], **options: Any) -> BuildRequest:
        """What `build` asks for."""
        return BuildRequest(
            recipe=Recipe.model_validate(recipe),
            recipe_folder=self.catalog.folder,
            storage=self.storage,
            work=self.work,
            variables={VARIABLE: self.catalog.href},
            workers=1,
            **options,
        )

    def forget_work(self) -> None:
        """Delete what a run could go on with."""
        shutil.rmtree(self.work, ignore_errors=True)

    @property
    def document(self) -> DatasetDocument:
        """Of the current version."""
        pointer = read_pointer(self.storage)
        assert pointer is not None
        return read_document(self.storage, pointer.current)

    def content(self, name: str) -> bytes:
        """A file of the current version."""
        return self.storage.read(f"versions/{self.document.version}/{name}")

    def table(self, name: str) -> pd.DataFrame:
        """A table of the current version, by chip."""
        import io

        return pd.read_parquet(io.BytesIO(self.content(f"{name}.parquet"))).set_index("chip_id")

    def estimates(self) -> dict[str, Any]:
        """Parameters of the current version."""
        return dict(json.loads(self.content("estimates.json")))

    def fingerprint(self) -> dict[str, str]:
        """What a dataset is to the byte: every tar, the tables, the arrays and chunks of Zarr."""
        document = self.document
        found = {record.path: record.sha256 for record in document.shards}
        found |= {name: hashlib.sha256(self.content(name)).hexdigest() for name in TABLES}
        return found | {"zarr": str(document.zarr.get("digest", ""))}

    def reads(self) -> set[str]:
        """Assets that the last run read pixels of, ``item/asset``-like tails of their addresses."""
        run = self.table("run")
        return {"/".join(url.split("/")[-2:]) for urls in run["urls"] for url in urls}


def dataset_in(folder: Path, catalog: ChangingCatalog) -> Dataset:
    """A dataset in a folder."""
    return Dataset(open_storage(folder), folder / "work", catalog)
