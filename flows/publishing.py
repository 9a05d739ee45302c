"""The last stage of a build: the run's fragments become a draft, and the draft becomes a version."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from captioners.statistics import text_statistics
from chips.cell_table import CellTable
from chips.convert import stored_form
from chips.leakage import leakage_report
from chips.plan import LayerPlan
from chips.rows import licence_entry
from flows.contents import Finished, gather
from flows.estimates import STALE_SHARE
from flows.fragments import read_json
from flows.looking import Look
from flows.passes import Job
from flows.plan_store import StoredPlan
from flows.published_items import write_published_items
from flows.reduce import Estimated
from flows.reporting import write_html
from flows.software import SOFTWARE, versions_of
from flows.steps import STEPS
from labelers.fuse import FusionModel
from labelers.label_statistics import label_statistics
from schemas.chip import Outcome
from schemas.dataset import BandTable, LayerTable, SourceTable
from schemas.legend import load_crosswalk, load_legend
from schemas.recipe import Modality
from schemas.sample import split_ids
from schemas.sensor import load_sensor
from shards.draft import Draft
from shards.lock import Held
from shards.tar import WrittenShard
from shards.version import publish
from shards.zarr_write import Spread
from sources.openers import public_name, unsigned
from sources.scenes import scene_bands

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """What a publish ended in."""

    version: str
    """Current version."""
    published: bool
    """False where nothing had changed."""
    counts: Mapping[str, Any]
    """planned, kept, rejected by reason, failed by class."""
    notes: tuple[str, ...] = ()
    """What a person should know."""
    waits: bool = False
    """Whether the version is not the current one before it passes the gates."""


def publish_run(
    found: Look,
    finished: Finished,
    shards: Sequence[WrittenShard],
    run: Mapping[str, Any],
    held: Held,
    spread: Spread | None = None,
) -> Published:
    """Make the version of a run, verified, and the current one.

    Args:
        found: what was looked at.
        finished: what the passes made.
        shards: all of the version's.
        run: what differs from run to run.
        held: the dataset's lock.
        spread: who writes Zarr's shards; this process where absent.
    """
    job, plan, estimated = found.job, found.plan, finished.estimated
    recipe = job.recipe
    contents = gather(found, finished)
    rows, outcomes = contents.rows, contents.outcomes
    legends, crosswalk = _legends(job)
    stored = replace(estimated.stored, buckets=dict(finished.buckets))
    draft = Draft(
        name=recipe.name,
        created=datetime.now(UTC),
        recipe=recipe.model_dump(mode="json", by_alias=True),
        recipe_hash=recipe.hash(),
        code_version=code_version(),
        layers=tuple(_layer_tables(job, plan, estimated, rows)),
        chips=rows,
        outcomes=outcomes,
        shards=list(shards),
        sources=tuple(_sources(plan, rows)),
        texts=contents.texts,
        run_rows=[*_run_rows(finished.first), *_paid_rows(run)],
        title=recipe.title,
        description=recipe.description,
        limits=tuple(_limits(job, outcomes)),
        steps=STEPS,
        software=versions_of(SOFTWARE),
        legends=legends,
        crosswalk=crosswalk,
        fusion=_fusion(estimated, rows),
        registration={"scene_shifts": list(estimated.findings.scene_shifts)},
        near_duplicates=estimated.findings.twins,
        splits={"buckets": dict(finished.buckets), **_splits(job, rows)},
        text_summary=text_statistics(contents.texts) if contents.texts else {},
        run={**_run_summary(run), "host": platform.platform(terse=True), "python": platform.python_version()},
        private=recipe.publish.private,
        zarr_shard_chips=recipe.write.zarr_shard_chips if "zarr" in recipe.write.kinds else None,
        items=lambda path: write_published_items(plan.items, path),
        report=lambda folder: write_html(job.storage, folder),
        estimates=stored.to_dict(),
        estimated=estimated_where(found, len(rows)),
        touched=found.outlook.why(),
        parent=found.current,
    )
    waits = recipe.publish.after_validation
    scratch = job.work / "versions"
    result = publish(job.storage, draft, scratch=scratch, held=held, current=not waits, spread=spread)
    notes = _stale(draft.estimated)
    if not result.published:
        notes = ("nothing had changed: the current version stays", *notes)
    return Published(result.version, result.published, draft.counts(), notes, waits and result.published)


def estimated_where(found: Look, chips: int) -> dict[str, Any]:
    """In which version the parameters were estimated, over how many chips, and how many were touched since.

    Where all of them are new, ``version`` is empty: this one.
    """
    before, outlook = found.before, found.outlook
    if before is None or not (outlook.frozen.bands or outlook.frozen.fusion_part or outlook.frozen.findings_part):
        return {"version": "", "chips": chips, "touched_since": 0}
    known = before.document.estimates
    touched = sum(len(of_tile) for of_tile in (outlook.touched or {}).values())
    return {
        "version": known["version"],
        "chips": known["chips"],
        "touched_since": known["touched_since"] + touched + len(outlook.removed),
    }


def _stale(estimated: Mapping[str, Any]) -> tuple[str, ...]:
    if estimated["touched_since"] <= STALE_SHARE * estimated["chips"]:
        return ()
    return (
        f"fusion, shifts of acquisitions and band statistics are those of {estimated['version']}, over "
        f"{estimated['chips']} chips; {estimated['touched_since']} were touched since: --refit estimates them anew",
    )


def code_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("terraweft")
    except PackageNotFoundError:
        return "unknown"


def _fusion(estimated: Estimated, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How labels were fused, and what every layer holds by split."""
    model = FusionModel.from_dict(estimated.fusion).summary() if estimated.fusion is not None else {}
    counted = label_statistics(rows)
    return model | ({"statistics": counted} if counted else {})


