"""P1 and its table: cutting chips out of COGs over loopback HTTP, our engines, peers, and the floor.

    python bench/p1_reading.py [--repeats 5] [--only dense-512,...]     cases that are not run again stay as they are

*Dense*: 200 chips of 256 px, 4 bands, of one scene of 4096 px, 0 ms. *Sparse*: 50 scenes x 4 neighbouring chips, every
request 30 ms late. Blocks of 512 and 1024. Each method runs in a fresh process, timed inside it from an empty state
after its imports; methods take turns within a repeat. The floor fetches and decodes just the needed blocks, whose
places it knows beforehand, with the same threads and GDAL's decoder; it cuts nothing. Pixels of all are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.methods import METHODS
from bench.record import record, spread
from bench.scenes import BUILD, make_scenes
from bench.serving import Sent, Served, delayed, served
from bench.tables import RESULTS

CASES = {
    "dense-512": (1, 512, 0.0),
    "dense-1024": (1, 1024, 0.0),
    "sparse-512": (50, 512, 0.03),
    "sparse-1024": (50, 1024, 0.03),
}
"""Name -> scenes, block, added latency in seconds."""
SIZE, CHIP, CHIPS = 4096, 256, 200
OURS, FLOOR, TARGET = "terraweft", "floor", 1.2
SLOW = ("stackstac", "stackstac, 8 outer threads", "odc-stac", "odc-stac, 8 outer threads")
"""Peers that are far away, 12 to 33 s a run: one repeat is enough."""
ASYNC_TIFF = {"async-tiff, each chip": "each-chip", "async-tiff, each block once": "each-block"}
"""Methods that run in an environment of their own."""
PEER = Path(__file__).parent.parent / "build" / "peers" / "reading"


def chips_of(case: str) -> list[tuple[int, int, int]]:
    """(scene, row, column) of the upper left pixel of each chip; sparse ones are neighbours, two by two."""
    random = np.random.default_rng(7)
    if CASES[case][0] == 1:
        cells = [(row, column) for row in range(SIZE // CHIP) for column in range(SIZE // CHIP)]
        chosen = sorted(cells[i] for i in random.permutation(len(cells))[:CHIPS])
        return [(0, row * CHIP, column * CHIP) for row, column in chosen]
    found = []
    for scene in range(CASES[case][0]):
        row, column = (int(n) for n in random.integers(0, SIZE // CHIP - 1, 2))
        found += [(scene, (row + i) * CHIP, (column + j) * CHIP) for i in (0, 1) for j in (0, 1)]
    return found


def _case(case: str, base: str) -> Path:
    """What `bench/peers/reading.py` needs to know, as a file."""
    scenes = make_scenes(CASES[case][0], SIZE, CASES[case][1], distinct=2)
    files = [[ref.href.removeprefix(f"{base}/") for ref in scenes.refs(scene, base)] for scene in range(CASES[case][0])]
    path = BUILD / "case.json"
    path.write_text(
        json.dumps({"url": base, "block": scenes.block, "chip": CHIP, "files": files, "chips": chips_of(case)})
    )
    return path


def run_once(method: str, case: str, base: str) -> dict[str, float | str]:
    """One method in a process of its own."""
    command = [sys.executable, "-m", "bench.methods", method, case, base]
    if method in ASYNC_TIFF:
        command = [str(PEER / "bin" / "python"), "bench/peers/reading.py", ASYNC_TIFF[method], str(_case(case, base))]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    if answer.returncode:
        raise SystemExit(f"{method} on {case} failed:\n{answer.stderr[-2000:]}")
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def measure(case: str, base: str, server: Served, repeats: int) -> list[dict[str, Any]]:
    """One case: a row of what the target asks, and one per method.

    Raises:
        SystemExit: a method failed, or its pixels are not those of the others.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    computed: dict[str, list[float]] = defaultdict(list)
    traffic: dict[str, Sent] = {}
    digests: dict[str, str] = {}
    began = os.getloadavg()[0]
    for repeat in range(repeats):
        for method in (*METHODS, *ASYNC_TIFF):
            if (method in SLOW and repeat > 0) or (method not in (OURS, FLOOR) and repeat > 2):
                continue
            server.sent()
            done = run_once(method, case, base)
            traffic[method] = server.sent()
            seconds[method].append(float(done["seconds"]))
            computed[method].append(float(done["cpu_seconds"]))
            digests[method] = str(done["pixels"])
    if len({digest for method, digest in digests.items() if method != FLOOR}) != 1:
        raise SystemExit(f"{case}: pixels differ: {digests}")
    floor = spread(seconds[FLOOR])["median"]
    ratios = spread([a / b for a, b in zip(seconds[OURS], seconds[FLOOR], strict=True)])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    rows: list[dict[str, Any]] = [
        {"case": case, "x_floor_paired": ratios, "repeats": repeats, "holds": ratios["median"] <= TARGET,
         "load_1min_before": round(began, 1), "ran_at": commit.stdout.strip()}
    ]  # fmt: skip
    for method, took in seconds.items():
        x_floor, sent = statistics.median(took) / floor, traffic[method]
        rows.append({
            "case": case, "method": method, "seconds": spread(took), "x_floor": round(x_floor, 2),
            "cpu_seconds": spread(computed[method]), "requests": sent.requests + sent.heads,
            "megabytes": round(sent.bytes / 1e6, 1),
        })  # fmt: skip
    return rows


def known_rows() -> list[dict[str, Any]]:
    """Rows of an earlier run."""
    path = RESULTS / "p1.json"
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def main() -> None:
    """Measure, compare, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default=",".join(CASES))
    options = parser.parse_args()
    subprocess.run(["bash", "bench/peers/reading.sh"], check=True, cwd=Path(__file__).parent.parent)
    for block in (512, 1024):
        make_scenes(50, SIZE, block, distinct=2)
    with served(BUILD) as server:
        for case in options.only.split(","):
            with delayed(server.url, CASES[case][2]) as base:
                found = measure(case, base, server, options.repeats)
            write([row for row in known_rows() if row["case"] != case] + found)


def write(rows: list[dict[str, Any]]) -> None:
    """The result, as far as it goes: it holds where every case was run and does."""
    order = {case: place for place, case in enumerate(CASES)}
    rows = sorted(rows, key=lambda row: ("method" in row, order[row["case"]]))
    cases = {row["case"]: row for row in rows if "holds" in row}
    floors = {row["case"]: row["seconds"] for row in rows if row.get("method") == FLOOR}
    record(
        "p1", figure=max(row["x_floor_paired"]["median"] for row in cases.values()),
        unit="x the floor, worst case (median of paired ratios)", target=TARGET,
        holds=all(row["holds"] for row in cases.values()) if len(cases) == len(CASES) else None, floor=floors,
        rows=rows, packages=("rasterio", "urllib3", "stackstac", "odc-stac", "numpy"),
    )  # fmt: skip


def digest_of(chips: list[np.ndarray]) -> str:
    """sha256 of all chips in order."""
    digest = hashlib.sha256()
    for chip in chips:
        digest.update(np.ascontiguousarray(chip).tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
