"""A dataset of rslearn's for bench/p0_main_job.py: one window per place and date; runs in build/peers/rslearn.

    python bench/peers/rslearn_main_job.py ROOT JOB.json

JOB.json: bands, epsg, and windows as [name, left, bottom, right, top, day]. Prints the seconds of adding the windows.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rasterio.crs import CRS
from rslearn.dataset import Dataset, Window
from rslearn.utils.geometry import Projection
from upath import UPath


def main(root, job):
    """Write config and windows."""
    job = json.loads(Path(job).read_text())
    source = {
        "class_path": "rslearn_local.LocalSentinel2", "init_args": {}, "ingest": False,
        "query_config": {"max_matches": 1},
    }  # fmt: skip
    layer = {"type": "raster", "band_sets": [{"dtype": "uint16", "bands": job["bands"]}], "data_source": source}
    Path(root).mkdir(parents=True)
    (Path(root) / "config.json").write_text(json.dumps({"layers": {"s2": layer}}))
    dataset = Dataset(UPath(root))
    projection = Projection(CRS.from_epsg(job["epsg"]), 10, -10)
    began = time.monotonic()
    for name, left, bottom, right, top, day in job["windows"]:
        start = datetime.fromisoformat(day).replace(tzinfo=UTC)
        bounds = (round(left / 10), round(-top / 10), round(right / 10), round(-bottom / 10))
        Window(dataset.storage, "p0", name, projection, bounds, (start, start + timedelta(days=1))).save()
    print(time.monotonic() - began)


main(*sys.argv[1:])
