"""P0: the main job, from STAC items to a published, checked version, beside scripts by hand, rslearn and stackstac.

    python bench/p0_main_job.py [--quick] [--edge 16] [--dates 8] [--repeats 3] [--peer-edge 6]

``edge`` x ``edge`` places of 256 px times ``dates`` dates of one scene, four bands: 16 and 8 make 2,048 chips of one
date each, 1.07 GB (each chip has its own day from a table beside the recipe). COGs behind nginx, items behind a STAC
server.
Terraweft builds with two workers, tar alone and with Zarr. The steady rate counts from the first tile's start to the
pointer; what comes before (plan, Prefect, Dask) is start-up, beside it that of a Prefect API and a LocalCluster alone;
what comes after is their end. The script fetches and decodes each block once with two threads, and writes one tar (and
a sharded Zarr array): no masks, checksums, manifest or resume. The same in two passes tells what resuming and checksums
cost whoever writes them: pixels raw to disk first, then two tars by two threads, SHA-256 of each sample and tar.
rslearn prepares with no workers and materializes with two in batches of 20; the time of the same commands over one
window is taken off as its start-up. stackstac runs on a LocalCluster of two. Both peers make the pictures of
``peer-edge`` x ``peer-edge`` places.
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

from bench.job_by_hand import script, script_in_two_passes
from bench.job_inputs import BLOCK, SIZE, write_items, write_job, write_recipe
from bench.memory import MAIN_JOB_BYTES, taken
from bench.record import record, spread
from bench.scenes import BUILD, SceneSet, make_scenes
from bench.serving import served, stac_served

SHARE, TIMES = 0.8, 8.0
WORK = BUILD / "p0"
TWO_PASSES = "script in two passes with hashes, tar"
KINDS = {"tar": ["webdataset"], "tar and zarr": ["webdataset", "zarr"]}


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
            nonlocal began
            if stage in ("read", "write", "zarr") and stage not in stages:  # its tasks are not given out yet
                began += taken(MAIN_JOB_BYTES)
            stages.setdefault(stage, time.monotonic() - began)

        def advance(self, stage: str, units: int = 1) -> None:
            return None

        def finish(self, stage: str) -> None:
            stages[f"after {stage}"] = time.monotonic() - began

    commands.Bars = Stages  # type: ignore[misc, assignment]
    commands.run_build(recipe, str(root), commands.BuildOptions(2), False, Console(file=sys.stderr))
    print(json.dumps({**stages, "end": time.monotonic() - began}))


def engines() -> None:
    """A Prefect API and a LocalCluster of two, ready for work, with the seconds that they took as the last line."""
    began = time.monotonic()
    from flows.prefect_api import prefect_api, private_home

    with prefect_api(os.environ, private_home(os.environ), wanted="prefect"):
        from distributed import LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"):  # type: ignore[no-untyped-call]
            print(json.dumps({"ready": time.monotonic() - began}))


def rslearn(stac: str, job: Path, root: Path) -> float:
    """Seconds of rslearn's prepare and materialize at the best setting found; start of its processes included."""
    peer = BUILD.parent / "peers" / "rslearn" / "bin"
    peers = str(Path(__file__).parent / "peers")
    environment = {**os.environ, "P0_STAC": stac, "PYTHONPATH": peers, "CUDA_VISIBLE_DEVICES": ""}
    run([str(peer / "python"), f"{peers}/rslearn_main_job.py", str(root), str(job)], environment)
    began = time.monotonic()
    command = [str(peer / "rslearn"), "dataset"]
    run([*command, "prepare", "--root", str(root), "--workers", "0", "--no-ignore-errors"], environment)
    batches = ["--workers", "2", "--batch-size", "20", "--no-ignore-errors"]
    run([*command, "materialize", "--root", str(root), *batches], environment)
    seconds = time.monotonic() - began
    made, wanted = len(list(root.rglob("geotiff.tif"))), len(json.loads(job.read_text())["windows"])
    if made != wanted:
        raise SystemExit(f"rslearn made {made} pictures of {wanted}")
    return seconds


def stackstac(stac: str, job: Path, root: Path) -> float:
    """Seconds of stackstac on a LocalCluster of two workers; its start is not counted."""
    script = Path(__file__).parent / "peers" / "stackstac_main_job.py"
    return float(run([sys.executable, str(script), stac, str(job), str(root)], dict(os.environ)).splitlines()[-1])


