"""P3: planning a million chips over 100,000 items of an index, in one process: time, memory, and whether it is linear.

    python bench/p3_planning.py            10^4, 10^5 and 10^6 chips
    python bench/p3_planning.py 10000      one size

Every plan is a process of its own, sizes take turns. Linear means that a further chip costs as much at the largest size
as at the smaller ones: what is compared is the time between two sizes over the chips between them.
Beside it, one STAC query per chip: a sample of the smallest size's chips, asked through pystac-client of a local STAC
API (rustac) that holds that size's items, in memory and without latency; the time for all chips is extrapolated.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

CHIP_M, DATES = 2560.0, 20
SIZES = (10_000, 100_000, 1_000_000)
TARGET_S, TARGET_BYTES = 60.0, 2_000_000_000
REPEATS, LARGE_REPEATS = 5, 3
LINEAR = 1.25
"""So many times the cost of a further chip at the smaller sizes may be its cost at the largest."""
QUERIES = 200
"""Chips of the sample that are asked for one by one."""
BUILD = Path(__file__).parents[1] / "build" / "p3"


def the_recipe(index: Path, chips: int) -> Any:
    """A square region of so many chips, north of the equator, over as many UTM zones as it takes."""
    from schemas.recipe import Recipe

    edge = math.sqrt(chips) * CHIP_M / 111_195.0
    box = [0.0, 0.5, edge * 1.01, 0.5 + edge * 1.01]
    return Recipe.model_validate(
        {
            "format": 1,
            "name": "p3",
            "catalogs": {"c": {"kind": "stac-geoparquet", "href": str(index)}},
            "regions": [{"name": "r", "bbox": box}],
            "grid": {"chip_m": 2580, "tile_chips": 4},
            "time": {"start": "2021-01-01", "end": "2021-12-31"},
            "modalities": {
                "s2": {"sensor": "sentinel-2-l2a", "catalog": "c", "collection": "s2", "bands": ["B02", "B03", "B04"]}
            },
        }
    )


def make_index(path: Path, chips: int) -> int:
    """Items of a degree, twenty dates each, over the region of so many chips; a tenth as many items as chips."""
    from sources.stac_index_write import IndexWriter

    edge = math.sqrt(chips) * CHIP_M / 111_195.0 * 1.02
    per_side = max(1, round(math.sqrt(chips / 10 / DATES)))
    step = edge / per_side
    writer = IndexWriter(path)
    for row in range(per_side):
        writer.add(
            item_of(f"{row}_{column}_{date}", column * step, 0.5 + row * step, step, date)
            for column in range(per_side)
            for date in range(DATES)
        )
    return writer.close()


BANDS = ("B02", "B03", "B04", "SCL")


def item_of(
    name: str, west: float, south: float, step: float, date: int, gsd_m: int = 10, bands: tuple[str, ...] = BANDS
) -> dict[str, Any]:
    """A Sentinel-2 item of a square of so many degrees, as Earth Search gives it."""
    from chips.zones import transformer

    east, north = west + step, south + step
    zone = int((west + step / 2 + 180) // 6) + 1
    x0, y0 = transformer(4326, 32600 + zone).transform(west, north)
    pixels, snapped = round(step * 111_195 / gsd_m), [gsd_m * round(value / gsd_m) for value in (x0, y0)]
    transform = [gsd_m, 0, snapped[0], 0, -gsd_m, snapped[1]]
    asset = {"proj:shape": [pixels, pixels], "proj:transform": transform, "gsd": gsd_m}
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "s2", "links": [],
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [
            [[west, south], [east, south], [east, north], [west, north], [west, south]]]},
        "properties": {
            "datetime": f"2021-{date % 12 + 1:02d}-{date + 1:02d}T10:{hash_minutes(name):02d}:00Z",
            "proj:epsg": 32600 + zone, "s2:processing_baseline": "05.00", "eo:cloud_cover": 5.0,
            "platform": "sentinel-2a", "earthsearch:boa_offset_applied": True,
        },
        "assets": {
            band: {**asset, "href": f"https://example.com/{name}/{band}.tif", "type": "image/tiff",
                   "eo:bands": [{"name": band}], "raster:bands": [{"data_type": "uint16", "nodata": 0}]}
            for band in bands
        },
    }  # fmt: skip


def hash_minutes(name: str) -> int:
    """A minute that follows from a name."""
    return sum(map(ord, name)) % 60


def one(chips: int) -> None:
    """Plan one size; prints what it came to."""
    from flows.planning import make_plan

    index = BUILD / f"items-{chips}.parquet"
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        began, used = time.perf_counter(), time.process_time()
        plan = make_plan(the_recipe(index, chips), BUILD, {}, Path(folder))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        told = {"chips": plan.chip_count, "items": plan.offered["s2"], "seconds": seconds, "cpu": cpu, "peak": peak}
        print(json.dumps(told))


@contextmanager
def stac_api(chips: int) -> Iterator[str]:
    """A STAC API on loopback that holds the items of a size."""
    from bench.serving import free_port
    from sources.stac_index import IndexCatalog

    index = IndexCatalog(str(BUILD / f"items-{chips}.parquet"))
    items = list(index.delivered(range(len(index))))
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    collection = {"type": "Collection", "id": "s2", "stac_version": "1.0.0", "description": "-", "license": "other"}
    (BUILD / "s2.json").write_text(json.dumps(collection | {"extent": extent, "links": []}))
    (BUILD / "s2.items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    rustac = shutil.which("rustac", path=os.pathsep.join([sysconfig.get_path("scripts"), os.defpath])) or "rustac"
    address = f"127.0.0.1:{free_port()}"
    command = [rustac, "serve", "--addr", address, str(BUILD / "s2.json"), str(BUILD / "s2.items.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://{address}/"
        finally:
            process.terminate()


def query_per_chip(chips: int) -> dict[str, Any]:
    """Seconds of one STAC query, over a sample of a size's chips."""
    from pystac_client import Client

    from bench.record import spread
    from flows.cells import planned_cells

    recipe = the_recipe(BUILD / f"items-{chips}.parquet", chips)
    cells = planned_cells(recipe, BUILD, {}).cells
    step = max(1, len(cells) // QUERIES)
    boxes = [outline.bounds for outline in cells.footprints()[::step][:QUERIES]]
    took, found = [], 0
    with stac_api(chips) as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = _opened(Client, url)
        for box in boxes:
            began = time.perf_counter()
            search = client.search(
                collections=["s2"], bbox=box, datetime="2021-01-01T00:00:00Z/2021-12-31T00:00:00Z", limit=100
            )
            found += len(list(search.items_as_dicts()))
            took.append(time.perf_counter() - began)
    return {"queries": len(took), "items_per_query": found / len(took), "seconds_per_query": spread(took)}


def _opened(client: Any, url: str) -> Any:
    for _ in range(200):
        try:
            return client.open(url)
        except Exception:
            time.sleep(0.1)
    raise SystemExit("the STAC API does not answer")


def plan_of(size: int) -> dict[str, Any]:
    """One plan in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "one", str(size)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(sizes: list[int]) -> None:
    """Make the indexes, plan each size in turn, and write what came of it."""
    from bench.record import record, spread

    BUILD.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        if not (BUILD / f"items-{size}.parquet").exists():
            make_index(BUILD / f"items-{size}.parquet", size)
    told: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for repeat in range(REPEATS):
        for size in sizes:
            if size < SIZES[-1] or repeat < LARGE_REPEATS:
                told[size].append(plan_of(size))
    rows: list[dict[str, Any]] = [
        {
            "chips": runs[0]["chips"],
            "items": runs[0]["items"],
            "seconds": spread([run["seconds"] for run in runs]),
            "cpu_seconds": spread([run["cpu"] for run in runs]),
            "peak_bytes": max(run["peak"] for run in runs),
        }
        for runs in told.values()
    ]
    last = rows[-1]
    seconds = last["seconds"]["median"]
    further = [
        (after["cpu_seconds"]["median"] - before["cpu_seconds"]["median"]) / (after["chips"] - before["chips"])
        for before, after in pairwise(rows)
    ]
    growth = further[-1] / statistics.mean(further[:-1]) if len(further) > 1 else None
    queries = query_per_chip(sizes[0])
    by_query = queries["seconds_per_query"]["median"] * last["chips"]
    record(
        "p3",
        figure=seconds,
        unit=f"s for {last['chips']:,} chips and {last['items']:,} items",
        target=TARGET_S,
        holds=(
            max(sizes) >= SIZES[-1]
            and seconds <= TARGET_S
            and last["peak_bytes"] <= TARGET_BYTES
            and growth is not None
            and growth <= LINEAR
        ),
        floor=None,
        rows=rows,
        packages=("numpy", "pyarrow", "shapely", "pyproj", "pystac-client", "rustac"),
        further={
            "peak_bytes": last["peak_bytes"],
            "target_bytes": TARGET_BYTES,
            "cost_of_a_further_chip_last_to_before": growth and round(growth, 3),
            "linear_up_to": LINEAR,
            "query_per_chip": queries | {"seconds_extrapolated_to_the_last_size": round(by_query)},
            "times_faster_than_query_per_chip": round(by_query / seconds, 1),
        },
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(int(sys.argv[2]))
    else:
        main([int(a) for a in sys.argv[1:]] or list(SIZES))
