"""P6: peak memory of a Dask worker, and of the process that leads the build, over regions of 1x, 10x and 100x chips.

    python bench/p6_memory.py                       40, 400 and 4,000 chips
    python bench/p6_memory.py --chips 40 400        tries it

Chips of 64 px, two dates, four bands, tars and Zarr, out of one scene behind nginx. Each size is one
``terraweft build`` of two workers; the kernel's own high-water mark of every process is read until it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.job_inputs import write_items
from bench.record import record
from bench.scenes import BANDS, BUILD, EPSG, LEFT, TOP, SceneSet, make_scenes
from bench.serving import served

CHIP_M, DATES, SIZE, BLOCK = 640.0, 2, 4352, 512
SIZES = (40, 400, 4_000)
LIMIT_BYTES = 1_500_000_000
MARGIN_M = 1_200.0
WORK = BUILD / "p6"
VARIABLE = "TERRAWEFT_P6_ITEMS"
COMMAND = [sys.executable, "-c", "from terraweft.cli import main; main()"]


def the_recipe(chips: int) -> dict[str, Any]:
    """About so many chips in the north-western corner of the scene."""
    from pyproj import Transformer

    edge = math.sqrt(chips) * CHIP_M
    to_lonlat = Transformer.from_crs(EPSG, 4326, always_xy=True).transform
    west, north = to_lonlat(LEFT + MARGIN_M, TOP - MARGIN_M)
    east, south = to_lonlat(LEFT + MARGIN_M + edge, TOP - MARGIN_M - edge)
    return {
        "format": 1,
        "name": "p6",
        "catalogs": {"c": {"kind": "stac-geoparquet", "href": f"${{{VARIABLE}}}", "allow_local": True}},
        "regions": [{"name": "r", "bbox": [west, south, east, north]}],
        "grid": {"chip_m": CHIP_M, "gsd_m": 10},
        "time": {"start": "2022-05-01", "end": "2022-12-31"},
        "modalities": {
            "s2": {
                "sensor": "sentinel-2-l2a",
                "catalog": "c",
                "collection": "sentinel-2-l2a",
                "bands": list(BANDS),
                "select": {"how": "all", "max_dates": DATES},
            }
        },
        "split": {"block_m": 5 * CHIP_M},
        "write": {"kinds": ["webdataset", "zarr"]},
    }


def write_index(scenes: SceneSet, base: str) -> None:
    """The scenes' items as an index."""
    from sources.stac_index_write import IndexWriter

    WORK.mkdir(parents=True, exist_ok=True)
    documents = [json.loads(path.read_text()) for path in write_items(scenes, base, WORK / "stac")]
    writer = IndexWriter(WORK / "items.parquet")
    for document in documents:
        if document["type"] != "Collection":
            writer.add(document.get("features", [document]))
    writer.close()


def peaks(command: list[str]) -> tuple[dict[str, int], float]:
    """Run a command; role -> highest resident bytes of one process, and seconds.

    Roles: ``flow`` is the command itself, ``prefect`` its server, ``worker`` the largest of all other processes.
    """
    highest: dict[str, int] = {}
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            members = [psutil.Process(process.pid)]
            with contextlib.suppress(psutil.NoSuchProcess):
                members += members[0].children(recursive=True)
            for member in members:
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, OSError, IndexError):
                    role = _role(member, process.pid)
                    highest[role] = max(highest.get(role, 0), _high_water(member.pid))
            time.sleep(0.2)
        error = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise SystemExit(error[-2000:])
    return highest, time.monotonic() - began


def _role(member: psutil.Process, root: int) -> str:
    if member.pid == root:
        return "flow"
    return "prefect" if any("prefect" in word for word in member.cmdline()) else "worker"


def _high_water(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chips", type=int, nargs="+", default=list(SIZES))
    sizes = parser.parse_args().chips
    import yaml

    scenes = make_scenes(DATES, SIZE, BLOCK, DATES)
    rows: list[dict[str, Any]] = []
    os.environ |= {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        VARIABLE: str(WORK / "items.parquet"),
    }
    with served(BUILD) as server:
        write_index(scenes, server.url)
        for size in sizes:
            root, recipe = WORK / f"out-{size}", WORK / f"recipe-{size}.yaml"
            shutil.rmtree(root, ignore_errors=True)
            recipe.write_text(yaml.safe_dump(the_recipe(size)))
            found, seconds = peaks([*COMMAND, "build", str(recipe), "--out", str(root), "--workers", "2"])
            version = json.loads((root / "terraweft.json").read_text())["current"]
            document = json.loads((root / "versions" / version / "dataset.json").read_text())
            rows.append(
                {
                    "chips": document["counts"]["planned"],
                    "worker_peak_bytes": found["worker"],
                    "flow_peak_bytes": found["flow"],
                    "prefect_peak_bytes": found["prefect"],
                    "seconds": round(seconds, 1),
                }
            )
            print(rows[-1], flush=True)
            shutil.rmtree(root)
    first, last = rows[0], rows[-1]
    worst = max(row["worker_peak_bytes"] for row in rows)
    record(
        "p6", figure=worst / 1e9, unit="GB, the highest resident set of a worker", target=LIMIT_BYTES / 1e9,
        holds=worst <= LIMIT_BYTES and last["chips"] >= 90 * first["chips"], floor=None, rows=rows,
        packages=("distributed", "prefect", "rasterio", "numpy", "zarr"),
        further={
            "worker_last_to_first": round(last["worker_peak_bytes"] / first["worker_peak_bytes"], 3),
            "flow_last_to_first": round(last["flow_peak_bytes"] / first["flow_peak_bytes"], 3),
            "flow_bytes_per_chip": round(
                (last["flow_peak_bytes"] - first["flow_peak_bytes"]) / max(1, last["chips"] - first["chips"])
            ),
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
