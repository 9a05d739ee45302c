"""P0: the main job, from STAC items to a published, checked version, beside a hand-written script.

    python bench/p0_main_job.py [--edge 16] [--dates 8] [--repeats 3]

``edge`` x ``edge`` places of 256 px, ``dates`` dates of one scene, four bands: 16 and 8 make 2,048 pictures, 1.07 GB.
COGs behind nginx, a static catalog beside them. Terraweft builds with two workers, tar alone and with Zarr; a place is
one chip that holds its dates. The steady rate counts from the first tile's start to the pointer; what comes before
(plan, Prefect, Dask) is start-up. The script fetches and decodes each block once with two threads, and writes one tar
(and a sharded Zarr array): no masks, no checksums, no manifest, no resume.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record, spread
from bench.scenes import BANDS, BUILD, EPSG, LEFT, TOP, SceneSet, footprint, make_scenes
from bench.serving import served

CHIP, BLOCK, SIZE = 256, 512, 4352
SHARE = 0.8
WORK = BUILD / "p0"
KINDS = {"tar": ["webdataset"], "tar and zarr": ["webdataset", "zarr"]}


def write_catalog(scenes: SceneSet, base: str, folder: Path) -> None:
    """A static catalog of the scenes as Sentinel-2 L2A items of four bands."""
    import shapely

    folder.mkdir(parents=True, exist_ok=True)
    links = []
    outline = shapely.from_wkb(footprint(scenes.georef))
    for number in range(scenes.scenes):
        item = scenes.item(number, base)
        assets = {
            ref.band: {
                "href": ref.href, "type": "image/tiff; application=geotiff", "roles": ["data"], "gsd": 10,
                "bands": [{"name": ref.band, "data_type": "uint16", "nodata": 0, "raster:scale": 1e-4,
                           "raster:offset": 0.0}],
            }
            for ref in item.refs
        }  # fmt: skip
        lattice = {
            "proj:code": f"EPSG:{EPSG}", "proj:epsg": EPSG, "proj:shape": list(scenes.georef.shape_yx),
            "proj:transform": [*scenes.georef.transform, 0, 0, 1],
        }  # fmt: skip
        document = {
            "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "id": item.item_id,
            "collection": "sentinel-2-l2a", "geometry": json.loads(shapely.to_geojson(outline)),
            "bbox": list(outline.bounds), "links": [], "assets": assets,
            "properties": {"datetime": item.datetime_utc.strftime("%Y-%m-%dT%H:%M:%SZ"), "platform": "sentinel-2a",
                           "s2:processing_baseline": "03.01", "license": "CC-BY-4.0", **lattice},
        }  # fmt: skip
        (folder / f"{item.item_id}.json").write_text(json.dumps(document))
        links.append({"rel": "item", "href": f"./{item.item_id}.json"})
    shared = {"stac_version": "1.1.0", "description": "-"}
    extent = {"spatial": {"bbox": [list(outline.bounds)]}, "temporal": {"interval": [[None, None]]}}
    collection = {"type": "Collection", "id": "sentinel-2-l2a", "license": "CC-BY-4.0", "extent": extent}
    (folder / "collection.json").write_text(json.dumps(shared | collection | {"links": links}))
    child = [{"rel": "child", "href": "./collection.json"}]
    (folder / "catalog.json").write_text(json.dumps(shared | {"type": "Catalog", "id": "p0", "links": child}))


def write_recipe(path: Path, catalog: str, edge: int, scenes: SceneSet, kinds: list[str]) -> None:
    """An imagery-only recipe: ``edge`` x ``edge`` places, one chip per place and date.

    A chip's one day comes from a table beside the recipe (`schemas.recipe_windows.Seasons` with a table).
    """
    import yaml

    step, name = CHIP * 10, "days.csv"
    days = [scenes.item(number, "").datetime_utc.date().isoformat() for number in range(scenes.scenes)]
    chips = [(row, column, number) for row in range(edge) for column in range(edge) for number in range(len(days))]
    cells = [
        {"id": chip_name(row, column, number), "epsg": EPSG, "region": "r",
         "bounds": [LEFT + column * step, TOP - (row + 1) * step, LEFT + (column + 1) * step, TOP - row * step]}
        for row, column, number in chips
    ]  # fmt: skip
    lines = [f"{chip_name(*chip)},{days[chip[2]]},{days[chip[2]]},{days[chip[2]]}" for chip in chips]
    path.with_name(name).write_text("\n".join(["chip_id,start,peak,end", *lines]) + "\n")
    recipe: dict[str, Any] = {
        "format": 1,
        "name": "p0",
        "catalogs": {"c": {"kind": "api", "href": catalog, "allow_local": True}},
        "grid": {"kind": "list", "gsd_m": 10, "cells": cells},
        "time": {"start": days[0], "end": days[-1],
                 "windows": {"kind": "seasons", "calendar": "phenology", "table": name}},
        "modalities": {
            "s2": {
                "sensor": "sentinel-2-l2a", "catalog": "c", "collection": "sentinel-2-l2a", "bands": list(BANDS),
                "select": {"how": "all", "max_dates": 1},
            }
        },
        "register": {"mode": "off"},
        "split": {"method": "none"},
        "write": {"kinds": kinds},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(recipe))


def chip_name(row: int, column: int, scene: int) -> str:
    """Id of the chip of a place and a date."""
    return f"p{row:02d}_{column:02d}_{scene}"


def build(recipe: Path, root: Path) -> None:
    """One build in this process, with the seconds of its stages as the last line; run as a process of its own."""
    from rich.console import Console

    import terraweft.commands as commands

    began = time.monotonic()
    stages: dict[str, float] = {}

    class Stages:
        """Notes when each stage begins."""

        def __init__(self, _: Any) -> None:
            pass

        def __enter__(self) -> Stages:
            return self

        def __exit__(self, *_: Any) -> None:
            return None

        def start(self, stage: str, total: int, done: int = 0) -> None:
            stages.setdefault(stage, time.monotonic() - began)

        def advance(self, stage: str, units: int = 1) -> None:
            return None

        def finish(self, stage: str) -> None:
            return None

    commands.Bars = Stages  # type: ignore[misc, assignment]
    commands.run_build(recipe, str(root), commands.BuildOptions(2), False, Console(file=sys.stderr))
    stages["end"] = time.monotonic() - began
    print(json.dumps(stages))


def script(scenes: SceneSet, base: str, edge: int, root: Path, with_zarr: bool) -> None:
    """What a skilled person writes by hand: blocks once, two threads, one tar."""
    import rasterio
    import zarr
    from rasterio.windows import Window
    from zarr.codecs import BloscCodec

    from sources.openers import GDAL_OPTIONS

    root.mkdir(parents=True)
    side = edge * CHIP

    def read(job: tuple[int, int]) -> np.ndarray[Any, Any]:
        scene, band = job
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(scenes.refs(scene, base)[band].href) as file:
            return np.asarray(file.read(1, window=Window(0, 0, side, side)))

    store = None
    if with_zarr:
        store = zarr.create_array(
            root / "a.zarr", shape=(scenes.scenes, edge * edge, len(BANDS), CHIP, CHIP), dtype="uint16",
            chunks=(1, 1, len(BANDS), CHIP, CHIP), shards=(1, 16, len(BANDS), CHIP, CHIP),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=2),
        )  # fmt: skip
    with tarfile.open(root / "a.tar", "w") as tar, ThreadPoolExecutor(2) as pool:
        for scene in range(scenes.scenes):
            layers = np.stack(list(pool.map(read, [(scene, band) for band in range(len(BANDS))])))
            cubes = layers.reshape(len(BANDS), edge, CHIP, edge, CHIP).transpose(1, 3, 0, 2, 4)
            chips = np.ascontiguousarray(cubes).reshape(edge * edge, len(BANDS), CHIP, CHIP)
            if store is not None:
                store[scene] = chips
            for place, chip in enumerate(chips):
                buffer = io.BytesIO()
                np.save(buffer, chip)
                info = tarfile.TarInfo(f"p{place:04d}_{scene}.npy")
                info.size = buffer.tell()
                buffer.seek(0)
                tar.addfile(info, buffer)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", type=int, default=16)
    parser.add_argument("--dates", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--build", nargs=2)
    options = parser.parse_args()
    if options.build:
        build(Path(options.build[0]), Path(options.build[1]))
        return
    scenes = make_scenes(options.dates, SIZE, BLOCK, options.dates)
    pictures = options.edge**2 * options.dates
    took: dict[str, list[float]] = {}
    startup: list[float] = []
    with served(BUILD) as server:
        write_catalog(scenes, server.url, WORK / "catalog")
        for _ in range(options.repeats):
            for name, kinds in KINDS.items():
                shutil.rmtree(WORK / "out", ignore_errors=True)
                began = time.monotonic()
                script(scenes, server.url, options.edge, WORK / "out", "zarr" in kinds)
                took.setdefault(f"script, {name}", []).append(time.monotonic() - began)
                shutil.rmtree(WORK / "out")
                recipe = WORK / "recipe.yaml"
                write_recipe(recipe, f"{server.url}/p0/catalog/catalog.json", options.edge, scenes, kinds)
                done = subprocess.run(
                    [sys.executable, str(Path(__file__)), "--build", str(recipe), str(WORK / "out")],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode:
                    raise SystemExit(done.stderr[-2000:])
                stages = json.loads(done.stdout.splitlines()[-1])
                took.setdefault(f"terraweft, {name}", []).append(stages["end"] - stages["read"])
                startup.append(stages["read"])
                print(name, {key: round(value, 2) for key, value in stages.items()}, flush=True)
                shutil.rmtree(WORK / "out")
    middle = {method: spread(values) for method, values in took.items()}
    rows = [
        {"method": method, "steady_seconds": found, "pictures_per_s": round(pictures / found["median"], 1)}
        for method, found in middle.items()
    ]
    shares = {}
    for name in KINDS:
        paired = zip(took[f"script, {name}"], took[f"terraweft, {name}"], strict=True)
        shares[name] = spread([by_hand / ours for by_hand, ours in paired])["median"]
    record(
        "p0", figure=min(shares.values()), unit="of the script's rate, the worse of both kinds", target=SHARE,
        holds=min(shares.values()) >= SHARE, floor={name: spread(took[f"script, {name}"]) for name in KINDS}, rows=rows,
        packages=("rasterio", "urllib3", "numpy", "zarr", "prefect", "distributed"),
        further={"share_of_script": shares, "startup_seconds": spread(startup), "pictures": pictures},
    )  # fmt: skip


if __name__ == "__main__":
    main()
