"""A run's figures as a Prometheus text file, for the collector that a node exporter or a sidecar reads."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from flows.request import BuildResult
from schemas.errors import DatasetError
from shards import layout
from shards.storage import Storage

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "TERRAWEFT_METRICS"
"""Folder for the files; without it nothing is written."""


@dataclass(frozen=True)
class RunTotals:
    """What a run read, asked and paid: the sums of ``run.parquet``."""

    bytes: int = 0
    """Read of imagery."""
    addresses: int = 0
    """Files that were read, once for each chip that they served."""
    retries: int = 0
    """Attempts beyond the first, of the worst read of each chip."""
    tokens: int = 0
    """Of a language model."""
    cost: float = 0.0
    """Of a language model, in the ledger's currency."""


def totals_of(storage: Storage, version: str) -> RunTotals:
    """The sums of a version's ``run.parquet``."""
    path = f"{layout.version_path(version)}/run.parquet"
    table = pq.read_table(io.BytesIO(storage.read(path)), columns=["attempts", "urls", "bytes", "tokens", "cost"])
    columns: dict[str, list[Any]] = table.to_pydict()
    return RunTotals(
        bytes=sum(columns["bytes"]),
        addresses=sum(len(urls or ()) for urls in columns["urls"]),
        retries=sum(max(0, attempts - 1) for attempts in columns["attempts"]),
        tokens=sum(columns["tokens"]),
        cost=sum(columns["cost"]),
    )


def render_metrics(result: BuildResult, totals: RunTotals, dataset: str, region: str, now_s: float) -> bytes:
    """The text file.

    Args:
        result: of the run.
        totals: zeros where nothing was published.
        dataset: its name.
        region: its name; empty for a build by hand.
        now_s: seconds since 1970.
    """
    registry = CollectorRegistry()
    labels = {"dataset": dataset, "region": region}
    made: dict[str, Gauge] = {}

    def gauge(name: str, text: str, value: float, **further: str) -> None:
        if name not in made:
            made[name] = Gauge(f"terraweft_{name}", text, [*labels, *further], registry=registry)
        made[name].labels(**labels, **further).set(value)

    counts = result.counts
    for state in ("planned", "kept"):
        gauge("chips", "Chips of the last run by state", counts.get(state, 0), state=state, why="")
    for state in ("rejected", "failed"):
        reasons = dict(counts.get(state, {}))
        for why, number in sorted(reasons.items()):
            gauge("chips", "", number, state=state, why=why)
        if not reasons:
            gauge("chips", "", 0, state=state, why="")
    gauge("published", "1 where the last run published a version", int(result.published))
    gauge("last_success_timestamp_seconds", "When the last run ended well", now_s)
    gauge("run_seconds", "Wall time of the last run", result.seconds)
    gauge("tiles", "Tiles of the last run", result.tiles_done, state="done")
    gauge("tiles", "", result.tiles_reused, state="reused")
    gauge("read_bytes", "Bytes of imagery that the last run read", totals.bytes)
    gauge("read_files", "Files that the last run read, once for each chip", totals.addresses)
    gauge("retries", "Attempts beyond the first, of the worst read of each chip", totals.retries)
    gauge("llm_tokens", "Tokens that the last run paid for", totals.tokens)
    gauge("llm_cost", "What the last run paid for texts", totals.cost)
    return bytes(generate_latest(registry))


def write_metrics(
    result: BuildResult, totals: RunTotals, dataset: str, region: str, environment: Mapping[str, str]
) -> Path | None:
    """Put a run's file where the collector looks, in one move; None where nobody asked for it."""
    folder = environment.get(FOLDER_VARIABLE)
    if not folder:
        return None
    path = Path(folder) / f"{dataset}.prom"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(render_metrics(result, totals, dataset, region, time.time()))
    os.replace(temporary, path)
    return path


def write_figures(result: BuildResult, dataset: str, region: str, environment: Mapping[str, str]) -> RunTotals:
    """Sums of a run, in the file for the collector; where that fails the run is done all the same.

    Args:
        result: of the run.
        dataset: its name.
        region: its name; empty for a build by hand.
        environment: where `FOLDER_VARIABLE` is looked up.
    """
    totals = RunTotals()
    try:
        if result.published:
            totals = totals_of(result.storage, result.version)
        write_metrics(result, totals, dataset, region, environment)
    except (OSError, DatasetError) as error:
        log.warning("%s: the figures of the run could not be written: %s", region or dataset, error)
    return totals
