"""A million chips on one machine with pixels that cost nothing: what is left is ours, and where it bends.

    python bench/simulation.py                          10^4, 10^5 and 10^6 chips
    python bench/simulation.py --chips 10000            tries it

Chips of 16 x 16 pixels of 60 m, one date, one band, out of an engine that opens nothing (`bench.simulated_pixels`,
found as any plug-in is, by its entry point); all else is real: the index of items, the plan, the LocalCluster and its
workers under Prefect, fragments, tars and Zarr, tables, documents, report, pointer, and the read-back of samples. The
resident memory of the flow, of the largest worker and of Prefect's server is read every half second and told by stage.
Then as many calls as the largest size has chips go through the ledger of texts, and are found again by a second
process. The last row is 10^8 chips on paper: the cost of a further chip between the two largest sizes, times 10^8.
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
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "bench" / "simulation"
SIZES = (10_000, 100_000, 1_000_000)
CHIP_M, GSD_M, DATES, WORKERS = 960.0, 60, 3, 2
ROLES = ("flow", "worker", "prefect")
VARIABLE = "TERRAWEFT_SIMULATION_ITEMS"
LEDGER_BATCH = 64
FAR = 100_000_000
MACHINE_GB = 24.0
"""Memory of the machine that all sizes are to fit."""


def the_recipe(chips: int) -> dict[str, Any]:
    """A square region of about so many chips, north of the equator."""
    edge = math.sqrt(chips) * CHIP_M / 111_195.0
    return {
        "format": 1,
        "name": "simulation",
        "catalogs": {"c": {"kind": "stac-geoparquet", "href": f"${{{VARIABLE}}}", "allow_local": True}},
        "regions": [{"name": "r", "bbox": [0.0, 0.5, edge, 0.5 + edge]}],
        "grid": {"chip_m": CHIP_M, "gsd_m": GSD_M, "tile_chips": 8},
        "time": {"start": "2021-01-01", "end": "2021-12-31"},
        "modalities": {
            "s2": {
                "sensor": "sentinel-2-l2a",
                "catalog": "c",
                "collection": "s2",
                "bands": ["B01"],
                "engine": "simulated",
                "select": {"how": "all", "max_dates": 1},
            }
        },
        "register": {"mode": "off"},
        "split": {"block_m": 20 * CHIP_M},
        "write": {"kinds": ["webdataset", "zarr"], "zarr_shard_chips": 1024},
    }  # fmt: skip


def make_index(chips: int) -> int:
    """Items of about a degree, a few dates each; how many."""
    from bench.p3_planning import item_of
    from sources.stac_index_write import IndexWriter

    edge = math.sqrt(chips) * CHIP_M / 111_195.0 * 1.02
    per_side = max(1, round(edge / 0.9))
    step = edge / per_side
    writer = IndexWriter(WORK / f"items-{chips}.parquet")
    for row in range(per_side):
        writer.add(
            item_of(f"{row}_{column}_{date}", column * step, 0.5 + row * step, step, date, GSD_M, ("B01", "SCL"))
            for column in range(per_side)
            for date in range(DATES)
        )
    return writer.close()


def install_engine() -> Path:
    """A folder that, on the path, makes the engine known: what an installed package of somebody else's does."""
    folder = WORK / "plugin"
    told = folder / "terraweft_simulation-1.dist-info"
    told.mkdir(parents=True, exist_ok=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: terraweft-simulation\nVersion: 1\n")
    (told / "entry_points.txt").write_text("[terraweft.engines]\nsimulated = bench.simulated_pixels:SimulatedEngine\n")
    return folder


def one_build(chips: int) -> None:
    """Build a size in this process; prints when each stage began, and what it came to."""
    from flows.prefect_api import prefect_api, private_home
    from flows.progress import Silent, watcher
    from flows.request import request_of
    from schemas.recipe import Recipe

    began = time.monotonic()

    class Marks(Silent):
        """Says when a stage begins and ends."""

        def start(self, stage: str, total: int, done: int = 0) -> None:
            print(json.dumps({"stage": stage, "at": time.monotonic() - began, "units": total}), flush=True)

        def finish(self, stage: str) -> None:
            print(json.dumps({"stage": f"after {stage}", "at": time.monotonic() - began}), flush=True)

    watcher.set(Marks())
    print(json.dumps({"stage": "plan", "at": 0.0}), flush=True)
    recipe, index = Recipe.model_validate(the_recipe(chips)), {VARIABLE: str(WORK / f"items-{chips}.parquet")}
    with prefect_api(os.environ, private_home(os.environ), wanted="flows.build"):
        from flows.build import build

        result = build(request_of(recipe, WORK, str(WORK / f"out-{chips}"), index, workers=WORKERS))
    print(json.dumps({"stage": "end", "at": time.monotonic() - began, "counts": result.counts}), flush=True)


def watched(chips: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One build in a process of its own: its stages with seconds and the highest memory in each, and its counts."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{install_engine()}"}
    log = WORK / f"stages-{chips}.jsonl"
    command = [sys.executable, __file__, "--one", str(chips)]
    stages: list[dict[str, Any]] = []
    with log.open("w") as out, log.open() as told, (WORK / "error.log").open("w") as error:
        process = subprocess.Popen(command, stdout=out, stderr=error, env=environment)
        while True:
            ended = process.poll() is not None
            stages += [{**json.loads(line), "memory": {}} for line in told if line.startswith("{")]
            if stages:
                for role, size in _resident(process.pid).items():
                    highest = stages[-1]["memory"]
                    highest[role] = max(highest.get(role, 0), size)
            if ended:
                break
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit((WORK / "error.log").read_text()[-3000:])
    rows = []
    for stage, then in pairwise(stages):
        if then["at"] - stage["at"] >= 0.5:
            row = {"chips": chips, "stage": stage["stage"], "seconds": round(then["at"] - stage["at"], 1)}
            rows.append(row | {f"{role}_gb": round(size / 1e9, 2) for role, size in sorted(stage["memory"].items())})
    return rows, {"seconds": round(stages[-1]["at"], 1), **stages[-1]["counts"]}


def _resident(root: int) -> dict[str, int]:
    """Role -> largest resident bytes of one process now."""
    found: dict[str, int] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in (process := psutil.Process(root), *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                is_server = any("prefect" in word for word in member.cmdline())
                role = "flow" if member.pid == root else "prefect" if is_server else "worker"
                found[role] = max(found.get(role, 0), member.memory_info().rss)
    return found


def read_some(chips: int) -> dict[str, float]:
    """A reader's view of what was published: seconds until it is open, and of a sample at random."""
    from terraweft import open_dataset

    began = time.perf_counter()
    dataset = open_dataset(WORK / f"out-{chips}")
    ids = dataset.chip_ids("train")
    opened = time.perf_counter() - began
    began = time.perf_counter()
    for chip_id in ids[:: max(1, len(ids) // 100)][:100]:
        assert dataset.sample(chip_id).layers
    return {"open_s": round(opened, 2), "sample_ms": round((time.perf_counter() - began) * 10, 2)}


def through_the_ledger(calls: int) -> list[dict[str, Any]]:
    """So many calls written down before and after they are made, in batches as the captioner has them; then found."""
    from captioners.ledger import Ending, Find, Intent, LedgerPlace, open_ledger

    path = WORK / "ledger" / "ledger.sqlite"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    rows, body = [], json.dumps({"text": "Cropland covers most of the picture. " * 8}).encode()
    ledger = open_ledger(LedgerPlace(str(path)))
    began = time.perf_counter()
    for first in range(0, calls, LEDGER_BATCH):
        keys = [f"{number:064x}" for number in range(first, min(calls, first + LEDGER_BATCH))]
        sent = ledger.apply([Intent(key, "p", "write", "m", 1000, 10**15, subject=key[-12:]) for key in keys])
        ledger.apply([Ending(row, "answered", 200, body=body, tokens_in=500, cost_nano=900) for row in sent])
    seconds = time.perf_counter() - began
    ledger.close()
    rows.append({"calls": calls, "stage": "ledger: asked and answered", "seconds": round(seconds, 1)})
    ledger = open_ledger(LedgerPlace(str(path)))
    began = time.perf_counter()
    found = 0
    for first in range(0, calls, LEDGER_BATCH):
        answers = ledger.apply([Find(f"{number:064x}") for number in range(first, min(calls, first + LEDGER_BATCH))])
        found += sum(one.answer is not None for one in answers)
    if found != calls:
        raise SystemExit(f"{found} answers of {calls}")
    rows.append({"calls": calls, "stage": "ledger: found again", "seconds": round(time.perf_counter() - began, 1)})
    ledger.close()
    rows[-1]["gb"] = round(path.stat().st_size / 1e9, 2)
    return rows


def one_size(chips: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A size's sums, and its stages."""
    items = make_index(chips)
    shutil.rmtree(WORK / f"out-{chips}", ignore_errors=True)
    stages, ended = watched(chips)
    for row in stages:
        print(row, flush=True)
    highest = {f"{role}_gb": max(row.get(f"{role}_gb", 0.0) for row in stages) for role in ROLES}
    total = {"chips": ended["planned"], "kept": ended["kept"], "items": items, "seconds": ended["seconds"], **highest}
    total |= {"dataset_gb": _gigabytes(chips, "shards", "zarr", "versions"), "work_gb": _gigabytes(chips, "work")}
    total |= {"load_1min": round(os.getloadavg()[0], 1), **read_some(chips)}
    print(total, flush=True)
    shutil.rmtree(WORK / f"out-{chips}")
    return total, stages


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--again", action="store_true", help="sizes that an earlier call did, too")
    parser.add_argument("--one", type=int)
    options = parser.parse_args()
    if options.one:
        one_build(options.one)
        return
    WORK.mkdir(parents=True, exist_ok=True)
    sums, rows = [], []
    for chips in options.chips:
        told = WORK / f"{chips}.json"
        if options.again or not told.exists():
            told.write_text(json.dumps(one_size(chips)))
        total, stages = json.loads(told.read_text())
        sums.append(total)
        rows += stages
    ledger = through_the_ledger(max(options.chips))
    paper = _on_paper(sums)
    last = sums[-1]
    record(
        "simulation",
        figure=last["flow_gb"],
        unit=f"GB, the highest of the flow at {last['chips']} chips",
        target=MACHINE_GB,
        holds=last["flow_gb"] <= MACHINE_GB and all(one["kept"] == one["chips"] for one in sums),
        floor=None,
        rows=[*sums, *rows, *ledger],
        packages=("prefect", "distributed", "pyarrow", "icechunk"),
        further={"on_paper": paper},
    )


def _gigabytes(chips: int, *folders: str) -> float:
    root = WORK / f"out-{chips}"
    files = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return round(sum(path.stat().st_size for path in files) / 1e9, 2)


def _on_paper(sums: list[dict[str, Any]]) -> dict[str, Any]:
    """What a further chip costs at the two largest sizes, and what 10^8 of them would."""
    if len(sums) < 2:
        return {}
    small, large = sums[-2:]
    further = large["chips"] - small["chips"]
    per_chip = {
        "flow_bytes": round((large["flow_gb"] - small["flow_gb"]) * 1e9 / further),
        "milliseconds": round((large["seconds"] - small["seconds"]) * 1e3 / further, 3),
    }
    return {
        "a_further_chip": per_chip,
        "chips": FAR,
        "flow_gb": round(per_chip["flow_bytes"] * FAR / 1e9),
        "hours_on_this_machine": round(per_chip["milliseconds"] * FAR / 3.6e6, 1),
    }


if __name__ == "__main__":
    main()
