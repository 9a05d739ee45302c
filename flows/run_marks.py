"""What a run's folder says of the run until it has ended: the purse it pays from, and what is done again."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress

from flows.fragments import read_json
from flows.job import Job
from shards.layout import replace_durably

RUN = "captions.json"
"""Name of the file, in a run's folder, that holds the name of the purse until the run has ended."""
READING = "reading.json"
"""Name of the file, in a run's folder, that holds what `last_reading` says."""


def run_purse(job: Job) -> str:
    """Name of this run's purse: the same over restarts, a new one once the run has ended."""
    path = job.folder / RUN
    with suppress(FileNotFoundError):
        return str(read_json(path)["run"])
    purse = f"{job.recipe.name}-{job.recipe.hash()[:8]}-{uuid.uuid4().hex[:12]}"
    replace_durably(path, json.dumps({"run": purse}).encode())
    return purse


def last_reading(job: Job, parent: str, is_again: bool) -> str:
    """Name of the run that last did again what was done already; empty where there was none.

    Args:
        job: the run.
        parent: version that it starts from.
        is_again: whether this run is one: restarted from the same version it goes by the same name.
    """
    path = job.folder / READING
    if is_again:
        job.folder.mkdir(parents=True, exist_ok=True)
        name = f"{run_purse(job)} {parent}"
        replace_durably(path, json.dumps({"run": name}).encode())
        return name
    with suppress(FileNotFoundError):
        return str(read_json(path)["run"])
    return ""


def end_run(job: Job) -> None:
    """The run's version is published, or nothing had changed: what is done from now on is another run's."""
    (job.folder / RUN).unlink(missing_ok=True)
