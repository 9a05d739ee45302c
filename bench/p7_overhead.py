"""P7: what Prefect and Dask cost: a build beside a plain loop over the same stages, and the cost of a unit.

    python bench/p7_overhead.py [--repeats 3] [--size 40x14] [--units 100 1000 10000 100000]

*Build*: the sandbox's recipe over a world of ``--size`` km: the flow on a LocalCluster of two and a private Prefect
API, beside the same stages over two processes of a plain pool (`flows.stages.build_plainly`). They take turns, each in
a process of its own. The start of API and cluster is part of the build; it is told apart as well. *Units*: no-op units
through `flows.runs.spread` on two workers, the way tiles go. Both kinds have one setting of memory and of threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record, spread

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "bench" / "p7"
SHARE, FLAT = 0.05, 2.0
"""Largest overhead; largest ratio between the costs of a unit at the most and at the fewest units."""
WORKERS = 2
UNITS = (100, 1_000, 10_000, 100_000)


class OnPool:
    """`flows.stages.Spread` over a plain pool of processes."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool

    def __call__(
        self,
        stage: str,
        work: Callable[..., Any],
        arguments: Callable[[Any], tuple[Any, ...]],
        units: Sequence[Any],
        name: Callable[[Any], Any],
        done: int = 0,
    ) -> dict[Any, Any]:
        """See `flows.stages.Spread`."""
        futures = {name(unit): self.pool.submit(work, *arguments(unit)) for unit in units}
        return {key: future.result() for key, future in futures.items()}


def one_build(kind: str, recipe: Path, root: Path) -> dict[str, float]:
    """Seconds of a build of one kind in this process: whole, and until the first tile."""
    from flows.forking import get_ready
    from flows.prefect_api import prefect_api, private_home
    from flows.progress import Silent, watcher
    from flows.site import variables
    from schemas.recipe_file import load_recipe

    loaded = load_recipe(recipe)
    began = time.monotonic()
    marks: dict[str, float] = {}

    class Marks(Silent):
        """Notes when a stage begins."""

        def start(self, stage: str, total: int, done: int = 0) -> None:
            marks.setdefault(stage, time.monotonic() - began)

    watcher.set(Marks())
    if kind == "plain":
        from flows.request import request_of
        from flows.stages import PlainStages, build_plainly

        request = request_of(loaded, recipe.parent, str(root), variables(loaded), workers=WORKERS)
        with ProcessPoolExecutor(WORKERS) as pool:
            build_plainly(request, PlainStages(OnPool(pool)))
    else:
        get_ready()
        with prefect_api(os.environ, private_home(os.environ), wanted="flows.build"):
            from flows.build import build
            from flows.request import request_of

            request = request_of(loaded, recipe.parent, str(root), variables(loaded), workers=WORKERS)
            build(request)
    return {"seconds": time.monotonic() - began, "to_first_tile": marks.get("read", 0.0)}


def no_op(number: int) -> int:
    """A unit that does nothing."""
    return number


def unit_costs(counts: Sequence[int]) -> list[dict[str, float]]:
    """Milliseconds per no-op unit, for each number of units."""
    from flows.cluster import dask_client
    from flows.runs import spread as over_workers

    rows = []
    with dask_client(None, WORKERS, WORK / "dask") as client:
        over_workers(client, "warm", lambda n, **w: client.submit(no_op, n, pure=False, **w), range(200), int, 0)
        for count in counts:
            began = time.monotonic()
            over_workers(client, "units", lambda n, **w: client.submit(no_op, n, pure=False, **w), range(count), int, 0)
            rows.append({"units": count, "ms_per_unit": round(1000 * (time.monotonic() - began) / count, 3)})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", default="40x14")
    parser.add_argument("--units", type=int, nargs="*", default=list(UNITS))
    parser.add_argument("--one", nargs=3)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_build(options.one[0], Path(options.one[1]), Path(options.one[2]))))
        return
    from flows.forking import WORKER_ENVIRONMENT
    from sandbox.products import write_sandbox
    from sandbox.serve import SandboxServer

    WORK.mkdir(parents=True, exist_ok=True)
    index = write_sandbox(WORK / "world", size=options.size, seed=7)
    recipe = WORK / "recipe.yaml"
    fitting = ["-c", "from terraweft.cli import main; main()", "sandbox", "--out", str(WORK / "world")]
    subprocess.run(
        [sys.executable, *fitting, "--size", options.size, "--recipe", str(recipe)], check=True, cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {"flow": [], "plain": []}
    with SandboxServer(index.root) as server:
        alike = {name: str(value) for name, value in WORKER_ENVIRONMENT.items()}
        variables = {**os.environ, **alike, "TERRAWEFT_SANDBOX_STAC": server.stac_url}
        for _ in range(options.repeats):
            for kind, rows in found.items():
                out = WORK / "out"
                shutil.rmtree(out, ignore_errors=True)
                done = subprocess.run(
                    [sys.executable, __file__, "--one", kind, str(recipe), str(out)],
                    env=variables, capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode:
                    raise SystemExit(f"{kind}: {done.stderr[-3000:]}")
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(kind, rows[-1], flush=True)
    shares = [1.0 - p["seconds"] / f["seconds"] for f, p in zip(found["flow"], found["plain"], strict=True)]
    starts = [f["to_first_tile"] - p["to_first_tile"] for f, p in zip(found["flow"], found["plain"], strict=True)]
    overhead = spread(shares)
    units = unit_costs(options.units)
    costs = [row["ms_per_unit"] for row in units]
    flat = costs[-1] / costs[0]
    builds = [{"build": kind, "seconds": spread([row["seconds"] for row in rows])} for kind, rows in found.items()]
    record(
        "p7", figure=overhead["median"], unit="of a build's wall time", target=SHARE,
        holds=overhead["median"] <= SHARE and flat <= FLAT, floor=None, rows=[*builds, *units],
        packages=("prefect", "distributed", "dask"),
        further={
            "share_of_wall_time": overhead, "start_of_api_and_cluster_seconds": spread(starts),
            "cost_of_a_unit_most_to_fewest": round(flat, 3), "flat_up_to": FLAT,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
