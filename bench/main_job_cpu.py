"""CPU time of the main job per chip and stage, beside the script by hand: steadier than the clock on a shared machine.

    python bench/main_job_cpu.py [--edge 8] [--dates 8] [--repeats 3]

The chips of ``bench/p0_main_job.py``, tars alone, built in this process by the plain loop. User and system time of all
its threads are counted, those of the server are not. A small build goes before, so that imports are not counted.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.job_by_hand import script
from bench.job_inputs import BLOCK, SIZE, write_items, write_recipe
from bench.memory import MAIN_JOB_BYTES, taken
from bench.p0_main_job import SHARE
from bench.record import record, spread
from bench.scenes import BUILD, SceneSet, make_scenes
from bench.serving import served, stac_served

WORK = BUILD / "main_job_cpu"


def cpu_seconds() -> float:
    """User and system time of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def stages_of(recipe: Path, root: Path) -> dict[str, float]:
    """CPU seconds of each stage of one build."""
    from flows.progress import Silent, watcher
    from flows.request import BuildRequest
    from flows.stages import build_plainly
    from schemas.recipe_file import load_recipe
    from shards.storage import FolderStorage

    marks: list[tuple[str, float]] = []

    class Marks(Silent):
        """Notes when each stage begins."""

        def start(self, stage: str, total: int, done: int = 0) -> None:
            if not marks:
                taken(MAIN_JOB_BYTES)
            marks.append((stage, cpu_seconds()))

    root.mkdir(parents=True)
    watcher.set(Marks())
    build_plainly(BuildRequest(load_recipe(recipe), recipe.parent, FolderStorage(root), root / "work"))
    marks.append(("end", cpu_seconds()))
    found: dict[str, float] = {}
    for (stage, began), (_, ended) in pairwise(marks):
        found[stage] = found.get(stage, 0.0) + ended - began
    return found


def measure(edge: int, repeats: int, scenes: SceneSet, base: str, stac: str) -> dict[str, list[float]]:
    """Milliseconds per chip by method and stage, one value per repeat."""
    from sources.block_store import shared_store

    chips, found = edge * edge * scenes.scenes, dict[str, list[float]]()
    write_recipe(WORK / "recipe.yaml", stac, 2, scenes, ["webdataset"])
    stages_of(WORK / "recipe.yaml", WORK / "out")
    write_recipe(WORK / "recipe.yaml", stac, edge, scenes, ["webdataset"])
    for _ in range(repeats):
        shutil.rmtree(WORK / "out")
        taken(MAIN_JOB_BYTES)
        began = cpu_seconds()
        script(scenes, base, edge, WORK / "out", with_zarr=False)
        times = {"script": cpu_seconds() - began}
        shutil.rmtree(WORK / "out")
        shared_store.cache_clear()  # blocks that the build before decoded
        stages = stages_of(WORK / "recipe.yaml", WORK / "out")
        times |= {"terraweft": sum(stages.values())} | {f"terraweft, {name}": s for name, s in stages.items()}
        for name, seconds in times.items():
            found.setdefault(name, []).append(1000 * seconds / chips)
        print({name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    shutil.rmtree(WORK)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", type=int, default=8)
    parser.add_argument("--dates", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    shutil.rmtree(WORK, ignore_errors=True)
    scenes = make_scenes(options.dates, SIZE, BLOCK, options.dates)
    with served(BUILD) as server, stac_served(write_items(scenes, server.url, WORK / "stac")) as stac:
        found = measure(options.edge, options.repeats, scenes, server.url, stac)
    rows: list[dict[str, Any]] = [{"what": name, "cpu_ms_per_chip": spread(values)} for name, values in found.items()]
    record(
        "main_job_cpu",
        figure=statistics.median(a / b for a, b in zip(found["script"], found["terraweft"], strict=True)),
        unit="of our CPU time per chip is what the script needs in all",
        target=SHARE,
        holds=None,
        floor=spread(found["script"]),
        rows=rows,
        packages=("rasterio", "numpy", "xarray"),
        further={"chips": options.edge**2 * options.dates},
    )


if __name__ == "__main__":
    main()
