"""P8: a refresh with nothing new, and with one new scene, beside the full build of the same dataset.

    python bench/p8_refresh.py [--edge 100] [--repeats 5]

``edge`` x ``edge`` chips of 32 px, four bands, two dates, tars and Zarr, out of one scene's ground behind nginx; items
in a stac-geoparquet index. ``terraweft build`` makes the dataset; ``terraweft refresh`` is timed with nothing new, the
whole process; then a third scene arrives that covers a strip in the west, and is refreshed; last, the same catalog is
built afresh with the refreshed dataset's parameters, and both must be the same to the byte. Pixel bytes are those that
nginx sent.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.job_inputs import write_items
from bench.record import record, spread
from bench.scenes import BANDS, BUILD, EPSG, LEFT, TOP, SceneSet, make_scenes
from bench.serving import served

CHIP_M, DATES, SIZE, BLOCK, MARGIN_M = 320.0, 2, 4352, 512, 1_200.0
TARGET_S, PER_CHIPS, STRIP = 5.0, 10_000, 0.1
WORK = BUILD / "p8"
VARIABLE = "TERRAWEFT_P8_ITEMS"
COMMAND = [sys.executable, "-c", "from terraweft.cli import main; main()"]


def corners(edge: int) -> tuple[float, float, float, float]:
    """West, south, east, north of so many chips by so many."""
    from pyproj import Transformer

    to_lonlat = Transformer.from_crs(EPSG, 4326, always_xy=True).transform
    west, north = to_lonlat(LEFT + MARGIN_M, TOP - MARGIN_M)
    east, south = to_lonlat(LEFT + MARGIN_M + edge * CHIP_M, TOP - MARGIN_M - edge * CHIP_M)
    return west, south, east, north


def the_recipe(edge: int) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "p8",
        "catalogs": {"c": {"kind": "stac-geoparquet", "href": f"${{{VARIABLE}}}", "allow_local": True}},
        "regions": [{"name": "r", "bbox": list(corners(edge))}],
        "grid": {"chip_m": CHIP_M, "gsd_m": 10},
        "time": {"start": "2022-05-01", "end": "2022-12-31"},
        "modalities": {
            "s2": {
                "sensor": "sentinel-2-l2a",
                "catalog": "c",
                "collection": "sentinel-2-l2a",
                "bands": list(BANDS),
                "select": {"how": "all", "max_dates": DATES + 1},
            }
        },
        "register": {"mode": "off"},
        "split": {"block_m": 10 * CHIP_M},
        "write": {"kinds": ["webdataset", "zarr"], "shard_bytes": 8_000_000},
    }


def write_index(scenes: SceneSet, base: str, edge: int, with_new: bool) -> None:
    """The items as an index; the new one is a strip of the ground in the west."""
    from sources.stac_index_write import IndexWriter

    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "items.parquet").unlink(missing_ok=True)
    west, south, east, north = corners(edge)
    writer = IndexWriter(WORK / "items.parquet")
    for path in write_items(SceneSet(scenes.folder, DATES + 1, scenes.georef, scenes.block), base, WORK / "stac"):
        document = json.loads(path.read_text())
        if document["type"] == "Collection":
            continue
        items = document["features"]
        edge_east = west + STRIP * (east - west)
        ring = [[west, south], [edge_east, south], [edge_east, north], [west, north], [west, south]]
        items[DATES] |= {
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [west, south, edge_east, north],
        }
        writer.add(items[: DATES + 1] if with_new else items[:DATES])
    writer.close()


def run(*arguments: object) -> float:
    """Seconds that a command took."""
    began = time.perf_counter()
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - began


def document_of(root: Path) -> dict[str, Any]:
    version = json.loads((root / "terraweft.json").read_text())["current"]
    found: dict[str, Any] = json.loads((root / "versions" / version / "dataset.json").read_text())
    return found


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file but those of ``work/``."""
    files = (p for p in root.rglob("*") if p.is_file() and "work" not in p.relative_to(root).parts)
    return {str(p.relative_to(root)): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def content(root: Path) -> dict[str, Any]:
    """Hashes of what a refreshed dataset and a fresh one must have in common."""
    document = document_of(root)
    tables = ("chips.parquet", "texts.parquet", "outcomes.parquet")
    found = {name: document["tables"][name]["sha256"] for name in tables}
    return found | {"zarr": document["zarr"]["digest"], "shards": sorted(s["sha256"] for s in document["shards"])}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    import yaml

    scenes = make_scenes(DATES, SIZE, BLOCK, DATES)
    new = scenes.folder / f"s{DATES:03d}"
    if not new.exists():
        shutil.copytree(scenes.folder / "s000", new, copy_function=os.link)
    os.environ |= {"PYTHONPATH": str(Path(__file__).parents[1]), VARIABLE: str(WORK / "items.parquet")}
    root, fresh, recipe = WORK / "dataset", WORK / "fresh", WORK / "recipe.yaml"
    for folder in (root, fresh):
        shutil.rmtree(folder, ignore_errors=True)
    rows: list[dict[str, Any]] = []

    def note(what: str, seconds: float, sent: int, diff: dict[str, Any], touched: int) -> None:
        rows.append(
            {"run": what, "seconds": round(seconds, 1), "chips_touched": touched, "pixel_bytes": sent,
             "shard_bytes": diff.get("shard_bytes_written", 0)}
        )  # fmt: skip
        print(rows[-1], flush=True)

    with served(BUILD) as server:
        write_index(scenes, server.url, options.edge, with_new=False)
        recipe.write_text(yaml.safe_dump(the_recipe(options.edge)))
        server.sent()
        seconds = run("build", recipe, "--out", root, "--workers", 2)
        first = document_of(root)
        chips = first["counts"]["planned"]
        note("full build", seconds, server.sent().bytes, first["diff"], chips)
        shutil.rmtree(root / "work")
        before = tree(root)
        idle = [run("refresh", recipe, "--out", root) for _ in range(options.repeats)]
        sent = server.sent().bytes
        untouched = tree(root) == before
        note("nothing new", sorted(idle)[len(idle) // 2], sent, {}, 0)
        write_index(scenes, server.url, options.edge, with_new=True)
        seconds = run("refresh", recipe, "--out", root, "--workers", 2)
        second = document_of(root)
        touched = int(second["diff"]["touched"]["s2"])
        note("one new scene", seconds, server.sent().bytes, second["diff"], touched)
        seconds = run("build", recipe, "--out", fresh, "--workers", 2, "--estimates", root)
        note("the same, built afresh", seconds, server.sent().bytes, document_of(fresh)["diff"], chips)
    same = content(root) == content(fresh)
    scaled = spread([seconds * PER_CHIPS / chips for seconds in idle])
    share = touched / chips
    holds = scaled["median"] <= TARGET_S and sent == 0 and untouched and same
    record(
        "p8",
        figure=scaled["median"],
        unit="s per 10,000 chips, nothing new",
        target=TARGET_S,
        holds=holds,
        floor=None,
        rows=rows,
        packages=["prefect", "distributed", "pyarrow", "zarr", "icechunk"],
        further={
            "chips": chips,
            "nothing_new_s": spread(idle),
            "nothing_new_writes_nothing": untouched and sent == 0,
            "refreshed_equals_fresh": same,
            "chips_touched_by_the_new_scene": round(share, 4),
            "its_pixel_bytes_to_full": round(rows[2]["pixel_bytes"] / rows[3]["pixel_bytes"], 4),
            "its_seconds_to_full": round(rows[2]["seconds"] / rows[3]["seconds"], 4),
        },
    )
    for folder in (root, fresh):
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
