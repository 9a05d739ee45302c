"""P3: planning a million chips over 100,000 items of an index, in one process: time, memory, and whether it is linear.

python bench/p3_planning.py            10^4, 10^5 and 10^6 chips
python bench/p3_planning.py 10000      one size
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

CHIP_M, DATES = 2560.0, 20
SIZES = (10_000, 100_000, 1_000_000)
TARGET_S, TARGET_BYTES = 60.0, 2_000_000_000
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
            _item(f"{row}_{column}_{date}", column * step, 0.5 + row * step, step, date)
            for column in range(per_side)
            for date in range(DATES)
        )
    return writer.close()


def _item(name: str, west: float, south: float, step: float, date: int) -> dict[str, Any]:
    from chips.zones import transformer

    east, north = west + step, south + step
    zone = int((west + step / 2 + 180) // 6) + 1
    x0, y0 = transformer(4326, 32600 + zone).transform(west, north)
    pixels = round(step * 11_119.5)
    asset = {"proj:shape": [pixels, pixels], "proj:transform": [10, 0, round(x0, -1), 0, -10, round(y0, -1)], "gsd": 10}
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
            for band in ("B02", "B03", "B04", "SCL")
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
        began = time.perf_counter()
        plan = make_plan(the_recipe(index, chips), BUILD, {}, Path(folder))
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"chips": plan.chip_count, "items": plan.offered["s2"], "seconds": seconds, "peak": peak}))


def main(sizes: list[int]) -> None:
    """Make the indexes, plan each size in a process of its own, and write what came of it."""
    from bench.record import record

    BUILD.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in sizes:
        if not (BUILD / f"items-{size}.parquet").exists():
            make_index(BUILD / f"items-{size}.parquet", size)
        done = subprocess.run([sys.executable, __file__, "one", str(size)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    last = rows[-1]
    per_chip = [row["seconds"] / row["chips"] for row in rows]
    record(
        "p3",
        figure=last["seconds"],
        unit=f"s for {last['chips']:,} chips and {last['items']:,} items",
        target=TARGET_S,
        holds=max(sizes) >= SIZES[-1] and last["seconds"] <= TARGET_S and last["peak"] <= TARGET_BYTES,
        floor=None,
        rows=rows,
        packages=("numpy", "pyarrow", "shapely", "pyproj"),
        further={
            "peak_bytes": last["peak"],
            "target_bytes": TARGET_BYTES,
            "per_chip_last_to_first": per_chip[-1] / per_chip[0],
        },
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(int(sys.argv[2]))
    else:
        main([int(a) for a in sys.argv[1:]] or list(SIZES))
