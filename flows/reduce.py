"""The reduce between the passes: what can only be estimated over the whole dataset, from sums that tiles left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chips import statistics
from chips.statistics import Summary
from flows.fragments import key_of, read_json
from flows.passes import Job
from flows.realign import Findings
from labelers import fuse
from labelers.marks import FusionStatistics, added
from labelers.voters import setup_of


@dataclass(frozen=True)
class Estimated:
    """Parameters that every tile's second pass takes as given: a hashed input like any other."""

    fusion: Mapping[str, Any] | None
    """The fusion model as JSON; None where nothing is fused."""
    bands: Mapping[tuple[str, str], Summary]
    """(group, band) -> count, mean, standard deviation over clear pixels of the train split."""
    key: str
    """Hash of the fusion model."""
    findings: Findings
    """Shifts of acquisitions and twins; what touches a tile is in the key of its fragments already."""


def estimate_run(job: Job, first: Mapping[str, Path], findings: Findings) -> Estimated:
    """Merge the tiles' sums, in the order of their names, and estimate.

    The sums are exact and addition commutes: any number of workers gives the same result.
    """
    summaries = [read_json(first[tile_id] / "tile.json") for tile_id in sorted(first)]
    bands = statistics.finish(statistics.merge(statistics.from_dict(s["pixels"]) for s in summaries))
    labels = job.recipe.labels
    model: dict[str, Any] | None = None
    if labels is not None and labels.fuse is not None:
        votes = [s["votes"] for s in summaries if s["votes"] is not None]
        if votes:
            total = added(FusionStatistics.from_dict(part) for part in votes)
            model = fuse.estimate(total, setup_of(labels, job.recipe.time.window_utc()[2].year)).to_dict()
    return Estimated(model, bands, key_of(model), findings)