def _layer_tables(
    job: Job, plan: StoredPlan, estimated: Estimated, rows: Sequence[Mapping[str, Any]]
) -> Iterator[LayerTable]:
    for layer in job.layers:
        dtype, nodata, unit = stored_form(layer.dtype, layer.nodata, layer.unit, job.recipe.modalities[layer.modality])
        shapes = [row[f"{layer.group}.shape_yx"] for row in rows if row.get(f"{layer.group}.shape_yx")]
        dates = [len(row.get(f"{layer.modality}.item_ids") or ()) for row in rows]
        yield LayerTable(
            group=layer.group,
            modality=layer.modality,
            sensor=layer.sensor,
            gsd_m=layer.gsd_m,
            dtype=dtype,
            unit=unit,
            nodata=nodata,
            bands=tuple(_band_table(name, layer, plan, estimated) for name in layer.bands),
            max_dates=max(dates, default=0),
            composite=_how_composed(job.recipe.modalities[layer.modality]),
            shape_yx=(max((s[0] for s in shapes), default=0), max((s[1] for s in shapes), default=0)),
        )


def _how_composed(modality: Modality) -> str:
    return modality.composite.how if modality.composite is not None else ""


def _band_table(name: str, layer: LayerPlan, plan: StoredPlan, estimated: Estimated) -> BandTable:
    summary = estimated.band(layer.group, name)
    band = next(band for band in scene_bands(plan.example(layer.modality)) if band.name == name)
    return BandTable(
        name=name,
        common_name=band.common_name,
        centre_nm=band.centre_nm,
        fwhm_nm=band.fwhm_nm,
        polarisation=band.polarisation,
        mean=None if summary is None else summary.mean,
        std=None if summary is None else summary.std,
        count=0 if summary is None else summary.count,
    )


