"""A series of refreshes over the sandbox: what each of them reads and writes, against the change that caused it.

    python bench/refresh_series.py

The tiny world behind a static catalog that grows: at first one Sentinel-2 date in its old processing, one Landsat scene
per region and WorldCover 2020; then a date arrives, a scene is processed anew, WorldCover 2021 appears, the recipe asks
for a further band, for other texts. After every refresh ``work/`` is deleted; the last dataset is built afresh with the
same parameters, and must be the same to the byte. Writes ``bench/results/refresh_series.json`` and the table of
docs/refresh.md. Builds run in this process (`flows.stages.build_plainly`); bytes read are those of blocks of pixels.
"""

from __future__ import annotations

import copy
import io
import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record
from bench.scenes import BUILD

WORK = BUILD / "refresh-series"
PAGE = Path(__file__).parents[1] / "docs" / "refresh.md"
BEGIN, END = "<!-- bench/refresh_series.py -->\n", "<!-- end of the series -->\n"
RECIPE = Path(__file__).parents[1] / "recipes" / "sandbox.yaml"
VARIABLE = "TERRAWEFT_SERIES"
Has = Callable[[str], bool]


def old(name: str) -> bool:
    """Whether an item was there at first."""
    later = name.startswith(("S2B_MSIL2A_20220620", "S2A_MSIL2A_20221004", "LC09_L2SP_192"))
    return not (later or "_20230211T" in name or "2021_v200" in name)


def with_new_date(name: str) -> bool:
    """A date arrives in one granule of the north."""
    return old(name) or name.startswith("S2B_MSIL2A_20220620T101039_R022_T32TQT")


def with_reprocessed(name: str) -> bool:
    """A granule of the first date is processed anew."""
    return with_new_date(name) or name == "S2A_MSIL2A_20210720T101031_R022_T33UTP_20230211T032746"


def with_new_labels(name: str) -> bool:
    """WorldCover 2021 appears."""
    return with_reprocessed(name) or "2021_v200" in name


def write_catalog(root: Path, folder: Path, has: Has) -> None:
    """The sandbox's items whose ids the catalog has, as a static catalog of local files."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "items").mkdir(parents=True)
    links: dict[str, list[dict[str, str]]] = {}
    for path in sorted((root / "stac").glob("*.ndjson")):
        for line in path.read_text().splitlines():
            item = json.loads(line)
            if not has(item["id"]):
                continue
            for asset in item["assets"].values():
                asset["href"] = str(root / "files" / asset["href"])
            item["links"] = []
            (folder / "items" / f"{item['id']}.json").write_text(json.dumps(item))
            links.setdefault(item["collection"], []).append({"rel": "item", "href": f"./items/{item['id']}.json"})
    for path in (root / "stac" / "collections").glob("*.json"):
        document = json.loads(path.read_text()) | {"links": links.get(path.stem, [])}
        (folder / path.name).write_text(json.dumps(document))
    children = [{"rel": "child", "href": f"./{name}.json"} for name in sorted(links)]
    document = {"type": "Catalog", "stac_version": "1.1.0", "id": "series", "description": "-", "links": children}
    (folder / "catalog.json").write_text(json.dumps(document))


def the_recipe(regions: dict[str, Any]) -> dict[str, Any]:
    """The sandbox's recipe with smaller chips and shards, over a catalog that changes; WorldCover of any year."""
    import yaml

    recipe: dict[str, Any] = yaml.safe_load(RECIPE.read_text())
    recipe["catalogs"] = {"sandbox": {"kind": "static", "href": f"${{{VARIABLE}}}", "allow_local": True}}
    recipe["regions"] = [{"name": name, "bbox": list(box)} for name, box in regions.items()]
    recipe["grid"] |= {"chip_m": 480, "tile_chips": 2}
    recipe["split"]["block_m"] = 960
    recipe["modalities"] = {name: recipe["modalities"][name] for name in ("s2", "s1_desc", "landsat")}
    recipe["modalities"]["s2"]["bands"] = ["B02", "B03", "B04", "B08"]
    recipe["modalities"]["landsat"] |= {"bands": ["red", "nir08"], "engine": "direct"}
    for name in recipe["modalities"]:
        recipe["modalities"][name]["optional"] = name != "s2"
    sources = recipe["labels"]["sources"]
    del sources["worldcover_2020"], sources["worldcover"]["year"]
    recipe["captions"]["kinds"] = ["short", "qa"]
    recipe["write"] |= {"shard_bytes": 60_000, "zarr_shard_chips": 4}
    return recipe


