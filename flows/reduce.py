"""The reduce between the passes: what can only be estimated over the whole dataset, from sums that tiles left.

What the parent estimated and still holds is taken as it is; only the rest is estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chips import statistics
from chips.inputs import FUSE
from chips.statistics import Summary
from flows.estimates import Estimates, fusion_part, shifts_part, twins_part
from flows.fragments import read_json
from flows.job import Job
from flows.realign import Findings, Known
from labelers import fuse
from labelers.marks import FusionStatistics, added
from labelers.voters import setup_of


@dataclass(frozen=True)
class Estimated:
    """Parameters that every tile's second pass takes as given: a hashed input like any other."""

    stored: Estimates
    """As the version stores them; the numbers of buckets are added when shards are written."""
    findings: Findings
    """Shifts of acquisitions and twins; what touches a tile is in the key of its fragments already."""

    @property
    def fusion(self) -> Mapping[str, Any] | None:
        """The fusion model as JSON; None where nothing is fused."""
        return self.stored.fusion

    def band(self, group: str, name: str) -> Summary | None:
        """Count, mean, standard deviation over clear pixels of the train split."""
        return self.stored.bands.get(group, {}).get(name)


def frozen_findings(frozen: Estimates) -> Known:
    """What the parent found over its acquisitions and chips, as far as it holds."""
    return Known(
        frozen.scene_shifts if frozen.shifts_part else None,
        frozen.twins if frozen.twins_part else None,
    )


def estimate_run(job: Job, first: Mapping[str, Path], findings: Findings, frozen: Estimates) -> Estimated:
    """Merge the tiles' sums, in the order of their names, and estimate what is not frozen.

    The sums are exact and addition commutes: any number of workers gives the same result.
    """
    files = [first[tile_id] / "tile.json" for tile_id in sorted(first)]  # read one by one: all of them may not fit
    modality_of = {layer.group: layer.modality for layer in job.layers}
    found = statistics.finish(statistics.merge(statistics.from_dict(read_json(file)["pixels"]) for file in files))
    bands = {group: dict(of_group) for group, of_group in frozen.bands.items()}
    for (group, name), summary in found.items():
        if group not in frozen.bands_parts:
            bands.setdefault(group, {})[name] = summary
    stored = replace(
        frozen,
        bands={group: bands[group] for group in modality_of if group in bands},
        bands_parts={group: job.parts[modality] for group, modality in modality_of.items()},
        scene_shifts=tuple(findings.scene_shifts),
        shifts_part=shifts_part(job.parts, modality_of),
        twins=tuple(findings.twins),
        twins_part=twins_part(job.parts, modality_of),
    )
    labels = job.recipe.labels
    if labels is not None and FUSE in job.parts and not frozen.fusion_part:
        model: dict[str, Any] | None = None
        votes = (read_json(file)["votes"] for file in files)
        total = added(FusionStatistics.from_dict(part) for part in votes if part is not None)
        if labels.fuse is not None and total is not None:
            model = fuse.estimate(total, setup_of(labels, job.recipe.time.window_utc()[2].year)).to_dict()
        stored = replace(stored, fusion=model, fusion_part=fusion_part(job.parts))
    return Estimated(stored, findings)
