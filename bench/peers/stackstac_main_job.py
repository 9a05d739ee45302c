"""stackstac on a LocalCluster as its users write it, for bench/p0_main_job.py: one lazy stack per date, chips saved.

    python bench/peers/stackstac_main_job.py STAC JOB.json FOLDER

JOB.json as for rslearn. A date's stack is persisted on the cluster first (twice as fast as leaving it lazy), then every
chip is cut from it by a task that saves an .npy. Prints the seconds from the search to the last chip.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import dask
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.memory import MAIN_JOB_BYTES, taken


def save(path: str, pixels: Any) -> None:
    """One chip."""
    np.save(path, pixels)


def main(stac: str, job_path: str, folder: str) -> None:
    """Build the chips."""
    import pystac_client
    import stackstac
    from distributed import Client, LocalCluster, wait

    job = json.loads(Path(job_path).read_text())
    out = Path(folder)
    out.mkdir(parents=True)
    by_day: dict[str, list[Any]] = {}
    for window in job["windows"]:
        by_day.setdefault(window[-1], []).append(window)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):  # type: ignore[no-untyped-call]
        taken(MAIN_JOB_BYTES)
        began = time.monotonic()
        items = {
            item.datetime.date().isoformat(): item
            for item in pystac_client.Client.open(stac).search(collections=["sentinel-2-l2a"], limit=100).items()
            if item.datetime is not None
        }
        for day, windows in by_day.items():
            left, bottom = min(w[1] for w in windows), min(w[2] for w in windows)
            right, top = max(w[3] for w in windows), max(w[4] for w in windows)
            stack = stackstac.stack(
                [items[day]], assets=job["bands"], epsg=job["epsg"], resolution=10, bounds=(left, bottom, right, top),
                dtype=np.dtype("uint16"), fill_value=np.uint16(0), rescale=False, chunksize=512, properties=False,
                band_coords=False,
            )  # fmt: skip
            scene = client.persist(stack.data[0])  # type: ignore[no-untyped-call]
            wait(scene)  # type: ignore[no-untyped-call]
            tasks = []
            for name, x0, _, x1, y1, _ in windows:
                row, column, size = round((top - y1) / 10), round((x0 - left) / 10), round((x1 - x0) / 10)
                chip = scene[:, row : row + size, column : column + size].rechunk(-1)
                tasks.append(dask.delayed(save)(str(out / f"{name}.npy"), chip))
            wait(client.compute(tasks))  # type: ignore[no-untyped-call]
            del scene
        print(time.monotonic() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