class Series:
    """The dataset, refreshed again and again."""

    def __init__(self, folder: Path, catalog: Path) -> None:
        from shards.storage import open_storage

        self.folder, self.catalog, self.storage = folder, catalog, open_storage(folder)

    def build(self, recipe: dict[str, Any], estimates: dict[str, Any] | None = None) -> dict[str, Any]:
        """One version; what it took, as a row."""
        import pandas as pd

        from flows.looking import nothing_new
        from flows.request import BuildRequest
        from flows.stages import build_plainly
        from schemas.recipe import Recipe

        request = BuildRequest(
            recipe=Recipe.model_validate(recipe), recipe_folder=self.catalog, storage=self.storage,
            work=self.folder / "work", variables={VARIABLE: str(self.catalog / "catalog.json")}, workers=1,
            estimates=estimates,
        )  # fmt: skip
        began = time.perf_counter()
        result = nothing_new(request) or build_plainly(request)
        seconds = time.perf_counter() - began
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        document = self.document()
        row = {"planned": document["counts"]["planned"], "seconds": round(seconds, 1)}
        if not result.published:
            return row | {"touched": 0, "by": "", "read_bytes": 0, "shards": f"0 of {len(document['shards'])}",
                          "shard_bytes": 0}  # fmt: skip
        run = pd.read_parquet(io.BytesIO(self.file("run.parquet")))
        diff = document["diff"]
        by = ", ".join(f"{name} {count}" for name, count in diff["touched"].items())
        return row | {
            "touched": len(run),
            "by": by,
            "read_bytes": int(run["bytes"].sum()),
            "shards": f"{diff['shards_written']} of {len(document['shards'])}",
            "shard_bytes": diff["shard_bytes_written"],
        }

    def document(self) -> dict[str, Any]:
        """``dataset.json`` of the current version."""
        return dict(json.loads(self.file("dataset.json")))

    def file(self, name: str) -> bytes:
        """A file of the current version."""
        current = json.loads(self.storage.read("terraweft.json"))["current"]
        return self.storage.read(f"versions/{current}/{name}")

    def content(self) -> dict[str, Any]:
        """What two datasets of the same content have in common."""
        document = self.document()
        names = ("chips.parquet", "texts.parquet", "outcomes.parquet")
        found = {name: document["tables"][name]["sha256"] for name in names}
        shards = sorted(shard["sha256"] for shard in document["shards"])
        return found | {"zarr": document["zarr"]["digest"], "shards": shards}


def main() -> None:
    warnings.simplefilter("ignore")
    from sandbox.products import write_sandbox

    index = write_sandbox(BUILD / "refresh-world", size="tiny", seed=7)
    for name in ("dataset", "fresh"):
        shutil.rmtree(WORK / name, ignore_errors=True)
    catalog = WORK / "catalog"
    series = Series(WORK / "dataset", catalog)
    recipe = the_recipe(index.regions)
    more = copy.deepcopy(recipe)
    more["modalities"]["landsat"]["bands"] = ["red", "nir08", "swir16"]
    words = copy.deepcopy(more)
    words["captions"]["kinds"] = ["short", "long"]
    steps: list[tuple[str, Has, dict[str, Any]]] = [
        ("first build", old, recipe),
        ("nothing new", old, recipe),
        ("a new date over a part of the north", with_new_date, recipe),
        ("one scene processed anew", with_reprocessed, recipe),
        ("a new vintage of WorldCover", with_new_labels, recipe),
        ("the recipe: a third Landsat band", with_new_labels, more),
        ("the recipe: other texts", with_new_labels, words),
    ]
    rows = []
    for what, has, wanted in steps:
        write_catalog(index.root, catalog, has)
        rows.append({"change": what, **series.build(wanted)})
        print(rows[-1], flush=True)
    fresh = Series(WORK / "fresh", catalog)
    taken = {**json.loads(series.file("estimates.json")), "where": series.document()["estimates"]}
    rows.append({"change": "all of it, built afresh", **fresh.build(words, taken)})
    same = series.content() == fresh.content()
    whole = rows[-1]["read_bytes"]
    share = sum(row["read_bytes"] for row in rows[1:-1]) / whole
    record(
        "refresh_series",
        figure=share,
        unit="of a full build's pixel bytes, read by six refreshes together",
        target=1.0,
        holds=same and share < 1.0,
        floor=None,
        rows=rows,
        packages=["numpy", "rasterio", "zarr", "icechunk"],
        further={"refreshed_equals_fresh": same},
    )
    _write_page(rows)


def _write_page(rows: list[dict[str, Any]]) -> None:
    """The table into the page."""
    lines = ["| change | chips touched | by | pixel bytes read | shards written | shard bytes | seconds |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        touched, read = f"{row['touched']} of {row['planned']}", f"{row['read_bytes'] / 1e6:.2f} MB"
        written = f"{row['shard_bytes'] / 1e6:.2f} MB"
        cells = (row["change"], touched, row["by"], read, row["shards"], written, row["seconds"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
