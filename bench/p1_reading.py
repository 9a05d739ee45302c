"""P1 and its table: cutting chips out of COGs over loopback HTTP, our engines, peers, and the floor.

    python bench/p1_reading.py [--repeats 5] [--only dense-512,...]

*Dense*: 200 chips of 256 px, 4 bands, of one scene of 4096 px, 0 ms. *Sparse*: 50 scenes x 4 neighbouring chips, every
request 30 ms late. Blocks of 512 and 1024. Each method runs in a fresh process, timed inside it from an empty state
after its imports; methods take turns within a repeat. The floor fetches and decodes just the needed blocks, whose
places it knows beforehand, with the same threads and GDAL's decoder; it cuts nothing. Pixels of all are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.methods import METHODS
from bench.record import record, spread
from bench.scenes import BUILD, make_scenes
from bench.serving import delayed, served

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


def main() -> None:
    """Measure, compare, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default=",".join(CASES))
    options = parser.parse_args()
    subprocess.run(["bash", "bench/peers/reading.sh"], check=True, cwd=Path(__file__).parent.parent)
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    computed: dict[tuple[str, str], list[float]] = defaultdict(list)
    traffic: dict[tuple[str, str], tuple[int, int]] = {}
    digests: dict[str, dict[str, str]] = defaultdict(dict)
    for block in (512, 1024):
        make_scenes(50, SIZE, block, distinct=2)
    with served(BUILD) as server:
        for case in options.only.split(","):
            with delayed(server.url, CASES[case][2]) as base:
                for repeat in range(options.repeats):
                    for method in (*METHODS, *ASYNC_TIFF):
                        if (method in SLOW and repeat > 0) or (method not in (OURS, FLOOR) and repeat > 2):
                            continue
                        server.sent()
                        done = run_once(method, case, base)
                        sent = server.sent()
                        seconds[case, method].append(float(done["seconds"]))
                        computed[case, method].append(float(done["cpu_seconds"]))
                        traffic[case, method] = (sent.requests + sent.heads, sent.bytes)
                        digests[case][method] = str(done["pixels"])
    rows, worst = [], 0.0
    for case in options.only.split(","):
        floor = spread(seconds[case, FLOOR])["median"]
        wanted = {digest for method, digest in digests[case].items() if method != FLOOR}
        if len(wanted) != 1:
            raise SystemExit(f"{case}: pixels differ: {digests[case]}")
        ratios = [a / b for a, b in zip(seconds[case, OURS], seconds[case, FLOOR], strict=True)]
        worst = max(worst, spread(ratios)["median"])
        for method in (*METHODS, *ASYNC_TIFF):
            took = spread(seconds[case, method])
            rows.append({
                "case": case, "method": method, "seconds": took, "x_floor": round(took["median"] / floor, 2),
                "cpu_seconds": spread(computed[case, method]),
                "requests": traffic[case, method][0], "megabytes": round(traffic[case, method][1] / 1e6, 1),
            })  # fmt: skip
    record(
        "p1", figure=worst, unit="x the floor, worst case (median of paired ratios)", target=TARGET,
        holds=worst <= TARGET, floor={case: spread(seconds[case, FLOOR]) for case in options.only.split(",")},
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