def _legends(job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    labels = job.recipe.labels
    if labels is None:
        return {}, {}
    names = {name: source.legend_name() for name, source in labels.sources.items()}
    legends = {name: load_legend(legend).model_dump(mode="json") for name, legend in names.items()}
    if labels.fuse is None:
        return legends, {}
    target = labels.fuse.legend
    crosswalk = {name: load_crosswalk(legend, target).model_dump(mode="json") for name, legend in names.items()}
    return legends | {"label": load_legend(target).model_dump(mode="json")}, crosswalk


def _sources(plan: StoredPlan, rows: Sequence[Mapping[str, Any]]) -> Iterator[SourceTable]:
    """One entry per layer and collection, with the items that kept chips were cut from."""
    for layer in sorted(plan.offered):
        modality = plan.recipe.modalities.get(layer)
        used = {item for row in rows for date in row.get(f"{layer}.item_ids") or () for item in split_ids(date)}
        items = list(plan.scenes(layer, used if modality is not None else None))
        if modality is not None and not items and plan.offered[layer]:
            items = [plan.example(layer)]
        for key in sorted({(item.catalog, item.collection, item.licence) for item in items}):
            members = [item for item in items if (item.catalog, item.collection, item.licence) == key]
            redistributable = load_sensor(modality.sensor).may_be_given_on(key[2]) if modality else True
            entry = licence_entry(layer, key[2], "; ".join(sorted({i.attribution for i in members})), redistributable)
            yield SourceTable(
                layer=layer,
                catalog=key[0],
                collection=key[1],
                licence=key[2],
                attribution=entry["attribution"],
                share_alike=entry["share_alike"],
                non_commercial=entry["non_commercial"],
                redistributable=redistributable,
                items=tuple(sorted(i.item_id for i in members if i.item_id in used or modality is None)),
            )


def _run_rows(first: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """One row per planned chip and step of this run: reads by chip, and its share of the tile's time."""
    for folder in first.values():
        tile = read_json(folder / "tile.json")
        outcomes = tile["outcomes"]
        for outcome in outcomes:
            reads = [read for read in tile["reads"] if outcome["chip_id"] in read["chips"]]
            urls = {url for read in reads for url in read["urls"]}
            yield {
                "chip_id": outcome["chip_id"],
                "step": "first pass",
                "attempts": outcome["attempts"],
                "urls": [_failed_at(outcome["url"])] if outcome["url"] else sorted(urls),
                "seconds": round(tile["seconds"] / max(1, len(outcomes)), 4),
                "bytes": sum(read["bytes"] // len(read["chips"]) for read in reads),
                "tokens": 0,
                "cost": 0.0,
            }


def _failed_at(url: str) -> str:
    """Where a read failed: the whole unsigned address of a server, wherever it is, so that somebody can look there."""
    return unsigned(url) if url.startswith(("http://", "https://")) else public_name(url)


def _run_summary(run: Mapping[str, Any]) -> dict[str, Any]:
    """The run's section of ``dataset.json``: what stands per chip in run.parquet is left out."""
    texts = {name: value for name, value in run.get("texts", {}).items() if name != "chips"}
    return {**run, "texts": texts}


def _paid_rows(run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per chip whose texts a model was paid for: their costs sum to what the ledger says of this run.

    A row without a chip stands for the probe of the server.
    """
    for chip_id, spent in run.get("texts", {}).get("chips", {}).items():
        yield {
            "chip_id": chip_id,
            "step": "caption",
            "attempts": spent["calls"],
            "urls": [],
            "seconds": 0.0,
            "bytes": 0,
            "tokens": spent["tokens_in"] + spent["tokens_out"],
            "cost": spent["cost"],
        }


def _splits(job: Job, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rule = job.recipe.split
    cells = CellTable(
        np.array([row["chip_id"] for row in rows], dtype=np.str_),
        np.array([row["epsg"] for row in rows], dtype=np.int32),
        np.array([row["bounds_xyxy"] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row["region"] for row in rows], dtype=np.str_),
        np.array([row["majortom_cell"] for row in rows], dtype=np.str_),
    )
    items = [
        [i for name in job.recipe.modalities for date in row.get(f"{name}.item_ids") or () for i in split_ids(date)]
        for row in rows
    ]
    dates = [
        [str(date)[:10] for name in job.recipe.modalities for date in row.get(f"{name}.datetimes") or ()]
        for row in rows
    ]
    splits, units = (np.array([row[key] for row in rows], dtype=np.str_) for key in ("split", "block_id"))
    return rule.said() | {"leakage": leakage_report(cells, splits, units, items, dates)}


def _limits(job: Job, outcomes: Sequence[Outcome]) -> Iterator[str]:
    failed = sum(1 for outcome in outcomes if outcome.state == "failed")
    if failed:
        yield f"{failed} planned chip(s) failed to be read; outcomes.parquet says which and why."
    if job.recipe.labels is not None:
        yield (
            "Labels are weak: made from products and maps with known errors, some of them where the products agree; "
            "nobody looked at these pictures or visited the ground."
        )
    if job.recipe.captions is not None and job.recipe.captions.backend == "template":
        yield "Captions are written from the labels by rules; they are as true as the labels."