def run(command: list[str], environment: dict[str, str]) -> str:
    """What a command writes.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{command[1]}: {done.stderr[-3000:]}")
    return done.stdout


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", type=int, default=16)
    parser.add_argument("--dates", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-edge", type=int, default=6)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--build", nargs=2)
    parser.add_argument("--engines", action="store_true")
    options = parser.parse_args()
    if options.engines:
        engines()
        return
    if options.build:
        build(Path(options.build[0]), Path(options.build[1]))
        return
    if options.quick:
        options.edge, options.dates, options.repeats, options.peer_edge = 4, 2, 1, 2
    subprocess.run([str(Path(__file__).parent / "peers" / "rslearn.sh"), sys.executable], check=True)
    scenes = make_scenes(options.dates, SIZE, BLOCK, options.dates)
    with served(BUILD) as server, stac_served(write_items(scenes, server.url, WORK / "stac")) as stac:
        rates, apart = measure(options, scenes, server.url, stac)
    write(options, rates, apart)


def measure(
    options: argparse.Namespace, scenes: SceneSet, base: str, stac: str
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Pictures per second of every method, by repeat, and the seconds before our first tile and after the pointer."""
    rates: dict[str, list[float]] = {}
    apart: dict[str, list[float]] = {"start": [], "engines": [], "end": []}
    whole, part = options.edge**2 * options.dates, options.peer_edge**2 * options.dates
    out, job, one = WORK / "out", WORK / "job.json", WORK / "one.json"

    def note(method: str, pictures: int, seconds: float) -> None:
        rates.setdefault(method, []).append(pictures / seconds)
        print(f"{method}: {pictures} pictures, {seconds:.2f} s", flush=True)
        shutil.rmtree(out)

    for _ in range(options.repeats):
        for name, kinds in KINDS.items():
            taken(MAIN_JOB_BYTES)
            began = time.monotonic()
            script(scenes, base, options.edge, out, "zarr" in kinds)
            note(f"script, {name}", whole, time.monotonic() - began)
            write_recipe(WORK / "recipe.yaml", stac, options.edge, scenes, kinds)
            build_command = [sys.executable, str(Path(__file__)), "--build", str(WORK / "recipe.yaml"), str(out)]
            stages = json.loads(run(build_command, dict(os.environ)).splitlines()[-1])
            print({key: round(value, 2) for key, value in stages.items()})
            apart["start"].append(stages["read"])
            alone = run([sys.executable, str(Path(__file__)), "--engines"], dict(os.environ))
            apart["engines"].append(json.loads(alone.splitlines()[-1])["ready"])
            apart["end"].append(stages["end"] - stages["after publish"])
            note(f"terraweft, {name}", whole, stages["after publish"] - stages["read"])
        taken(MAIN_JOB_BYTES)
        began = time.monotonic()
        script_in_two_passes(scenes, base, options.edge, out)
        note(TWO_PASSES, whole, time.monotonic() - began)
        write_job(job, options.peer_edge, scenes)
        note("stackstac", part, stackstac(stac, job, out))
        windows = json.loads(job.read_text())
        one.write_text(json.dumps({**windows, "windows": windows["windows"][:1]}))
        start = rslearn(stac, one, out)
        shutil.rmtree(out)
        note("rslearn", part, max(rslearn(stac, job, out) - start, 1e-3))
    return rates, apart


def write(options: argparse.Namespace, rates: dict[str, list[float]], apart: dict[str, list[float]]) -> None:
    """The row."""
    shares = {
        name: spread([a / b for a, b in zip(rates[f"terraweft, {name}"], rates[f"script, {name}"], strict=True)])
        for name in KINDS
    }
    two_passes = spread([a / b for a, b in zip(rates["terraweft, tar"], rates[TWO_PASSES], strict=True)])
    times = spread([a / b for a, b in zip(rates["terraweft, tar"], rates["rslearn"], strict=True)])
    figure = min(found["median"] for found in shares.values())
    record(
        "p0", figure=figure, unit="of the script's rate, the worse of tar alone and both kinds", target=SHARE,
        holds=figure >= SHARE and times["median"] >= TIMES,
        floor={name: spread(rates[f"script, {name}"]) for name in KINDS},
        rows=[{"method": method, "pictures_per_s": spread(values)} for method, values in rates.items()],
        packages=("rasterio", "urllib3", "numpy", "zarr", "stackstac", "prefect", "distributed"),
        further={
            "share_of_script": shares, "share_of_script_in_two_passes": two_passes,
            "times_rslearn": times, "target_times_rslearn": TIMES,
            "startup_seconds": spread(apart["start"]), "startup_of_prefect_and_dask_alone": spread(apart["engines"]),
            "ending_seconds": spread(apart["end"]), "pictures": options.edge**2 * options.dates,
            "pictures_of_peers": options.peer_edge**2 * options.dates,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
